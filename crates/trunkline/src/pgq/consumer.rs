//! A consumer, alone or one of several that share its batches: takes batches, tags events, finishes.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tokio_postgres::{GenericClient, Row};

use super::{one, value};
use crate::{Error, ErrorKind, Result};

const NEXT: &str = "select batch_id, cur_tick_id, prev_tick_id from pgq.next_batch_custom($1::text, $2::text, make_interval(secs => $3::float8), $4::int, make_interval(secs => $5::float8))";
const NEXT_SHARED: &str = "select pgq_coop.next_batch_custom($1::text, $2::text, $3::text, make_interval(secs => $4::float8), $5::int, make_interval(secs => $6::float8), make_interval(secs => $7::float8))";
const INFO: &str = "select tick_id, prev_tick_id from pgq.get_batch_info($1::bigint)";
const EVENTS: &str = "select ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 from pgq.get_batch_events($1::bigint)";
const RETRY: &str = "select count(pgq.event_retry($1::bigint, e, $3::int)) from unnest($2::bigint[]) e";

/// An event as a consumer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its number.
    pub id: i64,
    /// When it was inserted.
    pub at: SystemTime,
    /// The transaction that inserted it.
    pub txid: i64,
    /// How often it came before.
    pub retry: i32,
    /// Its type.
    pub kind: String,
    /// What it says.
    pub data: String,
    /// The fields `ev_extra1` to `ev_extra4`.
    pub extra: [Option<String>; 4],
}

impl Event {
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.try_get(0)?,
            at: row.try_get(1)?,
            txid: row.try_get(2)?,
            retry: row.try_get::<_, Option<i32>>(3)?.unwrap_or(0),
            kind: row.try_get::<_, Option<String>>(4)?.unwrap_or_default(),
            data: row.try_get::<_, Option<String>>(5)?.unwrap_or_default(),
            extra: [row.try_get(6)?, row.try_get(7)?, row.try_get(8)?, row.try_get(9)?],
        })
    }
}

/// A consumer of a queue, or one of those that share its batches ([`Consumer::shared`], of `pgq_coop`).
#[derive(Debug, Clone)]
pub struct Consumer {
    queue: String,
    name: String,
    member: Option<(String, Duration)>,
    min_count: Option<i32>,
    min_interval: Option<Duration>,
    min_lag: Option<Duration>,
}

impl Consumer {
    /// A consumer, by queue and name.
    pub fn new(queue: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            name: name.into(),
            member: None,
            min_count: None,
            min_interval: None,
            min_lag: None,
        }
    }

    /// Makes it one of several that share the batches: `member` is its name among them; the batch of another that was not
    /// heard of for `dead_after` is taken over.
    #[must_use]
    pub fn shared(mut self, member: impl Into<String>, dead_after: Duration) -> Self {
        self.member = Some((member.into(), dead_after));
        self
    }

    /// Waits for so many events, unless `min_interval` passes first.
    #[must_use]
    pub fn min_count(mut self, events: i32) -> Self {
        self.min_count = Some(events);
        self
    }

    /// Batches span at least this time, unless there are `min_count` events.
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = Some(interval);
        self
    }

    /// Hands out nothing that is younger.
    #[must_use]
    pub fn min_lag(mut self, lag: Duration) -> Self {
        self.min_lag = Some(lag);
        self
    }

    /// Registers it, at the last tick: false when it was there.
    ///
    /// # Errors
    /// What PgQ says: no such queue.
    pub async fn register(&self, client: &impl GenericClient) -> Result<bool> {
        let made: i32 = match &self.member {
            None => {
                let sql = "select pgq.register_consumer($1::text, $2::text)";
                value(client, sql, &[&self.queue, &self.name]).await?
            }
            Some((member, _)) => {
                let sql = "select pgq_coop.register_subconsumer($1::text, $2::text, $3::text)";
                value(client, sql, &[&self.queue, &self.name, member]).await?
            }
        };
        Ok(made == 1)
    }

    /// Removes it. One that shares and holds a batch hands it back first: an error says so.
    ///
    /// # Errors
    /// What PgQ says: subconsumer has active batch.
    pub async fn unregister(&self, client: &impl GenericClient) -> Result<i32> {
        match &self.member {
            None => {
                let sql = "select pgq.unregister_consumer($1::text, $2::text)";
                value(client, sql, &[&self.queue, &self.name]).await
            }
            Some((member, _)) => {
                let sql = "select pgq_coop.unregister_subconsumer($1::text, $2::text, $3::text, 0)";
                value(client, sql, &[&self.queue, &self.name, member]).await
            }
        }
    }

    /// The next batch, or the one that was not finished; none when nothing was ticked since. It may hold no events, and is
    /// to be finished all the same. Commit before you work, so that others of the consumer do not wait.
    ///
    /// # Errors
    /// What PgQ says: not subscriber to queue.
    pub async fn next(&mut self, client: &impl GenericClient) -> Result<Option<Batch>> {
        let seconds = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
        let (lag, interval) = (seconds(self.min_lag), seconds(self.min_interval));
        let Some((member, dead_after)) = &self.member else {
            let row = one(client, NEXT, &[&self.queue, &self.name, &lag, &self.min_count, &interval]).await?;
            let Some(id) = row.try_get::<_, Option<i64>>(0)? else { return Ok(None) };
            return Ok(Some(Batch::new(id, row.try_get(2)?, row.try_get(1)?, false)));
        };
        let dead = dead_after.as_secs_f64();
        let args: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&self.queue, &self.name, member, &lag, &self.min_count, &interval, &dead];
        let Some(id) = value::<Option<i64>, _>(client, NEXT_SHARED, &args).await? else { return Ok(None) };
        let row = one(client, INFO, &[&id]).await?;
        Ok(Some(Batch::new(id, row.try_get(1)?, row.try_get(0)?, true)))
    }
}

