//! What happens when something dies or stands still: processes, backends, the whole server.

use std::time::Instant;

use trunkline::{
    ErrorKind,
    requests::{Failure, Request},
};

use crate::{
    requests::{echo, served},
    support::{Cluster, Db, Process, Raw, Stopwatch, millis, secs, signal, until, within},
};

#[tokio::test]
async fn a_killed_responder_process_ends_a_call_as_lost_within_three_seconds() {
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let mut holder = Process::start("holder", &db).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    holder.line("took").await;
    holder.child.kill().await.unwrap();
    let outcome = within(3_000, "the loss to be seen", pending.wait()).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn an_idempotent_request_of_a_killed_process_goes_to_another() {
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let mut holder = Process::start("holder", &db).await;
    let pending = caller.requests().call("work", "x").idempotent().start().await.unwrap();
    holder.line("took").await;
    let other = db.client("other").await;
    let _serving = other
        .requests()
        .serve("work", |r: Request| async move { Ok::<_, Failure>(format!("attempt {}", r.attempt)) });
    served(&db, "work", 2).await;
    holder.child.kill().await.unwrap();
    let reply = within(3_000, "another to answer", pending.wait()).await.unwrap();
    assert_eq!(reply.text().unwrap(), "attempt 2");
}

#[tokio::test]
async fn a_stopped_responder_loses_its_request_after_its_lease_and_its_late_reply_is_refused() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table public.go (id bigint)").await;
    let caller = db.client("caller").await;
    let mut late = Process::start("late", &db).await;
    let pending = caller.requests().call("work", "x").idempotent().start().await.unwrap();
    let id: i64 = late.line("took").await.parse().unwrap();
    let other = db.client("other").await;
    let _serving = other
        .requests()
        .serve("work", |r: Request| async move { Ok::<_, Failure>(format!("attempt {}", r.attempt)) });
    served(&db, "work", 2).await;
    signal(late.pid(), "-STOP");
    let stopped = Instant::now();
    let reply = within(8_000, "another to answer", pending.wait()).await.unwrap();
    assert_eq!(reply.text().unwrap(), "attempt 2");
    assert!(
        stopped.elapsed() > secs(3),
        "the lease holds while it may only be slow: {:?}",
        stopped.elapsed()
    );
    raw.run(&format!("insert into public.go values ({id})")).await;
    signal(late.pid(), "-CONT");
    assert_eq!(late.line("answered").await, "Err(Stale)");
    let endings = format!(
        "select string_agg(attempt || ':' || status, ',' order by attempt) from
         (select * from trunkline.ending_e0 union all select * from trunkline.ending_e1) e where id = {id}"
    );
    assert_eq!(raw.one(&endings).await, "1:6,2:0");
}

#[tokio::test]
async fn a_killed_callers_queued_request_is_withdrawn() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let reaper = db.client("reaper").await;
    let mut asker = Process::start("asker", &db).await;
    asker.line("asked").await;
    raw.until(
        "the request to be there",
        "select exists (select from trunkline.request_list('work') where state = 'waiting')",
    )
    .await;
    asker.child.kill().await.unwrap();
    raw.until(
        "the session to be buried",
        "select not exists (select from trunkline.session where application = 'child-asker')",
    )
    .await;
    let mut inbox = reaper.requests().inbox("work");
    served(&db, "work", 1).await;
    let fresh = reaper.requests().call("work", "fresh").start().await.unwrap();
    let next = within(2_000, "the fresh request", inbox.next()).await.unwrap();
    assert_eq!(next.payload.text().unwrap(), "fresh");
    next.reply("ok").await.unwrap();
    fresh.wait().await.unwrap();
}

