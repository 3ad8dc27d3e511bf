//! The statements of the engine, and their rows. Each exists for the ephemeral and for the durable ring.

use std::{
    sync::{LazyLock, atomic::Ordering},
    time::Duration,
};

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::snapshot::Snapshot;
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link},
    schema,
};

/// Which ring a channel's requests are kept in; bit 1 of every id tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ring {
    Ephemeral,
    Durable,
}

impl Ring {
    pub(crate) const BOTH: [Self; 2] = [Self::Ephemeral, Self::Durable];

    pub(crate) fn durable(durable: bool) -> Self {
        if durable { Self::Durable } else { Self::Ephemeral }
    }

    /// The segment that new requests go to, as far as this process knows: any is right, readers look in both.
    pub(crate) fn current(self, link: &Link) -> Segment {
        let bits = link.segments.load(Ordering::Relaxed);
        Segment(match self {
            Self::Ephemeral => usize::from(bits & 1 != 0),
            Self::Durable => 2 + usize::from(bits & 2 != 0),
        })
    }
}

/// A segment of a ring; bits 0 and 1 of every id tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Segment(usize);

impl Segment {
    pub(crate) const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    pub(crate) fn of(id: i64) -> Self {
        Self(usize::try_from(id & 3).unwrap_or(0))
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// The other one of its ring.
    pub(crate) fn other(self) -> Self {
        Self(self.0 ^ 1)
    }
}

macro_rules! each_ring {
    ($before:literal, $after:literal) => {
        [concat!($before, "e", $after), concat!($before, "d", $after)]
    };
}
macro_rules! each_segment {
    ($before:literal, $after:literal) => {
        [
            concat!($before, "e0", $after),
            concat!($before, "e1", $after),
            concat!($before, "d0", $after),
            concat!($before, "d1", $after),
        ]
    };
}

const LANE: &str = "select lane, durable, max_bytes from trunkline._request_lane($1)";
const SERVE: &str = "select lane, durable, own from trunkline._request_serve($1, $2, $3, $4)";
const CROWD: &str = "select trunkline._request_crowd($1, $2)";
const UNSERVE: &str = "select trunkline._request_unserve($1, $2)::text";
const SNAPSHOT: &str = "select pg_current_snapshot()";
const WRITE: [&str; 4] = each_segment!(
    "select id, absent from trunkline._request_write_",
    "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
);
const TAKE: [&str; 4] = each_segment!("select * from trunkline._request_take_", "($1, $2, $3, $4, $5)");
const REPLY: [&str; 4] =
    each_segment!("select * from trunkline._request_reply_", "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");

/// The statements of `sql/direct`, one for each segment: what the functions do in the usual case, for engines that have
/// rights on the tables. A function costs several times its statements, when it is one of a short transaction.
type Direct = LazyLock<[String; 4]>;
static DIRECT_WRITE: Direct = LazyLock::new(|| direct("write"));
static DIRECT_TAKE: Direct = LazyLock::new(|| direct("take"));
static DIRECT_REPLY: Direct = LazyLock::new(|| direct("reply"));
static DIRECT_FETCH: Direct = LazyLock::new(|| direct("fetch"));

fn direct(name: &str) -> [String; 4] {
    ["e0", "e1", "d0", "d1"].map(|segment| schema::direct(name, segment))
}

const TAKE_AGAIN: [&str; 4] =
    each_segment!("select * from trunkline._request_take_again_", "($1, $2, $3, $4)");
const REFUSED: [&str; 4] = each_segment!("select trunkline._request_refused_", "($1, $2, $3, $4, $5)");
const FETCH: [&str; 4] = each_segment!(
    "select seen, id, corr, attempt, part, status, content, code, payload, headers from trunkline._request_fetch_",
    "($1, $2)"
);
const PASS: [&str; 4] = each_segment!("select trunkline._request_pass_", "($1, $2, $3, $4)::text");
const CONFIRM: [&str; 4] = each_segment!("select trunkline._request_confirm_", "($1, $2, $3)::text");
const FINISH: [&str; 2] = each_ring!("select trunkline._request_finish_", "($1, $2, false)");
const OUTCOME: [&str; 2] =
    each_ring!("select id, status, content, code, payload, headers from trunkline._request_outcome_", "($1)");
const WATCH: [&str; 2] = each_ring!("select trunkline._request_watch_", "($1, $2, $3)");
/// Writes one request in the application's transaction.
pub(crate) const WRITE_ON: [&str; 2] =
    each_ring!("select trunkline._request_write_", "($1, $2, $3, $4, $5, $6, $7, $8)");
/// Answers one request in the application's transaction: 0 when that was refused.
pub(crate) const REPLY_ON: [&str; 2] =
    each_ring!("select trunkline._request_reply_", "($1, $2, $3, 0, 0, $4, null, $5, null)::int::bigint");
const REAP: &str = "select trunkline._session_reap()";

/// A request as it is written. Flags: see `_request_write_e0.sql`.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) ring: Ring,
    pub(crate) corr: i64,
    pub(crate) lane: i32,
    pub(crate) kind: String,
    pub(crate) timeout_ms: i32,
    pub(crate) flags: i32,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// What a write did: the id of each request, or (nothing was written then) the lanes that nobody serves.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) ids: Vec<i64>,
    pub(crate) absent: Vec<i32>,
}

