//! `trunkline schema`: install, upgrade, check, print, repair and uninstall the SQL schema.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Subcommand;
use serde_json::json;
use trunkline::{ErrorKind, connect::Purpose, schema};

use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    out::{self, Out},
    source::{self, Database, Plain},
};

/// What to do with the schema.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install the schema, or bring it up to this version; twice changes nothing
    Install {
        /// Install the adapter for programs of PgQ as well: the schemas pgq and pgq_coop
        #[arg(long)]
        pgq: bool,
    },
    /// Bring an installed schema up to this version
    Upgrade,
    /// Compare the schema with this program; 0 when it fits
    Check,
    /// Print the whole installation as one SQL script
    Print {
        /// Print that of the adapter for PgQ, which is run after the other
        #[arg(long)]
        pgq: bool,
    },
    /// Begin a new epoch after a restore, a clone or a failover
    Repair,
    /// Remove the schema with everything in it, and the adapter for PgQ with its queues
    Uninstall {
        /// Remove the adapter for PgQ alone
        #[arg(long)]
        pgq: bool,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    let out = Out::new(global.json, true);
    if let Command::Print { pgq } = command {
        let script = if pgq { schema::print_pgq() } else { schema::print() };
        out.bytes(script.as_bytes())?;
        return Ok(OK);
    }
    let database = source::choose_as_it_is(global).await?;
    match command {
        Command::Install { pgq } => install(&database, pgq, out).await,
        Command::Upgrade => {
            present(&database.plain(Purpose::Work).await?).await?;
            let pgq = schema::check_pgq(&database.plain(Purpose::Work).await?.client)
                .await
                .map_or(true, |v| v.is_some());
            install(&database, pgq, out).await
        }
        Command::Check => {
            let plain = database.plain(Purpose::Work).await?;
            let version = schema::check(&plain.client).await?;
            let mut found = json!({ "version": version, "program": schema::version() });
            let mut fields = vec!["version", "program"];
            if let Some(pgq) = schema::check_pgq(&plain.client).await? {
                found["pgq"] = json!(pgq);
                fields.push("pgq");
            }
            out.object(&fields, &found)?;
            Ok(OK)
        }
        Command::Repair => repair(&database, out).await,
        Command::Uninstall { pgq } => uninstall(global, &database, pgq).await,
        Command::Print { .. } => Ok(OK),
    }
}

/// Also `trunkline streams repair`: one epoch holds for everything in a database.
pub(crate) async fn repair(database: &Database, out: Out) -> Result<u8> {
    let plain = database.plain(Purpose::Install).await?;
    present(&plain).await?;
    let row = plain.client.query_typed("select trunkline.schema_repair()", &[]).await?;
    let epoch: i32 = row.first().map_or(Ok(0), |r| r.try_get(0))?;
    out.object(&["epoch"], &json!({ "epoch": epoch }))?;
    Ok(OK)
}

async fn install(database: &Database, pgq: bool, out: Out) -> Result<u8> {
    let mut plain = database.plain(Purpose::Install).await?;
    if pgq {
        let done = schema::install_pgq(&mut plain.client).await?;
        let found = json!({ "from": done.schema.from, "to": done.schema.to, "pgq_from": done.from, "pgq_to": done.to });
        out.object(&["from", "to", "pgq_from", "pgq_to"], &found)?;
        return Ok(OK);
    }
    let done = schema::install(&mut plain.client).await?;
    out.object(&["from", "to"], &json!({ "from": done.from, "to": done.to }))?;
    Ok(OK)
}

async fn uninstall(global: &Global, database: &Database, pgq: bool) -> Result<u8> {
    let plain = database.plain(Purpose::Install).await?;
    if pgq {
        let what =
            "remove the schemas pgq and pgq_coop with all queues, and the triggers that feed them, from";
        confirm(global, &format!("{what} {}", database.info.display_url()))?;
        schema::uninstall_pgq(&plain.client).await?;
        out::talk("trunkline: the adapter is removed; the roles pgq_* stay");
        return Ok(OK);
    }
    present(&plain).await?;
    confirm(
        global,
        &format!("remove the schema trunkline with all its messages from {}", database.info.display_url()),
    )?;
    schema::uninstall(&plain.client).await?;
    out::talk("trunkline: the schema is removed; the roles trunkline_* stay");
    Ok(OK)
}

/// There is a schema of this name.
async fn present(plain: &Plain) -> Result<()> {
    const PRESENT: &str = "select to_regnamespace('trunkline') is not null";
    let rows = plain.client.query_typed(PRESENT, &[]).await?;
    if rows.first().map_or(Ok(false), |r| r.try_get(0))? {
        return Ok(());
    }
    let text = "there is no trunkline schema here; run: trunkline schema install";
    Err(trunkline::Error::new(ErrorKind::Schema, text).into())
}

/// Asks on a terminal; elsewhere `--yes` must have been given.
pub(crate) fn confirm(global: &Global, what: &str) -> Result<()> {
    if global.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Refused(format!("refused to {what}: confirm with --yes")));
    }
    out::ask(&format!("This will {what}. Type yes to go on:"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|e| Failure::io("cannot read the answer", e))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Failure::Refused("nothing was changed".to_owned())),
    }
}
