//! `trunkline pgq`: the ticker, the queues and the consumers of a database that has PgQ, or the adapter for its programs.
//!
//! Needs no schema of ours. Guarantee of the ticker: one of a database works at a time, others of this kind stand by; a
//! connection that breaks is made again.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use trunkline::{
    connect::Purpose,
    pgq::{self, Ticker},
};

use super::until_interrupted;
use crate::{
    args::Global,
    exit::{OK, Result},
    input,
    out::{self, Out},
    signals,
    source::{self, Database},
};

/// What to do with PgQ's queues.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tick the queues, bring back what comes again, and tidy up, until told to stop
    Ticker(TickerArgs),
    /// List the queues
    ///
    /// Columns: queue, ticker_lag, per_second, new_events, last_tick, paused, external. Lags are in seconds; new_events is
    /// PgQ's estimate.
    Queues,
    /// List the consumers
    ///
    /// Columns: queue, consumer, lag, last_seen, last_tick, batch, next_tick, pending. Lags are in seconds; pending is PgQ's
    /// estimate.
    Consumers,
}

/// Options of `pgq ticker`.
#[derive(Debug, Args)]
pub(crate) struct TickerArgs {
    /// From tick to tick
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = input::pause)]
    every: Duration,

    /// From one round of maintenance to the next
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = input::pause)]
    maintenance: Duration,

    /// How often events that come again are moved back
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = input::pause)]
    retry: Duration,

    /// Do all of it once, and say what was done
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Ticker(args) if args.once => until_interrupted(once(global)).await,
        Command::Ticker(args) => ticker(global, args).await,
        Command::Queues => until_interrupted(queues(global)).await,
        Command::Consumers => until_interrupted(consumers(global)).await,
    }
}

async fn once(global: &Global) -> Result<u8> {
    let plain = source::choose(global).await?.plain(Purpose::Work).await?;
    let maintenance = Ticker::maintain(&plain.client).await?;
    let retried = Ticker::retry(&plain.client).await?;
    let ticks = Ticker::tick(&plain.client).await?;
    let done = json!({ "ticks": ticks, "maintenance": maintenance, "retried": retried });
    Out::new(global.json, false).object(&["ticks", "maintenance", "retried"], &done)?;
    Ok(OK)
}

/// How long after a failure, and for another ticker's key, to wait.
const PAUSE: Duration = Duration::from_secs(2);

async fn ticker(global: &Global, args: TickerArgs) -> Result<u8> {
    let stop = signals::drain(|| {})?;
    let database = source::choose(global).await?;
    let ticker = Ticker { every: args.every, maintenance: args.maintenance, retry: args.retry };
    let mut standing_by = false;
    let mut first = true;
    while !*stop.borrow() {
        match work(&database, &ticker, &stop, &mut standing_by).await {
            Err(e) if first => return Err(e),
            Err(e) => tracing::warn!(error = %e, "the ticker stopped; trying again"),
            Ok(()) => first = false,
        }
        let _ = tokio::time::timeout(PAUSE, signals::stopped(&stop)).await;
    }
    Ok(OK)
}

/// Ticks on one connection for as long as that lasts, where no other ticker does.
async fn work(
    database: &Database,
    ticker: &Ticker,
    stop: &Receiver<bool>,
    standing_by: &mut bool,
) -> Result<()> {
    let plain = database.plain(Purpose::Work).await?;
    pgq::version(&plain.client).await?;
    if !Ticker::alone(&plain.client).await? {
        if !*standing_by {
            out::talk("trunkline: another ticker of this database is at work; standing by");
        }
        *standing_by = true;
        return Ok(());
    }
    *standing_by = false;
    out::talk("trunkline: ticking");
    ticker.run(&plain.client, signals::stopped(stop), |round| tracing::debug!(?round, "done")).await?;
    Ok(())
}

async fn queues(global: &Global) -> Result<u8> {
    let plain = source::choose(global).await?.plain(Purpose::Work).await?;
    let rows: Vec<Value> = pgq::queues(&plain.client)
        .await?
        .into_iter()
        .map(|q| {
            json!({
                "queue": q.name, "ticker_lag": q.ticker_lag.as_secs_f64(), "per_second": q.per_second,
                "new_events": q.new_events, "last_tick": q.last_tick, "paused": q.paused, "external": q.external,
            })
        })
        .collect();
    let fields = ["queue", "ticker_lag", "per_second", "new_events", "last_tick", "paused", "external"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}

async fn consumers(global: &Global) -> Result<u8> {
    let plain = source::choose(global).await?.plain(Purpose::Work).await?;
    let seconds = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
    let rows: Vec<Value> = pgq::consumers(&plain.client)
        .await?
        .into_iter()
        .map(|c| {
            json!({
                "queue": c.queue, "consumer": c.name, "lag": seconds(c.lag), "last_seen": seconds(c.last_seen),
                "last_tick": c.last_tick, "batch": c.batch, "next_tick": c.next_tick, "pending": c.pending,
            })
        })
        .collect();
    let fields = ["queue", "consumer", "lag", "last_seen", "last_tick", "batch", "next_tick", "pending"];
    Out::new(global.json, false).rows(&fields, &rows)?;
    Ok(OK)
}