fn distinct(lanes: impl Iterator<Item = i32>) -> Vec<i32> {
    let mut lanes: Vec<i32> = lanes.collect();
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

/// Writes requests: all, or none when nobody serves a lane whose request asked to fail then.
pub(crate) async fn write(link: &Link, segment: Segment, batch: &[Outgoing]) -> Result<Written> {
    let doors = distinct(batch.iter().map(|o| o.lane));
    if let ([lane], Some(role)) = (doors.as_slice(), &link.direct) {
        return write_direct(link, segment, *lane, role, batch).await;
    }
    let needed = distinct(batch.iter().filter(|o| o.flags & 32 != 0).map(|o| o.lane));
    let corrs: Vec<i64> = batch.iter().map(|o| o.corr).collect();
    let lanes: Vec<i32> = batch.iter().map(|o| o.lane).collect();
    let kinds: Vec<&str> = batch.iter().map(|o| o.kind.as_str()).collect();
    let timeouts: Vec<i32> = batch.iter().map(|o| o.timeout_ms).collect();
    let flags: Vec<i32> = batch.iter().map(|o| o.flags).collect();
    let payloads: Vec<&[u8]> = batch.iter().map(|o| o.payload.as_slice()).collect();
    let headers: Vec<Option<&str>> = batch.iter().map(|o| o.headers.as_deref()).collect();
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&doors, Type::INT4_ARRAY),
        (&needed, Type::INT4_ARRAY),
        (&corrs, Type::INT8_ARRAY),
        (&lanes, Type::INT4_ARRAY),
        (&kinds, Type::TEXT_ARRAY),
        (&timeouts, Type::INT4_ARRAY),
        (&flags, Type::INT4_ARRAY),
        (&payloads, Type::BYTEA_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    let rows = link.query(WRITE[segment.index()], args).await?;
    let mut written = Written::default();
    for row in &rows {
        match row.try_get::<_, Option<i64>>(0)? {
            Some(id) => written.ids.push(id),
            None => written.absent.push(row.try_get(1)?),
        }
    }
    Ok(written)
}

async fn write_direct(
    link: &Link,
    segment: Segment,
    lane: i32,
    role: &str,
    batch: &[Outgoing],
) -> Result<Written> {
    let needed = batch.iter().any(|o| o.flags & 32 != 0);
    let corrs: Vec<i64> = batch.iter().map(|o| o.corr).collect();
    let kinds: Vec<&str> = batch.iter().map(|o| o.kind.as_str()).collect();
    let timeouts: Vec<i32> = batch.iter().map(|o| o.timeout_ms).collect();
    let flags: Vec<i32> = batch.iter().map(|o| o.flags).collect();
    let payloads: Vec<&[u8]> = batch.iter().map(|o| o.payload.as_slice()).collect();
    let headers: Vec<Option<&str>> = batch.iter().map(|o| o.headers.as_deref()).collect();
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&lane, Type::INT4),
        (&needed, Type::BOOL),
        (&role, Type::TEXT),
        (&corrs, Type::INT8_ARRAY),
        (&kinds, Type::TEXT_ARRAY),
        (&timeouts, Type::INT4_ARRAY),
        (&flags, Type::INT4_ARRAY),
        (&payloads, Type::BYTEA_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    let rows = link.query(&DIRECT_WRITE[segment.index()], args).await?;
    let ids = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<i64>>>()?;
    let absent = if ids.is_empty() { vec![lane] } else { Vec::new() };
    Ok(Written { ids, absent })
}

/// The right to answer one request: a slot of a take, with its token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) take: i64,
    pub(crate) token: i64,
    pub(crate) slot: i32,
}

