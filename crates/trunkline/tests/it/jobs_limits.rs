//! Limits: of rate, of a key, of length, of time.

use std::sync::Arc;

use tokio::sync::Barrier;
use trunkline::{
    ErrorKind,
    jobs::{Job, NewJob, Work},
    requests::Failure,
};

use crate::{
    jobs::one,
    support::{Db, Raw, millis, within},
};

async fn set(raw: &Raw, settings: &[(&str, &str)]) {
    raw.run("select trunkline.job_open('q')").await;
    for (name, value) in settings {
        raw.run(&format!("select trunkline.job_set('q', '{name}', '{value}')")).await;
    }
}

/// Takes one job, and what it is.
async fn take(raw: &Raw) -> String {
    raw.run("drop table if exists took; create temp table took as select * from trunkline.job_take('q', 1)")
        .await;
    raw.rows("select payload from took").await.concat()
}

async fn complete(raw: &Raw) {
    raw.run("select trunkline.job_complete(claim) from took").await;
}

/// The most attempts that began in a window, over all windows of this length.
fn most_in(window: &str, partition: &str) -> String {
    format!(
        "select max(n) from (select count(*) over (partition by {partition} order by begun_at
                                    range between interval '{window}' preceding and current row) as n
                               from trunkline.job) n"
    )
}

/// Workers of three processes do all there is; a job ends when so many of its key run at once.
async fn work_all(db: &Db, raw: &Raw, together: usize) {
    let meet = Arc::new(["a", "b"].map(|key| (key, Barrier::new(together))));
    let mut workers = Vec::new();
    for n in 0..3 {
        let other = db.client(&format!("worker{n}")).await;
        let meet = meet.clone();
        let handler = move |job: Job| {
            let meet = meet.clone();
            async move {
                for (_, barrier) in meet.iter().filter(|(key, _)| job.key.as_deref() == Some(key)) {
                    barrier.wait().await;
                }
                Ok::<_, Failure>(())
            }
        };
        workers.push((other.jobs().work(Work::queue("q").concurrency(16), handler), other));
    }
    raw.until("all to be done", "select bool_and(state = 'done') from trunkline.job").await;
}

#[tokio::test]
async fn what_a_limit_kept_waiting_is_taken_when_one_ends_and_not_at_the_next_poll() {
    let (_db, tl, raw) = one().await;
    set(&raw, &[("max_running", "1")]).await;
    tl.jobs().push_all("q", (0..30).map(|n| NewJob::new(n.to_string()))).await.unwrap();
    let options = Work::queue("q").at_most(30);
    let mut working = tl.jobs().work(options, async |_: Job| Ok::<_, Failure>(()));
    within(2_500, "thirty jobs, one at a time", working.ended()).await.unwrap();
}

#[tokio::test]
async fn no_window_has_more_than_a_rate_allows_and_the_rate_is_reached() {
    let (db, tl, raw) = one().await;
    set(&raw, &[("rate_limit", "20"), ("rate_period", "300 ms")]).await;
    tl.jobs().push_all("q", (0..120).map(|n| n.to_string())).await.unwrap();
    work_all(&db, &raw, 1).await;
    assert_eq!(raw.one(&most_in("299 ms", "queue")).await, "20");
    let span = "select extract(epoch from max(begun_at) - min(begun_at)) < 6 from trunkline.job";
    assert_eq!(raw.one(span).await, "t", "1.5 s would be ideal");
}

#[tokio::test]
async fn a_rate_of_each_key_holds_and_others_do_not_wait_for_it() {
    let (db, tl, raw) = one().await;
    set(&raw, &[("key_rate_limit", "2"), ("key_rate_period", "400 ms"), ("key_max_running", "5")]).await;
    let jobs = (0..9).map(|n| NewJob::new("a").key(if n < 8 { "slow" } else { "quick" }));
    tl.jobs().push_all("q", jobs).await.unwrap();
    work_all(&db, &raw, 1).await;
    assert_eq!(raw.one(&most_in("399 ms", "key")).await, "2");
    let quick = "select (select begun_at from trunkline.job_held where key = 'quick')
                        < (select begun_at from trunkline.job_held where key = 'slow' order by begun_at offset 2 limit 1)";
    assert_eq!(raw.one(quick).await, "t");
}

