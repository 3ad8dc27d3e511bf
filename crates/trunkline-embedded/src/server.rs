//! The handle of a running server: start or adopt, look, stop.
//!
//! Guarantees: of any number of processes that start a server on one data directory, one does and the others adopt
//! it; a server outlives its starter unless told otherwise. Does not guarantee that the server stays up: whoever
//! else may stop it can.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::account::Account;
use crate::choice::choose;
use crate::cluster;
use crate::error::Error;
use crate::layout::Layout;
use crate::postmaster::{self, PidFile, State};
use crate::process;
use crate::settings::Settings;

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Waits for every session to end by itself (`SIGTERM`).
    Smart,
    /// Ends the sessions, rolls their transactions back, writes everything out (`SIGINT`).
    Fast,
    /// Ends at once, as a crash would; the next start recovers (`SIGQUIT`). Committed transactions are kept.
    Immediate,
}

/// How things stand with a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// There are no data yet.
    Absent,
    /// There are data and no server.
    Stopped,
    /// A server starts or recovers.
    Starting {
        /// Its process.
        pid: i32,
    },
    /// A server takes connections.
    Running {
        /// Its process.
        pid: i32,
    },
    /// A server is on its way out.
    Stopping {
        /// Its process.
        pid: i32,
    },
}

/// A running PostgreSQL. Dropping the handle leaves it running, see [`Server::stop_on_drop`].
#[derive(Debug)]
pub struct Server {
    layout: Layout,
    pid: i32,
    port: u16,
    socket_dir: PathBuf,
    password: Option<String>,
    adopted: bool,
    stop_on_drop: bool,
    timeout: Duration,
}

impl Server {
    /// Returns a server that takes connections: the one already running on the data directory, or one started
    /// now, with `initdb` before where there are no data. `notice` is told what takes time or leaves traces, one
    /// line at a time, without a line end. Blocks; where PostgreSQL must be fetched, for as long as that takes.
    ///
    /// # Errors
    ///
    /// See [`Error`]; every message names the next step. [`Error::Timeout`] leaves a slow server starting: calling
    /// again adopts it.
    pub fn start(settings: &Settings, notice: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        settings.check()?;
        let layout = Layout::of(settings)?;
        if let State::Ready(file) = postmaster::inspect(&layout.db)? {
            return Self::adopt(layout, file, settings);
        }
        let environment = &settings.environment;
        let account = Account::choose(settings, &layout.db)?;
        let layout = layout.prepare(&account, environment)?;
        let mut binaries = choose(&layout, settings, &account, notice)?;
        let _lock = layout.lock(settings.timeout)?;
        if let Some(file) = settle(&layout, settings)? {
            return Self::adopt(layout, file, settings);
        }
        match layout.major()? {
            None => {
                notice(&format!(
                    "creating a database in {} (PostgreSQL {})",
                    layout.home.display(),
                    binaries.version
                ));
                cluster::create(&layout, &binaries, &account, environment)?;
            }
            // Another process made the data while we chose.
            Some(major) if major != binaries.major => binaries = choose(&layout, settings, &account, notice)?,
            Some(_) => {}
        }
        let socket_dir = layout.socket_dir(&account, environment)?;
        let file = process::launch(&layout, &socket_dir, &binaries, &account, settings)?;
        notice(&format!(
            "started PostgreSQL {} on {}, pid {}",
            binaries.version,
            layout.home.display(),
            file.pid
        ));
        Self::of(layout, file, settings, false)
    }

    /// The server running on the data directory, or `None`; starts nothing and waits for nothing.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read, or something else holds it.
    pub fn attach(settings: &Settings) -> Result<Option<Self>, Error> {
        let layout = Layout::of(settings)?;
        match postmaster::inspect(&layout.db)? {
            State::Ready(file) => Self::of(layout, file, settings, true).map(Some),
            State::Occupied(process) => Err(Error::Occupied { data_dir: layout.home, process }),
            _ => Ok(None),
        }
    }

    /// How things stand; changes nothing.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read, or something else holds it.
    pub fn status(settings: &Settings) -> Result<Status, Error> {
        let layout = Layout::of(settings)?;
        Ok(match postmaster::inspect(&layout.db)? {
            State::Absent | State::Reused(_) if layout.major()?.is_none() => Status::Absent,
            State::Absent | State::Reused(_) => Status::Stopped,
            State::Starting(file) => Status::Starting { pid: file.pid },
            State::Ready(file) => Status::Running { pid: file.pid },
            State::Stopping(file) => Status::Stopping { pid: file.pid },
            State::Occupied(process) => return Err(Error::Occupied { data_dir: layout.home, process }),
        })
    }

    fn adopt(layout: Layout, file: PidFile, settings: &Settings) -> Result<Self, Error> {
        let differs = match settings.tcp {
            Some(port) if !file.tcp => format!("does not listen on TCP port {port}"),
            Some(port) if file.port != port => format!("listens on TCP port {}, not {port}", file.port),
            _ => return Self::of(layout, file, settings, true),
        };
        Err(Error::Differs { data_dir: layout.home, differs })
    }

