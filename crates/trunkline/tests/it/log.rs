//! The log under the requests: every committed request is taken exactly once, whatever transactions and rings do.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::task::JoinSet;

use crate::support::{Db, Raw, Stopwatch, millis, secs, within};

/// A small random number generator: the runs differ, and print nothing.
fn random(state: &AtomicU64, below: u64) -> u64 {
    let x = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) % below
}

/// Makes the ring turn as soon as nothing in a segment counts, instead of a minute later.
async fn hurry(raw: &Raw, ring: char) {
    raw.run(&format!(
        "do $$ begin execute replace(pg_get_functiondef('trunkline._log_turn_{ring}(bigint)'::regprocedure),
             'interval ''1 minute''', 'interval ''0''');
         end $$"
    ))
    .await;
}

/// One producer: transactions of one to five requests at any isolation level, some long, some with savepoints, some
/// rolled back. Returns what was committed.
async fn produce(db: Db, channel: &str, end: Instant, dice: Arc<AtomicU64>) -> Vec<i64> {
    let raw = db.raw().await;
    let mut committed = Vec::new();
    let send = format!(
        "select trunkline.request_send('{channel}', 'x', timeout => '6 s', wait_for_responder => true)"
    );
    while Instant::now() < end {
        let level = ["read committed", "repeatable read", "serializable"][random(&dice, 3) as usize];
        raw.run(&format!("begin isolation level {level}")).await;
        let mut ids: Vec<i64> = Vec::new();
        for _ in 0..=random(&dice, 4) {
            let savepoint = random(&dice, 4);
            if savepoint > 1 {
                ids.push(raw.one(&send).await.parse().unwrap());
                continue;
            }
            raw.run("savepoint s").await;
            let id: i64 = raw.one(&send).await.parse().unwrap();
            if savepoint == 0 {
                raw.run("rollback to s").await;
            } else {
                raw.run("release s").await;
                ids.push(id);
            }
        }
        if random(&dice, 20) == 0 {
            tokio::time::sleep(millis(random(&dice, 400))).await;
        }
        let last = if random(&dice, 5) == 0 { "rollback" } else { "commit" };
        // A serialization failure is a rollback; the requests of it must not come out either.
        if raw.code(last).await == "00000" && last == "commit" {
            committed.extend(ids);
        } else {
            raw.code("rollback").await;
        }
    }
    committed
}

/// One taker: random limits, some takes rolled back, some held open; answers everything it took.
async fn consume(db: Db, channel: &str, done: Arc<AtomicBool>, dice: Arc<AtomicU64>) -> Vec<i64> {
    let raw = db.raw().await;
    raw.run(&format!("select trunkline.request_serve('{channel}')")).await;
    let mut taken = Vec::new();
    let mut empty = 0;
    while empty < 3 {
        let last = done.load(Ordering::Relaxed);
        raw.run("begin").await;
        let most = 1 + random(&dice, 12);
        let rows =
            raw.rows(&format!("select id, claim from trunkline.request_take('{channel}', {most})")).await;
        if random(&dice, 10) == 0 {
            raw.run("rollback").await;
            continue;
        }
        raw.run("commit").await;
        for row in &rows {
            let (id, claim) = row.split_once('|').unwrap();
            taken.push(id.parse().unwrap());
            assert_eq!(raw.code(&format!("select trunkline.request_reply('{claim}', '')")).await, "00000");
        }
        empty = if rows.is_empty() && last { empty + 1 } else { 0 };
    }
    taken
}

async fn exactly_once(ring: char, channel: &'static str, open: &str) {
    let db = Db::new().await;
    let admin = db.raw().await;
    admin.run(open).await;
    hurry(&admin, ring).await;
    // Sessions that last, so that the log's own functions are what is tested; short-lived requests let the ring turn.
    let dice = Arc::new(AtomicU64::new(u64::from(std::process::id())));
    let done = Arc::new(AtomicBool::new(false));
    let (mut takers, mut producers) = (JoinSet::new(), JoinSet::new());
    for _ in 0..3 {
        takers.spawn(consume(db.clone(), channel, done.clone(), dice.clone()));
        producers.spawn(produce(db.clone(), channel, Instant::now() + secs(7), dice.clone()));
    }
    let turned = tokio::spawn(turn(db.clone(), ring, done.clone()));
    let mut committed: Vec<i64> = producers.join_all().await.into_iter().flatten().collect();
    done.store(true, Ordering::Relaxed);
    let mut seen: HashMap<i64, usize> = HashMap::new();
    for id in takers.join_all().await.into_iter().flatten() {
        *seen.entry(id).or_default() += 1;
    }
    let emptied = turned.await.unwrap();
    committed.sort_unstable();
    let lost: Vec<_> = committed.iter().filter(|id| !seen.contains_key(id)).collect();
    let twice: Vec<_> = seen.iter().filter(|s| *s.1 > 1).collect();
    let ghosts: Vec<_> = seen.keys().filter(|id| committed.binary_search(id).is_err()).collect();
    assert!(committed.len() > 100, "{} is no test", committed.len());
    assert!(
        lost.is_empty() && twice.is_empty() && ghosts.is_empty(),
        "lost {lost:?} twice {twice:?} ghosts {ghosts:?}"
    );
    assert!(emptied > 0, "no segment was emptied");
}

/// Turns the ring as often as it goes; how often a segment was emptied.
async fn turn(db: Db, ring: char, done: Arc<AtomicBool>) -> usize {
    let raw = db.raw().await;
    let mut emptied = 0;
    while !done.load(Ordering::Relaxed) {
        if raw.one(&format!("select trunkline._log_turn_{ring}(0)")).await == "emptied" {
            emptied += 1;
        }
        tokio::time::sleep(millis(5)).await;
    }
    emptied
}