/// A batch in hand. What is not tagged is done when it is finished; dropping it leaves it unfinished, and it comes again.
#[derive(Debug)]
pub struct Batch {
    id: i64,
    ticks: (i64, i64),
    shared: bool,
    retries: BTreeMap<i64, Duration>,
}

impl Batch {
    fn new(id: i64, first: i64, last: i64, shared: bool) -> Self {
        Self { id, ticks: (first, last), shared, retries: BTreeMap::new() }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The ticks between which its events lie: after the first, up to the last.
    #[must_use]
    pub fn ticks(&self) -> (i64, i64) {
        self.ticks
    }

    /// All its events, by id, in memory.
    ///
    /// # Errors
    /// What PgQ says: batch not found.
    pub async fn events(&self, client: &impl GenericClient) -> Result<Vec<Event>> {
        client.query(EVENTS, &[&self.id]).await?.iter().map(Event::of).collect()
    }

    /// Its events by a cursor, at most so many at a time, each portion handed to `work`: for batches that are larger than
    /// memory. Runs in a transaction of yours. `condition`, raw SQL for WHERE, chooses among them.
    ///
    /// # Errors
    /// What PgQ says, and what `work` returns.
    pub async fn each(
        &self,
        tx: &tokio_postgres::Transaction<'_>,
        portion: u16,
        condition: Option<&str>,
        mut work: impl AsyncFnMut(Vec<Event>) -> Result<()>,
    ) -> Result<()> {
        let (name, most) = (format!("trunkline_batch_{}", self.id), i32::from(portion.max(1)));
        let sql = "select * from pgq.get_batch_cursor($1::bigint, $2::text, $3::int, $4::text)";
        let mut rows = tx.query(sql, &[&self.id, &name, &most, &condition]).await?;
        let fetch = format!("fetch {most} from {name}");
        while !rows.is_empty() {
            work(rows.iter().map(Event::of).collect::<Result<_>>()?).await?;
            rows = tx.query(&fetch, &[]).await?;
        }
        Ok(tx.batch_execute(&format!("close {name}")).await?)
    }

    /// Tags an event: it comes again to this consumer after a while, once the batch is finished.
    pub fn retry(&mut self, event: i64, after: Duration) {
        self.retries.insert(event, after);
    }

    /// Takes a tag back: the event is done.
    pub fn done(&mut self, event: i64) {
        self.retries.remove(&event);
    }

    /// Finishes it, the tags included; on a transaction, with your writes.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when PgQ knows it no more: it was finished, or taken over; roll back.
    pub async fn finish(&self, client: &impl GenericClient) -> Result<()> {
        let mut by_delay: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for (id, after) in &self.retries {
            let seconds = i32::try_from(after.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
            by_delay.entry(seconds).or_default().push(*id);
        }
        if !by_delay.is_empty()
            && one(client, INFO, &[&self.id]).await?.try_get::<_, Option<i64>>(0)?.is_none()
        {
            return Err(self.stale());
        }
        for (seconds, ids) in by_delay {
            let _: i64 = value(client, RETRY, &[&self.id, &ids, &seconds]).await?;
        }
        let sql = match self.shared {
            false => "select pgq.finish_batch($1::bigint)",
            true => "select pgq_coop.finish_batch($1::bigint)",
        };
        let finished: i32 = value(client, sql, &[&self.id]).await?;
        if finished == 1 { Ok(()) } else { Err(self.stale()) }
    }

    fn stale(&self) -> Error {
        Error::new(ErrorKind::Stale, format!("batch {} was finished, or taken over, meanwhile", self.id))
    }
}
