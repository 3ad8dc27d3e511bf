//! The schema `trunkline`: install, upgrade, check, print and uninstall it.
//!
//! Structure (tables, types, indexes) is versioned and append-only; functions are replaced as a whole on every
//! install. One transaction under one advisory lock does everything, so any number of installers may start at once,
//! twice changes nothing, and a failure leaves what was there.
//!
//! A function file whose name ends in `_e.sql` serves the ephemeral ring and is installed again for the durable one, with
//! every `_e` of our own names read as `_d`; one that ends in `_e0.sql` serves one segment, and is installed for all four.

use std::{cmp::Ordering, collections::HashSet, fmt::Write as _, sync::LazyLock};

use include_dir::{Dir, File, include_dir};
use tokio_postgres::{Client, Transaction, error::SqlState};

use crate::{Error, ErrorKind, Result};

mod pgq;

pub use pgq::{PgqInstalled, check_pgq, install_pgq, pgq_version, print_pgq, uninstall_pgq};

static SQL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sql");

/// The version of this library.
const LIBRARY: &str = env!("CARGO_PKG_VERSION");
/// The oldest library that the functions of this version still serve.
const OLDEST_LIBRARY: &str = "0.1.0";
/// The tables and sequences that exist for each ring or segment, without the tail that tells which.
const TABLES: [&str; 10] =
    ["request", "take", "ending", "own_ending", "again", "log_id", "job", "job_slice", "job_done", "job_end"];

/// Tells this library's functions, views and rights from those of any other state of it.
static FUNCTIONS: LazyLock<String> = LazyLock::new(|| {
    let functions = function_files().map(text).chain([top("grants.sql")]);
    let mut texts: Vec<_> = functions.collect();
    texts.sort_unstable();
    hash(texts.into_iter().flat_map(str::bytes))
});

/// The schema version that this library brings.
#[must_use]
pub fn version() -> i32 {
    i32::try_from(structure().len()).unwrap_or(i32::MAX)
}

/// What [`install`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Installed {
    /// The version found: 0 when there was no schema.
    pub from: i32,
    /// The version now.
    pub to: i32,
}

/// Installs the schema, or brings it up to this library's version; does nothing but replace functions when it is there.
///
/// Needs the right to create a schema in the database; superuser rights are not needed. One transaction.
///
/// # Errors
/// [`ErrorKind::Schema`] when the schema is newer than this library, or of a state that was never released;
/// [`ErrorKind::Conflict`] when a schema of this name is there that is not ours, [`ErrorKind::Denied`] when the role may not create it.
pub async fn install(client: &mut Client) -> Result<Installed> {
    let tx = client.build_transaction().start().await?;
    let done = install_in(&tx).await?;
    tx.commit().await?;
    Ok(done)
}

/// The installation, in a transaction of the caller's.
async fn install_in(tx: &Transaction<'_>) -> Result<Installed> {
    tx.batch_execute("set local search_path = pg_catalog, pg_temp; set local client_min_messages = warning; set local lock_timeout = 0")
        .await?;
    tx.batch_execute("select pg_advisory_xact_lock(1953656429, 0)").await?;
    let (from, structure_of) = installed(tx).await?;
    let to = version();
    if from > to {
        return Err(newer(from));
    }
    if from > 0 && structure_of.as_deref() != Some(&fingerprint(from)) {
        return Err(unreleased());
    }
    if from == 0 {
        tx.batch_execute("create schema trunkline").await?;
    }
    for file in structure().iter().skip(usize::try_from(from).unwrap_or(0)) {
        tx.batch_execute(text(file)).await.map_err(|e| in_file(file, &e))?;
    }
    for (file, sql) in functions() {
        tx.batch_execute(&sql).await.map_err(|e| in_file(file, &e))?;
    }
    tx.batch_execute(&finish(to)).await?;
    Ok(Installed { from, to })
}

