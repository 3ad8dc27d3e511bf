//! Unique jobs: by key or payload, for a time, in which states; skipped, replaced, debounced.

use std::sync::{Arc, Mutex};

use trunkline::{
    ErrorKind,
    jobs::{Job, NewJob},
    requests::{Failure, Payload},
};

use crate::{
    jobs::one,
    support::{Raw, millis, within},
};

const WAITING: &str =
    "select string_agg(payload, ' ' order by id) from trunkline.job where state = 'waiting'";

async fn take(raw: &Raw) {
    raw.run("create temp table took as select * from trunkline.job_take('q')").await;
}

async fn complete(raw: &Raw) {
    raw.run("select trunkline.job_complete(claim) from took; drop table took").await;
}

#[tokio::test]
async fn what_is_unique_for_a_time_is_so_also_when_it_has_ended() {
    let (_db, tl, raw) = one().await;
    let jobs = tl.jobs();
    let job = |ms| NewJob::new("x").unique("u").unique_for(millis(ms));
    let first = jobs.push("q", job(600_000)).await.unwrap();
    assert_eq!(jobs.push("q", job(1)).await.unwrap(), first);
    take(&raw).await;
    complete(&raw).await;
    assert_eq!(jobs.push("q", job(1)).await.unwrap(), first, "it is done, and its time is not over");
    assert_eq!(jobs.push_all("q", [job(1), job(1)]).await.unwrap(), [first, first]);
    let other = jobs.push("q", NewJob::new("x").unique("other").unique_for(millis(1))).await.unwrap();
    raw.run("select pg_sleep(0.01)").await;
    let same = NewJob::new("x").unique("other").unique_for(millis(1));
    assert_eq!(jobs.push("q", same.clone()).await.unwrap(), other, "its time is over, and it waits still");
    take(&raw).await;
    complete(&raw).await;
    assert_ne!(jobs.push("q", same).await.unwrap(), other);
}

#[tokio::test]
async fn a_thousand_racing_pushes_beside_a_worker_are_one_job_where_it_is_unique_for_a_time() {
    let (db, tl, raw) = one().await;
    let _working = tl.jobs().work("q", async |_: Job| Ok::<_, Failure>(()));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let other = db.client(&format!("p{n}")).await;
        tasks.spawn(async move {
            let mut ids = std::collections::BTreeSet::new();
            for _ in 0..125 {
                let job = NewJob::new("x").unique("u").unique_for(millis(600_000));
                ids.insert(other.jobs().push("q", job).await.unwrap());
            }
            ids
        });
    }
    let ids: std::collections::BTreeSet<i64> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(ids.len(), 1);
    raw.until("it to be done", "select bool_and(state = 'done') from trunkline.job").await;
    assert_eq!(raw.one("select count(*) from trunkline.job").await, "1");
}

#[tokio::test]
async fn who_looked_before_another_pushed_and_was_done_with_it_gets_that_ones_id() {
    let (db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run(
        "create function public.gate() returns trigger language plpgsql as $$
         begin perform pg_advisory_xact_lock_shared(77, 7); return new; end $$;
         create trigger gate before insert on trunkline.job_held for each row
         when (current_setting('application_name') = 'late') execute function public.gate();
         select pg_advisory_lock(77, 7)",
    )
    .await;
    let late = db.client("late").await;
    let job = || NewJob::new("x").unique("u").unique_for(millis(600_000));
    let pushing = tokio::spawn(async move { late.jobs().push("q", job()).await });
    raw.until(
        "the late one to have looked",
        "select exists (select from pg_stat_activity where datname = current_database() and application_name = 'late'
            and wait_event_type = 'Lock')",
    )
    .await;
    let first = tl.jobs().push("q", job()).await.unwrap();
    take(&raw).await;
    complete(&raw).await;
    raw.run("select pg_advisory_unlock(77, 7)").await;
    assert_eq!(within(5_000, "the late push", pushing).await.unwrap().unwrap(), first);
    assert_eq!(raw.one("select count(*) from trunkline.job").await, "1");
}

