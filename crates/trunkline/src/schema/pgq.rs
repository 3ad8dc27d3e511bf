//! The adapter for programs of PgQ: schemas `pgq` and `pgq_coop` with PgQ's interface, without its extension.
//!
//! Installed beside the schema `trunkline` and in one transaction with it, in databases where nothing else has these names.
//! Its structure is versioned as a whole, its functions are replaced on every install, and those that are written for each
//! queue are written anew.

use include_dir::File;
use tokio_postgres::{Client, Transaction};

use super::{Installed, SQL, hash, in_file, install_in, text};
use crate::{Error, ErrorKind, Result};

/// The version of the adapter's structure that this library brings.
const VERSION: i32 = 1;

/// What [`install_pgq`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PgqInstalled {
    /// What became of the schema `trunkline`.
    pub schema: Installed,
    /// The version of the adapter found: 0 when there was none.
    pub from: i32,
    /// The version now.
    pub to: i32,
}

/// The version of the adapter for PgQ that this library brings.
#[must_use]
pub fn pgq_version() -> i32 {
    VERSION
}

/// Installs the schema as [`install`](super::install) does, and the adapter for PgQ; twice changes nothing. One transaction.
///
/// Its roles `pgq_reader`, `pgq_writer` and `pgq_admin` are made when the role may make roles.
///
/// # Errors
/// Those of [`install`](super::install); [`ErrorKind::Conflict`] when PgQ itself, or another schema of its name, is there.
pub async fn install_pgq(client: &mut Client) -> Result<PgqInstalled> {
    let tx = client.build_transaction().start().await?;
    let schema = install_in(&tx).await?;
    let from = found(&tx).await?;
    if from == 0 {
        tx.batch_execute("create schema pgq; create schema pgq_coop").await?;
        if let Some(file) = SQL.get_file("pgq/structure.sql") {
            tx.batch_execute(text(file)).await.map_err(|e| in_file(file, &e))?;
        }
    }
    tx.batch_execute("lock table pgq._guard in share row exclusive mode").await?;
    for file in functions() {
        tx.batch_execute(text(file)).await.map_err(|e| in_file(file, &e))?;
    }
    tx.batch_execute(&finish()).await?;
    tx.commit().await?;
    Ok(PgqInstalled { schema, from, to: VERSION })
}

/// Compares the adapter in the database with this library: its version, `None` where there is none.
///
/// # Errors
/// [`ErrorKind::Schema`] when it is of another version than this library's.
pub async fn check_pgq(client: &Client) -> Result<Option<i32>> {
    const PRESENT: &str = "select to_regclass('pgq._info') is not null";
    let rows = client.query_typed(PRESENT, &[]).await?;
    if !rows.first().is_some_and(|r| r.try_get(0).unwrap_or(false)) {
        return Ok(None);
    }
    let rows = client.query_typed("select version, structure from pgq._info", &[]).await?;
    let Some(row) = rows.first() else { return fits(0, "").map(|()| None) };
    fits(row.try_get(0)?, row.try_get(1)?)?;
    Ok(Some(row.try_get(0)?))
}

/// The installation of the adapter as one SQL script, to be run after that of [`print`](super::print).
#[must_use]
pub fn print_pgq() -> String {
    let mut out = String::from(
        "-- trunkline's adapter for PgQ, to be run by psql --single-transaction -v ON_ERROR_STOP=1\n\
         set local search_path = pg_catalog, pg_temp;\n\
         create schema pgq;\ncreate schema pgq_coop;\n\n",
    );
    for file in SQL.get_file("pgq/structure.sql").into_iter().chain(functions()) {
        out.push_str(text(file));
        out.push('\n');
    }
    out.push_str(&finish());
    out
}

/// Removes the adapter: all queues with their events, and the triggers that feed them. The roles stay.
///
/// Does nothing where there is none; PgQ itself is left alone.
///
/// # Errors
/// [`ErrorKind::Denied`] when the role does not own it.
pub async fn uninstall_pgq(client: &Client) -> Result<()> {
    const OURS: &str = "select to_regclass('pgq._info') is not null";
    let rows = client.query_typed(OURS, &[]).await?;
    if rows.first().is_some_and(|r| r.try_get(0).unwrap_or(false)) {
        client.batch_execute("drop schema if exists pgq_coop cascade; drop schema pgq cascade").await?;
    }
    Ok(())
}

/// The version that is there, 0 for none; whatever else has the name is refused.
async fn found(tx: &Transaction<'_>) -> Result<i32> {
    const FOUND: &str = "select exists (select from pg_extension where extname in ('pgq', 'pgq_coop')), \
        to_regnamespace('pgq') is not null or to_regnamespace('pgq_coop') is not null, to_regclass('pgq._info') is not null";
    let row = tx.query_one(FOUND, &[]).await?;
    let refused = |text: &'static str| Err(Error::new(ErrorKind::Conflict, text));
    match (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) {
        (true, _, _) => {
            refused("PgQ itself is in this database, as an extension; its programs need no adapter here")
        }
        (false, true, false) => {
            refused("there is a schema \"pgq\" or \"pgq_coop\" that is not ours; rename or drop it first")
        }
        (false, false, _) => Ok(0),
        (false, true, true) => {
            let row = tx.query_one("select version, structure from pgq._info", &[]).await?;
            fits(row.try_get(0)?, row.try_get(1)?)?;
            Ok(row.try_get(0)?)
        }
    }
}

fn fits(version: i32, structure: &str) -> Result<()> {
    if (version, structure) == (VERSION, fingerprint().as_str()) {
        return Ok(());
    }
    let text = format!(
        "the adapter for PgQ has version {version}, structure {structure}; this library brings {VERSION}, {}",
        fingerprint()
    );
    Err(Error::new(ErrorKind::Schema, text))
}

fn fingerprint() -> String {
    hash(SQL.get_file("pgq/structure.sql").map_or("", |f| text(f)).bytes())
}

fn functions() -> Vec<&'static File<'static>> {
    let mut files: Vec<_> =
        SQL.get_dir("pgq").into_iter().flat_map(|d| d.dirs().flat_map(include_dir::Dir::files)).collect();
    files.sort_by_key(|f| f.path());
    files
}

fn finish() -> String {
    format!(
        "insert into pgq._info (version, structure, system, timeline)\n\
         select {VERSION}, '{}', system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)\n\
         from pg_control_system() on conflict (only_row) do nothing;\n\
         do $$ begin perform pgq._dispatch(); perform pgq._dispatch_triggers(); end $$;\n{}",
        fingerprint(),
        SQL.get_file("pgq/grants.sql").map_or("", |f| text(f))
    )
}
