//! `trunkline jobs cron`: schedules, which push jobs at the times of a cron expression.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio_postgres::types::Type;
use trunkline::jobs::{Missed, Schedule};

use crate::{
    args::Global,
    commands::{schema::confirm, until_interrupted},
    exit::{Failure, OK, Result},
    input,
    out::{self, Out, number, said},
    source,
};

const LIST: &str = "select to_jsonb(s) from trunkline.job_schedules() s";
const REMOVE: &str = "select trunkline.job_unschedule(name => $1)";
const PAUSE: &str = "select trunkline.job_schedule_pause(name => $1)";
const RESUME: &str = "select trunkline.job_schedule_resume(name => $1)";
const RUN: &str = "select trunkline.job_schedule_run(name => $1)";

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the schedules
    ///
    /// Columns: name, queue, cron, zone, missed, kind, paused_at, next_at, last_at, last_job, fires, error. The last one is why it
    /// could not be fired.
    #[command(visible_alias = "ls")]
    List,
    /// Make a schedule, or replace the one of its name; prints its next time
    ///
    /// The same again changes nothing. `trunkline serve` fires it, or a program that keeps the duties.
    Add(AddArgs),
    /// Remove a schedule; the jobs that it has pushed stay
    Rm(NameArgs),
    /// Fire it no more; what comes meanwhile is not missed
    Pause(NameArgs),
    /// Fire a schedule again that was paused
    Resume(NameArgs),
    /// Push its job now, and print the id; its next time stays
    Run(NameArgs),
}

/// A schedule.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The schedule
    name: String,
}

/// Options of `jobs cron add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The schedule's name
    name: String,

    /// The queue that its jobs are pushed to; it is made on its first use
    queue: String,

    /// When: minute hour day month weekday, seconds before them if you like, or @hourly, @daily, @weekly, @monthly, @yearly
    ///
    /// Names of days and months, lists, ranges and steps, L (last), # (1#2 is the second Monday) and W (the nearest weekday) are
    /// understood. A fixed time that the clock skips fires right after the gap, and one that it repeats fires once; with * or /
    /// in hours, minutes or seconds it fires whenever the clock shows such a time.
    cron: String,

    /// The payload: itself, @file, or - for stdin; @@ begins one with an @
    #[arg(value_name = "PAYLOAD", allow_negative_numbers = true)]
    payload: Option<String>,

    /// The time zone whose clock counts, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,

    /// What becomes of times for which nobody was there: skip those over a minute ago, one job for the newest, or all
    #[arg(long, value_name = "POLICY", default_value = "one", value_parser = ["skip", "one", "all"])]
    missed: String,

    /// The kind of its jobs: a word for workers
    #[arg(long, value_name = "KIND", default_value = "", hide_default_value = true)]
    kind: String,

    /// The key of its jobs: none begins before the one before has ended
    #[arg(short, long, value_name = "KEY")]
    key: Option<String>,

    /// From 1, which goes first, to 9
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    priority: u8,

    /// How often a job is tried before it is a dead letter, instead of the queue's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    max_attempts: Option<u16>,

    /// Add a header; may be given again. `schedule` and `scheduled_at` are added in any case
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,

    /// The payload is JSON; it is checked before it is sent
    #[arg(long)]
    json_payload: bool,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::List => until_interrupted(list(global)).await,
        Command::Add(args) => until_interrupted(add(global, args)).await,
        Command::Rm(args) => until_interrupted(remove(global, args)).await,
        Command::Pause(args) => until_interrupted(pause(global, args)).await,
        Command::Resume(args) => until_interrupted(resume(global, args)).await,
        Command::Run(args) => until_interrupted(run_now(global, args)).await,
    }
}

async fn list(global: &Global) -> Result<u8> {
    let rows = source::rows(global, LIST, &[]).await?;
    let fields = [
        "name",
        "queue",
        "cron",
        "zone",
        "missed",
        "kind",
        "paused_at",
        "next_at",
        "last_at",
        "last_job",
        "fires",
        "error",
    ];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

async fn add(global: &Global, args: AddArgs) -> Result<u8> {
    let missed = match args.missed.as_str() {
        "skip" => Missed::Skip,
        "all" => Missed::All,
        _ => Missed::One,
    };
    let schedule = Schedule::new(&args.name, &args.queue, &args.cron).zone(&args.zone).missed(missed);
    let next = humantime::format_rfc3339_seconds(schedule.next_after(SystemTime::now())?).to_string();
    let (argument, json) = (args.payload, args.json_payload);
    let payload = source::blocking(move || input::payload(argument.as_deref(), json)).await?;
    let mut schedule = schedule.payload(input::storable(payload)).kind(args.kind).priority(args.priority);
    if let Some(key) = args.key {
        schedule = schedule.key(key);
    }
    if let Some(most) = args.max_attempts {
        schedule = schedule.max_attempts(most);
    }
    schedule =
        args.headers.into_iter().fold(schedule, |schedule, (name, value)| schedule.header(name, value));
    let trunkline = source::choose(global).await?.trunkline().await?;
    let changed = trunkline.jobs().schedule(schedule).await;
    trunkline.close().await;
    let changed = changed?;
    if !changed && !global.quiet {
        out::talk("trunkline: it was so before");
    }
    match global.json {
        true => said(true, &json!({ "schedule": args.name, "changed": changed, "next_at": next })),
        false => Out::new(false, true).line(&next).map(|()| OK),
    }
}

async fn remove(global: &Global, args: NameArgs) -> Result<u8> {
    confirm(global, &format!("remove the schedule {:?}", args.name))?;
    if !source::one::<bool>(global, REMOVE, &[(&args.name, Type::TEXT)]).await? {
        return Err(Failure::NotFound(format!("there is no schedule {:?}", args.name)));
    }
    said(global.json, &json!({ "removed": args.name }))
}

async fn pause(global: &Global, args: NameArgs) -> Result<u8> {
    let new: bool = source::one(global, PAUSE, &[(&args.name, Type::TEXT)]).await?;
    if !new && !global.quiet {
        out::talk("trunkline: it was paused before");
    }
    said(global.json, &json!({ "schedule": args.name, "paused": true, "new": new }))
}

async fn resume(global: &Global, args: NameArgs) -> Result<u8> {
    let new: bool = source::one(global, RESUME, &[(&args.name, Type::TEXT)]).await?;
    if !new && !global.quiet {
        out::talk("trunkline: it was not paused");
    }
    said(global.json, &json!({ "schedule": args.name, "paused": false, "new": new }))
}

async fn run_now(global: &Global, args: NameArgs) -> Result<u8> {
    let id: i64 = source::one(global, RUN, &[(&args.name, Type::TEXT)]).await?;
    number(global.json, "id", &json!(id))
}
