//! `trunkline requests ls`, `show`, `cancel`, `responders`: what is under way, and who is here.

use clap::Args;
use serde_json::{Value, json};
use tokio_postgres::types::Type;

use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    out::Out,
    source,
};

const LIST: &str = "select to_jsonb(r) from trunkline.request_list(channel => $1, max => $2) r";
const SHOW: &str = "select to_jsonb(r) from trunkline.request_show(request => $1, payloads => $2) r";
const CANCEL: &str = "select to_jsonb(trunkline.request_cancel(id => $1))";
const RESPONDERS: &str = "select to_jsonb(r) from trunkline.request_responders() r";

/// Options of `requests ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only this channel
    channel: Option<String>,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(1..))]
    limit: i32,
}

/// Options of `requests show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The request's id
    id: i64,

    /// Show the payloads of request and reply too, where you may
    #[arg(long)]
    payload: bool,
}

/// Options of `requests cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The request's id
    id: i64,
}

pub(crate) async fn ls(global: &Global, args: LsArgs) -> Result<u8> {
    let rows = source::rows(global, LIST, &[(&args.channel, Type::TEXT), (&args.limit, Type::INT4)]).await?;
    let fields =
        ["id", "destination", "type", "state", "sent_at", "expires_at", "bytes", "attempt", "responder"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

pub(crate) async fn show(global: &Global, args: ShowArgs) -> Result<u8> {
    let rows = source::rows(global, SHOW, &[(&args.id, Type::INT8), (&args.payload, Type::BOOL)]).await?;
    let row = rows.first().ok_or_else(|| Failure::NotFound(format!("no request {}", args.id)))?;
    let mut fields = vec![
        "id",
        "destination",
        "type",
        "state",
        "code",
        "sent_at",
        "expires_at",
        "ended_at",
        "role",
        "responder",
        "attempt",
        "durable",
        "one_way",
        "idempotent",
        "headers",
        "bytes",
        "reply_bytes",
    ];
    if args.payload {
        fields.extend(["payload", "reply"]);
    }
    Out::new(global.json, false).object(&fields, row)?;
    Ok(OK)
}

pub(crate) async fn cancel(global: &Global, args: CancelArgs) -> Result<u8> {
    let rows = source::rows(global, CANCEL, &[(&args.id, Type::INT8)]).await?;
    let cancelled = rows.first() == Some(&Value::Bool(true));
    if !cancelled {
        let text = format!("request {} had ended before", args.id);
        return Err(trunkline::Error::new(trunkline::ErrorKind::Stale, text).into());
    }
    Out::new(global.json, false)
        .object(&["id", "cancelled"], &json!({ "id": args.id, "cancelled": true }))?;
    Ok(OK)
}

pub(crate) async fn responders(global: &Global) -> Result<u8> {
    let rows = source::rows(global, RESPONDERS, &[]).await?;
    let fields = ["channel", "address", "types", "application", "role", "pid", "since"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}
