//! Looks at the ring: windows between two snapshots, page by page.
//!
//! Nothing is written by who reads: his cursor is a snapshot in memory. A window is (since, upto]; a page of it ends after a message,
//! and the next one goes on from there.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use tokio_postgres::{Row, types::Type};

use super::{filter::Wanted, kept::MARKS, message::Sent};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link},
    requests::{
        Content, Payload, decode_headers,
        wire::{Snapshot, Xid},
    },
    schema,
};

const LOOK: &str = "select seen, at, incarnation, empties, missed, id, xid, topic, sent_at, sender, content, payload, headers, message_id
    from trunkline._topic_look($1, $2, $3, $4, $5, $6, $7)";
/// The same by an engine with rights on the tables, where what was in progress is near.
static DIRECT: LazyLock<String> = LazyLock::new(|| schema::direct("topic_look", "e0"));
const SUBSCRIBE: &str =
    "select seen, at, incarnation, empties from trunkline._topic_subscribe($1, $2, $3, $4, $5, $6)";

const STANDS: &str = "select trunkline._topic_stands($1, $2, $3)::text";

/// A page has so many messages at most; and so many bytes, or one message: as `_topic_look` has it.
pub(super) const PAGE: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// How far the ring was read, and what was known of it then.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub(super) seen: Snapshot,
    pub(super) at: SystemTime,
    incarnation: i64,
    empties: i64,
}

impl Position {
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            seen: row.try_get(0)?,
            at: row.try_get(1)?,
            incarnation: row.try_get(2)?,
            empties: row.try_get(3)?,
        })
    }
}

impl Position {
    /// For the lease of who is active, to go on from: at most 1,000 bytes.
    pub(super) fn text(&self) -> String {
        let at = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        format!("{} {} {at} {}", self.incarnation, self.empties, self.seen.text(900))
    }

    /// Reads what [`Position::text`] wrote.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (incarnation, empties) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(words.next()?.parse().ok()?))?;
        Some(Self { seen: Snapshot::of_text(words.next()?)?, at, incarnation, empties })
    }
}

/// What a subscription says of itself in the database.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) number: i32,
    pub(super) topics: Vec<String>,
    pub(super) kind: &'static str,
    pub(super) name: Option<String>,
    pub(super) single: bool,
}

impl Said {
    /// What is listened to for a subscription to channels.
    pub(super) fn channels(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(String::as_str).chain(self.single.then_some(MARKS))
    }
}

/// Says that this session listens: where its reader begins.
pub(super) async fn subscribe(link: &Link, said: &Said) -> Result<Position> {
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&said.number, Type::INT4),
        (&said.topics, Type::TEXT_ARRAY),
        (&said.kind, Type::TEXT),
        (&said.name, Type::TEXT),
        (&said.single, Type::BOOL),
    ];
    let rows = link.query(SUBSCRIBE, args).await?;
    Position::of(rows.first().ok_or_else(nothing)?)
}

/// Says which of a session's subscriptions is active, with the fence of its lease, or none of them.
pub(super) async fn stands(link: &Link, number: i32, fence: Option<i64>) -> Result<()> {
    let args: &Args<'_> = &[(&link.session, Type::INT4), (&number, Type::INT4), (&fence, Type::INT8)];
    link.query(STANDS, args).await.map(drop)
}

/// A message in its place.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) xid: Xid,
    pub(super) sent: Arc<Sent>,
}

/// A window that is being read.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) since: Position,
    upto: Option<Position>,
    past: (Xid, i64),
    gap_told: bool,
    whole: bool,
}

/// A page of a window.
#[derive(Debug)]
pub(super) struct Page {
    /// By the number of each, so that of two senders the one who published first comes first.
    pub(super) messages: Vec<Placed>,
    /// The times between which messages may have been missed.
    pub(super) gap: Option<(SystemTime, SystemTime)>,
}

impl Window {
    pub(super) fn new(since: Position) -> Self {
        Self { since, upto: None, past: (Xid::NONE, 0), gap_told: false, whole: false }
    }

