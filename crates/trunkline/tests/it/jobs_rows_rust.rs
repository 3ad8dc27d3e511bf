//! Bad input to jobs from Rust, by its number in the list of bad inputs: what is refused, values of a wrong type, handlers that
//! panic, futures dropped midway, handles used after their end, forged notifications, broken transactions.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::timeout};
use trunkline::{
    Error, ErrorKind, Trunkline,
    jobs::{Job, NewJob, Outcome, Task, Tasks, Work},
    requests::{Failure, Payload},
};

use crate::{
    jobs::{asleep, one},
    rust_input::{PanicsWhenDropped, SECRET, Stubborn, refused},
    support::{Db, Raw, millis, secs, until, within},
};

/// A job by each of the ways to push one, and what came of it.
async fn pushed(tl: &Trunkline, raw: &Raw, queue: &str, job: &NewJob) -> [Result<(), Error>; 5] {
    let jobs = tl.jobs();
    [
        jobs.push(queue, job.clone()).await.map(drop),
        jobs.push_all(queue, [job.clone()]).await.map(drop),
        jobs.push_on(&mut &raw.client, queue, job.clone()).await.map(drop),
        jobs.push_pending(queue, job.clone()).await.map(drop),
        jobs.load(queue, stream::iter([job.clone()])).await.map(drop),
    ]
}

/// Whether a good job is done by who works on this queue.
async fn works(tl: &Trunkline, queue: &str, row: &str) {
    let done = within(9_000, row, tl.jobs().push_and_wait(queue, "good", secs(60))).await;
    assert_eq!(done.expect(row).text().unwrap(), "good", "{row}");
}

/// How many jobs of a queue are in each state.
async fn states(raw: &Raw, queue: &str) -> String {
    let counts = "select string_agg(job_state || ' ' || n, ', ' order by job_state) from (select job_state, count(*) as n";
    raw.one(&format!("{counts} from trunkline.job_list('{queue}', max => null) group by 1) s")).await
}

/// Drops a future after so many fifths of a millisecond, unless it is ready by then.
async fn cut<T>(after: u64, future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::from_micros(200 * after), future).await.ok()
}