/// A request as it was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) claim: Claim,
    pub(crate) id: i64,
    pub(crate) attempt: i32,
    pub(crate) caller: i32,
    pub(crate) flags: i32,
    pub(crate) left_ms: i32,
    pub(crate) kind: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// Where a lane stands in a segment, as far as its last take from here left it; see `direct/take.sql`.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The turn of our last take, and what it had read up to; none where that is not the whole truth.
    at: Option<(i64, Snapshot)>,
    last: i64,
}

impl Cursor {
    /// Ours was the take after our last one: nobody else takes here, for now.
    fn moved(&mut self, turn: i64, lo: Option<Snapshot>) {
        let alone = turn == self.last + 1 || self.last == 0;
        self.last = turn;
        self.at = lo.filter(|lo| alone && lo.is_near()).map(|lo| (turn, lo));
    }
}

/// Takes from a lane: what was taken, and whether to look again.
///
/// Passes on what is not of these types, and confirms what asked for it.
pub(crate) async fn take(
    link: &Link,
    segment: Segment,
    lane: i32,
    types: Option<&[String]>,
    max: i32,
    cursor: &mut Cursor,
) -> Result<(bool, Vec<Taken>)> {
    let (mut more, mut taken) = take_direct(link, segment, lane, max, cursor).await?;
    let mut again = true;
    for look in 0.. {
        if !taken.is_empty() {
            break;
        }
        let rows = take_rows(link, segment, lane, max, look < 100, again).await?;
        match rows.first().map_or(Ok(0), |row| row.try_get::<_, i32>(0))? {
            0 => {
                if let Some(row) = rows.first() {
                    cursor.moved(row.try_get(13)?, row.try_get(14)?);
                }
                (more, taken) = slice(&rows)?;
                break;
            }
            2 => {
                let args: &Args<'_> = &[
                    (&link.session, Type::INT4),
                    (&lane, Type::INT4),
                    (&types, Type::TEXT_ARRAY),
                    (&max, Type::INT4),
                ];
                (more, taken) = slice(&link.query(TAKE_AGAIN[segment.index()], args).await?)?;
                cursor.at = None;
                again = false;
            }
            // Somebody else is taking from this lane just now.
            3 => tokio::time::sleep(Duration::from_micros(300 + 100 * (look % 8))).await,
            4 => {
                return Err(Error::new(
                    ErrorKind::Epoch,
                    "xids went backwards, as after a restore; run: trunkline schema repair",
                )
                .with_code("TL008"));
            }
            _ => {}
        }
    }
    let Some(Claim { take, token, .. }) = taken.first().map(|t| t.claim) else { return Ok((more, taken)) };
    if let Some(types) = types {
        let (ours, others) = taken.into_iter().partition::<Vec<_>, _>(|t| types.contains(&t.kind));
        taken = ours;
        if !others.is_empty() {
            let slots: Vec<i32> = others.iter().map(|t| t.claim.slot).collect();
            let args: &Args<'_> = &[
                (&take, Type::INT8),
                (&token, Type::INT8),
                (&slots, Type::INT4_ARRAY),
                (&types, Type::TEXT_ARRAY),
            ];
            link.query(PASS[segment.index()], args).await?;
        }
    }
    let slots: Vec<i32> = taken.iter().filter(|t| t.flags & 24 == 24).map(|t| t.claim.slot).collect();
    if !slots.is_empty() {
        let args: &Args<'_> = &[(&take, Type::INT8), (&token, Type::INT8), (&slots, Type::INT4_ARRAY)];
        link.query(CONFIRM[segment.index()], args).await?;
    }
    Ok((more, taken))
}

