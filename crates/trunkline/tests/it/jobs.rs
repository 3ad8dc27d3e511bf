//! Jobs from Rust: push, do, fail, come again; keys, priorities, limits; deaths.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{Semaphore, mpsc};
use trunkline::{
    ErrorKind, Trunkline,
    jobs::{Job, NewJob, Outcome, Work},
    requests::{Failure, Payload},
};

use crate::support::{Db, Raw, Stopwatch, millis, secs, within};

pub async fn one() -> (Db, Trunkline, Raw) {
    let db = Db::new().await;
    let tl = db.client("client").await;
    let raw = db.raw().await;
    (db, tl, raw)
}

/// The states of a queue's jobs, oldest first.
async fn states(raw: &Raw, queue: &str) -> String {
    raw.one(&format!("select string_agg(job_state, ' ' order by id) from trunkline.job_list('{queue}')"))
        .await
}

/// Waits until no worker sleeps without its queue's door held.
pub async fn asleep(raw: &Raw, application: &str) {
    raw.until(
        "the worker to sleep",
        &format!(
            "select exists (select from pg_locks l join pg_stat_activity a using (pid)
              where l.locktype = 'advisory' and l.classid = 1953656427 and l.granted and l.objid::bigint between 4294967168 and 4294967295
                and a.datname = current_database() and a.application_name = '{application}')"
        ),
    )
    .await;
}

#[tokio::test]
async fn what_is_pushed_is_done_once_as_it_was_pushed() {
    let (_db, tl, raw) = one().await;
    let (sent, mut done) = mpsc::unbounded_channel();
    let first = NewJob::new("text é").kind("greet").priority(2).header("traceparent", "00-1");
    let json = Payload::json(&serde_json::json!({"n": 1})).unwrap();
    let ids = tl
        .jobs()
        .push_all("mail", [first, NewJob::new(json.clone()), NewJob::new(vec![0_u8, 255])])
        .await
        .unwrap();
    assert!(ids.len() == 3 && ids.is_sorted());
    assert_eq!(states(&raw, "mail").await, "waiting waiting waiting");
    let working = tl.jobs().work("mail", move |job: Job| {
        let sent = sent.clone();
        async move {
            sent.send(job).unwrap();
            Ok::<_, Failure>(())
        }
    });
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(within(5_000, "a job", done.recv()).await.unwrap());
    }
    assert_eq!(
        jobs.iter().map(|j| j.id).collect::<Vec<_>>(),
        ids,
        "the more urgent one first, then in order"
    );
    assert_eq!((jobs[0].kind.as_str(), jobs[0].priority, jobs[0].attempt), ("greet", 2, 1));
    assert_eq!((&*jobs[0].queue, jobs[0].max_attempts), ("mail", 20));
    assert_eq!(jobs[0].headers["traceparent"], "00-1");
    assert_eq!(jobs[1].payload, json);
    assert_eq!(jobs[2].payload.bytes(), [0, 255]);
    raw.until("all to be done", "select bool_and(job_state = 'done') from trunkline.job_list('mail')").await;
    working.stop().await.unwrap();
    assert!(done.try_recv().is_err(), "each once");
}

#[tokio::test]
async fn a_sleeping_worker_is_woken_within_moments_and_nobody_polls() {
    let (db, tl, raw) = one().await;
    let producer = db.client("producer").await;
    let (sent, mut done) = mpsc::unbounded_channel();
    let _working = tl.jobs().work("mail", move |job: Job| {
        let sent = sent.clone();
        async move { sent.send(job.id).map_err(|_| Failure::new("gone", "")) }
    });
    let mut latencies = Vec::new();
    for n in 0..20 {
        asleep(&raw, "client").await;
        let watch = Stopwatch::start();
        let id = producer.jobs().push("mail", n.to_string()).await.unwrap();
        assert_eq!(within(5_000, "the job", done.recv()).await, Some(id));
        latencies.push(watch.elapsed());
    }
    latencies.sort();
    assert!(latencies[10] < millis(100), "{latencies:?}");
}

