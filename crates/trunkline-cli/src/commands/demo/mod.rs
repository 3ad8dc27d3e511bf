//! `trunkline demo`: requests, a stream, jobs and an elected listener at work between processes, and what happens when some of them die.
//!
//! ```text
//!                        demo (director)
//!           orders: stdin │    ▲ events: stdout, one JSON object a line
//!        ┌────────────────┴────┴──────────────┐
//!   controller A, B, C                 consumer 1 … n          each one a process with a session of its own
//!   serve `hash`: HASH → MD5 ◀─────────── HASH requests
//!   SHUTDOWN, one-way ──────────────────▶ serve their own address
//!                                        answers ──▶ stream `answers` ──▶ counter a, counter b
//!   director: jobs ──▶ queue `demo` ──▶ worker 1, 2, 3
//!   director: messages ──▶ topic `demo.alarms` ──▶ one of listener 1, 2, 3
//! ```
//! The director starts the parts, takes some away and kills others, and keeps the books: every request that a
//! consumer announces must end exactly once, and each counter must see every answer exactly once. At the end it asks the
//! database what became of the jobs. The parts can also be started by hand, each in a terminal of its own.
//! Guarantees: no part outlives the director, however that ends (a part leaves when its stdin closes); every wait is
//! bounded. Fails when the books do not balance, a reply is wrong, an event is missed, a SHUTDOWN is not confirmed, a
//! job is not done, or a message not heard.

mod books;
mod consumer;
mod controller;
mod counter;
mod director;
mod event;
mod listener;
mod part;
mod plan;
mod queue;
mod screen;
mod stage;
mod summary;
mod tally;
mod worker;

use std::time::Duration;

use clap::{Args, Subcommand};
use trunkline::Result;

use crate::{exit::Failure, http::HttpArgs};

/// The channel that controllers serve.
const CHANNEL: &str = "hash";
/// The stream of what was answered, and how many consumers count it.
const ANSWERS: &str = "answers";
const COUNTERS: u8 = 2;
/// The queue, how many workers share it, and which of them is killed.
const QUEUE: &str = "demo";
const WORKERS: u8 = 3;
const VICTIM: u8 = 2;
/// The topic, and how many listen to it, of which one is active.
const ALARMS: &str = "demo.alarms";
const LISTENERS: usize = 3;
/// The request's types, in pgReQ's words.
const HASH: &str = "HASH";
const SHUTDOWN: &str = "SHUTDOWN";
/// Headers: the consumer's own address, and how long to pretend to work, in milliseconds; and the longest.
const FROM: &str = "from";
const WORK: &str = "work-ms";
const LONGEST_WORK: u64 = 60_000;
/// How the director hands the database to its parts: an argument would show in the list of processes.
const PART_URL: &str = "TRUNKLINE_DEMO_URL";

/// Arguments of `trunkline demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long it runs, from 3s to 60m [default: 20s]
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<Duration>,
    /// How many consumers [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32))]
    consumers: Option<u16>,
    /// Requests a second that each consumer sends [default: 25]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: Option<u32>,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(subcommand)]
    part: Option<PartCommand>,
}

/// The parts, to be watched in terminals of their own.
#[derive(Debug, Subcommand)]
enum PartCommand {
    /// Serves the channel "hash": a HASH request carries a number, the reply is its MD5
    ///
    /// Runs until Ctrl-C. Type "shutdown" and Enter to send SHUTDOWN to every consumer that has asked.
    Controller(controller::ControllerArgs),
    /// Sends HASH requests and shows the replies, until Ctrl-C or SHUTDOWN
    Consumer(consumer::ConsumerArgs),
    /// Counts the events of the stream "answers", until Ctrl-C; consumers with --append add to it
    Counter(counter::CounterArgs),
    /// Does the jobs of the queue "demo", until Ctrl-C: each carries a number, its result is the number's MD5
    Worker(worker::WorkerArgs),
    /// Listens to the topic "demo.alarms", until Ctrl-C: of all that do, one is active and the others stand by
    Listener(listener::ListenerArgs),
}

impl DemoArgs {
    /// Refuses options of the whole demo for a part of it, which would not heed them.
    pub(crate) fn check(&self) -> crate::exit::Result<()> {
        let given = [
            ("--for", self.length.is_some()),
            ("--consumers", self.consumers.is_some()),
            ("--rate", self.rate.is_some()),
            ("--http", self.http.given()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) if self.part.is_some() => Err(Failure::Usage(format!(
                "{name} before the part is an option of the whole demo; a part runs until Ctrl-C or SHUTDOWN and has options of its own"
            ))),
            _ => Ok(()),
        }
    }

    /// The database that the director hands to a part it started; none in a process that a person started.
    pub(crate) fn part_url(&self) -> Option<String> {
        self.part.as_ref().and_then(|_| std::env::var(PART_URL).ok())
    }
}

/// Runs the demo, or one part of it, on a database in which the schema is installed.
///
/// # Errors
/// What the database reports; an error of kind `Other` that names the promise which did not hold; `Cancelled` after
/// Ctrl-C. By then every part has been stopped.
pub(crate) async fn run(args: DemoArgs, url: String, json: bool) -> Result<()> {
    let url = args.part_url().unwrap_or(url);
    match args.part {
        Some(PartCommand::Controller(part)) => Box::pin(controller::run(&url, &part, json)).await,
        Some(PartCommand::Consumer(part)) => Box::pin(consumer::run(&url, &part, json)).await,
        Some(PartCommand::Counter(part)) => Box::pin(counter::run(&url, &part, json)).await,
        Some(PartCommand::Worker(part)) => Box::pin(worker::run(&url, &part, json)).await,
        Some(PartCommand::Listener(part)) => Box::pin(listener::run(&url, &part, json)).await,
        None => {
            let length = args.length.unwrap_or(Duration::from_secs(20));
            let plan =
                plan::Plan::new(length, usize::from(args.consumers.unwrap_or(4)), args.rate.unwrap_or(25));
            Box::pin(director::run(plan, url, json)).await
        }
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().map_err(|_| format!("\"{text}\" is not a time such as 15s"))?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        unit => return Err(format!("\"{unit}\" is not a unit of time; use ms, s or m")),
    };
    let range = 3_000..=3_600_000;
    let found = milliseconds.filter(|ms| range.contains(ms));
    found.map(Duration::from_millis).ok_or_else(|| "the demo runs from 3 seconds to 60 minutes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_with_their_unit() {
        assert_eq!(length("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(length("15"), Ok(Duration::from_secs(15)));
        assert_eq!(length("3500ms"), Ok(Duration::from_millis(3500)));
        assert_eq!(length("2m"), Ok(Duration::from_secs(120)));
        for wrong in
            ["", "s", "1s", "61m", "5h", "1.5s", "-5s", "99999999999999999999s", "18446744073709551615m"]
        {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
