//! `trunkline streams`: append, read, members, deaths.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{Running, code, database, ok, run, run_with, sql, stderr, stdout, temporary, trunkline, until};

/// A fresh database with a stream "orders" and a consumer "c": its URL.
pub(crate) fn orders() -> String {
    let url = database();
    ok(&url, &["streams", "create", "orders"]);
    ok(&url, &["streams", "register", "orders", "c"]);
    url
}

/// What the consumer gets now.
#[track_caller]
pub(crate) fn read(url: &str, consumer: &str) -> String {
    ok(url, &["-q", "streams", "read", "orders", "-c", consumer])
}

/// A command under way.
pub(crate) fn start(url: &str, args: &[&str]) -> Running {
    let mut command = trunkline(&["-q", "streams"]);
    command.args(args).env("DATABASE_URL", url);
    Running::start(command)
}

/// Appends the numbers from 1 to so many.
pub(crate) fn numbers(url: &str, most: u32) -> Vec<String> {
    let lines: Vec<String> = (1..=most).map(|n| n.to_string()).collect();
    let output =
        run_with(url, &["-q", "streams", "append", "orders", "--lines"], lines.join("\n").as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    lines
}

#[test]
fn a_repair_lets_a_restored_stream_go_on_where_it_was() {
    let url = orders();
    ok(&url, &["streams", "append", "orders", "before"]);
    sql(&url, "update trunkline.epoch set system_identifier = 1");
    let refused = run(&url, &["streams", "append", "orders", "refused"]);
    assert!(stderr(&refused).contains("schema repair"), "{}", stderr(&refused));
    assert_eq!(ok(&url, &["streams", "repair"]), "epoch\t2\n");
    ok(&url, &["streams", "append", "orders", "after"]);
    assert_eq!(ok(&url, &["streams", "read", "orders", "-c", "c"]), "before\nafter\n");
}

#[test]
fn what_is_appended_is_read_once_as_it_was() {
    let url = orders();
    let append = |args: &[&str]| ok(&url, &[&["streams", "append", "orders"], args].concat());
    let id: i64 = append(&["tea", "-t", "made", "-k", "7", "-H", "a=b"]).trim().parse().unwrap();
    append(&["{\"n\": 1.50}", "--json-payload"]);
    append(&["@@home"]);
    run_with(&url, &["streams", "append", "orders", "-"], b"two\nlines\0and a NUL");
    run_with(&url, &["streams", "append", "orders", "-"], &[0xff, b'\n', 0]);
    let shown = ok(&url, &["--json", "streams", "read", "orders", "-c", "c"]);
    let events: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &events[0];
    assert_eq!(
        (first["id"].as_i64(), &first["type"], &first["key"]),
        (Some(id), &json!("made"), &json!("7"))
    );
    assert_eq!((&first["payload"], &first["headers"]), (&json!("tea"), &json!({"a": "b"})));
    assert!(first["at"].as_str().unwrap().ends_with('Z') && first["attempt"] == 1);
    assert!(shown.contains("\"payload\":{\"n\": 1.50}"), "{shown}");
    let rest: Vec<&Value> =
        [&events[2]["payload"], &events[3]["payload"], &events[4]["payload_base64"]].into();
    assert_eq!(rest, [&json!("@home"), &json!("two\nlines\0and a NUL"), &json!("/woA")]);
    assert_eq!((events.len(), read(&url, "c").as_str()), (5, ""), "it came once");
    let again = ["streams", "read", "orders", "-c", "plain", "--at", "beginning"];
    assert!(ok(&url, &again).starts_with("tea\n{\"n\": 1.50}\n@home\ntwo\\nlines\0and a NUL\n"));
    let raw = ["streams", "read", "orders", "-c", "raw", "--at", "like:c", "--raw"];
    assert_eq!(ok(&url, &raw), "", "it begins where the other one stands");
}

#[test]
fn a_hundred_thousand_lines_are_appended_in_seconds_and_in_order() {
    let url = orders();
    let since = Instant::now();
    let lines: Vec<String> = (0..100_000).map(|n| format!("line {n}")).collect();
    let output = run_with(&url, &["streams", "append", "orders", "--lines"], lines.join("\n").as_bytes());
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""), "{}", stderr(&output));
    assert!(stderr(&output).contains("100000 events appended"), "{}", stderr(&output));
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    let ordered = "select count(*) || ' ' || bool_and(convert_from(payload, 'UTF8') = 'line ' || n - 1)
        from (select payload, row_number() over (order by id) as n from trunkline.stream_event) e";
    assert_eq!(sql(&url, ordered).as_deref(), Some("100000 true"));
}