#[tokio::test]
async fn a_payload_is_the_same_whatever_the_order_of_its_members_and_another_of_another_kind() {
    let (_db, tl, _raw) = one().await;
    let json = |text: &str| Payload::json(&serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap();
    let push = |payload: Payload, kind: &'static str| {
        let jobs = tl.jobs();
        async move { jobs.push("q", NewJob::new(payload).kind(kind).unique_payload()).await.unwrap() }
    };
    let first = push(json(r#"{"a": 1, "b": [2]}"#), "k").await;
    assert_eq!(push(json(r#"{"b": [2], "a": 1}"#), "k").await, first);
    assert_ne!(push(json(r#"{"b": [2], "a": 1}"#), "l").await, first);
    assert_ne!(push(json(r#"{"a": 1, "b": [3]}"#), "k").await, first);
    assert_eq!(push("x".into(), "").await, push("x".into(), "").await);
}

#[tokio::test]
async fn what_is_unique_while_it_waits_gives_its_key_up_when_it_is_taken() {
    let (_db, tl, raw) = one().await;
    let job = |payload: &str| NewJob::new(payload).unique("u").unique_while_waiting();
    let first = tl.jobs().push("q", job("a")).await.unwrap();
    assert_eq!(tl.jobs().push("q", job("b")).await.unwrap(), first);
    take(&raw).await;
    assert_ne!(tl.jobs().push("q", job("c")).await.unwrap(), first);
    assert_eq!(raw.one(WAITING).await, "c");
}

#[tokio::test]
async fn a_waiting_job_is_replaced_or_debounced_and_a_running_one_is_left_alone() {
    let (_db, tl, raw) = one().await;
    let job = |payload: &str| NewJob::new(payload).unique("u").delay(millis(600_000));
    let first = tl.jobs().push("q", job("a")).await.unwrap();
    let due = "select due_at from trunkline.job_held";
    let was = raw.one(due).await;
    assert_eq!(
        tl.jobs().push("q", job("b").kind("k").priority(2).header("h", "1").replace()).await.unwrap(),
        first
    );
    let now = "select payload || kind || priority || (headers ->> 'h') from trunkline.job";
    assert_eq!(raw.one(now).await, "bk21");
    assert_eq!(raw.one(due).await, was);
    assert_eq!(tl.jobs().push("q", job("c").debounce()).await.unwrap(), first);
    assert_eq!(raw.one(&format!("select due_at > '{was}' from trunkline.job_held")).await, "t");
    raw.run("select trunkline.job_forward('1 h')").await;
    take(&raw).await;
    assert_eq!(raw.one("select payload from took").await, "c");
    assert_eq!(
        tl.jobs().push("q", job("d").debounce()).await.unwrap(),
        first,
        "pushed as unique while it is open"
    );
    complete(&raw).await;
    let next = tl.jobs().push("q", job("e").debounce()).await.unwrap();
    raw.run("select trunkline.job_forward('1 h')").await;
    take(&raw).await;
    assert_ne!(
        tl.jobs().push("q", job("f").debounce()).await.unwrap(),
        next,
        "pushed as unique while it waits"
    );
}

#[tokio::test]
async fn what_replaces_a_job_that_waits_for_its_time_is_good_for_its_ttl_from_then() {
    let (_db, tl, raw) = one().await;
    let job = |payload: &str| NewJob::new(payload).unique("u").ttl(millis(60_000));
    tl.jobs().push("q", job("a").delay(millis(600_000)).replace()).await.unwrap();
    tl.jobs().push("q", job("b").replace()).await.unwrap();
    assert_eq!(raw.one("select expires_at > due_at from trunkline.job_held").await, "t");
    raw.run("select trunkline.job_forward('10 min'), trunkline._job_tidy()").await;
    take(&raw).await;
    assert_eq!(raw.one("select payload from took").await, "b");
}

#[tokio::test]
async fn what_is_pushed_last_is_done_last_however_pushes_and_workers_race() {
    let (_db, tl, raw) = one().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let _working = tl.jobs().work("q", move |job: Job| {
        let noted = noted.clone();
        async move {
            let number: i32 = job.payload.text()?.parse().map_err(|_| Failure::new("no number", ""))?;
            noted.lock().unwrap().push(number);
            Ok::<_, Failure>(())
        }
    });
    for n in 0..400 {
        let job = NewJob::new(n.to_string()).unique("u").delay(millis(n % 3));
        let job = if n % 2 == 0 { job.replace() } else { job.debounce() };
        tl.jobs().push("q", job).await.unwrap();
    }
    raw.until("all to be done", "select bool_and(state = 'done') from trunkline.job").await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.last(), Some(&399));
    assert!(seen.len() > 1, "{seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_by_name_and_nothing_is_pushed() {
    let (_db, tl, raw) = one().await;
    for (options, word) in [
        ("[]", "object"),
        ("{\"tll\": \"1 s\"}", "tll"),
        ("{\"ttl\": 5}", "ttl"),
        ("{\"ttl\": \"soon\"}", "ttl\\\" must be from 1 ms"),
        ("{\"ttl\": \"-1 s\"}", "ttl\\\" must be from 1 ms"),
        ("{\"unique_for\": \"3651 days\"}", "unique_for\\\" must be"),
        ("{\"unique_payload\": \"yes\"}", "unique_payload"),
        ("{\"unique_payload\": true}", "unique_payload\\\" goes"),
        ("{\"unique_while\": \"done\"}", "unique_while\\\" must be"),
        ("{\"on_conflict\": \"burn\"}", "on_conflict\\\" must be"),
        ("{\"on_conflict\": \"replace\", \"unique_for\": \"1 s\"}", "unique_for\\\" goes"),
    ] {
        let push = format!("select trunkline.job_push('q', 'x', unique_key => 'u', options => '{options}')");
        let refused = raw.failure(&push).await;
        assert!(refused.contains(word), "{options}: {refused}");
    }
    let refused =
        raw.failure("select trunkline.job_push('q', 'x', options => '{\"on_conflict\": \"skip\"}')").await;
    assert!(refused.contains("need a unique_key"), "{refused}");
    let job = || NewJob::new("x");
    for job in [
        job().ttl(millis(0)),
        job().unique("u").unique_for(millis(3651 * 86_400_000)),
        job().unique("u").unique_payload(),
        job().unique_payload().replace(),
        job().unique("u").unique_for(millis(1)).debounce(),
        job().unique_while_waiting(),
    ] {
        assert_eq!(tl.jobs().push("q", job).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(raw.one("select count(*) from trunkline.job").await, "0");
}
