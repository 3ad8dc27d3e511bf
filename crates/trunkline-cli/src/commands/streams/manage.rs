//! `trunkline streams create`, `drop`, `register`, `unregister`, `tick`: streams and who consumes them.

use clap::Args;
use serde_json::json;
use tokio_postgres::types::Type;
use trunkline::streams::Position;

use super::position;
use crate::{
    args::Global,
    commands::schema::confirm,
    exit::{Failure, OK, Result},
    out::{self, Out, said},
    source,
};

const OPEN: &str = "select trunkline.stream_open(stream => $1)";
const DROP: &str = "select trunkline.stream_drop(stream => $1, force => $2)";
const TICK: &str = "select trunkline.stream_tick(stream => $1, force => $2)";

/// A stream.
#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    /// The stream
    stream: String,
}

/// Options of `streams drop`.
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// The stream
    stream: String,

    /// Also with its consumers, their retries and dead letters
    #[arg(long)]
    force: bool,
}

/// A stream's consumer.
#[derive(Debug, Args)]
pub(crate) struct ConsumerArgs {
    /// The stream
    pub(super) stream: String,

    /// The consumer
    pub(super) consumer: String,
}

/// Options of `streams register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    of: ConsumerArgs,

    /// Where it begins: end, beginning, tick:N, like:CONSUMER, or a time
    #[arg(long, value_name = "POSITION", default_value = "end", value_parser = position)]
    at: Position,
}

/// Options of `streams tick`.
#[derive(Debug, Args)]
pub(crate) struct TickArgs {
    /// The stream
    stream: String,

    /// Also if there is nothing new
    #[arg(long)]
    force: bool,
}

pub(crate) async fn create(global: &Global, args: StreamArgs) -> Result<u8> {
    let id: i32 = source::one(global, OPEN, &[(&args.stream, Type::TEXT)]).await?;
    said(global.json, &json!({ "stream": args.stream, "id": id }))
}

pub(crate) async fn drop(global: &Global, args: DropArgs) -> Result<u8> {
    confirm(global, &format!("remove the stream {:?} with its events", args.stream))?;
    let dropped: bool =
        source::one(global, DROP, &[(&args.stream, Type::TEXT), (&args.force, Type::BOOL)]).await?;
    if !dropped {
        return Err(Failure::NotFound(format!("there is no stream {:?}", args.stream)));
    }
    said(global.json, &json!({ "dropped": args.stream }))
}

pub(crate) async fn register(global: &Global, args: RegisterArgs) -> Result<u8> {
    let (stream, consumer) = (&args.of.stream, &args.of.consumer);
    let trunkline = source::choose(global).await?.trunkline().await?;
    let registered = trunkline.streams().register(stream, consumer, args.at.clone()).await;
    trunkline.close().await;
    let new = registered?;
    if !new && !global.quiet {
        out::talk("trunkline: it was registered before, and stays where it is");
    }
    said(global.json, &json!({ "consumer": consumer, "new": new }))
}

pub(crate) async fn unregister(global: &Global, args: ConsumerArgs) -> Result<u8> {
    let what = format!("remove the consumer {:?} of {:?} with its dead letters", args.consumer, args.stream);
    confirm(global, &what)?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let removed = trunkline.streams().unregister(&args.stream, &args.consumer).await;
    trunkline.close().await;
    if !removed? {
        return Err(Failure::NotFound(format!(
            "stream {:?} has no consumer {:?}",
            args.stream, args.consumer
        )));
    }
    said(global.json, &json!({ "unregistered": args.consumer }))
}

/// Prints the tick's id, or nothing when there is none.
pub(crate) async fn tick(global: &Global, args: TickArgs) -> Result<u8> {
    let tick: Option<i64> =
        source::one(global, TICK, &[(&args.stream, Type::TEXT), (&args.force, Type::BOOL)]).await?;
    match tick {
        Some(tick) if !global.json => Out::new(false, true).line(&tick.to_string()).map(|()| OK),
        _ => said(global.json, &json!({ "tick": tick })),
    }
}
