//! The short way of queues with a limit: who counted goes on from there while nobody else takes, and no more run than the limit says.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use trunkline::{
    Trunkline,
    jobs::{Job, Work, Working},
    requests::Failure,
};

use crate::support::{Db, Raw, functions_only, millis, until, within};

const RUNNING: &str = "select count(*) from trunkline.job where state = 'running'";

/// A database whose queue `q` has these settings, and so many jobs in it; a session, and one that counts what is called.
async fn filled(settings: &[(&str, &str)], jobs: u32) -> (Db, Raw) {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run(&format!("alter database {} set track_functions = 'all'", db.name)).await;
    raw.run("select trunkline.job_open('q', true)").await;
    for (name, value) in settings {
        raw.run(&format!("select trunkline.job_set('q', '{name}', '{value}')")).await;
    }
    let push = format!(
        "select trunkline.job_push_many('q', array(select 'job ' || n from generate_series(1, {jobs}) n))"
    );
    raw.run(&push).await;
    (db, raw)
}

/// A worker whose handlers take so long, and what it did.
fn working(tl: &Trunkline, at_once: usize, ms: u64) -> (Working, Arc<Mutex<Vec<String>>>) {
    let done: Arc<Mutex<Vec<String>>> = Arc::default();
    let did = done.clone();
    let handler = move |job: Job| {
        did.lock().unwrap().push(job.payload.text().unwrap().to_owned());
        async move {
            if ms > 0 {
                tokio::time::sleep(millis(ms)).await;
            }
            Ok::<_, Failure>(())
        }
    };
    (tl.jobs().work(Work::queue("q").concurrency(at_once), handler), done)
}

async fn calls(raw: &Raw, function: &str) -> u64 {
    let sql =
        format!("select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname = '{function}'");
    raw.one(&sql).await.parse().unwrap()
}

/// Looks all the time until this many were done: how many ran at a time, at most.
async fn watched(raw: &Raw, done: &Mutex<Vec<String>>, jobs: usize, before: impl AsyncFn(usize)) -> u32 {
    let mut most = 0;
    let watch = async {
        loop {
            let finished = done.lock().unwrap().len();
            before(finished).await;
            most = most.max(raw.one(RUNNING).await.parse().unwrap());
            if finished >= jobs {
                return;
            }
        }
    };
    within(60_000, "all to be done", watch).await;
    let each: HashSet<String> = done.lock().unwrap().iter().cloned().collect();
    assert_eq!((each.len(), done.lock().unwrap().len()), (jobs, jobs), "each once");
    most
}

#[tokio::test]
async fn who_takes_alone_counts_seldom_and_never_beyond_the_limit() {
    let (db, raw) = filled(&[("max_running", "4"), ("rate_limit", "1000000")], 3000).await;
    let tl = db.client("worker").await;
    let (work, done) = working(&tl, 4, 0);
    let most = watched(&raw, &done, 3000, async |_| {}).await;
    assert!((1..=4).contains(&most), "{most} ran");
    work.stop().await.unwrap();
    drop(tl);
    until("the counts", async || calls(&raw, "_job_room_d").await > 0).await;
    let (short, counted) = (calls(&raw, "_job_limit_mine").await, calls(&raw, "_job_room_d").await);
    println!("@@{short} times by what was counted, {counted} times it was counted");
    assert!(
        short > counted || functions_only(),
        "{short} times by what was counted, {counted} times it was counted"
    );
    let started = "select sum(n) <= 3000 and sum(n) > 0 from trunkline.job_start where queue = 1";
    assert_eq!(raw.one(started).await, "t", "the rate is counted as well");
}

#[tokio::test]
async fn who_else_takes_in_between_is_counted() {
    let (db, raw) = filled(&[("max_running", "4")], 1500).await;
    let stranger = db.raw().await;
    let (one, other) = (db.client("one").await, db.client("other").await);
    let (first, done) = working(&one, 8, 1);
    let (second, also) = working(&other, 8, 2);
    // A third takes one at a time by SQL, of which some fail, so that held jobs run as well.
    let taken = async || {
        let end = "with t as (select claim, attempt, id from trunkline.job_take('q', 1))
            select case when id % 3 = 0 and attempt = 1 then trunkline.job_fail(claim, 'again', '1 ms') else trunkline.job_complete(claim) end from t";
        stranger.rows(end).await.len()
    };
    let (mut most, mut took) = (0, 0);
    let watch = async {
        while raw.one("select bool_and(state in ('done', 'dead')) from trunkline.job").await != "t" {
            most = most.max(raw.one(RUNNING).await.parse::<u32>().unwrap());
            took += taken().await;
        }
    };
    within(60_000, "all to be done", watch).await;
    assert!((2..=4).contains(&most), "{most} ran");
    assert!(took > 0 && !done.lock().unwrap().is_empty() && !also.lock().unwrap().is_empty());
    drop((first, second));
}