#[tokio::test]
async fn a_killed_callers_running_request_is_cancelled_at_the_responder() {
    let db = Db::new().await;
    let responder = db.client("responder").await;
    let mut inbox = responder.requests().inbox("work");
    let mut asker = Process::start("asker", &db).await;
    asker.line("asked").await;
    let held = within(3_000, "the request", inbox.next()).await.unwrap();
    asker.child.kill().await.unwrap();
    within(3_000, "the handler to be told", held.cancelled()).await;
    assert!(held.left() > secs(50));
    drop(held);
    let cancelled = "select state = 'cancelled' from trunkline.request_list()";
    db.raw().await.until("the request to be cancelled", cancelled).await;
}

#[tokio::test]
async fn a_call_in_flight_survives_the_end_of_its_callers_connection() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    let held = inbox.next().await.unwrap();
    let pid = db.backend(&raw, "caller").await;
    raw.run(&format!("select pg_terminate_backend({pid})")).await;
    raw.until("the end", &format!("select not exists (select from pg_stat_activity where pid = {pid})"))
        .await;
    held.reply("after").await.unwrap();
    let reply = within(4_000, "the reply across the reconnect", pending.wait()).await.unwrap();
    assert_eq!(reply.text().unwrap(), "after");
}

#[tokio::test]
async fn a_call_waits_for_the_next_connection_when_one_ends_while_its_channel_is_looked_up() {
    let db = Db::new().await;
    let (raw, locker) = (db.raw().await, db.raw().await);
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _serving = echo(&responder, "work");
    served(&db, "work", 1).await;
    let pid = db.backend(&raw, "caller").await;
    locker.run("begin; lock table trunkline.request_channel in access exclusive mode").await;
    let call = caller.requests().call("work", "x").wait_for_responder();
    let call = tokio::spawn(async move { call.await });
    raw.blocked(pid).await;
    raw.run(&format!("select pg_terminate_backend({pid})")).await;
    locker.run("rollback").await;
    let reply = within(4_000, "the reply across the reconnect", call).await.unwrap().unwrap();
    assert_eq!(reply.text().unwrap(), "x");
}

#[tokio::test]
async fn a_reply_reaches_a_caller_whose_session_was_given_up_meanwhile() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    raw.run("select trunkline.request_open('work', durable => true)").await;
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    let held = inbox.next().await.unwrap();
    let before = caller.address();
    // What a reaper does after an outage longer than the lease; the connection is then given up at the renewal.
    raw.run("select trunkline._session_bury(id) from trunkline.session where application = 'caller'").await;
    until("a new session", async || caller.address().is_some() && caller.address() != before).await;
    held.reply("after").await.unwrap();
    let reply = within(4_000, "the reply", pending.wait()).await.unwrap();
    assert_eq!(reply.text().unwrap(), "after");
}

#[tokio::test]
async fn a_dropped_call_whose_write_was_cut_off_is_forgotten_at_its_deadline() {
    let db = Db::new().await;
    let (raw, locker) = (db.raw().await, db.raw().await);
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _serving = echo(&responder, "work");
    served(&db, "work", 1).await;
    caller.requests().call("work", "x").await.unwrap();
    let pid = db.backend(&raw, "caller").await;
    locker.run("begin; lock table trunkline.request_e0 in share mode").await;
    let pending = caller.requests().call("work", "x").timeout(secs(2)).start().await.unwrap();
    raw.blocked(pid).await;
    raw.run(&format!("select pg_terminate_backend({pid})")).await;
    drop(pending);
    locker.run("rollback").await;
    until("nothing to be left in flight", async || caller.requests().awaiting().is_empty()).await;
}

#[tokio::test]
async fn a_session_that_is_gone_is_not_taken_up_again() {
    let db = Db::new().await;
    let (raw, other) = (db.raw().await, db.raw().await);
    let row = raw.one("select id, address from trunkline._session_open('gone', true, '5 s')").await;
    let (id, address) = row.split_once('|').unwrap();
    other.run(&format!("select trunkline._session_bury({id})")).await;
    let resume = format!("select trunkline._session_resume({id}, '{address}', true, '5 s')");
    assert_eq!(raw.one(&resume).await, "f");
    raw.run("select pg_advisory_unlock_all()").await;
    assert_eq!(other.one(&resume).await, "f", "where its key is free as well");
    let held = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1953656428
        and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(other.one(held).await, "0");
}