    fn of(layout: Layout, file: PidFile, settings: &Settings, adopted: bool) -> Result<Self, Error> {
        let password = if file.tcp { Some(layout.read_password()?) } else { None };
        Ok(Self {
            layout,
            pid: file.pid,
            port: file.port,
            socket_dir: file.socket_dir,
            password,
            adopted,
            stop_on_drop: false,
            timeout: settings.timeout,
        })
    }

    /// A URL for libpq and for drivers that read its form, to the database `postgres` over the socket.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_for("postgres")
    }

    /// The same for another database.
    #[must_use]
    pub fn url_for(&self, database: &str) -> String {
        let host = encode(&self.socket_dir.to_string_lossy());
        format!("postgresql:///{}?host={host}&port={}&user={}", encode(database), self.port, cluster::USER)
    }

    /// A URL over TCP, with the password in it; `None` where the server does not listen on TCP.
    #[must_use]
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let password = self.password.as_deref()?;
        let (user, port) = (cluster::USER, self.port);
        Some(format!("postgresql://{user}:{}@127.0.0.1:{port}/{}", encode(password), encode(database)))
    }

    /// The directory of the socket, which libpq takes as `host`.
    #[must_use]
    pub fn host(&self) -> &Path {
        &self.socket_dir
    }

    /// The port: part of the socket's name, and the TCP port where one was asked for.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's name.
    #[must_use]
    pub fn user(&self) -> &str {
        cluster::USER
    }

    /// The superuser's password, needed over TCP only; `None` where the server does not listen on TCP.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The directory with everything of this server.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.layout.home
    }

    /// The file the server writes its log to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.layout.log
    }

    /// The process of the postmaster.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it was running already.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Makes dropping the handle stop the server ([`Mode::Fast`]), whoever else uses it.
    #[must_use]
    pub fn stop_on_drop(mut self) -> Self {
        self.stop_on_drop = true;
        self
    }

    /// Stops the server and waits until it is gone. One that is gone already is no error.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when it is still there after the limit of the settings; calling again with a harder
    /// mode is the caller's choice.
    pub fn stop(&self, mode: Mode) -> Result<(), Error> {
        let signal = match mode {
            Mode::Smart => Signal::SIGTERM,
            Mode::Fast => Signal::SIGINT,
            Mode::Immediate => Signal::SIGQUIT,
        };
        // Only a process that still is our postmaster gets the signal: pids are used again.
        match postmaster::inspect(&self.layout.db)? {
            State::Starting(file) | State::Ready(file) | State::Stopping(file) if file.pid == self.pid => {
                postmaster::signal(self.pid, signal)?;
            }
            _ => return Ok(()),
        }
        let deadline = Instant::now() + self.timeout;
        while postmaster::alive(self.pid) {
            if Instant::now() > deadline {
                let what = format!("the server to stop, pid {}", self.pid);
                return Err(Error::Timeout { what, after: self.timeout, log: self.layout.log.clone() });
            }
            std::thread::sleep(process::LOOK);
        }
        Ok(())
    }

    /// Stops the server at once and removes everything of it, the data too. For temporary servers.
    ///
    /// # Errors
    ///
    /// Those of [`Server::stop`], and when a file cannot be removed.
    pub fn destroy(mut self) -> Result<(), Error> {
        self.stop_on_drop = false;
        self.stop(Mode::Immediate)?;
        let remove = |dir: &Path| fs::remove_dir_all(dir).map_err(Error::path("remove", dir));
        if !self.socket_dir.starts_with(&self.layout.home) {
            remove(&self.socket_dir)?;
        }
        remove(&self.layout.home)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop_on_drop {
            // Nobody is left to hear of an error.
            let _ = self.stop(Mode::Fast);
        }
    }
}

/// Waits until there is a server to adopt (`Some`) or none (`None`). Only under the lock, so that no other process
/// of ours starts one meanwhile.
fn settle(layout: &Layout, settings: &Settings) -> Result<Option<PidFile>, Error> {
    let deadline = Instant::now() + settings.timeout;
    loop {
        match postmaster::inspect(&layout.db)? {
            State::Ready(file) => return Ok(Some(file)),
            State::Absent => return Ok(None),
            State::Reused(file) => {
                postmaster::disown(&layout.db, &file)?;
                return Ok(None);
            }
            State::Occupied(process) => {
                return Err(Error::Occupied { data_dir: layout.home.clone(), process });
            }
            State::Starting(_) | State::Stopping(_) => {}
        }
        if Instant::now() > deadline {
            let what = "a server that is starting or stopping".into();
            return Err(Error::Timeout { what, after: settings.timeout, log: layout.log.clone() });
        }
        std::thread::sleep(process::LOOK);
    }
}

/// Percent-encodes all but the unreserved characters and `/`.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn what_a_url_gives_a_meaning_to_is_encoded() {
        assert_eq!(encode("/a b/c+d?é"), "/a%20b/c%2Bd%3F%C3%A9");
    }
}
