//! `trunkline topics create`, `drop`, `ls`, `peek`, `subscriptions`: what is declared, and who listens.

use clap::Args;
use serde_json::json;
use tokio_postgres::types::Type;
use trunkline::topics::Kind;

use super::Word;
use crate::{
    args::Global,
    commands::{schema::confirm, streams::PeekArgs},
    exit::{Failure, Result},
    out::{Out, said},
    source,
};

const CREATE: &str = "select trunkline.topic_create(topic => $1, kind => $2, max_bytes => $3)";
const DROP: &str = "select trunkline.topic_drop(topic => $1, force => $2)";
const LIST: &str = "select to_jsonb(r) from trunkline.topic_list() r";
const PEEK: &str = "select to_jsonb(r) from trunkline.topic_peek($1, $2) r";
const SUBSCRIPTIONS: &str = "select to_jsonb(r) from trunkline.topic_subscriptions() r";

/// Options of `topics create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The topic
    topic: String,

    /// Its kind
    #[arg(short, long, value_enum, value_name = "KIND", default_value = "durable")]
    kind: Word,

    /// The largest payload, in bytes
    #[arg(long, value_name = "N", default_value_t = 1_048_576)]
    max_bytes: i32,
}

/// Options of `topics drop`.
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// The topic
    topic: String,

    /// A durable one also with its subscriptions
    #[arg(long)]
    force: bool,
}

pub(crate) async fn create(global: &Global, args: CreateArgs) -> Result<u8> {
    let kind = Kind::from(args.kind).word();
    let new: bool = source::one(
        global,
        CREATE,
        &[(&args.topic, Type::TEXT), (&kind, Type::TEXT), (&args.max_bytes, Type::INT4)],
    )
    .await?;
    said(global.json, &json!({ "topic": args.topic, "kind": kind, "new": new }))
}

pub(crate) async fn drop(global: &Global, args: DropArgs) -> Result<u8> {
    confirm(global, &format!("forget the topic {:?}, and its messages where it is durable", args.topic))?;
    let dropped: bool =
        source::one(global, DROP, &[(&args.topic, Type::TEXT), (&args.force, Type::BOOL)]).await?;
    if !dropped {
        return Err(Failure::NotFound(format!("the topic {:?} is not declared", args.topic)));
    }
    said(global.json, &json!({ "topic": args.topic }))
}

pub(crate) async fn ls(global: &Global) -> Result<u8> {
    let fields = ["topic", "kind", "max_bytes", "subscriptions", "messages", "last_at", "made_at"];
    Out::new(global.json, false).rows(&fields, &source::rows(global, LIST, &[]).await?)?;
    Ok(crate::exit::OK)
}

pub(crate) async fn peek(global: &Global, args: PeekArgs) -> Result<u8> {
    let rows = source::rows(global, PEEK, &[(&args.name, Type::TEXT), (&args.limit, Type::INT4)]).await?;
    let fields = ["id", "sent_at", "bytes", "message_id", "payload", "headers"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(crate::exit::OK)
}

pub(crate) async fn subscriptions(global: &Global) -> Result<u8> {
    let fields = [
        "topics",
        "kind",
        "name",
        "single",
        "active",
        "fence",
        "since",
        "application",
        "session",
        "address",
        "role",
        "made_at",
        "gaps",
        "gap_at",
    ];
    Out::new(global.json, false).rows(&fields, &source::rows(global, SUBSCRIPTIONS, &[]).await?)?;
    Ok(crate::exit::OK)
}
