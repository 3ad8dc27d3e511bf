//! `trunkline db`: the private PostgreSQL.

use std::{os::unix::process::CommandExt as _, process};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use trunkline_embedded::{Mode, Server, Status};

use crate::{
    args::Global,
    exit::{Failure, NOT_FOUND, OK, Result, UNREACHABLE},
    out::{self, Out},
    source,
};

/// What to do with the private server.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start it, or find it running; prints its URL
    Start,
    /// Stop it; its data stay
    Stop(StopArgs),
    /// How it stands; exit code 3 when it does not run, 4 when there are no data
    Status,
    /// Print its URL; exit code 3 when it does not run
    Url,
    /// Open psql on it
    Psql(PsqlArgs),
}

/// Options of `db stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// How to stop
    #[arg(long, value_enum, default_value_t)]
    mode: Stop,
}

/// Options of `db psql`.
#[derive(Debug, Args)]
pub(crate) struct PsqlArgs {
    /// What psql gets besides the URL
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// PostgreSQL's ways to stop.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Stop {
    /// Wait for every session to end by itself
    Smart,
    /// End the sessions, roll their transactions back
    #[default]
    Fast,
    /// End at once, as a crash would
    Immediate,
}

impl From<Stop> for Mode {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Smart => Self::Smart,
            Stop::Fast => Self::Fast,
            Stop::Immediate => Self::Immediate,
        }
    }
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    let out = Out::new(global.json, true);
    match command {
        Command::Start => {
            let server = source::start_private(global).await?;
            url(out, &server)
        }
        Command::Stop(args) => match running(global).await? {
            Some(server) => source::blocking(move || server.stop(args.mode.into())).await.map(|()| OK),
            None => {
                out::talk("trunkline: it was not running");
                Ok(OK)
            }
        },
        Command::Status => status(global, out).await,
        Command::Url => match running(global).await? {
            Some(server) => url(out, &server),
            None => Err(not_running()),
        },
        Command::Psql(args) => {
            let server = source::start_private(global).await?;
            let failed = process::Command::new("psql").arg(server.url()).args(args.args).exec();
            Err(Failure::io(format!("cannot run psql; connect with any client to {}", server.url()), failed))
        }
    }
}

async fn running(global: &Global) -> Result<Option<Server>> {
    let settings = source::private(global);
    source::blocking(move || Server::attach(&settings)).await
}

fn url(out: Out, server: &Server) -> Result<u8> {
    if out.json {
        out.json(&json!({ "url": server.url(), "pid": server.pid(), "data_dir": server.data_dir() }))?;
    } else {
        out.line(&server.url())?;
    }
    Ok(OK)
}

async fn status(global: &Global, out: Out) -> Result<u8> {
    let settings = source::private(global);
    let (status, server) = source::blocking(move || {
        let status = Server::status(&settings)?;
        Ok::<_, trunkline_embedded::Error>((status, Server::attach(&settings)?))
    })
    .await?;
    let (word, pid, code) = match status {
        Status::Absent => ("absent", None, NOT_FOUND),
        Status::Stopped => ("stopped", None, UNREACHABLE),
        Status::Starting { pid } => ("starting", Some(pid), UNREACHABLE),
        Status::Stopping { pid } => ("stopping", Some(pid), UNREACHABLE),
        Status::Running { pid } => ("running", Some(pid), OK),
        _ => ("unknown", None, UNREACHABLE),
    };
    let fields = ["state", "pid", "url", "data_dir", "log"];
    out.object(
        &fields,
        &json!({
            "state": word,
            "pid": pid,
            "url": server.as_ref().map(Server::url),
            "data_dir": server.as_ref().map(Server::data_dir),
            "log": server.as_ref().map(Server::log),
        }),
    )?;
    Ok(code)
}

fn not_running() -> Failure {
    let text = "the private PostgreSQL does not run; run: trunkline db start";
    trunkline::Error::new(trunkline::ErrorKind::Unreachable, text).into()
}
