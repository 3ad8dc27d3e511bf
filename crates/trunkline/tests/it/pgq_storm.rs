//! Writers at every isolation level, aborts, savepoints, two-phase commits, locks, rotation without pause, two tickers, and
//! consumers that die: each committed event reaches each consumer once. The same on the real PgQ, for comparison.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    pgq_support::real,
    support::{Cluster, Db, Raw, millis, secs},
};

/// Small numbers that look random; each task has its own.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    async fn pause(&mut self, most: u64) {
        let pause = self.roll(most + 1);
        tokio::time::sleep(millis(pause)).await;
    }
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    next: AtomicU64,
    rotations: AtomicU64,
}

impl State {
    fn on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Writes, and returns what was committed.
async fn writer(db: Db, state: Arc<State>, seed: u64) -> Vec<u64> {
    let (raw, mut dice, mut accepted) = (db.raw().await, Dice(seed), Vec::new());
    let levels = ["read committed", "repeatable read", "serializable"];
    while state.on() {
        let level = levels[usize::try_from(dice.roll(3)).unwrap()];
        let mut sql = format!("begin isolation level {level}; select count(*) from pgq.queue;");
        if raw.client.batch_execute(&sql).await.is_err() {
            continue;
        }
        dice.pause(if dice.0 % 4 == 0 { 150 } else { 10 }).await;
        let mut mine = Vec::new();
        sql.clear();
        for _ in 0..=dice.roll(3) {
            let id = state.next.fetch_add(1, Ordering::Relaxed);
            if dice.roll(5) == 0 {
                sql += &format!("savepoint s; select pgq.insert_event('q', 't', '{id}'); rollback to s;");
            } else {
                sql += &format!("select pgq.insert_event('q', 't', '{id}');");
                mine.push(id);
            }
        }
        let written = raw.client.batch_execute(&sql).await;
        dice.pause(20).await;
        let name = format!("p{seed}");
        let end = match dice.roll(8) {
            0 => "rollback".to_owned(),
            1 => format!("prepare transaction '{name}'"),
            _ => "commit".to_owned(),
        };
        if written.is_err() || raw.client.batch_execute(&end).await.is_err() {
            let _ = raw.client.batch_execute("rollback").await;
            continue;
        }
        if end.starts_with("prepare") {
            dice.pause(60).await;
            raw.run(&format!("commit prepared '{name}'")).await;
        }
        if end != "rollback" {
            accepted.extend(mine);
        }
    }
    accepted
}

/// Reads and finishes; dies between the two now and then, and puts events aside. Returns what it was done with.
async fn consumer(db: Db, state: Arc<State>, name: &'static str, seed: u64) -> Vec<u64> {
    let (mut raw, mut dice, mut done) = (db.raw().await, Dice(seed), Vec::new());
    while state.on() {
        dice.pause(5).await;
        done.extend(one_batch(&raw, name, Some(&mut dice)).await);
        if dice.roll(10) == 0 {
            let _ = raw.client.batch_execute(&format!("begin; select pgq.next_batch('q', '{name}')")).await;
            raw = db.raw().await;
        }
    }
    done
}

/// A batch, in one transaction: what of it is done with when the transaction is committed.
async fn one_batch(raw: &Raw, name: &str, dice: Option<&mut Dice>) -> Vec<u64> {
    let aside = dice.map_or(-1, |d| i64::try_from(d.roll(20)).unwrap());
    let sql = format!(
        "begin; create temp table if not exists got (id bigint, done bool); truncate got;
         do $$ declare b bigint := pgq.next_batch('q', '{name}'); r record; begin
           if b is null then return; end if;
           for r in select * from pgq.get_batch_events(b) loop
             if r.ev_id % 20 = {aside} and r.ev_retry is null and pgq.event_retry(b, r.ev_id, 0) = 1 then continue; end if;
             insert into got values (r.ev_data::bigint, true);
           end loop;
           if pgq.finish_batch(b) = 0 then truncate got; end if; end $$"
    );
    if raw.client.batch_execute(&sql).await.is_err() {
        let _ = raw.client.batch_execute("rollback").await;
        return Vec::new();
    }
    let got = raw.rows("select id from got").await;
    match raw.client.batch_execute("commit").await {
        Ok(()) => got.iter().map(|id| id.parse().unwrap()).collect(),
        Err(_) => Vec::new(),
    }
}

/// Calls a statement over and over; what it says is wrong does not matter here.
async fn caller(db: Db, state: Arc<State>, calls: &'static [&'static str], pause: u64, seed: u64) {
    let (raw, mut dice) = (db.raw().await, Dice(seed));
    while state.on() {
        for sql in calls {
            let _ = raw.client.batch_execute(sql).await;
            let _ = raw.client.batch_execute("rollback").await;
        }
        dice.pause(pause).await;
    }
}