#[tokio::test]
async fn rows_2_to_40_and_61_what_no_queue_takes_is_refused_by_every_way_to_push() {
    let (_db, tl, raw) = one().await;
    let (jobs, huge) = (tl.jobs(), "y".repeat(10 << 20));
    for (row, name, words) in [
        ("row 2", "", &["name"][..]),
        ("row 3", &"x".repeat(49), &["48", "49"]),
        ("row 4", &huge, &["48", "10485760"]),
        ("row 5", "Robert'); DROP TABLE x;--", &["name"]),
        ("row 9", "a ", &["name"]),
        ("row 11", "\u{1F600}", &["name"]),
        ("row 13", "Work", &["name"]),
        ("row 14", "pg_x", &["reserved"]),
        ("row 40", "a\0b", &[]),
    ] {
        for outcome in pushed(&tl, &raw, name, &NewJob::new(SECRET)).await {
            refused(row, outcome, ErrorKind::Invalid, words);
        }
        refused(row, jobs.open(name).await, ErrorKind::Invalid, words);
        let mut working = jobs.work(name, async |_: Job| Ok::<_, Failure>(()));
        refused(row, within(5_000, row, working.ended()).await, ErrorKind::Invalid, words);
        let none = if row == "row 40" { ErrorKind::Invalid } else { ErrorKind::NotFound };
        refused(row, jobs.pause(name).await, none, &[]);
        refused(row, jobs.run_schedule(name).await, none, &[]);
    }
    let job = || NewJob::new(SECRET);
    let far = SystemTime::now() + secs(3650 * 86_400 + 60);
    let many = (0..65).fold(job(), |j, n| j.header(format!("k{n}"), "v"));
    for (row, job, words) in [
        ("row 24", NewJob::new(SECRET.repeat(149_797)), &["\"q\"", "1048576", "1048579"][..]),
        ("row 33", job().delay(Duration::MAX), &["3650 days"]),
        ("row 36", job().run_at(far), &["3650 days"]),
        ("row 37", job().priority(10), &["1 (first) to 9", "10"]),
        ("row 38", job().max_attempts(10_001), &["1 to 10000", "10001"]),
        ("row 40", job().unique("u".repeat(1001)), &["unique_key", "1000", "1001"]),
        ("row 40", job().unique("a\0"), &["NUL"]),
        ("row 40", job().kind("a\0"), &["NUL"]),
        ("row 61", many, &["64"]),
        ("row 61", job().header("k", SECRET.repeat(1_200)), &["8192", "8408"]),
        ("row 61", job().header("k", "S3cret-\r\nx: y"), &["\"k\"", "line breaks"]),
        ("row 67", job().ttl(Duration::MAX), &["ttl", "3650 days"]),
        ("row 67", job().ttl(Duration::ZERO), &["ttl", "1 ms", "0ns"]),
        ("row 67", job().unique("u").unique_for(Duration::from_micros(999)), &["unique_for", "999µs"]),
        ("row 67", job().unique_for(secs(1)), &["unique key"]),
        ("row 67", job().unique("u").unique_payload(), &["unique by its payload"]),
    ] {
        for outcome in pushed(&tl, &raw, "q", &job).await {
            refused(row, outcome, ErrorKind::Invalid, words);
        }
    }
    for concurrency in [0, 10_001, 1_000_000, usize::MAX] {
        let mut working =
            jobs.work(Work::queue("q").concurrency(concurrency), async |_: Job| Ok::<_, Failure>(()));
        let ended = within(5_000, "row 75", working.ended()).await;
        refused("row 75", ended, ErrorKind::Invalid, &["1 to 10000", &concurrency.to_string()]);
    }
    refused("row 67 forward", jobs.forward(Duration::MAX).await, ErrorKind::Invalid, &[]);
    refused("row 67", jobs.push_and_wait("z", SECRET, Duration::ZERO).await, ErrorKind::TimedOut, &["0ns"]);
    assert_eq!(
        raw.one("select count(*) from trunkline.job where queue <> 'z'").await,
        "0",
        "nothing was written"
    );
}

#[tokio::test]
async fn row_67_times_without_end_are_long_and_nothing_else() {
    let (_db, tl, raw) = one().await;
    let jobs = tl.jobs();
    let (begun, let_go) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (seen, go) = (begun.clone(), let_go.clone());
    let work = Work::queue("q").timeout(Duration::MAX).heartbeat_timeout(Duration::MAX).grace(Duration::MAX);
    let working = jobs.work(work, move |job: Job| {
        let (seen, go) = (seen.clone(), go.clone());
        async move {
            Ok::<_, Failure>(match job.payload.text()? {
                "snooze" => Outcome::Snooze(Duration::MAX),
                "retry" => Outcome::Retry { after: Duration::MAX, error: "later".into() },
                "slow" => {
                    seen.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Outcome::Done
                }
                _ => Outcome::Result(job.payload),
            })
        }
    });
    jobs.push_all("q", ["snooze", "retry"]).await.unwrap();
    jobs.push_all("q", ["snooze", "retry"].map(|p| NewJob::new(p).key(p))).await.unwrap();
    works(&tl, "q", "row 67").await;
    let far = "select count(*) = 4 from trunkline.job where due_at > now() + interval '3649 days' and state in ('scheduled', 'retrying')";
    raw.until("row 67: each end to be written", far).await;
    let slow = jobs.push("q", "slow").await.unwrap();
    let waiting = jobs.clone();
    let waiting = tokio::spawn(async move { waiting.wait(slow, Duration::MAX).await });
    until("row 67: the handler to begin", async || begun.load(Ordering::SeqCst) == 1).await;
    let ((), stopped) = tokio::join!(
        async {
            let running = "select state = 'running' from trunkline.job where payload = 'slow'";
            raw.until("row 67: it runs while the worker stops", running).await;
            let_go.notify_one();
        },
        within(9_000, "row 67: the stop", working.stop()),
    );
    stopped.unwrap();
    assert_eq!(
        raw.one(&format!("select state from trunkline.job_show({slow})")).await,
        "done",
        "it was waited for"
    );
    assert_eq!(within(9_000, "row 67: its end", waiting).await.unwrap().unwrap().bytes(), b"");
}

