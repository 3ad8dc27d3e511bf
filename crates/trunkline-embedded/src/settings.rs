//! What the caller chooses, and the surroundings that the search for PostgreSQL reads.
//!
//! Guarantees: the process's environment is read in one place, `Environment::current`; everything else takes it
//! from [`Settings`], so that a test can replace it. Does not guarantee that the choices make sense together:
//! `Server::start` checks that.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;

/// How the private server is found and run. `Settings::default()` is right for most: data in the user's data
/// directory, a Unix socket only, PostgreSQL found where it is usually installed or else fetched.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) bin_dir: Option<PathBuf>,
    pub(crate) tcp: Option<u16>,
    pub(crate) fetch: Fetch,
    pub(crate) run_as: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) extra: Vec<(String, String)>,
    pub(crate) environment: Environment,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: None,
            bin_dir: None,
            tcp: None,
            fetch: Fetch::default(),
            run_as: None,
            timeout: Duration::from_secs(60),
            extra: Vec::new(),
            environment: Environment::current(),
        }
    }
}

impl Settings {
    /// The directory that holds everything of this server: `db` (PostgreSQL's own data directory), `server.log`,
    /// `password` and, where the path is short enough, `run` with the socket. It must be empty, absent, or one
    /// of ours. Default: `$XDG_DATA_HOME/trunkline` or `~/.local/share/trunkline`; as root `/var/lib/trunkline`.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// The directory with `initdb` and `postgres`. When given (or named in `TRUNKLINE_PG_BIN`), no other is
    /// looked at.
    #[must_use]
    pub fn bin_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.bin_dir = Some(dir.into());
        self
    }

    /// Also listen on this port of 127.0.0.1, with the password of the file `password` (scram-sha-256).
    #[must_use]
    pub fn tcp(mut self, port: u16) -> Self {
        self.tcp = Some(port);
        self
    }

    /// Whether PostgreSQL may be downloaded where none is installed. Default: it may.
    #[must_use]
    pub fn fetch(mut self, fetch: Fetch) -> Self {
        self.fetch = fetch;
        self
    }

    /// The user the server runs as; only root can choose. Default as root: the owner of existing data, else the
    /// first of `trunkline`, `postgres`, `nobody` that exists.
    #[must_use]
    pub fn run_as(mut self, user: impl Into<String>) -> Self {
        self.run_as = Some(user.into());
        self
    }

    /// The longest wait for the server to become ready or to be gone, and for another process that starts it.
    /// Downloading is not counted. Default: 60 seconds.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// A further setting of `postgres`, as in its option `-c name=value`. It holds for this start only and wins
    /// over the defaults of this crate (`fsync` is on unless turned off here). Settings that decide who can
    /// connect are refused.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.push((name.into(), value.into()));
        self
    }

    /// Replaces the surroundings; for tests and for callers that keep their own environment.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Refuses what would break a promise of this crate.
    pub(crate) fn check(&self) -> Result<(), Error> {
        const OURS: [&str; 11] = [
            "listen_addresses",
            "port",
            "unix_socket_directories",
            "unix_socket_permissions",
            "unix_socket_group",
            "hba_file",
            "ident_file",
            "config_file",
            "data_directory",
            "external_pid_file",
            "logging_collector",
        ];
        for (name, _) in &self.extra {
            let reason = if OURS.contains(&name.to_ascii_lowercase().as_str()) {
                "is set by trunkline and cannot be changed"
            } else if name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
            {
                "is not the name of a PostgreSQL setting"
            } else {
                continue;
            };
            return Err(Error::Setting { name: name.clone(), reason: reason.into() });
        }
        if self.tcp == Some(0) {
            return Err(Error::Setting {
                name: "tcp".into(),
                reason: "0 is not a port; choose 1 to 65535".into(),
            });
        }
        Ok(())
    }
}

/// Whether PostgreSQL may be downloaded where none is found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetch {
    /// It may: a pinned archive (about 12 MB), checked against its SHA-256, kept in the user's cache directory.
    #[non_exhaustive]
    Allowed {
        /// Replaces the place the archive comes from: `http://`, `https://`, `file://` or a directory. Also taken
        /// from `TRUNKLINE_PG_MIRROR`. The file is asked for as `<mirror>/<version>/<file>`; a directory may also
        /// hold it directly.
        mirror: Option<String>,
        /// Another archive than the pinned one.
        archive: Option<Archive>,
    },
    /// It may not; `start` fails where none is installed.
    Forbidden,
}

impl Default for Fetch {
    fn default() -> Self {
        Self::allowed()
    }
}

impl Fetch {
    /// Allowed, from the usual place.
    #[must_use]
    pub fn allowed() -> Self {
        Self::Allowed { mirror: None, archive: None }
    }

    /// Allowed, from this mirror.
    #[must_use]
    pub fn from_mirror(mirror: impl Into<String>) -> Self {
        Self::Allowed { mirror: Some(mirror.into()), archive: None }
    }

    /// The same, with this archive instead of the pinned one. No effect when forbidden.
    #[must_use]
    pub fn with_archive(self, archive: Archive) -> Self {
        match self {
            Self::Allowed { mirror, .. } => Self::Allowed { mirror, archive: Some(archive) },
            Self::Forbidden => Self::Forbidden,
        }
    }
}

/// A PostgreSQL packed as `postgresql-<version>-<target>.tar.gz` with `bin`, `lib` and `share` in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The version in the file's name, such as `18.6.0`.
    pub version: String,
    /// The Rust target in the file's name, such as `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// The SHA-256 of the file in lower-case hex.
    pub sha256: String,
    /// The size of the file in bytes.
    pub bytes: u64,
}

/// What the search reads from its surroundings: variables, the program's own path, the root of the file system.
#[derive(Debug, Clone)]
pub struct Environment {
    vars: BTreeMap<OsString, OsString>,
    executable: Option<PathBuf>,
    root: PathBuf,
}

impl Environment {
    /// Those of this process.
    #[must_use]
    pub fn current() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
            executable: std::env::current_exe().ok(),
            root: PathBuf::from("/"),
        }
    }

    /// No variables, no program path.
    #[must_use]
    pub fn empty() -> Self {
        Self { vars: BTreeMap::new(), executable: None, root: PathBuf::from("/") }
    }

    /// Sets a variable.
    #[must_use]
    pub fn var(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// Sets the path of the program, beside which `pg/bin` is looked for.
    #[must_use]
    pub fn executable(mut self, path: impl Into<PathBuf>) -> Self {
        self.executable = Some(path.into());
        self
    }

    /// Looks for the usual places of installation (`/usr/lib/postgresql` and so on) below this directory.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// A variable; one that is set but empty counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.vars.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable that names a directory; the XDG rule is that relative paths count as not set.
    pub(crate) fn dir(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    pub(crate) fn beside_executable(&self) -> Option<&Path> {
        self.executable.as_deref().and_then(Path::parent)
    }

    /// The place of an absolute path below the root.
    pub(crate) fn rooted(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}
