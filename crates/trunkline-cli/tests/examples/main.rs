//! The examples as their readers run them: every caller against every responder, whatever language either speaks, on
//! a real PostgreSQL, with what they print compared word for word.
//!
//! Nothing sleeps blindly: the test waits for a line of output or a state of the database.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod jobs;
mod kit;
mod leases;
mod streams;
mod tasks;
mod topics;

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use trunkline_embedded::{Fetch, Server, Settings};

use kit::{Kit, Language, clean, succeed};

const PATIENCE: Duration = Duration::from_secs(30);
const TEA: &str = r#"{"item":"tea","count":3}"#;
const UNICORN: &str = r#"{"item":"unicorn","count":1}"#;

/// What each caller prints, whoever answers.
const HEARD: [&str; 5] = [
    "ok: 3 tea cost 1350 cents",
    "ok: 2 sugar cost 240 cents",
    "remote error: unknown item, we do not sell unicorn",
    "no responder: nobody serves \"bakery\"",
    "timed out",
];

#[test]
fn everybody_answers_everybody() {
    let kit = Kit::get();
    let (_dir, server) = server();
    let database = |name: &str| database(&server, name);
    thread::scope(|s| {
        for responder in Language::ALL {
            let (owner, app) = database(&format!("{responder:?}").to_lowercase());
            s.spawn(move || answers_all(kit, responder, &owner, &app));
        }
        let (_, app) = database("alone");
        let mut both = kit.both("requests");
        assert_eq!(Running::start(both.arg(&app)).end(), (0, HEARD.map(str::to_owned).to_vec()));
    });
}

/// A server, with an ordinary role "app".
fn server() -> (tempfile::TempDir, Server) {
    let dir = tempfile::Builder::new().prefix("tl-").tempdir_in("/tmp").unwrap();
    // The server's user must be able to enter it.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let settings =
        Settings::default().data_dir(dir.path().join("pg")).fetch(Fetch::Forbidden).setting("fsync", "off");
    let server = Server::start(&settings, &mut |_| {}).unwrap().stop_on_drop();
    sql(&server.url(), "create role app login");
    (dir, server)
}

/// A database with the schema: its URL, for the owner and for "app".
fn database(server: &Server, name: &str) -> (String, String) {
    sql(&server.url(), &format!("create database {name}"));
    let url = server.url_for(name);
    succeed(&mut trunkline(&url, &["-q", "schema", "install"]));
    sql(&url, "grant trunkline_writer to app");
    // Everything but what the test itself looks at is done by an ordinary role.
    let app = url.replace(&format!("user={}", server.user()), "user=app");
    assert_eq!(sql(&app, "select current_user"), "app");
    (url, app)
}

/// One responder, and every caller in turn.
fn answers_all(kit: &Kit, responder: Language, owner: &str, url: &str) {
    let mut serving = Running::start(kit.command(responder, "respond").arg(url));
    serving.wait_for("serving price");
    let present = "select count(*) from trunkline.request_responders() where channel = 'price'";
    until("the responder to be present", || sql(owner, present) == "1");

    for caller in Language::ALL {
        // The URL as an argument or, as well, from the environment.
        let heard = Running::start(kit.command(caller, "call").env("DATABASE_URL", url)).end();
        assert_eq!(heard, (0, HEARD.map(str::to_owned).to_vec()), "{caller:?} asked {responder:?}");
    }
    let price = if responder == Language::Python { r#"{"cents": 1350}"# } else { r#"{"cents":1350}"# };
    assert_eq!(succeed(&mut trunkline(url, &["requests", "call", "price", TEA, "--json-payload"])), price);
    let refused = trunkline(url, &["requests", "call", "price", UNICORN, "--json-payload"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("remote error unknown item: we do not sell unicorn"), "{said}");
    let plain = format!("call trunkline.request_call('price', '{TEA}', null, null)");
    assert_eq!(sql(url, &plain), format!("ok|{price}|"));

    // The database agrees with what the callers heard.
    let outcomes = "select string_agg(n || ' ' || state, ', ' order by state) from
        (select state, count(*) as n from trunkline.request_list('price') group by state) s";
    assert_eq!(sql(owner, outcomes), "8 ok, 4 remote error, 3 timed out", "{responder:?}");

    serving.signal(Signal::SIGTERM);
    // Rust drops the handler of a request that ended; the others find out by the SQLSTATE of their late reply.
    let late = if responder == Language::Rust { 0 } else { Language::ALL.len() };
    let mut said = vec!["serving price"];
    said.extend(vec!["late: nobody waits any more, nothing was written"; late]);
    said.push("stopped");
    assert_eq!(serving.end(), (0, said.into_iter().map(str::to_owned).collect()), "{responder:?}");
    until("the responder to be gone", || sql(owner, present) == "0");
}

/// The binary.
fn trunkline(url: &str, args: &[&str]) -> Command {
    let mut command = clean(env!("CARGO_BIN_EXE_trunkline"));
    command.args(args).env("DATABASE_URL", url);
    command
}

/// What psql prints, without the last line end.
#[track_caller]
fn sql(url: &str, statement: &str) -> String {
    let mut psql = clean("psql");
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, url]);
    succeed(&mut psql).trim_end().to_owned()
}

/// Looks again and again until it is so.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process under way, whose lines are read as they come; killed when the test ends before it.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tx, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = tx.send(line);
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for this line.
    #[track_caller]
    fn wait_for(&mut self, line: &str) {
        while self.seen.last().is_none_or(|l| l != line) {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(l) => self.seen.push(l),
                Err(e) => panic!("no line {line:?} ({e}); there were {:#?}", self.seen),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for its end: exit code and all that it printed.
    #[track_caller]
    fn end(mut self) -> (i32, Vec<String>) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(e) => panic!("it does not end ({e}); there were {:#?}", self.seen),
            }
        }
        until("the process to end", || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