#[derive(Debug, Serialize, Deserialize, Task)]
#[task(kind = "order", queue = "q")]
#[serde(deny_unknown_fields)]
struct Order {
    item: String,
    count: u8,
}

#[tokio::test]
async fn rows_68_and_69_values_that_do_not_fit_their_type_are_told_and_the_worker_goes_on() {
    let (_db, tl, raw) = one().await;
    refused("row 68", Payload::json(&Stubborn).map(NewJob::new), ErrorKind::Invalid, &["serialized"]);
    let bad = [
        r#"{"item": "S3cret-", "count": 1, "S3cret-": 2}"#.to_owned(),
        r#"{"item": "S3cret-"}"#.to_owned(),
        r#"{"item": 1, "count": "S3cret-"}"#.to_owned(),
        r#"{"item": "S3cret-", "count": 256}"#.to_owned(),
        r#"{"item": "S3cret-", "count": 1} S3cret-"#.to_owned(),
        r#"{"item": "S3cret-"#.to_owned(),
        String::new(),
        "[".repeat(200_000),
    ];
    let count = bad.len();
    for kind in ["order", "bare"] {
        tl.jobs().push_all("q", bad.iter().map(|b| NewJob::new(b.as_str()).kind(kind))).await.unwrap();
        tl.jobs().push("q", NewJob::new(vec![0xff_u8, 0]).kind(kind)).await.unwrap();
    }
    let (sent, mut done) = mpsc::unbounded_channel();
    let tasks =
        Tasks::new().on(move |_: Job, order: Order| {
            let sent = sent.clone();
            async move {
                sent.send(format!("{} {}", order.count, order.item)).map_err(|_| Failure::new("gone", ""))
            }
        });
    let tasks = tasks.into_handler();
    let _working = tl.jobs().work(Work::queue("q").concurrency(1), move |job: Job| {
        let tasks = tasks.clone();
        async move {
            if job.kind == "order" {
                return tasks(job).await;
            }
            job.payload.parse::<Order>()?;
            Ok(Outcome::Done)
        }
    });
    tl.jobs().push_task(&Order { item: "tea".into(), count: 2 }).await.unwrap();
    assert_eq!(within(9_000, "row 69: a good one", done.recv()).await.unwrap(), "2 tea");
    let told = format!("select count(*) filter (where kind = 'order' and state = 'dead') = {0} and count(*) filter (where kind = 'bare' and state = 'retrying') = {0}
        and bool_and(error ~ 'payload') from trunkline.job where state <> 'done'", count + 1);
    raw.until("row 69: each to be told", &told).await;
    assert_eq!(raw.one("select count(*) from trunkline.job where error ~ 'S3cret'").await, "0");
}

/// An answer, or a value that panics on its way to become one.
enum Answer {
    Good(Payload),
    Bad,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Good(payload) => Self::Result(payload),
            Answer::Bad => panic!("{SECRET}"),
        }
    }
}

