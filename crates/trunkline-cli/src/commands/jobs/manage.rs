//! `trunkline jobs create`, `pause`, `resume`, `set`: queues.

use clap::Args;
use serde_json::{Value, json};
use tokio_postgres::types::Type;

use crate::{
    args::Global,
    exit::{OK, Result},
    input::setting,
    out::{self, said},
    source,
};

const OPEN: &str = "select trunkline.job_open(queue => $1, durable => $2)";
const PAUSE: &str = "select trunkline.job_pause(queue => $1)";
const RESUME: &str = "select trunkline.job_resume(queue => $1)";
const SET: &str = "select trunkline.job_set($1, $2, $3)";

/// Options of `jobs create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The queue
    queue: String,

    /// Keep its jobs in unlogged tables: faster, and a crash of the database loses those that wait or run; it is for good
    #[arg(long)]
    volatile: bool,
}

/// A queue.
#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// The queue
    queue: String,
}

/// Options of `jobs set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The queue
    queue: String,

    /// What is to be set; all of them, or none
    #[arg(value_name = "SETTING=VALUE", required = true, value_parser = setting)]
    settings: Vec<(String, String)>,
}

pub(crate) async fn create(global: &Global, args: CreateArgs) -> Result<u8> {
    let durable = args.volatile.then_some(false);
    let id: i32 = source::one(global, OPEN, &[(&args.queue, Type::TEXT), (&durable, Type::BOOL)]).await?;
    said(global.json, &json!({ "queue": args.queue, "id": id }))
}

pub(crate) async fn pause(global: &Global, args: QueueArgs) -> Result<u8> {
    let new: bool = source::one(global, PAUSE, &[(&args.queue, Type::TEXT)]).await?;
    if !new && !global.quiet {
        out::talk("trunkline: it was paused before");
    }
    said(global.json, &json!({ "queue": args.queue, "paused": true, "new": new }))
}

pub(crate) async fn resume(global: &Global, args: QueueArgs) -> Result<u8> {
    let new: bool = source::one(global, RESUME, &[(&args.queue, Type::TEXT)]).await?;
    if !new && !global.quiet {
        out::talk("trunkline: it was not paused");
    }
    said(global.json, &json!({ "queue": args.queue, "paused": false, "new": new }))
}

pub(crate) async fn set(global: &Global, args: SetArgs) -> Result<u8> {
    let mut plain = source::choose(global).await?.checked().await?;
    let tx = plain.client.transaction().await?;
    for (name, value) in &args.settings {
        tx.query_typed(SET, &[(&args.queue, Type::TEXT), (name, Type::TEXT), (value, Type::TEXT)]).await?;
    }
    tx.commit().await?;
    let settings: serde_json::Map<String, Value> =
        args.settings.into_iter().map(|(name, value)| (name, value.into())).collect();
    said(global.json, &json!({ "set": settings })).map(|_| OK)
}
