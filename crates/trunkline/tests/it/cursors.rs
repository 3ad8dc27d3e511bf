//! The cursors of the log, one a segment, under everything that moves them: engines with short statements and with
//! functions, plain SQL, segments that are emptied, burials, and transactions that stay open.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::task::JoinSet;
use trunkline::{
    Trunkline,
    conninfo::{ConnInfo, Env},
    requests::{Failure, Request, Serve},
};

use crate::{
    requests::{echo, served},
    support::{Db, Raw, Stopwatch, millis, secs, until, within},
};

/// A process that calls functions, as one without rights on the tables does.
pub async fn without_rights(db: &Db, application: &str) -> Trunkline {
    let text = format!("{}&application_name={application}&options=-c%20trunkline.direct%3Doff", db.url);
    Trunkline::with(ConnInfo::from_str_with(&text, &Env::empty()).unwrap()).await.unwrap()
}

/// Makes the ring turn as soon as nothing in a segment counts, instead of a minute later.
pub async fn hurry(raw: &Raw) {
    raw.run(
        "do $$ begin execute replace(pg_get_functiondef('trunkline._log_turn_e(bigint)'::regprocedure),
             'interval ''1 minute''', 'interval ''0''');
         end $$",
    )
    .await;
}

/// Ends the time of all that is in the ring, so that it can turn.
pub async fn age(raw: &Raw) {
    for table in ["request_e0", "request_e1", "take_e0", "take_e1"] {
        raw.run(&format!("update trunkline.{table} set expires_at = now() - interval '1 s'")).await;
    }
}

pub fn send(more: &str) -> String {
    format!("select trunkline.request_send('work', 'x', wait_for_responder => true{more})")
}

/// A session that rings nobody, so that who sleeps finds it at his next poll only.
pub async fn quiet(db: &Db) -> Raw {
    let raw = db.raw().await;
    raw.run("set trunkline.ring = off").await;
    raw
}

pub async fn bury(raw: &Raw, application: &str) {
    raw.run(&format!(
        "update trunkline.session set expires_at = '-infinity' where application = '{application}'"
    ))
    .await;
    raw.run("select trunkline._session_reap()").await;
}

#[tokio::test]
async fn a_process_that_remembers_an_emptied_segment_takes_nothing_that_others_took_there() {
    let db = Db::new().await;
    let (admin, quiet) = (db.raw().await, quiet(&db).await);
    hurry(&admin).await;
    admin.run("select trunkline.request_open('work')").await;
    let sql = db.raw().await;
    sql.run("select trunkline.request_serve('work')").await;
    let engine = db.client("engine").await;
    let mut inbox = engine.requests().inbox(Serve::channel("work").concurrency(8));
    served(&db, "work", 2).await;
    for _ in 0..6 {
        admin.run(&send("")).await;
        within(3_000, "a request", inbox.next()).await.unwrap().reply("").await.unwrap();
    }
    let mut taken = Vec::new();
    while taken.is_empty() {
        age(&admin).await;
        for said in ["turned", "emptied", "turned"] {
            let mut did = "busy".to_owned();
            while did == "busy" {
                did = admin.one("select trunkline._log_turn_e(0)").await;
            }
            assert_eq!(did, said);
        }
        quiet.run(&send("")).await;
        taken = sql.rows("select id from trunkline.request_take('work', 9)").await;
        if taken.is_empty() {
            // The engine polled just then.
            within(3_000, "what it polled", inbox.next()).await.unwrap().reply("").await.unwrap();
        }
    }
    let next = admin.one(&send("")).await;
    let got = within(3_000, "the next", inbox.next()).await.unwrap();
    assert_ne!(vec![got.id.to_string()], taken, "handed out twice");
    assert_eq!(got.id.to_string(), next);
}

#[tokio::test]
async fn who_finishes_anothers_window_finds_what_came_after_it_at_once() {
    let db = Db::new().await;
    let (admin, quiet, sql) = (db.raw().await, quiet(&db).await, db.raw().await);
    sql.run("select trunkline.request_serve('work')").await;
    let engine = db.client("engine").await;
    let mut inbox = engine.requests().inbox(Serve::channel("work").concurrency(8));
    served(&db, "work", 2).await;
    tokio::time::sleep(millis(100)).await;
    for _ in 0..5 {
        quiet.run(&format!("begin; {s}; {s}; commit", s = send(""))).await;
        let first = sql.rows("select id from trunkline.request_take('work', 1)").await;
        admin.run(&send("")).await;
        let begun = Stopwatch::start();
        for _ in first.len()..3 {
            within(3_000, "the rest", inbox.next()).await.unwrap().reply("").await.unwrap();
        }
        assert!(begun.elapsed() < millis(500), "a poll found it, after {:?}", begun.elapsed());
    }
}