#[tokio::test]
async fn row_70_a_handler_that_panics_anywhere_has_failed_and_takes_no_slot_with_it() {
    let (_db, tl, raw) = one().await;
    let handler = |job: Job| {
        let ask = job.payload.text().unwrap_or_default().to_owned();
        assert!(ask != "at once", "{SECRET}");
        async move {
            match ask.as_str() {
                "later" => panic!("{SECRET}"),
                "odd" => std::panic::panic_any(PanicsWhenDropped),
                "into" => return Ok(Answer::Bad),
                "drop" => {
                    let _kept = PanicsWhenDropped;
                    std::future::pending::<()>().await;
                }
                _ => {}
            }
            Ok::<_, Failure>(Answer::Good(job.payload))
        }
    };
    let jobs = tl.jobs();
    let limit = |name: &str| Work::queue(name).concurrency(1).timeout(millis(1_500));
    let layer = |job: Job, next: trunkline::jobs::Next| async move {
        if job.payload.bytes() == b"layer" {
            std::panic::panic_any(PanicsWhenDropped);
        }
        next.run(job).await
    };
    let _working = [
        jobs.work(limit("plain"), handler),
        jobs.work(limit("wrapped").wrap(layer), handler),
        jobs.work(limit("silent").heartbeat_timeout(secs(1)), handler),
        jobs.work_blocking(Work::queue("blocking").concurrency(1), |job: Job| match job.payload.bytes() {
            b"odd" => std::panic::panic_any(PanicsWhenDropped),
            b"later" => panic!("{SECRET}"),
            _ => Ok::<_, Failure>(job.payload),
        }),
    ];
    for (queue, asks) in [
        ("plain", "at once,later,odd,into,drop"),
        ("wrapped", "at once,later,odd,into,drop,layer"),
        ("silent", "at once,later,odd,into,drop"),
        ("blocking", "later,odd"),
    ] {
        for ask in asks.split(',') {
            let row = format!("row 70 {queue} {ask}");
            let ended = jobs.push_and_wait(queue, NewJob::new(ask).max_attempts(1), secs(60));
            let words = if queue == "silent" && ask == "drop" {
                "no heartbeat"
            } else {
                "panic: the handler panicked"
            };
            let ended = within(9_000, &row, ended).await;
            refused(&row, ended, ErrorKind::Remote, &[words]);
            works(&tl, queue, &row).await;
        }
    }
    assert_eq!(raw.one("select count(*) from trunkline.job where state = 'running'").await, "0");
}

#[tokio::test]
async fn row_71_futures_dropped_anywhere_lose_no_claim_and_double_no_effect() {
    let (db, tl, raw) = one().await;
    raw.run("create table effect (job bigint); select trunkline.job_set('q', 'retry_after', '0') from trunkline.job_open('q')").await;
    let (own, tries, pusher) =
        (Arc::new(db.raw().await), Arc::new(AtomicU64::new(0)), db.client("pusher").await);
    let working = tl.jobs().work(Work::queue("q").concurrency(1), move |job: Job| {
        let own = own.clone();
        let n = if job.attempt > 3 { 50_000 } else { tries.fetch_add(1, Ordering::SeqCst) % 12 }; // it comes to an end
        async move {
            cut(n, job.progress(50, "half")).await;
            own.run(&format!("begin; insert into effect values ({})", job.id)).await;
            let ended = cut(n, job.complete_on(&mut &own.client)).await;
            own.run(if matches!(ended, Some(Ok(()))) { "commit" } else { "rollback" }).await;
            ended.map_or_else(
                || Err(Failure::new("cut", "")),
                |e| e.map_err(|e| Failure::new("end", e.to_string())),
            )
        }
    });
    let jobs = pusher.jobs();
    for n in 0..12 {
        let many = || (0..3).map(|_| NewJob::new("x"));
        cut(n, jobs.push("q", "x")).await;
        cut(n, jobs.push("q", NewJob::new("x").key("k"))).await;
        cut(n, jobs.push_all("q", many())).await;
        cut(n, jobs.load("q", stream::iter(many()))).await;
        cut(n, jobs.push_and_wait("q", "x", secs(60))).await;
        if let Some(pending) = cut(n, jobs.push_pending("q", "x")).await {
            cut(n, pending.unwrap().wait(secs(60))).await;
        }
    }
    raw.run("select trunkline.job_push_many('q', array_fill('x'::text, '{50}'))").await;
    let left = "select count(*) = 0 from trunkline.job where state <> 'done'";
    until("row 71: all to be done", async || raw.one(left).await == "t").await;
    working.stop().await.unwrap();
    let effects = "select count(*) = count(distinct job) and count(*) = (select count(*) from trunkline.job) and count(*) >= 50 from effect";
    assert_eq!(raw.one(effects).await, "t", "row 71: one effect each, {}", states(&raw, "q").await);
}