const TICK: [&str; 1] = ["select pgq.ticker('q')"];
const MAINTAIN: [&str; 3] = [
    "select pgq.maint_rotate_tables_step1('q')",
    "select pgq.maint_rotate_tables_step2()",
    "select pgq.maint_retry_events()",
];
/// Somebody who holds a segment against its writers for a moment, as CREATE INDEX does, and one against truncation.
const LOCKS: [&str; 3] = [
    "set lock_timeout = '20ms'; begin; lock table pgq.event_1_0, pgq.event_1_1, pgq.event_1_2 in share mode; select pg_sleep(0.02); commit",
    "begin; select count(*) from pgq.event_1; select pg_sleep(0.01); commit",
    "select pg_sleep(0.05)",
];

/// Everything that is still to come.
async fn drain(raw: &Raw, name: &str) -> Vec<u64> {
    while raw.one("select pgq.maint_retry_events()").await != "0" {}
    raw.run(TICK[0]).await;
    let last = raw.one("select max(tick_id) from pgq.tick").await;
    let behind = format!(
        "select sub_last_tick < {last} from pgq.subscription join pgq.consumer on co_id = sub_consumer where co_name = '{name}'"
    );
    let (mut got, mut nothing) = (Vec::new(), 0);
    // One whose next tick is gone, as the real PgQ has been seen to leave it, stays behind for ever.
    while nothing < 3000 && raw.one(&behind).await == "t" {
        let some = one_batch(raw, name, None).await;
        nothing = if some.is_empty() { nothing + 1 } else { 0 };
        got.extend(some);
    }
    got
}

/// Lost and doubled events of both consumers, of how many.
async fn storm(db: &Db, length: u64) -> (usize, usize, usize, u64) {
    let raw = db.raw().await;
    raw.run("set client_min_messages = error; select pgq.create_queue('q'), pgq.set_queue_config('q', 'ticker_max_lag', '0'), pgq.set_queue_config('q', 'ticker_idle_period', '0'),
        pgq.set_queue_config('q', 'rotation_period', '0'); select pgq.register_consumer('q', 'one'); select pgq.register_consumer('q', 'two')").await;
    let state = Arc::new(State::default());
    let writers: Vec<_> =
        (1..=8).map(|n| tokio::spawn(writer(db.clone(), Arc::clone(&state), n * 7919))).collect();
    let consumers: Vec<_> = [("one", 11), ("one", 12), ("two", 21)]
        .map(|(name, seed)| (name, tokio::spawn(consumer(db.clone(), Arc::clone(&state), name, seed))))
        .into();
    let callers = [
        tokio::spawn(caller(db.clone(), Arc::clone(&state), &TICK, 60, 31)),
        tokio::spawn(caller(db.clone(), Arc::clone(&state), &TICK, 90, 32)),
        tokio::spawn(caller(db.clone(), Arc::clone(&state), &MAINTAIN, 30, 33)),
        tokio::spawn(caller(db.clone(), Arc::clone(&state), &LOCKS, 30, 34)),
    ];
    let end = tokio::time::Instant::now() + secs(length);
    let mut current = String::new();
    while tokio::time::Instant::now() < end {
        let now = raw.one("select queue_cur_table from pgq.queue").await;
        if now != current {
            state.rotations.fetch_add(1, Ordering::Relaxed);
            current = now;
        }
        tokio::time::sleep(millis(10)).await;
    }
    state.stop.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for task in writers {
        accepted.extend(task.await.unwrap());
    }
    for task in callers {
        task.await.unwrap();
    }
    let mut done: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (name, task) in consumers {
        done.entry(name).or_default().extend(task.await.unwrap());
    }
    let (mut lost, mut doubled) = (0, 0);
    for (name, mut got) in done {
        got.extend(drain(&raw, name).await);
        got.sort_unstable();
        lost += accepted.iter().filter(|id| got.binary_search(id).is_err()).count();
        doubled += got.windows(2).filter(|w| w[0] == w[1]).count();
        assert!(got.iter().all(|id| accepted.contains(id)), "an event that was rolled back came to {name}");
    }
    (accepted.len(), lost, doubled, state.rotations.load(Ordering::Relaxed))
}

fn length(default: u64) -> u64 {
    std::env::var("TRUNKLINE_TEST_STORM_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_nothing_is_lost_and_nothing_doubled() {
    let (_cluster, db) = Cluster::own().await;
    let mut raw = db.raw().await;
    trunkline::schema::install_pgq(&mut raw.client).await.unwrap();
    let (events, lost, doubled, rotations) = storm(&db, length(8)).await;
    eprintln!("ours: {events} events, {rotations} rotations: {lost} lost, {doubled} doubled");
    assert!(events > 100 && rotations > 3, "that was no storm");
    assert_eq!((lost, doubled), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_storm_on_the_real_pgq_is_printed() {
    let Some(db) = real("storm").await else { return };
    let (events, lost, doubled, rotations) = storm(&db, length(4)).await;
    eprintln!("PgQ:  {events} events, {rotations} rotations: {lost} lost, {doubled} doubled");
}
