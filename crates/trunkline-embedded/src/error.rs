//! What can go wrong, one variant for each thing a caller or a reader does next.
//!
//! Guarantees: every message names the object and the next step. Does not guarantee the wording.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How to get a PostgreSQL by other means; part of several messages.
pub(crate) const INSTALL: &str = "install PostgreSQL: `apt install postgresql` (Debian, Ubuntu), \
    `dnf install postgresql-server` (Fedora, RHEL) or `brew install postgresql@18` (macOS); \
    or name its directory in TRUNKLINE_PG_BIN; or name a mirror of the binaries in TRUNKLINE_PG_MIRROR";

/// Why the private server could not be found, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of the file system or on a process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to which path.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },

    /// No usable PostgreSQL is installed, and none may be fetched.
    #[error("no PostgreSQL {wanted} found{rejected}; {why}; {INSTALL}")]
    NotFound {
        /// The versions that would do, such as `15 or newer`.
        wanted: String,
        /// Why it was not fetched.
        why: String,
        /// Directories that were looked at and refused, with reasons; may be empty.
        rejected: String,
    },

    /// The directory named by the caller or by `TRUNKLINE_PG_BIN` holds no usable PostgreSQL.
    #[error("{} holds no usable PostgreSQL: {reason}; name a directory with `initdb` and `postgres`", dir.display())]
    BadBinaries {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The data were written by another major version than the one named by the caller.
    #[error("the data in {} need PostgreSQL {needs}, but {} is PostgreSQL {found}; name the bin directory of \
        PostgreSQL {needs}, or move the data with pg_upgrade or pg_dump", data_dir.display(), bin_dir.display())]
    WrongMajor {
        /// Where the data are.
        data_dir: PathBuf,
        /// The major version that wrote them.
        needs: u32,
        /// The programs that were named.
        bin_dir: PathBuf,
        /// Their major version.
        found: u32,
    },

    /// PostgreSQL does not run as root, and there is no other user to run it as.
    #[error(
        "PostgreSQL does not run as root and there is no user {tried} to run it as; create one: {}",
        create_user()
    )]
    NoUser {
        /// The names that were looked up.
        tried: String,
    },

    /// The server's user cannot get to the data directory.
    #[error("the server runs as user `{user}`, who may not enter {}; choose a data directory that this user can \
        reach, such as /var/lib/trunkline", blocked.display())]
    Unreachable {
        /// The user the server would run as.
        user: String,
        /// The directory, or the parent of it, that is closed.
        blocked: PathBuf,
    },

    /// The data directory holds something else.
    #[error("{} holds files that are not ours; name an empty directory or one that does not exist yet", dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
    },

    /// A directory for the socket is not private, so that others could pose as the server.
    #[error("{} cannot hold the server's socket: {reason}; remove it, or set XDG_RUNTIME_DIR to a directory of \
        your own", dir.display())]
    UnsafeSocketDir {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A setting cannot be used.
    #[error("setting `{name}`: {reason}")]
    Setting {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// `initdb` failed.
    #[error("initdb failed for {}: {output}", data_dir.display())]
    Initdb {
        /// Where the data should have gone; nothing is left there.
        data_dir: PathBuf,
        /// What it said.
        output: String,
    },

    /// The server ended while starting.
    #[error("PostgreSQL did not start ({reason}); the end of {}:\n{tail}", log.display())]
    Start {
        /// Its exit status.
        reason: String,
        /// The log file.
        log: PathBuf,
        /// What this start wrote to it, at most the last lines.
        tail: String,
    },

    /// The server runs, but not as asked for.
    #[error("the server running on {} {differs}; stop it first to start it with other settings", data_dir.display())]
    Differs {
        /// Where its data are.
        data_dir: PathBuf,
        /// In what it differs.
        differs: String,
    },

    /// Something holds the data directory that is not a server of ours: a server in another container, or
    /// `postgres --single`.
    #[error("another process ({process}) uses {}; end it first: two servers on the same data destroy them",
        data_dir.display())]
    Occupied {
        /// Where the data are.
        data_dir: PathBuf,
        /// What is known of it.
        process: String,
    },

    /// Waiting took longer than the limit. Nothing was killed.
    #[error("gave up after {after:?} waiting for {what}; it goes on: try again, or look at {}", log.display())]
    Timeout {
        /// What was waited for.
        what: String,
        /// The limit.
        after: Duration,
        /// The server's log file.
        log: PathBuf,
    },

    /// The archive could not be fetched or was refused. Nothing of it is left.
    #[error("could not fetch {what} from {from}: {reason}; {INSTALL}")]
    Fetch {
        /// The file.
        what: String,
        /// Where it was asked for.
        from: String,
        /// What went wrong.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn path(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what: format!("{what} {}", path.display()), source }
    }
}

fn create_user() -> &'static str {
    if cfg!(target_os = "macos") {
        "`sysadminctl -addUser trunkline -roleAccount -UID 499`"
    } else {
        "`useradd --system --no-create-home --shell /usr/sbin/nologin trunkline`"
    }
}
