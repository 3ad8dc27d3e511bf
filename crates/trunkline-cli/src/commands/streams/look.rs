//! `trunkline streams ls`, `consumers`, `dead`, `peek`, `replay`, `purge`, `seek`, `set`: what is there, and what to do about it.

use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};

use super::manage::ConsumerArgs;
use crate::{
    args::Global,
    commands::schema::confirm,
    exit::{OK, Result},
    input::setting,
    out::{Out, number, said},
    source,
};

const LIST: &str = "select to_jsonb(r) from trunkline.stream_list() r";
const CONSUMERS: &str = "select to_jsonb(r) from trunkline.stream_consumers($1) r";
const DEAD: &str = "select to_jsonb(r) from trunkline.stream_dead_letters($1, $2, $3, $4) r";
const PEEK: &str = "select to_jsonb(r) from trunkline.stream_peek($1, $2) r";
const REPLAY: &str = "select to_jsonb(trunkline.stream_replay($1, $2, $3))";
const PURGE: &str = "select to_jsonb(trunkline.stream_purge($1, $2, $3))";
const SEEK: &str = "select to_jsonb(trunkline.stream_seek($1, $2, $3))";
const SET: &str = "select trunkline.stream_set($1, $2, $3)";
const SET_CONSUMER: &str = "select trunkline.stream_consumer_set($1, $2, $3, $4)";

/// Options of `streams consumers`.
#[derive(Debug, Args)]
pub(crate) struct ConsumersArgs {
    /// Only those of this stream
    stream: Option<String>,
}

/// Options of `streams dead`.
#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    #[command(flatten)]
    of: ConsumerArgs,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(1..))]
    limit: i32,

    /// Only those with a larger id, to go on from there
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    after: i64,
}

/// Options of `streams peek` and `topics peek`.
#[derive(Debug, Args)]
pub(crate) struct PeekArgs {
    /// The stream, or the topic
    pub(crate) name: String,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub(crate) limit: i32,
}

/// Which dead letters.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub(crate) struct LettersArgs {
    #[command(flatten)]
    of: ConsumerArgs,

    /// The events' ids
    #[arg(value_name = "ID")]
    ids: Vec<i64>,

    /// All of them
    #[arg(long)]
    all: bool,
}

/// Options of `streams seek`.
#[derive(Debug, Args)]
pub(crate) struct SeekArgs {
    #[command(flatten)]
    of: ConsumerArgs,

    /// Where it goes on: end, beginning, tick:N, like:CONSUMER, or a time
    #[arg(long, value_name = "POSITION")]
    at: String,
}

/// Options of `streams set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The stream
    stream: String,

    /// Settings of this consumer of it, instead of its own
    #[arg(short, long, value_name = "NAME")]
    consumer: Option<String>,

    /// What is to be set; all of them, or none
    #[arg(value_name = "SETTING=VALUE", required = true, value_parser = setting)]
    settings: Vec<(String, String)>,
}

pub(crate) async fn ls(global: &Global) -> Result<u8> {
    let fields = [
        "stream",
        "events",
        "uncovered",
        "consumers",
        "furthest_behind",
        "lag",
        "slow",
        "last_tick",
        "last_tick_age",
        "ticks_per_second",
        "segment",
        "segment_bytes",
        "closed",
        "tick_mode",
        "limited_by",
    ];
    Out::new(global.json, false).rows(&fields, &source::rows(global, LIST, &[]).await?)?;
    Ok(OK)
}

pub(crate) async fn consumers(global: &Global, args: ConsumersArgs) -> Result<u8> {
    let rows = source::rows(global, CONSUMERS, &[(&args.stream, Type::TEXT)]).await?;
    let fields = [
        "stream",
        "consumer",
        "role",
        "tick",
        "backlog",
        "lag",
        "in_hand",
        "held_since",
        "session",
        "alive",
        "coming_again",
        "dead",
        "last_seen",
        "slow_since",
    ];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

pub(crate) async fn dead(global: &Global, args: DeadArgs) -> Result<u8> {
    let (of, limit, after) = (&args.of, args.limit, args.after);
    let parameters: [(&(dyn ToSql + Sync), Type); 4] =
        [(&of.stream, Type::TEXT), (&of.consumer, Type::TEXT), (&limit, Type::INT4), (&after, Type::INT8)];
    let rows = source::rows(global, DEAD, &parameters).await?;
    let fields = ["id", "died_at", "attempts", "cause", "at", "type", "key", "payload"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

pub(crate) async fn peek(global: &Global, args: PeekArgs) -> Result<u8> {
    let rows = source::rows(global, PEEK, &[(&args.name, Type::TEXT), (&args.limit, Type::INT4)]).await?;
    Out::new(global.json, false).rows(&["id", "at", "type", "key", "bytes", "payload", "headers"], &rows)?;
    Ok(OK)
}

pub(crate) async fn replay(global: &Global, args: LettersArgs) -> Result<u8> {
    let count = letters(global, REPLAY, &args).await?;
    number(global.json, "replayed", &count)
}

pub(crate) async fn purge(global: &Global, args: LettersArgs) -> Result<u8> {
    let which = if args.all { "all".to_owned() } else { args.ids.len().to_string() };
    let (stream, consumer) = (&args.of.stream, &args.of.consumer);
    confirm(global, &format!("delete {which} dead letters of the consumer {consumer:?} of {stream:?}"))?;
    let count = letters(global, PURGE, &args).await?;
    number(global.json, "purged", &count)
}

async fn letters(global: &Global, sql: &'static str, args: &LettersArgs) -> Result<Value> {
    let ids = (!args.all).then_some(&args.ids);
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&args.of.stream, Type::TEXT), (&args.of.consumer, Type::TEXT), (&ids, Type::INT8_ARRAY)];
    Ok(source::rows(global, sql, &parameters).await?.pop().unwrap_or_default())
}

/// Prints the tick after which it goes on.
pub(crate) async fn seek(global: &Global, args: SeekArgs) -> Result<u8> {
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&args.of.stream, Type::TEXT), (&args.of.consumer, Type::TEXT), (&args.at, Type::TEXT)];
    let tick = source::rows(global, SEEK, &parameters).await?.pop().unwrap_or_default();
    number(global.json, "tick", &tick)
}

pub(crate) async fn set(global: &Global, args: SetArgs) -> Result<u8> {
    let mut plain = source::choose(global).await?.checked().await?;
    let tx = plain.client.transaction().await?;
    for (name, value) in &args.settings {
        let setting: [(&(dyn ToSql + Sync), Type); 2] = [(name, Type::TEXT), (value, Type::TEXT)];
        let of: Vec<(&(dyn ToSql + Sync), Type)> = match &args.consumer {
            None => vec![(&args.stream, Type::TEXT)],
            Some(consumer) => vec![(&args.stream, Type::TEXT), (consumer, Type::TEXT)],
        };
        let sql = if args.consumer.is_none() { SET } else { SET_CONSUMER };
        tx.query_typed(sql, &[of, setting.into()].concat()).await?;
    }
    tx.commit().await?;
    let settings: serde_json::Map<String, Value> =
        args.settings.into_iter().map(|(name, value)| (name, value.into())).collect();
    said(global.json, &json!({ "set": settings }))
}
