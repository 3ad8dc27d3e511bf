//! `trunkline pgq`: the ticker, the queues and the consumers, in a database of the adapter.

use nix::sys::signal::Signal;

use crate::{Running, database, ok, run, sql, trunkline, until};

fn adapter() -> String {
    let url = database();
    ok(&url, &["schema", "install", "--pgq"]);
    let made = "select pgq.create_queue('orders') + pgq.register_consumer('orders', 'mailer')";
    assert_eq!(sql(&url, made).as_deref(), Some("2"));
    url
}

#[test]
fn queues_and_consumers_are_listed() {
    let url = adapter();
    assert!(ok(&url, &["pgq", "queues"]).starts_with("orders\t"));
    let consumers = ok(&url, &["pgq", "consumers", "--json"]);
    assert!(
        consumers.contains("\"consumer\":\"mailer\"") && consumers.contains("\"queue\":\"orders\""),
        "{consumers}"
    );
}

#[test]
fn a_ticker_ticks_and_a_second_stands_by_until_it_ends() {
    let url = adapter();
    let ticking = || {
        let mut command = trunkline(&["pgq", "ticker", "--every", "100ms"]);
        command.env("DATABASE_URL", &url);
        Running::start(command)
    };
    sql(&url, "select pgq.set_queue_config('orders', 'ticker_max_lag', '0 s')::text");
    let mut first = ticking();
    first.wait_for("ticking");
    let mut second = ticking();
    second.wait_for("standing by");
    sql(&url, "select pgq.insert_event('orders', 't', 'x')::text");
    until("a batch", || {
        sql(&url, "select pgq.next_batch('orders', 'mailer')").is_some_and(|b| !b.is_empty())
    });
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().0, 0);
    second.wait_for("ticking");
}

#[test]
fn once_says_what_was_done_and_a_database_without_pgq_is_told() {
    let url = adapter();
    assert!(ok(&url, &["pgq", "ticker", "--once"]).contains("maintenance\t"));
    let bare = database();
    for args in [&["pgq", "queues"][..], &["pgq", "ticker"], &["pgq", "ticker", "--once"]] {
        let out = run(&bare, args);
        assert_eq!(out.status.code(), Some(4), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(String::from_utf8_lossy(&out.stderr).contains("pgq"));
    }
}
