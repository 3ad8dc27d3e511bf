//! The events of a batch: read from where they are, and those of the next batch while one is handled.
//!
//! What is read ahead is not taken: it is the member's only when the next take names the same place, and thrown away when
//! it does not. A place is a window between two snapshots in one segment, so it holds the same events whenever it is read,
//! until the consumer has finished them. At most one batch is read ahead, by the consumer's own limits.

use std::sync::{Arc, LazyLock};

use tokio::task::JoinHandle;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use tracing::debug;

use super::{Content, Event, Payload};
use crate::{
    Result,
    listener::{Args, Link},
    requests::decode_headers,
    schema,
};

/// The batch, and where its events are; in a second row, without a batch, where those of the next one will be.
pub(super) const NEXT_READ: &str = "select batch, first_tick, last_tick, attempt, segment, since, until, lo, hi, after, upto, file, first_row, last_row from trunkline._stream_next_read($1, $2, $3, $4, $5)";
const EVENTS: &str = "select id, at, type, key, content, payload, headers, attempt from trunkline._stream_events($1, null, null)";
/// For engines with rights on the tables, of the segment 0; prepared once for each.
static READ: LazyLock<String> = LazyLock::new(|| schema::direct("stream_read", "e0"));
static READ_PART: LazyLock<String> = LazyLock::new(|| schema::direct("stream_read_part", "e0"));

/// The events of a batch, from the function that is for everybody.
pub(super) async fn events(link: &Link, token: &str) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    let take = |row: Row| {
        events.push(event(&row, row.try_get(7)?)?);
        Ok(())
    };
    link.each(EVENTS, &[(&token, Type::TEXT)], take).await?;
    Ok(events)
}

/// Where the events of a batch are, for who reads by himself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    segment: i32,
    /// The xids between which to look, where no rows are named.
    since: Option<String>,
    until: Option<String>,
    /// The snapshots.
    lo: Option<String>,
    hi: Option<String>,
    /// The ids after and to which.
    after: i64,
    upto: Option<i64>,
    /// The first row and the last, while the segment is this file.
    file: Option<u32>,
    first: Option<String>,
    last: Option<String>,
}

impl Place {
    /// The place that a row of [`NEXT_READ`] names; none when that has to be asked.
    pub(super) fn of(row: &Row) -> Result<Option<Self>> {
        let Some(segment) = row.try_get(4)? else { return Ok(None) };
        Ok(Some(Self {
            segment,
            since: row.try_get(5)?,
            until: row.try_get(6)?,
            lo: row.try_get(7)?,
            hi: row.try_get(8)?,
            after: row.try_get(9)?,
            upto: row.try_get(10)?,
            file: row.try_get(11)?,
            first: row.try_get(12)?,
            last: row.try_get(13)?,
        }))
    }

    /// Its events, by id; none when they are another place by now.
    pub(super) async fn read(&self, link: &Link) -> Result<Vec<Event>> {
        let (sql, ends): (_, &Args<'_>) = match &self.file {
            Some(file) => {
                (&READ_PART, &[(file, Type::OID), (&self.first, Type::TEXT), (&self.last, Type::TEXT)])
            }
            None => (&READ, &[(&self.since, Type::TEXT), (&self.until, Type::TEXT)]),
        };
        let window: [(&(dyn ToSql + Sync), Type); 4] = [
            (&self.lo, Type::TEXT),
            (&self.hi, Type::TEXT),
            (&self.after, Type::INT8),
            (&self.upto, Type::INT8),
        ];
        let sql = sql.replace("stream_event_0", &format!("stream_event_{}", self.segment));
        let mut events = Vec::new();
        let take = |row: Row| {
            events.push(event(&row, 1)?);
            Ok(())
        };
        link.each(&sql, &[ends, &window].concat(), take).await?;
        // They lie by id already, but for what several wrote at the same time.
        events.sort_by_key(|e| e.id);
        Ok(events)
    }
}

fn event(row: &Row, attempt: i32) -> Result<Event> {
    Ok(Event {
        id: row.try_get(0)?,
        at: row.try_get(1)?,
        kind: row.try_get(2)?,
        key: row.try_get(3)?,
        payload: Payload::new(Content::of(i32::from(row.try_get::<_, i16>(4)?)), row.try_get(5)?),
        headers: decode_headers(row.try_get(6)?),
        attempt,
    })
}

/// The events of a batch that is not taken yet, on their way or here. Dropping it throws them away.
#[derive(Debug)]
pub(super) struct Ahead {
    place: Place,
    generation: u64,
    task: JoinHandle<Result<Vec<Event>>>,
}

impl Ahead {
    /// Begins to read, behind what the connection was asked before.
    pub(super) fn start(link: &Arc<Link>, place: Place) -> Self {
        let (reader, at, generation) = (link.clone(), place.clone(), link.generation);
        let task = tokio::spawn(async move { at.read(&reader).await });
        Self { place, generation, task }
    }

    /// Does it read this place, on this connection?
    pub(super) fn is(&self, link: &Link, place: &Place) -> bool {
        self.generation == link.generation && self.place == *place
    }

    /// What it read; nothing when that failed, or is another place by now.
    pub(super) async fn events(mut self) -> Vec<Event> {
        let failed = match (&mut self.task).await {
            Ok(Ok(events)) => return events,
            Ok(Err(e)) => e.to_string(),
            Err(e) => e.to_string(),
        };
        debug!(error = failed, "not read ahead");
        Vec::new()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.task.abort();
    }
}
