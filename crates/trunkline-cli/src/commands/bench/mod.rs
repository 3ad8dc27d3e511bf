//! `trunkline bench WORD`: figures of this machine, with the floor and the baseline measured in the same run.
//!
//! Every figure is the median of interleaved rounds; the last line of `--json` is one object with `word`, `machine` and
//! `figures`, a list of `{name, value, unit, wanted}`. Method and latest figures: `docs/benchmarks.md`.

mod bare;
mod baseline;
mod jobs;
mod measure;
mod pgq;
mod requests;
mod streams;

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
    Jobs(Options),
    /// Streams, against INSERT and COPY of a bare table
    Streams(Options),
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
    let (word, options) = match args.word {
        Word::Requests(options) => ("requests", options),
        Word::Jobs(options) => ("jobs", options),
        Word::Streams(options) => ("streams", options),
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
        "jobs" => jobs::run(url, rounds, seconds, if options.quick { 100_000 } else { 400_000 }, say).await?,
        _ => streams::run(url, rounds, seconds, if options.quick { 100_000 } else { 1_000_000 }, say).await?,
    };
    Ok(serde_json::json!({ "word": word, "machine": machine, "figures": figures }))
}

/// A process with a connection of its own, as a program would have.
async fn connect(url: &str) -> Result<Trunkline> {
    Trunkline::connect(url).await
}
