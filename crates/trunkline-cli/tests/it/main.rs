//! The binary as its users meet it: real processes, a real PostgreSQL, a fresh database for each test.
//!
//! Nothing sleeps blindly: tests wait for a line of output, a file that a handler wrote, or a state of the database.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bad_input;
mod browser;
mod browser_acts;
mod browser_charts;
mod config;
mod contrib;
mod daemon;
mod daemon_faults;
mod demo;
mod doctor;
mod from_pages;
mod http;
mod http_answers;
mod http_crowd;
mod http_dashboard;
mod http_hostile;
mod http_login;
mod http_plans;
mod http_rows;
mod http_says;
mod http_seen;
mod http_words;
mod jobs;
mod jobs_all;
mod jobs_attach;
mod jobs_cron;
mod leases;
mod otlp;
mod pgq;
mod requests;
mod schema;
mod streams;
mod streams_look;
mod streams_relay;
mod top;
mod topics;
mod usage;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use trunkline_embedded::{Fetch, Server, Settings};

const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, without anything of the surroundings that chooses a database.
fn trunkline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    for (name, _) in std::env::vars() {
        if name.starts_with("PG") || name.starts_with("TRUNKLINE_") || name.ends_with("DATABASE_URL") {
            command.env_remove(name);
        }
    }
    command.env_remove("COLUMNS").args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
fn run(url: &str, args: &[&str]) -> Output {
    trunkline(args).env("DATABASE_URL", url).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs it, expects success, and gives what it printed.
#[track_caller]
fn ok(url: &str, args: &[&str]) -> String {
    let output = run(url, args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// The server of all tests; it ends with this process, however that ends.
fn server() -> &'static Server {
    static SERVER: OnceLock<(Server, Option<ChildStdin>)> = OnceLock::new();
    &SERVER
        .get_or_init(|| {
            let dir = temporary().keep();
            let server = start(&dir.join("pg"));
            let pid = server.pid();
            let end =
                format!("read x; kill -INT {pid}; while kill -0 {pid}; do sleep 0.1; done; rm -rf \"$0\"");
            let mut keeper = Command::new("sh");
            keeper
                .arg("-c")
                .arg(end)
                .arg(&dir)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let stdin = keeper.spawn().unwrap().stdin;
            (server, stdin)
        })
        .0
}

/// A directory that the server's user can enter too.
fn temporary() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::Builder::new().prefix("tl-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn start(dir: &Path) -> Server {
    let settings = Settings::default().data_dir(dir).fetch(Fetch::Forbidden).setting("fsync", "off");
    Server::start(&settings, &mut |_| {}).unwrap()
}

/// A fresh database, without the schema: its URL.
fn empty_database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    sql(&server().url(), &format!("create database {name}"));
    server().url_for(&name)
}

/// A fresh database with the schema: its URL.
fn database() -> String {
    let url = empty_database();
    ok(&url, &["-q", "schema", "install"]);
    url
}

/// The first column of the first row, as text; nothing when there is none.
#[track_caller]
fn sql(url: &str, statement: &str) -> Option<String> {
    let psql =
        Command::new("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, url]).output().unwrap();
    assert!(psql.status.success(), "{statement}: {}", stderr(&psql));
    stdout(&psql).lines().next().map(str::to_owned)
}

/// Looks again and again until it is so.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process under way; killed when the test ends before it.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tx, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = tx.send(line);
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line on stderr that contains this.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push(line);
                    if found {
                        return;
                    }
                }
                Err(e) => panic!("no line with {text:?} ({e}); there were {:#?}", self.seen),
            }
        }
    }

    /// Waits for lines that come in any order.
    #[track_caller]
    fn wait_for_each(&mut self, texts: &[&str]) {
        for text in texts {
            if !self.seen.iter().any(|line| line.contains(text)) {
                self.wait_for(text);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end: exit code and stdout.
    #[track_caller]
    fn end(&mut self) -> (i32, String) {
        let mut printed = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut printed).unwrap();
        }
        until("the process to end", || self.child.try_wait().unwrap().is_some());
        (self.child.wait().unwrap().code().unwrap_or(-1), printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A responder for a channel, once it serves.
fn responder(url: &str, args: &[&str]) -> Running {
    let mut command = trunkline(&["requests", "serve"]);
    command.args(args).env("DATABASE_URL", url);
    let mut running = Running::start(command);
    running.wait_for("serving");
    running
}

/// Runs it with this on stdin.
fn run_with(url: &str, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = trunkline(args);
    command.env("DATABASE_URL", url).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = pipe.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}