#[tokio::test]
async fn what_fails_comes_again_and_its_errors_are_kept_until_it_is_a_dead_letter() {
    let (_db, tl, raw) = one().await;
    tl.jobs().open("mail").await.unwrap();
    raw.run("select trunkline.job_set('mail', 'retry_after', '0')").await;
    let id = tl.jobs().push("mail", NewJob::new("x").max_attempts(3)).await.unwrap();
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let working = tl.jobs().work("mail", move |_: Job| {
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            if n == 2 {
                panic!("the second time it panics");
            }
            Err::<(), _>(Failure::new("smtp", format!("no answer, {n}")))
        }
    });
    raw.until("it to be dead", &format!("select state = 'dead' from trunkline.job_show({id})")).await;
    let errors = format!(
        "select string_agg((e ->> 'attempt') || ' ' || (e ->> 'error'), ', ') from trunkline.job_show({id}), jsonb_array_elements(errors) e"
    );
    assert_eq!(
        raw.one(&errors).await,
        "1 smtp: no answer, 1, 2 panic: the handler panicked, 3 smtp: no answer, 3"
    );
    working.stop().await.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert!(tl.jobs().retry(id).await.unwrap());
    let done = tl.jobs().work("mail", async |_: Job| Ok::<_, Failure>(Payload::from("sent")));
    raw.until("it to be done", &format!("select state = 'done' from trunkline.job_show({id})")).await;
    assert_eq!(raw.one(&format!("select result from trunkline.job_show({id})")).await, "sent");
    done.stop().await.unwrap();
    assert!(!tl.jobs().retry(id).await.unwrap(), "it is done");
    assert_eq!(tl.jobs().retry(1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_handler_says_how_an_attempt_ends() {
    let (_db, tl, raw) = one().await;
    let ids = tl.jobs().push_all("q", ["snooze", "cancel", "dead", "retry", "result"]).await.unwrap();
    let working = tl.jobs().work("q", async |job: Job| {
        Ok::<_, Failure>(match job.payload.text().unwrap() {
            "snooze" => Outcome::Snooze(secs(100)),
            "cancel" => Outcome::Cancel("nobody wants it".into()),
            "dead" => Outcome::Dead("it can never work".into()),
            "retry" => Outcome::Retry { after: secs(200), error: "not yet".into() },
            _ => Outcome::Result("42".into()),
        })
    });
    raw.until(
        "all to have ended",
        "select not exists (select from trunkline.job_list('q') where job_state in ('waiting', 'running'))",
    )
    .await;
    let counts = "select concat_ws(' ', waiting, scheduled, running, retrying, done, dead, cancelled) from trunkline.job_queues()";
    assert_eq!(raw.one(counts).await, "0 1 0 1 1 1 1");
    assert_eq!(states(&raw, "q").await, "scheduled cancelled dead retrying done");
    let shown = format!(
        "select string_agg(concat_ws(' ', attempt, error, round(extract(epoch from due_at - now()) / 100)), ', ' order by id)
         from trunkline.job_list('q') where id in ({}, {})",
        ids[0], ids[3]
    );
    assert_eq!(raw.one(&shown).await, "0 1, 1 not yet 2");
    working.stop().await.unwrap();
}

#[tokio::test]
async fn a_job_of_a_rolled_back_transaction_was_never_there_and_a_committed_one_is_woken_up_for() {
    let (db, tl, raw) = one().await;
    let (sent, mut done) = mpsc::unbounded_channel();
    let _working = tl.jobs().work("mail", move |job: Job| {
        let sent = sent.clone();
        async move { sent.send(job.payload.text().unwrap().to_owned()).map_err(|_| Failure::new("gone", "")) }
    });
    asleep(&raw, "client").await;
    let mut other = db.raw().await;
    let tx = other.client.transaction().await.unwrap();
    tl.jobs().push_on(&mut &tx, "mail", "rolled back").await.unwrap();
    tx.rollback().await.unwrap();
    let tx = other.client.transaction().await.unwrap();
    tl.jobs().push_on(&mut &tx, "mail", NewJob::new("committed").kind("k").max_attempts(7)).await.unwrap();
    assert_eq!(raw.one("select count(*) from trunkline.job_list('mail')").await, "0");
    tx.commit().await.unwrap();
    assert_eq!(within(5_000, "the job", done.recv()).await.unwrap(), "committed");
}

#[tokio::test]
async fn a_job_that_its_handlers_transaction_completes_has_its_effect_exactly_once() {
    let (db, tl, raw) = one().await;
    raw.run("create table public.effect (id bigint primary key)").await;
    let ids = tl.jobs().push_all("pay", (0..50).map(|n| n.to_string())).await.unwrap();
    let held = tl.jobs().push("pay", NewJob::new("held").key("k")).await.unwrap();
    raw.run("select trunkline.job_set('pay', 'retry_after', '0')").await;
    let (url, failed) = (db.clone(), Arc::new(AtomicUsize::new(0)));
    let count = failed.clone();
    let working = tl.jobs().work("pay", move |job: Job| {
        let (db, failed) = (url.clone(), count.clone());
        async move {
            let mut raw = db.raw().await;
            let tx = raw.client.transaction().await?;
            tx.execute("insert into public.effect values ($1)", &[&job.id]).await?;
            job.complete_on(&mut &tx).await?;
            if job.attempt == 1 && job.id % 3 == 0 {
                failed.fetch_add(1, Ordering::Relaxed);
                tx.rollback().await?;
                return if job.id % 2 == 0 { Ok(()) } else { Err(Failure::new("rolled back", "")) };
            }
            tx.commit().await?;
            Ok(())
        }
    });
    raw.until("all to be done", "select bool_and(job_state = 'done') from trunkline.job_list('pay')").await;
    working.stop().await.unwrap();
    assert!(failed.load(Ordering::Relaxed) > 5);
    assert_eq!(raw.one("select count(*) from public.effect").await, (ids.len() + 1).to_string());
    assert_eq!(raw.one(&format!("select state from trunkline.job_show({held})")).await, "done");
}

#[tokio::test]
async fn no_more_is_taken_than_there_are_free_slots() {
    let (_db, tl, raw) = one().await;
    tl.jobs().push_all("q", (0..10).map(|n| n.to_string())).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let inner = gate.clone();
    let working = tl.jobs().work(Work::queue("q").concurrency(3), move |_: Job| {
        let gate = inner.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Failure>(())
        }
    });
    let counts = "select string_agg(job_state || count, ' ' order by job_state) from (select job_state, count(*) from trunkline.job_list('q') group by 1) c";
    raw.until("three to run", &format!("select ({counts}) = 'running3 waiting7'")).await;
    let of_queues = "select concat_ws(' ', waiting, running, done, oldest > '0') from trunkline.job_queues()";
    assert_eq!(raw.one(of_queues).await, "7 3 0 t");
    gate.add_permits(1);
    raw.until("one to be done", &format!("select ({counts}) = 'done1 running3 waiting6'")).await;
    assert_eq!(raw.one(of_queues).await, "6 3 1 t");
    gate.add_permits(9);
    raw.until("all to be done", &format!("select ({counts}) = 'done10'")).await;
    working.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_of_many_slots_takes_slices_of_what_a_page_holds() {
    let (_db, tl, raw) = one().await;
    let jobs = futures_util::stream::iter((0..5000).map(|n| NewJob::new(n.to_string())));
    assert_eq!(tl.jobs().load("q", jobs).await.unwrap(), 5000);
    let working = tl.jobs().work(Work::queue("q").concurrency(10_000), async |_: Job| Ok::<_, Failure>(()));
    raw.until("all to be done", "select done = 5000 from trunkline.job_queues()").await;
    working.stop().await.unwrap();
    raw.run("select trunkline.job_push_many('q', array(select n::text from generate_series(1, 5000) n))")
        .await;
    assert_eq!(raw.rows("select id from trunkline.job_take('q', 10000)").await.len(), 900);
}

#[tokio::test]
async fn jobs_of_one_key_run_one_at_a_time_in_order_also_across_retries() {
    let (db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_set('q', 'retry_after', '0')").await;
    let jobs = (0..60).map(|n| NewJob::new(n.to_string()).key(format!("k{}", n % 6)));
    tl.jobs().push_all("q", jobs).await.unwrap();
    let log: Arc<Mutex<Vec<(String, i32)>>> = Arc::default();
    let busy: Arc<Mutex<std::collections::HashSet<String>>> = Arc::default();
    let overlapped = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for n in 0..3 {
        let (log, busy, overlapped) = (log.clone(), busy.clone(), overlapped.clone());
        let other = db.client(&format!("worker{n}")).await;
        let handler = move |job: Job| {
            let (log, busy, overlapped) = (log.clone(), busy.clone(), overlapped.clone());
            async move {
                let key = job.key.clone().unwrap();
                if !busy.lock().unwrap().insert(key.clone()) {
                    overlapped.store(true, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
                let number: i32 = job.payload.text().unwrap().parse().unwrap();
                busy.lock().unwrap().remove(&key);
                if number % 7 == 0 && job.attempt < 3 {
                    return Err(Failure::new("again", ""));
                }
                log.lock().unwrap().push((key, number));
                Ok(())
            }
        };
        workers.push((other.jobs().work(Work::queue("q").concurrency(8), handler), other));
    }
    raw.until("all to be done", "select bool_and(job_state = 'done') from trunkline.job_list('q')").await;
    assert!(!overlapped.load(Ordering::Relaxed), "two jobs of one key ran at once");
    let log = log.lock().unwrap();
    for key in 0..6 {
        let of: Vec<i32> = log.iter().filter(|(k, _)| *k == format!("k{key}")).map(|(_, n)| *n).collect();
        assert!(of.len() == 10 && of.is_sorted(), "{key}: {of:?}");
    }
}

#[tokio::test]
async fn a_job_that_was_pushed_first_and_committed_last_does_not_stop_its_key() {
    let (db, tl, raw) = one().await;
    let other = db.raw().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_set('q', 'retry_after', '0')").await;
    other.run("begin; select trunkline.job_push('q', 'late', key => 'k')").await;
    raw.run("select trunkline.job_push('q', 'early', key => 'k')").await;
    raw.run("create table public.took as select * from trunkline.job_take('q')").await;
    other.run("commit").await;
    let take = "select payload from trunkline.job_take('q')";
    assert_eq!(raw.rows(take).await.len(), 0, "it waits behind the one that runs");
    raw.run("select trunkline.job_fail(claim, 'again') from public.took").await;
    raw.run("drop table public.took; create table public.took as select * from trunkline.job_take('q')")
        .await;
    assert_eq!(raw.one("select payload from public.took").await, "late", "it is the older one");
    raw.run("select trunkline.job_complete(claim) from public.took").await;
    assert_eq!(raw.rows(take).await, ["early"]);
}

#[tokio::test]
async fn a_limit_of_a_queue_holds_across_all_workers() {
    let (db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_set('q', 'max_running', '3')").await;
    tl.jobs().push_all("q", (0..60).map(|n| n.to_string())).await.unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut workers = Vec::new();
    for n in 0..3 {
        let (running, most) = (running.clone(), most.clone());
        let other = db.client(&format!("worker{n}")).await;
        let handler = move |_: Job| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Failure>(())
            }
        };
        workers.push((other.jobs().work("q", handler), other));
    }
    raw.until("all to be done", "select bool_and(job_state = 'done') from trunkline.job_list('q')").await;
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn ten_thousand_racing_pushes_of_one_unique_key_are_one_job() {
    let (db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let other = db.client(&format!("p{n}")).await;
        tasks.spawn(async move {
            let mut ids = std::collections::HashSet::new();
            for _ in 0..10 {
                let jobs = (0..100).map(|_| NewJob::new("x").unique("the one"));
                ids.extend(other.jobs().push_all("q", jobs).await.unwrap());
            }
            ids
        });
    }
    let ids: std::collections::HashSet<i64> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(raw.one("select count(*) from trunkline.job_list('q')").await, "1");
    let working = tl.jobs().work("q", async |_: Job| Ok::<_, Failure>(()));
    raw.until("it to be done", "select bool_and(job_state = 'done') from trunkline.job_list('q')").await;
    working.stop().await.unwrap();
    let next = tl.jobs().push("q", NewJob::new("x").unique("the one")).await.unwrap();
    assert!(!ids.contains(&next), "once it is done the key is free");
}

#[tokio::test]
async fn a_scheduled_job_runs_when_it_is_due_and_not_before() {
    let (_db, tl, raw) = one().await;
    let (sent, mut done) = mpsc::unbounded_channel();
    let _working = tl.jobs().work("q", move |job: Job| {
        let sent = sent.clone();
        async move { sent.send(job.id).map_err(|_| Failure::new("gone", "")) }
    });
    asleep(&raw, "client").await;
    let id = tl.jobs().push("q", NewJob::new("x").delay(millis(400))).await.unwrap();
    let pushed = std::time::Instant::now();
    assert_eq!(states(&raw, "q").await, "scheduled");
    assert_eq!(within(5_000, "the job", done.recv()).await, Some(id));
    assert!(pushed.elapsed() > millis(380), "never early");
    let begun = format!("select begun_at >= due_at from trunkline.job_show({id})");
    raw.until("it to have begun after it was due", &begun.replace(">= due_at", "is not null")).await;
}

#[tokio::test]
async fn a_paused_queue_keeps_its_jobs_until_it_is_resumed() {
    let (_db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    assert!(tl.jobs().pause("q").await.unwrap());
    assert!(!tl.jobs().pause("q").await.unwrap());
    tl.jobs().push_all("q", [NewJob::new("ring"), NewJob::new("held").key("k")]).await.unwrap();
    let _working = tl.jobs().work("q", async |_: Job| Ok::<_, Failure>(()));
    asleep(&raw, "client").await;
    assert_eq!(states(&raw, "q").await, "waiting waiting");
    assert!(tl.jobs().resume("q").await.unwrap());
    raw.until("all to be done", "select bool_and(job_state = 'done') from trunkline.job_list('q')").await;
    assert_eq!(tl.jobs().pause("none").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_cancelled_job_never_runs_and_a_running_ones_handler_is_told() {
    let (_db, tl, raw) = one().await;
    let ids = tl
        .jobs()
        .push_all("q", [NewJob::new("a"), NewJob::new("b"), NewJob::new("c").key("k")])
        .await
        .unwrap();
    assert!(tl.jobs().cancel(ids[1]).await.unwrap() && tl.jobs().cancel(ids[2]).await.unwrap());
    assert!(!tl.jobs().cancel(ids[1]).await.unwrap());
    let (sent, mut took) = mpsc::unbounded_channel();
    let working = tl.jobs().work("q", move |job: Job| {
        let sent = sent.clone();
        async move {
            sent.send(job.id).unwrap();
            job.cancelled().await;
            Err::<(), _>(Failure::new("stopped", "by request"))
        }
    });
    assert_eq!(within(5_000, "the job", took.recv()).await, Some(ids[0]));
    assert!(tl.jobs().cancel(ids[0]).await.unwrap());
    raw.until("all to be cancelled", "select bool_and(job_state = 'cancelled') from trunkline.job_list('q')")
        .await;
    working.stop().await.unwrap();
    assert!(took.try_recv().is_err(), "the others never ran");
    assert_eq!(states(&raw, "q").await, "cancelled cancelled cancelled");
}

#[tokio::test]
async fn a_worker_that_stops_finishes_or_hands_back() {
    let (_db, tl, raw) = one().await;
    let id = tl.jobs().push("q", "x").await.unwrap();
    let (sent, mut took) = mpsc::unbounded_channel();
    let handler = move |job: Job| {
        let sent = sent.clone();
        async move {
            sent.send(job.attempt).unwrap();
            std::future::pending::<Result<(), Failure>>().await
        }
    };
    let working = tl.jobs().work(Work::queue("q").grace(millis(50)), handler.clone());
    assert_eq!(within(5_000, "the job", took.recv()).await, Some(1));
    working.stop().await.unwrap();
    assert_eq!(
        raw.one(&format!("select concat_ws(' ', state, attempt) from trunkline.job_show({id})")).await,
        "waiting 0"
    );
    drop(tl.jobs().work("q", handler.clone()));
    let working = tl.jobs().work("q", handler);
    assert_eq!(within(5_000, "the job again", took.recv()).await, Some(1), "the attempt did not count");
    drop(working);
    raw.until("it to be handed back", &format!("select state = 'waiting' from trunkline.job_show({id})"))
        .await;
    let working = tl.jobs().work("q", async |_: Job| Ok::<_, Failure>(()));
    raw.until("it to be done", &format!("select state = 'done' from trunkline.job_show({id})")).await;
    working.stop().await.unwrap();
}
