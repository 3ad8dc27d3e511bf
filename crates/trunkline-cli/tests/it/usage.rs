//! What needs no database: help, wrong arguments, pipes that break, servers that are not there.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Output, Stdio},
};

use crate::{code, database, ok, run, sql, stderr, stdout, temporary, trunkline};

const NOWHERE: &str = "host=127.0.0.1 port=1 user=u dbname=d";

#[test]
fn help_is_as_written_down() {
    for (file, args) in [
        ("top.txt", &["--help"][..]),
        ("requests.txt", &["requests", "--help"]),
        ("requests-call.txt", &["requests", "call", "--help"]),
        ("requests-serve.txt", &["requests", "serve", "--help"]),
        ("serve.txt", &["serve", "--help"]),
        ("top-live.txt", &["top", "--help"]),
        ("doctor.txt", &["doctor", "--help"]),
        ("check.txt", &["check", "--help"]),
        ("jobs.txt", &["jobs", "--help"]),
        ("jobs-push.txt", &["jobs", "push", "--help"]),
        ("jobs-work.txt", &["jobs", "work", "--help"]),
        ("jobs-retry.txt", &["jobs", "retry", "--help"]),
        ("jobs-cron.txt", &["jobs", "cron", "--help"]),
        ("jobs-cron-add.txt", &["jobs", "cron", "add", "--help"]),
        ("leases.txt", &["leases", "--help"]),
        ("leases-run.txt", &["leases", "run", "--help"]),
        ("topics.txt", &["topics", "--help"]),
        ("topics-pub.txt", &["topics", "pub", "--help"]),
        ("topics-sub.txt", &["topics", "sub", "--help"]),
        ("topics-listen.txt", &["topics", "listen", "--help"]),
        ("streams.txt", &["streams", "--help"]),
        ("streams-append.txt", &["streams", "append", "--help"]),
        ("streams-read.txt", &["streams", "read", "--help"]),
        ("streams-copy.txt", &["streams", "copy", "--help"]),
        ("streams-split.txt", &["streams", "split", "--help"]),
        ("streams-sql.txt", &["streams", "sql", "--help"]),
    ] {
        let help = trunkline(args).output().unwrap();
        assert_eq!(code(&help), 0);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/help").join(file);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &help.stdout).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(stdout(&help), known, "{file}: if this is right, run the tests once with BLESS=1");
    }
}

#[test]
fn wrong_arguments_are_usage_and_a_suggestion() {
    let flag = trunkline(&["requests", "call", "hash", "--timout", "1s"]).output().unwrap();
    assert_eq!(code(&flag), 2);
    assert!(stderr(&flag).contains("--timeout"), "{}", stderr(&flag));
    let word = trunkline(&["reqests"]).output().unwrap();
    assert_eq!(code(&word), 2);
    assert!(stderr(&word).contains("requests"), "{}", stderr(&word));
    for args in [
        &[][..],
        &["requests", "call", "hash", "--timeout", "tomorrow"],
        &["requests", "ls", "--limit", "-1"],
        &["requests", "serve", "hash"],
        &["requests", "serve", "hash", "--echo", "--exec", "cat"],
        &["requests", "call", "hash", "x", "--header", "no-value"],
        &["requests", "call", "hash", "x", "--in-flight", "3"],
    ] {
        assert_eq!(code(&trunkline(args).output().unwrap()), 2, "{args:?}");
    }
}

/// A monitor reads 2 as critical, and 3 as unknown.
#[test]
fn what_is_wrong_with_a_check_is_unknown() {
    let file = temporary();
    let file = file.path().join("trunkline.toml");
    std::fs::write(&file, "zzz = 1\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, wanted) in [
        (&["check", "--waiting-waring", "1m"][..], 3),
        (&["-q", "check", "--dead-warning", "many"], 3),
        (&["check", "--config", file], 3),
        (&["check", "--help"], 0),
        (&["jobs", "push", "check", "--nonsense"], 2),
        (&["doctor", "--nonsense"], 2),
        (&["doctor", "--config", file], 2),
    ] {
        assert_eq!(code(&trunkline(args).output().unwrap()), wanted, "{args:?}");
    }
}

#[test]
fn bad_payloads_are_refused_before_anything_is_sent() {
    for args in [
        &["requests", "call", "hash", "@/nowhere"][..],
        &["requests", "call", "hash", "@/"],
        &["requests", "call", "hash", "@/dev/zero"],
        &["requests", "call", "hash", "{", "--json-payload"],
        &["requests", "call", "hash", "x", "--lines"],
    ] {
        let refused = run(NOWHERE, args);
        assert_eq!(code(&refused), 2, "{args:?}: {}", stderr(&refused));
    }
}

