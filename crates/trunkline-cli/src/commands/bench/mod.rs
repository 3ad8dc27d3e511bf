//! `trunkline bench WORD`: figures of this machine, with the floor and the baseline measured in the same run.
//!
//! Every figure is the median of interleaved rounds; the last line of `--json` is one object with `word`, `machine` and
//! `figures`, a list of `{name, value, unit, wanted}`. Method and latest figures: `docs/benchmarks.md`.

mod bare;
mod baseline;
mod jobs;
mod leases;
mod measure;
mod pgq;
mod requests;
mod streams;
mod topics;

use clap::{Args, Subcommand};
use serde::Serialize;
use trunkline::{Result, Trunkline};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Requests and replies, against a bare NOTIFY and against a design in SQL alone
    Requests(Options),
    /// Jobs, against INSERT, COPY, and a table with SKIP LOCKED
    Jobs(JobsOptions),
    /// Leases: how long nobody holds one after its holder resigned, was killed or stood still
    Leases(Options),
    /// Streams, against INSERT and COPY of a bare table
    Streams(Options),
    /// Topics, against a bare NOTIFY
    Topics(Options),
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// Under a minute, with fewer rounds: for a first look
    #[arg(long)]
    quick: bool,
    /// Rounds, each of every figure
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

#[derive(Debug, Clone, Args)]
struct JobsOptions {
    #[command(flatten)]
    options: Options,
    /// How long a snapshot is held while jobs go on, and how long they go on without, for comparison
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    held: std::time::Duration,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// Its name, the same in every run.
    pub(crate) name: &'static str,
    /// The median of the rounds.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What is wanted of it, in words.
    pub(crate) wanted: &'static str,
}

/// Where it was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Cores that the process may use.
    pub(crate) cores: usize,
    /// The server's version.
    pub(crate) postgresql: String,
    /// `fsync` and `synchronous_commit`, as the server has them.
    pub(crate) durability: String,
}

/// Runs a benchmark; `say` gets the lines for people, the result is the object for programs.
///
/// # Errors
/// What the database reports.
pub(crate) async fn run(args: BenchArgs, url: &str, say: &mut dyn FnMut(&str)) -> Result<serde_json::Value> {
    let mut held = 3.0;
    let (word, options) = match args.word {
        Word::Requests(options) => ("requests", options),
        Word::Jobs(JobsOptions { options, held: long }) => {
            held = if options.quick { held } else { long.as_secs_f64() };
            ("jobs", options)
        }
        Word::Leases(options) => ("leases", options),
        Word::Streams(options) => ("streams", options),
        Word::Topics(options) => ("topics", options),
    };
    let machine = measure::machine(url).await?;
    let rounds = if options.quick { 1 } else { options.rounds };
    let seconds = if options.quick { 1.0 } else { 3.0 };
    say(&format!(
        "PostgreSQL {}, {}, {} cores; {rounds} rounds of {seconds} s",
        machine.postgresql, machine.durability, machine.cores
    ));
    let figures = match word {
        "requests" => requests::run(url, rounds, seconds, say).await?,
        "jobs" => {
            let bulk = if options.quick { 100_000 } else { 400_000 };
            jobs::run(url, rounds, (seconds, held), bulk, say).await?
        }
        "topics" => topics::run(url, rounds, seconds, say).await?,
        "leases" => leases::run(url, rounds, say).await?,
        _ => streams::run(url, rounds, seconds, if options.quick { 100_000 } else { 1_000_000 }, say).await?,
    };
    Ok(serde_json::json!({ "word": word, "machine": machine, "figures": figures }))
}

/// A process with a connection of its own, as a program would have.
async fn connect(url: &str) -> Result<Trunkline> {
    Trunkline::connect(url).await
}