#[tokio::test]
async fn row_72_handles_used_after_the_end_fail_at_once() {
    let db = Db::new().await;
    let raw = db.raw().await;
    for way in ["closed", "dropped"] {
        let tl = db.client(way).await;
        let jobs = tl.jobs();
        let handler = async |job: Job| Ok::<_, Failure>(job.payload);
        let mut two = [jobs.work(way, handler), jobs.work(way, handler)];
        works(&tl, way, &format!("row 72 {way}: two of one queue")).await;
        let later = jobs.push(way, NewJob::new("later").delay(secs(600))).await.unwrap();
        let waiting = jobs.clone();
        let waiting = tokio::spawn(async move { waiting.wait(later, secs(600)).await });
        match way {
            "closed" => within(9_000, "row 72: the close", tl.close()).await,
            _ => drop(tl),
        }
        raw.until("row 72: the session to be gone", "select not exists (select from trunkline.session)")
            .await;
        let what = format!("row 72 {way}");
        let kind = ErrorKind::Unreachable;
        refused(&what, within(3_000, &what, waiting).await.unwrap(), kind, &["closed"]);
        refused(&what, within(3_000, &what, jobs.push(way, SECRET)).await, kind, &["closed"]);
        refused(&what, within(3_000, &what, jobs.push_all(way, [SECRET])).await, kind, &["closed"]);
        refused(
            &what,
            within(3_000, &what, jobs.push_pending(way, SECRET)).await.map(drop),
            kind,
            &["closed"],
        );
        refused(&what, within(3_000, &what, jobs.wait(later, secs(60))).await, kind, &["closed"]);
        refused(&what, within(3_000, &what, jobs.cancel(later)).await, kind, &["closed"]);
        for working in &mut two {
            let _ = within(9_000, &what, working.ended()).await;
        }
        let _ = within(9_000, &what, jobs.work(way, handler).ended()).await;
        assert_eq!(states(&raw, way).await, "done 1, scheduled 1", "{what}");
    }
}

#[tokio::test]
async fn row_73_a_job_is_completed_once_and_by_an_attempt_that_is_not_over() {
    let (_db, tl, raw) = one().await;
    let (sent, mut kept) = mpsc::unbounded_channel();
    let _working = tl.jobs().work(Work::queue("q").timeout(millis(200)), move |job: Job| {
        let sent = sent.clone();
        async move {
            if job.attempt == 1 {
                sent.send(job).map_err(|_| Failure::new("gone", ""))?;
                std::future::pending::<()>().await;
            }
            Ok::<_, Failure>(())
        }
    });
    for job in [NewJob::new("ring"), NewJob::new("held").key("k")] {
        let id = tl.jobs().push("q", job).await.unwrap();
        let old = within(9_000, "row 73: an attempt", kept.recv()).await.unwrap();
        raw.until("row 73: it is over", &format!("select state = 'retrying' from trunkline.job_show({id})"))
            .await;
        assert!(old.is_cancelled(), "row 73");
        refused("row 73", old.complete_on(&mut &raw.client).await, ErrorKind::Stale, &["no longer yours"]);
        refused("row 73", old.progress(1, SECRET).await, ErrorKind::Stale, &["no longer yours"]);
        assert!(tl.jobs().retry(id).await.unwrap(), "row 73");
        raw.until("row 73: the second one", &format!("select state = 'done' from trunkline.job_show({id})"))
            .await;
    }
    // Twice in one transaction, in two ways.
    tl.jobs().push_all("twice", [NewJob::new("ring"), NewJob::new("held").key("k")]).await.unwrap();
    let raw = Arc::new(raw);
    let (own, jobs) = (raw.clone(), tl.jobs());
    let ran = jobs.run_due("twice", move |job: Job| {
        let own = own.clone();
        async move {
            own.run("begin").await;
            job.complete_on(&mut &own.client).await?;
            refused(
                "row 73 twice",
                job.complete_on(&mut &own.client).await,
                ErrorKind::Stale,
                &["no longer yours"],
            );
            refused("row 73 of many", job.progress(101, "").await, ErrorKind::Invalid, &["0 to 100", "101"]);
            own.run("commit").await;
            refused(
                "row 73 again",
                job.complete_on(&mut &own.client).await,
                ErrorKind::Stale,
                &["no longer yours"],
            );
            Ok::<_, Failure>(())
        }
    });
    let ran = ran.await.unwrap();
    assert!(ran.len() == 2 && ran.iter().all(|r| r.answer.is_ok()), "{ran:?}");
    assert_eq!(states(&raw, "twice").await, "done 2");
}

