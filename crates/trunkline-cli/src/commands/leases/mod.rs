//! `trunkline leases`: who holds what, and when that changes, a program that runs on one machine only, and asking a holder to resign.

mod guard;
mod run;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio_postgres::types::Type;

use super::until_interrupted;
use crate::{
    args::Global,
    commands::schema::confirm,
    exit::{Failure, OK, Result},
    out::{self, Out, said},
    source,
};

const LIST: &str = "select to_jsonb(l) from trunkline.lease_list() l";
const SHOW: &str = "select to_jsonb(l) || jsonb_build_object('waiters', (select coalesce(jsonb_agg(w.held_by order by w.turn), '[]')
    from trunkline.lease_waiters(l.name) w)) from trunkline.lease_list() l where l.name = $1";
const RESIGN: &str = "select trunkline.lease_resign(name => $1, force => $2)";

/// What to do with leases.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the leases: who holds which, since when, and how many wait
    ///
    /// Columns: name, fence, held_by, since, expires_at, seen_at, waiting, resign_asked, progress. A lease that nobody holds has no
    /// held_by.
    Ls,
    /// Show one lease, and who waits for it, in turn
    Show(NameArgs),
    /// Say who holds a lease, and each change from then on, a line each
    ///
    /// Columns: name, fence, held_by, since. While nobody holds it held_by is empty.
    Watch(NameArgs),
    /// Run a program while a lease is held, so on exactly one machine; stop it when the lease is lost
    ///
    /// Waits in turn. The program gets TRUNKLINE_LEASE and TRUNKLINE_FENCE in its environment, and nothing on stdin; the signals that
    /// this command gets are passed on to it. When the lease is lost it gets SIGTERM, and SIGKILL before another may have the
    /// lease; then this command waits in turn again. The program is also killed, with all that it started, when this command is
    /// killed or frozen.
    ///
    /// Exit code: the program's own, 128 more than the number of the signal that ended it, 127 when it cannot be started; 5 when
    /// the lease could not be had --within; with --once 6 when it was lost.
    Run(run::RunArgs),
    /// Ask whoever holds a lease to resign; not found when nobody does
    Resign(ResignArgs),
    #[command(hide = true)]
    Guard(guard::GuardArgs),
}

/// A lease.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The lease
    name: String,
}

/// Options of `leases resign`.
#[derive(Debug, Args)]
pub(crate) struct ResignArgs {
    /// The lease
    name: String,

    /// Take it away at once: what its holder guards fails, and another may begin before the holder has stopped
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Ls => until_interrupted(ls(global)).await,
        Command::Show(args) => until_interrupted(show(global, args)).await,
        Command::Watch(args) => until_interrupted(watch(global, args)).await,
        Command::Run(args) => run::run(global, args).await,
        Command::Resign(args) => until_interrupted(resign(global, args)).await,
        Command::Guard(args) => guard::run(args).await,
    }
}

const FIELDS: [&str; 9] =
    ["name", "fence", "held_by", "since", "expires_at", "seen_at", "waiting", "resign_asked", "progress"];

async fn ls(global: &Global) -> Result<u8> {
    let rows = source::rows(global, LIST, &[]).await?;
    Out::new(global.json, false).rows(&FIELDS, &rows)?;
    Ok(OK)
}

async fn show(global: &Global, args: NameArgs) -> Result<u8> {
    let rows: Vec<Value> = source::rows(global, SHOW, &[(&args.name, Type::TEXT)]).await?;
    let Some(row) = rows.first() else {
        return Err(Failure::NotFound(format!("there is no lease {:?}", args.name)));
    };
    let fields: Vec<&str> = FIELDS.into_iter().chain(["waiters"]).collect();
    Out::new(global.json, false).object(&fields, row)?;
    Ok(OK)
}

async fn watch(global: &Global, args: NameArgs) -> Result<u8> {
    let trunkline = source::choose(global).await?.trunkline().await?;
    let mut watch = trunkline.leases().watch(&args.name);
    let out = Out::new(global.json, false);
    loop {
        let now = watch.next().await?;
        let since = now.since.map(|at| humantime::format_rfc3339_micros(at).to_string());
        if out.json {
            out.json(
                &json!({ "name": args.name, "fence": now.fence, "held_by": now.held_by, "since": since }),
            )?;
        } else {
            let held_by = now.held_by.unwrap_or_default();
            let (held_by, since) = (out::escaped(&held_by, true), since.unwrap_or_default());
            out.line(&format!("{}\t{}\t{held_by}\t{since}", args.name, now.fence))?;
        }
    }
}

async fn resign(global: &Global, args: ResignArgs) -> Result<u8> {
    if args.force {
        confirm(global, &format!("take the lease {:?} away from its holder", args.name))?;
    }
    let held: bool =
        source::one(global, RESIGN, &[(&args.name, Type::TEXT), (&args.force, Type::BOOL)]).await?;
    if !held {
        return Err(Failure::NotFound(format!("nobody holds the lease {:?}", args.name)));
    }
    said(global.json, &json!({ "lease": args.name, "forced": args.force }))
}
