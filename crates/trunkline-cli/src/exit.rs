//! What a failure means to a shell: one match from the kind of an error to the exit code.
//!
//! 0 ok · 1 failure · 2 usage · 3 database unreachable · 4 not found · 5 timeout or no responder · 6 conflict or stale ·
//! 7 permission · 8 refused as unsafe · 130 interrupted. A reader of stdout that went away is success.

use std::{
    fmt,
    io::{self, ErrorKind as Io},
    process::ExitCode,
};

use trunkline::{Error, ErrorKind};

pub(crate) const OK: u8 = 0;
pub(crate) const FAILURE: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const NOT_FOUND: u8 = 4;
const TIMEOUT: u8 = 5;
pub(crate) const CONFLICT: u8 = 6;
const PERMISSION: u8 = 7;
const UNSAFE: u8 = 8;
pub(crate) const INTERRUPTED: u8 = 130;
/// Of `check` alone: what a monitor takes for "cannot be told".
pub(crate) const UNKNOWN: u8 = 3;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library or the database said so.
    Library(Error),
    /// The private server said so.
    Private(Box<trunkline_embedded::Error>),
    /// Something is wrong with what was asked.
    Usage(String),
    /// What was named is not there.
    NotFound(String),
    /// It would destroy something and nobody confirmed it.
    Refused(String),
    /// A file, a pipe or a program.
    Io(String, io::Error),
    /// Whoever read our stdout is gone.
    ReaderGone,
}

impl Failure {
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io(what.into(), error)
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Library(e) => of_kind(e.kind()),
            Self::Private(e) => of_private(e),
            Self::Usage(_) => USAGE,
            Self::NotFound(_) => NOT_FOUND,
            Self::Refused(_) => UNSAFE,
            Self::Io(_, e) if e.kind() == Io::PermissionDenied => PERMISSION,
            Self::Io(..) => FAILURE,
            Self::ReaderGone => OK,
        }
    }
}

/// The one table; `docs/operations.md` and the manual page print it.
pub(crate) fn of_kind(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Config | ErrorKind::Invalid => USAGE,
        ErrorKind::Unreachable => UNREACHABLE,
        ErrorKind::NotFound | ErrorKind::Schema => NOT_FOUND,
        ErrorKind::TimedOut | ErrorKind::NoResponder | ErrorKind::Lost => TIMEOUT,
        ErrorKind::Conflict | ErrorKind::Stale | ErrorKind::Epoch => CONFLICT,
        ErrorKind::Denied => PERMISSION,
        _ => FAILURE,
    }
}

fn of_private(e: &trunkline_embedded::Error) -> u8 {
    use trunkline_embedded::Error as E;
    match e {
        E::Setting { .. } | E::BadBinaries { .. } => USAGE,
        E::NotOurs { .. } | E::UnsafeSocketDir { .. } => UNSAFE,
        E::Unreachable { .. } | E::NoUser { .. } => PERMISSION,
        E::Io { source, .. } if source.kind() == Io::PermissionDenied => PERMISSION,
        _ => UNREACHABLE,
    }
}

/// Says on stderr what went wrong, with its causes, and returns the exit code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::ReaderGone) {
        crate::out::fail(&format!("trunkline: {failure}"));
    }
    ExitCode::from(failure.code())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(e) if e.kind() == ErrorKind::Remote => {
                write!(f, "remote error {}: {e}", e.code().unwrap_or("error"))
            }
            Self::Library(e) => {
                write!(f, "{e}")?;
                match e.code() {
                    Some(code) if e.kind() == ErrorKind::Other => write!(f, " (SQLSTATE {code})"),
                    _ => Ok(()),
                }
            }
            Self::Private(e) => write!(f, "{e}"),
            Self::Usage(text) | Self::NotFound(text) | Self::Refused(text) => f.write_str(text),
            Self::Io(what, e) => write!(f, "{what}: {e}"),
            Self::ReaderGone => f.write_str("the reader of the output is gone"),
        }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Library(e)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Library(e.into())
    }
}

impl From<trunkline_embedded::Error> for Failure {
    fn from(e: trunkline_embedded::Error) -> Self {
        Self::Private(Box::new(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_its_code() {
        for (kind, code) in [
            (ErrorKind::Other, 1),
            (ErrorKind::Remote, 1),
            (ErrorKind::Config, 2),
            (ErrorKind::Invalid, 2),
            (ErrorKind::Unreachable, 3),
            (ErrorKind::NotFound, 4),
            (ErrorKind::Schema, 4),
            (ErrorKind::TimedOut, 5),
            (ErrorKind::NoResponder, 5),
            (ErrorKind::Lost, 5),
            (ErrorKind::Conflict, 6),
            (ErrorKind::Stale, 6),
            (ErrorKind::Denied, 7),
        ] {
            assert_eq!(of_kind(kind), code, "{kind:?}");
        }
        assert_eq!(Failure::Refused(String::new()).code(), 8);
    }
}
