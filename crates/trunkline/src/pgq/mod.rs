//! Programs for PgQ's queues, in a database that has the extension or our adapter (`trunkline schema install --pgq`).
//!
//! Every call runs on a session or transaction of yours, so that a batch can be finished together with your writes:
//!
//! ```no_run
//! # async fn f(mut client: tokio_postgres::Client) -> trunkline::Result<()> {
//! use trunkline::pgq::{Consumer, Queue};
//! Queue::new("orders").create(&client).await?;
//! let mut consumer = Consumer::new("orders", "mailer");
//! consumer.register(&client).await?;
//! while let Some(mut batch) = consumer.next(&client).await? {
//!     let tx = client.transaction().await?;
//!     for event in batch.events(&tx).await? {
//!         if event.kind == "bad" {
//!             batch.retry(event.id, std::time::Duration::from_secs(60));
//!         }
//!     }
//!     batch.finish(&tx).await?;
//!     tx.commit().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Guarantees are PgQ's: an event that is not tagged is done when its batch is finished; a batch that is not finished comes
//! again as a whole. New programs are better off with [`crate::streams`].

mod consumer;
mod info;
mod queue;
mod ticker;

pub use consumer::{Batch, Consumer, Event};
pub use info::{ConsumerInfo, QueueInfo, consumers, queues, version};
pub use queue::{NewEvent, Queue};
pub use ticker::{Round, Ticker};

use tokio_postgres::{GenericClient, Row, types::ToSql};

use crate::{Error, ErrorKind, Result};

/// The single value of a statement that yields one row.
async fn value<T, C>(client: &C, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<T>
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
    C: GenericClient,
{
    Ok(one(client, sql, args).await?.try_get(0)?)
}

/// The one row of a statement.
async fn one<C: GenericClient>(client: &C, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<Row> {
    client
        .query_opt(sql, args)
        .await?
        .ok_or_else(|| Error::new(ErrorKind::Other, "the statement returned no row"))
}
