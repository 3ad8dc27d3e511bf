//! `trunkline top`: what flows and waits, at a terminal, again and again.
//!
//! The same snapshot as the dashboard's, taken once a second, or less often where it takes long. On a terminal the screen is
//! painted anew until Ctrl-C, and keys lead into rows and act; otherwise, or with --once, it is printed once, after
//! two looks, which tell the rates; with --json it is the first of them, as the database told it.

mod keys;
mod screen;
mod tables;

use std::{io::IsTerminal as _, time::Duration};

use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::sync::mpsc;
use trunkline::{Error, ErrorKind};

use self::{
    keys::{Do, Hand, Key, View},
    tables::{QUEUES, TABLES},
};
use crate::{
    args::Global,
    exit::{OK, Result},
    http::{
        data::{Data, JobFilter},
        live::{Live, Snapshot},
        problem::Problem,
    },
    input,
    out::{Out, escaped},
    source,
};

/// Two looks that are nearer tell no rates.
const NEAREST: Duration = Duration::from_millis(500);

/// By what queues are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// How many wait
    #[default]
    Waiting,
    /// How many are dead
    Dead,
    /// How many were pushed a second
    In,
    /// For how long the oldest has waited
    Oldest,
    /// By name
    Name,
}

/// Options of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Sort queues by this
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,

    /// Only what has this in its name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// How many rows of a table
    #[arg(long, value_name = "N", default_value_t = 15)]
    rows: usize,

    /// The time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = input::pause)]
    every: Duration,

    /// Print it once, and end
    #[arg(long)]
    once: bool,
}

impl TopArgs {
    /// Where somebody begins.
    fn hand(&self) -> Hand {
        let mut hand = Hand { filter: self.filter.clone().unwrap_or_default(), ..Hand::default() };
        let head = match self.sort {
            Sort::Waiting => "WAITING",
            Sort::Dead => "DEAD",
            Sort::In => "IN/S",
            Sort::Oldest => "OLDEST",
            Sort::Name => "",
        };
        let columns = TABLES[QUEUES].columns;
        hand.sorted[QUEUES] = columns.iter().position(|(h, _)| *h == head).unwrap_or(columns.len());
        hand
    }
}

pub(crate) async fn run(global: &Global, args: TopArgs) -> Result<u8> {
    let database = source::choose(global).await?;
    database.checked().await?;
    let data = Data::new(database.info)?;
    let live = Live::new(data.clone());
    let out = Out::new(global.json, true);
    if std::io::stdout().is_terminal() && !args.once && !global.json {
        return watch(&data, &live, &out, &args).await;
    }
    let first = live.now().await.map_err(failed)?;
    if global.json {
        out.json(&first.value)?;
    } else {
        tokio::time::sleep(args.every.max(NEAREST)).await;
        live.outdate();
        let snapshot = live.now().await.map_err(failed)?;
        out.bytes(screen::all(&snapshot, &args.hand(), args.rows, false).as_bytes())?;
    }
    Ok(OK)
}

fn failed(problem: Problem) -> Error {
    Error::new(problem.kind, problem.detail)
}

/// Paints the screen again and again, and does what keys ask for.
async fn watch(data: &Data, live: &Live, out: &Out, args: &TopArgs) -> Result<u8> {
    // Without a keyboard it is looked at alone, until Ctrl-C.
    let (_raw, mut pressed) = keys::listen().unwrap_or_else(|| (None, mpsc::channel(1).1));
    let mut hand = args.hand();
    let most = i32::try_from(args.rows).unwrap_or(1000).clamp(1, 1000);
    loop {
        let snapshot = live.now().await.map_err(failed)?;
        let text = match look(data, args, &mut hand, &snapshot, most).await {
            // What was looked into is gone.
            Err(e) if e.kind() == ErrorKind::NotFound && hand.view != View::All => {
                (hand.view, hand.at, hand.said) = (View::All, 0, e.to_string());
                look(data, args, &mut hand, &snapshot, most).await?
            }
            text => text?,
        };
        let text = format!("{text}\n{}\n", escaped(&hand.foot(), true));
        // Home, the screen, and nothing left of what was below.
        out.bytes(format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")).as_bytes())?;
        let key = tokio::select! {
            key = pressed.recv(), if !pressed.is_closed() => key,
            () = tokio::time::sleep(args.every) => None,
        };
        match key.and_then(|key: Key| hand.press(key)) {
            Some(Do::End) => return Ok(OK),
            Some(Do::Act(action, target)) => {
                let done = data.act(&who(), action, &target).await;
                live.outdate();
                hand.said = match done {
                    Ok(Value::Bool(false) | Value::Null) => "nothing was changed".to_owned(),
                    Ok(_) => format!("{} done", action.replace('_', " ")),
                    Err(problem) => problem.detail,
                };
            }
            None => {}
        }
    }
}

/// The screen of what is looked at.
async fn look(
    data: &Data,
    args: &TopArgs,
    hand: &mut Hand,
    snapshot: &Snapshot,
    most: i32,
) -> trunkline::Result<String> {
    let view = hand.view.clone();
    let mut many = |rows: &[Value]| {
        hand.rows = rows.iter().map(screen::of_one).collect();
        hand.stay();
        hand.at
    };
    Ok(match &view {
        View::All => {
            let kind = &TABLES[hand.table];
            let rows = kind.rows(snapshot, &hand.filter, hand.sorted[hand.table]);
            hand.rows = rows.iter().take(args.rows).map(|row| screen::of_row(kind, row)).collect();
            hand.stay();
            screen::all(snapshot, hand, args.rows, true)
        }
        View::Queue(queue) => {
            let filter = JobFilter { queue: Some(queue.clone()), ..JobFilter::default() };
            let jobs = data.jobs(&filter, most).await?.items;
            screen::jobs(queue, &jobs, many(&jobs))
        }
        View::Channel(channel) => {
            let requests = data.requests(Some(channel), most, None).await?;
            screen::requests(channel, &requests, many(&requests))
        }
        View::Consumer(stream, consumer) => {
            let letters = data.letters(stream, consumer, most, None).await?;
            screen::letters(stream, consumer, &letters, many(&letters))
        }
    })
}

/// As the note of an action names who did it.
fn who() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    format!("{} by trunkline top", user.chars().take(100).collect::<String>())
}
