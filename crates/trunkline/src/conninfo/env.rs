//! What the settings read from their surroundings: variables, small files, the user's name and home.
//!
//! Everything that is not in the connection text comes through [`Env`], so that a test describes a whole machine
//! without touching the process. Certificates are not read here but at each connect, so that they can be renewed.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::text::config;
use crate::Result;

/// The surroundings of a connection text: the real ones, or described ones, or the real ones with changes.
#[derive(Clone, Default)]
pub struct Env {
    real: bool,
    vars: BTreeMap<String, OsString>,
    files: BTreeMap<PathBuf, (u32, String)>,
    user: Option<String>,
    home: Option<PathBuf>,
}

/// What [`Env::read`] found.
pub(super) enum Read {
    Missing,
    Unreadable(io::Error),
    Text { mode: u32, text: String },
}

impl Env {
    /// The surroundings of this process.
    #[must_use]
    pub fn process() -> Self {
        Self { real: true, user: whoami::username().ok(), home: std::env::home_dir(), ..Self::default() }
    }

    /// No variable, no file, no user, no home.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds or replaces a variable.
    #[must_use]
    pub fn with_var(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// Adds or replaces a file with these permission bits.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>, mode: u32, text: impl Into<String>) -> Self {
        self.files.insert(path.into(), (mode, text.into()));
        self
    }

    /// Sets the name of the operating system's user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the home directory.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// An empty variable counts as absent, as in libpq for every setting that has a default. One that is no text is an error,
    /// and not absent: another server would be taken in silence.
    pub(super) fn var(&self, name: &str) -> Result<Option<String>> {
        let real = || if self.real { std::env::var_os(name) } else { None };
        let value = self.vars.get(name).cloned().or_else(real).filter(|v| !v.is_empty());
        value
            .map(|v| v.into_string().map_err(|_| config(format!("{name}: its value is not UTF-8"))))
            .transpose()
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(super) fn in_home(&self, rest: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|h| h.join(rest))
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path) || (self.real && path.exists())
    }

    pub(super) fn read(&self, path: &Path) -> Read {
        if let Some((mode, text)) = self.files.get(path) {
            return Read::Text { mode: *mode, text: text.clone() };
        }
        if !self.real {
            return Read::Missing;
        }
        // What is no plain file is not even opened: a device may be endless, a pipe may wait for its writer.
        match mode_of(path).and_then(|mode| Ok((mode, fs::read_to_string(path)?))) {
            Ok((mode, text)) => Read::Text { mode, text },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Read::Missing,
            Err(e) => Read::Unreadable(e),
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.vars.keys().collect();
        f.debug_struct("Env").field("real", &self.real).field("vars", &names).finish_non_exhaustive()
    }
}

#[cfg(unix)]
fn mode_of(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = fs::metadata(path)?;
    if meta.is_file() { Ok(meta.mode() & 0o7777) } else { Err(io::Error::other("not a plain file")) }
}

#[cfg(not(unix))]
fn mode_of(path: &Path) -> io::Result<u32> {
    fs::metadata(path).map(|_| 0o600)
}
