//! Everything at once, for a while: producers at every isolation level with rollbacks and savepoints, workers whose connections
//! are cut, a ring that turns all the time, jobs that fail, are held, have keys. Then every promise is counted.
//!
//! `TRUNKLINE_STORM_SECONDS` says how long; six unless told.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tokio::sync::{mpsc, watch};
use trunkline::{
    Trunkline,
    jobs::{Job, Work, Working},
    requests::Failure,
};

use crate::support::{Db, Raw, Stopwatch, secs, within};

/// A small generator of numbers, so that a storm can be told by its seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// How many jobs are handled between two turns of the ring.
const PACE: u32 = 20;

/// What the ring's turns follow, and what they tell.
#[derive(Clone)]
struct Ring {
    handled: mpsc::UnboundedSender<u32>,
    turns: watch::Receiver<u32>,
}

impl Ring {
    /// Waits until the ring was turned once more, or is no more.
    async fn turned(&mut self) {
        self.turns.mark_unchanged();
        let _ = self.handled.send(PACE);
        let _ = self.turns.changed().await;
    }
}

/// Pushes until the storm is over: the payloads that were committed.
async fn produce(raw: Raw, who: u64, over: Arc<AtomicBool>, mut ring: Ring) -> Vec<String> {
    let (mut dice, mut sent, mut n) = (Dice(who * 7919 + 1), Vec::new(), 0);
    while !over.load(Ordering::Relaxed) {
        let level = ["read committed", "repeatable read", "serializable"][dice.throw(3) as usize];
        raw.run(&format!("begin isolation level {level}; select 1")).await;
        let mut mine = Vec::new();
        for _ in 0..=dice.throw(6) {
            n += 1;
            let payload = format!("{who}-{n}");
            let options = match dice.throw(8) {
                0 => format!(", key => 'k{}'", dice.throw(5)),
                1 => ", run_at => clock_timestamp() + interval '100 ms'".to_owned(),
                2 => ", priority => 3".to_owned(),
                _ => String::new(),
            };
            raw.run(&format!("select trunkline.job_push('q', '{payload}'{options})")).await;
            mine.push(payload);
            if dice.throw(10) == 0 {
                raw.run("savepoint s; select trunkline.job_push('q', 'rolled back'); rollback to s").await;
            }
            if dice.throw(20) == 0 {
                ring.turned().await; // a slow transaction is part of the storm
            }
        }
        if dice.throw(7) == 0 {
            raw.run("rollback").await;
        } else {
            raw.run("commit").await;
            sent.append(&mut mine);
        }
    }
    sent
}

/// What the handlers saw.
#[derive(Default)]
struct Seen {
    runs: Mutex<HashMap<String, u32>>,
    keys: Mutex<HashSet<String>>,
    overlapped: AtomicU32,
    failed: AtomicU32,
}