/// Compares the schema in the database with this library.
///
/// # Errors
/// [`ErrorKind::Schema`] when it is missing, older or newer, or has functions of another state of this library, with the next step in the message; [`ErrorKind::Epoch`]
/// when the database was restored or failed over since.
pub async fn check(client: &Client) -> Result<i32> {
    let rows = client.query_typed("select to_regclass('trunkline.schema_info') is not null", &[]).await?;
    if !rows.first().is_some_and(|r| r.try_get(0).unwrap_or(false)) {
        return Err(Error::new(
            ErrorKind::Schema,
            "there is no trunkline schema here; run: trunkline schema install",
        ));
    }
    let rows = client.query_typed("select trunkline._schema_version()", &[]).await?;
    let found: i32 = rows.first().and_then(|r| r.try_get(0).ok()).unwrap_or(0);
    match found.cmp(&version()) {
        Ordering::Greater => Err(newer(found)),
        Ordering::Less => {
            Err(older(format!("the schema has version {found}, this library needs {}", version())))
        }
        Ordering::Equal => {
            check_functions(client).await?;
            Ok(found)
        }
    }
}

/// Compares the functions with this library's, and the cluster with the one they were installed in. Functions of a later
/// library serve this one.
async fn check_functions(client: &Client) -> Result<()> {
    const ASKED: &str =
        "select r.functions, r.library, trunkline._epoch_check() from trunkline._schema_release() r";
    let rows = match client.query_typed(ASKED, &[]).await {
        Err(e) if e.code() == Some(&SqlState::UNDEFINED_FUNCTION) => Vec::new(),
        asked => asked?,
    };
    let text =
        |at| rows.first().and_then(|r| r.try_get::<_, Option<&str>>(at).ok().flatten()).unwrap_or_default();
    let (functions, library) = (text(0), text(1));
    if functions == *FUNCTIONS || number(library) > number(LIBRARY) {
        return Ok(());
    }
    let of = if library.is_empty() { "an older" } else { library };
    Err(older(format!("the schema's functions are those of {of} library, not of this {LIBRARY}")))
}

