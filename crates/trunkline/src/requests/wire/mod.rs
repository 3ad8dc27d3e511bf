//! The statements of the engine, and their rows. Each exists for the ephemeral and for the durable ring.
//!
//! Here are the rings and the rarer statements; those of the hot path have modules of their own.

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

// After the macros, which they use.
mod reply;
mod snapshot;
mod take;
mod write;

use std::sync::{LazyLock, atomic::Ordering};

use tokio_postgres::types::{ToSql, Type};

pub(crate) use self::{
    reply::{Ended, Ending, REPLY_ON, fetch, reply},
    snapshot::{Snapshot, Xid},
    take::{Claim, Cursor, Debts, Taken, Wanted, take},
    write::{Outgoing, WRITE_ON, Written, write},
};
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

    pub(crate) fn ring(self) -> Ring {
        Ring::durable(self.0 & 2 != 0)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// The other one of its ring.
    pub(crate) fn other(self) -> Self {
        Self(self.0 ^ 1)
    }
}

const LANE: &str = "select lane, durable, max_bytes from trunkline._request_lane($1)";
const SERVE: &str = "select lane, durable, own from trunkline._request_serve($1, $2, $3, $4)";
const CROWD: &str = "select trunkline._request_crowd($1, $2)";
const UNSERVE: &str = "select trunkline._request_unserve($1, $2, $3)::text";
const KEEP: &str = "select trunkline._request_hold($1)";
const SNAPSHOT: &str = "select pg_current_snapshot()";
const FINISH: [&str; 2] = each_ring!("select trunkline._request_finish_", "($1, $2, false)");
const OUTCOME: [&str; 2] =
    each_ring!("select id, status, content, code, payload, headers from trunkline._request_outcome_", "($1)");
const WATCH: [&str; 2] = each_ring!("select trunkline._request_watch_", "($1, $2, $3)");

/// The statements of `sql/direct`, one for each segment: what the functions do in the usual case, for engines that have
/// rights on the tables. A function costs several times its statements, when it is one of a short transaction.
type Direct = LazyLock<[String; 4]>;

fn direct(name: &str) -> [String; 4] {
    ["e0", "e1", "d0", "d1"].map(|segment| schema::direct(name, segment))
}

/// Where a caller's window begins now.
pub(crate) async fn snapshot(link: &Link) -> Result<Snapshot> {
    link.value(SNAPSHOT, &[]).await
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

/// Holds the key of a lane that was just registered for: false where there is no connection of our own, or a stranger.
pub(crate) async fn hold(link: &Link, lane: i32) -> Result<bool> {
    link.value(KEEP, &[(&lane, Type::INT4)]).await
}

pub(crate) async fn unserve(link: &Link, own: i32, held: bool) -> Result<()> {
    let args: &Args<'_> = &[(&link.session, Type::INT4), (&own, Type::INT4), (&held, Type::BOOL)];
    link.query(UNSERVE, args).await.map(drop)
}