#[tokio::test]
async fn a_killed_backend_of_a_responder_loses_no_reply() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").timeout(secs(10)).start().await.unwrap();
    let held = inbox.next().await.unwrap();
    let pid = db.backend(&raw, "responder").await;
    raw.run(&format!("select pg_terminate_backend({pid})")).await;
    // The connection is gone, the process is not: it answers through its next one.
    let answered = held.reply("still here").await;
    let reply = within(4_000, "the reply", pending.wait()).await;
    // A reaper may have been quicker than the reconnect; then it is lost, and never both.
    match reply {
        Ok(reply) => assert_eq!((reply.text().unwrap(), answered.is_ok()), ("still here", true)),
        Err(e) => {
            let refused = answered.map_err(|a| a.kind());
            assert_eq!((e.kind(), refused), (ErrorKind::Lost, Err(ErrorKind::Stale)));
        }
    }
}

#[tokio::test]
async fn a_responder_whose_connection_was_ended_is_no_responder_soon() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let caller = db.client("caller").await;
    let mut holder = Process::start("holder", &db).await;
    let pid = db.backend(&raw, "child-holder").await;
    signal(holder.pid(), "-STOP");
    raw.run(&format!("select pg_terminate_backend({pid})")).await;
    raw.until("the end", &format!("select not exists (select from pg_stat_activity where pid = {pid})"))
        .await;
    let e =
        within(1_000, "an answer", async { caller.requests().call("work", "x").await }).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NoResponder);
    holder.child.kill().await.unwrap();
}

/// Freezes a backend between two statements: within one it may hold a lock of the server's own, for which everybody waits.
async fn freeze(raw: &Raw, pid: i32) {
    let idle = format!(
        "select state = 'idle' and wait_event = 'ClientRead' from pg_stat_activity where pid = {pid}"
    );
    loop {
        signal(pid, "-STOP");
        if tokio::time::timeout(secs(1), raw.one(&idle)).await.is_ok_and(|idle| idle == "t") {
            return;
        }
        signal(pid, "-CONT");
        raw.until("it to be idle", &idle).await;
    }
}

#[tokio::test]
async fn a_stopped_backend_holds_up_its_own_process_only() {
    let (_cluster, db) = Cluster::own().await;
    let raw = db.raw().await;
    let (caller, stuck, good) =
        (db.client("caller").await, db.client("stuck").await, db.client("good").await);
    let _a = echo(&stuck, "a");
    let _b = echo(&good, "b");
    served(&db, "a", 1).await;
    served(&db, "b", 1).await;
    let pid = db.backend(&raw, "stuck").await;
    freeze(&raw, pid).await;
    for _ in 0..20 {
        within(1_000, "an answer from the other", async { caller.requests().call("b", "x").await })
            .await
            .unwrap();
    }
    signal(pid, "-CONT");
    within(8_000, "an answer after it goes on", async { caller.requests().call("a", "x").await })
        .await
        .unwrap();
}

