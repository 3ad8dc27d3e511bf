//! `trunkline requests call`: ask, and print the reply.

use std::{future::IntoFuture, time::Duration};

use clap::Args;
use tokio::sync::mpsc;
use trunkline::{
    Trunkline,
    requests::{Call, Part, Payload, Reply},
};

use super::{lines, outcome::Shown};
use crate::{
    args::Global,
    exit::{self, Failure, OK, Result},
    input,
    out::{Out, escaped},
    source,
};

/// Where a request goes and what it says; of `call` and `send`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Asking {
    /// The channel, or @ and the address of one session
    #[arg(value_name = "CHANNEL")]
    pub(super) channel: String,

    /// The payload: itself, @file, or - for stdin; @@ begins one with an @
    #[arg(value_name = "PAYLOAD", allow_negative_numbers = true)]
    pub(super) payload: Option<String>,

    /// The type of the request
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    kind: String,

    /// How long to wait for the outcome
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = input::duration)]
    timeout: Duration,

    /// The payload is JSON; it is checked before it is sent
    #[arg(long)]
    pub(super) json_payload: bool,

    /// Add a header; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,

    /// It may run twice: when its responder dies, another one gets it
    #[arg(long)]
    idempotent: bool,

    /// Wait for a responder to come, instead of failing where there is none
    #[arg(long)]
    wait: bool,
}

impl Asking {
    /// Adds the options to a call.
    pub(super) fn apply(&self, mut call: Call) -> Call {
        call = call.kind(&self.kind).timeout(self.timeout);
        if self.idempotent {
            call = call.idempotent();
        }
        if self.wait {
            call = call.wait_for_responder();
        }
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        call
    }

    /// The one payload that was named.
    pub(super) async fn read(&self) -> Result<Payload> {
        let (argument, json) = (self.payload.clone(), self.json_payload);
        source::blocking(move || input::payload(argument.as_deref(), json)).await
    }

    /// A call with this payload.
    pub(super) fn call(&self, trunkline: &Trunkline, payload: Payload) -> Call {
        self.apply(trunkline.requests().call(self.channel.as_str(), payload))
    }
}

/// Options of `requests call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(super) asking: Asking,

    /// One request for each line of stdin (or of @file); one reply a line, in the same order
    ///
    /// A line whose request failed gives an empty line, and its number and error on stderr; the exit code is that of
    /// the first. Line breaks inside of a reply are escaped, unless --raw.
    #[arg(long)]
    lines: bool,

    /// How many requests are under way at once
    #[arg(long, value_name = "N", default_value_t = 256, requires = "lines",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) in_flight: u16,

    /// Print the parts of the reply, and its progress, as they come, each on a line of its own before the reply
    #[arg(long, conflicts_with = "lines")]
    parts: bool,

    /// Print the reply as it is, also on a terminal
    #[arg(long)]
    raw: bool,
}

pub(crate) async fn run(global: &Global, args: CallArgs) -> Result<u8> {
    let out = Out::new(global.json, args.raw);
    if args.lines {
        return lines::run(global, args, out).await;
    }
    let payload = args.asking.read().await?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let (parts, come) = mpsc::channel(1024);
    let mut call = args.asking.call(&trunkline, payload);
    if args.parts {
        call = call.parts(parts);
    }
    let asked = tokio::select! {
        outcome = with_parts(call, come, out) => Some(outcome?),
        // The call is dropped, and so cancelled.
        _ = tokio::signal::ctrl_c() => None,
    };
    trunkline.close().await;
    let Some(asked) = asked else { return Ok(exit::INTERRUPTED) };
    if out.json {
        out.line(&Shown::of(&asked, None).json())?;
        return Ok(asked.map_or_else(|e| Failure::from(e).code(), |_| OK));
    }
    out.payload(asked?.payload.bytes())?;
    Ok(OK)
}

/// The outcome, after the parts that came before it were printed.
async fn with_parts(
    call: Call,
    mut come: mpsc::Receiver<Part>,
    out: Out,
) -> Result<trunkline::Result<Reply>> {
    let mut call = call.into_future();
    loop {
        tokio::select! {
            biased;
            Some(part) = come.recv() => print(&part, out)?,
            outcome = &mut call => {
                while let Ok(part) = come.try_recv() {
                    print(&part, out)?;
                }
                return Ok(outcome);
            }
        }
    }
}

fn print(part: &Part, out: Out) -> Result<()> {
    if out.json {
        return out.line(&Shown::part(part));
    }
    out.line(&escaped(&String::from_utf8_lossy(part.payload.bytes()), true))
}