/// Nothing, where the cursor is not known or nothing is there: then the function is asked.
async fn take_direct(
    link: &Link,
    segment: Segment,
    lane: i32,
    max: i32,
    cursor: &mut Cursor,
) -> Result<(bool, Vec<Taken>)> {
    let (Some(_), Some((turn, lo))) = (&link.direct, cursor.at.as_ref()) else {
        return Ok((false, Vec::new()));
    };
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&lane, Type::INT4),
        (&max, Type::INT4),
        (turn, Type::INT8),
        (lo, Type::PG_SNAPSHOT),
        (&lo.xmin(), Type::XID8),
    ];
    let rows = link.query(&DIRECT_TAKE[segment.index()], args).await?;
    let Some(first) = rows.first() else { return Ok((false, Vec::new())) };
    let (Some(turn), lo) = (first.try_get::<_, Option<i64>>(2)?, first.try_get::<_, Option<Snapshot>>(3)?)
    else {
        cursor.at = None;
        return Ok((false, Vec::new()));
    };
    let more = lo.is_none();
    cursor.moved(turn, lo);
    let taken = rows.iter().zip(1..).map(|(row, slot)| {
        Ok(Taken {
            claim: Claim { take: row.try_get(0)?, token: row.try_get(1)?, slot },
            id: row.try_get(4)?,
            attempt: 1,
            caller: row.try_get(5)?,
            flags: row.try_get(6)?,
            left_ms: row.try_get(7)?,
            kind: row.try_get(8)?,
            payload: row.try_get(9)?,
            headers: row.try_get(10)?,
        })
    });
    Ok((more, taken.collect::<Result<_>>()?))
}

async fn take_rows(
    link: &Link,
    segment: Segment,
    lane: i32,
    max: i32,
    polite: bool,
    again: bool,
) -> Result<Vec<Row>> {
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&lane, Type::INT4),
        (&max, Type::INT4),
        (&polite, Type::BOOL),
        (&again, Type::BOOL),
    ];
    link.query(TAKE[segment.index()], args).await
}

fn slice(rows: &[Row]) -> Result<(bool, Vec<Taken>)> {
    let taken = rows.iter().zip(1..).map(|(row, slot)| {
        Ok(Taken {
            claim: Claim { take: row.try_get(2)?, token: row.try_get(3)?, slot },
            id: row.try_get(4)?,
            attempt: row.try_get(5)?,
            caller: row.try_get(6)?,
            flags: row.try_get(7)?,
            left_ms: row.try_get(9)?,
            kind: row.try_get(10)?,
            payload: row.try_get(11)?,
            headers: row.try_get(12)?,
        })
    });
    Ok((rows.first().map_or(Ok(false), |row| row.try_get(1))?, taken.collect::<Result<_>>()?))
}

/// An ending, or a part, as a responder writes it.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) claim: Claim,
    pub(crate) part: i32,
    pub(crate) status: i16,
    pub(crate) content: i16,
    pub(crate) code: Option<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// Writes endings, and rings their callers: the positions (from 1) that were refused.