/// One request after the other, each rung for and each there when it is looked for; until `done`.
async fn one_by_one(db: Db, pause: u64, done: Arc<AtomicBool>) {
    let caller = db.client("caller").await;
    while !done.load(Ordering::Relaxed) {
        caller.requests().call("work", "steady").await.unwrap();
        if pause > 0 {
            tokio::time::sleep(millis(pause)).await;
        }
    }
}

/// Runs while an engine answers a steady stream; how long it waits for another request.
async fn beside_a_stream(direct: bool, pause: u64, put: impl AsyncFnOnce(&Db, &Raw)) -> std::time::Duration {
    let db = Db::new().await;
    let quiet = quiet(&db).await;
    quiet.run("select trunkline.request_open('work')").await;
    let responder = if direct { db.client("engine").await } else { without_rights(&db, "engine").await };
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let _serving = responder.requests().serve(Serve::channel("work").concurrency(64), move |r: Request| {
        let tx = tx.clone();
        async move {
            if r.payload.text().is_ok_and(|t| t == "x") {
                let _ = tx.send(());
            }
            Ok::<_, Failure>("")
        }
    });
    served(&db, "work", 1).await;
    let done = Arc::new(AtomicBool::new(false));
    let stream = tokio::spawn(one_by_one(db.clone(), pause, done.clone()));
    tokio::time::sleep(millis(500)).await;
    put(&db, &quiet).await;
    let begun = Instant::now();
    let found = tokio::time::timeout(secs(8), rx.recv()).await;
    let took = begun.elapsed();
    done.store(true, Ordering::Relaxed);
    stream.await.unwrap();
    assert!(found.is_ok(), "not found in {took:?} beside a stream");
    took
}

/// A request that is to be handed out once more, without a bell.
async fn put_again(_db: &Db, quiet: &Raw) {
    // Below every cursor, as one that a dead responder had taken.
    quiet
        .run(
            "with n as (select nextval('trunkline.log_id_e') * 4 as id, c.id as lane from trunkline.request_channel c),
             r as (insert into trunkline.request_e0 (id, xid, lane, caller, corr, flags, sent_at, expires_at, role, type, payload)
                   select id, '3', lane, 0, 0, 5, now(), now() + interval '30 s', 'postgres', '', 'x' from n)
             insert into trunkline.again_e select id, 2, lane, '', now() + interval '30 s' from n",
        )
        .await;
}

#[tokio::test]
async fn what_goes_out_again_is_found_beside_a_steady_stream() {
    for direct in [false, true] {
        let took = beside_a_stream(direct, 3, put_again).await;
        assert!(took < secs(3), "direct {direct}: {took:?}");
    }
}

/// A request in the segment that writers do not fill now.
const IN_THE_OTHER: &str = "insert into trunkline.request_e1
        (id, lane, caller, corr, flags, sent_at, expires_at, role, type, payload)
 select nextval('trunkline.log_id_e') * 4 + 1, c.id, 0, 0, 1, now(), now() + interval '30 s', 'postgres', '', 'x'
   from trunkline.request_channel c";

#[tokio::test]
async fn what_is_in_the_other_segment_is_found_beside_a_steady_stream() {
    let put = async |_: &Db, quiet: &Raw| {
        quiet.run(IN_THE_OTHER).await;
    };
    let took = beside_a_stream(true, 100, put).await;
    assert!(took < secs(3), "{took:?}");
}

#[tokio::test]
async fn sql_finds_what_is_in_the_other_segment_while_the_current_one_has_more() {
    let db = Db::new().await;
    let (admin, sql) = (db.raw().await, db.raw().await);
    sql.run("select trunkline.request_serve('work')").await;
    admin.run("select trunkline.request_send('work', 'x') from generate_series(1, 500)").await;
    admin.run(IN_THE_OTHER).await;
    // Each take has more before it than it asks for: only chance leads to the other segment, and not in 500 tries once in
    // a hundred thousand million.
    let other = "select count(*) filter (where id & 1 = 1) from trunkline.request_take('work')";
    for _ in 0..500 {
        if sql.one(other).await == "1" {
            return;
        }
    }
    panic!("not found in 500 takes");
}

/// A small random number generator: the runs differ, and print nothing.
fn random(state: &AtomicU64, below: u64) -> u64 {
    let x = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) % below
}

type Seen = Arc<Mutex<HashMap<i64, usize>>>;

fn count(tl: &Trunkline, seen: &Seen, concurrency: usize) -> trunkline::requests::Serving {
    let seen = seen.clone();
    tl.requests().serve(Serve::channel("work").concurrency(concurrency), move |r: Request| {
        let seen = seen.clone();
        async move {
            *seen.lock().unwrap().entry(r.id).or_default() += 1;
            Ok::<_, Failure>("")
        }
    })
}

