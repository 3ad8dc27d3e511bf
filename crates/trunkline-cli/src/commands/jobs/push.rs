//! `trunkline jobs push`: one job, or one for each input line.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{ArgGroup, Args, ValueEnum};
use serde_json::json;
use tokio_postgres::types::Type;
use trunkline::{ErrorKind, Trunkline, connect::Purpose, jobs::NewJob, requests::Payload};

use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    input,
    out::{self, Out},
    pieces::{self, Target},
    progress::Progress,
    source::{self, Database},
};

/// In how many milliseconds a time comes, by the database's clock.
const UNTIL: &str = "select (extract(epoch from $1::timestamptz - clock_timestamp()) * 1000)::bigint";
/// The longest delay: ten years.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Options of `jobs push`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").args(["delay", "at"]))]
#[command(group = ArgGroup::new("unique_by").args(["unique", "unique_payload"]))]
pub(crate) struct PushArgs {
    /// The queue; it is made on its first use
    queue: String,

    /// The payload: itself, @file, or - for stdin; @@ begins one with an @
    #[arg(value_name = "PAYLOAD", allow_negative_numbers = true)]
    payload: Option<String>,

    /// The kind of the job: a word for workers
    #[arg(long, value_name = "KIND", default_value = "", hide_default_value = true)]
    kind: String,

    /// The key of the job: jobs of one key run one at a time, in the order of their pushes
    #[arg(short, long, value_name = "KEY")]
    key: Option<String>,

    /// While a job with this key waits or runs in the queue nothing is pushed, and that one's id is printed
    #[arg(long, value_name = "KEY", conflicts_with = "lines")]
    unique: Option<String>,

    /// While a job of this kind with this payload waits or runs in the queue nothing is pushed, and that one's id is printed
    #[arg(long, conflicts_with_all = ["unique", "on_conflict"])]
    unique_payload: bool,

    /// What is unique stays so for this long from its push, also when it has ended
    #[arg(long, value_name = "TIME", value_parser = delay, requires = "unique_by", conflicts_with_all = ["on_conflict", "unique_while"])]
    unique_for: Option<Duration>,

    /// In which states a job is unique: open, while it waits or runs; waiting, until a worker first takes it
    #[arg(long, value_name = "STATES", requires = "unique_by")]
    unique_while: Option<UniqueWhile>,

    /// What a push does where a job with the same unique key waits: skip it; replace its payload and the like; or debounce, so
    /// that it waits anew, too
    #[arg(long, value_name = "ACT", requires = "unique")]
    on_conflict: Option<OnConflict>,

    /// No attempt begins later than this after the push, or after the time that the job waits for; it is cancelled instead
    #[arg(long, value_name = "TIME", value_parser = delay)]
    ttl: Option<Duration>,

    /// From 1, which goes first, to 9
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    priority: u8,

    /// Not before this long from now: 500ms, 15s, 5m, 1h 30m
    #[arg(long, value_name = "TIME", value_parser = delay)]
    delay: Option<Duration>,

    /// Not before this time, as PostgreSQL reads it, by its clock
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// How often it is tried before it is a dead letter, instead of the queue's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    max_attempts: Option<u16>,

    /// Add a header; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,

    /// The payload is JSON; it is checked before it is sent
    #[arg(long)]
    json_payload: bool,

