//! Running trunkline's statements inside a transaction that somebody else began.
//!
//! The same SQL functions serve every driver: an [`Executor`] gets a statement with `$n` parameters of the closed set
//! [`Param`], and returns the one `bigint` that every such statement yields. It is implemented here for
//! `tokio_postgres`; the crates `trunkline-sqlx` and `trunkline-diesel` do the same for theirs. What is written this
//! way goes out with the commit and is gone with a rollback.

use std::future::Future;

use tokio_postgres::{
    Client, Transaction,
    types::{ToSql, Type},
};

use crate::{Error, ErrorKind, Result};

/// A parameter, in one of the few types that our statements take.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Param<'a> {
    /// `bigint`
    I64(i64),
    /// `int`
    I32(i32),
    /// `text`
    Text(Option<&'a str>),
    /// `bytea`
    Bytes(Option<&'a [u8]>),
}

/// Runs one statement and returns its single `bigint`.
///
/// Implement it for your driver's connection or transaction. The statement is safe to prepare; its text never holds
/// user input.
pub trait Executor: Send {
    /// Runs `sql` with its parameters; errors keep the server's SQLSTATE.
    fn scalar(&mut self, sql: &'static str, params: &[Param<'_>])
    -> impl Future<Output = Result<i64>> + Send;
}

impl Executor for &Client {
    async fn scalar(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<i64> {
        one(self.query_typed(sql, &typed(params)).await?)
    }
}

impl Executor for &Transaction<'_> {
    async fn scalar(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<i64> {
        one(self.query_typed(sql, &typed(params)).await?)
    }
}

fn one(rows: Vec<tokio_postgres::Row>) -> Result<i64> {
    let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "the statement returned no row"))?;
    Ok(row.try_get(0)?)
}

fn typed<'a>(params: &'a [Param<'_>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params
        .iter()
        .map(|p| match p {
            Param::I64(v) => (v as &(dyn ToSql + Sync), Type::INT8),
            Param::I32(v) => (v as _, Type::INT4),
            Param::Text(v) => (v as _, Type::TEXT),
            Param::Bytes(v) => (v as _, Type::BYTEA),
        })
        .collect()
}
