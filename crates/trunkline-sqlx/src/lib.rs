//! trunkline inside the transactions of sqlx: what you send or answer there goes out with your commit, together with
//! your own rows, and is gone with your rollback.
//!
//! Wrap the connection, the transaction or the pooled connection with [`on`] and hand it to
//! [`Call::start_on`](trunkline::requests::Call::start_on) or
//! [`Incoming::reply_on`](trunkline::requests::Incoming::reply_on):
//!
//! ```
//! use sqlx::{Connection, PgConnection};
//! use trunkline::{Trunkline, requests::Failure};
//! use trunkline_sqlx::on;
//!
//! # type Result = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result {
//! #     let home = std::env::temp_dir().join(format!("trunkline-sqlx-doc-{}", std::process::id()));
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
//! # async fn order(url: &str) -> Result {
//! let trunkline = Trunkline::connect(url).await?;
//! let _shop = trunkline.requests().serve("bill", async |r| Ok::<_, Failure>(r.payload));
//! let mut connection = PgConnection::connect(url).await?;
//!
//! let mut tx = connection.begin().await?;
//! sqlx::query("insert into orders values ('tea')").execute(&mut *tx).await?;
//! let bill = trunkline.requests().call("bill", "tea").wait_for_responder().start_on(&mut on(&mut tx)).await?;
//! tx.commit().await?;
//!
//! assert_eq!(bill.wait().await?.payload.bytes(), b"tea");
//! # trunkline.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Guarantees: the statements run on your connection and nowhere else, and take part in whatever transaction is open
//! on it; without one each is a transaction of its own. Errors of the server keep their SQLSTATE and message, not
//! their DETAIL, and no parameter is added. Statements are cached as your connection's options say, so behind a
//! pooler the same options serve as for your own queries.
//!
//! Does not guarantee: a transaction that goes on after an error, which PostgreSQL has ended by then; roll it back, to
//! a savepoint if you have one. A call that is dropped before it returned may have run or not: roll back as well.

use sqlx::{PgConnection, Postgres, query::QueryScalar};
use trunkline::{
    Error, ErrorKind, Result,
    error::kind_of_sqlstate,
    executor::{Executor, Param},
};

/// A connection or transaction of sqlx that trunkline's statements run on; made by [`on`].
#[derive(Debug)]
pub struct On<'c>(&'c mut PgConnection);

/// Runs trunkline's statements on this connection: `on(&mut tx)`, `on(&mut pooled)` or `on(&mut connection)`.
#[must_use]
pub fn on(connection: &mut PgConnection) -> On<'_> {
    On(connection)
}

impl Executor for On<'_> {
    async fn scalar(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<i64> {
        let mut query = sqlx::query_scalar(sql);
        for param in params {
            query = bind(query, *param)?;
        }
        query.fetch_one(&mut *self.0).await.map_err(error)
    }
}

type Scalar<'q> = QueryScalar<'q, Postgres, i64, <Postgres as sqlx::Database>::Arguments>;

fn bind<'q>(query: Scalar<'q>, param: Param<'q>) -> Result<Scalar<'q>> {
    Ok(match param {
        Param::I64(v) => query.bind(v),
        Param::I32(v) => query.bind(v),
        Param::Text(v) => query.bind(v),
        Param::Bytes(v) => query.bind(v),
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "trunkline-sqlx is older than trunkline: update it",
            ));
        }
    })
}

/// The cause is kept only where it cannot hold row values or what was sent.
fn error(e: sqlx::Error) -> Error {
    match e {
        sqlx::Error::Database(db) => {
            let code = db.code().unwrap_or_default().into_owned();
            Error::new(kind_of_sqlstate(&code), db.message().to_owned()).with_code(code)
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
            Error::new(ErrorKind::Unreachable, "the database connection failed").with_source(e)
        }
        sqlx::Error::RowNotFound => Error::new(ErrorKind::Other, "the statement returned no row"),
        sqlx::Error::Encode(_) => Error::new(ErrorKind::Invalid, "a parameter cannot be sent"),
        e => Error::new(ErrorKind::Other, "the statement failed in the driver").with_source(e),
    }
}