#[test]
fn a_line_that_is_there_is_not_kept_waiting_and_a_large_input_is_never_held() {
    let url = orders();
    let mut command = trunkline(&["streams", "append", "orders", "--lines", "-t", "line"]);
    let mut child =
        command.env("DATABASE_URL", &url).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let count = |n: &str| sql(&url, "select count(*) from trunkline.stream_event").as_deref() == Some(n);
    stdin.write_all(b"first\n\nthi").unwrap();
    until("the lines to be there", || count("2"));
    stdin.write_all(b"rd\n").unwrap();
    until("the line to be there", || count("3"));
    let line = [vec![b'x'; 8191], b"\n".to_vec()].concat();
    let all = 12_000;
    (0..all).for_each(|_| stdin.write_all(&line).unwrap());
    until("all to be there", || count(&(all + 3).to_string()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB for {} KiB", all * 8);
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    assert!(code(&ended) == 0 && stderr(&ended).contains("12003 events appended"), "{}", stderr(&ended));
}

#[test]
fn a_refused_line_ends_it_after_those_before_it_or_before_all_of_them() {
    let url = orders();
    ok(&url, &["streams", "set", "orders", "max_bytes=8"]);
    let append = |args: &[&str], lines: &[u8]| {
        run_with(&url, &[&["streams", "append", "orders", "--lines"], args].concat(), lines)
    };
    let refused = append(&[], b"one\ntwo\nS3cret-too-large\nfour\n");
    assert_eq!(code(&refused), 2);
    let said = stderr(&refused);
    assert!(
        said.contains("2 events appended") && said.contains("line 3: payload") && said.contains("got 16"),
        "{said}"
    );
    assert_eq!(read(&url, "c"), "one\ntwo\n");
    let none = append(&["--atomic"], b"one\nS3cret-too-large\n");
    assert!(code(&none) == 2 && stderr(&none).contains("0 events appended"), "{}", stderr(&none));
    for args in [&["--json-payload"][..], &["--json-payload", "--atomic"]] {
        let refused = append(args, b"1\n{\"a\":2}\n{S3cret\n4");
        let said = stderr(&refused);
        assert!(code(&refused) == 2 && said.contains("line 3") && !said.contains("S3cret"), "{said}");
    }
    assert_eq!(read(&url, "c"), "1\n{\"a\":2}\n");
    assert_eq!(code(&append(&["--atomic"], b"1\n2\n")), 0);
    assert_eq!(read(&url, "c"), "1\n2\n");
}

#[test]
fn it_ends_when_nothing_is_left_or_after_so_many_or_follows() {
    let url = orders();
    let lines = numbers(&url, 30);
    let some = |most: &str| ok(&url, &["streams", "read", "orders", "-c", "c", "--max", most]);
    assert_eq!(some("1"), "1\n");
    assert_eq!(some("12").lines().collect::<Vec<_>>(), lines[1..13]);
    assert_eq!(some("99").lines().collect::<Vec<_>>(), lines[13..]);
    assert_eq!(some("1"), "");
    for (signal, expected) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 0)] {
        let mut command = trunkline(&["streams", "read", "orders", "-c", "c", "--follow"]);
        let mut child = command.env("DATABASE_URL", &url).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        for text in ["a", "b"] {
            ok(&url, &["streams", "append", "orders", text]);
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line.trim(), text);
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        until("it to end", || child.try_wait().unwrap().is_some());
        assert_eq!(child.wait().unwrap().code(), Some(expected));
    }
    assert_eq!(read(&url, "c"), "", "what was printed is finished");
}

