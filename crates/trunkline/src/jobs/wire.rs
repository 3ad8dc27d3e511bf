//! The statements of the jobs' engine, and their rows.

use std::{sync::LazyLock, time::SystemTime};

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::cursor::{Cursors, Place, Short};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link},
    schema,
};

pub(super) const COMPLETE_ON: &str = "select trunkline._job_complete_on($1, $2, $3, $4, $5)";
const QUEUES: &str = "select id, name, door, max_attempts from trunkline._job_work($1)";
/// A crash may forget a take, as if it had come just before it: the jobs wait still. So nobody waits for the disk.
const TAKE: &str = "select * from trunkline._job_take($1, $2, $3, $4, $5, $6)
    where pg_catalog.set_config('synchronous_commit', 'off', true) is not null";
/// Writes next to nothing, and returns when all that was committed before it is on the disk.
const FLUSH: &str = "select pg_catalog.pg_logical_emit_message(true, 'trunkline', '')::text";
static DONE: LazyLock<[String; 4]> = LazyLock::new(|| {
    ["e0", "e1", "d0", "d1"]
        .map(|segment| format!("select trunkline._job_done_{segment}($1, $2, $3, $4, $5)"))
});
static LIMITED: LazyLock<[String; 4]> =
    LazyLock::new(|| ["e0", "e1", "d0", "d1"].map(|segment| schema::direct("job_limited", segment)));
static WORK: LazyLock<[String; 4]> =
    LazyLock::new(|| ["e0", "e1", "d0", "d1"].map(|segment| schema::direct("job_work", segment)));
const END: &str = "select trunkline._job_end($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    where not $11 or pg_catalog.set_config('synchronous_commit', 'off', true) is not null";
const ENDED: &str = "select trunkline._job_ended($1, $2, $3, $4, $5)";
const RETURN: &str = "select trunkline._job_return($1, $2)::text";
const PROGRESS: &str = "select trunkline._job_progress($1, $2, $3, $4, $5, $6, $7)";
const ATTEND: &str = "select due_ms, cancelled from trunkline._job_attend($1, $2)";

/// Where held jobs come from; below it, the segment of a ring.
const HELD: i32 = 4;

/// A queue as workers know it.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub(super) id: i32,
    pub(super) name: String,
    pub(super) door: i32,
    pub(super) max_attempts: i32,
}

/// The right to end one attempt at a job: a place in a slice of a ring, or a held job; and the token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) source: i32,
    pub(super) number: i64,
    pub(super) token: i64,
    pub(super) slot: i32,
}

impl Claim {
    /// The slice that it is of, if it is of one.
    pub(super) fn slice(&self) -> Option<i64> {
        (self.source != HELD).then_some(self.number)
    }

    /// The same right, after the job went from its slice to where jobs are held.
    pub(super) fn carried(&self, id: i64) -> Self {
        Self { source: HELD, number: id, token: self.token, slot: 0 }
    }
}

/// A job as it was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) claim: Claim,
    pub(super) id: i64,
    pub(super) queue: i32,
    pub(super) priority: i32,
    pub(super) attempt: i32,
    /// None: the queue's.
    pub(super) most_attempts: Option<i32>,
    pub(super) at: SystemTime,
    pub(super) flags: i32,
    pub(super) kind: String,
    pub(super) payload: Vec<u8>,
    pub(super) headers: Option<String>,
    pub(super) key: Option<String>,
}

/// What a look brought.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) jobs: Vec<Taken>,
    /// Slices that they are of.
    pub(super) slices: Vec<Sliced>,
    /// There may be more: look again at once.
    pub(super) more: bool,
    /// The short way found nothing.
    pub(super) dry: bool,
    /// Some of them may have been cancelled before they were taken.
    pub(super) cancels: bool,
}

/// A slice that was taken.
#[derive(Debug)]
pub(super) struct Sliced {
    pub(super) number: i64,
    pub(super) token: i64,
    pub(super) ids: Vec<i64>,
    /// Its queue, when it was counted for that one's limit: others may begin when some of it have ended.
    pub(super) limited: Option<i32>,
}

/// What to take, and for how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) queues: &'a [i32],
    pub(super) most: i32,
    /// The least urgent first, this time.
    pub(super) fair: bool,
    pub(super) polite: bool,
    pub(super) token: i64,
}

