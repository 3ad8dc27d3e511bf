//! Limits of queues whose jobs are in a ring: what runs is counted by its slices, however it ends and wherever it goes.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use trunkline::{
    jobs::{Job, Outcome, Work},
    requests::Failure,
};

use crate::{
    jobs::one,
    jobs_storm::Dice,
    support::{Db, Raw, millis, within},
};

const RUNNING: &str = "select count(*) from trunkline.job where state = 'running'";

async fn limited(raw: &Raw, most: u32, durable: bool) {
    raw.run(&format!(
        "select trunkline.job_open('q', {durable}), trunkline.job_set('q', 'max_running', '{most}')"
    ))
    .await;
}

/// Takes up to nine, and how many came.
async fn take(raw: &Raw) -> usize {
    let took = "insert into took select * from trunkline.job_take('q', 9) returning payload";
    raw.rows(took).await.len()
}

#[tokio::test]
async fn what_runs_in_a_ring_counts_until_it_ended_in_whatever_way() {
    for durable in [true, false] {
        let (db, _tl, raw) = one().await;
        let other = db.raw().await;
        limited(&raw, 4, durable).await;
        raw.run("create temp table took as select * from trunkline.job_take('q', 1)").await;
        raw.run(
            "select trunkline.job_push_many('q', array(select 'job ' || n from generate_series(1, 40) n))",
        )
        .await;
        assert_eq!(raw.one("select count(*) from trunkline.job_held").await, "0", "they are in the ring");
        assert_eq!((take(&raw).await, take(&raw).await), (4, 0));
        for (n, end) in [
            "job_complete(claim)",
            "job_complete(claim, 'a result')",
            "job_fail(claim, 'why', '1 hour')",
            "job_fail(claim, 'why', dead => true)",
            "job_snooze(claim, '1 hour')",
        ]
        .iter()
        .enumerate()
        {
            raw.run(&format!("select trunkline.{end} from (select claim from took offset {n} limit 1) t"))
                .await;
            assert_eq!((take(&raw).await, take(&raw).await), (1, 0), "{end}");
        }
        // An end that comes to nothing, and a take that does.
        raw.run("begin; select trunkline.job_complete(claim) from (select claim from took offset 5 limit 1) t; rollback").await;
        assert_eq!(take(&raw).await, 0);
        raw.run("select trunkline.job_complete(claim) from (select claim from took offset 5 limit 2) t")
            .await;
        other.run("begin; select * from trunkline.job_take('q', 9); rollback").await;
        assert_eq!((take(&raw).await, take(&raw).await), (2, 0));
        // Less than runs, more than runs, none.
        for (most, more) in [(2, 0), (5, 1), (0, 9)] {
            raw.run(&format!("select trunkline.job_set('q', 'max_running', '{most}')")).await;
            assert_eq!(take(&raw).await, more, "{most}");
        }
        let kept = raw.one("select count(*) from trunkline.job_limited").await;
        assert!(kept.parse::<u32>().unwrap() <= 6, "{kept} slices are looked at, and five run");
    }
}

#[tokio::test]
async fn a_slice_that_runs_for_long_costs_those_after_it_nothing() {
    let (_db, _tl, raw) = one().await;
    limited(&raw, 2, true).await;
    raw.run("create temp table took as select * from trunkline.job_take('q', 1)").await;
    raw.run("select trunkline.job_push_many('q', array(select 'job ' || n from generate_series(1, 400) n))")
        .await;
    raw.run("insert into took select * from trunkline.job_take('q', 1)").await;
    for _ in 0..300 {
        raw.run("with t as (select claim from trunkline.job_take('q', 1)) select trunkline.job_complete(claim) from t").await;
    }
    let kept = "select count(*), max(turn) - min(turn) > 250 from trunkline.job_limited";
    let kept = raw.rows(kept).await.concat();
    assert!(["2|t", "3|t"].contains(&kept.as_str()), "the first, and the last: {kept}");
}

