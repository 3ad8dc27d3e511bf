//! One error type for the whole library, grouped by what the caller can do next.
//!
//! A message names the object, the limit and the size given, never a payload, a password or a token. Errors that
//! the database raised keep their SQLSTATE; class `TL` is trunkline's own and is listed in `docs/operations.md`.

use std::{borrow::Cow, error::Error as StdError, fmt};

/// The result of every fallible call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, grouped by what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a URL or an option is wrong: correct it, trying again does not help.
    Config,
    /// The database cannot be reached, or the connection broke: try again later.
    Unreachable,
    /// The server is a standby, too old, or behind a pooler that cannot do what was asked.
    Unsupported,
    /// The role may not do this: have it granted.
    Denied,
    /// The schema is missing, older or newer than this library: install or upgrade one of the two.
    Schema,
    /// An argument is out of its limits; nothing was written.
    Invalid,
    /// What was named does not exist, or no longer.
    NotFound,
    /// It exists already and differs.
    Conflict,
    /// The claim, lease or reply is no longer yours; nothing was changed.
    Stale,
    /// The deadline passed.
    TimedOut,
    /// Nobody serves this channel.
    NoResponder,
    /// The responder answered with an error of its own, see [`Error::code`].
    Remote,
    /// The call was cancelled.
    Cancelled,
    /// The responder died, or the database lost an ephemeral request; whether it ran is not known.
    Lost,
    /// A limit on stored messages is reached: slow down.
    Full,
    /// The database was restored or failed over to an older state; run `trunkline schema repair`.
    Epoch,
    /// Anything else that the database or the network reported.
    Other,
}

impl fmt::Display for ErrorKind {
    /// The word for it: for outcomes of requests the same as in SQL and on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "bad setting",
            Self::Unreachable => "unreachable",
            Self::Unsupported => "unsupported server",
            Self::Denied => "denied",
            Self::Schema => "wrong schema",
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Stale => "stale",
            Self::TimedOut => "timed out",
            Self::NoResponder => "no responder",
            Self::Remote => "remote error",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Full => "full",
            Self::Epoch => "restored database",
            Self::Other => "error",
        })
    }
}

/// An error of this library.
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    code: Option<String>,
    request: Option<i64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind, with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), code: None, request: None, source: None }
    }

    /// Adds the code: a SQLSTATE, or the code that a responder gave.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same again, without its cause, for another one who waits for it.
    pub(crate) fn again(&self) -> Self {
        let Self { kind, request, .. } = *self;
        Self { kind, message: self.message.clone(), code: self.code.clone(), request, source: None }
    }

    /// The outcome of this request.
    pub(crate) fn of_request(self, request: Option<i64>) -> Self {
        Self { request, ..self }
    }

    /// What the caller can do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The SQLSTATE, or for [`ErrorKind::Remote`] the code that the responder gave.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The id of the request that ended so, where one was written and its id is known.
    #[must_use]
    pub fn request(&self) -> Option<i64> {
        self.request
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("code", &self.code)
            .field("request", &self.request)
            .field("source", &self.source.as_ref().map(ToString::to_string))
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

impl From<tokio_postgres::Error> for Error {
    /// SQLSTATEs decide the kind; the server's own message is kept, its DETAIL (which can hold row values) is not, and
    /// of its HINTs ours.
    fn from(e: tokio_postgres::Error) -> Self {
        if let Some(db) = e.as_db_error() {
            let code = db.code().code().to_owned();
            let mut message = bounded(db.message());
            if let Some(hint) = db.hint().filter(|_| code.starts_with("TL")) {
                message.extend(["; ", hint]);
            }
            return Self::new(kind_of_sqlstate(&code), message).with_code(code);
        }
        let kind = if e.is_closed() || e.source().is_some_and(|s| s.is::<std::io::Error>()) {
            ErrorKind::Unreachable
        } else {
            ErrorKind::Other
        };
        Self::new(kind, bounded(&format!("the database connection failed: {e}"))).with_source(e)
    }
}

/// A server's message, not longer than a page or two, whatever it quotes.
fn bounded(text: &str) -> String {
    const MOST: usize = 4096;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} … ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// The kind that a SQLSTATE means; a test compares this list with the codes that the SQL raises.
#[must_use]
pub fn kind_of_sqlstate(code: &str) -> ErrorKind {
    match code {
        "TL001" | "TL002" | "TL017" => ErrorKind::Stale,
        "TL004" => ErrorKind::Invalid,
        "TL007" => ErrorKind::NotFound,
        "TL008" => ErrorKind::Epoch,
        "TL009" | "TL011" => ErrorKind::Invalid,
        "TL012" => ErrorKind::NoResponder,
        "TL015" | "TL016" => ErrorKind::Conflict,
        "TL014" => ErrorKind::Schema,
        "42501" | "28000" | "28P01" => ErrorKind::Denied,
        "42704" => ErrorKind::NotFound,
        "42710" | "2BP01" => ErrorKind::Conflict,
        "3F000" | "42883" | "42P01" => ErrorKind::Schema,
        "25006" | "0A000" => ErrorKind::Unsupported,
        "3D000" => ErrorKind::Config,
        "57014" => ErrorKind::Cancelled,
        c if c.starts_with("08") || c.starts_with("57P") || c == "53300" => ErrorKind::Unreachable,
        c if c.starts_with("22") || c.starts_with("54") || c == "25001" => ErrorKind::Invalid,
        c if c.starts_with("53") => ErrorKind::Full,
        _ => ErrorKind::Other,
    }
}