pub(crate) async fn reply(
    link: &Link,
    segment: Segment,
    callers: &[i32],
    batch: &[&Ending],
) -> Result<Vec<i32>> {
    let takes: Vec<i64> = batch.iter().map(|e| e.claim.take).collect();
    let tokens: Vec<i64> = batch.iter().map(|e| e.claim.token).collect();
    let slots: Vec<i32> = batch.iter().map(|e| e.claim.slot).collect();
    let parts: Vec<i32> = batch.iter().map(|e| e.part).collect();
    let statuses: Vec<i16> = batch.iter().map(|e| e.status).collect();
    let contents: Vec<i16> = batch.iter().map(|e| e.content).collect();
    let codes: Vec<Option<&str>> = batch.iter().map(|e| e.code.as_deref()).collect();
    let payloads: Vec<&[u8]> = batch.iter().map(|e| e.payload.as_slice()).collect();
    let headers: Vec<Option<&str>> = batch.iter().map(|e| e.headers.as_deref()).collect();
    let args: &Args<'_> = &[
        (&callers, Type::INT4_ARRAY),
        (&takes, Type::INT8_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&slots, Type::INT4_ARRAY),
        (&parts, Type::INT4_ARRAY),
        (&statuses, Type::INT2_ARRAY),
        (&contents, Type::INT2_ARRAY),
        (&codes, Type::TEXT_ARRAY),
        (&payloads, Type::BYTEA_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    let (accepted, xid) = if link.direct.is_some() && parts.iter().all(|p| *p == 0) {
        let args: Vec<_> = args.iter().enumerate().filter(|(i, _)| *i != 4).map(|(_, a)| a.clone()).collect();
        let rows = link.query(&DIRECT_REPLY[segment.index()], &args).await?;
        (rows.len(), rows.first().map_or(Ok(String::from("0")), |row| row.try_get(0))?)
    } else {
        let rows = link.query(REPLY[segment.index()], args).await?;
        let row = rows.first().ok_or_else(nothing)?;
        (usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0), row.try_get(1)?)
    };
    if accepted == batch.len() {
        return Ok(Vec::new());
    }
    let args: &Args<'_> = &[
        (&xid, Type::TEXT),
        (&takes, Type::INT8_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&slots, Type::INT4_ARRAY),
        (&parts, Type::INT4_ARRAY),
    ];
    link.value(REFUSED[segment.index()], args).await
}

/// An ending, or a part, as its caller reads it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: i64,
    pub(crate) corr: i64,
    pub(crate) attempt: i32,
    pub(crate) part: i32,
    pub(crate) status: i16,
    pub(crate) content: i16,
    pub(crate) code: Option<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// Where a caller's window begins now.
pub(crate) async fn snapshot(link: &Link) -> Result<Snapshot> {
    link.value(SNAPSHOT, &[]).await
}

/// What came for this session after `since`, which is moved on.
pub(crate) async fn fetch(link: &Link, segment: Segment, since: &mut Snapshot) -> Result<Vec<Ended>> {
    let rows = if link.direct.is_some() && since.is_near() {
        let xmin = since.xmin();
        let args: &Args<'_> =
            &[(&link.session, Type::INT4), (&*since, Type::PG_SNAPSHOT), (&xmin, Type::XID8)];
        link.query(&DIRECT_FETCH[segment.index()], args).await?
    } else {
        let args: &Args<'_> = &[(&link.session, Type::INT4), (&*since, Type::PG_SNAPSHOT)];
        link.query(FETCH[segment.index()], args).await?
    };
    let ended = rows.iter().map(|row| {
        Ok(Ended {
            id: row.try_get(1)?,
            corr: row.try_get(2)?,
            attempt: row.try_get(3)?,
            part: row.try_get(4)?,
            status: row.try_get(5)?,
            content: row.try_get(6)?,
            code: row.try_get(7)?,
            payload: row.try_get::<_, Option<_>>(8)?.unwrap_or_default(),
            headers: row.try_get(9)?,
        })
    });
    let ended = ended.collect::<Result<Vec<_>>>()?;
    if let Some(row) = rows.first() {
        *since = row.try_get(0)?;
    }
    Ok(ended)
}

