//! The daemon killed and frozen: between its duties, while it buries and while it turns; with another one beside it.
//!
//! A daemon is held at a step by a gate, a trigger in which its statement waits, seen in `pg_stat_activity`. What it had sent
//! is then carried out without it, or cut off.

use std::process::Command;

use nix::sys::signal::Signal;
use trunkline_embedded::Mode;

use crate::{
    Running, database, http::Served, ok, responder, sql, stderr, stdout, temporary, trunkline, until,
};

/// A daemon that goes by a name.
fn clock(url: &str, name: &str) -> Running {
    let mut command = trunkline(&["serve"]);
    command.env("DATABASE_URL", url).env("PGAPPNAME", name);
    let mut clock = Running::start(command);
    clock.wait_for("serving");
    clock
}

/// Statements in a session that ends after the last one: what that says.
fn session(url: &str, name: &str, statements: &[&str]) -> String {
    let mut psql = Command::new("psql");
    psql.env("PGAPPNAME", name).args(["-XAtq", "-v", "ON_ERROR_STOP=1"]);
    for statement in statements {
        psql.args(["-c", statement]);
    }
    let done = psql.arg(url).output().unwrap();
    assert!(done.status.success(), "{statements:?}: {}", stderr(&done));
    stdout(&done)
}

fn is(url: &str, statement: &str) -> bool {
    sql(url, statement).as_deref() == Some("t")
}

/// From now on `clock-a` waits where it does this, until the gate is open.
fn gate(url: &str, before: &str) {
    session(
        url,
        "",
        &[
            "create table if not exists public.gate (open boolean)",
            "truncate public.gate",
            "insert into public.gate values (false)",
            "create or replace function public.gate() returns trigger language plpgsql as $$
             begin
                 while not (select g.open from public.gate g) loop
                     perform pg_catalog.pg_sleep(0.005);
                 end loop;
                 return new;
             end $$",
            &format!(
                "create trigger gate before {before}
                 when (current_setting('application_name') = 'clock-a') execute function public.gate()"
            ),
        ],
    );
}

fn at_gate(url: &str) {
    until("the daemon to be at the gate", || {
        is(
            url,
            "select exists (select from pg_stat_activity where datname = current_database()
                and application_name = 'clock-a' and wait_event = 'PgSleep')",
        )
    });
}

fn open(url: &str) {
    sql(url, "update public.gate set open = true");
}

/// Ends a daemon that is at the gate, and what it had sent with it.
fn cut_off(url: &str, clock: &mut Running) {
    clock.signal(Signal::SIGKILL);
    clock.child.wait().unwrap();
    sql(
        url,
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'clock-a' and datname = current_database()",
    );
}

fn gone(url: &str, name: &str) {
    until(&format!("the session of {name} to be buried"), || {
        is(url, &format!("select not exists (select from trunkline.session where application = '{name}')"))
    });
}

