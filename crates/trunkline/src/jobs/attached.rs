//! Tables of the application whose rows are jobs: attaching one, and letting it go.
//!
//! Guarantee: each is one transaction. It waits for who writes to the table, on a session of its own, so that nothing else of
//! this process waits with it. What if it dies here: the server rolls back, and the table is as it was.
//!
//! # How a row and its jobs keep together
//!
//! ```text
//!           insert, or update to `new`:             take              done
//!           a job, in that transaction         ┌───────────▶ running ─────────▶ success
//!    (row) ──────────────────────────▶ new ────┘              │   │   dead, cancelled
//!                                       ▲                     │   └──────────▶ error
//!                                       │   failed, snoozed,  │
//!                                       └─────────────────────┘   handed back: it waits again
//!    reset to `new` by the application, in any state: another job, behind those of the row that are open
//! ```
//!
//! An attached table has two triggers, which push a held job with the values of the row's primary key (`origin`, `origin_row`). Each becoming
//! `new` is one job; jobs of one row have one key, so one runs at a time and none is lost. One that would come again ends when a younger
//! one waits (`_job_attached_again`). Every change of a held job's state passes through one trigger (`_job_attached_changed`; a look at a
//! null column for all other jobs), which brings the row's status up to date: **first the row's lock, without waiting, then a fresh look
//! at its jobs**, the newest that is open or else the one that ended last. So the status does not depend on who writes it or how often.
//! Where the row is locked, or it fails, a note goes into `job_unwritten`, and workers and the daemon make up for it. Whoever changed a
//! job of the row and could not have its lock has left a note; whoever had the lock saw all that was committed.
//!
//! Locks: an application has its row and then only inserts; a worker has jobs and then takes rows only if they are free. Nobody waits in a
//! circle. Our own write fires no job: it says in the transaction which row it writes.
//!
//! Rights: what reads or writes the row runs in a function that is the table owner's (`_job_attached_make`), because triggers, types and
//! operators of the table are his programs. What he could put off to the end of the transaction, where it would run with the session's
//! rights, is done at once, alone (`_job_attached_write`).
//!
//! | who dies, where | what happens |
//! |---|---|
//! | the application, before its commit | neither row nor job |
//! | worker, after its take | its job waits again, and the row is `new`, in the transaction that buries it |
//! | worker, between an end and its commit | neither end nor status |
//! | who makes up for a note, before its commit | the note is there, and the next one does it |
//! | the table: dropped, altered, of another owner | jobs go on; notes say why, and are forgotten with the table |

use tokio_postgres::{
    Transaction,
    types::{ToSql, Type},
};

use super::Jobs;
use crate::{Error, ErrorKind, Result};

const FIND: &str = "select to_regclass($1)::oid";
const ATTACH: &str =
    "select trunkline.job_attach(relation => $1::oid::regclass, queue => $2, status_column => $3,
    payload_column => $4, key_column => $5, kind => $6, priority => $7, max_attempts => $8, existing => $9)";
const DETACH: &str = "select trunkline.job_detach($1::oid::regclass)";

/// A table whose rows are to be jobs, and how they are to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    table: String,
    queue: String,
    status: String,
    payload: Option<String>,
    key: Option<String>,
    kind: Option<String>,
    priority: u8,
    max_attempts: Option<i32>,
    existing: bool,
}

impl Attach {
    /// The rows of this table, named as PostgreSQL reads it (`mails`, `app.mails`), are jobs of this queue. A row's payload is all of
    /// it as JSON, and its status is in the column `status`, unless told.
    pub fn new(table: impl Into<String>, queue: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            queue: queue.into(),
            status: "status".into(),
            payload: None,
            key: None,
            kind: None,
            priority: 5,
            max_attempts: None,
            existing: false,
        }
    }

    /// The column that says new, running, success or error: of text, or of an enum with these words.
    #[must_use]
    pub fn status(mut self, column: impl Into<String>) -> Self {
        self.status = column.into();
        self
    }

    /// The column that is the payload, instead of the whole row.
    #[must_use]
    pub fn payload(mut self, column: impl Into<String>) -> Self {
        self.payload = Some(column.into());
        self
    }

    /// The column that is the key: jobs of one key run one at a time, in order.
    #[must_use]
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.key = Some(column.into());
        self
    }

    /// The kind of the jobs, instead of the table's name.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// From 1, which goes first, to 9; 5 unless told.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// How often a job is tried before its row is an error: 1 to 10,000, the queue's unless told.
    #[must_use]
    pub fn max_attempts(mut self, most: u16) -> Self {
        self.max_attempts = Some(most.into());
        self
    }

    /// Makes jobs of the rows that are new already, too.
    #[must_use]
    pub fn existing(mut self) -> Self {
        self.existing = true;
        self
    }
}

/// The table of a name.
async fn find(tx: &Transaction<'_>, table: &str) -> Result<u32> {
    let rows = tx.query_typed(FIND, &[(&table, Type::TEXT)]).await?;
    let found: Option<u32> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no table {table}")))
}

impl Jobs {
    /// Makes jobs of a table's rows, from now on: of each that is inserted with the status `new`, or gets it, in the transaction that
    /// writes it; their status is written back. How many jobs were made of rows that are there. For the table's owner.
    ///
    /// Waits for the transactions that write to the table. Dropping the future rolls back, unless the commit was sent.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a table that is not there, [`ErrorKind::Denied`] for who does not own it,
    /// [`ErrorKind::Conflict`] when it is attached, [`ErrorKind::Invalid`] for one without a primary key, for a column that it has
    /// not, and for what is out of its limits.
    pub async fn attach(&self, attach: Attach) -> Result<u64> {
        let made: i64 = self
            .engine
            .pool
            .transaction(async |tx: &Transaction<'_>| {
                let table = find(tx, &attach.table).await?;
                let priority = i32::from(attach.priority);
                let args: [(&(dyn ToSql + Sync), Type); 9] = [
                    (&table, Type::OID),
                    (&attach.queue, Type::TEXT),
                    (&attach.status, Type::TEXT),
                    (&attach.payload, Type::TEXT),
                    (&attach.key, Type::TEXT),
                    (&attach.kind, Type::TEXT),
                    (&priority, Type::INT4),
                    (&attach.max_attempts, Type::INT4),
                    (&attach.existing, Type::BOOL),
                ];
                let rows = tx.query_typed(ATTACH, &args).await?;
                Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
            })
            .await?;
        Ok(u64::try_from(made).unwrap_or(0))
    }

    /// Makes no more jobs of a table's rows. Those that wait or run go on, and nothing is written back any more.
    ///
    /// Waits as [`Jobs::attach`] does.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a table that is not there, or not attached; [`ErrorKind::Denied`] for who does not own it.
    pub async fn detach(&self, table: &str) -> Result<()> {
        self.engine
            .pool
            .transaction(async |tx: &Transaction<'_>| {
                let table = find(tx, table).await?;
                tx.query_typed(DETACH, &[(&table, Type::OID)]).await?;
                Ok(())
            })
            .await
    }
}
