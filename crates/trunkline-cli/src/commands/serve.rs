//! `trunkline serve`: the daemon, for one database or for all of a server.

use std::time::Duration;

use clap::Args;
use sd_notify::NotifyState;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tracing::{error, info, warn};
use trunkline::{Error, ErrorKind, Trunkline};

use crate::{
    args::{Command, Global},
    config::{self, Stop},
    daemon,
    exit::{Failure, OK, Result},
    http::{Bound, HttpArgs, Open},
    input, logging,
    out::Out,
    signals,
    source::{self, Database},
};

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Serve every database of the server that has the schema, also those to come
    #[arg(long)]
    all_databases: bool,

    /// How often new databases are looked for
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = input::pause, requires = "all_databases")]
    look: Duration,

    /// Do one round, print what was done as JSON, and end
    #[arg(long)]
    once: bool,

    /// Install or upgrade the schema first
    #[arg(long, conflicts_with = "all_databases")]
    install: bool,

    #[command(flatten)]
    http: HttpArgs,
}

pub(crate) async fn run(global: &Global, args: ServeArgs) -> Result<u8> {
    let stop = signals::drain(|| {})?;
    // One database has a dashboard; of many none is the one.
    let bound = if args.once || args.all_databases { None } else { args.http.bind().await? };
    reloading(global.clone(), args.http.clone(), bound.as_ref().map(Bound::open).transpose()?)?;
    let begin = async {
        let database = source::choose(global).await?;
        if args.install {
            source::install(&database).await?;
        }
        Ok(database)
    };
    let Some(database) = signals::unless_stopped(&stop, begin).await? else { return Ok(OK) };
    if args.once {
        return once(&database, &args).await;
    }
    if args.all_databases {
        ready(&stop);
        info!(server = database.info.display_url(), "looking for databases with a trunkline schema");
        daemon::keep_all(database, args.look, stop.clone()).await;
    } else {
        let connected = async { Ok(Trunkline::with(database.info.clone()).await) };
        let Some(connected) = signals::unless_stopped(&stop, connected).await? else { return Ok(OK) };
        let first = match connected {
            Ok(handle) => Some(handle),
            Err(e) if hopeless(&e) => return Err(e.into()),
            Err(e) => {
                warn!(error = %e, "the database is away; waiting for it");
                None
            }
        };
        ready(&stop);
        let serving = async {
            match bound {
                Some(bound) => bound.serve(database.info.clone(), stop.clone()).await,
                None => Ok(()),
            }
        };
        let (served, ()) = tokio::join!(serving, daemon::keep(database.info.clone(), first, stop.clone()));
        served?;
    }
    Ok(OK)
}

/// At SIGHUP: the files and variables are read again; tokens, names and the level of the log change, and what cannot is said.
fn reloading(global: Global, http: HttpArgs, open: Option<Open>) -> Result<()> {
    signals::at_hangup(move || {
        let cli = match config::parse(std::env::args_os().collect()) {
            Ok(cli) => cli,
            Err(Stop::File(e)) => return error!(error = %e, "nothing was changed"),
            Err(Stop::Clap(e)) => return error!(error = %e, "nothing was changed"),
        };
        let Command::Serve(args) = &cli.command else { return };
        if let Err(e) = open.as_ref().map_or(Ok(()), |open| args.http.reload(open)) {
            return error!(error = %e, "nothing was changed");
        }
        logging::reload(&cli);
        if cli.global.database_url != global.database_url || !args.http.same_socket(&http) {
            warn!("another database or address needs a restart");
        }
        info!("tokens, names and the level of the log were read again");
    })
}

/// Waiting at the start will not help: somebody has to do something.
fn hopeless(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Config | ErrorKind::Schema | ErrorKind::Unsupported)
}

/// One round, of one database or of each that has the schema; the exit code is that of the first failure.
async fn once(database: &Database, args: &ServeArgs) -> Result<u8> {
    let out = Out::new(true, true);
    if !args.all_databases {
        out.json(&round(database).await?)?;
        return Ok(OK);
    }
    let (mut all, mut code) = (Map::new(), OK);
    for name in daemon::names(database).await? {
        let one = database.named(&name);
        let done = match daemon::has_schema(&one).await {
            Ok(false) => continue,
            Ok(true) => round(&one).await,
            Err(e) => Err(e),
        };
        let shown = done.unwrap_or_else(|e: Failure| {
            code = if code == OK { e.code() } else { code };
            json!({ "error": e.to_string() })
        });
        all.insert(name, shown);
    }
    out.json(&Value::Object(all))?;
    Ok(code)
}

async fn round(database: &Database) -> Result<Value> {
    let plain = database.checked().await?;
    let rows = plain.client.query_typed("select trunkline.maintain()", &[]).await?;
    let mut done: Value = rows.first().map_or(Ok(Value::Null), |r| r.try_get(0))?;
    let trunkline = database.trunkline().await?;
    let fired = trunkline.jobs().fire_schedules().await;
    trunkline.close().await;
    done["schedules_fired"] = json!(fired?);
    Ok(done)
}

/// Tells systemd that we are here, and when we begin to leave.
fn ready(stop: &watch::Receiver<bool>) {
    notify(NotifyState::Ready);
    let stop = stop.clone();
    tokio::spawn(async move {
        signals::stopped(&stop).await;
        notify(NotifyState::Stopping);
    });
}

/// Tells systemd, when it started us and wants to know.
fn notify(state: NotifyState<'_>) {
    if let Err(e) = sd_notify::notify(&[state]) {
        warn!(error = %e, "cannot notify the service manager");
    }
}