/// Transactions of one to five requests, some long, some with savepoints, some rolled back: what was committed.
async fn produce(db: Db, end: Instant, dice: Arc<AtomicU64>) -> Vec<i64> {
    let raw = db.raw().await;
    let mut committed = Vec::new();
    while Instant::now() < end {
        raw.run("begin").await;
        let mut ids: Vec<i64> = Vec::new();
        for _ in 0..=random(&dice, 4) {
            let savepoint = random(&dice, 4);
            raw.run("savepoint s").await;
            let id = raw.one(&send(", timeout => '5 s'")).await.parse().unwrap();
            raw.run(if savepoint == 0 { "rollback to s" } else { "release s" }).await;
            if savepoint != 0 {
                ids.push(id);
            }
        }
        if random(&dice, 25) == 0 {
            tokio::time::sleep(millis(random(&dice, 500))).await;
        }
        tokio::time::sleep(millis(random(&dice, 6))).await;
        if random(&dice, 5) == 0 {
            raw.run("rollback").await;
        } else {
            raw.run("commit").await;
            committed.extend(ids);
        }
    }
    committed
}

/// Plain SQL: some takes are rolled back.
async fn consume(db: Db, seen: Seen, done: Arc<AtomicBool>, dice: Arc<AtomicU64>) {
    let raw = db.raw().await;
    raw.run("select trunkline.request_serve('work')").await;
    while !done.load(Ordering::Relaxed) {
        raw.run("begin").await;
        let most = 1 + random(&dice, 4);
        let rows = raw.rows(&format!("select id, claim from trunkline.request_take('work', {most})")).await;
        if random(&dice, 6) == 0 {
            raw.run("rollback").await;
            continue;
        }
        raw.run("commit").await;
        for row in &rows {
            let (id, claim) = row.split_once('|').unwrap();
            *seen.lock().unwrap().entry(id.parse().unwrap()).or_default() += 1;
            assert_eq!(raw.code(&format!("select trunkline.request_reply('{claim}', '')")).await, "00000");
        }
        tokio::time::sleep(millis(random(&dice, 60))).await;
    }
}

