//! What a fresh session is asked before it is used: is this a PostgreSQL that we can work with, and which one.
//!
//! One simple statement, so that it passes through any pooler. It refuses servers before version 15, standbys,
//! read-only sessions, and databases of the encoding SQL_ASCII. It tells a pooler by comparing the backend's process id with the one in the cancel key: a
//! server hands out its own, a pooler must make up another one, whatever its pool is doing. A pooler in session mode
//! looks the same and is treated the same; give trunkline a direct connection instead.

use super::driver::Driver;
use crate::{Error, ErrorKind, Result};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// `current_setting(…, true)` and the CASE keep it free of errors on old servers and on standbys.
const CHECK: &str = "select current_setting('server_version_num'), \
    case when pg_catalog.pg_is_in_recovery() then 'standby' \
         when current_setting('transaction_read_only') = 'on' then 'read-only' else 'primary' end, \
    (select system_identifier from pg_catalog.pg_control_system()), \
    case when pg_catalog.pg_is_in_recovery() then null \
         else substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) end, \
    pg_catalog.pg_backend_pid(), \
    current_setting('trunkline.settings', true), current_setting('server_encoding')";

/// The oldest server that is served.
const OLDEST: u32 = 150_000;

/// The server behind a session, as seen when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// As `server_version_num`: 150008 is 15.8.
    pub version: u32,
    /// The cluster's system identifier; differs after a dump and restore.
    pub system: u64,
    /// The timeline; grows at each promotion.
    pub timeline: u32,
    /// The backend that answered; through a pooler, the next statement may meet another one.
    pub backend_pid: i32,
    /// A pooler is in between: no LISTEN, no session locks, no prepared statements, no SET.
    pub pooled: bool,
    /// The settings of our own sessions are in force; false behind poolers that drop them.
    pub settings_applied: bool,
}

/// `key` is the session's cancel request, which holds the process id that was handed out.
pub(super) async fn check(client: &Client, driver: &mut Driver, key: &[u8; 16]) -> Result<Server> {
    let answer = async { Ok(client.simple_query(CHECK).await?) };
    let messages = driver.run(answer).await?;
    let row = messages.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| Error::new(ErrorKind::Other, "the server's facts came back empty"))?;
    let version: u32 = number(row, 0)?;
    if version < OLDEST {
        let major = version / 10_000;
        return Err(unsupported(format!("the server is PostgreSQL {major}; version 15 or later is needed")));
    }
    match row.get(1) {
        Some("primary") => {}
        Some("standby") => {
            return Err(unsupported("the server is a standby and takes no writes; connect to the primary"));
        }
        _ => return Err(unsupported("the session is read-only (default_transaction_read_only)")),
    }
    if row.get(6) == Some("SQL_ASCII") {
        return Err(unsupported(
            "the database has the encoding SQL_ASCII, where text may be any bytes; make one with the encoding UTF8",
        ));
    }
    let timeline = row.get(3).and_then(|t| u32::from_str_radix(t, 16).ok()).ok_or_else(odd)?;
    let backend_pid: i32 = number(row, 4)?;
    let pooled = key[8..12] != backend_pid.to_be_bytes();
    let settings_applied = row.get(5) == Some("on");
    Ok(Server { version, system: number(row, 2)?, timeline, backend_pid, pooled, settings_applied })
}

fn unsupported(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

fn odd() -> Error {
    Error::new(ErrorKind::Other, "the server answered in an unknown form")
}

fn number<T: std::str::FromStr>(row: &SimpleQueryRow, column: usize) -> Result<T> {
    row.get(column).and_then(|t| t.parse().ok()).ok_or_else(odd)
}