#[tokio::test]
async fn every_committed_request_is_taken_exactly_once_while_the_ring_turns() {
    exactly_once('e', "work", "select trunkline.request_open('work')").await;
}

#[tokio::test]
async fn every_committed_durable_request_is_taken_exactly_once_while_the_ring_turns() {
    exactly_once('d', "sure", "select trunkline.request_open('sure', durable => true)").await;
}

/// A ring whose other segment waits to be emptied: all in it is long over.
async fn ripe(db: &Db) -> Raw {
    let admin = db.raw().await;
    hurry(&admin, 'e').await;
    admin.run("select trunkline.request_serve('work')").await;
    admin.run("select trunkline.request_send('work', 'old', timeout => '1 ms')").await;
    assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "turned");
    admin
}

#[tokio::test]
async fn the_ring_is_busy_under_an_open_writer_or_reader_and_holds_nobody_up() {
    let db = Db::new().await;
    let admin = ripe(&db).await;
    for open in [
        "insert into trunkline.request_e0 select * from trunkline.request_e0 where false",
        "lock table trunkline.request_e0 in access share mode",
        "lock table trunkline.ending_e0 in access share mode",
    ] {
        let other = db.raw().await;
        other.run(&format!("begin isolation level repeatable read; {open}")).await;
        let (a, b) = (db.raw().await, db.raw().await);
        let turning = tokio::spawn(async move {
            let begun = Stopwatch::start();
            let said = a.one("select trunkline._log_turn_e(0)").await;
            (said, begun.elapsed())
        });
        for _ in 0..10 {
            let begun = Stopwatch::start();
            b.run("select trunkline.request_send('work', 'x', wait_for_responder => true)").await;
            assert!(begun.elapsed() < millis(150), "{open}: {:?}", begun.elapsed());
        }
        let (said, took) = turning.await.unwrap();
        assert_eq!(said, "busy", "{open}");
        assert!(took < millis(300), "{took:?}");
        other.run("rollback").await;
    }
    assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "emptied");
}

#[tokio::test]
async fn a_prepared_transaction_keeps_its_segment() {
    let db = Db::new().await;
    let admin = db.raw().await;
    hurry(&admin, 'e').await;
    admin.run("select trunkline.request_serve('work'); set trunkline.ring = off").await;
    admin.run("select trunkline.request_send('work', 'old', timeout => '1 ms')").await;
    admin.run("begin; select trunkline.request_send('work', 'prepared'); prepare transaction 'p'").await;
    assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "turned");
    assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "busy");
    admin.run("commit prepared 'p'").await;
    assert_eq!(admin.one("select payload from trunkline.request_take('work', 9)").await, "prepared");
}

#[tokio::test]
async fn a_taker_blocked_while_a_segment_is_emptied_loses_nothing_and_takes_nothing_twice() {
    let db = Db::new().await;
    let admin = ripe(&db).await;
    // The lane's newest cursor is in the segment that goes: it must be folded.
    let id = admin.one("select trunkline.request_send('work', 'new')").await;
    let taker = db.raw().await;
    taker.run("select trunkline.request_serve('work')").await;
    admin.run("begin; select trunkline._log_turn_e(0)").await;
    let pid = taker.pid;
    let waiting = tokio::spawn(async move {
        let first = taker.rows("select id from trunkline.request_take('work', 9)").await;
        (first, taker.rows("select id from trunkline.request_take('work', 9)").await)
    });
    let watcher = db.raw().await;
    watcher.blocked(pid).await;
    admin.run("commit").await;
    let (first, second) = within(5_000, "the take", waiting).await.unwrap();
    assert_eq!((first, second), (vec![id], vec![]));
}

#[tokio::test]
async fn a_segment_that_was_emptied_begins_anew_and_hands_out_nothing_twice() {
    let db = Db::new().await;
    let admin = db.raw().await;
    hurry(&admin, 'e').await;
    admin.run("select trunkline.request_serve('work')").await;
    let long = "select trunkline.request_send('work', 'long', timeout => '1 min')";
    for _ in 0..4 {
        // One that stays in its segment, taken with a cursor in the segment that is emptied later.
        admin.run("select trunkline.request_send('work', 'short', timeout => '1 ms')").await;
        admin.one(long).await;
        let claim = admin.one("select claim from trunkline.request_take('work', 9)").await;
        admin.run(&format!("select trunkline.request_reply('{claim}', '')")).await;
        admin.run("update trunkline.request_e0 set expires_at = now(); update trunkline.request_e1 set expires_at = now()").await;
        admin.run("update trunkline.take_e0 set expires_at = now(); update trunkline.take_e1 set expires_at = now()").await;
        assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "turned");
        assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "emptied");
        assert!(admin.rows("select * from trunkline.request_take('work', 9)").await.is_empty());
    }
    assert_eq!(
        admin.one("select count(*) from (select from trunkline.take_e0 union all select from trunkline.take_e1) t").await,
        "0"
    );
    let id = admin.one(long).await;
    assert_eq!(admin.rows("select id from trunkline.request_take('work', 9)").await, vec![id]);
}

#[tokio::test]
async fn a_ring_with_a_live_request_is_not_emptied() {
    let db = Db::new().await;
    let admin = db.raw().await;
    hurry(&admin, 'e').await;
    admin.run("select trunkline.request_serve('work')").await;
    let id = admin.one("select trunkline.request_send('work', 'alive', timeout => '1 min')").await;
    assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "turned");
    for _ in 0..3 {
        assert_eq!(admin.one("select trunkline._log_turn_e(0)").await, "");
    }
    assert_eq!(admin.one("select id from trunkline.request_take('work')").await, id);
}
