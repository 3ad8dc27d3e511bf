//! `trunkline requests gather`: ask everybody who is present.

use std::time::Duration;

use clap::Args;

use super::outcome::Shown;
use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    input,
    out::{self, Out},
    source,
};

/// Options of `requests gather`.
#[derive(Debug, Args)]
pub(crate) struct GatherArgs {
    /// The channel
    channel: String,

    /// The payload: itself, @file, or - for stdin
    #[arg(allow_negative_numbers = true)]
    payload: Option<String>,

    /// End after this many outcomes
    #[arg(long, value_name = "N", default_value_t = 10_000, hide_default_value = true,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    most: u16,

    /// How long to wait for them
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = input::duration)]
    within: Duration,

    /// The payload is JSON
    #[arg(long)]
    json_payload: bool,

    /// Print replies as they are, also on a terminal
    #[arg(long)]
    raw: bool,
}

/// Prints each reply on lines of its own; fails with the first failure when nobody gave a reply.
pub(crate) async fn run(global: &Global, args: GatherArgs) -> Result<u8> {
    let out = Out::new(global.json, args.raw);
    let (argument, json) = (args.payload.clone(), args.json_payload);
    let payload = source::blocking(move || input::payload(argument.as_deref(), json)).await?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let gathered =
        trunkline.requests().gather(&args.channel, payload, usize::from(args.most), args.within).await;
    trunkline.close().await;
    let (mut code, mut replies) = (OK, 0_u32);
    for outcome in gathered? {
        if out.json {
            out.line(&Shown::of(&outcome, None).json())?;
        }
        match outcome {
            Ok(reply) => {
                replies += 1;
                if !out.json {
                    out.payload(reply.payload.bytes())?;
                    if !out.escape && !reply.payload.bytes().ends_with(b"\n") {
                        out.bytes(b"\n")?;
                    }
                }
            }
            Err(e) => {
                let failure = Failure::from(e);
                out::talk(&format!("trunkline: {failure}"));
                code = if code == OK { failure.code() } else { code };
            }
        }
    }
    Ok(if replies > 0 { OK } else { code })
}