#[tokio::test]
async fn a_limit_that_is_lowered_holds_from_then_on() {
    let (db, raw) = filled(&[("max_running", "8")], 1200).await;
    let tl = db.client("worker").await;
    let setter = db.raw().await;
    let (_work, done) = working(&tl, 8, 1);
    let lowered = std::sync::atomic::AtomicBool::new(false);
    let most = watched(&raw, &done, 1200, async |finished| {
        if finished > 300 && !lowered.swap(true, std::sync::atomic::Ordering::Relaxed) {
            setter.run("select trunkline.job_set('q', 'max_running', '2')").await;
            setter.until("those that ran to end", &format!("select ({RUNNING}) <= 2")).await;
            for _ in 0..200 {
                let now: u32 = setter.one(RUNNING).await.parse().unwrap();
                assert!(now <= 2, "{now} run, and the limit is two by now");
            }
        }
    })
    .await;
    assert!((3..=8).contains(&most), "{most} ran");
}

#[tokio::test]
async fn a_rate_holds_also_where_what_ran_has_ended() {
    let settings = [("max_running", "8"), ("rate_limit", "20"), ("rate_period", "500 ms")];
    let (db, raw) = filled(&settings, 100).await;
    let tl = db.client("worker").await;
    let (_work, done) = working(&tl, 8, 0);
    watched(&raw, &done, 100, async |_| {}).await;
    raw.until("all ends to be written", "select bool_and(state = 'done') from trunkline.job").await;
    let most = "select max(n) from (select count(*) over (order by begun_at range between interval '499 ms' preceding and current row) n
                  from trunkline.job) x";
    let most: u32 = raw.one(most).await.parse().unwrap();
    assert!((10..=20).contains(&most), "{most} began within half a second");
}

#[tokio::test]
async fn what_was_counted_holds_until_anything_else_may_have_begun() {
    let (db, raw) = filled(&[("max_running", "9")], 9).await;
    let other = db.raw().await;
    let counted = async || {
        raw.run("create temp table if not exists took (claim text); insert into took select claim from trunkline.job_take('q', 1)")
            .await;
        raw.one("select format('select trunkline._job_limit_mine(%s, %s, %L)', q.id, (select max(turn) from trunkline.job_limited), q.xmin) from trunkline.job_queue q").await
    };
    let mine = counted().await;
    assert_eq!(raw.one(&mine).await, "t");
    raw.run("select trunkline.job_complete(claim) from (select claim from took limit 1) t").await;
    assert_eq!(raw.one(&mine).await, "t", "an end makes room, and takes none");
    other.run("begin").await;
    assert_eq!(other.one(&mine).await, "t");
    assert_eq!(raw.one(&mine).await, "f", "somebody else decides just now");
    other.run("commit").await;
    assert_eq!(raw.one(&mine).await, "t");
    // Of another priority, whose lane has a cursor of its own.
    raw.run("select trunkline.job_push('q', 'urgent', priority => 1)").await;
    assert_eq!(other.rows("select payload from trunkline.job_take('q', 1)").await, ["urgent"]);
    assert_eq!(raw.one(&mine).await, "f");
    // One that is held, and comes from no ring.
    let mine = counted().await;
    assert_eq!(raw.one(&mine).await, "t");
    raw.run("select trunkline.job_push('q', 'keyed', key => 'k')").await;
    assert_eq!(raw.one("select state from trunkline.job_held where payload = 'keyed'").await, "0");
    assert_eq!(other.rows("select payload from trunkline.job_take('q', 1)").await, ["keyed"]);
    assert_eq!(raw.one(&mine).await, "f");
    for changed in ["job_set('q', 'max_running', '2')", "job_pause('q')"] {
        raw.run("select trunkline.job_resume('q'), trunkline.job_set('q', 'max_running', '9')").await;
        let mine = counted().await;
        assert_eq!(raw.one(&mine).await, "t");
        other.run(&format!("select trunkline.{changed}")).await;
        assert_eq!(raw.one(&mine).await, "f", "{changed}");
    }
}

/// What was taken while there was a rate alone is in no count, so its ends make no room.
#[tokio::test]
async fn ends_of_what_was_never_counted_make_no_room() {
    let (db, raw) = filled(&[("rate_limit", "100000")], 0).await;
    let tl = db.client("worker").await;
    raw.run(
        "select trunkline.job_push_many('q', array(select 'old' || n * 12 from generate_series(1, 40) n))",
    )
    .await;
    let _working = tl.jobs().work(Work::queue("q").concurrency(128), async |job: Job| {
        let ms = job.payload.text().unwrap().trim_start_matches(char::is_alphabetic).parse().unwrap();
        tokio::time::sleep(millis(ms)).await;
        Ok::<_, Failure>(())
    });
    raw.until("all of them to run", &format!("select ({RUNNING}) >= 30")).await;
    raw.run("select trunkline.job_set('q', 'max_running', '4')").await;
    raw.run("select trunkline.job_push_many('q', array(select 'new' || 1500 from generate_series(1, 20)))")
        .await;
    let new = "select count(*) from trunkline.job where state = 'running' and payload like 'new%'";
    let old = "select not exists (select from trunkline.job where payload like 'old%' and state <> 'done')";
    let watch = async {
        let mut most = 0;
        while raw.one(old).await != "t" || most == 0 {
            most = most.max(raw.one(new).await.parse::<u32>().unwrap());
        }
        most
    };
    let most = within(30_000, "those of before to end", watch).await;
    assert!(most <= 4, "{most} run of those that came after the limit");
}