#[tokio::test]
async fn what_a_dead_worker_ran_makes_room() {
    let (db, _tl, raw) = one().await;
    let dying = db.raw().await;
    limited(&raw, 2, true).await;
    raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c'])").await;
    assert_eq!(dying.rows("select payload from trunkline.job_take('q', 9)").await, ["a", "b"]);
    assert!(raw.rows("select payload from trunkline.job_take('q', 9)").await.is_empty());
    raw.run(&format!("select pg_terminate_backend({}, 10000)", dying.pid)).await;
    raw.until("its jobs to come again", "select exists (select from trunkline._session_reap()) and exists (select from trunkline.job where attempt = 1 and state <> 'running')").await;
    raw.run("select trunkline.job_forward('1 day', 'q')").await;
    assert_eq!(raw.rows("select payload from trunkline.job_take('q', 9) order by 1").await, ["a", "b"]);
    assert!(raw.rows("select payload from trunkline.job_take('q', 9)").await.is_empty());
}

#[tokio::test]
async fn what_was_taken_one_after_the_other_leaves_one_row_and_what_was_cancelled_uses_up_no_rate() {
    let (_db, _tl, raw) = one().await;
    limited(&raw, 1, true).await;
    raw.run("select trunkline.job_push_many('q', array(select 'job ' || n from generate_series(1, 60) n))")
        .await;
    for _ in 0..60 {
        raw.run("with t as (select claim from trunkline.job_take('q', 1)) select trunkline.job_complete(claim) from t").await;
    }
    assert_eq!(raw.one("select count(*) from trunkline.job_limited").await, "1");
    raw.run("select trunkline.job_set('q', 'max_running', '0'), trunkline.job_set('q', 'rate_limit', '5'), trunkline.job_set('q', 'rate_period', '1 hour')").await;
    raw.run("select trunkline.job_push_many('q', array(select 'job ' || n from generate_series(1, 40) n))")
        .await;
    raw.run("select trunkline.job_cancel_all('q'); select trunkline.job_push_many('q', array['a', 'b', 'c', 'd', 'e', 'f'])").await;
    let mut took = Vec::new();
    for _ in 0..20 {
        took.extend(raw.rows("select payload from trunkline.job_take('q', 9)").await);
    }
    assert_eq!(took, ["a", "b", "c", "d", "e"], "five an hour");
    assert_eq!(
        raw.one("select count(*) from trunkline.job_limited").await,
        "1",
        "a rate needs no count of what runs"
    );
}

#[tokio::test]
async fn who_sleeps_is_rung_when_a_limit_lets_more_begin_and_ends_read_no_table_whole() {
    let (db, _tl, raw) = one().await;
    let mut sleeper = db.raw().await;
    limited(&raw, 60, true).await;
    raw.run("select trunkline.job_open('free')").await;
    let doors = raw.rows("select -65 - (id & 63) from trunkline.job_queue order by name = 'free'").await;
    raw.run("select trunkline.job_push_many(q, array(select 'job ' || n from generate_series(1, 60) n)) from unnest(array['q', 'free']) q").await;
    raw.run("create temp table took as select claim, 'q' as of from trunkline.job_take('q', 60)").await;
    raw.run("insert into took select claim, 'free' from trunkline.job_take('free', 60)").await;
    for door in &doors {
        sleeper.run(&format!("listen \"trunkline_{door}\"")).await;
        assert_eq!(sleeper.one(&format!("select trunkline._door_hold({door})")).await, "t");
    }
    let scans = "select pg_stat_force_next_flush(), pg_stat_clear_snapshot(), (select seq_scan from pg_stat_user_tables where relname = 'job_queue')";
    let scans = async || raw.rows(scans).await.concat().trim_start_matches('|').parse::<u64>().unwrap();
    scans().await;
    let before = scans().await;
    for of in ["free", "q"] {
        for end in ["job_complete(claim)", "job_complete(claim, 'result')"] {
            raw.run(&format!("with o as (delete from took where ctid = any (array(select ctid from took where of = '{of}' limit 30)) returning claim) select trunkline.{end} from o")).await;
        }
        if of == "free" {
            sleeper.run("select 1").await; // what was sent has come
            assert!(sleeper.notes.try_recv().is_err(), "it rang, and nobody waits for those");
        }
    }
    let rung = within(1_000, "the bell", sleeper.notes.recv()).await.unwrap();
    assert_eq!(rung, format!("trunkline_{}", doors[0]));
    scans().await;
    let read = scans().await - before;
    assert!(
        read < 60,
        "{read} times the queues were read whole, in 120 ends: their plans are compiled, and take 20 ms"
    );
}