/// Ends requests as their caller; the ids for which that was the outcome.
pub(crate) async fn finish(link: &Link, ring: Ring, ids: &[i64], status: i32) -> Result<Vec<i64>> {
    link.value(FINISH[ring as usize], &[(&ids, Type::INT8_ARRAY), (&status, Type::INT4)]).await
}

/// How requests stand, by id: those that are missing are unknown, `status` none is open.
pub(crate) async fn outcome(link: &Link, ring: Ring, ids: &[i64]) -> Result<Vec<(i64, Option<Ended>)>> {
    let rows = link.query(OUTCOME[ring as usize], &[(&ids, Type::INT8_ARRAY)]).await?;
    rows.iter()
        .map(|row| {
            let id: i64 = row.try_get(0)?;
            let Some(status) = row.try_get::<_, Option<i16>>(1)? else { return Ok((id, None)) };
            Ok((
                id,
                Some(Ended {
                    id,
                    corr: 0,
                    attempt: 0,
                    part: 0,
                    status,
                    content: row.try_get::<_, Option<i16>>(2)?.unwrap_or(0),
                    code: row.try_get(3)?,
                    payload: row.try_get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default(),
                    headers: row.try_get(5)?,
                }),
            ))
        })
        .collect()
}

/// Of what is being handled: the ids that ended meanwhile.
pub(crate) async fn watch(link: &Link, ring: Ring, held: &[(i64, i32, i32)]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = held.iter().map(|h| h.0).collect();
    let attempts: Vec<i32> = held.iter().map(|h| h.1).collect();
    let callers: Vec<i32> = held.iter().map(|h| h.2).collect();
    let args: [(&(dyn ToSql + Sync), Type); 3] =
        [(&ids, Type::INT8_ARRAY), (&attempts, Type::INT4_ARRAY), (&callers, Type::INT4_ARRAY)];
    link.value(WATCH[ring as usize], &args).await
}

/// Where a destination's requests go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    pub(crate) number: i32,
    pub(crate) ring: Ring,
    /// The largest payload, in bytes.
    pub(crate) most: usize,
}

/// The lane of a destination; makes a channel on its first use.
pub(crate) async fn lane(link: &Link, destination: &str) -> Result<Lane> {
    let rows = link.query(LANE, &[(&destination, Type::TEXT)]).await?;
    let row = rows.first().ok_or_else(nothing)?;
    let most: i32 = row.try_get(2)?;
    Ok(Lane {
        number: row.try_get(0)?,
        ring: Ring::durable(row.try_get(1)?),
        most: usize::try_from(most).unwrap_or(0),
    })
}

/// Registers this session as responder of a channel: the channel's lane, its ring, and the responder's own lane.
/// Given its own lane, it is that registration again.
pub(crate) async fn serve(
    link: &Link,
    channel: &str,
    types: Option<&[String]>,
    own: Option<i32>,
) -> Result<(i32, Ring, i32)> {
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&channel, Type::TEXT),
        (&types, Type::TEXT_ARRAY),
        (&own, Type::INT4),
    ];
    let rows = link.query(SERVE, args).await?;
    let row = rows.first().ok_or_else(nothing)?;
    Ok((row.try_get(0)?, Ring::durable(row.try_get(1)?), row.try_get(2)?))
}

/// The own lanes of all responders of a channel that are here now.
pub(crate) async fn crowd(link: &Link, channel: &str, kind: &str) -> Result<Vec<i32>> {
    link.value(CROWD, &[(&channel, Type::TEXT), (&kind, Type::TEXT)]).await
}

fn nothing() -> Error {
    Error::new(ErrorKind::Other, "a function of the schema returned no row")
}

pub(crate) async fn unserve(link: &Link, own: i32) -> Result<()> {
    link.query(UNSERVE, &[(&link.session, Type::INT4), (&own, Type::INT4)]).await.map(drop)
}

/// Buries sessions whose process is gone.
pub(crate) async fn reap(link: &Link) -> Result<i32> {
    link.value(REAP, &[]).await
}