/// A version to compare: each part as a number.
fn number(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// The whole installation as one SQL script, for people who let nobody else run DDL.
#[must_use]
pub fn print() -> String {
    let mut out = String::from(
        "-- trunkline schema, to be run by psql --single-transaction -v ON_ERROR_STOP=1\n\
         set local search_path = pg_catalog, pg_temp;\n\
         select pg_advisory_xact_lock(1953656429, 0);\ncreate schema trunkline;\n\n",
    );
    for file in structure() {
        let _ = writeln!(out, "{}", text(file));
    }
    for (_, sql) in functions() {
        let _ = writeln!(out, "{sql}");
    }
    out.push_str(&finish(version()));
    out
}

/// Removes the schema and everything in it: messages, channels, leases; and the adapter for PgQ with its queues. The roles stay.
///
/// # Errors
/// [`ErrorKind::Denied`] when the role does not own it, [`ErrorKind::Conflict`] when the schema of this name is not ours.
pub async fn uninstall(client: &Client) -> Result<()> {
    const FOREIGN: &str =
        "select to_regnamespace('trunkline') is not null and to_regclass('trunkline.schema_info') is null";
    let rows = client.query_typed(FOREIGN, &[]).await?;
    if rows.first().is_some_and(|r| r.try_get(0).unwrap_or(false)) {
        return Err(foreign());
    }
    uninstall_pgq(client).await?;
    Ok(client.batch_execute("drop schema if exists trunkline cascade").await?)
}

fn structure() -> Vec<&'static File<'static>> {
    let mut files: Vec<_> = SQL.get_dir("structure").map(|d| d.files().collect()).unwrap_or_default();
    files.sort_by_key(|f| f.path());
    files
}

/// Tells the structure of the first so many steps from any other (FNV-1a, 64 bits): steps never change after a release.
fn fingerprint(steps: i32) -> String {
    let steps = usize::try_from(steps).unwrap_or(0);
    hash(structure().into_iter().take(steps).flat_map(|f| text(f).bytes()))
}

fn hash(bytes: impl Iterator<Item = u8>) -> String {
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Every function with the file it comes from, the twins included.
pub(crate) fn functions() -> Vec<(&'static File<'static>, String)> {
    let mut files: Vec<_> = function_files().collect();
    files.sort_by_key(|f| f.path());
    let stems = stems();
    files
        .into_iter()
        .flat_map(|file| {
            let twins: &[&str] = match stem(file) {
                (_, Some("e")) => &["e", "d"],
                (_, Some("e0")) => &["e0", "e1", "d0", "d1"],
                _ => return vec![(file, text(file).to_owned())],
            };
            twins.iter().map(|t| (file, twin(text(file), &stems, t))).collect()
        })
        .collect()
}

/// The name of each check of the doctor, and its query: `sql/doctor`.
pub(crate) fn checks() -> Vec<(&'static str, &'static str)> {
    let name = |f: &'static File<'static>| f.path().file_stem().and_then(std::ffi::OsStr::to_str);
    let files = SQL.get_dir("doctor").into_iter().flat_map(Dir::files);
    let mut checks: Vec<_> = files.filter_map(|f| Some((name(f)?, text(f)))).collect();
    checks.sort_unstable();
    checks
}

/// The texts of the structure's steps, one after the other.
pub(crate) fn structure_text() -> String {
    structure().into_iter().map(text).collect()
}

/// A statement that engines with an owner's rights run by themselves, for a segment: `sql/direct`.
pub(crate) fn direct(name: &str, segment: &str) -> String {
    let sql = SQL.get_file(format!("direct/{name}.sql")).map_or("", |f| text(f));
    twin(sql, &stems(), segment)
}

/// Functions, and what needs them to be there: views and triggers.
fn function_files() -> impl Iterator<Item = &'static File<'static>> {
    let views = SQL.get_dir("views").into_iter().flat_map(Dir::files);
    SQL.get_dir("functions").into_iter().flat_map(|d| d.dirs().flat_map(Dir::files)).chain(views)
}

/// A function's name without what says for which ring and segment it was written, and that.
fn stem(file: &'static File<'static>) -> (&'static str, Option<&'static str>) {
    let name = file.path().file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    ["_e0", "_e"]
        .into_iter()
        .find_map(|tail| Some((name.strip_suffix(tail)?, Some(&tail[1..]))))
        .unwrap_or((name, None))
}

/// The names that differ between rings and segments, without their tails.
fn stems() -> HashSet<&'static str> {
    let functions = function_files().map(stem).filter(|(_, tail)| tail.is_some()).map(|(name, _)| name);
    TABLES.into_iter().chain(functions).collect()
}

/// The text of a function for another ring (`d`), or for another ring and segment (`d1`), than it was written for.
fn twin(sql: &str, stems: &HashSet<&str>, tail: &str) -> String {
    let (ring, segment) = tail.split_at(1);
    let mut out = String::with_capacity(sql.len());
    for word in sql.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_') {
        let (name, end) = match word.char_indices().next_back() {
            Some((at, c)) if !c.is_alphanumeric() && c != '_' => word.split_at(at),
            _ => (word, ""),
        };
        let renamed = ["_e0", "_e1", "_e"].into_iter().find_map(|own| {
            let stem = name.strip_suffix(own).filter(|s| stems.contains(s))?;
            let number = if segment.is_empty() || own == "_e" { &own[2..] } else { segment };
            Some(format!("{stem}_{ring}{number}"))
        });
        out.push_str(renamed.as_deref().unwrap_or(name));
        out.push_str(end);
    }
    out
}

/// A file that is run at each install, after all functions.
fn top(name: &str) -> &'static str {
    SQL.get_file(name).map_or("", |f| text(f))
}