#[test]
fn a_killed_reader_loses_nothing() {
    let url = orders();
    let lines: Vec<String> = (0..4000).map(|n| format!("{n} {}", "x".repeat(200))).collect();
    run_with(&url, &["-q", "streams", "append", "orders", "--lines"], lines.join("\n").as_bytes());
    let mut command = trunkline(&["streams", "read", "orders", "-c", "c"]);
    let mut child = command.env("DATABASE_URL", &url).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::with_capacity(16, child.stdout.take().unwrap());
    // It has a batch in hand, more of it than the pipe takes, when it is killed.
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("0 "), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    let again = read(&url, "c");
    assert_eq!(again.lines().collect::<Vec<_>>(), lines, "what was not finished comes again");
    assert_eq!(read(&url, "c"), "");
}

#[test]
fn a_reader_of_the_output_that_goes_away_is_success_and_what_it_did_not_get_comes_again() {
    let url = orders();
    let lines: Vec<String> = (0..4000).map(|n| format!("{n} {}", "x".repeat(200))).collect();
    run_with(&url, &["-q", "streams", "append", "orders", "--lines"], lines.join("\n").as_bytes());
    let mut command = trunkline(&["-q", "streams", "read", "orders", "-c", "c"]);
    let mut child =
        command.env("DATABASE_URL", &url).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((code(&ended), stderr(&ended).as_str()), (0, ""));
    assert_eq!(read(&url, "c").lines().count(), 4000);
}

#[test]
fn a_command_gets_each_event_and_its_failure_is_a_retry() {
    let url = orders();
    ok(&url, &["streams", "set", "orders", "-c", "c", "max_attempts=2"]);
    let dir = temporary();
    let seen = dir.path().join("seen");
    let command = format!(
        "echo \"$TRUNKLINE_STREAM $TRUNKLINE_TYPE ${{TRUNKLINE_KEY-none}} $TRUNKLINE_HEADER_X_A $TRUNKLINE_ATTEMPT $(cat)\" \
         | tee -a {}; test \"$TRUNKLINE_TYPE\" != bad || {{ echo no tea >&2; exit 42; }}",
        seen.display()
    );
    let append = |args: &[&str]| ok(&url, &[&["streams", "append", "orders"], args].concat());
    append(&["one", "-t", "good", "-k", "7", "-H", "x-a=red"]);
    append(&["two", "-t", "bad"]);
    append(&["three"]);
    let exec = ["streams", "read", "orders", "-c", "c", "--exec", &command];
    let first = run(&url, &exec);
    assert_eq!(stdout(&first), "orders good 7 red 1 one\norders bad none  1 two\norders  none  1 three\n");
    assert!(code(&first) == 0 && stderr(&first).contains("exit status 42: no tea"), "{}", stderr(&first));
    until("it to come again", || ok(&url, &exec) == "orders bad none  2 two\n");
    assert_eq!(
        sql(&url, "select cause from trunkline.stream_dead").as_deref(),
        Some("exit status 42: no tea")
    );
    assert_eq!(ok(&url, &exec), "", "a dead letter does not come again");
    let fast =
        ["streams", "read", "orders", "-c", "d", "--at", "beginning", "--concurrency", "3", "--exec", "cat"];
    let mut all: Vec<String> = ok(&url, &fast).split_inclusive('e').map(str::to_owned).collect();
    all.sort_unstable();
    assert_eq!(all.concat().len(), "onetwothree".len());
}

#[test]
fn a_killed_readers_command_runs_again_and_a_stopped_ones_ends_first() {
    let url = orders();
    let dir = temporary();
    let (began, go) = (dir.path().join("began"), dir.path().join("go"));
    let slow = format!("cat >> {0}; while ! test -e {1}; do sleep 0.02; done", began.display(), go.display());
    numbers(&url, 1);
    let args = ["read", "orders", "-c", "c", "--follow", "--exec", &slow];
    let killed = start(&url, &args);
    until("the command to run", || std::fs::read(&began).is_ok_and(|b| b == b"1"));
    killed.signal(Signal::SIGKILL);
    drop(killed);
    let mut stopped = start(&url, &args);
    until("the command to run again", || std::fs::read(&began).is_ok_and(|b| b == b"11"));
    stopped.signal(Signal::SIGTERM);
    std::fs::write(&go, "").unwrap();
    assert_eq!(stopped.end().0, 0);
    assert_eq!(read(&url, "c"), "", "it was finished");
}

