//! What every test needs: a place of its own, an end for whatever it started, waiting for a state.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use postgres::{Client, NoTls};
use tempfile::TempDir;
use trunkline_embedded::{Environment, Error, Fetch, Server, Settings};

/// A directory that the server's user can reach; what runs in it is ended with it.
pub(crate) struct Place {
    dir: TempDir,
    data: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        Self { dir, data }
    }

    pub(crate) fn with_data(data: &str) -> Self {
        let mut place = Self::new();
        place.data = place.path().join(data);
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::default().data_dir(&self.data).fetch(Fetch::Forbidden)
    }

    /// An environment in which nothing is installed.
    pub(crate) fn nothing_installed(&self) -> Environment {
        Environment::empty()
            .root(self.path())
            .var("PATH", "")
            .var("HOME", self.path().join("home"))
            .var("XDG_CACHE_HOME", self.path().join("var/cache"))
    }

    #[cfg(feature = "fetch")]
    pub(crate) fn cache(&self) -> PathBuf {
        self.path().join("var/cache/trunkline/postgresql")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let settings = self.settings();
        wait(|| match Server::attach(&settings) {
            Ok(Some(server)) => {
                server.destroy().unwrap();
                true
            }
            _ => !matches!(
                Server::status(&settings),
                Ok(trunkline_embedded::Status::Starting { .. } | trunkline_embedded::Status::Stopping { .. })
            ),
        });
    }
}

pub(crate) fn start(settings: &Settings) -> Server {
    Server::start(settings, &mut |_| {}).unwrap()
}

pub(crate) fn fails(settings: &Settings) -> Error {
    Server::start(settings, &mut |_| {}).unwrap_err()
}

pub(crate) fn connect(server: &Server) -> Client {
    Client::connect(&server.url(), NoTls).unwrap()
}

pub(crate) fn ask(server: &Server, sql: &str) -> String {
    connect(server).query_one(sql, &[]).unwrap().get(0)
}

/// Looks at a state until it holds.
pub(crate) fn wait(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline || std::thread::panicking(), "it never came to be");
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// Whether the process has ended; its entry may stay until its parent looks.
pub(crate) fn gone(pid: i32) -> bool {
    let output = Command::new("ps").args(["-o", "state=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&output.stdout);
    state.trim().is_empty() || state.trim().starts_with('Z')
}

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// The directory of the installed programs.
pub(crate) fn installed() -> PathBuf {
    installed_dir("--bindir")
}

pub(crate) fn installed_dir(which: &str) -> PathBuf {
    let bin = std::env::var_os("TRUNKLINE_PG_BIN").map(PathBuf::from).unwrap_or_default();
    let output =
        Command::new(bin.join("pg_config")).arg(which).output().expect("the tests need pg_config in PATH");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

pub(crate) fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
