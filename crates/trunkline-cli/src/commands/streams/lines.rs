//! `append --lines`: one event for each input line.
//!
//! Lines are read while the ones before are written, as many in a statement as were there. Memory: two pieces of the
//! input, of some hundred KiB each or one line. Guarantees: in the order of the lines, and a prefix of them when one is
//! refused; with `--atomic` all or none.

use std::pin::pin;

use futures_util::{FutureExt as _, stream};
use serde_json::json;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _},
    sync::mpsc,
};
use trunkline::{Error, ErrorKind, Trunkline, streams::NewEvent};

use super::append::AppendArgs;
use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    input,
    out::{self, Out},
    source,
};

/// The most that is appended by one statement.
const EVENTS: usize = 5000;
const BYTES: usize = 1 << 20;

type Input = Box<dyn AsyncBufRead + Unpin + Send>;

pub(super) async fn run(global: &Global, args: AppendArgs) -> Result<u8> {
    let from = input::lines(args.payload.as_deref())?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let (pieces, come) = mpsc::channel(1);
    let reading = tokio::spawn(read(from, pieces));
    let appended = match args.atomic {
        true => at_once(&trunkline, &args, come).await,
        false => in_pieces(&trunkline, &args, come).await,
    };
    reading.abort();
    trunkline.close().await;
    let (count, failure) = appended;
    if !global.quiet {
        out::talk(&format!("trunkline: {count} events appended"));
    }
    if global.json {
        Out::new(true, true).json(&json!({ "appended": count }))?;
    }
    failure.map_or(Ok(OK), Err)
}

/// Reads lines, and hands on those that are there. An error is the last thing it hands on.
async fn read(mut from: Input, to: mpsc::Sender<Result<Vec<Vec<u8>>>>) {
    let (mut number, mut failed) = (1, None);
    while failed.is_none() {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < EVENTS && bytes < BYTES {
            match input::next_line(&mut from, number).await {
                Ok(Some(line)) => {
                    bytes += line.len();
                    lines.push(line);
                    number += 1;
                }
                Ok(None) if lines.is_empty() => return,
                Ok(None) => break,
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
            if !another(&mut from) {
                break;
            }
        }
        if to.send(Ok(lines)).await.is_err() {
            return;
        }
    }
    if let Some(e) = failed {
        let _ = to.send(Err(e)).await;
    }
}

/// Whether a whole line has been read ahead.
fn another(from: &mut Input) -> bool {
    let ahead = from.fill_buf().now_or_never();
    ahead.is_some_and(|read| read.is_ok_and(|bytes| bytes.contains(&b'\n')))
}

/// How many were appended, and what ended it before the end of the input.
type Appended = (u64, Option<Failure>);

async fn in_pieces(
    trunkline: &Trunkline,
    args: &AppendArgs,
    mut come: mpsc::Receiver<Result<Vec<Vec<u8>>>>,
) -> Appended {
    let mut count = 0;
    while let Some(lines) = come.recv().await {
        let lines = match lines {
            Ok(lines) => lines,
            Err(e) => return (count, Some(e)),
        };
        let (mut events, mut bad) = (Vec::with_capacity(lines.len()), None);
        for (n, line) in (count + 1..).zip(lines) {
            match input::typed(line, args.json_payload) {
                Ok(payload) => events.push(args.event(payload)),
                Err(e) => {
                    bad = Some(of_line(n, &e));
                    break;
                }
            }
        }
        let written = append(trunkline, &args.stream, events, &mut count).await;
        if let Some(failure) = written.err().or(bad) {
            return (count, Some(failure));
        }
    }
    (count, None)
}

/// All of them; when they are refused together, one by one up to the one that is to blame.
async fn append(trunkline: &Trunkline, stream: &str, events: Vec<NewEvent>, count: &mut u64) -> Result<()> {
    let written = trunkline.streams().append_all(stream, events.iter().cloned()).await;
    match written {
        Ok(ids) => *count += ids.len() as u64,
        Err(e) if e.kind() == ErrorKind::Unreachable => {
            let text =
                format!("{e}; of lines {} to {} it is not known", *count + 1, *count + events.len() as u64);
            return Err(Error::new(ErrorKind::Unreachable, text).into());
        }
        Err(e) if e.kind() == ErrorKind::Invalid => {
            for event in events {
                match trunkline.streams().append(stream, event).await {
                    Ok(_) => *count += 1,
                    Err(e) => return Err(of_line(*count + 1, &e.into())),
                }
            }
        }
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

async fn at_once(
    trunkline: &Trunkline,
    args: &AppendArgs,
    mut come: mpsc::Receiver<Result<Vec<Vec<u8>>>>,
) -> Appended {
    let (events, loaded) = mpsc::channel(EVENTS);
    let feed = async move {
        let mut number = 0;
        while let Some(lines) = come.recv().await {
            for line in lines? {
                number += 1;
                let payload = input::typed(line, args.json_payload).map_err(|e| of_line(number, &e))?;
                if events.send(args.event(payload)).await.is_err() {
                    break;
                }
            }
        }
        Ok(())
    };
    let loaded = stream::unfold(loaded, |mut events| async move { Some((events.recv().await?, events)) });
    let streams = trunkline.streams();
    let (mut feed, mut load) = (pin!(feed), pin!(streams.load(&args.stream, loaded)));
    let loaded = tokio::select! {
        // What is loading is dropped then, and rolled back.
        fed = &mut feed => match fed {
            Ok(()) => load.await,
            Err(failure) => return (0, Some(failure)),
        },
        loaded = &mut load => loaded,
    };
    match loaded {
        Ok(count) => (count, None),
        Err(e) => (0, Some(e.into())),
    }
}

/// What was wrong with a line.
fn of_line(number: u64, failure: &Failure) -> Failure {
    let said = failure.to_string();
    let text = format!("line {number}: {}", said.strip_prefix("event 1: ").unwrap_or(&said));
    match failure {
        Failure::Library(e) => Error::new(e.kind(), text).into(),
        _ => Failure::Usage(text),
    }
}
