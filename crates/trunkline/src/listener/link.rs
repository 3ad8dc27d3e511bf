//! A live connection, and how the engine's statements run on it.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Mutex, atomic::AtomicI32},
    time::SystemTime,
};

use futures_util::TryStreamExt as _;
use tokio::sync::Semaphore;
use tokio_postgres::{
    Client, Row, Statement,
    types::{FromSql, ToSql, Type},
};
use uuid::Uuid;

use super::{closed, lock};
use crate::{Error, ErrorKind, Result};

/// A live connection with its session.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) session: i32,
    pub(crate) address: Uuid,
    /// Rises with every connection.
    pub(crate) generation: u64,
    /// False when this is a new session: nothing that an earlier one held is ours.
    pub(crate) resumed: bool,
    /// Which segments writers fill, as bits: see `_session_renew`. A hint, a renewal old at most.
    pub(crate) segments: AtomicI32,
    /// When it last answered, at least: the time of asking.
    pub(super) well_at: Mutex<SystemTime>,
    /// The role, where it has rights on the tables: such an engine runs the statements of `sql/direct` by itself.
    pub(crate) direct: Option<String>,
    /// Behind a transaction pooler: no lock outlives a statement.
    pub(crate) pooled: bool,
    /// What every statement passes behind a pooler, until the connection is closed: see [`Link::drained`].
    pub(super) gate: Semaphore,
    pub(super) may_prepare: bool,
    pub(super) statements: Mutex<HashMap<String, Statement>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("session", &self.session).field("generation", &self.generation).finish()
    }
}

pub(crate) type Args<'a> = [(&'a (dyn ToSql + Sync), Type)];

impl Link {
    /// Up to when it is known to have been in order, by this machine's clock: what came until then was heard.
    pub(crate) fn well_at(&self) -> SystemTime {
        *lock(&self.well_at)
    }

    /// The session's own door, where it is rung for what it waits for: ends of jobs, leases. As `_job_tell` has it.
    pub(crate) fn door(&self) -> i32 {
        -130 - self.session % 2_000_000_000
    }

    /// Runs one of our statements; prepared once a connection, or unnamed behind a pooler.
    pub(crate) async fn query(&self, sql: &str, args: &Args<'_>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.each(sql, args, |row| {
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Runs one of our statements, and hands over its rows as they arrive.
    pub(crate) async fn each(
        &self,
        sql: &str,
        args: &Args<'_>,
        mut take: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let _passed = match self.pooled {
            true => Some(self.gate.acquire().await.map_err(|_| closed())?),
            false => None,
        };
        let rows = if self.may_prepare {
            let statement = self.statement(sql, args).await?;
            self.client.query_raw(&statement, args.iter().map(|(v, _)| *v)).await?
        } else {
            self.client.query_typed_raw(sql, args.iter().map(|(v, t)| (*v, t.clone()))).await?
        };
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await? {
            take(row)?;
        }
        Ok(())
    }

    async fn statement(&self, sql: &str, args: &Args<'_>) -> Result<Statement> {
        if let Some(known) = lock(&self.statements).get(sql) {
            return Ok(known.clone());
        }
        let types: Vec<Type> = args.iter().map(|(_, t)| t.clone()).collect();
        let statement = self.client.prepare_typed(sql, &types).await?;
        let mut known = lock(&self.statements);
        if known.len() >= Self::STATEMENTS {
            known.clear(); // of streams that are gone, most of them
        }
        known.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Ends the session with this statement, after all others, and with all of their answers read: pgbouncer (1.18) hands a
    /// server on to its next client with the answers that one who hung up did not wait for.
    pub(super) async fn drained(&self, sql: &'static str, args: &Args<'_>) -> Result<()> {
        if !self.pooled {
            return self.query(sql, args).await.map(drop);
        }
        let _all = self.gate.acquire_many(Self::GATE).await;
        self.gate.close();
        self.client.query_typed(sql, args).await.map(drop).map_err(Into::into)
    }

    /// So many prepared statements at most.
    const STATEMENTS: usize = 500;

    /// So many statements at once.
    pub(super) const GATE: u32 = 1024;

    /// The single value of a statement that yields one row.
    pub(crate) async fn value<T: for<'a> FromSql<'a>>(
        &self,
        sql: &'static str,
        args: &Args<'_>,
    ) -> Result<T> {
        let rows = self.query(sql, args).await?;
        let row =
            rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "the statement returned no row"))?;
        Ok(row.try_get(0)?)
    }
}
