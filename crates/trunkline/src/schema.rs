//! The schema `trunkline`: install, upgrade, check, print and uninstall it.
//!
//! Structure (tables, types, indexes) is versioned and append-only; functions are replaced as a whole on every
//! install. One transaction under one advisory lock does everything, so any number of installers may start at once,
//! twice changes nothing, and a failure leaves what was there.
//!
//! A function file whose name ends in `_e.sql` serves the ephemeral ring and is installed a second time for the
//! durable one, with every `_e` of our own names read as `_d`.

use std::fmt::Write as _;

use include_dir::{Dir, File, include_dir};
use tokio_postgres::{Client, Transaction};

use crate::{Error, ErrorKind, Result};

static SQL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sql");

/// The oldest library that the functions of this version still serve.
const OLDEST_LIBRARY: &str = "0.1.0";
/// The names that differ between the ephemeral and the durable ring.
const TWINS: [&str; 6] = ["request_", "take_", "ending_", "lane_", "again_", "log_id_"];

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
/// [`ErrorKind::Schema`] when the schema is newer than this library, [`ErrorKind::Conflict`] when a schema of this name
/// is there that is not ours, [`ErrorKind::Denied`] when the role may not create it.
pub async fn install(client: &mut Client) -> Result<Installed> {
    let tx = client.build_transaction().start().await?;
    tx.batch_execute("set local search_path = pg_catalog, pg_temp; set local client_min_messages = warning; set local lock_timeout = 0")
        .await?;
    tx.batch_execute("select pg_advisory_xact_lock(1953656429, 0)").await?;
    let from = installed(&tx).await?;
    let to = version();
    if from > to {
        return Err(newer(from));
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
    tx.commit().await?;
    Ok(Installed { from, to })
}

/// Compares the schema in the database with this library.
///
/// # Errors
/// [`ErrorKind::Schema`] when it is missing, older or newer, with the next step in the message; [`ErrorKind::Epoch`]
/// when the database was restored or failed over since.
pub async fn check(client: &Client) -> Result<i32> {
    let rows = client.query_typed("select to_regclass('trunkline.schema_info') is not null", &[]).await?;
    if !rows.first().is_some_and(|r| r.get::<_, bool>(0)) {
        return Err(Error::new(
            ErrorKind::Schema,
            "there is no trunkline schema here; run: trunkline schema install",
        ));
    }
    let rows = client.query_typed("select trunkline._schema_version()", &[]).await?;
    let found: i32 = rows.first().map_or(0, |r| r.get(0));
    match found.cmp(&version()) {
        std::cmp::Ordering::Greater => Err(newer(found)),
        std::cmp::Ordering::Less => Err(Error::new(
            ErrorKind::Schema,
            format!(
                "the schema has version {found}, this library needs {}; run: trunkline schema upgrade",
                version()
            ),
        )),
        std::cmp::Ordering::Equal => {
            client.query_typed("select trunkline._epoch_check()", &[]).await?;
            Ok(found)
        }
    }
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

/// Removes the schema and everything in it: messages, channels, leases. The roles stay.
///
/// # Errors
/// [`ErrorKind::Denied`] when the role does not own it.
pub async fn uninstall(client: &Client) -> Result<()> {
    Ok(client.batch_execute("drop schema if exists trunkline cascade").await?)
}

fn structure() -> Vec<&'static File<'static>> {
    let mut files: Vec<_> = SQL.get_dir("structure").map(|d| d.files().collect()).unwrap_or_default();
    files.sort_by_key(|f| f.path());
    files
}

/// Every function with the file it comes from, the durable twins included.
pub(crate) fn functions() -> Vec<(&'static File<'static>, String)> {
    let mut files: Vec<_> = function_files().collect();
    files.sort_by_key(|f| f.path());
    files
        .into_iter()
        .flat_map(|file| {
            let sql = text(file).to_owned();
            let durable = twin_name(file).map(|_| (file, durable_twin(&sql)));
            std::iter::once((file, sql)).chain(durable)
        })
        .collect()
}

fn function_files() -> impl Iterator<Item = &'static File<'static>> {
    SQL.get_dir("functions").into_iter().flat_map(|d| d.dirs().flat_map(Dir::files))
}

/// The function's name, when it exists for both rings.
fn twin_name(file: &File<'_>) -> Option<String> {
    let stem = file.path().file_stem()?.to_string_lossy().into_owned();
    stem.ends_with("_e").then_some(stem)
}

/// The durable ring's text of a function that was written for the ephemeral one.
fn durable_twin(sql: &str) -> String {
    let mut out = sql.to_owned();
    for name in TWINS {
        for tail in ["e0", "e1", "e"] {
            let from = format!("{name}{tail}");
            let to = format!("{name}d{}", &tail[1..]);
            out = replace_word(&out, &from, &to);
        }
    }
    for twin in function_files().filter_map(twin_name) {
        let durable = format!("{}d", &twin[..twin.len() - 1]);
        out = replace_word(&out, &twin, &durable);
    }
    out
}

/// Replaces `from` where it stands as a whole word.
fn replace_word(text: &str, from: &str, to: &str) -> String {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        out.push_str(before);
        let whole =
            !part(before.chars().next_back().or(out.chars().next_back())) && !part(after.chars().next());
        out.push_str(if whole { to } else { from });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn finish(version: i32) -> String {
    format!(
        "insert into trunkline.schema_info (version, oldest_library) values ({version}, '{OLDEST_LIBRARY}')\n\
         on conflict (only_row) do update set version = excluded.version, oldest_library = excluded.oldest_library;\n\
         insert into trunkline.epoch (epoch, system_identifier, timeline)\n\
         select 1, system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) from pg_control_system()\n\
         where not exists (select from trunkline.epoch);\n\
         revoke all on all functions in schema trunkline from public;\n\
         revoke all on all procedures in schema trunkline from public;\n{}",
        SQL.get_file("grants.sql").map_or("", |f| text(f))
    )
}

async fn installed(tx: &Transaction<'_>) -> Result<i32> {
    let found = tx
        .query_one(
            "select to_regnamespace('trunkline') is not null, to_regclass('trunkline.schema_info') is not null",
            &[],
        )
        .await?;
    match (found.get(0), found.get(1)) {
        (false, _) => Ok(0),
        (true, false) => Err(Error::new(
            ErrorKind::Conflict,
            "there is a schema \"trunkline\" that is not ours; rename or drop it first",
        )),
        (true, true) => Ok(tx.query_one("select version from trunkline.schema_info", &[]).await?.get(0)),
    }
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
    fn a_durable_twin_names_nothing_of_the_ephemeral_ring() {
        let words = |sql: &str| -> Vec<String> {
            let code: Vec<&str> = sql.lines().filter(|l| !l.trim_start().starts_with("--")).collect();
            code.join(" ").split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
        };
        for file in function_files() {
            let Some(name) = twin_name(file) else { continue };
            let left: Vec<String> = words(&durable_twin(text(file)))
                .into_iter()
                .filter(|w| w.ends_with("_e") || w.ends_with("_e0") || w.ends_with("_e1"))
                .collect();
            assert!(left.is_empty(), "{name}: {left:?}");
        }
    }
}
