//! What leases cost while nothing changes: who waits in turn asks next to nothing, and is still told in time.
//!
//! `TRUNKLINE_IDLE_SECONDS` sets for how long it is counted.

use tokio::time::Instant;

use crate::support::{Db, Process, Raw, millis, signal, within};

/// The first minute of the first session is watched for what a crash may have left: let it be over.
const LONG_AGO: &str = "update trunkline.session set opened_at = opened_at - interval '2 minutes'";

/// So many processes are told by the server, each by a statement that it has waited with for a while.
async fn vigils(raw: &Raw, many: usize) {
    let kept = format!(
        "select count(*) = {many} from pg_stat_activity where datname = current_database() and state = 'active'
            and query like '%_lease_vigil(%' and application_name like '% vigil' and pid <> pg_backend_pid()"
    );
    raw.until("them to be told by the server", &kept).await;
}

/// So many processes are at rest: they are heard of each half a minute.
async fn at_rest(raw: &Raw, many: usize) {
    let rest = format!(
        "select count(*) = {many} from trunkline.session where rests and expires_at > clock_timestamp() + interval '10 s'"
    );
    raw.until("them to be at rest", &rest).await;
}

async fn calls(raw: &Raw) -> Vec<(String, i64)> {
    let sql = "select f.name, coalesce(s.calls, 0) from unnest(array['_session_renew', '_session_reap', '_lease_renew', '_lease_look',
                 '_lease_vigil']) f(name) left join pg_stat_user_functions s on s.funcname = f.name order by 1";
    let rows = raw.rows(sql).await;
    rows.iter().map(|r| r.split_once('|').unwrap()).map(|(f, n)| (f.to_owned(), n.parse().unwrap())).collect()
}

#[tokio::test]
async fn who_waits_in_turn_asks_at_most_ten_times_a_minute() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run(&format!("alter database {} set track_functions = 'all'", db.name)).await;
    let mut holder = Process::start("lease-holder", &db).await;
    holder.line("held").await;
    let mut waiters = Vec::new();
    for n in 1..=3 {
        waiters.push(Process::start("lease-holder", &db).await);
        raw.until("the queue", &format!("select count(*) = {n} from trunkline.lease_waiters('l')")).await;
    }
    raw.run(LONG_AGO).await;
    vigils(&raw, 2).await; // the third has nothing to be told of
    at_rest(&raw, 3).await;
    raw.run("select pg_sleep(2)").await; // sessions tell what they did a second late at most
    let seconds = std::env::var("TRUNKLINE_IDLE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(30.0);
    let (before, commits, since) = (calls(&raw).await, commits(&raw).await, Instant::now());
    raw.run(&format!("select pg_sleep({seconds})")).await;
    let minutes = since.elapsed().as_secs_f64() / 60.0;
    let asked: Vec<(String, f64)> = calls(&raw)
        .await
        .into_iter()
        .zip(before)
        .map(|(after, b)| (after.0, (after.1 - b.1) as f64))
        .collect();
    println!(
        "in {minutes:.1} minutes, of a holder and three who wait: {asked:?}; {} commits",
        self::commits(&raw).await - commits
    );
    let of = |name: &str| asked.iter().find(|a| a.0 == name).unwrap().1;
    let renewals = minutes * 60.0 / 1.5 + 1.0; // the holder's
    let all = of("_lease_look")
        + of("_lease_vigil")
        + of("_session_reap")
        + (of("_session_renew") - renewals).max(0.0);
    // Of each kind one more may fall into so short a time.
    assert!(all <= 3.0 * (10.0 * minutes + 1.0), "{all} in {minutes:.2} minutes: {asked:?}");
    drop(holder);
    within(2000, "the first in the queue to have it", waiters[0].line("held")).await;
}

async fn commits(raw: &Raw) -> i64 {
    raw.one("select xact_commit from pg_stat_database where datname = current_database()")
        .await
        .parse()
        .unwrap()
}

#[tokio::test]
async fn who_waits_without_its_vigil_looks_by_itself_and_has_another_soon() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let one = db.client("one").await;
    let lease = one.leases().acquire("l").await.unwrap();
    let mut waiter = Process::start("lease-holder", &db).await;
    vigils(&raw, 1).await;
    at_rest(&raw, 1).await; // it looks by itself each half a minute only
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name like '% vigil'";
    assert_eq!(raw.one(end).await, "1");
    // Taken away and never rung for: only a look finds it.
    raw.run("update trunkline.lease_expiry set holder = null, session = null, expires_at = '-infinity'")
        .await;
    within(1000, "the waiter to have it", waiter.line("held")).await;
    drop(lease);
}

#[tokio::test]
async fn who_is_at_rest_takes_nothing_before_it_is_heard_of_often() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (one, mut waiter) = (db.client("one").await, Process::start("lease-holder", &db).await);
    waiter.line("held").await;
    let leases = one.leases();
    let waiting = tokio::spawn(async move { leases.acquire("l").await.unwrap() });
    vigils(&raw, 1).await;
    at_rest(&raw, 1).await;
    // A look of one at rest, as the engine makes it, at a lease that is free by now.
    let args = "s.id, '{m}', array[gen_random_uuid()], '{me}', '{15000}', '{f}'";
    let look = format!(
        "select fence, ripe from trunkline.session s, trunkline._lease_look({args}) where s.expires_at > clock_timestamp() + '10 s'"
    );
    assert_eq!(raw.one(&look).await, "|t");
    drop(waiter);
    let lease = within(2000, "the lease", waiting).await.unwrap();
    let heard = "select s.expires_at < clock_timestamp() + interval '5 s' from trunkline.lease_expiry e join trunkline.session s on s.id = e.session where e.name = 'l'";
    assert_eq!(raw.one(heard).await, "t");
    assert!(lease.is_valid());
}

#[tokio::test]
async fn a_vigil_keeps_no_table_from_those_who_change_it() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let _lease = one.leases().acquire("l").await.unwrap();
    let leases = two.leases();
    let waiting = tokio::spawn(async move { leases.acquire("l").await.map(drop) });
    vigils(&raw, 1).await;
    let change =
        "begin; lock table trunkline.lease_waiter, trunkline.lease_expiry, trunkline.session; rollback";
    for _ in 0..5 {
        within(500, "the tables", raw.run(change)).await;
        tokio::time::sleep(millis(100)).await;
    }
    waiting.abort();
    vigils(&raw, 0).await;
}

#[tokio::test]
async fn a_frozen_first_one_is_passed_over_by_the_second() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let one = db.client("one").await;
    let lease = one.leases().acquire("l").await.unwrap();
    let first = Process::start("lease-holder", &db).await;
    raw.until("the first", "select count(*) = 1 from trunkline.lease_waiters('l')").await;
    let mut second = Process::start("lease-holder", &db).await;
    vigils(&raw, 2).await;
    at_rest(&raw, 2).await;
    signal(first.pid(), "-STOP");
    lease.resign().await.unwrap();
    let taken = within(2000, "the second to have it", second.line("held")).await;
    assert!(taken.starts_with("2 "), "{taken}");
    signal(first.pid(), "-CONT");
}
