//! The clock of the schedules: fires what is due, and sleeps until something is.
//!
//! ```text
//!         ┌── nothing is due: sleep until the next time, by the database's clock; the door rings when one is made or changed
//!   look ─┤
//!         └── due: work out which times, fire them: push, and set the next time, in one statement ──▶ look again
//! ```
//! No state: any number of these fire each time once, since the next time is compared and set under the row's lock. It looks
//! once a minute even if nothing is due, so an idle one costs a statement a minute.
//!
//! What if it dies here: before the fire's commit nothing was pushed, and the time is due still; after it, all was.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio::{sync::watch, time::sleep};
use tokio_postgres::{Row, types::Type};
use tracing::{debug, warn};

use super::{cron::Times, schedule::Missed};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link, Listener, turned},
};

/// The door on which clocks sleep; also in the SQL of schedules.
pub(super) const DOOR: i32 = -129;
/// The longest sleep; behind a pooler, where no door can be held, that is how late a new schedule is seen.
const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_POOLED: Duration = Duration::from_secs(15);
/// What is due and cannot be fired is in somebody else's hands: from the first pause to the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
const PAGE: i32 = 100;

const WAIT: &str = "select trunkline._job_schedule_wait()";
const DUE: &str = "select name, generation, cron, zone, missed, since, next_at, now_at from trunkline._job_schedule_due($1, $2)";
const FIRE: &str = "select pushed, door, failure from trunkline._job_schedule_fire($1, $2, $3, $4, $5)";
const FAIL: &str = "select trunkline._job_schedule_fail($1, $2, $3)::text";

/// Runs until the process leaves.
pub(super) fn start(listener: Arc<Listener>, mut closing: watch::Receiver<bool>) {
    let mut closed = listener.closing();
    tokio::spawn(async move {
        tokio::select! {
            () = run(&listener) => {}
            () = turned(&mut closing) => {}
            () = turned(&mut closed) => {}
        }
    });
}

async fn run(listener: &Arc<Listener>) {
    let mut bell = listener.door(DOOR);
    let (mut pause, mut told) = (PAUSES[0], None);
    loop {
        let rest = match round(listener).await {
            Ok(Round { wait: Wait::For(rest), .. }) => {
                (pause, told) = (PAUSES[0], None);
                rest
            }
            Ok(Round { fired, .. }) => {
                pause = if fired > 0 { PAUSES[0] } else { (pause * 2).min(PAUSES[1]) };
                pause
            }
            Err(e) => {
                let text = e.to_string();
                if told.as_ref() != Some(&text) {
                    warn!(error = text, "schedules cannot be fired; trying again");
                }
                told = Some(text);
                if e.kind() == ErrorKind::Denied { LONGEST } else { PAUSES[1] }
            }
        };
        tokio::select! {
            () = sleep(rest) => {}
            () = bell.rung() => {}
        }
    }
}

/// What a round came to.
#[derive(Debug)]
pub(super) struct Round {
    /// How many jobs were pushed.
    pub(super) fired: u64,
    wait: Wait,
}

#[derive(Debug)]
enum Wait {
    /// Nothing is due for so long, as far as anybody knows.
    For(Duration),
    /// What is due is in somebody else's hands.
    Others,
}

/// Fires until nothing is due, or what is due is in somebody else's hands.
pub(super) async fn round(listener: &Arc<Listener>) -> Result<Round> {
    let mut fired = 0;
    loop {
        let link = listener.link().await?;
        let longest = if link.pooled { LONGEST_POOLED } else { LONGEST };
        match link.value::<Option<i64>>(WAIT, &[]).await? {
            None => return Ok(Round { fired, wait: Wait::For(longest) }),
            Some(ms) if ms > 0 => {
                let rest = Duration::from_millis(ms.unsigned_abs()).min(longest);
                return Ok(Round { fired, wait: Wait::For(rest) });
            }
            Some(_) => {}
        }
        let (pushed, moved) = pass(listener, &link).await?;
        fired += pushed;
        if !moved {
            return Ok(Round { fired, wait: Wait::Others });
        }
    }
}

