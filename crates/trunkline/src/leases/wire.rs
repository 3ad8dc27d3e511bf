//! The statements of the engine, and their answers.

use std::time::{Duration, SystemTime};

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::{
    Result,
    listener::{Args, Link},
};

const LOOK: &str = "select n, fence, silent_ms, progress, again_ms, ripe, vigil, noted_ms from trunkline._lease_look($1, $2, $3, $4, $5, $6)";
const LEAVE: &str = "select trunkline._lease_leave($1)::text";
const RENEW: &str = "select n, held, resign from trunkline._lease_renew($1, $2, $3, $4)";
const RELEASE: &str = "select trunkline._lease_release($1, $2, $3)";
const WATCH: &str = "select name, fence, held_by, since from trunkline._lease_watch($1, $2)";
const UNWATCH: &str = "select trunkline._lease_unwatch($1, $2)::text";
/// Whether a fence is in force, for a guard.
pub(super) const IN_FORCE: &str = "select trunkline._lease_in_force($1, $2)";
/// In SQL, to use a statement's checks where it yields nothing.
pub(super) const CHECK: &str = "select 1::bigint from trunkline.lease_check($1, $2)";

/// One who asks for a lease.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) holder: Uuid,
    pub(super) name: String,
    pub(super) held_by: String,
    pub(super) ttl: Duration,
    pub(super) waits: bool,
}

/// What is known of the holder before.
#[derive(Debug, Default)]
pub(super) struct Predecessor {
    /// For how long it had been silent.
    pub(super) silent: Option<Duration>,
    /// What it noted, or one before it, and when that was, by this machine's clock: rather too early than too late.
    pub(super) progress: Option<String>,
    pub(super) noted_at: Option<SystemTime>,
}

/// What a look came to for one who asked.
#[derive(Debug)]
pub(super) enum Looked {
    /// The lease is theirs: the fence, and the predecessor.
    Granted { fence: i64, before: Predecessor },
    /// When to look again; whether there may be something to take then, for which the process must be known to hold something;
    /// and whether a vigil tells of it sooner.
    Again { after: Duration, ripe: bool, vigil: bool },
}

/// Answers by the number in `asked`.
pub(super) async fn look(link: &Link, asked: &[Asked]) -> Result<Vec<(usize, Looked)>> {
    let names: Vec<&str> = asked.iter().map(|a| a.name.as_str()).collect();
    let holders: Vec<Uuid> = asked.iter().map(|a| a.holder).collect();
    let held_by: Vec<&str> = asked.iter().map(|a| a.held_by.as_str()).collect();
    let ttls: Vec<i32> = asked.iter().map(|a| i32::try_from(a.ttl.as_millis()).unwrap_or(i32::MAX)).collect();
    let waits: Vec<bool> = asked.iter().map(|a| a.waits).collect();
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&names, Type::TEXT_ARRAY),
        (&holders, Type::UUID_ARRAY),
        (&held_by, Type::TEXT_ARRAY),
        (&ttls, Type::INT4_ARRAY),
        (&waits, Type::BOOL_ARRAY),
    ];
    let began = SystemTime::now();
    let rows = link.query(LOOK, args).await?;
    rows.iter()
        .map(|row| {
            let looked = match row.try_get(1)? {
                Some(fence) => {
                    let noted = row.try_get::<_, Option<i64>>(7)?.map(millis);
                    let before = Predecessor {
                        silent: row.try_get::<_, Option<i64>>(2)?.map(millis),
                        progress: row.try_get(3)?,
                        noted_at: noted.and_then(|ago| began.checked_sub(ago)),
                    };
                    Looked::Granted { fence, before }
                }
                None => Looked::Again {
                    after: millis(row.try_get::<_, Option<i32>>(4)?.unwrap_or(0).into()),
                    ripe: row.try_get(5)?,
                    vigil: row.try_get(6)?,
                },
            };
            Ok((number(row.try_get(0)?), looked))
        })
        .collect()
}

/// Those who no longer wait.
pub(super) async fn leave(link: &Link, holders: &[Uuid]) -> Result<()> {
    link.query(LEAVE, &[(&holders, Type::UUID_ARRAY)]).await.map(drop)
}

/// One who holds a lease, or held it, and what is to be noted of its progress.
#[derive(Debug, Clone)]
pub(super) struct Mine {
    pub(super) holder: Uuid,
    pub(super) name: String,
    pub(super) progress: Option<String>,
}

/// What a renewal came to, by the number in `mine`: whether it is held, none for not known; and whether it shall resign.
pub(super) async fn renew(link: &Link, mine: &[Mine]) -> Result<Vec<(usize, Option<bool>, bool)>> {
    let (names, holders, progress) = columns(mine);
    let args: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&names, Type::TEXT_ARRAY),
        (&holders, Type::UUID_ARRAY),
        (&progress, Type::TEXT_ARRAY),
    ];
    let rows = link.query(RENEW, args).await?;
    rows.iter().map(|row| Ok((number(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?))).collect()
}

/// Which of them hold it no longer.
pub(super) async fn release(link: &Link, mine: &[Mine]) -> Result<Vec<Uuid>> {
    let (names, holders, progress) = columns(mine);
    let args: &Args<'_> =
        &[(&names, Type::TEXT_ARRAY), (&holders, Type::UUID_ARRAY), (&progress, Type::TEXT_ARRAY)];
    link.value(RELEASE, args).await
}

fn columns(mine: &[Mine]) -> (Vec<&str>, Vec<Uuid>, Vec<Option<&str>>) {
    (
        mine.iter().map(|m| m.name.as_str()).collect(),
        mine.iter().map(|m| m.holder).collect(),
        mine.iter().map(|m| m.progress.as_deref()).collect(),
    )
}

/// How leases stand that are watched from now on: name, fence, holder, since.
pub(super) async fn watch(link: &Link, names: &[String]) -> Result<Vec<(String, super::Standing)>> {
    let args: &Args<'_> = &[(&link.session, Type::INT4), (&names, Type::TEXT_ARRAY)];
    let rows = link.query(WATCH, args).await?;
    rows.iter()
        .map(|row| {
            let standing =
                super::Standing { fence: row.try_get(1)?, held_by: row.try_get(2)?, since: row.try_get(3)? };
            Ok((row.try_get(0)?, standing))
        })
        .collect()
}

/// Those that are no longer watched.
pub(super) async fn unwatch(link: &Link, names: &[String]) -> Result<()> {
    let args: &Args<'_> = &[(&link.session, Type::INT4), (&names, Type::TEXT_ARRAY)];
    link.query(UNWATCH, args).await.map(drop)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Counted from 1 in SQL.
fn number(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0).saturating_sub(1)
}
