//! `trunkline streams copy`, `split`, `sql`: each event exactly once, whatever dies.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use nix::sys::signal::Signal;

use crate::{
    code, database, ok, run, sql, stderr,
    streams::{numbers, orders, start},
    until,
};

/// Keeps batches of a database from being finished, until it is dropped.
struct Unfinishable(Child);

impl Unfinishable {
    fn new(url: &str) -> Self {
        let mut psql = Command::new("psql");
        let mut child =
            psql.args(["-XAtq", url]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lock = b"begin; lock table trunkline.stream_take_end in exclusive mode;\n";
        child.stdin.as_mut().unwrap().write_all(lock).unwrap();
        let held = "select count(*) from pg_locks where relation = 'trunkline.stream_take_end'::regclass
            and mode = 'ExclusiveLock' and granted";
        until("the lock", || sql(url, held).as_deref() == Some("1"));
        Self(child)
    }
}

impl Drop for Unfinishable {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Kills the command where it finishes its batch, and lets batches be finished again.
fn kill_at_the_finish(url: &str, args: &[&str]) {
    let locked = Unfinishable::new(url);
    let killed = start(url, args);
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%stream_finish%'";
    until("it to finish its batch", || sql(url, waiting).as_deref() == Some("1"));
    killed.signal(Signal::SIGKILL);
    drop(killed);
    // What waits for a lock does not notice that its client is gone.
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%stream_finish%'";
    sql(url, end);
    until("its session to end", || sql(url, waiting).as_deref() == Some("0"));
    drop(locked);
}

fn payloads(url: &str, stream: &str) -> Vec<String> {
    let read = ok(url, &["-q", "streams", "read", stream, "-c", "look", "--at", "beginning"]);
    ok(url, &["-y", "streams", "unregister", stream, "look"]);
    read.lines().map(str::to_owned).collect()
}

#[test]
fn a_copy_is_the_same_and_goes_on_where_it_ended() {
    let url = orders();
    ok(&url, &["streams", "create", "more"]);
    ok(&url, &["streams", "append", "orders", "tea", "-t", "made", "-k", "7", "-H", "a=b"]);
    ok(&url, &["streams", "append", "orders", "{\"n\":1}", "--json-payload"]);
    sql(&url, "select trunkline.stream_append_bytes('orders', '\\xff00')");
    let copy = ["streams", "copy", "orders", "--to", "more"];
    let output = run(&url, &copy);
    assert!(code(&output) == 0 && stderr(&output).contains("3 events copied"), "{}", stderr(&output));
    let same = "select count(*) from trunkline.stream_event a join trunkline.stream_event b
        on (a.type, a.key, a.content, a.payload, a.headers) is not distinct from (b.type, b.key, b.content, b.payload, b.headers)
        where a.segment / 4 = 1 and b.segment / 4 = 2";
    assert_eq!(sql(&url, same).as_deref(), Some("3"));
    numbers(&url, 5);
    assert!(ok(&url, &["--json", "streams", "copy", "orders", "--to", "more"]).contains("\"events\":5"));
    assert_eq!(payloads(&url, "more").len(), 8);
}

#[test]
fn a_copy_into_another_database_that_is_killed_before_its_finish_is_exactly_once() {
    let (url, other) = (orders(), orders());
    let lines = numbers(&url, 1500);
    let copy = ["copy", "orders", "--to", "orders", "--to-url", &other, "--consumer", "c"];
    kill_at_the_finish(&url, &copy);
    assert_eq!(
        sql(&other, "select count(*) from trunkline.stream_event").as_deref(),
        Some("1000"),
        "it was appended"
    );
    ok(&url, &[&["-q", "streams"], &copy[..]].concat());
    assert_eq!(payloads(&other, "orders"), lines);
    assert_eq!(ok(&url, &[&["--json", "streams"], &copy[..]].concat()), "{\"events\":0}\n");
}

#[test]
fn a_copy_that_cannot_go_on_loses_nothing() {
    let (url, other) = (orders(), orders());
    numbers(&url, 3);
    let copy = |to: &str, url_of: &str| {
        run(&url, &["-q", "streams", "copy", "orders", "--to", to, "--to-url", url_of, "-c", "copier"])
    };
    let missing = copy("missing", &other);
    assert!(code(&missing) == 4 && stderr(&missing).contains("missing"), "{}", stderr(&missing));
    sql(&other, "update trunkline.stream set max_bytes = 0");
    let large = copy("orders", &other);
    assert!(code(&large) == 2 && stderr(&large).contains("at most 0 bytes"), "{}", stderr(&large));
    assert_eq!(code(&copy("orders", "host=127.0.0.1 port=1 user=u dbname=d")), 3);
    sql(&other, "update trunkline.stream set max_bytes = 100");
    assert_eq!(code(&copy("orders", &other)), 0);
    assert_eq!(payloads(&other, "orders"), ["1", "2", "3"]);
    let seen = copy("orders", "postgresql://u:open-sesame@127.0.0.1:1/d");
    assert!(code(&seen) == 3 && stderr(&seen).contains("others can read"), "{}", stderr(&seen));
    assert!(!stderr(&seen).contains("open-sesame"));
    let itself = run(&url, &["streams", "copy", "orders", "--to", "orders"]);
    assert!(code(&itself) == 2 && stderr(&itself).contains("into itself"), "{}", stderr(&itself));
}

#[test]
fn a_split_gives_each_event_to_the_stream_that_it_names() {
    let url = orders();
    for (text, kind, key) in [("1", "made", "a"), ("2", "paid", "b"), ("3", "made", "A b"), ("4", "", "b")] {
        ok(&url, &["streams", "append", "orders", text, "-t", kind, "-k", key]);
    }
    let split = |args: &[&str]| run(&url, &[&["-q", "streams", "split", "orders"], args].concat());
    let nameless = split(&["--by", "type", "--to", "by.{}", "--create"]);
    assert!(code(&nameless) == 2 && stderr(&nameless).contains("--rest"), "{}", stderr(&nameless));
    let missing = split(&["--by", "type", "--to", "by.{}", "--rest", "by.rest"]);
    assert!(code(&missing) == 4 && stderr(&missing).contains("by.made"), "{}", stderr(&missing));
    let done = split(&["--by", "type", "--to", "by.{}", "--rest", "by.rest", "--create"]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert_eq!(payloads(&url, "by.made"), ["1", "3"]);
    assert_eq!((payloads(&url, "by.paid"), payloads(&url, "by.rest")), (vec!["2".into()], vec!["4".into()]));
    assert_eq!(code(&split(&["--by", "key", "--to", "k.{}", "--rest", "by.rest", "--create"])), 0);
    assert_eq!(
        (payloads(&url, "k.b"), payloads(&url, "by.rest")),
        (vec!["2".into(), "4".into()], vec!["4".into(), "3".into()])
    );
    for bad in [&["--by", "type", "--to", "x"][..], &["--by", "size", "--to", "{}"], &["--by", "type"]] {
        assert_eq!(code(&split(bad)), 2, "{bad:?}");
    }
    let circle = split(&["--by", "type", "--to", "{}", "--rest", "orders", "-c", "circle"]);
    assert_ne!(code(&circle), 0);
}

const INSERT: &str = "insert into done values (:id, :type, :key, :payload, :headers, :at, :attempt)";

fn done(url: &str) {
    sql(
        url,
        "create table done (id bigint, type text, key text, payload text, headers jsonb, at timestamptz, n int)",
    );
}

#[test]
fn a_statement_gets_its_values_bound_and_never_put_into_its_text() {
    let url = orders();
    done(&url);
    let hostile = "'); drop table done; -- :id $1 {}";
    ok(&url, &["streams", "append", "orders", hostile, "-t", "made", "-H", "a=b"]);
    ok(&url, &["-q", "streams", "sql", "orders", "-c", "c", "-s", INSERT]);
    let row =
        sql(&url, "select type, key is null, payload, headers, at > now() - interval '1 hour', n from done");
    assert_eq!(row.unwrap(), format!("made|t|{hostile}|{{\"a\": \"b\"}}|t|1"));
    sql(&url, "create table typed (a jsonb, b bytea, c int, d text)");
    ok(&url, &["streams", "append", "orders", "42", "--json-payload"]);
    let many = "insert into typed select :payload, :payload, :payload, 'a :payload' || :payload::text";
    ok(&url, &["-q", "streams", "sql", "orders", "-c", "c", "-s", many]);
    assert_eq!(sql(&url, "select * from typed").as_deref(), Some("42|\\x3432|42|a :payload42"));
    sql(&url, "select trunkline.stream_append_bytes('orders', '\\xff00')");
    ok(&url, &["-q", "streams", "sql", "orders", "-c", "c", "-s", "insert into typed (b) values (:payload)"]);
    assert_eq!(sql(&url, "select b from typed where a is null").as_deref(), Some("\\xff00"));
}

#[test]
fn a_statement_that_is_killed_before_its_commit_ran_exactly_once() {
    let url = orders();
    done(&url);
    numbers(&url, 30);
    kill_at_the_finish(&url, &["sql", "orders", "-c", "c", "-s", INSERT]);
    assert_eq!(sql(&url, "select count(*) from done").as_deref(), Some("0"), "rolled back");
    ok(&url, &["-q", "streams", "sql", "orders", "-c", "c", "-s", INSERT]);
    ok(&url, &["-q", "streams", "sql", "orders", "-c", "c", "-s", INSERT]);
    assert_eq!(sql(&url, "select count(*), count(distinct id) from done").as_deref(), Some("30|30"));
}

#[test]
fn a_statement_that_fails_ends_it_with_nothing_done_or_its_event_comes_again() {
    let url = orders();
    ok(&url, &["streams", "set", "orders", "-c", "c", "max_attempts=1"]);
    sql(&url, "create table numbers (n int)");
    for text in ["1", "two", "3"] {
        ok(&url, &["streams", "append", "orders", text]);
    }
    let statement = "insert into numbers values (:payload::int)";
    let each = |more: &[&str]| {
        run(&url, &[&["streams", "sql", "orders", "-c", "c", "-s", statement], more].concat())
    };
    let failed = each(&[]);
    assert!(code(&failed) == 2 && stderr(&failed).contains("event 2: "), "{}", stderr(&failed));
    assert_eq!(sql(&url, "select count(*) from numbers").as_deref(), Some("0"));
    let retried = each(&["--retry"]);
    assert!(code(&retried) == 0 && stderr(&retried).contains("22P02"), "{}", stderr(&retried));
    assert_eq!(sql(&url, "select string_agg(n::text, ',') from numbers").as_deref(), Some("1,3"));
    assert_eq!(sql(&url, "select left(cause, 5) from trunkline.stream_dead").as_deref(), Some("22P02"));
}

#[test]
fn bad_statements_are_refused_before_anything_is_taken() {
    let url = orders();
    numbers(&url, 1);
    for (statement, words) in [
        ("insert into nowhere values (:id)", "nowhere"),
        ("insert into", "the statement"),
        ("select 1; select 2", "the statement"),
        ("select :idd", ":payload"),
        ("select $1", ":payload"),
        ("commit", "transaction"),
    ] {
        let refused = run(&url, &["-q", "streams", "sql", "orders", "-c", "c", "-s", statement]);
        assert!(code(&refused) == 2 && stderr(&refused).contains(words), "{statement}: {}", stderr(&refused));
    }
    assert_eq!(
        sql(&url, "select count(*) from trunkline.stream_take where attempt > 1 or turn > 0").as_deref(),
        Some("0")
    );
    let elsewhere = database();
    assert_eq!(code(&run(&elsewhere, &["streams", "sql", "orders", "-c", "c", "-s", "select :id"])), 4);
}