#[test]
fn wrong_settings_and_missing_servers_differ() {
    assert_eq!(code(&run("postgresql://h:x/", &["schema", "check"])), 2);
    let away = run(NOWHERE, &["requests", "call", "hash", "x"]);
    assert_eq!(code(&away), 3, "{}", stderr(&away));
    assert_eq!(code(&run("host=no-such-host.invalid user=u", &["schema", "check"])), 3);
}

#[test]
fn a_password_is_never_shown() {
    let url = "postgresql://u:open-sesame@127.0.0.1:1/d";
    let output = trunkline(&["-vv", "--database-url", url, "schema", "check"]).output().unwrap();
    assert!(stderr(&output).contains("others can read"), "{}", stderr(&output));
    let from_env = run(url, &["-vv", "schema", "check"]);
    assert!(stderr(&from_env).contains("DATABASE_URL"));
    for output in [output, from_env] {
        assert!(!stderr(&output).contains("open-sesame"), "{}", stderr(&output));
    }
}

#[test]
fn a_reader_that_goes_away_is_success() {
    for args in [&["schema", "print"][..], &["--help"], &["man"], &["completions", "bash"]] {
        let mut child = trunkline(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // The reader keeps a buffer; the pipe closes when it is dropped.
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(code(&ended), 0, "{args:?}");
        assert_eq!(stderr(&ended), "", "{args:?}");
    }
}

#[test]
fn the_private_server_starts_by_itself_and_stops() {
    let dir = temporary();
    let data = dir.path().join("pg");
    let with =
        |args: &[&str]| trunkline(&["--no-fetch", "--data-dir"]).arg(&data).args(args).output().unwrap();
    assert_eq!(code(&with(&["db", "status"])), 4);
    let started = with(&["db", "start"]);
    assert_eq!(code(&started), 0, "{}", stderr(&started));
    assert_eq!(code(&run(stdout(&started).trim(), &["schema", "check"])), 0);
    let listed = with(&["requests", "responders"]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    assert!(stderr(&listed).contains("the private PostgreSQL"), "{}", stderr(&listed));
    assert!(stdout(&with(&["db", "url"])).starts_with("postgresql://"));
    assert!(stdout(&with(&["--json", "db", "status"])).contains("\"running\""));
    an_older_state_in_it_is_brought_up_or_told(&stdout(&started), with);
    assert_eq!(code(&with(&["db", "stop"])), 0);
    assert_eq!(code(&with(&["db", "status"])), 3);
    assert_eq!(code(&with(&["db", "url"])), 3);
}

/// What an earlier program left in the private server: functions are replaced; what cannot be brought up can be removed, as it says.
fn an_older_state_in_it_is_brought_up_or_told(url: &str, with: impl Fn(&[&str]) -> Output) {
    let url = url.trim();
    sql(url, "update trunkline.schema_info set functions = 'x'; drop function trunkline.job_queues");
    let brought = with(&["--json", "jobs", "queues"]);
    assert_eq!((code(&brought), stdout(&brought)), (0, String::new()), "{}", stderr(&brought));
    sql(url, "update trunkline.schema_info set structure = 'x', functions = 'x'");
    let told = with(&["jobs", "queues"]);
    assert_eq!(code(&told), 4, "{}", stderr(&told));
    assert!(
        stderr(&told).contains("never released") && !stderr(&told).contains("cannot start"),
        "{}",
        stderr(&told)
    );
    for remedy in [&["schema", "uninstall", "--yes"][..], &["schema", "install"]] {
        assert_eq!(code(&with(remedy)), 0, "{}", stderr(&with(remedy)));
    }
    assert_eq!(code(&with(&["jobs", "queues"])), 0);
}

#[test]
fn a_worker_logs_json_where_it_is_told_to() {
    let url = database();
    ok(&url, &["jobs", "push", "mail", "x"]);
    let work = ["jobs", "work", "mail", "--drain", "--exec", "echo no \u{1b}[0m route >&2; exit 3"];
    let worked = run(&url, &[&["-v", "--log", "json"], &work[..]].concat());
    assert_eq!(code(&worked), 0, "{}", stderr(&worked));
    let lines: Vec<serde_json::Value> = stderr(&worked)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}")))
        .collect();
    assert!(lines.iter().all(|l| l["level"].is_string() && l["timestamp"].is_string()), "{lines:?}");
    assert!(lines.iter().any(|l| l["message"] == "stopped"), "{lines:?}");
    let refused = run(&url, &["-q", "--log", "json", "jobs", "show", "5"]);
    let said: serde_json::Value = serde_json::from_str(&stderr(&refused)).unwrap();
    assert!(said["level"] == "ERROR" && said["message"].as_str().unwrap().contains("no job 5"), "{said}");
}
