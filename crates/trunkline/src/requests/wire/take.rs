//! Taking requests from a lane, passing on what is not ours, and confirming what asked for it.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use tokio_postgres::{Row, types::Type};
use tracing::debug;
use uuid::Uuid;

use super::{Direct, Ring, Segment, Snapshot, Xid, direct};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link},
};

const TAKE: [&str; 4] = each_segment!("select * from trunkline._request_take_", "($1, $2, $3, $4, $5, $6)");
static DIRECT_TAKE: Direct = LazyLock::new(|| direct("take"));
const TAKE_AGAIN: [&str; 4] =
    each_segment!("select * from trunkline._request_take_again_", "($1, $2, $3, $4, $5)");
const PASS: [&str; 4] = each_segment!("select trunkline._request_pass_", "($1, $2, $3, $4)::text");
const CONFIRM: [&str; 4] = each_segment!("select trunkline._request_confirm_", "($1, $2, $3)::text");

const GIVE_BACK: [&str; 2] = each_ring!("select trunkline._request_return_", "($1, $2)");
/// How long to stand back where somebody keeps a lane's key; then it is taken from without, which is as safe.
const POLITE: Duration = Duration::from_secs(1);

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

impl Taken {
    /// From a row of either statement; they differ in the columns of the id, the caller and the flags.
    fn read(row: &Row, claim: Claim, attempt: i32, [id, caller, flags]: [usize; 3]) -> Result<Self> {
        Ok(Self {
            claim,
            id: row.try_get(id)?,
            attempt,
            caller: row.try_get(caller)?,
            flags: row.try_get(flags)?,
            left_ms: row.try_get(9)?,
            kind: row.try_get(10)?,
            payload: row.try_get(11)?,
            headers: row.try_get(12)?,
        })
    }
}

/// Where a lane stands in a segment, as far as its last take from here left it; see `direct/take.sql`.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// None where we do not know, or are not alone here.
    at: Option<Position>,
    last: i64,
}

/// The cursor that a take row holds.
#[derive(Debug)]
struct Position {
    take: i64,
    turn: i64,
    lo: Snapshot,
    hi: Option<Snapshot>,
    /// The xid and id after which to look.
    after: (Xid, i64),
}

impl Cursor {
    /// Learns the cursor from a take's row, whose columns from `first` on are turn, lo, hi, pos_xid, pos_id. Only when ours
    /// was the take after our last one, so that nobody else takes here, for now.
    fn learn(&mut self, row: &Row, first: usize, take: Option<i64>) -> Result<()> {
        self.at = None;
        let (Some(take), Some(turn)) = (take, row.try_get::<_, Option<i64>>(first)?) else { return Ok(()) };
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
            self.at = Some(Position { take, turn, lo, hi: row.try_get(first + 2)?, after });
        }
        Ok(())
    }

    /// The next look is the function's, which sees all there is.
    pub(crate) fn forget(&mut self) {
        self.at = None;
    }
}

/// What a responder owes to others, and must not forget when a statement fails.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    /// Taken, and not of our types: to be passed on, by take, token and slots.
    pass: Vec<(i64, i64, Vec<i32>)>,
    /// Perhaps taken, by a statement whose answer never came: to be given back, by its ring and token.
    give_back: Vec<(Ring, i64)>,
}

impl Debts {
    /// Pays what can be paid. Somebody's open transaction may keep us from it: it stays owed, and holds up nothing else.
    pub(crate) async fn pay(&mut self, link: &Link, types: Option<&[String]>) {
        while let Some((ring, token)) = self.give_back.last() {
            let args: &Args<'_> = &[(&link.session, Type::INT4), (token, Type::INT8)];
            match link.query(GIVE_BACK[*ring as usize], args).await {
                Ok(_) => drop(self.give_back.pop()),
                Err(e) => return debug!(error = %e, "cannot give back yet"),
            }
        }
        let Some(types) = types else { return };
        while let Some((take, token, slots)) = self.pass.last() {
            let args: &Args<'_> = &[
                (take, Type::INT8),
                (token, Type::INT8),
                (slots, Type::INT4_ARRAY),
                (&types, Type::TEXT_ARRAY),
            ];
            match link.query(PASS[Segment::of(*take).index()], args).await {
                Ok(_) => drop(self.pass.pop()),
                Err(e) => return debug!(error = %e, "cannot pass on yet"),
            }
        }
    }
}

/// Where to take from, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) segment: Segment,
    pub(crate) lane: i32,
    pub(crate) types: Option<&'a [String]>,
    pub(crate) most: i32,
}