/// Transactions that stay open while hundreds of others come and go: the far way of reading.
async fn linger(db: Db, end: Instant) -> Vec<i64> {
    let raw = db.raw().await;
    let mut ids = Vec::new();
    while Instant::now() < end {
        raw.run("begin").await;
        ids.push(raw.one(&send(", timeout => '9 s'")).await.parse().unwrap());
        tokio::time::sleep(millis(900)).await;
        ids.push(raw.one(&send(", timeout => '9 s'")).await.parse().unwrap());
        raw.run("commit").await;
        tokio::time::sleep(millis(300)).await;
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_of_both_kinds_and_plain_sql_hand_out_each_request_once_while_the_ring_turns() {
    let db = Db::new().await;
    let admin = db.raw().await;
    hurry(&admin).await;
    admin.run("select trunkline.request_open('work')").await;
    let seen = Seen::default();
    let dice = Arc::new(AtomicU64::new(u64::from(std::process::id())));
    let done = Arc::new(AtomicBool::new(false));
    let (one, two, three) =
        (db.client("one").await, db.client("two").await, without_rights(&db, "three").await);
    let _serving = (count(&one, &seen, 64), count(&two, &seen, 3), count(&three, &seen, 7));
    let sql = tokio::spawn(consume(db.clone(), seen.clone(), done.clone(), dice.clone()));
    let end = Instant::now() + secs(6);
    let mut producers = JoinSet::new();
    for _ in 0..3 {
        producers.spawn(produce(db.clone(), end, dice.clone()));
    }
    producers.spawn(linger(db.clone(), end));
    let turning = tokio::spawn({
        let (db, done) = (db.clone(), done.clone());
        async move {
            let raw = db.raw().await;
            let mut emptied = 0;
            while !done.load(Ordering::Relaxed) {
                // What was answered need not wait for its deadline here.
                for s in 0..2 {
                    let _ = raw.code(&format!(
                        "update trunkline.request_e{s} r set expires_at = now() - interval '1 ms' where expires_at > now()
                            and exists (select from trunkline.ending_e{s} e where e.id = r.id)")).await;
                    let _ = raw.code(&format!(
                        "update trunkline.take_e{s} t set expires_at = now() - interval '1 ms' where expires_at > now()
                            and not exists (select from unnest(t.ids) i where not exists
                                (select from trunkline.ending_e{s} e where e.id = i))")).await;
                }
                if raw.one("select trunkline._log_turn_e(0)").await == "emptied" {
                    emptied += 1;
                }
                tokio::time::sleep(millis(30)).await;
            }
            emptied
        }
    });
    let committed: Vec<i64> = producers.join_all().await.into_iter().flatten().collect();
    let _ = tokio::time::timeout(
        secs(3),
        until("all", async || {
            let seen = seen.lock().unwrap();
            committed.iter().all(|id| seen.contains_key(id))
        }),
    )
    .await;
    done.store(true, Ordering::Relaxed);
    sql.await.unwrap();
    let emptied = turning.await.unwrap();
    let seen = seen.lock().unwrap();
    let lost: Vec<_> = committed.iter().filter(|id| !seen.contains_key(id)).collect();
    let twice: Vec<_> = seen.iter().filter(|s| *s.1 > 1).collect();
    let ghosts: Vec<_> = seen.keys().filter(|id| !committed.contains(id)).collect();
    println!("{} committed, emptied {emptied} times", committed.len());
    assert!(committed.len() > 100 && emptied > 0, "{} committed, emptied {emptied} times", committed.len());
    assert!(
        lost.is_empty() && twice.is_empty() && ghosts.is_empty(),
        "lost {lost:?} twice {twice:?} ghosts {ghosts:?}"
    );
}

/// Takes with plain SQL until nothing is left: the payloads, in order of the takes.
async fn drain(raw: &Raw, most: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let got = raw.rows(&format!("select payload from trunkline.request_take('work', {most})")).await;
        if got.is_empty() {
            return all;
        }
        all.extend(got);
    }
}

fn named(name: &str) -> String {
    format!("select trunkline.request_send('work', '{name}', wait_for_responder => true)")
}

#[tokio::test]
async fn transactions_older_than_a_far_window_come_out_of_it_once_whenever_they_commit() {
    let db = Db::new().await;
    let (admin, sql) = (db.raw().await, db.raw().await);
    sql.run("select trunkline.request_serve('work')").await;
    for most in [1, 2, 3, 9] {
        let old = [db.raw().await, db.raw().await, db.raw().await];
        for (i, o) in old.iter().enumerate() {
            o.run(&format!("begin; {}; {}", named(&format!("old{i}a")), named(&format!("old{i}b")))).await;
        }
        for _ in 0..100 {
            admin.run("select pg_current_xact_id()").await;
        }
        for i in 0..5 {
            admin.run(&named(&format!("new{i}"))).await;
        }
        // A far cursor inside a window: exactly full, the rest to come.
        let mut got = sql.rows("select payload from trunkline.request_take('work', 2)").await;
        old[0].run("commit").await;
        got.extend(sql.rows(&format!("select payload from trunkline.request_take('work', {most})")).await);
        admin.run(&named("late")).await;
        old[1].run("commit").await;
        got.extend(drain(&sql, most).await);
        for _ in 0..100 {
            admin.run("select pg_current_xact_id()").await;
        }
        admin.run(&named("last")).await;
        old[2].run(&format!("{}; commit", named("old2c"))).await;
        got.extend(drain(&sql, most).await);
        got.sort_unstable();
        let mut wanted = vec!["late", "last", "old2c"];
        wanted.extend([
            "old0a", "old0b", "old1a", "old1b", "old2a", "old2b", "new0", "new1", "new2", "new3", "new4",
        ]);
        wanted.sort_unstable();
        assert_eq!(got, wanted, "at most {most}");
    }
}

#[tokio::test]
async fn what_ended_inside_a_far_window_neither_stops_it_nor_comes_out() {
    let db = Db::new().await;
    let (admin, sql, old) = (db.raw().await, db.raw().await, db.raw().await);
    sql.run("select trunkline.request_serve('work')").await;
    old.run(&format!("begin; {}; {}", named("old a"), named("old b"))).await;
    for _ in 0..100 {
        admin.run("select pg_current_xact_id()").await;
    }
    admin.run(&named("new")).await;
    assert_eq!(sql.rows("select payload from trunkline.request_take('work', 1)").await, ["new"]);
    old.run("commit").await;
    let id = admin.one("select id from trunkline.request_e0 where payload = 'old a'").await;
    admin.run(&format!("select trunkline.request_cancel({id})")).await;
    admin.run("update trunkline.request_e0 set expires_at = now() where payload = 'old b'").await;
    admin.run(&named("after")).await;
    assert_eq!(drain(&sql, 1).await, ["after"]);
}

#[tokio::test]
async fn an_engine_where_another_isolation_is_the_default_serves_and_buries() {
    let db = Db::new().await;
    let admin = db.raw().await;
    admin
        .run(&format!("alter database {} set default_transaction_isolation = 'repeatable read'", db.name))
        .await;
    let engine = db.client("engine").await;
    let _serving = echo(&engine, "work");
    served(&db, "work", 1).await;
    let other = db.raw().await;
    other.run("set default_transaction_isolation = 'read committed'; set application_name = 'gone'; select trunkline.request_serve('other')").await;
    drop(other);
    engine.requests().call("work", "x").await.unwrap();
    admin
        .until("the burial", "select not exists (select from trunkline.session where application = 'gone')")
        .await;
    engine.maintain().await.unwrap();
}
