//! `trunkline requests serve`: answer the requests of a channel with a command, or with themselves.
//!
//! SIGTERM or SIGINT drains: no more is taken, what was taken is answered. The second one ends at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::{ArgGroup, Args};
use futures_util::future::join_all;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};
use trunkline::{
    Error, ErrorKind, Trunkline,
    connect::Purpose,
    requests::{Failure, Payload, Request, Serve, Serving},
};

use super::exec;
use crate::{
    args::Global,
    exit::{OK, Result},
    signals,
    source::{self, Database},
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

    /// End after this many requests, and answer what was taken until then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// What every handler needs.
#[derive(Debug)]
struct Answering {
    exec: Option<String>,
    count: Option<u64>,
    answered: AtomicU64,
    enough: watch::Sender<bool>,
    /// The channel and our own address together.
    slots: Semaphore,
}

pub(crate) async fn run(global: &Global, args: ServeArgs) -> Result<u8> {
    let stop = signals::drain(crate::exec::kill_all)?;
    let begin = async {
        let database = source::choose(global).await?;
        may_serve(&database, &args).await?;
        let trunkline = database.trunkline().await?;
        Ok((database, trunkline))
    };
    let Some((database, trunkline)) = signals::unless_stopped(&stop, begin).await? else { return Ok(OK) };
    let (enough, reached) = watch::channel(false);
    let concurrency = usize::from(args.concurrency);
    let answering = Arc::new(Answering {
        exec: args.exec,
        count: args.count,
        answered: AtomicU64::new(0),
        enough,
        slots: Semaphore::new(concurrency),
    });
    let serve = |options: Serve| {
        let (options, handler) = (options.concurrency(concurrency), answering.clone());
        let options = if args.types.is_empty() { options } else { options.types(args.types.clone()) };
        trunkline.requests().serve(options, move |request| {
            let answering = handler.clone();
            async move { answering.answer(request).await }
        })
    };
    // `gather` and calls to `@address` reach a responder by its own address.
    let serving = [serve(Serve::channel(&args.channel)), serve(Serve::own_address())];
    tokio::select! {
        () = announce(&database, &trunkline, &args.channel) => {}
        () = signals::stopped(&stop) => {}
        () = signals::stopped(&reached) => {}
    }
    tokio::select! {
        () = signals::stopped(&stop) => {}
        () = signals::stopped(&reached) => {}
    }
    join_all(serving.map(Serving::stop)).await;
    info!(answered = answering.answered.load(Ordering::Relaxed), "stopped");
    trunkline.close().await;
    Ok(OK)
}

impl Answering {
    async fn answer(&self, request: Request) -> Result<Payload, Failure> {
        let _slot = self.slots.acquire().await;
        let (id, kind, since) = (request.id, request.kind.clone(), Instant::now());
        let answer = match &self.exec {
            Some(command) => exec::run(command, request).await,
            None => Ok(request.payload),
        };
        match &answer {
            Ok(_) => debug!(id, kind, took = ?since.elapsed(), "answered"),
            Err(e) => warn!(id, kind, code = e.code, took = ?since.elapsed(), "answered with an error"),
        }
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        if self.count.is_some_and(|count| answered >= count) {
            self.enough.send_replace(true);
        }
        answer
    }
}

/// Asks the database for what can never be, which the library would try forever. Session 0 is nobody: the one thing
/// that may be wrong is that it is not present.
async fn may_serve(database: &Database, args: &ServeArgs) -> Result<()> {
    const ASK: &str = "select from trunkline._request_serve(0, $1, $2, null)";
    let plain = database.checked().await?;
    let types = (!args.types.is_empty()).then_some(&args.types);
    let (text, texts) = (tokio_postgres::types::Type::TEXT, tokio_postgres::types::Type::TEXT_ARRAY);
    let asked = plain.client.query_typed(ASK, &[(&args.channel, text), (&types, texts)]).await;
    match asked.map_err(Error::from) {
        Err(e) if e.kind() != ErrorKind::Stale => Err(e.into()),
        _ => Ok(()),
    }
}

/// Says that requests arrive here, once the database says so too.
async fn announce(database: &Database, trunkline: &Trunkline, channel: &str) {
    const HERE: &str = "select exists (select from trunkline.request_responders() r
        where r.channel = $1 and r.address = $2)";
    loop {
        if let (Some(address), Ok(plain)) = (trunkline.address(), database.plain(Purpose::Work).await) {
            let address = format!("@{address}");
            let args = [
                (&channel as &(dyn tokio_postgres::types::ToSql + Sync), tokio_postgres::types::Type::TEXT),
                (&address, tokio_postgres::types::Type::TEXT),
            ];
            let rows = plain.client.query_typed(HERE, &args).await.unwrap_or_default();
            if rows.first().is_some_and(|r| r.try_get(0).unwrap_or(false)) {
                info!(channel, address, "serving");
                return;
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}
