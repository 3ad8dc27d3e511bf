//! trunkline inside the transactions of diesel-async: what you send or answer there goes out with your commit, together
//! with your own rows, and is gone with your rollback.
//!
//! Wrap the connection, pooled or not, with [`on`] and hand it to
//! [`Call::start_on`](trunkline::requests::Call::start_on) or
//! [`Incoming::reply_on`](trunkline::requests::Incoming::reply_on):
//!
//! ```
//! use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
//! use trunkline::{Trunkline, requests::Failure};
//! use trunkline_diesel::on;
//!
//! type Error = Box<dyn std::error::Error + Send + Sync>;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! #     let home = std::env::temp_dir().join(format!("trunkline-diesel-doc-{}", std::process::id()));
//! #     let settings = trunkline_embedded::Settings::default().data_dir(&home);
//! #     let server = trunkline_embedded::Server::start(&settings, &mut |_| ())?.stop_on_drop();
//! #     let (mut client, driver) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await?;
//! #     tokio::spawn(driver);
//! #     trunkline::schema::install(&mut client).await?;
//! #     client.batch_execute("create table orders (item text)").await?;
//! #     let done = order(&server.url()).await;
//! #     drop(server);
//! #     std::fs::remove_dir_all(home)?;
//! #     done
//! # }
//! # async fn order(url: &str) -> Result<(), Error> {
//! let trunkline = Trunkline::connect(url).await?;
//! let _shop = trunkline.requests().serve("bill", async |r| Ok::<_, Failure>(r.payload));
//! let mut connection = AsyncPgConnection::establish(url).await?;
//!
//! let call = trunkline.requests().call("bill", "tea").wait_for_responder();
//! let bill = connection
//!     .transaction(async |c| {
//!         diesel::sql_query("insert into orders values ('tea')").execute(c).await?;
//!         Ok::<_, Error>(call.start_on(&mut on(c)).await?)
//!     })
//!     .await?;
//!
//! assert_eq!(bill.wait().await?.payload.bytes(), b"tea");
//! # trunkline.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Guarantees: the statements run on your connection and nowhere else, and take part in whatever transaction is open
//! on it; without one each is a transaction of its own. Errors of the server keep their message, not their DETAIL, and
//! no parameter is added. Statements are cached as your connection's cache size says, so behind a pooler the same
//! setting serves as for your own queries.
//!
//! Does not guarantee: a SQLSTATE for every error. diesel hides it, and tells apart only what its own
//! `DatabaseErrorKind` names: those have [`Error::code`], every other refusal of the server is
//! [`ErrorKind::Other`] with the server's message. Errors that trunkline itself finds, a stale reply or nobody who
//! serves the channel among them, are as with every other driver.
//!
//! Nor a transaction that goes on after an error, which PostgreSQL has ended by then: return the error, and diesel
//! rolls back. A call that is dropped before it returned may have run or not: roll back as well.

use diesel::{
    QueryResult,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::{BigInt, Binary, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use trunkline::{
    Error, ErrorKind, Result,
    error::kind_of_sqlstate,
    executor::{Executor, Param},
};

/// A connection of diesel-async that trunkline's statements run on; made by [`on`].
pub struct On<'c>(&'c mut AsyncPgConnection);

impl std::fmt::Debug for On<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("On(AsyncPgConnection)")
    }
}

/// Runs trunkline's statements on this connection, in the transaction that is open on it.
#[must_use]
pub fn on(connection: &mut AsyncPgConnection) -> On<'_> {
    On(connection)
}

impl Executor for On<'_> {
    async fn scalar(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<i64> {
        let e = match (Statement { sql, params }).get_result::<i64>(self.0).await {
            Ok(value) => return Ok(value),
            Err(e) => error(e),
        };
        // diesel does not tell a refusal from a broken connection. An empty statement is allowed in a failed
        // transaction and does nothing, so only a broken connection refuses it.
        if e.kind() == ErrorKind::Other && e.code().is_none() && self.0.batch_execute("").await.is_err() {
            return Err(Error::new(ErrorKind::Unreachable, "the database connection failed")
                .with_source(e.to_string()));
        }
        Err(e)
    }
}

/// A statement with `$n` parameters. Unlike `diesel::sql_query` it is prepared once and read by position.
struct Statement<'a> {
    sql: &'static str,
    params: &'a [Param<'a>],
}

impl QueryFragment<Pg> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.sql);
        for param in self.params {
            match param {
                Param::I64(v) => out.push_bind_param_value_only::<BigInt, _>(v)?,
                Param::I32(v) => out.push_bind_param_value_only::<Integer, _>(v)?,
                Param::Text(v) => out.push_bind_param_value_only::<Nullable<Text>, _>(v)?,
                Param::Bytes(v) => out.push_bind_param_value_only::<Nullable<Binary>, _>(v)?,
                _ => {
                    return Err(DieselError::QueryBuilderError(
                        "trunkline-diesel is older than trunkline: update it".into(),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Cached by its text.
impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = BigInt;
}

/// The cause is kept only where it cannot hold row values or what was sent.
fn error(e: DieselError) -> Error {
    match e {
        DieselError::DatabaseError(kind, info) => {
            let message = info.message().to_owned();
            match sqlstate(&kind) {
                Some(code) => Error::new(kind_of_sqlstate(code), message).with_code(code),
                None => Error::new(ErrorKind::Other, message),
            }
        }
        DieselError::BrokenTransactionManager => {
            Error::new(ErrorKind::Unreachable, "the connection's transaction is broken").with_source(e)
        }
        DieselError::NotFound => Error::new(ErrorKind::Other, "the statement returned no row"),
        DieselError::SerializationError(_) => Error::new(ErrorKind::Invalid, "a parameter cannot be sent"),
        e => Error::new(ErrorKind::Other, "the statement failed in the driver").with_source(e),
    }
}

/// The codes that diesel's kinds stand for.
fn sqlstate(kind: &DatabaseErrorKind) -> Option<&'static str> {
    Some(match kind {
        DatabaseErrorKind::RestrictViolation => "23001",
        DatabaseErrorKind::NotNullViolation => "23502",
        DatabaseErrorKind::ForeignKeyViolation => "23503",
        DatabaseErrorKind::UniqueViolation => "23505",
        DatabaseErrorKind::CheckViolation => "23514",
        DatabaseErrorKind::ExclusionViolation => "23P01",
        DatabaseErrorKind::ReadOnlyTransaction => "25006",
        DatabaseErrorKind::SerializationFailure => "40001",
        _ => return None,
    })
}
