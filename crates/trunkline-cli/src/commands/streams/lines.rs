//! `append --lines`: one event for each input line, in pieces; with `--atomic` all or none.

use std::pin::pin;

use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc;
use trunkline::{Trunkline, streams::NewEvent};

use super::append::AppendArgs;
use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    input,
    out::{self, Out},
    pieces::{self, ITEMS, Pieces, Target, of_line},
    source,
};

pub(super) async fn run(global: &Global, args: AppendArgs) -> Result<u8> {
    let from = input::lines(args.payload.as_deref())?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let (count, failure) = match args.atomic {
        true => at_once(&trunkline, &args, Pieces::of(from)).await,
        false => pieces::write(from, &Events { trunkline: &trunkline, args: &args }, |_, _| {}).await,
    };
    trunkline.close().await;
    if !global.quiet {
        out::talk(&format!("trunkline: {count} events appended"));
    }
    if global.json {
        Out::new(true, true).json(&json!({ "appended": count }))?;
    }
    failure.map_or(Ok(OK), Err)
}

/// A stream that lines are appended to.
struct Events<'a> {
    trunkline: &'a Trunkline,
    args: &'a AppendArgs,
}

impl Target for Events<'_> {
    type Item = NewEvent;

    fn item(&self, line: Vec<u8>) -> Result<NewEvent> {
        Ok(self.args.event(input::typed(line, self.args.json_payload)?))
    }

    async fn write(&self, items: Vec<NewEvent>) -> trunkline::Result<()> {
        self.trunkline.streams().append_all(&self.args.stream, items).await.map(drop)
    }
}

/// How many were appended, and what ended it before the end of the input.
async fn at_once(trunkline: &Trunkline, args: &AppendArgs, mut pieces: Pieces) -> (u64, Option<Failure>) {
    let (events, loaded) = mpsc::channel(ITEMS);
    let feed = async move {
        let mut number = 0;
        while let Some(lines) = pieces.next().await {
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