async fn handle(db: Db, seen: Arc<Seen>, job: Job) -> Result<(), Failure> {
    let payload = job.payload.text().unwrap().to_owned();
    *seen.runs.lock().unwrap().entry(payload.clone()).or_default() += 1;
    let number: u32 = payload.rsplit('-').next().unwrap().parse().unwrap();
    if number.is_multiple_of(11) && job.attempt == 1 {
        seen.failed.fetch_add(1, Ordering::Relaxed);
        return Err(Failure::new("again", ""));
    }
    if !number.is_multiple_of(3) {
        return Ok(());
    }
    // The effect, and the end, in one transaction.
    let mut raw = db.raw().await;
    let tx = raw.client.transaction().await?;
    tx.execute("insert into public.effect (payload, key) values ($1, $2)", &[&payload, &job.key]).await?;
    job.complete_on(&mut &tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Three workers, of one slot and of more.
async fn workers(
    db: &Db,
    seen: &Arc<Seen>,
    handled: &mpsc::UnboundedSender<u32>,
) -> Vec<(Working, Trunkline)> {
    let mut workers = Vec::new();
    for n in 0..3 {
        let worker = db.client(&format!("stormy{n}")).await;
        let (db, seen, handled) = (db.clone(), seen.clone(), handled.clone());
        let working = worker.jobs().work(Work::queue("q").concurrency(1 + n * 12), move |job: Job| {
            let (db, seen, handled) = (db.clone(), seen.clone(), handled.clone());
            async move {
                let _ = handled.send(1);
                let key = job.key.clone();
                if let Some(key) = &key
                    && !seen.keys.lock().unwrap().insert(key.clone())
                {
                    seen.overlapped.fetch_add(1, Ordering::Relaxed);
                }
                let done = handle(db, seen.clone(), job).await;
                if let Some(key) = &key {
                    seen.keys.lock().unwrap().remove(key);
                }
                done
            }
        });
        workers.push((working, worker));
    }
    workers
}

/// Turns the ring while jobs are handled, and cuts connections: what the turns did.
async fn rage(
    raw: &Raw,
    time: std::time::Duration,
    mut handled: mpsc::UnboundedReceiver<u32>,
    turned: watch::Sender<u32>,
) -> HashMap<String, u32> {
    let (watch, mut dice, mut turns) = (Stopwatch::start(), Dice(42), HashMap::<String, u32>::new());
    while watch.elapsed() < time {
        let mut jobs = 0;
        while jobs < PACE {
            jobs += within(15_000, "a job to be handled", handled.recv()).await.unwrap();
        }
        let patience = if dice.throw(4) == 0 { "0" } else { "1 hour" };
        raw.run("update trunkline.ring set turned_at = turned_at - interval '1 minute' where name = 'job_d'")
            .await;
        let turn = format!("select coalesce(trunkline._job_turn_d(1, '{patience}'), 'nothing')");
        *turns.entry(raw.one(&turn).await).or_default() += 1;
        turned.send_modify(|n| *n += 1);
        if dice.throw(25) == 0 {
            let victim = dice.throw(3);
            raw.rows(&format!("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'stormy{victim}' and datname = current_database()")).await;
        }
    }
    turns
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_no_effect_is_doubled_in_a_storm() {
    let seconds = std::env::var("TRUNKLINE_STORM_SECONDS").ok().and_then(|v| v.parse().ok()).unwrap_or(6);
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table public.effect (payload text, key text, at timestamptz default clock_timestamp())")
        .await;
    raw.run("select trunkline.job_open('q'), trunkline.job_set('q', 'retry_after', '10 ms'), trunkline.job_set('q', 'keep_done', '1 day')").await;
    let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let ((handled, come), (turned, turns)) = (mpsc::unbounded_channel(), watch::channel(0));
    let mut producers = tokio::task::JoinSet::new();
    for who in 1..=4 {
        let ring = Ring { handled: handled.clone(), turns: turns.clone() };
        producers.spawn(produce(db.raw().await, who, over.clone(), ring));
    }
    let workers = workers(&db, &seen, &handled).await;
    let turns = rage(&raw, secs(seconds), come, turned).await;
    over.store(true, Ordering::Relaxed);
    let sent: Vec<String> = producers.join_all().await.into_iter().flatten().collect();
    raw.until(
        "all to have ended",
        "select sum(waiting + scheduled + running + retrying) = 0 from trunkline.job_queues()",
    )
    .await;
    for (working, worker) in workers {
        working.stop().await.unwrap();
        worker.close().await;
    }
    let runs = seen.runs.lock().unwrap().clone();
    let lost: Vec<_> = sent.iter().filter(|p| !runs.contains_key(*p)).collect();
    let phantom = runs.keys().filter(|p| !sent.contains(p)).count();
    let again = runs.values().filter(|n| **n > 1).count();
    let doubled = raw
        .one("select count(*) from (select payload from public.effect group by 1 having count(*) > 1) d")
        .await;
    let effects: usize = raw.one("select count(distinct payload) from public.effect").await.parse().unwrap();
    let due = sent
        .iter()
        .filter(|p| p.rsplit('-').next().unwrap().parse::<u32>().unwrap().is_multiple_of(3))
        .count();
    println!(
        "{} jobs, {} lost, {phantom} phantom, {again} ran more than once ({} failed), {effects} of {due} effects, {doubled} doubled, \
         {} times two of a key at once; turns {turns:?}",
        sent.len(),
        lost.len(),
        seen.failed.load(Ordering::Relaxed),
        seen.overlapped.load(Ordering::Relaxed),
    );
    assert!(lost.is_empty() && phantom == 0, "{lost:?}");
    assert_eq!((effects, doubled.as_str()), (due, "0"));
    let dead = raw.one("select dead from trunkline.job_queues()").await;
    assert_eq!(dead, "0");
    assert!(turns.get("emptied").is_some_and(|n| *n > 1), "{turns:?}");
}
