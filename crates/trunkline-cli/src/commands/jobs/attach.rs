//! `trunkline jobs attach`, `detach`, `attached`: tables of the application whose rows are jobs.

use clap::Args;
use serde_json::json;
use tokio_postgres::types::Type;

use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    out::{self, Out, number},
    source::{self, Plain},
};

const FIND: &str = "select to_regclass($1)::oid";
const ATTACH: &str =
    "select trunkline.job_attach(relation => $1::oid::regclass, queue => $2, status_column => $3,
    payload_column => $4, key_column => $5, kind => $6, priority => $7, max_attempts => $8, existing => $9)";
const DETACH: &str = "select trunkline.job_detach($1::oid::regclass)::text is not null";
const LIST: &str = "select to_jsonb(a) || jsonb_build_object('table', table_name) - 'table_name' from trunkline.job_attachments() a";

/// Options of `jobs attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The table, as PostgreSQL reads its name: mails, app.mails, \"My Schema\".\"Mails\"
    table: String,

    /// The queue; it is made on its first use
    #[arg(long, value_name = "QUEUE")]
    queue: String,

    /// The column that says new, running, success or error: of text, or of an enum with these words
    #[arg(long, value_name = "COLUMN", default_value = "status")]
    status: String,

    /// The column that is the payload, instead of the whole row as JSON
    #[arg(long, value_name = "COLUMN")]
    payload: Option<String>,

    /// The column that is the key: jobs of one key run one at a time, in order
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,

    /// The kind of the jobs, instead of the table's name
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,

    /// From 1, which goes first, to 9
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i32).range(1..=9))]
    priority: i32,

    /// How often a job is tried before its row is an error, instead of the queue's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    max_attempts: Option<i32>,

    /// Make jobs of the rows that are new already
    #[arg(long)]
    existing: bool,
}

/// A table.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// The table, as PostgreSQL reads its name
    table: String,
}

/// The table of a name.
async fn find(plain: &Plain, table: &str) -> Result<u32> {
    let found: Option<u32> = plain.one(FIND, &[(&table, Type::TEXT)]).await?;
    found.ok_or_else(|| Failure::NotFound(format!("there is no table {table}")))
}

/// Prints how many jobs were made.
pub(crate) async fn attach(global: &Global, args: AttachArgs) -> Result<u8> {
    let plain = source::choose(global).await?.checked().await?;
    let table = find(&plain, &args.table).await?;
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 9] = [
        (&table, Type::OID),
        (&args.queue, Type::TEXT),
        (&args.status, Type::TEXT),
        (&args.payload, Type::TEXT),
        (&args.key, Type::TEXT),
        (&args.kind, Type::TEXT),
        (&args.priority, Type::INT4),
        (&args.max_attempts, Type::INT4),
        (&args.existing, Type::BOOL),
    ];
    let count: i64 = plain.one(ATTACH, &parameters).await?;
    number(global.json, "pushed", &json!(count))
}

pub(crate) async fn detach(global: &Global, args: DetachArgs) -> Result<u8> {
    let plain = source::choose(global).await?.checked().await?;
    let table = find(&plain, &args.table).await?;
    let _: bool = plain.one(DETACH, &[(&table, Type::OID)]).await?;
    out::said(global.json, &json!({ "table": args.table, "attached": false }))
}

pub(crate) async fn attached(global: &Global) -> Result<u8> {
    let rows = source::rows(global, LIST, &[]).await?;
    let fields = [
        "table",
        "queue",
        "kind",
        "status_column",
        "payload_column",
        "key_column",
        "owner",
        "unwritten",
        "error",
    ];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}