/// The queues of these names, made where they are new.
pub(super) async fn queues(link: &Link, names: &[String]) -> Result<Vec<Queue>> {
    let rows = link.query(QUEUES, &[(&names, Type::TEXT_ARRAY)]).await?;
    let read = |row: &Row| {
        let (id, name) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Queue { id, name, door: row.try_get(2)?, max_attempts: row.try_get(3)? })
    };
    rows.iter().map(read).collect()
}

/// Takes jobs, and learns where their lanes stand. After an error it is not known whether any were taken: the token is owed to
/// [`give_back`].
pub(super) async fn take(link: &Link, wanted: Wanted<'_>, cursors: &mut Cursors) -> Result<Look> {
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&wanted.queues, Type::INT4_ARRAY),
        (&wanted.most, Type::INT4),
        (&wanted.polite, Type::BOOL),
        (&wanted.fair, Type::BOOL),
        (&wanted.token, Type::INT8),
    ];
    let mut look = Look::default();
    for row in link.query(TAKE, args).await? {
        look.more |= row.try_get::<_, bool>("more")?;
        look.cancels |= row.try_get::<_, bool>("cancels")?;
        let Some(ids) = row.try_get::<_, Option<Vec<i64>>>("ids")? else { continue };
        let place = Place { source: row.try_get("source")?, lane: row.try_get("lane")? };
        let slice: Option<i64> = row.try_get("slice")?;
        if slice.is_some() {
            cursors.learn(&row, place)?;
        }
        let attempts = row.try_get::<_, Option<Vec<i32>>>("attempts")?;
        let most: Vec<i32> = row.try_get("most_attempts")?;
        let keys = row.try_get::<_, Option<Vec<Option<String>>>>("keys")?;
        let from = look.jobs.len();
        unpack(&row, place, ids, slice, wanted.token, &mut look)?;
        for (n, job) in look.jobs.iter_mut().skip(from).enumerate() {
            job.attempt = attempts.as_ref().and_then(|a| a.get(n)).copied().unwrap_or(1);
            job.most_attempts = job.most_attempts.or(most.get(n).or(most.first()).copied());
            job.key = keys.as_ref().and_then(|k| k.get(n)).cloned().flatten();
        }
    }
    cursors.asked();
    Ok(look)
}

/// Notes parts of slices of one segment as done and takes from a lane of it, both in one statement: the slices that accepted
/// their part, and what was taken. When `lazy`, what it did is on the disk only once a later statement has waited for that.
pub(super) async fn work(
    link: &Link,
    short: &Short<'_>,
    most: i32,
    token: i64,
    parts: &[Part],
    lazy: bool,
) -> Result<(Vec<i64>, Row)> {
    let Short { place, at, limit } = *short;
    let columns = Columns::of(parts);
    let most = i64::from(most);
    let mut args: Vec<(&(dyn ToSql + Sync), Type)> = vec![
        (&link.session, Type::INT4),
        (&place.lane, Type::INT4),
        (&most, Type::INT8),
        (&at.turn, Type::INT8),
        (&at.lo, Type::PG_SNAPSHOT),
        (&at.hi, Type::PG_SNAPSHOT),
        (&at.after.0, Type::XID8),
        (&at.after.1, Type::INT8),
        (&at.slice, Type::INT8),
        (&token, Type::INT8),
        (&columns.slices, Type::INT8_ARRAY),
        (&columns.tokens, Type::INT8_ARRAY),
        (&columns.numbers, Type::INT4_ARRAY),
        (&columns.slots, Type::BYTEA_ARRAY),
        (&lazy, Type::BOOL),
    ];
    let ends: Vec<i32> = parts.iter().map(|p| if p.limited.is_some() { p.jobs } else { 0 }).collect();
    let statements = if limit.is_some() { &LIMITED } else { &WORK };
    if let Some(limit) = limit {
        args.extend([
            (&limit.turn as &(dyn ToSql + Sync), Type::INT8),
            (&limit.room, Type::INT4),
            (&limit.version, Type::TEXT),
            (&limit.since, Type::INT8),
            (&ends, Type::INT4_ARRAY),
            (&limit.rate, Type::INT4),
        ]);
    }
    let sql = usize::try_from(place.source).ok().and_then(|n| statements.get(n)).ok_or_else(nothing)?;
    let row = link.query(sql, &args).await?.pop().ok_or_else(nothing)?;
    Ok((row.try_get("done")?, row))
}