    /// Wait for the job's end, and print what it yielded instead of its id
    ///
    /// Failed attempts are no end, as long as the job comes again. Exit status: 0 it is done; 1 it is a dead letter, or was
    /// cancelled, with the reason on stderr; 5 --timeout passed, and the job goes on.
    #[arg(long, conflicts_with = "lines")]
    wait: bool,

    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "wait", value_parser = input::duration)]
    timeout: Duration,

    /// Push a job for each line of stdin (or of @file), in order; the count goes to stderr
    ///
    /// Many go into one statement; a line that is there is not kept waiting for the next. It ends at the first line that is
    /// refused: those before it are pushed, those after it are not.
    #[arg(long)]
    lines: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum UniqueWhile {
    Open,
    Waiting,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnConflict {
    Skip,
    Replace,
    Debounce,
}

fn delay(text: &str) -> Result<Duration, String> {
    let found = input::duration(text)?;
    (found <= LONGEST).then_some(found).ok_or_else(|| "must be at most 3650 days".to_owned())
}

impl PushArgs {
    /// A job with this payload.
    fn job(&self, payload: Payload, delay: Option<Duration>) -> NewJob {
        let mut job = NewJob::new(input::storable(payload)).kind(&self.kind).priority(self.priority);
        if let Some(key) = &self.key {
            job = job.key(key);
        }
        if let Some(key) = &self.unique {
            job = job.unique(key);
        }
        if self.unique_payload {
            job = job.unique_payload();
        }
        if let Some(period) = self.unique_for {
            job = job.unique_for(period);
        }
        if let Some(UniqueWhile::Waiting) = self.unique_while {
            job = job.unique_while_waiting();
        }
        job = match self.on_conflict {
            None | Some(OnConflict::Skip) => job,
            Some(OnConflict::Replace) => job.replace(),
            Some(OnConflict::Debounce) => job.debounce(),
        };
        if let Some(ttl) = self.ttl {
            job = job.ttl(ttl);
        }
        if let Some(delay) = delay {
            job = job.delay(delay);
        }
        if let Some(most) = self.max_attempts {
            job = job.max_attempts(most);
        }
        self.headers.iter().fold(job, |job, (name, value)| job.header(name, value))
    }

    /// How long it is to wait.
    async fn wait(&self, database: &Database) -> Result<Option<Duration>> {
        let Some(at) = &self.at else { return Ok(self.delay) };
        let left: i64 = database.plain(Purpose::Work).await?.one(UNTIL, &[(at, Type::TEXT)]).await.map_err(
            |failure| match failure {
                Failure::Library(e) if e.kind() == ErrorKind::Invalid => Failure::Usage(format!("--at: {e}")),
                other => other,
            },
        )?;
        Ok(u64::try_from(left).ok().map(Duration::from_millis))
    }
}

/// Prints the job's id.
pub(crate) async fn run(global: &Global, args: PushArgs) -> Result<u8> {
    if args.lines {
        return lines(global, args).await;
    }
    let (argument, json) = (args.payload.clone(), args.json_payload);
    let payload = source::blocking(move || input::payload(argument.as_deref(), json)).await?;
    let database = source::choose(global).await?;
    let delay = args.wait(&database).await?;
    let trunkline = database.trunkline().await?;
    let job = args.job(payload, delay);
    if args.wait {
        let ended = wait(global, &args, &trunkline, job).await;
        trunkline.close().await;
        return ended;
    }
    let id = trunkline.jobs().push(&args.queue, job).await;
    trunkline.close().await;
    let (id, out) = (id?, Out::new(global.json, true));
    match out.json {
        true => out.json(&json!({ "id": id }))?,
        false => out.line(&id.to_string())?,
    }
    Ok(OK)
}

/// `--wait`: prints what the job yielded, as `requests call` prints a reply.
async fn wait(global: &Global, args: &PushArgs, trunkline: &Trunkline, job: NewJob) -> Result<u8> {
    let mut pending = trunkline.jobs().push_pending(&args.queue, job).await?;
    let id = pending.id();
    if !global.quiet {
        out::talk(&format!("trunkline: waiting for job {id}"));
    }
    let ended = pending.wait(args.timeout).await;
    let out = Out::new(global.json, false);
    match &ended {
        Ok(result) if out.json => {
            let mut shown = json!({ "id": id, "state": "done", "result": result.text().ok() });
            if shown["result"].is_null() {
                shown["result_base64"] = BASE64_STANDARD.encode(result.bytes()).into();
            }
            out.json(&shown)?;
        }
        Ok(result) => out.payload(result.bytes())?,
        Err(e) if out.json && matches!(e.kind(), ErrorKind::Remote | ErrorKind::Cancelled) => {
            let state = if e.kind() == ErrorKind::Remote { "dead" } else { "cancelled" };
            out.json(&json!({ "id": id, "state": state }))?;
        }
        Err(_) => {}
    }
    ended.map(|_| OK).map_err(Failure::from)
}

/// `--lines`: a job for each input line, in pieces.
async fn lines(global: &Global, args: PushArgs) -> Result<u8> {
    let from = input::lines(args.payload.as_deref())?;
    let database = source::choose(global).await?;
    let delay = args.wait(&database).await?;
    let trunkline = database.trunkline().await?;
    let progress = Progress::bytes(global, input::size(args.payload.as_deref()));
    let to = Jobs { trunkline: &trunkline, args: &args, delay };
    let wrote = |count, bytes| progress.add(bytes, format!("{count} jobs pushed"));
    let (count, failure) = pieces::write(from, &to, wrote).await;
    drop(progress);
    trunkline.close().await;
    if !global.quiet {
        out::talk(&format!("trunkline: {count} jobs pushed"));
    }
    if global.json {
        Out::new(true, true).json(&json!({ "pushed": count }))?;
    }
    failure.map_or(Ok(OK), Err)
}

/// A queue that lines are pushed to.
struct Jobs<'a> {
    trunkline: &'a Trunkline,
    args: &'a PushArgs,
    delay: Option<Duration>,
}

impl Target for Jobs<'_> {
    type Item = NewJob;

    fn item(&self, line: Vec<u8>) -> Result<NewJob> {
        Ok(self.args.job(input::typed(line, self.args.json_payload)?, self.delay))
    }

    async fn write(&self, items: Vec<NewJob>) -> trunkline::Result<()> {
        self.trunkline.jobs().push_all(&self.args.queue, items).await.map(drop)
    }
}