#[tokio::test]
async fn so_many_of_a_key_run_at_once_and_no_more_across_workers() {
    let (db, tl, raw) = one().await;
    set(&raw, &[("key_max_running", "3")]).await;
    tl.jobs().push_all("q", (0..42).map(|n| NewJob::new("x").key(["a", "b"][n % 2]))).await.unwrap();
    work_all(&db, &raw, 3).await;
    let most = "select max(n) from (
                    select (select count(*) from trunkline.job_held b
                             where b.key = a.key and b.begun_at <= a.begun_at and b.ended_at > a.begun_at) as n
                      from trunkline.job_held a) n";
    assert_eq!(raw.one(most).await, "3");
}

#[tokio::test]
async fn keys_take_turns() {
    let (_db, _tl, raw) = one().await;
    set(&raw, &[]).await;
    for (n, key) in [(5, 'a'), (2, 'b'), (1, 'c')] {
        raw.run(&format!(
            "select trunkline.job_push('q', '{key}', key => '{key}') from generate_series(1, {n})"
        ))
        .await;
    }
    let mut order = String::new();
    for _ in 0..8 {
        order += &take(&raw).await;
        complete(&raw).await;
    }
    assert_eq!(order, "abcabaaa");
}

#[tokio::test]
async fn a_full_queue_refuses_what_is_over_and_all_that_is_pushed_with_it() {
    let (_db, tl, raw) = one().await;
    set(&raw, &[("max_length", "3")]).await;
    tl.jobs().push_all("q", ["a", "b"]).await.unwrap();
    let refused = tl.jobs().push_all("q", ["c", "d"]).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Full, Some("53400")), "{refused}");
    assert!(refused.to_string().contains("at most 3 jobs may wait"), "{refused}");
    tl.jobs().push("q", "c").await.unwrap();
    assert_eq!(raw.code("select trunkline.job_push('q', 'd')").await, "53400");
    assert_eq!(tl.jobs().push_pending("q", "d").await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(take(&raw).await, "a");
    raw.run("select trunkline.job_push('q', 'd')").await;
    assert_eq!(raw.code("select trunkline.job_push('q', 'e')").await, "53400", "what runs does not wait");
}

