//! What endangers messages on this server, who is in the way, and the command that mends it.
//!
//! Each check is a query of `sql/doctor`, which can be run in psql too (`$1`: seconds); beside them stand what only a client can
//! see: a pooler, its own clock, and whether the objects of the schema are those of this library.
//! Guarantees: nothing is written; a check that fails is a finding itself, and stops no other. What the role may not see is said
//! (check `hidden`), not left out. Does not guarantee that a database without findings is fast.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio_postgres::{Client, types::Type};

use crate::{Error, ErrorKind, Result, connect::Server, schema};

mod objects;

/// How far apart the clocks may be.
const SKEW: Duration = Duration::from_secs(2);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// Good to know; nothing is wrong.
    Note,
    /// It costs speed or space, or will be a danger.
    Warning,
    /// Messages are in danger, or do not flow.
    Critical,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// Something that was found, what follows from it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which check found it: the name of its query in `sql/doctor`, or `connection`, `schema`, `objects`, `pooler`, `clock`.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What it is about, where there may be several: a session, a setting, a table.
    pub object: Option<String>,
    /// What was found.
    pub finding: String,
    /// What follows from it.
    pub consequence: String,
    /// The command that mends it.
    pub remedy: String,
}

impl Finding {
    fn new(check: &str, level: Level, finding: impl Into<String>, consequence: &str, remedy: &str) -> Self {
        Self {
            check: check.to_owned(),
            level,
            object: None,
            finding: finding.into(),
            consequence: consequence.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    fn about(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// A database that cannot be connected to, or whose schema does not fit, as a finding.
    #[must_use]
    pub fn of_error(e: &Error) -> Self {
        let (check, remedy) = match e.kind() {
            ErrorKind::Schema => {
                ("schema", "trunkline schema install  -- or upgrade the program, where that is older")
            }
            ErrorKind::Epoch => ("schema", "trunkline schema repair"),
            ErrorKind::Denied => (
                "connection",
                "check the role and its password, and: select trunkline.grant_to('role', 'reader');",
            ),
            ErrorKind::Unsupported => {
                ("connection", "connect to a writable primary of PostgreSQL 15 or later")
            }
            ErrorKind::Config => ("connection", "correct the settings of the connection"),
            _ => ("connection", "start the server, and check host, port and network"),
        };
        Self::new(check, Level::Critical, e.to_string(), "no program of trunkline works here", remedy)
    }
}

/// Looks for everything, the worst first. `old`: how long a transaction may be open, or a session be over, before it is told.
///
/// Works in a database whose schema is missing or damaged too. Reads; takes some ten statements.
///
/// # Errors
/// [`ErrorKind::Unreachable`] when the connection breaks.
pub async fn examine(client: &Client, server: &Server, old: Duration) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    pooler(server, &mut found);
    clock(client, &mut found).await?;
    match schema::check(client).await {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::Unreachable => return Err(e),
        Err(e) => found.push(Finding::of_error(&e)),
    }
    objects::examine(client, &mut found).await?;
    for (check, sql) in schema::checks() {
        if let Err(e) = ask(client, check, sql, old, &mut found).await {
            let e = Error::from(e);
            if e.kind() == ErrorKind::Unreachable {
                return Err(e);
            }
            found.push(failed(check, &e));
        }
    }
    found.sort_by(|a, b| {
        b.level.cmp(&a.level).then_with(|| (&a.check, &a.object).cmp(&(&b.check, &b.object)))
    });
    Ok(found)
}

/// Runs one check.
async fn ask(
    client: &Client,
    check: &str,
    sql: &str,
    old: Duration,
    found: &mut Vec<Finding>,
) -> std::result::Result<(), tokio_postgres::Error> {
    for row in client.query_typed(sql, &[(&old.as_secs_f64(), Type::FLOAT8)]).await? {
        found.push(Finding {
            check: check.to_owned(),
            level: match row.try_get("level")? {
                "critical" => Level::Critical,
                "warning" => Level::Warning,
                _ => Level::Note,
            },
            object: row.try_get("object")?,
            finding: row.try_get("finding")?,
            consequence: row.try_get("consequence")?,
            remedy: row.try_get("remedy")?,
        });
    }
    Ok(())
}

/// A check that could not be made. Those that ask functions of ours say so by `schema` and `objects` where these are not there.
fn failed(check: &str, e: &Error) -> Finding {
    let remedy = match e.kind() {
        ErrorKind::Denied => "select trunkline.grant_to('role', 'reader');",
        _ => "trunkline schema install",
    };
    Finding::new(
        check,
        Level::Warning,
        format!("it could not be looked: {e}"),
        "what this check finds is not known",
        remedy,
    )
}

fn pooler(server: &Server, found: &mut Vec<Finding>) {
    if server.pooled {
        found.push(Finding::new(
            "pooler",
            Level::Warning,
            "a pooler stands before the server",
            "LISTEN and session locks are lost there: processes look once a second, and find messages late",
            "give trunkline a direct connection to the server, or one through a pool in session mode of its own",
        ));
    }
}

/// The server's clock against ours, as near as the time of a statement allows.
async fn clock(client: &Client, found: &mut Vec<Finding>) -> Result<()> {
    let before = SystemTime::now();
    let rows = client.query_typed("select clock_timestamp()", &[]).await?;
    let took = before.elapsed().unwrap_or_default();
    let Some(Ok(theirs)) = rows.first().map(|r| r.try_get::<_, SystemTime>(0)) else { return Ok(()) };
    let ours = before + took / 2;
    let apart = theirs.duration_since(ours).or_else(|_| ours.duration_since(theirs)).unwrap_or_default();
    if apart > SKEW + took {
        let finding = format!("the server's clock and this machine's are {:.1} s apart", apart.as_secs_f64());
        found.push(Finding::new(
            "clock",
            Level::Warning,
            finding,
            "times in logs do not fit together; deadlines and schedules go by the server's clock",
            "timedatectl set-ntp true  -- on both machines",
        ));
    }
    Ok(())
}