#[tokio::test]
async fn row_76_forged_notifications_are_looked_at_and_ignored() {
    let (db, tl, raw) = one().await;
    let _working = tl.jobs().work("q", async |job: Job| Ok::<_, Failure>(job.payload));
    works(&tl, "q", "row 76: before").await;
    asleep(&raw, "client").await;
    raw.run("do $$ begin create role row_76 login; exception when duplicate_object then end $$").await;
    let forger = db.raw_as("row_76").await;
    let doors = "select pg_notify('trunkline_' || d, p) from generate_series(-200, 200) d, (values (''), (repeat('x', 7999)), ('2:1:1:1:1'), (E'\\x01')) p(p)";
    forger.run(doors).await;
    forger.run("select pg_notify('trunkline_' || (-130 - n), 'done') from generate_series(0, 50) n").await;
    for _ in 0..10 {
        works(&tl, "q", "row 76").await;
    }
    let later = tl.jobs().push_pending("q", NewJob::new("later").delay(secs(600))).await.unwrap();
    forger.run("select pg_notify('trunkline_' || (-130 - n), '') from generate_series(0, 50) n").await;
    works(&tl, "q", "row 76").await;
    assert_eq!(raw.one(&format!("select state from trunkline.job_show({})", later.id())).await, "scheduled");
    assert_eq!(raw.one("select count(*) from trunkline.session").await, "1", "row 76: it never reconnected");
}

#[tokio::test]
async fn row_77_a_broken_transaction_says_so_and_the_job_comes_again() {
    let (db, tl, raw) = one().await;
    raw.run("select trunkline.job_set('q', 'retry_after', '0') from trunkline.job_open('q')").await;
    for (begin, code, kind) in [
        ("begin; select 1/0", "25P02", ErrorKind::Other),
        ("begin read only", "25006", ErrorKind::Unsupported),
    ] {
        let _ = raw.client.batch_execute(begin).await;
        let outcome = tl.jobs().push_on(&mut &raw.client, "q", SECRET).await;
        assert_eq!(outcome.as_ref().err().and_then(Error::code), Some(code), "row 77");
        refused("row 77", outcome, kind, &["transaction"]);
        let again = tl.jobs().push_on(&mut &raw.client, "q", SECRET).await;
        assert_eq!(again.as_ref().err().and_then(Error::code), Some("25P02"), "row 77");
        raw.run("rollback").await;
    }
    assert_eq!(raw.one("select count(*) from trunkline.job").await, "0", "row 77");
    let own = Arc::new(db.raw().await);
    let (codes, told) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (seen, count) = (codes.clone(), told.clone());
    let _working = tl.jobs().work(Work::queue("q").concurrency(1), move |job: Job| {
        let (own, seen, n) = (own.clone(), seen.clone(), count.fetch_add(1, Ordering::SeqCst));
        async move {
            let _ = own.client.batch_execute(if n % 2 == 0 { "begin; select 1/0" } else { "begin" }).await;
            let ended = job.complete_on(&mut &own.client).await;
            seen.lock().unwrap().push(ended.as_ref().err().and_then(Error::code).unwrap_or("").to_owned());
            // The first two come to nothing, whatever their handler says of the second.
            own.run(if n == 2 || n == 3 { "commit" } else { "rollback" }).await;
            if n == 1 { Ok(()) } else { ended.map_err(|e| Failure::new("end", e.to_string())) }
        }
    });
    let id = tl.jobs().push("q", "x").await.unwrap();
    raw.until("row 77: it is done", &format!("select state = 'done' from trunkline.job_show({id})")).await;
    assert_eq!(*codes.lock().unwrap(), ["25P02", "", "25P02", ""], "row 77");
    let errors = format!(
        "select string_agg(e ->> 'error', '; ') from trunkline.job_show({id}), jsonb_array_elements(errors) e"
    );
    let errors = raw.one(&errors).await;
    assert!(errors.contains("aborted") && errors.contains("was not committed"), "row 77: {errors}");
}
