//! `--lines`: one request for each input line, many under way at once, replies in the order of the lines.
//!
//! Guarantees: as many lines out as in, in the same order; never more than `--in-flight` under way; a reply is written
//! as soon as it is its turn. A failed line does not stop the others, whether it was refused here or there; one that
//! cannot be read or is too large does.

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::io::AsyncBufRead;
use trunkline::{Error, ErrorKind, requests::Reply};

use super::{call::CallArgs, outcome::Shown};
use crate::{
    args::Global,
    exit::{self, Failure, OK, Result},
    input,
    out::{self, Out},
    source,
};

/// Replies are collected while more of them are ready, up to this size.
const BUFFER: usize = 64 << 10;

type Input = Box<dyn AsyncBufRead + Unpin + Send>;

pub(super) async fn run(global: &Global, args: CallArgs, out: Out) -> Result<u8> {
    let from = input::lines(args.asking.payload.as_deref())?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let (asking, json) = (&args.asking, args.asking.json_payload);
    let outcomes = numbered(from)
        .map(|line| {
            let call = line.map(|(n, bytes)| {
                (n, input::typed(bytes, json).map(|payload| asking.call(&trunkline, payload)))
            });
            async move {
                Ok(match call? {
                    (n, Ok(call)) => (n, call.await),
                    (n, Err(e)) => (n, Err(Error::new(ErrorKind::Invalid, e.to_string()))),
                })
            }
        })
        .buffered(usize::from(args.in_flight));
    let written = tokio::select! {
        written = Box::pin(write(Box::pin(outcomes), out)) => written,
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    };
    trunkline.close().await;
    written
}

/// The lines with their numbers, from 1.
fn numbered(from: Input) -> impl Stream<Item = Result<(u64, Vec<u8>)>> {
    stream::unfold(Some((from, 1)), |state| async move {
        let (mut from, number) = state?;
        match input::next_line(&mut from, number).await {
            Ok(None) => None,
            Ok(Some(line)) => Some((Ok((number, line)), Some((from, number + 1)))),
            Err(e) => Some((Err(e), None)),
        }
    })
}

async fn write(
    mut outcomes: impl Stream<Item = Result<(u64, Result<Reply, Error>)>> + Unpin,
    out: Out,
) -> Result<u8> {
    let (mut buffer, mut code) = (Vec::new(), OK);
    loop {
        let ready = if buffer.len() < BUFFER { outcomes.next().now_or_never() } else { None };
        let next = match ready {
            Some(next) => next,
            None => {
                out.bytes(&buffer)?;
                buffer.clear();
                outcomes.next().await
            }
        };
        match next {
            None => {
                out.bytes(&buffer)?;
                return Ok(code);
            }
            Some(Err(e)) => {
                out.bytes(&buffer)?;
                return Err(e);
            }
            Some(Ok((number, outcome))) => {
                show(number, &outcome, out, &mut buffer);
                if let Err(e) = outcome {
                    let failure = Failure::from(e);
                    out::talk(&format!("trunkline: line {number}: {failure}"));
                    code = if code == OK { failure.code() } else { code };
                }
            }
        }
    }
}

/// One line for one outcome.
fn show(number: u64, outcome: &Result<Reply, Error>, out: Out, to: &mut Vec<u8>) {
    if out.json {
        to.extend_from_slice(Shown::of(outcome, Some(number)).json().as_bytes());
    } else if let Ok(reply) = outcome {
        out.on_one_line(reply.payload.bytes(), to);
    }
    to.push(b'\n');
}
