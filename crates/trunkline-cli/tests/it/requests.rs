//! `trunkline requests`: call, serve, and what is under way.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    Running, code, database, ok, responder, run, run_with, sql, stderr, stdout, temporary, trunkline, until,
};

#[test]
fn a_command_answers_each_line_in_order() {
    let url = database();
    let mut serving = responder(&url, &["hash", "--exec", "md5sum"]);
    assert_eq!(ok(&url, &["requests", "call", "hash", "hello"]), "5d41402abc4b2a76b9719d911017c592  -\n");
    assert_eq!(ok(&url, &["req", "hash", ""]), "d41d8cd98f00b204e9800998ecf8427e  -\n");
    let dir = temporary();
    let file = dir.path().join("lines");
    let lines: Vec<String> = (0..300).map(|n| format!("line {n}")).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let replies = ok(&url, &["requests", "call", "hash", "--lines", &format!("@{}", file.display())]);
    let expected = md5(&lines);
    assert_eq!(replies.lines().collect::<Vec<_>>(), expected);
    let piped = run_with(&url, &["requests", "call", "hash", "--lines", "--in-flight", "3"], b"a\nb\nc\n\nd");
    assert_eq!(stdout(&piped).lines().count(), 5);
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.end().0, 0);
}

#[test]
fn parts_of_a_reply_are_printed_as_they_come() {
    let url = database();
    let responder = "do $$ declare c text; begin
        perform trunkline.request_serve('work'); commit;
        for n in 1 .. 2 loop
            loop
                c := (select claim from trunkline.request_take('work')); commit;
                exit when c is not null;
                perform pg_sleep(0.02);
            end loop;
            perform trunkline.request_part(c, 1, 'a third'); commit;
            perform trunkline.request_part(c, 2, 'two thirds'); commit;
            perform trunkline.request_reply(c, 'all'); commit;
        end loop;
    end $$";
    let served = url.clone();
    let serving = std::thread::spawn(move || sql(&served, responder));
    assert_eq!(ok(&url, &["requests", "call", "work", "x", "--wait", "--parts"]), "a third\ntwo thirds\nall");
    let json = ok(&url, &["--json", "requests", "call", "work", "x", "--wait", "--parts"]);
    let lines: Vec<serde_json::Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[1], serde_json::json!({ "part": 2, "text": "two thirds" }));
    assert_eq!((lines.len(), &lines[2]["reply"]), (3, &serde_json::json!("all")));
    serving.join().unwrap();
}

/// What md5sum says of each text, from one shell.
fn md5(texts: &[String]) -> Vec<String> {
    let script = texts.iter().map(|t| format!("printf '%s' '{t}' | md5sum\n")).collect::<String>();
    let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn replies_keep_their_order_whichever_is_first() {
    let url = database();
    let _serving = responder(&url, &["slow", "--exec", "read n; sleep 0.$n; echo $n"]);
    let replies = run_with(&url, &["requests", "call", "slow", "--lines"], b"9\n1\n5\n0\n3\n");
    assert_eq!(stdout(&replies), "9\n1\n5\n0\n3\n", "{}", stderr(&replies));
}

#[test]
fn nobody_serves_and_nobody_answers() {
    let url = database();
    let since = Instant::now();
    let nobody = run(&url, &["requests", "call", "hash", "x"]);
    assert_eq!(code(&nobody), 5);
    assert!(stderr(&nobody).contains("nobody serves"), "{}", stderr(&nobody));
    assert!(since.elapsed() < Duration::from_secs(5));
    let waited = run(&url, &["--json", "requests", "call", "hash", "x", "--wait", "--timeout", "300ms"]);
    assert_eq!(code(&waited), 5);
    let waited: serde_json::Value = serde_json::from_str(&stdout(&waited)).unwrap();
    assert!(waited["outcome"] == "timed out" && waited["id"].is_i64(), "{waited}");
    let unsent = run(&url, &["--json", "requests", "call", "hash", "x"]);
    assert!(stdout(&unsent).contains("\"id\":null,\"outcome\":\"no responder\""), "{}", stdout(&unsent));
}

#[test]
fn a_failing_command_is_a_remote_error() {
    let url = database();
    let _serving = responder(&url, &["fail", "--exec", "cat >&2; echo ' is wrong' >&2; exit 42"]);
    let failed = run(&url, &["requests", "call", "fail", "it"]);
    assert_eq!(code(&failed), 1);
    assert!(stderr(&failed).contains("remote error 42: it is wrong"), "{}", stderr(&failed));
    let json = run(&url, &["--json", "requests", "call", "fail", "it"]);
    assert_eq!(code(&json), 1);
    assert!(stdout(&json).contains("\"outcome\":\"remote error\",\"code\":\"42\",\"error\":\"it is wrong\""));
    let failed: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    let shown = ok(&url, &["requests", "show", &failed["id"].to_string()]);
    assert!(shown.contains("state\tremote error"), "the request itself: {shown}");
}

#[test]
fn a_failing_line_stops_no_other() {
    let url = database();
    let _serving = responder(&url, &["odd", "--exec", "read n; test $n != 2 || exit 7; echo $n"]);
    let replies = run_with(&url, &["requests", "call", "odd", "--lines"], b"1\n2\n3\n");
    assert_eq!(code(&replies), 1);
    assert_eq!(stdout(&replies), "1\n\n3\n");
    assert!(stderr(&replies).contains("line 2: remote error 7"), "{}", stderr(&replies));
    let json = run_with(&url, &["--json", "requests", "call", "odd", "--lines"], b"1\n2\n");
    assert_eq!(stdout(&json).lines().count(), 2);
    let failed: serde_json::Value = serde_json::from_str(stdout(&json).lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&failed["line"], &failed["outcome"], &failed["code"]),
        (&2.into(), &"remote error".into(), &"7".into())
    );
    assert!(failed["id"].is_i64(), "{failed}");
}