/// Fires each schedule that is due, once: how many jobs, and whether anything was changed. What fails stops no other.
async fn pass(listener: &Listener, link: &Link) -> Result<(u64, bool)> {
    let (mut past, mut fired, mut moved, mut failure) = (String::new(), 0, false, None);
    loop {
        let rows = link.query(DUE, &[(&past, Type::TEXT), (&PAGE, Type::INT4)]).await?;
        for row in &rows {
            past = row.try_get("name")?;
            match fire(listener, link, row).await {
                Ok(None) => {}
                Ok(Some(pushed)) => {
                    fired += pushed;
                    moved = true;
                }
                Err(e) if e.kind() == ErrorKind::Unreachable => return Err(e),
                Err(e) => {
                    warn!(schedule = past, error = %e, "cannot be fired; trying again");
                    failure = failure.or(Some(e));
                }
            }
        }
        if i32::try_from(rows.len()).is_ok_and(|n| n < PAGE) {
            break;
        }
    }
    match failure {
        Some(e) if !moved => Err(e),
        _ => Ok((fired, moved)),
    }
}

/// Fires a schedule: how many jobs; nothing when it is in somebody else's hands, or no longer as it was read.
async fn fire(listener: &Listener, link: &Link, row: &Row) -> Result<Option<u64>> {
    let (name, generation): (&str, i64) = (row.try_get("name")?, row.try_get("generation")?);
    let due: Option<SystemTime> = row.try_get("next_at")?;
    // Whoever may schedule by SQL must not end this task, whatever an expression does to the parser.
    let planned = catch_unwind(AssertUnwindSafe(|| plan(row, due)));
    let odd = |_| Err(Error::new(ErrorKind::Invalid, "cron: its times cannot be worked out"));
    let (ats, next) = match planned.unwrap_or_else(odd) {
        Ok(plan) => plan,
        Err(e) => {
            warn!(schedule = name, error = %e, "a schedule cannot be read");
            let text = e.to_string();
            let args: &Args<'_> = &[(&name, Type::TEXT), (&generation, Type::INT8), (&text, Type::TEXT)];
            return link.query(FAIL, args).await.map(|_| Some(0));
        }
    };
    let args: &Args<'_> = &[
        (&name, Type::TEXT),
        (&generation, Type::INT8),
        (&due, Type::TIMESTAMPTZ),
        (&ats, Type::TIMESTAMPTZ_ARRAY),
        (&next, Type::TIMESTAMPTZ),
    ];
    let rows = link.query(FIRE, args).await?;
    let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "a fire returned no row"))?;
    if let Some(failure) = row.try_get::<_, Option<&str>>("failure")? {
        warn!(schedule = name, error = failure, "a schedule's job cannot be pushed");
        return Ok(Some(0));
    }
    let Some(pushed) = row.try_get::<_, Option<i32>>("pushed")? else { return Ok(None) };
    if let Some(door) = row.try_get::<_, Option<i32>>("door")?.filter(|_| pushed > 0) {
        listener.ring(door); // nobody notifies itself
    }
    debug!(schedule = name, pushed, "fired");
    Ok(Some(pushed.unsigned_abs().into()))
}

/// Which times of a schedule are to be fired now, and which is the next one.
fn plan(row: &Row, due: Option<SystemTime>) -> Result<(Vec<SystemTime>, SystemTime)> {
    let times = Times::read(row.try_get("cron")?, row.try_get("zone")?)?;
    let missed = Missed::of(row.try_get("missed")?);
    let since = moment(row.try_get("since")?)?;
    let now = moment(row.try_get("now_at")?)?;
    let due = due.map(moment).transpose()?;
    let found = times.due(missed, (due, since), now);
    let found = found.ok_or_else(|| Error::new(ErrorKind::Invalid, "cron: never fires again"))?;
    Ok((found.ats.into_iter().map(SystemTime::from).collect(), found.next.into()))
}

fn moment(at: SystemTime) -> Result<Timestamp> {
    let out = |e| Error::new(ErrorKind::Invalid, "a schedule's time is out of range").with_source(e);
    Timestamp::try_from(at).map_err(out)
}