/// Takes from a lane: what was taken, and whether to look again.
///
/// Passes on what is not of our types, and confirms what asked for it. After an error it is not known whether anything was
/// taken: the debts are to be paid before the next look.
pub(crate) async fn take(
    link: &Link,
    wanted: Wanted<'_>,
    cursor: &mut Cursor,
    debts: &mut Debts,
) -> Result<(bool, Vec<Taken>)> {
    let (high, low) = Uuid::new_v4().as_u64_pair(); // whoever knows it may answer; 122 bits of it are random
    let token = (high.rotate_left(32) ^ low).cast_signed();
    debts.give_back.push((wanted.segment.ring(), token));
    let (mut more, taken) = take_some(link, wanted, cursor, token).await?;
    debts.give_back.pop();
    let Some(take) = taken.first().map(|t| t.claim.take) else { return Ok((more, taken)) };
    let (ours, others) =
        taken.into_iter().partition::<Vec<_>, _>(|t| wanted.types.is_none_or(|w| w.contains(&t.kind)));
    if !others.is_empty() {
        debts.pass.push((take, token, others.iter().map(|t| t.claim.slot).collect()));
        debts.pay(link, wanted.types).await;
        more = true; // they may be for another responder of this same process
    }
    let slots: Vec<i32> = ours.iter().filter(|t| t.flags & 24 == 24).map(|t| t.claim.slot).collect();
    if !slots.is_empty() {
        let args: &Args<'_> = &[(&take, Type::INT8), (&token, Type::INT8), (&slots, Type::INT4_ARRAY)];
        // Who asked for it waits in vain; that is no reason to lose what was taken.
        if let Err(e) = link.query(CONFIRM[wanted.segment.index()], args).await {
            debug!(error = %e, "cannot confirm");
        }
    }
    Ok((more, ours))
}

async fn take_some(
    link: &Link,
    wanted: Wanted<'_>,
    cursor: &mut Cursor,
    token: i64,
) -> Result<(bool, Vec<Taken>)> {
    let begun = Instant::now();
    let (mut more, mut taken) = take_direct(link, wanted, cursor, token).await?;
    let mut again = true;
    for look in 0.. {
        if !taken.is_empty() {
            break;
        }
        let polite = begun.elapsed() < POLITE;
        let args: &Args<'_> = &[
            (&link.session, Type::INT4),
            (&wanted.lane, Type::INT4),
            (&wanted.most, Type::INT4),
            (&polite, Type::BOOL),
            (&again, Type::BOOL),
            (&token, Type::INT8),
        ];
        let rows = link.query(TAKE[wanted.segment.index()], args).await?;
        match rows.first().map_or(Ok(0), |row| row.try_get::<_, i32>(0))? {
            0 => {
                if let Some(row) = rows.first() {
                    cursor.learn(row, 13, row.try_get(2)?)?;
                }
                (more, taken) = slice(&rows)?;
                break;
            }
            2 => {
                cursor.forget();
                (more, taken) = take_again(link, wanted, token).await?;
                again = false;
            }
            // Somebody else is taking from this lane just now.
            3 => tokio::time::sleep(Duration::from_micros(300 + 100 * (look % 8))).await,
            4 => {
                let why = "xids went backwards, as after a restore; run: trunkline schema repair";
                return Err(Error::new(ErrorKind::Epoch, why).with_code("TL008"));
            }
            _ => {}
        }
    }
    Ok((more, taken))
}

async fn take_again(link: &Link, wanted: Wanted<'_>, token: i64) -> Result<(bool, Vec<Taken>)> {
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&wanted.lane, Type::INT4),
        (&wanted.types, Type::TEXT_ARRAY),
        (&wanted.most, Type::INT4),
        (&token, Type::INT8),
    ];
    slice(&link.query(TAKE_AGAIN[wanted.segment.index()], args).await?)
}

/// Nothing, where the cursor is not known or nothing is there: then the function is asked.
async fn take_direct(
    link: &Link,
    wanted: Wanted<'_>,
    cursor: &mut Cursor,
    token: i64,
) -> Result<(bool, Vec<Taken>)> {
    let (Some(_), Some(at)) = (&link.direct, &cursor.at) else {
        return Ok((false, Vec::new()));
    };
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&wanted.lane, Type::INT4),
        (&wanted.most, Type::INT4),
        (&at.turn, Type::INT8),
        (&at.lo, Type::PG_SNAPSHOT),
        (&at.hi, Type::PG_SNAPSHOT),
        (&at.after.0, Type::XID8),
        (&at.after.1, Type::INT8),
        (&at.take, Type::INT8),
        (&token, Type::INT8),
    ];
    let rows = link.query(&DIRECT_TAKE[wanted.segment.index()], args).await?;
    let Some(first) = rows.first() else { return Ok((false, Vec::new())) };
    // Who finishes an earlier window may not have seen what came after it.
    let more = at.hi.is_some() || first.try_get::<_, Option<Snapshot>>(2)?.is_some();
    let take: Option<i64> = first.try_get(5)?;
    cursor.learn(first, 0, take)?;
    let Some(take) = take else { return Ok((false, Vec::new())) };
    let taken =
        rows.iter().zip(1..).map(|(row, slot)| Taken::read(row, Claim { take, token, slot }, 1, [6, 7, 8]));
    Ok((more, taken.collect::<Result<_>>()?))
}

fn slice(rows: &[Row]) -> Result<(bool, Vec<Taken>)> {
    let taken = rows.iter().zip(1..).map(|(row, slot)| {
        let claim = Claim { take: row.try_get(2)?, token: row.try_get(3)?, slot };
        Taken::read(row, claim, row.try_get(5)?, [4, 6, 7])
    });
    Ok((rows.first().map_or(Ok(false), |row| row.try_get(1))?, taken.collect::<Result<_>>()?))
}