#[test]
fn what_was_sent_arrives_as_it_was() {
    let url = database();
    let _echo = responder(&url, &["echo", "--echo"]);
    let bytes: Vec<u8> = (0..=255).collect();
    let echoed = run_with(&url, &["requests", "call", "echo", "-"], &bytes);
    assert_eq!(echoed.stdout, bytes);
    assert_eq!(ok(&url, &["requests", "call", "echo", "@@home"]), "@home");
    let json = ok(&url, &["--json", "requests", "call", "echo", "{\"a\": 1.50}", "--json-payload"]);
    assert!(json.contains("\"reply\":{\"a\": 1.50}"), "{json}");
    let _env = responder(
        &url,
        &["env", "--exec", "echo \"$TRUNKLINE_TYPE $TRUNKLINE_HEADER_X_COLOR $TRUNKLINE_REQUEST_ID\""],
    );
    let seen = ok(&url, &["requests", "call", "env", "-t", "paint", "-H", "x-color=red"]);
    assert!(seen.starts_with("paint red ") && seen.trim().len() > "paint red ".len(), "{seen}");
}

#[test]
fn a_reader_that_goes_away_ends_the_lines() {
    let url = database();
    let _echo = responder(&url, &["echo", "--echo"]);
    let dir = temporary();
    let file = dir.path().join("lines");
    std::fs::write(&file, "some line of text\n".repeat(20_000)).unwrap();
    let mut command = trunkline(&["-q", "--json", "requests", "call", "echo", "--lines"]);
    command.arg(format!("@{}", file.display())).env("DATABASE_URL", &url);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"line\":1"), "{line}");
    let ended = child.wait_with_output().unwrap();
    assert_eq!((code(&ended), stderr(&ended).as_str()), (0, ""));
}

#[test]
fn a_drain_finishes_what_was_begun() {
    let url = database();
    let dir = temporary();
    let (started, go) = (dir.path().join("started"), dir.path().join("go"));
    let command = format!(
        "touch {}; while ! test -e {}; do sleep 0.02; done; echo finished",
        started.display(),
        go.display()
    );
    let mut serving = responder(&url, &["slow", "--exec", &command]);
    let mut calling = calling(&url, &["slow", "x"]);
    until("the handler to start", || started.exists());
    serving.signal(Signal::SIGTERM);
    serving.wait_for("stopping");
    until("the responder to leave", || {
        sql(&url, "select count(*) from trunkline.request_responders()").as_deref() == Some("0")
    });
    assert!(!serving.ended() && !calling.ended());
    std::fs::write(&go, "").unwrap();
    assert_eq!(calling.end(), (0, "finished\n".to_owned()));
    assert_eq!(serving.end().0, 0);
}

#[test]
fn the_second_signal_ends_at_once() {
    let url = database();
    let dir = temporary();
    let started = dir.path().join("started");
    let mut serving = responder(&url, &["slow", "--exec", &sleeping(&started)]);
    let mut calling = calling(&url, &["slow", "x"]);
    until("the handler to start", || started.exists());
    serving.signal(Signal::SIGINT);
    serving.wait_for("stopping");
    serving.signal(Signal::SIGINT);
    assert_eq!(serving.end().0, 130);
    // Its session is gone, so the call ends as lost and not by its deadline.
    assert_eq!(calling.end().0, 5);
    killed(&started);
}