    /// Where the next window begins, once all of this one was read; none before.
    pub(super) fn end(&self) -> Option<&Position> {
        self.upto.as_ref().filter(|_| self.whole)
    }

    /// The same from here on, for another reader.
    pub(super) fn of_another(&self) -> Self {
        Self { since: self.since.clone(), upto: self.upto.clone(), ..*self }
    }

    /// Reads on from where the last page ended. When it fails, nothing has changed.
    pub(super) async fn next(&mut self, link: &Link, wanted: &Wanted) -> Result<Page> {
        let upto = self.upto.as_ref().map(|p| &p.seen);
        let most = i32::try_from(PAGE).unwrap_or(i32::MAX);
        let args: &Args<'_> = &[
            (&self.since.seen, Type::PG_SNAPSHOT),
            (&upto, Type::PG_SNAPSHOT),
            (&self.past.0, Type::XID8),
            (&self.past.1, Type::INT8),
            (&wanted.names, Type::TEXT_ARRAY),
            (&wanted.expression, Type::TEXT),
            (&most, Type::INT4),
        ];
        let mut looked = Looked::default();
        if link.direct.is_some() && self.since.seen.is_near() && upto.is_none() {
            let xmin = self.since.seen.xmin();
            let (xid, id) = if self.past.0 >= xmin { self.past } else { (xmin, -1) };
            let args: &Args<'_> = &[
                (&self.since.seen, Type::PG_SNAPSHOT),
                (&xid, Type::XID8),
                (&id, Type::INT8),
                (&wanted.names, Type::TEXT_ARRAY),
                (&wanted.expression, Type::TEXT),
                (&most, Type::INT4),
            ];
            link.each(&DIRECT, args, |row| looked.add(&row)).await?;
        }
        if looked.position.is_none() {
            link.each(LOOK, args, |row| looked.add(&row)).await?;
        }
        let Looked { position, missed, mut messages, bytes } = looked;
        let position = position.ok_or_else(nothing)?;
        let emptied = missed && position.empties > self.since.empties;
        let gap = (!self.gap_told && (emptied || position.incarnation != self.since.incarnation))
            .then_some((self.since.at, position.at));
        self.gap_told |= gap.is_some();
        if let Some(last) = messages.last() {
            self.past = (last.xid, last.sent.id);
        }
        self.whole = messages.len() < PAGE && bytes < PAGE_BYTES;
        let upto = self.upto.get_or_insert_with(|| position.clone());
        if gap.is_some() {
            // What was emptied until now is told, also of what this window leaves to the next one.
            (upto.incarnation, upto.empties) = (position.incarnation, position.empties);
        }
        messages.sort_by_key(|m| m.sent.id);
        Ok(Page { messages, gap })
    }
}

/// What a look has told so far.
#[derive(Default)]
struct Looked {
    position: Option<Position>,
    missed: bool,
    messages: Vec<Placed>,
    bytes: usize,
}

impl Looked {
    /// The first row is of the ring, the others are messages.
    fn add(&mut self, row: &Row) -> Result<()> {
        if self.position.is_none() {
            self.missed = row.try_get(4)?;
            self.position = Some(Position::of(row)?);
            return Ok(());
        }
        let message = placed(row)?;
        self.bytes += message.sent.payload.bytes().len();
        self.messages.push(message);
        Ok(())
    }
}

fn placed(row: &Row) -> Result<Placed> {
    Ok(Placed { xid: row.try_get(6)?, sent: Arc::new(sent(row)?) })
}

/// A message of a row that has its columns where [`LOOK`] has them.
pub(super) fn sent(row: &Row) -> Result<Sent> {
    Ok(Sent {
        id: row.try_get(5)?,
        topic: row.try_get(7)?,
        at: Some(row.try_get(8)?),
        sender: row.try_get(9)?,
        payload: Payload::new(Content::of(i32::from(row.try_get::<_, i16>(10)?)), row.try_get(11)?),
        headers: decode_headers(row.try_get(12)?),
        message_id: row.try_get(13)?,
    })
}

pub(super) fn nothing() -> Error {
    Error::new(ErrorKind::Other, "a function of the schema returned no row")
}
