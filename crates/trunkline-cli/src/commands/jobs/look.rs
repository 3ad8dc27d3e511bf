//! `trunkline jobs ls`, `show`, `dead`, `queues`, `stats`: what is there.

use clap::Args;
use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};

use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    input,
    out::Out,
    source,
};

/// Under the names that `job_show` has.
const LIST: &str = "select to_jsonb(j) from (
    select id, queue_name as queue, job_kind as kind, job_state as state, priority, job_key as key, attempt, max_attempts,
           pushed_at, due_at, begun_at, ended_at, worker, error
      from trunkline.job_list(queue => $1, state => $2, kind => $3, key => $4, max => $5, before => $6, after => $7,
                             payload => $8::text::jsonb)) j";
/// Bytes that are no text are shown in base64.
const SHOW: &str = "select to_jsonb(j) - array['job_id', 'bytes', 'result_bytes'] || jsonb_strip_nulls(jsonb_build_object(
        'payload_base64', case when payload is null then translate(encode(bytes, 'base64'), E'\\n', '') end,
        'result_base64', case when result is null then translate(encode(result_bytes, 'base64'), E'\\n', '') end))
        || jsonb_build_object('id', job_id)
    from trunkline.job_show(id => $1) j";
const QUEUES: &str = "select to_jsonb(q) - 'settings' from trunkline.job_queues() q";
const SETTINGS: &str = "select to_jsonb(q) from trunkline.job_queues() q";

/// How many, and of which.
#[derive(Debug, Args)]
struct Page {
    /// Only this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,

    /// Only those with this key
    #[arg(short, long, value_name = "KEY")]
    key: Option<String>,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(1..))]
    limit: i32,

    /// Only those with a smaller id, to go on from there
    #[arg(long, value_name = "ID")]
    before: Option<i64>,

    /// The oldest first, and only those with a larger id
    #[arg(long, value_name = "ID", conflicts_with = "before")]
    after: Option<i64>,

    /// Only those whose JSON payload contains this
    #[arg(long, value_name = "JSON", value_parser = input::json)]
    payload: Option<String>,
}

/// Options of `jobs ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only this queue
    queue: Option<String>,

    /// Only those in this state
    #[arg(long, value_name = "STATE",
          value_parser = ["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"])]
    state: Option<String>,

    #[command(flatten)]
    page: Page,
}

/// Options of `jobs dead`.
#[derive(Debug, Args)]
pub(crate) struct DeadArgs {
    /// Only this queue
    queue: Option<String>,

    #[command(flatten)]
    page: Page,
}

/// Options of `jobs show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The job's id
    id: i64,
}

/// Options of `jobs stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Only this queue
    queue: Option<String>,
}

async fn list(global: &Global, queue: Option<&str>, state: Option<&str>, page: &Page) -> Result<Vec<Value>> {
    let parameters: [(&(dyn ToSql + Sync), Type); 8] = [
        (&queue, Type::TEXT),
        (&state, Type::TEXT),
        (&page.kind, Type::TEXT),
        (&page.key, Type::TEXT),
        (&page.limit, Type::INT4),
        (&page.before, Type::INT8),
        (&page.after, Type::INT8),
        (&page.payload, Type::TEXT),
    ];
    source::rows(global, LIST, &parameters).await
}

pub(crate) async fn ls(global: &Global, args: LsArgs) -> Result<u8> {
    let rows = list(global, args.queue.as_deref(), args.state.as_deref(), &args.page).await?;
    let fields = [
        "id",
        "queue",
        "kind",
        "state",
        "priority",
        "key",
        "attempt",
        "max_attempts",
        "pushed_at",
        "due_at",
        "begun_at",
        "ended_at",
        "worker",
        "error",
    ];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

pub(crate) async fn dead(global: &Global, args: DeadArgs) -> Result<u8> {
    let rows = list(global, args.queue.as_deref(), Some("dead"), &args.page).await?;
    let fields = ["id", "queue", "kind", "key", "attempt", "pushed_at", "ended_at", "error"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

/// Prints a line for each thing that is known, among them one for each attempt that failed.
pub(crate) async fn show(global: &Global, args: ShowArgs) -> Result<u8> {
    let row: Value = source::one(global, SHOW, &[(&args.id, Type::INT8)]).await?;
    let out = Out::new(global.json, false);
    let fields = [
        "id",
        "queue",
        "kind",
        "state",
        "priority",
        "key",
        "unique_key",
        "attempt",
        "max_attempts",
        "pushed_at",
        "due_at",
        "begun_at",
        "ended_at",
        "worker",
        "headers",
        "payload",
        "payload_base64",
        "result",
        "result_base64",
        "progress",
        "progress_message",
        "progress_at",
    ];
    let rare = |name: &str| name.ends_with("_base64") || name.starts_with("progress");
    let fields: Vec<_> = fields.into_iter().filter(|name| !rare(name) || !row[*name].is_null()).collect();
    out.object(&fields, &row)?;
    if !out.json {
        for error in row["errors"].as_array().into_iter().flatten() {
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            let said = format!("attempt {} at {}: {}", error["attempt"], text("at"), text("error"));
            out.object(&["error"], &json!({ "error": said }))?;
        }
    }
    Ok(OK)
}

pub(crate) async fn queues(global: &Global) -> Result<u8> {
    let rows = source::rows(global, SETTINGS, &[]).await?;
    let fields = ["queue", "durable", "paused_at", "max_running", "max_attempts"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

pub(crate) async fn stats(global: &Global, args: StatsArgs) -> Result<u8> {
    let mut rows = source::rows(global, QUEUES, &[]).await?;
    if let Some(queue) = args.queue {
        rows.retain(|row| row["queue"] == queue.as_str());
        if rows.is_empty() {
            return Err(Failure::NotFound(format!("there is no queue {queue:?}")));
        }
    }
    let fields =
        ["queue", "waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled", "oldest"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}