/// What was in the segment is in neither place for who looked before it was emptied, and asks of it after.
#[tokio::test]
async fn what_is_carried_out_of_a_segment_that_is_emptied_just_now_counts() {
    let (db, _tl, raw) = one().await;
    let (turns, other) = (db.raw().await, db.raw().await);
    limited(&raw, 1, true).await;
    raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c'])").await;
    assert_eq!(raw.rows("select payload from trunkline.job_take('q', 9)").await, ["a"]);
    turns.until("the ring to turn", "select trunkline._job_turn_d(1, '0') = 'turned'").await;
    turns.run("begin").await;
    assert_eq!(turns.one("select trunkline._job_turn_d(1, '0')").await, "emptied");
    let takes = other.rows("select payload from trunkline.job_take('q', 9)");
    let commits = async {
        raw.blocked(other.pid).await;
        turns.run("commit").await;
    };
    let (took, ()) = tokio::join!(takes, commits);
    assert!(took.is_empty(), "{took:?} runs, and one is the limit");
    assert_eq!(raw.one(RUNNING).await, "1");
}

/// Ends a job in one of many ways.
fn end(dice: &AtomicU64, job: &Job) -> Result<Outcome, Failure> {
    let mut throw = Dice(dice.fetch_add(0x9e37_79b9, Ordering::Relaxed) | 1);
    for _ in 0..2 {
        throw.throw(8);
    }
    match throw.throw(8) {
        0 => Err(Failure::new("again", "")),
        1 => Ok(Outcome::Result("a result".into())),
        2 => Ok(Outcome::Dead("it can never work".into())),
        3 if job.attempt < 3 => Ok(Outcome::Snooze(millis(5))),
        _ => Ok(Outcome::Done),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_run_than_a_limit_says_while_the_ring_turns_and_connections_are_cut() {
    let db = Db::new().await;
    let (raw, turns) = (db.raw().await, db.raw().await);
    limited(&raw, 5, true).await;
    raw.run("select trunkline.job_set('q', 'retry_after', '2 ms')").await;
    raw.run("select trunkline.job_push_many('q', array(select 'job ' || n from generate_series(1, 900) n))")
        .await;
    let (dice, done) = (Arc::new(AtomicU64::new(7)), Arc::new(Mutex::new(HashSet::new())));
    let mut workers = Vec::new();
    for n in 0..3 {
        let (client, dice, done) = (db.client(&format!("worker{n}")).await, dice.clone(), done.clone());
        let handler = move |job: Job| {
            let dice = dice.clone();
            done.lock().unwrap().insert(job.payload.text().unwrap().to_owned());
            async move {
                tokio::task::yield_now().await;
                end(&dice, &job)
            }
        };
        workers.push((client.jobs().work(Work::queue("q").concurrency(8), handler), client));
    }
    let over = "select bool_and(state in ('done', 'dead')) from trunkline.job";
    let (mut seen, mut did) = (BTreeSet::new(), BTreeSet::new());
    let storm = async {
        for n in 0.. {
            let running: u32 = raw.one(RUNNING).await.parse().unwrap();
            assert!(running <= 5, "{running} run, and five is the limit");
            seen.insert(running);
            did.insert(turns.one("select coalesce(trunkline._job_turn_d(1, '0'), '')").await);
            if n % 8 == 7 {
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'worker%'
                           and datname = current_database() order by random() limit 1";
                raw.run(cut).await;
            }
            if n % 4 == 3 && raw.one(over).await == "t" {
                break;
            }
        }
    };
    within(60_000, "all to be done", storm).await;
    assert!(seen.contains(&5), "the limit is reached: {seen:?}");
    assert!(did.contains("emptied"), "{did:?}");
    assert_eq!(done.lock().unwrap().len(), 900);
}