#[test]
fn requests_flow_while_one_daemon_is_killed_and_another_frozen() {
    let url = database();
    let mut serving = responder(&url, &["flow", "--echo"]);
    let (mut a, mut b) = (clock(&url, "clock-a"), clock(&url, "clock-b"));
    let dir = temporary();
    let file = dir.path().join("lines");
    let lines: String = (0..3_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(&file, &lines).unwrap();
    let call = || ok(&url, &["requests", "call", "flow", "--lines", &format!("@{}", file.display())]);
    std::thread::scope(|scope| {
        let flow = scope.spawn(|| {
            let first = call();
            (first, call())
        });
        a.signal(Signal::SIGKILL);
        a.child.wait().unwrap();
        b.signal(Signal::SIGSTOP);
        gone(&url, "clock-a");
        assert_eq!(flow.join().unwrap(), (lines.clone(), lines.clone()), "each is answered, in order");
    });
    b.signal(Signal::SIGCONT);
    until("the frozen one to be back", || {
        is(&url, "select exists (select from trunkline.session where application = 'clock-b')")
    });
    serving.signal(Signal::SIGTERM);
    assert_eq!(serving.end().0, 0);
    session(&url, "dead", &["select trunkline.request_serve('work')"]);
    gone(&url, "dead");
    b.signal(Signal::SIGTERM);
    assert_eq!(b.end().0, 0);
}

/// A daemon that buries somebody who held two requests, and what happens to it; what it had sent `commits` or does not.
fn burying(signal: Signal, commits: bool) {
    let url = database();
    gate(&url, "insert on trunkline.buried for each row");
    session(
        &url,
        "dead",
        &[
            "select trunkline.request_serve('work')",
            "select trunkline.request_send('work', 'again', idempotent => true)",
            "select trunkline.request_send('work', 'once')",
            "select id from trunkline.request_take('work', 2)",
        ],
    );
    let mut a = clock(&url, "clock-a");
    at_gate(&url);
    let mut b = clock(&url, "clock-b");
    session(&url, "second", &["select trunkline.request_serve('work')"]);
    gone(&url, "second");
    assert!(
        is(&url, "select exists (select from trunkline.session where application = 'dead')"),
        "at its step"
    );
    match signal {
        Signal::SIGKILL if !commits => cut_off(&url, &mut a),
        _ => a.signal(signal),
    }
    open(&url);
    gone(&url, "dead");
    let taken = session(
        &url,
        "next",
        &[
            "select trunkline.request_serve('work')",
            "select payload, attempt from trunkline.request_take('work', 9)",
        ],
    );
    assert!(taken.ends_with("\nagain|2\n") && !taken.contains("once"), "{signal} {commits}: {taken}");
    let lost = "select count(*) = 1 from trunkline.request_list('work') where state = 'lost'";
    assert!(is(&url, lost), "{signal} {commits}");
    if signal == Signal::SIGSTOP {
        b.signal(Signal::SIGKILL);
        b.child.wait().unwrap();
        a.signal(Signal::SIGCONT);
        gone(&url, "clock-b");
        gone(&url, "next");
    }
}

#[test]
fn a_daemon_killed_or_frozen_while_it_buries_leaves_it_done_once_by_it_or_by_another() {
    std::thread::scope(|scope| {
        for (signal, commits) in [(Signal::SIGKILL, true), (Signal::SIGKILL, false), (Signal::SIGSTOP, true)]
        {
            scope.spawn(move || burying(signal, commits));
        }
    });
}

#[test]
fn a_daemon_killed_while_it_turns_or_empties_a_ring_leaves_it_to_another() {
    let url = database();
    let _serving = responder(&url, &["flow", "--echo"]);
    gate(&url, "update on trunkline.ring for each row");
    sql(
        &url,
        "select count(trunkline.request_send('large', repeat('x', 1000000), one_way => true, wait_for_responder => true))
           from generate_series(1, 70)",
    );
    let mut a = clock(&url, "clock-a");
    at_gate(&url);
    assert_eq!(ok(&url, &["requests", "call", "flow", "meanwhile"]), "meanwhile");
    let mut b = clock(&url, "clock-b");
    cut_off(&url, &mut a);
    let current = |n: u8| format!("select current = {n} from trunkline.ring where name = 'request_e'");
    until("another one to turn", || is(&url, &current(1)));
    assert_eq!(ok(&url, &["requests", "call", "flow", "turned"]), "turned");
    b.signal(Signal::SIGKILL);
    b.child.wait().unwrap();

    // As if a minute had gone by since the last deadline.
    gate(&url, "truncate on trunkline.request_e0 for each statement");
    for table in ["request_e0", "take_e0"] {
        sql(&url, &format!("update trunkline.{table} set expires_at = '-infinity'"));
    }
    sql(&url, "update trunkline.ring set turned_at = '-infinity'");
    let mut a = clock(&url, "clock-a");
    at_gate(&url);
    cut_off(&url, &mut a);
    assert_eq!(sql(&url, "select count(*) from trunkline.request_e0 where lane = (select id from trunkline.request_channel where name = 'large')").as_deref(), Some("70"), "nothing was emptied");
    let _b = clock(&url, "clock-b");
    until("another one to empty it", || is(&url, "select pg_relation_size('trunkline.request_e0') = 0"));
    assert_eq!(ok(&url, &["requests", "call", "flow", "emptied"]), "emptied");
}

/// A server that became a standby takes no work; promoted, it is another timeline, which is to be repaired first.
#[test]
fn on_a_standby_it_lives_and_is_not_ready() {
    let dir = temporary();
    let first = crate::start(&dir.path().join("pg"));
    let url = first.url();
    ok(&url, &["-q", "schema", "install"]);
    let served = Served::start(&url, &[], &[]);
    assert_eq!(served.get("/readyz").status, 200);
    let data = sql(&url, "show data_directory").unwrap();
    first.stop(Mode::Fast).unwrap();
    std::fs::write(std::path::Path::new(&data).join("standby.signal"), "").unwrap();
    let _standby = crate::start(&dir.path().join("pg")).stop_on_drop();
    assert_eq!(sql(&url, "select pg_is_in_recovery()").as_deref(), Some("t"));
    let says = |what: &str| {
        let ready = served.get("/readyz");
        assert_eq!((ready.status, served.get("/livez").status), (503, 200), "{ready:?}");
        ready.body.contains(what)
    };
    until("it to say so", || says("unsupported server"));
    assert_eq!(sql(&url, "select pg_promote()").as_deref(), Some("t"));
    until("it to say so", || says("restored database"));
    ok(&url, &["schema", "repair"]);
    until("it to be ready", || served.get("/readyz").status == 200);
}