#[tokio::test]
async fn a_full_queue_drops_its_oldest_and_the_next_of_that_key_goes_on() {
    let (_db, tl, raw) = one().await;
    set(&raw, &[("max_length", "3"), ("overflow", "drop_oldest")]).await;
    for payload in ["a", "b"] {
        raw.run(&format!("select trunkline.job_push('q', '{payload}', key => 'k')")).await;
    }
    let pending = tl.jobs().push_pending("q", "c").await.unwrap();
    raw.run("select trunkline.job_push_many('q', array['d', 'e'])").await;
    let states = "select string_agg(payload || ' ' || state || coalesce(': ' || error, ''), ', ' order by id)
                    from trunkline.job";
    let dropped = "cancelled: dropped: its queue was full";
    assert_eq!(raw.one(states).await, format!("a {dropped}, b {dropped}, c waiting, d waiting, e waiting"));
    raw.run("select trunkline.job_push('q', 'f')").await;
    let mut pending = pending;
    assert_eq!(pending.wait(millis(5_000)).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!([take(&raw).await, take(&raw).await, take(&raw).await].concat(), "def");
}

#[tokio::test]
async fn what_is_pushed_last_is_not_dropped_because_the_oldest_is_being_taken() {
    let (db, _tl, raw) = one().await;
    let other = db.raw().await;
    set(&raw, &[("max_length", "1"), ("overflow", "drop_oldest")]).await;
    raw.run("select trunkline.job_push('q', 'a')").await;
    other.run("begin; select trunkline.job_take('q')").await;
    raw.run("select trunkline.job_push('q', 'b')").await;
    other.run("commit").await;
    assert_eq!(take(&raw).await, "b");
}

#[tokio::test]
async fn what_was_pushed_before_there_was_a_length_counts() {
    let (_db, _tl, raw) = one().await;
    set(&raw, &[]).await;
    raw.run("select trunkline.job_push('q', 'a', key => 'k'), trunkline.job_push('q', 'b')").await;
    set(&raw, &[("max_length", "2")]).await;
    raw.run("select trunkline.job_push('q', 'c')").await;
    assert_eq!(raw.code("select trunkline.job_push('q', 'd')").await, "53400");
    assert_eq!(take(&raw).await, "a");
    assert_eq!(raw.code("select trunkline.job_push('q', 'd')").await, "53400", "b was in a ring");
    set(&raw, &[("max_length", "0")]).await;
    raw.run("select trunkline.job_push('q', 'd', key => 'l')").await;
    set(&raw, &[("max_length", "3")]).await;
    assert_eq!(raw.code("select trunkline.job_push('q', 'e')").await, "53400");
}

#[tokio::test]
async fn a_key_that_may_run_more_at_once_does_so_at_once_and_less_when_it_may_less() {
    let (_db, _tl, raw) = one().await;
    set(&raw, &[]).await;
    for payload in ["a", "b", "c", "d", "e"] {
        raw.run(&format!("select trunkline.job_push('q', '{payload}', key => 'k')")).await;
    }
    assert_eq!([take(&raw).await, take(&raw).await].concat(), "a");
    set(&raw, &[("key_max_running", "3")]).await;
    assert_eq!([take(&raw).await, take(&raw).await, take(&raw).await].concat(), "bc");
    set(&raw, &[("key_max_running", "1")]).await;
    raw.run("create temp table all_of as select concat_ws(':', 4, id, token, 0, id) as claim from trunkline.job_held where state = 1").await;
    raw.run("select trunkline.job_complete(claim) from (select claim from all_of limit 2) c").await;
    assert_eq!(take(&raw).await, "", "one runs still");
    set(&raw, &[("key_max_running", "3")]).await;
    assert_eq!([take(&raw).await, take(&raw).await].concat(), "de");
}

#[tokio::test]
async fn what_has_expired_is_cancelled_and_never_begins() {
    let (_db, tl, raw) = one().await;
    set(&raw, &[]).await;
    tl.jobs().push("q", NewJob::new("late").key("k").ttl(millis(1))).await.unwrap();
    tl.jobs().push("q", NewJob::new("next").key("k")).await.unwrap();
    tl.jobs().push("q", NewJob::new("in time").ttl(millis(600_000))).await.unwrap();
    tl.jobs().push("q", NewJob::new("later").delay(millis(600_000)).ttl(millis(1))).await.unwrap();
    raw.run("select pg_sleep(0.01)").await;
    assert_eq!([take(&raw).await, take(&raw).await, take(&raw).await].join(", "), "in time, next, ");
    raw.run("select trunkline.job_push('q', 'unseen', options => '{\"ttl\": \"1 ms\"}'), pg_sleep(0.01)")
        .await;
    raw.run("select trunkline._job_tidy()").await;
    let states = "select string_agg(payload || ' ' || state || coalesce(': ' || error, ''), ', ' order by id)
                    from trunkline.job";
    let expired = "cancelled: expired before it began";
    assert_eq!(
        raw.one(states).await,
        format!("late {expired}, next running, in time running, later scheduled, unseen {expired}")
    );
}

#[tokio::test]
async fn what_is_remembered_of_rates_and_unique_keys_is_forgotten_in_time() {
    let (_db, tl, raw) = one().await;
    set(
        &raw,
        &[
            ("rate_limit", "5"),
            ("rate_period", "10 ms"),
            ("key_rate_limit", "5"),
            ("key_rate_period", "10 ms"),
        ],
    )
    .await;
    tl.jobs().push("q", NewJob::new("x").key("k").unique("u").unique_for(millis(1))).await.unwrap();
    assert_eq!(take(&raw).await, "x");
    let rows = "select (select count(*) from trunkline.job_start) || ' ' || (select count(*) from trunkline.job_unique)";
    assert_eq!(raw.one(rows).await, "2 1");
    let late = "select bool_and(s.at > h.begun_at) from trunkline.job_start s, trunkline.job_held h";
    assert_eq!(raw.one(late).await, "t", "a rate is never early");
    raw.run("select pg_sleep(0.03)").await;
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(raw.one(rows).await, "0 0");
}

#[tokio::test]
async fn limits_out_of_their_range_are_refused_by_name() {
    let (_db, _tl, raw) = one().await;
    set(&raw, &[]).await;
    for (name, value) in [
        ("rate_limit", "-1"),
        ("rate_period", "9 ms"),
        ("max_length", "10000001"),
        ("overflow", "burn"),
        ("key_max_running", "0"),
        ("key_rate_limit", "many"),
        ("key_rate_period", "366 days"),
    ] {
        let refused = raw.failure(&format!("select trunkline.job_set('q', '{name}', '{value}')")).await;
        assert!(refused.contains(&format!("{name} must be")), "{refused}");
    }
}
