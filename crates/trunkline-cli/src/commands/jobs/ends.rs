//! `trunkline jobs retry`, `cancel` and `delete`: some jobs by their ids, or all of a queue that are in a state.
//!
//! Each id stands for itself: one that cannot be helped does not stop the others, and the exit code is that of the first.

use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args};
use serde_json::json;
use tokio_postgres::types::{ToSql, Type};
use trunkline::{Error, ErrorKind};

use crate::{
    args::Global,
    commands::schema::confirm,
    exit::{Failure, OK, Result},
    input,
    out::{self, number},
    source,
};

const RETRY: &str = "select trunkline.job_retry(id => $1)";
const RETRY_ALL: &str =
    "select trunkline.job_retry_all(queue => $1, state => $2, kind => $3, dry_run => $4, key => $5,
    older_than => $6 * interval '1 second', payload => $7::text::jsonb, containing => $8, since => $9, until => $10, cause => $11)";
const CANCEL: &str = "select trunkline.job_cancel(id => $1) is not null";
const CANCEL_ALL: &str =
    "select trunkline.job_cancel_all(queue => $1, state => $2, kind => $3, dry_run => $4, key => $5,
    older_than => $6 * interval '1 second', payload => $7::text::jsonb, containing => $8, since => $9, until => $10, cause => $11)";
const DELETE: &str = "select trunkline.job_delete(id => $1)";
const DELETE_ALL: &str =
    "select trunkline.job_delete_all(queue => $1, state => $2, kind => $3, dry_run => $4, key => $5,
    older_than => $6 * interval '1 second', payload => $7::text::jsonb, containing => $8, since => $9, until => $10, cause => $11)";

/// Options of `jobs retry`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub(crate) struct RetryArgs {
    /// The jobs' ids
    #[arg(value_name = "ID")]
    ids: Vec<i64>,

    /// All dead letters of this queue; with --state, all that are in that state
    #[arg(long, visible_alias = "dead", value_name = "QUEUE")]
    all: Option<String>,

    /// Those in this state, instead of the dead letters
    #[arg(long, value_name = "STATE", conflicts_with = "ids",
          value_parser = ["dead", "cancelled", "retrying", "scheduled"])]
    state: Option<String>,

    #[command(flatten)]
    bulk: Bulk,
}

/// Options of `jobs cancel`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub(crate) struct CancelArgs {
    /// The jobs' ids
    #[arg(value_name = "ID")]
    ids: Vec<i64>,

    /// All jobs of this queue that are waiting; with --state, all that are in that state
    #[arg(long, value_name = "QUEUE")]
    all: Option<String>,

    /// Those in this state, instead of those that are waiting
    #[arg(long, value_name = "STATE", conflicts_with = "ids",
          value_parser = ["waiting", "scheduled", "retrying", "running"])]
    state: Option<String>,

    #[command(flatten)]
    bulk: Bulk,
}

/// Options of `jobs delete`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub(crate) struct DeleteArgs {
    /// The jobs' ids
    #[arg(value_name = "ID")]
    ids: Vec<i64>,

    /// All dead letters of this queue; with --state, all that are in that state
    #[arg(long, value_name = "QUEUE")]
    all: Option<String>,

    /// Those in this state, instead of the dead letters
    #[arg(long, value_name = "STATE", conflicts_with = "ids", value_parser = ["dead", "cancelled", "done"])]
    state: Option<String>,

    #[command(flatten)]
    bulk: Bulk,
}

/// Options of what is done with all of a queue.
#[derive(Debug, Args)]
struct Bulk {
    /// Only those of this kind
    #[arg(long, value_name = "KIND", conflicts_with = "ids")]
    kind: Option<String>,

    /// Only those with this key
    #[arg(short, long, value_name = "KEY", conflicts_with = "ids")]
    key: Option<String>,

    /// Only those that were pushed longer ago than this: 15m, 2h, 30d
    #[arg(long, value_name = "TIME", conflicts_with = "ids", value_parser = input::duration)]
    older_than: Option<Duration>,

    /// Only those whose JSON payload contains this
    #[arg(long, value_name = "JSON", conflicts_with = "ids", value_parser = input::json)]
    payload: Option<String>,

