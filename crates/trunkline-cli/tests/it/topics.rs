//! `trunkline topics`, `pub` and `sub`: published, listened to, declared, listed; and of many that listen, one.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Stdio},
    sync::mpsc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{PATIENCE, code, database, ok, run, run_with, sql, stderr, trunkline, until};

/// A process that listens; it is killed when this is dropped.
struct Listener {
    child: Child,
    lines: mpsc::Receiver<String>,
}

fn sub(url: &str, args: &[&str]) -> Listener {
    start(url, "sub", args)
}

fn start(url: &str, verb: &str, args: &[&str]) -> Listener {
    let mut command = trunkline(&["topics", verb]);
    command.args(args).env("DATABASE_URL", url).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (tx, lines) = mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
    Listener { child, lines }
}

impl Listener {
    /// The next line that it prints.
    #[track_caller]
    fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line that contains this.
    #[track_caller]
    fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for its end: the exit code.
    #[track_caller]
    fn ended(mut self) -> i32 {
        until("the process to end", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until so many listen.
fn listening(url: &str, many: usize) {
    until("them to listen", || {
        sql(url, "select count(*) from trunkline.topic_subscriptions()").as_deref() == Some(&many.to_string())
    });
}

#[test]
fn what_is_published_is_printed_by_all_who_listen() {
    let url = database();
    let mut one = sub(&url, &["orders.eu", "--count", "4"]);
    let mut wild = sub(&url, &["orders.*", "--count", "4"]);
    let mut objects = sub(&url, &["orders.>", "--count", "4", "--json"]);
    listening(&url, 3);
    let id = ok(&url, &["topics", "pub", "orders.eu", "hello"]);
    assert!(id.trim().parse::<i64>().unwrap() > 0);
    ok(&url, &["pub", "orders.eu", "{\"n\":1}", "--json-payload", "-H", "a=b", "--id", "m1"]);
    let mut lines = trunkline(&["-q", "pub", "orders.eu", "--lines"]);
    lines.env("DATABASE_URL", &url).stdin(Stdio::piped());
    let mut lines = lines.spawn().unwrap();
    lines.stdin.take().unwrap().write_all(b"line 1\nline 2\n").unwrap();
    assert!(lines.wait().unwrap().success());
    for expected in ["hello", "{\"n\":1}", "line 1", "line 2"] {
        assert_eq!(one.line(), expected);
        assert_eq!(wild.line(), format!("orders.eu\t{expected}"));
    }
    let mut object = || serde_json::from_str::<Value>(&objects.line()).unwrap();
    assert_eq!(object()["event"], "connected");
    let first = object();
    assert_eq!(
        (&first["event"], &first["payload"], &first["id"]),
        (&json!("message"), &json!("hello"), &json!(id.trim().parse::<i64>().unwrap()))
    );
    let second = object();
    assert_eq!(
        (&second["payload"], &second["headers"], &second["message_id"]),
        (&json!({"n": 1}), &json!({"a": "b"}), &json!("m1"))
    );
    for listener in [one, wild, objects] {
        assert_eq!(listener.ended(), 0);
    }
}

#[test]
fn bytes_that_are_no_text_come_as_they_went_or_are_refused() {
    let url = database();
    let plain = sub(&url, &["raw", "--count", "1"]);
    let mut objects = sub(&url, &["raw", "--json", "--count", "5"]);
    listening(&url, 2);
    let publish = |args: &[&str], stdin: &[u8]| run_with(&url, &[&["pub", "raw"], args].concat(), stdin);
    let no_text: [&[u8]; 4] = [b"\xff\xfe tail", b"a\0b", b"\xff", b"\0"];
    assert_eq!(code(&publish(&["-"], no_text[0])), 0);
    assert_eq!(code(&publish(&["-"], no_text[1])), 0);
    let lines = [no_text[2], no_text[3], b"text"].join(&b'\n');
    assert_eq!(code(&publish(&["--lines"], &lines)), 0);
    assert_eq!(objects.line(), "{\"event\":\"connected\"}");
    for bytes in no_text.into_iter().chain([&b"text"[..]]) {
        let object: Value = serde_json::from_str(&objects.line()).unwrap();
        // JSON has no bytes, but it has text with a NUL.
        let (shown, value) = match std::str::from_utf8(bytes) {
            Ok(text) => ("payload", json!(text)),
            Err(_) => ("payload_base64", json!(BASE64_STANDARD.encode(bytes))),
        };
        assert_eq!(object[shown], value, "{object}");
    }
    assert_eq!(plain.ended(), 0);
    for (args, stdin, why) in [
        (&["-", "--json-payload"][..], &b"\"\xff\""[..], "the payload is not JSON"),
        (&["-", "--json-payload"], b"\"a\0b\"", "the payload is not JSON"),
        (&["--lines", "--json-payload"], b"{\xff}\n", "the payload is not JSON"),
        (&["-", "-k", "channel"], b"\xff", "a channel carries text"),
        (&["-", "-k", "channel"], b"a\0b", "a channel carries text"),
    ] {
        let refused = publish(args, stdin);
        assert_eq!(code(&refused), 2, "{args:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(why), "{args:?}: {}", stderr(&refused));
    }
    let kept = "select count(*) from trunkline.topic_message";
    assert_eq!(sql(&url, kept).as_deref(), Some("5"), "nothing of what was refused");
}

#[test]
fn a_channel_hears_psql_and_psql_hears_it() {
    let url = database();
    let mut listener = sub(&url, &["TestChannel", "--kind", "channel", "--count", "6"]);
    listening(&url, 1);
    sql(&url, "notify \"TestChannel\", 'from psql'");
    ok(&url, &["pub", "TestChannel", "from here", "-k", "channel"]);
    assert_eq!(listener.line(), "from psql");
    assert_eq!(listener.line(), "from here");
    let lines = run_with(&url, &["pub", "TestChannel", "-k", "channel", "--lines"], b"a\na\nb\na\n");
    assert_eq!(code(&lines), 0, "{}", stderr(&lines));
    assert_eq!([(); 4].map(|()| listener.line()), ["a", "a", "b", "a"], "equal lines are separate messages");
    assert_eq!(listener.ended(), 0);
}

#[test]
fn a_command_runs_for_each_message_and_a_durable_one_that_fails_comes_again() {
    let url = database();
    ok(&url, &["topics", "create", "bills"]);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let command = format!(
        "cat >> {0}; echo \" $TRUNKLINE_TOPIC $TRUNKLINE_HEADER_A\" >> {0}; test $(wc -l < {0}) -gt 1",
        out.display()
    );
    let listener = sub(&url, &["bills", "--name", "books", "--exec", &command, "--count", "2"]);
    listening(&url, 1);
    ok(&url, &["pub", "bills", "7", "-H", "a=b"]);
    assert_eq!(listener.ended(), 0);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "7 bills b\n7 bills b\n");
}

#[test]
fn a_full_buffer_drops_and_tells_and_raw_payloads_keep_their_line_breaks() {
    let (url, dir) = (database(), tempfile::tempdir().unwrap());
    let [out, fifo, go] = ["out", "fifo", "go"].map(|name| dir.path().join(name).display().to_string());
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The first message is in hand until somebody opens the fifo; the others pass.
    let command = format!("cat >> {out}; test -e {go} || cat {fifo}");
    let options = ["--buffer", "5", "--on-full", "drop-oldest", "--filtered", "--json"];
    let mut slow = sub(&url, &[&["a"], &options[..], &["--exec", &command]].concat());
    let mut raw = sub(&url, &["a", "--raw", "--count", "1"]);
    let mut line = sub(&url, &["a", "--count", "1"]);
    listening(&url, 3);
    slow.line_with("connected");
    ok(&url, &["pub", "a", "1\n2"]);
    assert_eq!((raw.line(), raw.line(), line.line()), ("1".to_owned(), "2".to_owned(), "1\\n2".to_owned()));
    until("the first one to be in hand", || std::fs::read_to_string(&out).is_ok_and(|all| all == "1\n2"));
    let many =
        "select trunkline.topic_publish_many('a', array(select chr(64 + n) from generate_series(1, 20) n))";
    sql(&url, many);
    std::fs::write(&go, "").unwrap();
    drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    let gap: Value = serde_json::from_str(&slow.line_with("\"gap\"")).unwrap();
    let handled = || std::fs::read_to_string(&out).unwrap();
    until("the last one to be handled", || handled().ends_with('T'));
    let (got, missed) =
        (handled().split_off("1\n2".len()), usize::try_from(gap["missed"].as_u64().unwrap()).unwrap());
    // It may have taken the first of them before the others were there.
    assert!(got.ends_with("PQRST") && (5..=6).contains(&got.len()), "{got}");
    assert_eq!(got.len() + missed, 20, "{gap}");
}

/// Three processes listen, one is active; it is killed, and the next goes on.
#[test]
fn of_three_that_listen_single_one_is_active_and_when_it_is_killed_the_next() {
    let url = database();
    let start = |_| sub(&url, &["TestChannel", "--single", "--json"]);
    let mut all: Vec<Listener> = (0..3).map(start).collect();
    listening(&url, 3);
    let mut next = 1;
    while all.len() > 1 {
        let active = "select count(*) filter (where active), count(*) from trunkline.topic_subscriptions()";
        let expected = format!("1|{}", all.len());
        until("one to be active", || sql(&url, active).as_deref() == Some(&expected));
        ok(&url, &["pub", "TestChannel", &next.to_string()]);
        let pid = "select split_part(held_by, ':', 2) from trunkline.lease_list() where name = 'trunkline/topics/TestChannel'";
        let pid: u32 = sql(&url, pid).unwrap().parse().unwrap();
        let at = all.iter().position(|r| r.child.id() == pid).unwrap();
        // What the one before had not noted as handled before it was killed may come again.
        let said = all[at].line_with(&format!("\"payload\":\"{next}\""));
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["fence"], json!(next));
        drop(all.remove(at)); // killed
        next += 1;
    }
    ok(&url, &["pub", "TestChannel", "last"]);
    let said = all[0].line_with("\"last\"");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["fence"], json!(3));
}

/// A listener on a channel is one of many unless told otherwise, and hears what others notify there.
#[test]
fn of_three_listeners_on_a_channel_one_hears_psql_and_when_it_is_stopped_the_next() {
    let url = database();
    let mut all: Vec<Listener> = (0..3).map(|_| start(&url, "listen", &["TestChannel", "--json"])).collect();
    listening(&url, 3);
    let lease = "from trunkline.lease_list() where name like 'trunkline/topics/%'";
    let holder = format!("select split_part(held_by, ':', 2) {lease}");
    for fence in 1..=3 {
        until("one to be active, and the others in turn", || {
            sql(&url, &format!("select held_by is not null, waiting {lease}"))
                == Some(format!("t|{}", 3 - fence))
        });
        let pid: u32 = sql(&url, &holder).unwrap().parse().unwrap();
        let mut active = all.remove(all.iter().position(|l| l.child.id() == pid).unwrap());
        active.line_with("\"active\"");
        sql(&url, &format!("notify \"TestChannel\", 'from psql {fence}'"));
        let said: Value = serde_json::from_str(&active.line_with("\"message\"")).unwrap();
        assert_eq!((&said["payload"], &said["fence"]), (&json!(format!("from psql {fence}")), &json!(fence)));
        assert!(std::process::Command::new("kill").arg(pid.to_string()).status().unwrap().success());
        assert_eq!(active.ended(), 0);
        // It has released the lease before it ended: nobody had to find out that it is gone.
        assert_ne!(sql(&url, &holder), Some(pid.to_string()));
    }
    let everybody = || start(&url, "listen", &["TestChannel", "--all", "--count", "1"]);
    let mut all = [everybody(), everybody()];
    listening(&url, 2);
    sql(&url, "notify \"TestChannel\", 'to all'");
    for listener in &mut all {
        assert_eq!(listener.line(), "to all");
    }
}

/// The same with `--all`: each gets every message.
#[test]
fn of_three_that_listen_all_each_gets_every_message() {
    let url = database();
    let mut all: Vec<Listener> =
        (0..3).map(|_| sub(&url, &["TestChannel", "--all", "--count", "2"])).collect();
    listening(&url, 3);
    ok(&url, &["pub", "TestChannel", "1"]);
    ok(&url, &["pub", "TestChannel", "2"]);
    for listener in &mut all {
        assert_eq!((listener.line(), listener.line()), ("1".to_owned(), "2".to_owned()));
    }
}

#[test]
fn topics_are_declared_listed_and_dropped_and_bad_input_is_refused() {
    let url = database();
    ok(&url, &["topics", "create", "bills"]);
    ok(&url, &["topics", "create", "big", "--kind", "volatile", "--max-bytes", "2000000"]);
    let listener = sub(&url, &["orders.eu", "big"]);
    listening(&url, 1);
    ok(&url, &["pub", "orders.eu", "x"]);
    let listed = ok(&url, &["--json", "topics", "ls"]);
    let rows: Vec<Value> = listed.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let shown: Vec<_> =
        rows.iter().map(|r| json!([r["topic"], r["kind"], r["subscriptions"], r["messages"]])).collect();
    assert_eq!(
        shown,
        [
            json!(["big", "volatile", 1, 0]),
            json!(["bills", "durable", 0, null]),
            json!(["orders.eu", "volatile", 1, 1])
        ]
    );
    assert!(ok(&url, &["topics", "subscriptions"]).starts_with("orders.eu,big\tvolatile\t"));
    drop(listener);
    assert_eq!(code(&run(&url, &["topics", "drop", "bills"])), 8, "not without being asked");
    ok(&url, &["-y", "topics", "drop", "bills"]);
    assert_eq!(code(&run(&url, &["-y", "topics", "drop", "bills"])), 4);
    let long = "x".repeat(64);
    for (bad, expected, why) in [
        (&["pub", "a b", "x"][..], 2, "topic name must be words"),
        (&["pub", "a.*", "x"], 2, "topic name must be words"),
        (&["pub", &long, "x", "-k", "channel"], 2, "must be 1 to 63 bytes, got 64"),
        (&["pub", "none", "x", "-k", "durable"], 4, "no durable topic"),
        (&["pub", "big", "x", "-k", "channel"], 6, "is volatile, not channel"),
        (&["sub", "a..b"], 2, "words of"),
        (&["sub", "a", "--name", "n"], 2, "has a name"),
        (&["sub", "a", "--single", "--all"], 2, "cannot be used with"),
        (&["topics", "create", "UPPER"], 2, "durable topic name must be"),
    ] {
        let refused = run(&url, bad);
        assert_eq!(code(&refused), expected, "{bad:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(why), "{bad:?}: {}", stderr(&refused));
    }
}