#[test]
fn one_member_holds_a_batch_and_another_waits_shares_or_takes_it() {
    let url = orders();
    numbers(&url, 20);
    let dir = temporary();
    let began = dir.path().join("began");
    let hold = format!("touch {}; exec sleep 1000", began.display());
    let _holder = start(&url, &["read", "orders", "-c", "c", "--exec", &hold]);
    until("it to hold a batch", || began.exists());
    let held = run(&url, &["-q", "streams", "read", "orders", "-c", "c"]);
    assert_eq!((code(&held), stdout(&held).as_str()), (6, ""));
    assert!(stderr(&held).contains("held by another member"), "{}", stderr(&held));
    let shared = ok(&url, &["streams", "read", "orders", "-c", "c", "--share"]);
    assert_eq!(shared.lines().collect::<Vec<_>>(), ["17", "18", "19", "20"]);
    let taken = ok(&url, &["streams", "read", "orders", "-c", "c", "--take"]);
    assert_eq!(taken.lines().count(), 16);
}

#[test]
fn streams_and_consumers_come_and_go() {
    let url = database();
    let made = ok(&url, &["--json", "streams", "create", "orders"]);
    assert_eq!(made, ok(&url, &["--json", "streams", "create", "orders"]), "once");
    assert!(made.contains("\"stream\":\"orders\""), "{made}");
    let early = ok(&url, &["streams", "append", "orders", "early"]);
    assert!(early.trim().parse::<i64>().unwrap() > 0);
    ok(&url, &["streams", "register", "orders", "end"]);
    assert!(
        ok(&url, &["--json", "streams", "register", "orders", "all", "--at", "beginning"])
            .contains("\"new\":true")
    );
    let again = run(&url, &["streams", "register", "orders", "all"]);
    assert!(code(&again) == 0 && stderr(&again).contains("stays where it is"), "{}", stderr(&again));
    assert_eq!((read(&url, "end").as_str(), read(&url, "all").as_str()), ("", "early\n"));
    ok(&url, &["streams", "append", "orders", "late"]);
    let tick = ok(&url, &["streams", "tick", "orders"]);
    assert!(tick.trim().parse::<i64>().unwrap() > 0);
    assert_eq!(ok(&url, &["streams", "tick", "orders"]), "");
    assert_ne!(ok(&url, &["streams", "tick", "orders", "--force"]), "");
    let asked = run(&url, &["streams", "drop", "orders"]);
    assert!(code(&asked) == 8 && stderr(&asked).contains("--yes"), "{}", stderr(&asked));
    assert_eq!(code(&run(&url, &["streams", "unregister", "orders", "end"])), 8);
    ok(&url, &["-y", "streams", "unregister", "orders", "end"]);
    let used = run(&url, &["-y", "streams", "drop", "orders"]);
    assert!(code(&used) == 6 && stderr(&used).contains("has consumers"), "{}", stderr(&used));
    ok(&url, &["-y", "streams", "drop", "orders", "--force"]);
    assert_eq!(code(&run(&url, &["-y", "streams", "drop", "orders"])), 4);
}