/// Waits until what was committed lazily is on the disk.
pub(super) async fn flush(link: &Link) -> Result<()> {
    link.query(FLUSH, &[]).await.map(drop)
}

/// What [`work`] took: nothing is to be asked again at the function.
pub(super) fn worked(row: &Row, place: Place, token: i64, cursors: &mut Cursors) -> Result<Look> {
    let mut look = Look { cancels: row.try_get::<_, Option<bool>>("cancels")?.is_some(), ..Look::default() };
    let ids: Option<Vec<i64>> = row.try_get("ids")?;
    let slice: Option<i64> = row.try_get("slice")?;
    match (ids, slice) {
        (Some(ids), Some(_)) => {
            cursors.learn(row, place)?;
            unpack(row, place, ids, slice, token, &mut look)?;
        }
        (Some(_), None) => cursors.forget(), // somebody else was faster
        (None, _) => {
            cursors.ask(place);
            look.dry = true;
        }
    }
    look.more = true;
    Ok(look)
}

/// The jobs of one packed row: a slice's, or held ones.
fn unpack(
    row: &Row,
    place: Place,
    ids: Vec<i64>,
    slice: Option<i64>,
    token: i64,
    into: &mut Look,
) -> Result<()> {
    let limited = row.try_get::<_, Option<i64>>("limited")?.map(|_| place.lane >> 4);
    into.slices.extend(slice.map(|number| Sliced { number, token, ids: ids.clone(), limited }));
    let mut ats = row.try_get::<_, Vec<SystemTime>>("ats")?.into_iter();
    let mut flags = row.try_get::<_, Vec<i32>>("flags")?.into_iter();
    let mut kinds = row.try_get::<_, Vec<String>>("kinds")?.into_iter();
    let mut payloads = row.try_get::<_, Vec<Vec<u8>>>("payloads")?.into_iter();
    let mut headers = row.try_get::<_, Vec<Option<String>>>("headers")?.into_iter();
    into.jobs.reserve(ids.len());
    for (slot, id) in (1..).zip(ids) {
        let (Some(at), Some(flags), Some(kind), Some(payload), Some(headers)) =
            (ats.next(), flags.next(), kinds.next(), payloads.next(), headers.next())
        else {
            return Err(Error::new(ErrorKind::Other, "a take's columns are of different lengths"));
        };
        let (number, slot) = slice.map_or((id, 0), |s| (s, slot));
        into.jobs.push(Taken {
            claim: Claim { source: place.source, number, token, slot },
            id,
            queue: place.lane >> 4,
            priority: place.lane & 15,
            attempt: 1,
            most_attempts: (flags >> 8 > 0).then_some(flags >> 8),
            at,
            flags,
            kind,
            payload,
            headers,
            key: None,
        });
    }
    Ok(())
}

/// A part of a slice that is done.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) slice: i64,
    pub(super) token: i64,
    pub(super) number: i32,
    /// A bit for each job; none for all of it.
    pub(super) slots: Option<Vec<u8>>,
    /// How many jobs it ends.
    pub(super) jobs: i32,
    /// See [`Sliced::limited`].
    pub(super) limited: Option<i32>,
}

impl Part {
    pub(super) fn segment(&self) -> usize {
        usize::try_from(self.slice & 3).unwrap_or(0)
    }
}

/// Parts, column by column.
struct Columns<'a> {
    slices: Vec<i64>,
    tokens: Vec<i64>,
    numbers: Vec<i32>,
    slots: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    fn of(parts: &'a [Part]) -> Self {
        Self {
            slices: parts.iter().map(|p| p.slice).collect(),
            tokens: parts.iter().map(|p| p.token).collect(),
            numbers: parts.iter().map(|p| p.number).collect(),
            slots: parts.iter().map(|p| p.slots.as_deref()).collect(),
        }
    }
}

/// Notes parts of one segment's slices as done: the slices that accepted it.
pub(super) async fn done(link: &Link, segment: usize, parts: &[Part], again: bool) -> Result<Vec<i64>> {
    let columns = Columns::of(parts);
    let args: &Args<'_> = &[
        (&columns.slices, Type::INT8_ARRAY),
        (&columns.tokens, Type::INT8_ARRAY),
        (&columns.numbers, Type::INT4_ARRAY),
        (&columns.slots, Type::BYTEA_ARRAY),
        (&again, Type::BOOL),
    ];
    let rows = link.query(DONE.get(segment).ok_or_else(nothing)?, args).await?;
    Ok(rows.first().ok_or_else(nothing)?.try_get(0)?)
}

