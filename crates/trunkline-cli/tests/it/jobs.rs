//! `trunkline jobs`: push, work, look, retry, cancel, pause, deaths.

use std::{fs, process::Command};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{Running, code, database, ok, run, run_with, sql, stderr, stdout, temporary, trunkline, until};

/// What a command prints with `--json`, one value a line.
#[track_caller]
fn rows(url: &str, args: &[&str]) -> Vec<Value> {
    let printed = ok(url, &[&["--json", "jobs"], args].concat());
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Pushes a job: its id.
#[track_caller]
fn push(url: &str, args: &[&str]) -> String {
    ok(url, &[&["-q", "jobs", "push"], args].concat()).trim().to_owned()
}

/// Does what there is with a command: what it said on stderr.
#[track_caller]
fn drain(url: &str, args: &[&str]) -> String {
    let output = run(url, &[&["jobs", "work", "--drain"], args].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stderr(&output)
}

/// The state of a job, and how often it was tried.
fn state(url: &str, id: &str) -> String {
    sql(url, &format!("select concat_ws(' ', state, attempt) from trunkline.job_show({id})")).unwrap()
}

/// A worker under way, once it works.
pub(crate) fn worker(url: &str, args: &[&str]) -> Running {
    let mut command = trunkline(&["jobs", "work"]);
    command.args(args).env("DATABASE_URL", url);
    let mut running = Running::start(command);
    running.wait_for("working");
    running
}

#[test]
fn a_command_gets_each_job_as_it_was_pushed_and_its_result_is_kept() {
    let url = database();
    let args = ["mail", "é one", "--kind", "greet", "-k", "k7", "-H", "x-a=red", "--max-attempts", "3"];
    let first = push(&url, &args);
    let second = ok(&url, &["--json", "jobs", "push", "mail", "{\"n\": 1.50}", "--json-payload"]);
    let second = serde_json::from_str::<Value>(&second).unwrap()["id"].to_string();
    let command = "echo \"$TRUNKLINE_QUEUE $TRUNKLINE_JOB_ID ${TRUNKLINE_KIND:-none} ${TRUNKLINE_KEY-none} \
                   $TRUNKLINE_ATTEMPT $TRUNKLINE_MAX_ATTEMPTS ${TRUNKLINE_HEADER_X_A-none} $(cat)\"";
    let said = drain(&url, &["mail", "--result", "--exec", command]);
    assert!(said.contains("working") && said.contains("done=2 failed=0"), "{said}");
    let shown = |id: &str| rows(&url, &["show", id]).remove(0);
    assert_eq!(shown(&first)["result"], json!(format!("mail {first} greet k7 1 3 red é one\n")));
    assert_eq!(
        shown(&second)["result"],
        json!(format!("mail {second} none none 1 20 none {{\"n\": 1.50}}\n"))
    );
    assert_eq!(
        (&shown(&first)["state"], &shown(&first)["headers"]),
        (&json!("done"), &json!({"x-a": "red"}))
    );
    let text = ok(&url, &["jobs", "show", &second]);
    assert!(text.contains("payload\t{\"n\": 1.50}\n") && text.contains("state\tdone\n"), "{text}");
    assert_eq!(drain(&url, &["-q", "mail", "--exec", "false"]), "", "nothing is left");
}

#[test]
fn lines_become_jobs_and_a_command_does_each_with_the_payload_as_a_word() {
    let url = database();
    let dir = temporary();
    let lines: Vec<String> = (0..300).map(|n| format!("picture {n}")).collect();
    let pushed = run_with(&url, &["jobs", "push", "thumbs", "--lines"], lines.join("\n").as_bytes());
    assert!(code(&pushed) == 0 && stderr(&pushed).contains("300 jobs pushed"), "{}", stderr(&pushed));
    let command = format!("cat > {}/{{}}.txt", dir.path().display());
    let said = drain(&url, &["thumbs", "--concurrency", "8", "--exec", &command]);
    assert!(said.contains("done=300 failed=0"), "{said}");
    for line in &lines {
        assert_eq!(fs::read_to_string(dir.path().join(format!("{line}.txt"))).unwrap(), *line);
    }
    assert_eq!(rows(&url, &["ls", "thumbs", "--state", "done", "--limit", "1000"]).len(), 300);
    let list = dir.path().join("list");
    fs::write(&list, "{\"n\":1}\n{\"n\":2}\nS3cret-\n{\"n\":4}\n").unwrap();
    let file = format!("@{}", list.display());
    let bad = run(&url, &["--json", "jobs", "push", "other", &file, "--lines", "--json-payload"]);
    assert_eq!((code(&bad), stdout(&bad).as_str()), (2, "{\"pushed\":2}\n"));
    assert!(stderr(&bad).contains("line 3") && !stderr(&bad).contains("S3cret"), "{}", stderr(&bad));
    assert_eq!(rows(&url, &["ls", "other"]).len(), 2, "those before it");
}

#[test]
fn a_payload_is_never_taken_for_a_command() {
    let url = database();
    let dir = temporary();
    let trap = dir.path().join("trap");
    let payload =
        format!("a'b; touch {0} $(touch {0}) `touch {0}` \"; touch {0}; \\ * ~\nend", trap.display());
    for command in
        ["printf '<%s>' {}", "printf \"<%s>\" \"{}\"", "sh -c 'printf \"<%s>\" {}'", "printf '<%s>' x{}"]
    {
        let id = push(&url, &["q", &payload]);
        drain(&url, &["q", "--result", "--exec", command]);
        let x = if command.contains("x{}") { "x" } else { "" };
        assert_eq!(rows(&url, &["show", &id])[0]["result"], json!(format!("<{x}{payload}>")), "{command}");
    }
    assert!(!trap.exists(), "the payload was run");
    ok(&url, &["jobs", "set", "q", "max_attempts=1"]);
    for (payload, why) in [(&b"a\0b"[..], "NUL"), (b"\xff\xfe", "UTF-8"), (&[b'x'; 140_000], "140000 bytes")]
    {
        let id = stdout(&run_with(&url, &["-q", "jobs", "push", "q", "-"], payload)).trim().to_owned();
        drain(&url, &["q", "--exec", "echo {}"]);
        let shown = rows(&url, &["show", &id]).remove(0);
        assert_eq!(shown["state"], "dead");
        assert!(shown["errors"][0]["error"].as_str().unwrap().contains(why), "{}", shown["errors"]);
        ok(&url, &["jobs", "retry", &id]);
        drain(&url, &["q", "--exec", &format!("cat > {}", trap.display())]);
        assert_eq!(fs::read(&trap).unwrap(), payload, "stdin takes anything");
    }
}

#[test]
fn what_fails_is_tried_again_and_then_a_dead_letter_that_can_be_replayed() {
    let url = database();
    ok(&url, &["jobs", "create", "q"]);
    ok(&url, &["jobs", "set", "q", "max_attempts=2", "retry_after=0"]);
    let ids: Vec<String> =
        ["a", "b", "c"].iter().map(|kind| push(&url, &["q", "x", "--kind", kind])).collect();
    let said = drain(&url, &["q", "--exec", "echo no tea >&2; exit 42"]);
    assert!(said.contains("done=0 failed=6") && said.contains("exit status 42"), "{said}");
    let dead = rows(&url, &["dead", "q"]);
    assert_eq!(
        dead.iter().map(|d| d["id"].to_string()).collect::<Vec<_>>(),
        ids.iter().rev().cloned().collect::<Vec<_>>()
    );
    assert_eq!((&dead[0]["error"], &dead[0]["attempt"]), (&json!("exit status 42: no tea"), &json!(2)));
    assert!(ok(&url, &["jobs", "show", &ids[0]]).contains("error\tattempt 2 at "));
    assert_eq!(rows(&url, &["dead", "--before", &ids[2], "--limit", "1"])[0]["id"].to_string(), ids[1]);
    assert_eq!(ok(&url, &["jobs", "retry", "--dead", "q", "--dry-run"]), "3\n");
    assert_eq!(rows(&url, &["retry", "--all", "q", "--kind", "c", "--dry-run"]), [json!({"retried": 1})]);
    assert_eq!(ok(&url, &["jobs", "retry", &ids[0]]), "1\n");
    assert_eq!(state(&url, &ids[0]), "waiting 0");
    let again = run(&url, &["jobs", "retry", &ids[0], "999", &ids[1]]);
    assert_eq!((code(&again), stdout(&again).as_str()), (6, "1\n"), "{}", stderr(&again));
    assert!(
        stderr(&again).contains("nothing to retry") && stderr(&again).contains("no job 999"),
        "{}",
        stderr(&again)
    );
    assert_eq!(ok(&url, &["jobs", "retry", "--dead", "q"]), "1\n");
    let said = drain(&url, &["q", "--exec", "true"]);
    assert!(said.contains("done=3 failed=0"), "{said}");
    assert_eq!(rows(&url, &["dead"]).len(), 0);
    let twin = ["q", "x", "--unique", "u", "--max-attempts", "1"];
    let id = push(&url, &twin);
    drain(&url, &["q", "--exec", "exit 1"]);
    push(&url, &twin);
    let refused = run(&url, &["jobs", "retry", &id]);
    assert!(code(&refused) == 6 && stderr(&refused).contains("unique_key"), "{}", stderr(&refused));
}

#[test]
fn jobs_wait_for_their_time_their_turn_and_their_queue() {
    let url = database();
    let late = push(&url, &["q", "late", "--delay", "1h"]);
    let later = push(&url, &["q", "later", "--at", "tomorrow"]);
    let past = push(&url, &["q", "past", "--at", "2001-01-01"]);
    let same = push(&url, &["q", "one", "--unique", "u", "--priority", "9"]);
    assert_eq!(push(&url, &["q", "two", "--unique", "u"]), same);
    assert_eq!((state(&url, &late), state(&url, &later)), ("scheduled 0".into(), "scheduled 0".into()));
    let due = "select extract(epoch from due_at - now()) between 3500 and 3600 from trunkline.job_show";
    assert_eq!(sql(&url, &format!("{due}({late})")).as_deref(), Some("t"));
    assert_eq!(rows(&url, &["pause", "q"]), [json!({"queue": "q", "paused": true, "new": true})]);
    let paused = run(&url, &["jobs", "pause", "q"]);
    assert!(code(&paused) == 0 && stderr(&paused).contains("before"), "{}", stderr(&paused));
    assert!(drain(&url, &["q", "--exec", "true"]).contains("done=0"));
    assert_ne!(rows(&url, &["queues"])[0]["paused_at"], Value::Null);
    ok(&url, &["jobs", "resume", "q"]);
    assert!(drain(&url, &["q", "--exec", "true"]).contains("done=2"));
    assert_eq!((state(&url, &past), state(&url, &same)), ("done 1".into(), "done 1".into()));
    assert_eq!(ok(&url, &["jobs", "retry", &late]), "1\n");
    assert!(drain(&url, &["q", "--exec", "true"]).contains("done=1"));
    let stats = rows(&url, &["stats", "q"]).remove(0);
    assert_eq!((&stats["done"], &stats["scheduled"], &stats["waiting"]), (&json!(3), &json!(1), &json!(0)));
}

#[test]
fn a_cancelled_job_never_runs_and_the_command_of_one_that_runs_is_killed() {
    let url = database();
    let dir = temporary();
    let (began, survived) = (dir.path().join("began"), dir.path().join("survived"));
    let waits = push(&url, &["q", "x", "--delay", "1h"]);
    assert_eq!(ok(&url, &["jobs", "cancel", &waits]), "1\n");
    let again = run(&url, &["jobs", "cancel", &waits, "998"]);
    assert_eq!((code(&again), stdout(&again).as_str()), (6, "0\n"), "{}", stderr(&again));
    let runs = push(&url, &["q", "x"]);
    let command = format!("touch {}; sleep 1000; touch {}", began.display(), survived.display());
    let mut running = worker(&url, &["q", "--exec", &command]);
    until("the command to run", || began.exists());
    ok(&url, &["jobs", "cancel", &runs]);
    running.wait_for("cancelled");
    until("it to be cancelled", || state(&url, &runs).starts_with("cancelled"));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().0, 0);
    assert!(!survived.exists());
    for _ in 0..3 {
        push(&url, &["q", "x"]);
    }
    let asked = run(&url, &["jobs", "cancel", "--all", "q"]);
    assert!(code(&asked) == 8 && stderr(&asked).contains("--yes"), "{}", stderr(&asked));
    assert_eq!(ok(&url, &["jobs", "cancel", "--all", "q", "--dry-run"]), "3\n");
    assert_eq!(ok(&url, &["-y", "jobs", "cancel", "--all", "q"]), "3\n");
    assert!(drain(&url, &["q", "--exec", "true"]).contains("done=0"));
    assert_eq!(rows(&url, &["ls", "q", "--state", "cancelled"]).len(), 5);
}

#[test]
fn what_takes_too_long_is_killed_and_has_failed() {
    let url = database();
    let id = push(&url, &["q", "x", "--max-attempts", "1"]);
    let dir = temporary();
    let pid = dir.path().join("pid");
    let command = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let said = drain(&url, &["q", "--timeout", "300ms", "--exec", &command]);
    assert!(said.contains("timed out") && said.contains("failed=1"), "{said}");
    assert_eq!(state(&url, &id), "dead 1");
    let pid = fs::read_to_string(pid).unwrap();
    let gone = || !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists() || zombie(pid.trim());
    until("what the command started to be killed", gone);
}

fn zombie(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_worker_that_is_told_to_stop_ends_its_job_first_and_what_has_no_end_is_handed_back() {
    let url = database();
    let dir = temporary();
    let (began, go) = (dir.path().join("began"), dir.path().join("go"));
    let slow =
        format!("echo x >> {0}; while ! test -e {1}; do sleep 0.02; done", began.display(), go.display());
    let id = push(&url, &["q", "x"]);
    let mut stopped = worker(&url, &["q", "--exec", &slow, "--concurrency", "1"]);
    until("the command to run", || began.exists());
    let next = push(&url, &["q", "y"]);
    stopped.signal(Signal::SIGTERM);
    stopped.wait_for("stopping");
    fs::write(&go, "").unwrap();
    assert_eq!(stopped.end().0, 0);
    assert_eq!((state(&url, &id), state(&url, &next)), ("done 1".into(), "waiting 0".into()));
    fs::remove_file(&go).unwrap();
    fs::remove_file(&began).unwrap();
    let mut impatient = worker(&url, &["q", "--exec", &slow, "--grace", "50ms"]);
    until("the command to run again", || began.exists());
    impatient.signal(Signal::SIGTERM);
    impatient.wait_for("handed back");
    assert_eq!(impatient.end().0, 0);
    assert_eq!(state(&url, &next), "waiting 0", "the attempt does not count");
    fs::remove_file(&began).unwrap();
    let mut twice = worker(&url, &["q", "--exec", &slow]);
    until("the command to run once more", || began.exists());
    twice.signal(Signal::SIGINT);
    twice.wait_for("stopping");
    twice.signal(Signal::SIGINT);
    assert_eq!(twice.end().0, 130);
    let _other = worker(&url, &["q", "--exec", "true"]);
    until("it to be handed on and done", || state(&url, &next) == "done 2");
}

#[test]
fn the_job_of_a_killed_worker_runs_again_elsewhere_as_its_second_attempt() {
    let url = database();
    let dir = temporary();
    let seen = dir.path().join("seen");
    // Nobody can kill the commands of a killed worker: they end when this test's files are gone.
    let command = format!(
        "echo $TRUNKLINE_ATTEMPT >> {0}; while test $TRUNKLINE_ATTEMPT = 1 && test -e {0}; do sleep 0.02; done",
        seen.display()
    );
    let ids = [push(&url, &["q", "ring"]), push(&url, &["q", "held", "-k", "k"])];
    let killed = worker(&url, &["q", "--exec", &command]);
    until("both to run", || fs::read(&seen).is_ok_and(|s| s == b"1\n1\n"));
    killed.signal(Signal::SIGKILL);
    drop(killed);
    let mut other = worker(&url, &["q", "--exec", &command]);
    until("both to be done", || ids.iter().all(|id| state(&url, id) == "done 2"));
    assert_eq!(fs::read(&seen).unwrap(), b"1\n1\n2\n2\n");
    other.signal(Signal::SIGTERM);
    assert_eq!(other.end().0, 0);
}

#[test]
fn a_worker_takes_as_many_as_it_was_told_from_several_queues() {
    let url = database();
    for queue in ["a", "b"] {
        for _ in 0..3 {
            push(&url, &[queue, "x"]);
        }
    }
    let output = run(&url, &["jobs", "work", "a", "b", "--count", "4", "--exec", "true"]);
    assert!(code(&output) == 0 && stderr(&output).contains("done=4"), "{}", stderr(&output));
    let waiting: Vec<i64> = rows(&url, &["stats"]).iter().map(|s| s["waiting"].as_i64().unwrap()).collect();
    assert_eq!(waiting.iter().sum::<i64>(), 2);
}

#[test]
fn unique_jobs_are_skipped_replaced_and_expire() {
    let url = database();
    let first = ok(&url, &["jobs", "push", "q", "a", "--unique", "u", "--delay", "1h", "--ttl", "1m"]);
    for args in [&["b"][..], &["c", "--on-conflict", "replace"], &["d", "--unique-while", "waiting"]] {
        assert_eq!(ok(&url, &[&["jobs", "push", "q", "--unique", "u"], args].concat()), first);
    }
    assert_eq!(rows(&url, &["show", first.trim()])[0]["payload"], json!("c"));
    let twice = ["jobs", "push", "q", "x", "--unique-payload", "--unique-for", "1h"];
    assert_eq!(ok(&url, &twice), ok(&url, &twice));
    for args in [
        &["--on-conflict", "replace"][..],
        &["--unique-for", "1h"],
        &["--unique-while", "done"],
        &["--unique", "u", "--unique-payload"],
        &["--unique", "u", "--unique-for", "1h", "--on-conflict", "skip"],
        &["--ttl", "4000d"],
    ] {
        assert_eq!(code(&run(&url, &[&["jobs", "push", "q", "x"], args].concat())), 2, "{args:?}");
    }
}

#[test]
fn queues_are_made_listed_and_set() {
    let url = database();
    let made = rows(&url, &["create", "fast", "--volatile"]);
    assert_eq!(made, rows(&url, &["create", "fast"]), "once");
    ok(&url, &["jobs", "create", "safe"]);
    let differs = run(&url, &["jobs", "create", "safe", "--volatile"]);
    assert!(code(&differs) == 6 && stderr(&differs).contains("durable"), "{}", stderr(&differs));
    ok(&url, &["jobs", "set", "fast", "max_running=2", "max_attempts=7"]);
    ok(&url, &["jobs", "set", "safe", "rate_limit=9", "rate_period=1 min", "overflow=drop_oldest"]);
    let settings = rows(&url, &["queues"]).remove(1)["settings"].take();
    assert_eq!((&settings["rate_limit"], &settings["overflow"]), (&json!(9), &json!("drop_oldest")));
    let listed = ok(&url, &["jobs", "queues"]);
    assert_eq!(listed, "fast\tfalse\t\t2\t7\nsafe\ttrue\t\t0\t20\n");
    push(&url, &["safe", "S3cret-", "--kind", "k", "--priority", "2"]);
    let job = rows(&url, &["ls", "safe", "--kind", "k"]).remove(0);
    assert_eq!(
        (&job["queue"], &job["state"], &job["priority"]),
        (&json!("safe"), &json!("waiting"), &json!(2))
    );
    assert!(!ok(&url, &["jobs", "ls"]).contains("S3cret"));
    assert_eq!(rows(&url, &["ls", "safe", "--kind", "other"]).len(), 0);
    assert!(ok(&url, &["jobs", "stats"]).starts_with("fast\t0\t"));
}

#[test]
fn bad_input_is_refused_and_nothing_is_written() {
    let url = database();
    ok(&url, &["jobs", "create", "q"]);
    for (args, expected, words) in [
        (&["push", "Mail", "S3cret-"][..], 2, "queue name"),
        (&["push", "pg_x", "S3cret-"], 2, "reserved"),
        (&["push", "q", "S3cret-", "--priority", "0"], 2, "1..=9"),
        (&["push", "q", "S3cret-", "--delay", "5m", "--at", "tomorrow"], 2, "cannot be used"),
        (&["push", "q", "S3cret-", "--delay", "soon"], 2, "examples"),
        (&["push", "q", "S3cret-", "--delay", "999years"], 2, "3650 days"),
        (&["push", "q", "S3cret-", "--at", "soon-ish"], 2, "--at"),
        (&["push", "q", "S3cret-", "--max-attempts", "0"], 2, "10000"),
        (&["push", "q", "S3cret-", "--kind", &"k".repeat(101)], 2, "at most 100 bytes, got 101"),
        (&["push", "q", "S3cret-", "-k", &"k".repeat(1001)], 2, "at most 1000 bytes, got 1001"),
        (&["push", "q", "S3cret-", "-H", "k=a\nb"], 2, "line breaks"),
        (&["push", "q", "{S3cret-", "--json-payload"], 2, "not JSON"),
        (&["push", "q", "@/nowhere"], 2, "/nowhere"),
        (&["push", "q", "--lines", "--unique", "u"], 2, "cannot be used"),
        (&["push", "q", "S3cret-", "--lines"], 2, "stdin or @file"),
        (&["work", "q"], 2, "--exec"),
        (&["work", "--exec", "cat"], 2, "QUEUE"),
        (&["work", "Mail", "--exec", "cat"], 2, "queue name"),
        (&["work", "q", "--exec", "cat", "--concurrency", "0"], 2, "--concurrency"),
        (&["work", "q", "--exec", "cat", "--timeout", "0s"], 2, "more than 0"),
        (&["work", "q", "--exec", "cat", "--count", "0"], 2, "--count"),
        (&["ls", "--state", "asleep"], 2, "possible values"),
        (&["ls", "none"], 4, "there is no queue \"none\""),
        (&["ls", "--limit", "0"], 2, "--limit"),
        (&["show", "seven"], 2, "invalid"),
        (&["show", "7"], 4, "no job 7"),
        (&["retry"], 2, "required"),
        (&["retry", "7"], 4, "no job 7"),
        (&["retry", "7", "--dead", "q"], 2, "cannot be used"),
        (&["retry", "7", "--dry-run"], 2, "cannot be used"),
        (&["cancel", "7", "--state", "dead"], 2, "possible values"),
        (&["retry", "--dead", "none"], 4, "none"),
        (&["retry", "--all", "q", "--state", "done"], 2, "possible values"),
        (&["cancel", "x"], 2, "invalid"),
        (&["cancel", "8"], 4, "no job 8"),
        (&["-y", "cancel", "--all", "none"], 4, "none"),
        (&["dead", "none"], 4, "none"),
        (&["stats", "none"], 4, "none"),
        (&["create", "A B"], 2, "queue name"),
        (&["pause", "none"], 4, "none"),
        (&["resume", "none"], 4, "none"),
        (&["set", "q", "max_bytes=9", "max_bites=1"], 2, "max_bites"),
        (&["set", "q", "max_running=lots"], 2, "max_running"),
        (&["set", "q", "max_bytes"], 2, "name=value"),
        (&["set", "none", "max_bytes=9"], 4, "none"),
        (&["wrok"], 2, "work"),
    ] {
        let refused = run(&url, &[&["-q", "jobs"], args].concat());
        let said = stderr(&refused);
        assert!(code(&refused) == expected && said.contains(words), "{args:?}: {} {said}", code(&refused));
        assert!(!said.contains("S3cret") && !said.contains("panicked"), "{args:?}: {said}");
        assert!(["", "0\n"].contains(&stdout(&refused).as_str()), "{args:?}: {}", stdout(&refused));
    }
    assert_eq!(rows(&url, &["ls"]).len(), 0);
    let queues = rows(&url, &["queues"]);
    assert_eq!((queues.len(), &queues[0]["max_running"]), (1, &json!(0)));
    let large = temporary();
    let file = large.path().join("large");
    fs::write(&file, "S3cret-".repeat(1 << 18)).unwrap();
    let refused = run(&url, &["-q", "jobs", "push", "q", &format!("@{}", file.display())]);
    let said = stderr(&refused);
    assert!(
        code(&refused) == 2 && said.contains("at most 1048576 bytes") && !said.contains("S3cret"),
        "{said}"
    );
}

#[test]
fn progress_is_for_a_terminal_and_goes_away() {
    let url = database();
    let dir = temporary();
    let list = dir.path().join("list");
    fs::write(&list, "1\n2\n3\n").unwrap();
    let binary = env!("CARGO_BIN_EXE_trunkline");
    let terminal = |command: &str| {
        // util-linux's script gives the command a terminal.
        let output = Command::new("script")
            .args(["-qec", &format!("{binary} {command}"), "/dev/null"])
            .env("DATABASE_URL", &url)
            .envs([("TERM", "xterm"), ("NO_COLOR", "1")])
            .output()
            .unwrap();
        (code(&output), stdout(&output))
    };
    let (pushed, said) = terminal(&format!("jobs push q @{} --lines", list.display()));
    assert!(pushed == 0 && said.contains("3 jobs pushed\r\n"), "{said:?}");
    let (worked, said) = terminal("jobs work q --drain --concurrency 1 --exec 'sleep 0.3'");
    assert!(worked == 0 && said.contains("/3") && said.contains("done=3"), "{said:?}");
    let (_, plain) = (0, drain(&url, &["q", "--exec", "true"]));
    assert!(!plain.contains('\r') && !plain.contains("/0"), "{plain:?}");
}

#[test]
fn who_waits_gets_the_result_and_an_exit_status_that_says_how_it_ended() {
    let url = database();
    let exec = "case $(cat) in ok) echo \"yes: $TRUNKLINE_KIND\";; bytes) printf '\\377';; *) echo bad >&2; exit 3;; esac";
    let _worker = worker(&url, &["q", "--result", "--exec", exec]);
    let push = |args: &[&str]| run(&url, &[&["jobs", "push", "q", "--wait"], args].concat());
    let done = push(&["ok", "--kind", "k"]);
    assert_eq!((code(&done), stdout(&done).as_str()), (0, "yes: k\n"));
    assert!(stderr(&done).contains("waiting for job "), "{}", stderr(&done));
    assert_eq!(push(&["bytes"]).stdout, [0xff]);
    let dead = push(&["x", "--max-attempts", "1"]);
    assert_eq!((code(&dead), stdout(&dead).as_str()), (1, ""));
    assert!(
        stderr(&dead).contains("failed for good: ") && stderr(&dead).contains("bad"),
        "{}",
        stderr(&dead)
    );
    let late = push(&["ok", "--delay", "1h", "--timeout", "50ms"]);
    assert_eq!(code(&late), 5);
    assert!(stderr(&late).contains("had not ended within 50ms; it goes on"), "{}", stderr(&late));
    let shown: Value =
        serde_json::from_str(&ok(&url, &["--json", "jobs", "push", "q", "ok", "--wait"])).unwrap();
    assert_eq!((&shown["state"], &shown["result"]), (&json!("done"), &json!("yes: \n")));
    assert_eq!(code(&push(&["--lines"])), 2);
    assert_eq!(code(&run(&url, &["jobs", "push", "q", "x", "--timeout", "1s"])), 2, "only with --wait");
}

#[test]
fn a_job_shows_how_far_it_has_come() {
    let url = database();
    let id = push(&url, &["q", "x"]);
    let told = "select trunkline.job_progress(claim, 40, 'resizing') from trunkline.job_take('q')";
    sql(&url, told);
    let text = ok(&url, &["jobs", "show", &id]);
    assert!(text.contains("progress\t40\nprogress_message\tresizing\nprogress_at\t"), "{text}");
    assert_eq!(rows(&url, &["show", &id])[0]["progress"], json!(40));
    let other = push(&url, &["q", "y"]);
    assert!(!ok(&url, &["jobs", "show", &other]).contains("progress"), "nothing was said");
}