    /// Only those of whose payload these characters are a part
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    containing: Option<String>,

    /// Only those pushed at this moment or later: 2026-11-23T12:00Z, or so long ago: 24h
    #[arg(long, value_name = "MOMENT", conflicts_with = "ids", value_parser = input::moment)]
    since: Option<SystemTime>,

    /// Only those pushed before this moment
    #[arg(long, value_name = "MOMENT", conflicts_with = "ids", value_parser = input::moment)]
    until: Option<SystemTime>,

    /// Only those whose last error is of this group, as the dashboard shows the dead: its first line, numbers in it as #
    #[arg(long, value_name = "CAUSE", conflicts_with = "ids")]
    cause: Option<String>,

    /// Only count them
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
}

pub(crate) async fn retry(global: &Global, args: RetryArgs) -> Result<u8> {
    if let Some(queue) = &args.all {
        let state = args.state.as_deref().unwrap_or("dead");
        let count = all(global, RETRY_ALL, (queue, state), &args.bulk).await?;
        return number(global.json, "retried", &json!(count));
    }
    let unless = "there is nothing to retry: it runs, is done, or could run already";
    each(global, (RETRY, "retried", unless), &args.ids).await
}

pub(crate) async fn cancel(global: &Global, args: CancelArgs) -> Result<u8> {
    if let Some(queue) = &args.all {
        let state = args.state.as_deref().unwrap_or("waiting");
        if !args.bulk.dry_run {
            confirm(global, &format!("cancel all {state} jobs of {queue:?}"))?;
        }
        let count = all(global, CANCEL_ALL, (queue, state), &args.bulk).await?;
        return number(global.json, "cancelled", &json!(count));
    }
    each(global, (CANCEL, "cancelled", "it had ended before"), &args.ids).await
}

pub(crate) async fn delete(global: &Global, args: DeleteArgs) -> Result<u8> {
    if let Some(queue) = &args.all {
        let state = args.state.as_deref().unwrap_or("dead");
        if !args.bulk.dry_run {
            confirm(global, &format!("delete all {state} jobs of {queue:?}"))?;
        }
        let count = all(global, DELETE_ALL, (queue, state), &args.bulk).await?;
        return number(global.json, "deleted", &json!(count));
    }
    let unless = "it waits or runs, so cancel it first; or it is in the ring, and goes with its segment";
    each(global, (DELETE, "deleted", unless), &args.ids).await
}

async fn all(global: &Global, sql: &'static str, (queue, state): (&str, &str), bulk: &Bulk) -> Result<i64> {
    let older = bulk.older_than.map(|t| t.as_secs_f64());
    let parameters: [(&(dyn ToSql + Sync), Type); 11] = [
        (&queue, Type::TEXT),
        (&state, Type::TEXT),
        (&bulk.kind, Type::TEXT),
        (&bulk.dry_run, Type::BOOL),
        (&bulk.key, Type::TEXT),
        (&older, Type::FLOAT8),
        (&bulk.payload, Type::TEXT),
        (&bulk.containing, Type::TEXT),
        (&bulk.since, Type::TIMESTAMPTZ),
        (&bulk.until, Type::TIMESTAMPTZ),
        (&bulk.cause, Type::TEXT),
    ];
    source::one(global, sql, &parameters).await
}

/// Does this with each job, and prints with how many it could be done.
async fn each(global: &Global, (sql, word, unless): (&'static str, &str, &str), ids: &[i64]) -> Result<u8> {
    let plain = source::choose(global).await?.checked().await?;
    let (mut count, mut code) = (0, OK);
    for id in ids {
        let conflict = |why| Failure::from(Error::new(ErrorKind::Conflict, format!("job {id}: {why}")));
        let failure = match plain.one(sql, &[(id, Type::INT8)]).await {
            Ok(true) => {
                count += 1;
                continue;
            }
            Ok(false) => conflict(unless),
            Err(Failure::Library(e)) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                e.into()
            }
            Err(failure) => return Err(failure),
        };
        out::talk(&format!("trunkline: {failure}"));
        code = if code == OK { failure.code() } else { code };
    }
    number(global.json, word, &json!(count))?;
    Ok(code)
}