#[test]
fn bad_input_is_refused_and_nothing_is_written() {
    let url = orders();
    let wide = format!("k={}", "S3cret-".repeat(1_200));
    for (args, expected, words) in [
        (&["append", "none", "S3cret-"][..], 4, "there is no stream \"none\""),
        (&["append", "orders", "S3cret-", "-t", &"t".repeat(101)], 2, "at most 100 bytes, got 101"),
        (&["append", "orders", "S3cret-", "-k", &"k".repeat(1001)], 2, "at most 1000 bytes, got 1001"),
        (&["append", "orders", "S3cret-", "-H", &wide], 2, "8192"),
        (&["append", "orders", "S3cret-", "-H", "k=a\nb"], 2, "line breaks"),
        (&["append", "orders", "{S3cret-", "--json-payload"], 2, "not JSON"),
        (&["append", "orders", "@/nowhere"], 2, "/nowhere"),
        (&["append", "orders", "@/dev/zero"], 2, "67108864"),
        (&["append", "orders", "S3cret-", "--lines"], 2, "stdin or @file"),
        (&["append", "orders", "--atomic"], 2, "--lines"),
        (&["create", "Orders"], 2, "name"),
        (&["create", "pg_x"], 2, "reserved"),
        (&["create", &"x".repeat(49)], 2, "48"),
        (&["register", "orders", "A B"], 2, "consumer name"),
        (&["register", "none", "x"], 4, "none"),
        (&["register", "orders", "x", "--at", "tick:99"], 4, "tick:99"),
        (&["register", "orders", "x", "--at", "tick:x"], 2, "tick:7"),
        (&["register", "orders", "x", "--at", "like:nobody"], 4, "like:nobody"),
        (&["register", "orders", "x", "--at", "tomorrow-ish"], 2, "a position is"),
        (&["-y", "unregister", "orders", "nobody"], 4, "nobody"),
        (&["tick", "none"], 4, "none"),
        (&["read", "orders"], 2, "--consumer"),
        (&["read", "orders", "-c", "nobody"], 4, "no consumer \"nobody\""),
        (&["read", "none", "-c", "c"], 4, "none"),
        (&["read", "orders", "-c", "c", "--max", "0"], 2, "--max"),
        (&["read", "orders", "-c", "c", "--share", "--take"], 2, "cannot be used"),
        (&["read", "orders", "-c", "c", "--exec", "cat", "--raw"], 2, "cannot be used"),
        (&["read", "orders", "-c", "c", "--concurrency", "2"], 2, "--exec"),
        (&["raed"], 2, "read"),
    ] {
        let refused = run(&url, &[&["-q", "streams"], args].concat());
        let said = stderr(&refused);
        assert!(code(&refused) == expected && said.contains(words), "{args:?}: {} {said}", code(&refused));
        assert!(
            !said.contains("S3cret") && !said.contains("panicked") && refused.stdout.is_empty(),
            "{args:?}: {said}"
        );
    }
    assert_eq!(sql(&url, "select count(*) from trunkline.stream_event").as_deref(), Some("0"));
    let large = temporary();
    let file = large.path().join("large");
    std::fs::write(&file, "S3cret-".repeat(1 << 18)).unwrap();
    let refused = run(&url, &["-q", "streams", "append", "orders", &format!("@{}", file.display())]);
    assert!(
        code(&refused) == 2 && stderr(&refused).contains("at most 1048576 bytes"),
        "{}",
        stderr(&refused)
    );
    ok(&url, &["streams", "set", "orders", "closed=true"]);
    assert_eq!(code(&run(&url, &["streams", "append", "orders", "x"])), 6);
}

#[test]
fn control_characters_are_escaped_on_a_terminal() {
    let url = orders();
    run_with(&url, &["streams", "append", "orders", "-"], b"\x1b]0;title\x07 and \xff\x1b[2J");
    let binary = env!("CARGO_BIN_EXE_trunkline");
    let shown = |more: &str| {
        let command = format!(
            "{binary} -q streams read orders -c t --at beginning {more}; {binary} -q -y streams unregister orders t"
        );
        // util-linux's script gives the command a terminal.
        Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("DATABASE_URL", &url)
            .output()
            .unwrap()
    };
    let escaped = stdout(&shown(""));
    assert!(escaped.contains("\\x1b]0;title\\x07 and") && !escaped.contains('\u{1b}'), "{escaped:?}");
    assert!(stdout(&shown("--raw")).contains("\u{1b}]0;title"), "as it is when that is asked for");
}
