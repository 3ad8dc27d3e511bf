//! Taking requests from a lane, passing on what is not ours, and confirming what asked for it.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use tokio_postgres::{Row, types::Type};

use super::{Direct, Segment, Snapshot, Xid, direct};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link},
};

const TAKE: [&str; 4] = each_segment!("select * from trunkline._request_take_", "($1, $2, $3, $4, $5)");
static DIRECT_TAKE: Direct = LazyLock::new(|| direct("take"));
const TAKE_AGAIN: [&str; 4] =
    each_segment!("select * from trunkline._request_take_again_", "($1, $2, $3, $4)");
const PASS: [&str; 4] = each_segment!("select trunkline._request_pass_", "($1, $2, $3, $4)::text");
const CONFIRM: [&str; 4] = each_segment!("select trunkline._request_confirm_", "($1, $2, $3)::text");

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
    /// None where we do not know, or are not alone here.
    at: Option<Position>,
    last: i64,
}

/// The cursor that a take row holds, and when it was read.
#[derive(Debug)]
struct Position {
    turn: i64,
    lo: Snapshot,
    hi: Option<Snapshot>,
    /// The xid and id after which to look.
    after: (Xid, i64),
    asked: Instant,
}

/// A segment is emptied a minute after its last deadline at the earliest, and then its turns begin anew.
const REMEMBERED: Duration = Duration::from_secs(30);

impl Cursor {
    /// Learns the cursor from a take's row, whose columns from `first` on are turn, lo, hi, pos_xid, pos_id. Only when ours
    /// was the take after our last one, so that nobody else takes here, for now.
    fn learn(&mut self, row: &Row, first: usize, asked: Instant) -> Result<()> {
        self.at = None;
        let Some(turn) = row.try_get::<_, Option<i64>>(first)? else { return Ok(()) };
        let alone = turn == self.last + 1 || self.last == 0;
        self.last = turn;
        let lo: Snapshot = row.try_get(first + 1)?;
        if alone && lo.is_near() {
            let read: Option<Xid> = row.try_get(first + 3)?;
            let id: Option<i64> = row.try_get(first + 4)?;
            let after = match (read, id) {
                (Some(xid), Some(id)) if xid >= lo.xmin() => (xid, id),
                _ => (lo.xmin(), 0),
            };
            self.at = Some(Position { turn, lo, hi: row.try_get(first + 2)?, after, asked });
        }
        Ok(())
    }

    fn known(&self) -> Option<&Position> {
        self.at.as_ref().filter(|at| at.asked.elapsed() < REMEMBERED)
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
        let asked = Instant::now();
        let rows = take_rows(link, segment, lane, max, look < 100, again).await?;
        match rows.first().map_or(Ok(0), |row| row.try_get::<_, i32>(0))? {
            0 => {
                if let Some(row) = rows.first() {
                    cursor.learn(row, 13, asked)?;
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
            more = true; // they may be for another responder of this same process
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
    let asked = Instant::now();
    let (Some(_), Some(at)) = (&link.direct, cursor.known()) else {
        return Ok((false, Vec::new()));
    };
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&lane, Type::INT4),
        (&max, Type::INT4),
        (&at.turn, Type::INT8),
        (&at.lo, Type::PG_SNAPSHOT),
        (&at.hi, Type::PG_SNAPSHOT),
        (&at.after.0, Type::XID8),
        (&at.after.1, Type::INT8),
    ];
    let rows = link.query(&DIRECT_TAKE[segment.index()], args).await?;
    let Some(first) = rows.first() else { return Ok((false, Vec::new())) };
    cursor.learn(first, 0, asked)?;
    if first.try_get::<_, Option<i64>>(5)?.is_none() {
        return Ok((false, Vec::new()));
    }
    let more = first.try_get::<_, Option<Snapshot>>(2)?.is_some();
    let taken = rows.iter().zip(1..).map(|(row, slot)| {
        Ok(Taken {
            claim: Claim { take: row.try_get(5)?, token: row.try_get(6)?, slot },
            id: row.try_get(7)?,
            attempt: 1,
            caller: row.try_get(8)?,
            flags: row.try_get(9)?,
            left_ms: row.try_get(10)?,
            kind: row.try_get(11)?,
            payload: row.try_get(12)?,
            headers: row.try_get(13)?,
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
