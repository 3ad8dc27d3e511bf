//! A queue: made, set, filled, dropped.

use std::{pin::pin, time::SystemTime};

use tokio_postgres::{
    GenericClient, Transaction,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::value;
use crate::{Error, ErrorKind, Result};

const INSERT: &str =
    "select pgq.insert_event($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text)";
const TARGET: &str = "select pgq.current_event_table($1::text)";
const EXTERNAL: &str = "select pgq.ticker($1::text, $2::bigint, $3::timestamptz, $4::bigint)";
const SET: &str = "select pgq.set_queue_config($1::text, $2::text, $3::text)";
const COLUMNS: [Type; 7] =
    [Type::TIMESTAMPTZ, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT];

/// A queue, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    name: String,
}

/// An event to be inserted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// Its type.
    pub kind: Option<String>,
    /// What it says.
    pub data: Option<String>,
    /// The fields `ev_extra1` to `ev_extra4`.
    pub extra: [Option<String>; 4],
}

impl NewEvent {
    /// An event of a type, with data.
    pub fn new(kind: impl Into<String>, data: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), data: Some(data.into()), extra: Default::default() }
    }
}

impl Queue {
    /// A queue of this name, which need not be there yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes it: false when it was there.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] without `pgq_admin`; what PgQ says of the name.
    pub async fn create(&self, client: &impl GenericClient) -> Result<bool> {
        let made: i32 = value(client, "select pgq.create_queue($1::text)", &[&self.name]).await?;
        Ok(made == 1)
    }

    /// Drops it; with `force`, also while consumers are registered.
    ///
    /// # Errors
    /// What PgQ says: no such queue, consumers still attached.
    pub async fn drop(&self, client: &impl GenericClient, force: bool) -> Result<()> {
        let _: i32 =
            value(client, "select pgq.drop_queue($1::text, $2::bool)", &[&self.name, &force]).await?;
        Ok(())
    }

    /// Sets a parameter: `ticker_max_count`, `ticker_max_lag`, `ticker_idle_period`, `ticker_paused`, `rotation_period`,
    /// `external_ticker`.
    ///
    /// # Errors
    /// What PgQ says of the parameter.
    pub async fn set(&self, client: &impl GenericClient, parameter: &str, to: &str) -> Result<()> {
        let _: i32 = value(client, SET, &[&self.name, &parameter, &to]).await?;
        Ok(())
    }

    /// Inserts an event, in the transaction of `client` when there is one: its id.
    ///
    /// # Errors
    /// What PgQ says: no such queue, inserts disabled, too many of one transaction.
    pub async fn insert(&self, client: &impl GenericClient, event: &NewEvent) -> Result<i64> {
        let [e1, e2, e3, e4] = &event.extra;
        value(client, INSERT, &[&self.name, &event.kind, &event.data, e1, e2, e3, e4]).await
    }

    /// Inserts events in bulk by COPY, in a transaction of yours: how many. Needs the right to write to the event table,
    /// which PgQ gives to its owner alone.
    ///
    /// # Errors
    /// As [`Queue::insert`], and [`ErrorKind::Denied`].
    pub async fn insert_all(
        &self,
        tx: &Transaction<'_>,
        events: impl IntoIterator<Item = NewEvent> + Send,
    ) -> Result<u64> {
        let table: String = value(tx, TARGET, &[&self.name]).await?;
        if !table.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '"')) {
            return Err(Error::new(ErrorKind::Other, "pgq.current_event_table returned no plain name"));
        }
        let sql = format!(
            "copy {table} (ev_time, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4) from stdin (format binary)"
        );
        let rows: Vec<NewEvent> = events.into_iter().collect();
        let mut writer = pin!(BinaryCopyInWriter::new(tx.copy_in(&sql).await?, &COLUMNS));
        for event in rows {
            let [e1, e2, e3, e4] = &event.extra;
            let now = SystemTime::now();
            let row: [&(dyn ToSql + Sync); 7] = [&now, &event.kind, &event.data, e1, e2, e3, e4];
            writer.as_mut().write(&row).await?;
        }
        Ok(writer.finish().await?)
    }

    /// Registers a consumer that begins at the last tick: false when it was there.
    ///
    /// # Errors
    /// What PgQ says: no such queue.
    pub async fn register(&self, client: &impl GenericClient, consumer: &str) -> Result<bool> {
        let sql = "select pgq.register_consumer($1::text, $2::text)";
        let made: i32 = value(client, sql, &[&self.name, &consumer]).await?;
        Ok(made == 1)
    }

    /// Registers a consumer at a tick, or moves one there, which drops the batch it holds.
    ///
    /// # Errors
    /// What PgQ says: no such queue, tick not found.
    pub async fn register_at(&self, client: &impl GenericClient, consumer: &str, tick: i64) -> Result<bool> {
        let sql = "select pgq.register_consumer_at($1::text, $2::text, $3::bigint)";
        let made: i32 = value(client, sql, &[&self.name, &consumer, &tick]).await?;
        Ok(made == 1)
    }

    /// Removes a consumer, what it retries included: how many subscriptions.
    ///
    /// # Errors
    /// What PgQ says.
    pub async fn unregister(&self, client: &impl GenericClient, consumer: &str) -> Result<i32> {
        value(client, "select pgq.unregister_consumer($1::text, $2::text)", &[&self.name, &consumer]).await
    }

    /// Makes a tick now if it is due: its id.
    ///
    /// # Errors
    /// What PgQ says: no such queue, paused, or one with an external ticker.
    pub async fn tick(&self, client: &impl GenericClient) -> Result<Option<i64>> {
        value(client, "select pgq.ticker($1::text)", &[&self.name]).await
    }

    /// Lets the next tick be due whatever was inserted: the id of the last one.
    ///
    /// # Errors
    /// What PgQ says: no such queue.
    pub async fn force_tick(&self, client: &impl GenericClient) -> Result<Option<i64>> {
        value(client, "select pgq.force_tick($1::text)", &[&self.name]).await
    }

    /// A tick from outside, for a queue with an external ticker: its id.
    ///
    /// # Errors
    /// What PgQ says: not an external queue.
    pub async fn external_tick(
        &self,
        client: &impl GenericClient,
        tick: i64,
        at: SystemTime,
        event_seq: i64,
    ) -> Result<i64> {
        value(client, EXTERNAL, &[&self.name, &tick, &at, &event_seq]).await
    }
}