#[test]
fn a_request_that_ended_kills_its_command() {
    let url = database();
    let dir = temporary();
    let pid = dir.path().join("pid");
    // A child of the shell, so that killing the shell alone would not do.
    let command = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
    let _serving = responder(&url, &["slow", "--exec", &command]);
    let _calling = calling(&url, &["slow", "x", "--timeout", "60s"]);
    until("the handler to start", || pid.exists());
    let id = ok(&url, &["-q", "requests", "ls", "slow"]).split('\t').next().unwrap().to_owned();
    assert!(ok(&url, &["requests", "show", &id]).contains("state\ttaken"));
    ok(&url, &["requests", "cancel", &id]);
    killed(&pid);
    let again = run(&url, &["requests", "cancel", &id]);
    assert_eq!(code(&again), 6, "{}", stderr(&again));
    assert_eq!(code(&run(&url, &["requests", "show", "123456789"])), 4);
}

/// A command that leaves its process number in a file and does not end.
fn sleeping(pid: &Path) -> String {
    format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid.display())
}

/// Waits until the process whose number is in the file is gone.
#[track_caller]
fn killed(pid: &Path) {
    let pid = std::fs::read_to_string(pid).unwrap();
    until("the command to be killed", || gone(pid.trim()));
}

/// Ended, though perhaps nobody has collected it yet.
fn gone(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_call_learns_that_it_was_cancelled() {
    let url = database();
    let dir = temporary();
    let started = dir.path().join("started");
    let _serving = responder(&url, &["slow", "--exec", &sleeping(&started)]);
    let mut calling = calling(&url, &["slow", "x", "--timeout", "20s"]);
    until("the handler to start", || started.exists());
    let id = ok(&url, &["requests", "ls", "slow"]).split('\t').next().unwrap().to_owned();
    ok(&url, &["requests", "cancel", &id]);
    calling.wait_for("cancelled");
    assert_eq!(calling.end().0, 1);
    killed(&started);
}

#[test]
fn an_interrupted_call_is_cancelled() {
    let url = database();
    let dir = temporary();
    let started = dir.path().join("started");
    let _serving = responder(&url, &["slow", "--exec", &sleeping(&started)]);
    let mut calling = calling(&url, &["slow", "x", "--timeout", "60s"]);
    until("the handler to start", || started.exists());
    calling.signal(Signal::SIGINT);
    assert_eq!(calling.end().0, 130);
    let state = "select state from trunkline.request_list()";
    until("the request to end", || sql(&url, state).as_deref() == Some("cancelled"));
    killed(&started);
}

#[test]
fn one_way_gather_and_count() {
    let url = database();
    let mut first = responder(&url, &["all", "--echo", "--count", "2", "--concurrency", "1"]);
    let second = responder(&url, &["all", "--exec", "echo second"]);
    let listed = ok(&url, &["requests", "responders"]);
    assert_eq!(listed.lines().filter(|l| l.starts_with("all\t@")).count(), 2, "{listed}");
    let mut replies: Vec<String> =
        ok(&url, &["requests", "gather", "all", "first", "--most", "2", "--within", "10s"])
            .lines()
            .map(str::to_owned)
            .collect();
    replies.sort_unstable();
    assert_eq!(replies, ["first", "second"]);
    drop(second);
    until("the killed one to be noticed", || ok(&url, &["requests", "responders"]).lines().count() == 1);
    let id = ok(&url, &["requests", "send", "all", "x", "--confirm"]);
    assert!(id.trim().parse::<i64>().unwrap() > 0);
    assert_eq!(first.end().0, 0, "it ends after two");
}

#[test]
fn a_count_is_exact_however_many_wait() {
    let url = database();
    let asked = url.clone();
    let asking = std::thread::spawn(move || {
        let args = ["requests", "call", "few", "--lines", "--wait", "--timeout", "4s"];
        run_with(&asked, &args, "x\n".repeat(10).as_bytes())
    });
    until("all of them to wait", || ok(&url, &["-q", "requests", "ls", "few"]).lines().count() == 10);
    let mut serving = responder(&url, &["few", "--echo", "--count", "3"]);
    assert_eq!(serving.end().0, 0);
    let replies = asking.join().unwrap();
    assert_eq!(stdout(&replies).lines().filter(|l| *l == "x").count(), 3, "{}", stderr(&replies));
}

#[test]
fn only_the_named_types_are_served() {
    let url = database();
    let _serving = responder(&url, &["typed", "--echo", "--type", "a", "--type", "b"]);
    assert_eq!(ok(&url, &["requests", "call", "typed", "x", "-t", "b"]), "x");
    assert_ne!(code(&run(&url, &["requests", "call", "typed", "x", "-t", "c", "--timeout", "1s"])), 0);
}

fn calling(url: &str, args: &[&str]) -> Running {
    let mut command = trunkline(&["requests", "call"]);
    command.args(args).env("DATABASE_URL", url);
    Running::start(command)
}