/// How an attempt ended, one by one.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) claim: Claim,
    /// 4 done, 0 comes again, 2 dead, 3 cancelled.
    pub(super) state: i32,
    /// After how long it comes again; none: by the queue's backoff.
    pub(super) ms: Option<i64>,
    /// Whether the attempt counts.
    pub(super) counted: bool,
    pub(super) error: Option<String>,
    pub(super) result: Option<(i32, Vec<u8>)>,
}

/// Ends attempts: the numbers, from 1, of those that were accepted. Lazily, as [`work`].
pub(super) async fn end(link: &Link, ends: &[&End], lazy: bool) -> Result<Vec<i32>> {
    let sources: Vec<i32> = ends.iter().map(|e| e.claim.source).collect();
    let claims: Vec<i64> = ends.iter().map(|e| e.claim.number).collect();
    let tokens: Vec<i64> = ends.iter().map(|e| e.claim.token).collect();
    let slots: Vec<i32> = ends.iter().map(|e| e.claim.slot).collect();
    let states: Vec<i32> = ends.iter().map(|e| e.state).collect();
    let delays: Vec<Option<i64>> = ends.iter().map(|e| e.ms).collect();
    let counted: Vec<bool> = ends.iter().map(|e| e.counted).collect();
    let errors: Vec<Option<&str>> = ends.iter().map(|e| e.error.as_deref()).collect();
    let contents: Vec<Option<i32>> = ends.iter().map(|e| e.result.as_ref().map(|r| r.0)).collect();
    let results: Vec<Option<&[u8]>> = ends.iter().map(|e| e.result.as_ref().map(|r| &*r.1)).collect();
    let args: &Args<'_> = &[
        (&sources, Type::INT4_ARRAY),
        (&claims, Type::INT8_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&slots, Type::INT4_ARRAY),
        (&states, Type::INT4_ARRAY),
        (&delays, Type::INT8_ARRAY),
        (&counted, Type::BOOL_ARRAY),
        (&errors, Type::TEXT_ARRAY),
        (&contents, Type::INT4_ARRAY),
        (&results, Type::BYTEA_ARRAY),
        (&lazy, Type::BOOL),
    ];
    link.value(END, args).await
}

/// Whether a job has ended by this claim, as a transaction of its handler was to do.
pub(super) async fn ended(link: &Link, claim: Claim, id: i64) -> Result<bool> {
    link.value(ENDED, &of(&claim, &id)).await
}

/// The arguments that say which attempt at which job.
fn of<'a>(claim: &'a Claim, id: &'a i64) -> [(&'a (dyn ToSql + Sync), Type); 5] {
    [
        (&claim.source, Type::INT4),
        (&claim.number, Type::INT8),
        (&claim.token, Type::INT8),
        (&claim.slot, Type::INT4),
        (id, Type::INT8),
    ]
}

/// Notes how far a job has come: false when it is no longer the claim's.
pub(super) async fn progress(
    link: &Link,
    claim: Claim,
    id: i64,
    percent: i32,
    message: &str,
) -> Result<bool> {
    let [source, number, token, slot, id] = of(&claim, &id);
    let args: &Args<'_> = &[source, number, token, slot, id, (&percent, Type::INT4), (&message, Type::TEXT)];
    link.value(PROGRESS, args).await
}

/// Gives back what a take with this token may have taken, whose answer never came.
pub(super) async fn give_back(link: &Link, token: i64) -> Result<()> {
    link.query(RETURN, &[(&link.session, Type::INT4), (&token, Type::INT8)]).await.map(drop)
}

/// In how many milliseconds the next held job is due, and which of those being worked on were cancelled.
pub(super) async fn attend(link: &Link, queues: &[i32], working: &[i64]) -> Result<(Option<i64>, Vec<i64>)> {
    let args: &Args<'_> = &[(&queues, Type::INT4_ARRAY), (&working, Type::INT8_ARRAY)];
    let rows = link.query(ATTEND, args).await?;
    let row = rows.first().ok_or_else(nothing)?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

fn nothing() -> Error {
    Error::new(ErrorKind::Other, "a statement returned no row")
}
