//! `trunkline serve`: the clock, its end, and databases that come and go.

use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use trunkline_embedded::Mode;

use crate::{
    Running, code, database, empty_database, ok, run, sql, start, stderr, stdout, temporary, trunkline,
};

fn daemon(url: &str, args: &[&str]) -> Running {
    let mut command = trunkline(&["serve"]);
    command.args(args).env("DATABASE_URL", url);
    Running::start(command)
}

#[test]
fn once_prints_what_was_done() {
    let url = database();
    let done: serde_json::Value = serde_json::from_str(&ok(&url, &["serve", "--once"])).unwrap();
    assert_eq!(done["sessions_buried"], 0, "{done}");
    assert_eq!(code(&run("host=127.0.0.1 port=1 user=u", &["serve", "--once"])), 3);
}

#[test]
fn a_missing_schema_is_told_or_installed() {
    let url = empty_database();
    for args in [&["serve"][..], &["serve", "--once"]] {
        let refused = run(&url, args);
        assert_eq!(code(&refused), 4);
        assert!(stderr(&refused).contains("trunkline schema install"), "{}", stderr(&refused));
    }
    ok(&url, &["serve", "--once", "--install"]);
    ok(&url, &["schema", "check"]);
}

#[test]
fn two_run_side_by_side_and_end_when_told() {
    let url = database();
    let mut both = [daemon(&url, &[]), daemon(&url, &["--log", "json"])];
    for one in &mut both {
        one.wait_for("serving");
    }
    assert!(both[1].seen.iter().any(|l| l.starts_with('{') && l.contains("\"level\":\"INFO\"")));
    both[0].signal(Signal::SIGTERM);
    both[1].signal(Signal::SIGINT);
    for one in &mut both {
        one.wait_for("stopped");
        assert_eq!(one.end().0, 0);
    }
    assert_eq!(
        sql(&url, "select count(*) from trunkline.session").as_deref(),
        Some("0"),
        "they left in order"
    );
}

#[test]
fn it_buries_who_died() {
    let url = database();
    let mut serving = crate::responder(&url, &["x", "--echo"]);
    let mut clock = daemon(&url, &[]);
    clock.wait_for("serving");
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    crate::until("the dead session to be buried", || {
        sql(&url, "select count(*) from trunkline.session").as_deref() == Some("1")
    });
}

#[test]
fn a_database_that_goes_away_is_waited_for() {
    let dir = temporary();
    let first = start(&dir.path().join("pg"));
    let url = first.url();
    ok(&url, &["-q", "schema", "install"]);
    let mut clock = daemon(&url, &[]);
    clock.wait_for("serving");
    first.stop(Mode::Immediate).unwrap();
    clock.wait_for("trying again");
    let second = start(&dir.path().join("pg")).stop_on_drop();
    clock.wait_for("all is well again");
    clock.signal(Signal::SIGTERM);
    assert_eq!(clock.end().0, 0);

    second.stop(Mode::Fast).unwrap();
    let mut early = daemon(&url, &[]);
    early.wait_for("waiting for it");
    let third = start(&dir.path().join("pg")).stop_on_drop();
    early.wait_for("serving");
    third.stop(Mode::Fast).unwrap();
    early.wait_for("trying again");
    early.signal(Signal::SIGTERM);
    assert_eq!(early.end().0, 0, "it ends also while the database is away");
}

#[test]
fn it_ends_also_while_nobody_answers() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for args in [&["serve"][..], &["requests", "serve", "x", "--echo"]] {
        let mut command = trunkline(args);
        command.env("DATABASE_URL", format!("host=127.0.0.1 port={port} user=u connect_timeout=300"));
        let mut waiting = Running::start(command);
        waiting.wait_for("using");
        // Its connection is here, so it waits for an answer now.
        let (connection, _) = silent.accept().unwrap();
        waiting.signal(Signal::SIGTERM);
        assert_eq!(waiting.end().0, 0);
        drop(connection);
    }
}

#[test]
fn all_databases_and_a_broken_one_stops_no_other() {
    let dir = temporary();
    let own = start(&dir.path().join("pg")).stop_on_drop();
    for name in ["one", "two", "broken", "without"] {
        sql(&own.url(), &format!("create database {name}"));
        if name != "without" {
            ok(&own.url_for(name), &["-q", "schema", "install"]);
        }
    }
    sql(&own.url_for("broken"), "drop function trunkline.maintain()");
    let done = run(&own.url(), &["serve", "--all-databases", "--once"]);
    let shown: serde_json::Value = serde_json::from_str(&stdout(&done)).unwrap();
    assert_eq!(code(&done), 4, "{}", stderr(&done));
    assert_eq!(shown["one"]["sessions_buried"], 0);
    assert_eq!(shown["two"]["sessions_buried"], 0);
    assert!(shown["broken"]["error"].as_str().unwrap().contains("maintain"), "{shown}");
    assert!(shown.get("without").is_none());

    sql(&own.url_for("broken"), "drop function trunkline._session_open, trunkline._session_reap cascade");
    let mut clock = daemon(&own.url(), &["--all-databases", "--look", "200ms"]);
    clock.wait_for_each(&["serving database=\"one\"", "serving database=\"two\""]);
    ok(&own.url_for("without"), &["-q", "schema", "install"]);
    clock.wait_for("serving database=\"without\"");
    ok(&own.url_for("two"), &["-q", "--yes", "schema", "uninstall"]);
    clock.wait_for("stopped database=\"two\"");
    clock.signal(Signal::SIGTERM);
    clock.wait_for("stopped database=");
    assert_eq!(clock.end().0, 0);
}

#[test]
fn the_service_manager_is_told() {
    let url = database();
    let dir = temporary();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let heard = || {
        let mut bytes = [0; 100];
        let read = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    };
    let mut command = trunkline(&["serve"]);
    command.env("DATABASE_URL", &url).env("NOTIFY_SOCKET", &path);
    let mut clock = Running::start(command);
    assert_eq!(heard(), "READY=1\n");
    clock.signal(Signal::SIGTERM);
    assert_eq!(heard(), "STOPPING=1\n");
    assert_eq!(clock.end().0, 0);
}
