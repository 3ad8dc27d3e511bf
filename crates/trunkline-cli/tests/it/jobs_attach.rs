//! `trunkline jobs attach`, `detach`, `attached`, and what is done with many jobs at once: from the shell and psql alone.

use serde_json::{Value, json};

use crate::{Running, code, database, ok, run, sql, stderr, stdout, temporary, trunkline, until};

/// What a command prints with `--json`, one value a line.
#[track_caller]
fn rows(url: &str, args: &[&str]) -> Vec<Value> {
    let printed = ok(url, &[&["--json", "jobs"], args].concat());
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn rows_that_psql_writes_are_done_by_a_command_and_their_status_is_written_back() {
    let url = database();
    let dir = temporary();
    sql(
        &url,
        "create schema \"My App\"; create table \"My App\".\"Mails\" (id serial primary key, status text default 'new', body text)",
    );
    let table = "\"My App\".\"Mails\"";
    sql(&url, &format!("insert into {table} (body) values ('before')"));
    let attach = ["--json", "jobs", "attach", table, "--queue", "mail", "--payload", "body", "--existing"];
    assert_eq!(ok(&url, &attach), "{\"pushed\":1}\n");
    let mut command = trunkline(&["jobs", "work", "mail", "--exec"]);
    // A line in one write: two commands may run at once.
    command.arg(format!("test {{}} != bad && echo \"$(cat)\" >> {}/done", dir.path().display()));
    command.env("DATABASE_URL", &url);
    let mut worker = Running::start(command);
    worker.wait_for("working");
    sql(&url, "select trunkline.job_set('mail', 'max_attempts', '1')");
    sql(&url, &format!("insert into {table} (body) values ('one'), ('bad'), ('two')"));
    let states = format!("select string_agg(body || ' ' || status, ', ' order by id) from {table}");
    until("all to be written back", || {
        sql(&url, &states).unwrap() == "before success, one success, bad error, two success"
    });
    sql(&url, &format!("update {table} set status = 'new', body = 'good' where body = 'bad'"));
    until("the one that was reset", || {
        sql(&url, &states).unwrap() == "before success, one success, good success, two success"
    });
    let mut done: Vec<_> =
        std::fs::read_to_string(dir.path().join("done")).unwrap().lines().map(str::to_owned).collect();
    done.sort();
    assert_eq!(done, ["before", "good", "one", "two"]);
    let listed = rows(&url, &["attached"]).remove(0);
    assert_eq!(
        (&listed["table"], &listed["queue"], &listed["payload_column"], &listed["unwritten"]),
        (&json!(table), &json!("mail"), &json!("body"), &json!(0))
    );
    ok(&url, &["jobs", "detach", table]);
    assert!(rows(&url, &["attached"]).is_empty());
    sql(&url, &format!("insert into {table} (body) values ('late')"));
    assert_eq!(rows(&url, &["ls", "mail"]).len(), 5);
}

#[test]
fn a_table_that_is_not_there_or_cannot_be_attached_is_told_apart() {
    let url = database();
    sql(&url, "create table keyless (status text); create table t (id int primary key, status text)");
    for (args, exit, said) in [
        (&["attach", "My.Table", "--queue", "q"][..], 4, "there is no table My.Table"),
        (&["attach", "keyless", "--queue", "q"], 2, "no primary key"),
        (&["attach", "t", "--queue", "q", "--status", "Status"], 2, "no column \"Status\""),
        (&["attach", "T", "--queue", "trunkline"], 2, "reserved"),
        (&["detach", "t"], 4, "not attached"),
        (&["attach", "t"], 2, "--queue"),
    ] {
        let refused = run(&url, &[&["jobs"], args].concat());
        assert_eq!(code(&refused), exit, "{args:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains(said), "{args:?}: {}", stderr(&refused));
    }
    ok(&url, &["jobs", "attach", "t", "--queue", "q"]);
    assert_eq!(code(&run(&url, &["jobs", "attach", "t", "--queue", "q"])), 6);
}

#[test]
fn jobs_are_listed_retried_cancelled_and_deleted_by_what_they_are() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push_json('q', jsonb_build_object('to', 'a' || n % 2), key => 'k' || n, run_at => now() + interval '1 h')
           from generate_series(1, 6) n",
    );
    let of_a1 = ["--payload", "{\"to\":\"a1\"}"];
    assert_eq!(rows(&url, &[&["ls", "q"][..], &of_a1].concat()).len(), 3);
    let first = rows(&url, &["ls", "q", "--after", "0", "--limit", "1"])[0]["key"].clone();
    assert_eq!(first, "k1", "the oldest first");
    let all = |verb: &str, more: &[&str]| {
        let args = [&["-y", "jobs", verb, "--all", "q"][..], more].concat();
        ok(&url, &args).trim().to_owned()
    };
    assert_eq!(all("cancel", &["--state", "scheduled", "--payload", "{\"to\":\"a1\"}", "--dry-run"]), "3");
    assert_eq!(all("cancel", &["--state", "scheduled", "--payload", "{\"to\":\"a1\"}"]), "3");
    assert_eq!(all("cancel", &["--state", "scheduled", "--key", "k2"]), "1");
    assert_eq!(all("cancel", &["--state", "scheduled", "--older-than", "1h"]), "0");
    assert_eq!(all("retry", &["--state", "cancelled", "--key", "k1"]), "1");
    assert_eq!(all("delete", &["--state", "cancelled", "--dry-run"]), "3");
    let refused = run(&url, &["jobs", "delete", "--all", "q", "--state", "cancelled"]);
    assert_eq!(code(&refused), 8, "{}", stderr(&refused));
    assert_eq!(all("delete", &["--state", "cancelled"]), "3");
    let left = rows(&url, &["ls", "q", "--after", "0"]);
    assert_eq!(left.len(), 3);
    let one = left[0]["id"].to_string();
    let waits = run(&url, &["jobs", "delete", &one]);
    assert_eq!((code(&waits), stdout(&waits).as_str()), (6, "0\n"), "{}", stderr(&waits));
    ok(&url, &["jobs", "cancel", &one]);
    assert_eq!(ok(&url, &["jobs", "delete", &one]), "1\n");
    assert_eq!(code(&run(&url, &["jobs", "show", &one])), 4);
    assert_eq!(code(&run(&url, &["jobs", "ls", "--payload", "{"])), 2);
}
