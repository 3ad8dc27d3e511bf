//! `trunkline requests serve`: answer the requests of a channel with a command, or with themselves.
//!
//! SIGTERM or SIGINT drains: no more is taken, what was taken is answered. The second one ends at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use clap::{ArgGroup, Args};
use tokio::time::Instant;
use tracing::{debug, info, warn};
use trunkline::requests::{Failure, Payload, Request, Serve};

use super::exec;
use crate::{
    args::Global,
    exit::{OK, Result},
    signals, source,
};

/// Options of `requests serve`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("answer").required(true).args(["exec", "echo"]))]
pub(crate) struct ServeArgs {
    /// The channel
    channel: String,

    /// Run this with sh for each request: payload on stdin, the reply is stdout
    ///
    /// An exit status other than 0 is a remote error with the status as code and the end of stderr as text. The command
    /// is killed when the request is cancelled or its deadline passes. It gets TRUNKLINE_REQUEST_ID, TRUNKLINE_TYPE,
    /// TRUNKLINE_ATTEMPT, and TRUNKLINE_HEADER_NAME for each header.
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Answer each request with its own payload
    #[arg(long)]
    echo: bool,

    /// Serve only this type; may be given again
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    types: Vec<String>,

    /// How many requests are answered at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: u16,

    /// Take exactly this many requests, and end when they are answered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(crate) async fn run(global: &Global, args: ServeArgs) -> Result<u8> {
    let stop = signals::drain(crate::exec::kill_all)?;
    let begin = async { source::choose(global).await?.trunkline().await };
    let Some(trunkline) = signals::unless_stopped(&stop, begin).await? else { return Ok(OK) };
    let answered = Arc::new(AtomicU64::new(0));
    let mut options = Serve::channel(&args.channel).and_own_address().concurrency(args.concurrency.into());
    if !args.types.is_empty() {
        options = options.types(args.types);
    }
    if let Some(count) = args.count {
        options = options.at_most(count);
    }
    let (exec, count) = (args.exec, answered.clone());
    let serving = trunkline.requests().serve(options, move |request| {
        let (exec, count) = (exec.clone(), count.clone());
        async move {
            let answer = answer(exec.as_deref(), request).await;
            count.fetch_add(1, Ordering::Relaxed);
            answer
        }
    });
    let until = async {
        serving.ready().await?;
        let address = trunkline.address().map(|a| format!("@{a}"));
        info!(channel = args.channel, address, "serving");
        serving.ended().await
    };
    let ended = tokio::select! {
        ended = until => ended,
        () = signals::stopped(&stop) => Ok(()),
    };
    serving.stop().await;
    info!(answered = answered.load(Ordering::Relaxed), "stopped");
    trunkline.close().await;
    Ok(ended.map(|()| OK)?)
}

async fn answer(exec: Option<&str>, request: Request) -> Result<Payload, Failure> {
    let (id, kind, since) = (request.id, request.kind.clone(), Instant::now());
    let answer = match exec {
        Some(command) => exec::run(command, request).await,
        None => Ok(request.payload),
    };
    match &answer {
        Ok(_) => debug!(id, kind, took = ?since.elapsed(), "answered"),
        Err(e) => warn!(id, kind, code = e.code, took = ?since.elapsed(), "answered with an error"),
    }
    answer
}