/// A server of its own, with an ephemeral and a durable call in flight when `crash` ends it.
async fn crash(name: &'static str, crash: impl FnOnce(&mut Cluster) + Send + 'static) {
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(true)).await.unwrap();
    let db = cluster.database(name).await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_open('sure', durable => true)").await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut kept = responder.requests().inbox("sure");
    let mut lost = responder.requests().inbox("work");
    served(&db, "sure", 1).await;
    served(&db, "work", 1).await;
    let durable = caller.requests().call("sure", "kept").timeout(secs(40)).start().await.unwrap();
    let ephemeral = caller.requests().call("work", "lost").timeout(secs(40)).start().await.unwrap();
    let held = kept.next().await.unwrap();
    let _unanswered = lost.next().await.unwrap();
    let cluster = tokio::task::spawn_blocking(move || {
        crash(&mut cluster);
        cluster
    })
    .await
    .unwrap();
    let e = within(30_000, "the loss", ephemeral.wait()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Lost);
    let answered = held.reply("kept").await;
    let reply = within(30_000, "the durable one", durable.wait()).await;
    assert_eq!(
        reply.map(|r| r.payload.bytes().to_vec()).map_err(|e| e.kind()),
        Ok(b"kept".to_vec()),
        "{answered:?}"
    );
    let again =
        within(30_000, "a call after it", caller.requests().call("sure", "y").wait_for_responder().start());
    let again = again.await.unwrap();
    kept.next().await.unwrap().reply("z").await.unwrap();
    assert_eq!(again.wait().await.unwrap().text().unwrap(), "z");
    drop(cluster);
}

#[tokio::test]
async fn a_killed_backend_ends_ephemeral_calls_as_lost_and_keeps_durable_ones() {
    crash("backend_killed", |cluster| {
        let url = cluster.server.url_for("backend_killed");
        let mut client = postgres_pid(&url);
        signal(client.pop().unwrap(), "-KILL");
    })
    .await;
}

#[tokio::test]
async fn an_immediate_restart_ends_ephemeral_calls_as_lost_and_keeps_durable_ones() {
    crash("restarted", |cluster| {
        cluster.server.stop(trunkline_embedded::Mode::Immediate).unwrap();
        cluster.restart();
    })
    .await;
}

#[tokio::test]
async fn a_killed_postmaster_ends_ephemeral_calls_as_lost_and_keeps_durable_ones() {
    crash("killed", |cluster| {
        signal(cluster.server.pid(), "-KILL");
        cluster.restart();
    })
    .await;
}

/// Pids of the backends of a database, asked from a thread of its own.
fn postgres_pid(url: &str) -> Vec<i32> {
    let url = url.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let raw = crate::support::Raw::open(&url).await;
            let rows = raw.rows("select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
            rows.await.iter().map(|r| r.parse().unwrap()).collect()
        })
    })
    .join()
    .unwrap()
}

#[tokio::test]
async fn requests_that_a_crash_left_with_a_dead_process_go_on_after_it() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(true)).await.unwrap();
    let db = cluster.database("both_gone").await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_open('work', durable => true)").await;
    let caller = db.client("caller").await;
    let mut holder = Process::start("holder", &db).await;
    let again = caller.requests().call("work", "x").idempotent().timeout(secs(25)).start().await.unwrap();
    holder.line("took").await;
    let once = caller.requests().call("work", "x").timeout(secs(25)).start().await.unwrap();
    holder.line("took").await;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.server.stop(trunkline_embedded::Mode::Immediate).unwrap();
        cluster
    })
    .await
    .unwrap();
    holder.child.kill().await.unwrap();
    let mut cluster = cluster;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.restart();
        cluster
    })
    .await
    .unwrap();
    let other = db.client("other").await;
    let _serving = echo(&other, "work");
    let reply = within(12_000, "the idempotent one", again.wait()).await.unwrap();
    assert_eq!(reply.text().unwrap(), "x");
    let e = within(12_000, "the other one", once.wait()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Lost);
    drop(cluster);
}

#[tokio::test]
async fn a_call_ends_on_time_while_the_connection_is_down() {
    let (_cluster, db) = Cluster::own().await;
    let raw = db.raw().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").timeout(millis(700)).start().await.unwrap();
    let pid = db.backend(&raw, "caller").await;
    signal(pid, "-STOP");
    let begun = Stopwatch::start();
    let e = pending.wait().await.unwrap_err();
    assert!(begun.elapsed() < millis(900), "{:?}", begun.elapsed());
    assert!(matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::Lost), "{e:?}");
    signal(pid, "-CONT");
}