fn finish(version: i32) -> String {
    format!(
        "{}insert into trunkline.schema_info (version, structure, functions, library, oldest_library)\n\
         values ({version}, '{}', '{}', '{LIBRARY}', '{OLDEST_LIBRARY}')\n\
         on conflict (only_row) do update set version = excluded.version, structure = excluded.structure,\n\
         functions = excluded.functions, library = excluded.library, oldest_library = excluded.oldest_library;\n\
         insert into trunkline.epoch (epoch, system_identifier, timeline)\n\
         select 1, system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) from pg_control_system()\n\
         where not exists (select from trunkline.epoch);\n\
         revoke all on all functions in schema trunkline from public;\n\
         revoke all on all procedures in schema trunkline from public;\n{}",
        top("strays.sql"),
        fingerprint(version),
        *FUNCTIONS,
        top("grants.sql")
    )
}

/// The version that is there, 0 for none, and the fingerprint of its structure.
async fn installed(tx: &Transaction<'_>) -> Result<(i32, Option<String>)> {
    const FOUND: &str = "select version, to_jsonb(i) ->> 'structure' from trunkline.schema_info i";
    let found = tx
        .query_one(
            "select to_regnamespace('trunkline') is not null, to_regclass('trunkline.schema_info') is not null",
            &[],
        )
        .await?;
    match (found.try_get(0)?, found.try_get(1)?) {
        (false, _) => Ok((0, None)),
        (true, false) => Err(foreign()),
        (true, true) => {
            let row = tx.query_one(FOUND, &[]).await?;
            Ok((row.try_get(0)?, row.try_get(1)?))
        }
    }
}

fn foreign() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "there is a schema \"trunkline\" that is not ours; rename or drop it first",
    )
}

fn older(what: String) -> Error {
    Error::new(ErrorKind::Schema, what + "; run: trunkline schema upgrade")
}

fn unreleased() -> Error {
    Error::new(
        ErrorKind::Schema,
        "the schema was installed by a state of this library that was never released; run: trunkline schema uninstall, then trunkline schema install",
    )
}

fn newer(found: i32) -> Error {
    Error::new(
        ErrorKind::Schema,
        format!(
            "the schema has version {found}, newer than this library's {}; upgrade the program",
            version()
        ),
    )
    .with_code("TL014")
}

fn in_file(file: &File<'_>, e: &tokio_postgres::Error) -> Error {
    let code = e.code().map_or("", |c| c.code()).to_owned();
    let text = e.as_db_error().map_or_else(|| e.to_string(), |d| d.message().to_owned());
    Error::new(crate::error::kind_of_sqlstate(&code), format!("{}: {text}", file.path().display()))
        .with_code(code)
}

fn text(file: &'static File<'_>) -> &'static str {
    file.contents_utf8().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_names_nothing_of_another_ring_or_segment() {
        let stems = stems();
        for (file, sql) in functions() {
            let code: Vec<&str> = sql.lines().filter(|l| !l.trim_start().starts_with("--")).collect();
            let code = code.join(" ");
            let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            let created = words
                .by_ref()
                .skip_while(|w| *w != "function" && *w != "procedure")
                .nth(2)
                .unwrap_or_default();
            let tail = |w: &str| {
                let (stem, tail) = w.rsplit_once('_')?;
                (stems.contains(stem) && ["e", "d", "e0", "e1", "d0", "d1"].contains(&tail))
                    .then(|| tail.to_owned())
            };
            let Some(own) = tail(created) else { continue };
            let strange: Vec<&str> = words
                .filter(|w| {
                    tail(w).is_some_and(|t| t[..1] != own[..1] || own.len() == 2 && t.len() == 2 && t != own)
                })
                .collect();
            assert!(strange.is_empty(), "{created} of {}: {strange:?}", file.path().display());
        }
    }
}
