//! What there is: queues, consumers, and which PgQ.

use std::time::Duration;

use tokio_postgres::GenericClient;

use super::value;
use crate::Result;

const QUEUES: &str = "select queue_name, extract(epoch from ticker_lag)::float8, ev_per_sec::float8, ev_new, last_tick_id, queue_ticker_paused, queue_external_ticker from pgq.get_queue_info() order by 1";
const CONSUMERS: &str = "select queue_name, consumer_name, extract(epoch from lag)::float8, extract(epoch from last_seen)::float8, last_tick, current_batch, next_tick, pending_events from pgq.get_consumer_info() order by 1, 2";

/// A queue, as `pgq.get_queue_info` tells it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Since the last tick.
    pub ticker_lag: Duration,
    /// Events a second, over the last ticks.
    pub per_second: Option<f64>,
    /// Events since the last tick, by their numbers: an estimate.
    pub new_events: i64,
    /// The last tick.
    pub last_tick: i64,
    /// Its ticker is paused.
    pub paused: bool,
    /// Its ticks come from elsewhere.
    pub external: bool,
}

/// A consumer, as `pgq.get_consumer_info` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its queue.
    pub queue: String,
    /// Its name; `consumer.member` for one that shares.
    pub name: String,
    /// How far behind it is.
    pub lag: Option<Duration>,
    /// Since it was heard of.
    pub last_seen: Option<Duration>,
    /// The last tick it has finished.
    pub last_tick: Option<i64>,
    /// The batch it holds.
    pub batch: Option<i64>,
    /// The tick that ends it.
    pub next_tick: Option<i64>,
    /// Events after its position, by their numbers: an estimate.
    pub pending: Option<i64>,
}

fn duration(seconds: Option<f64>) -> Option<Duration> {
    seconds.map(|s| Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(Duration::MAX))
}

/// The version of PgQ, or of the adapter.
///
/// # Errors
/// [`ErrorKind::Schema`](crate::ErrorKind::Schema) when there is neither.
pub async fn version(client: &impl GenericClient) -> Result<String> {
    value(client, "select pgq.version()", &[]).await
}

/// All queues, by name.
///
/// # Errors
/// As [`version`].
pub async fn queues(client: &impl GenericClient) -> Result<Vec<QueueInfo>> {
    let rows = client.query(QUEUES, &[]).await?;
    rows.iter()
        .map(|r| {
            Ok(QueueInfo {
                name: r.try_get(0)?,
                ticker_lag: duration(r.try_get(1)?).unwrap_or_default(),
                per_second: r.try_get(2)?,
                new_events: r.try_get::<_, Option<i64>>(3)?.unwrap_or(0),
                last_tick: r.try_get::<_, Option<i64>>(4)?.unwrap_or(0),
                paused: r.try_get(5)?,
                external: r.try_get(6)?,
            })
        })
        .collect()
}

/// All consumers, by queue and name.
///
/// # Errors
/// As [`version`].
pub async fn consumers(client: &impl GenericClient) -> Result<Vec<ConsumerInfo>> {
    let rows = client.query(CONSUMERS, &[]).await?;
    rows.iter()
        .map(|r| {
            Ok(ConsumerInfo {
                queue: r.try_get(0)?,
                name: r.try_get(1)?,
                lag: duration(r.try_get(2)?),
                last_seen: duration(r.try_get(3)?),
                last_tick: r.try_get(4)?,
                batch: r.try_get(5)?,
                next_tick: r.try_get(6)?,
                pending: r.try_get(7)?,
            })
        })
        .collect()
}
