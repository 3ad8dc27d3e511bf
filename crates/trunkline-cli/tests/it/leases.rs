//! `trunkline leases`: a program on exactly one machine, whoever is killed or frozen.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Running, code, database, ok, run, sql, temporary, trunkline, until};

/// Runs a script while it holds the lease `l`; each start is a line with the fence and the program's process id.
fn holder(url: &str, file: &Path, options: &[&str], script: &str) -> Running {
    let script = format!("echo $TRUNKLINE_LEASE $TRUNKLINE_FENCE $$ >> {}; {script}", file.display());
    let mut command = trunkline(&["leases", "run", "l"]);
    command.args(options).args(["--", "sh", "-c", &script]).env("DATABASE_URL", url);
    Running::start(command)
}

fn starts(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits for so many starts: the process id of the last.
#[track_caller]
fn started(file: &Path, n: usize) -> i32 {
    until("the program to start", || starts(file).len() >= n);
    let last = starts(file).pop().unwrap();
    let (lease, rest) = last.split_once(' ').unwrap();
    assert_eq!(lease, "l");
    rest.split_once(' ').unwrap().1.parse().unwrap()
}

/// It is there, and no zombie.
fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "))
}

fn listed(url: &str) -> Value {
    serde_json::from_str(&ok(url, &["--json", "leases", "show", "l"])).unwrap()
}

#[test]
fn a_program_runs_once_and_the_next_one_begins_when_its_runner_is_killed_or_frozen() {
    let (url, dir) = (database(), temporary());
    let file = dir.path().join("starts");
    let mut runners: Vec<Running> = (0..3)
        .map(|n| {
            let name = format!("runner-{n}");
            let runner = holder(&url, &file, &["--held-by", &name], "sleep 600 & wait");
            until("it to hold or to wait", || {
                listed_or_nothing(&url).is_some_and(|l| l["waiting"] == n && !l["held_by"].is_null())
            });
            runner
        })
        .collect();
    let first = started(&file, 1);
    let shown = listed(&url);
    assert_eq!((&shown["held_by"], &shown["fence"]), (&"runner-0".into(), &1.into()));
    assert_eq!(shown["waiters"], serde_json::json!(["runner-1", "runner-2"]));
    assert!(ok(&url, &["leases", "ls"]).starts_with("l\t1\trunner-0\t"));

    runners[0].signal(Signal::SIGKILL);
    let second = started(&file, 2);
    assert!(!runs(first), "the first program ends before the second begins");
    runners[1].signal(Signal::SIGSTOP);
    let third = started(&file, 3);
    assert!(!runs(second), "the second program ends though its runner is frozen");
    assert!(runs(third));
    let fences: Vec<String> = starts(&file).iter().map(|s| s.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(fences, ["1", "2", "3"]);
    runners[1].signal(Signal::SIGCONT);
    until("the frozen one to wait again", || listed(&url)["waiting"] == 1);
    runners[2].signal(Signal::SIGTERM);
    assert_eq!(runners[2].end().0, 128 + 15, "the signal is passed on, and ended the program");
    started(&file, 4);
    assert!(!runs(third));
    runners[1].signal(Signal::SIGINT);
    runners[1].end();
}

#[test]
fn a_watch_says_who_holds_it_and_each_change() {
    let url = database();
    let mut watching = trunkline(&["leases", "watch", "l"]);
    let mut watching =
        watching.env("DATABASE_URL", &url).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut says = |expected: &str| {
        let line = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with(expected));
        assert!(line.is_some(), "{expected:?}");
    };
    says("l\t0\t\t");
    let id = "00000000-0000-4000-8000-00000000000";
    for (n, fence) in [(1, 1), (2, 3)] {
        let acquire = format!("select trunkline.lease_acquire('l', '{id}{n}', '1 min', 'holder-{n}')");
        assert_eq!(sql(&url, &acquire), Some(fence.to_string()));
        says(&format!("l\t{fence}\tholder-{n}\t2"));
        ok(&url, &["-y", "leases", "resign", "l", "--force"]);
        says(&format!("l\t{}\t\t", fence + 1)); // taken away: what its holder still tries is stale at once
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
}

fn listed_or_nothing(url: &str) -> Option<Value> {
    serde_json::from_slice(&run(url, &["--json", "leases", "show", "l"]).stdout).ok()
}

#[test]
fn exit_codes_tell_what_became_of_the_program() {
    let (url, dir) = (database(), temporary());
    let file = dir.path().join("starts");
    let with = |args: &[&str]| code(&run(&url, &[&["leases", "run", "l"], args].concat()));
    assert_eq!(with(&["--", "sh", "-c", "exit 7"]), 7);
    assert_eq!(with(&["--", "sh", "-c", "kill -9 $$"]), 128 + 9);
    assert_eq!(with(&["--", "/no/such/program"]), 127);
    assert_eq!(with(&["--ttl", "10ms", "--", "true"]), 2);
    assert_eq!(with(&[]), 2);
    assert_eq!(code(&run(&url, &["leases", "show", "nothing"])), 4);
    assert_eq!(code(&run(&url, &["leases", "resign", "nothing"])), 4);
    assert_eq!(code(&run(&url, &["leases", "resign", "l"])), 4, "nobody holds it");

    let mut once =
        holder(&url, &file, &["--once", "--stop-within", "1s"], "trap '' TERM; while :; do sleep 1; done");
    let program = started(&file, 1);
    assert_eq!(with(&["--within", "0s", "--", "true"]), 5);
    assert_eq!(with(&["--within", "100ms", "--", "true"]), 5);
    assert_eq!(code(&run(&url, &["leases", "resign", "l", "--force"])), 8, "not without being asked");
    ok(&url, &["leases", "resign", "l"]);
    assert_eq!(once.end().0, 6);
    assert!(!runs(program), "killed, since it does not stop by itself");
    assert_eq!(with(&["--", "true"]), 0);
}

#[test]
fn what_is_taken_away_or_cut_off_is_stopped_and_comes_again() {
    let (url, dir) = (database(), temporary());
    let file = dir.path().join("starts");
    let mut runner = holder(&url, &file, &[], "sleep 600");
    let first = started(&file, 1);
    ok(&url, &["-y", "leases", "resign", "l", "--force"]);
    let second = started(&file, 2);
    assert!(!runs(first));
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    sql(&url, cut);
    started(&file, 3);
    assert!(!runs(second));
    runner.signal(Signal::SIGUSR1);
    let (ended, _) = runner.end();
    assert_eq!(ended, 128 + 10, "other signals are passed on");
}

#[test]
fn a_guard_kills_the_program_when_it_hears_nothing_more_in_time_and_when_nobody_is_there() {
    for stays in [true, false] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut guard = trunkline(&["leases", "guard", "--", "sh", "-c", "sleep 600 & wait"]);
        let mut guard = guard.stdin(OwnedFd::from(theirs)).spawn().unwrap();
        (&ours).write_all(if stays { b"for 200\n" } else { b"for 600000\n" }).unwrap();
        let mut said = String::new();
        BufReader::new(&ours).read_line(&mut said).unwrap();
        let pid: i32 = said.strip_prefix("pid ").unwrap().trim().parse().unwrap();
        let ours = stays.then_some(ours);
        until("the guard to end", || guard.try_wait().unwrap().is_some());
        until("the program to end", || !runs(pid));
        drop(ours);
    }
    assert_eq!(
        code(&trunkline(&["leases", "guard", "--", "true"]).output().unwrap()),
        7,
        "by hand it is no use"
    );
}
