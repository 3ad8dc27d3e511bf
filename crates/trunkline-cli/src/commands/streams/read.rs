//! `trunkline streams read`: print the events of a consumer, or run a command for each.
//!
//! A batch is finished once all of it was written and flushed, or each of its commands has ended. What if it dies here:
//! what was not finished comes again, so an event is never lost and may be printed twice. The first SIGINT or SIGTERM
//! finishes the batch in hand, the second ends at once.

use clap::Args;
use futures_util::{StreamExt as _, stream};
use tracing::warn;
use trunkline::streams::{Batch, Event, Position, backoff};

use super::{
    batches::{Batches, Consuming, finished},
    event,
};
use crate::{
    args::Global,
    exec,
    exit::{Failure, Result},
    out::Out,
    signals, source,
};

/// Events in one batch when a command is run for each, so that little runs twice after a death.
const COMMANDS: u64 = 16;

/// Options of `streams read`.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The stream
    stream: String,

    /// The consumer: it gets every event once, and what it has finished it does not get again
    #[arg(short, long, value_name = "NAME")]
    consumer: String,

    /// Register the consumer if it is new: at the end, or at --at
    #[arg(long)]
    register: bool,

    #[command(flatten)]
    consuming: Consuming,

    /// Share the batches with other members of the consumer; order is kept within a batch only
    #[arg(long, conflicts_with = "take")]
    share: bool,

    /// Run this with sh for each event: payload on stdin
    ///
    /// It gets TRUNKLINE_STREAM, TRUNKLINE_EVENT_ID, TRUNKLINE_TYPE, TRUNKLINE_KEY, TRUNKLINE_ATTEMPT, and
    /// TRUNKLINE_HEADER_NAME for each header. An exit status other than 0 is a retry: the event comes again later, after
    /// 1, 2, 4 … seconds, and becomes a dead letter in the end, with the status and the end of stderr as its cause.
    #[arg(long, value_name = "CMD", conflicts_with_all = ["json", "raw"])]
    exec: Option<String>,

    /// How many commands run at once; above 1 not in order
    #[arg(long, value_name = "N", default_value_t = 1, requires = "exec",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,

    /// Print payloads as they are: also on a terminal, and with their line breaks
    #[arg(long)]
    raw: bool,
}

pub(crate) async fn run(global: &Global, args: ReadArgs) -> Result<u8> {
    let stop = signals::drain(exec::kill_all)?;
    let begin = async {
        let trunkline = source::choose(global).await?.trunkline().await?;
        if args.register || args.consuming.at.is_some() {
            let at = args.consuming.at.clone().unwrap_or(Position::End);
            trunkline.streams().register(&args.stream, &args.consumer, at).await?;
        }
        Ok(trunkline)
    };
    let Some(trunkline) = signals::unless_stopped(&stop, begin).await? else { return Ok(signals::code()) };
    let mut batches = Batches::new(&trunkline, (&args.stream, &args.consumer), &args.consuming, stop);
    if args.share {
        batches = batches.share();
    }
    if args.exec.is_some() {
        batches = batches.small(COMMANDS.max(args.concurrency.into()));
    }
    let read = read(&mut batches, &args, Out::new(global.json, args.raw)).await;
    trunkline.close().await;
    read.map(|()| signals::code())
}

async fn read(batches: &mut Batches, args: &ReadArgs, out: Out) -> Result<()> {
    while let Some(mut batch) = batches.next().await? {
        let events = batch.take_events();
        match &args.exec {
            None => print(&events, out)?,
            Some(command) if !execute(command, args, &batch, events).await? => continue,
            Some(_) => {}
        }
        finished(batch.finish().await)?;
    }
    Ok(())
}

fn print(events: &[Event], out: Out) -> Result<()> {
    let mut lines = Vec::new();
    for event in events {
        event::line(event, out, &mut lines);
        if lines.len() > 64 << 10 {
            out.bytes(&lines)?;
            lines.clear();
        }
    }
    out.bytes(&lines)
}

/// Runs a command for each event, and tags those that failed; false when the batch is another's by now.
async fn execute(command: &str, args: &ReadArgs, batch: &Batch, events: Vec<Event>) -> Result<bool> {
    let one = |event: Event| async move {
        let ran = exec::run(command, &variables(&args.stream, &event), event.payload.bytes(), false).await;
        let ran = ran.map_err(|e| Failure::io("cannot run the command", e))?;
        let cause = format!("exit status {}: {}", ran.code(), ran.said);
        Ok::<_, Failure>((!ran.status.success()).then_some((event.id, event.attempt, cause)))
    };
    let mut outcomes = stream::iter(events).map(one).buffered(args.concurrency.into());
    while let Some(outcome) = outcomes.next().await {
        let Some((id, attempt, cause)) = outcome? else { continue };
        warn!(id, attempt, cause, "it comes again");
        if !finished(batch.retry(&[id], backoff(attempt), Some(&cause)).await.map(drop))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn variables(stream: &str, event: &Event) -> Vec<(String, String)> {
    let mut variables = vec![
        ("TRUNKLINE_STREAM".to_owned(), stream.to_owned()),
        ("TRUNKLINE_EVENT_ID".to_owned(), event.id.to_string()),
        ("TRUNKLINE_TYPE".to_owned(), event.kind.clone()),
        ("TRUNKLINE_ATTEMPT".to_owned(), event.attempt.to_string()),
    ];
    variables.extend(event.key.clone().map(|key| ("TRUNKLINE_KEY".to_owned(), key)));
    variables.extend(exec::header_variables(&event.headers));
    variables
}
