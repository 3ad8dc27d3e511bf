//! Typed jobs, middleware, handlers that block, heartbeats; and what tests of programs are given.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use trunkline::{
    ErrorKind,
    jobs::{Job, NewJob, Outcome, Task, Tasks, Work},
    requests::{Failure, Payload},
};

use crate::{
    jobs::one,
    support::{Raw, Stopwatch, millis, secs, until, within},
};

#[derive(Debug, PartialEq, Serialize, Deserialize, Task)]
#[task(kind = "welcome", queue = "mail", max_attempts = 3, priority = 2)]
struct Welcome {
    to: String,
}

#[derive(Serialize, Deserialize, Task)]
#[task(kind = "thumb")]
struct Thumb {
    width: u32,
}

/// State, attempts and errors of a job.
async fn shown(raw: &Raw, id: i64) -> String {
    let what = "concat_ws(' ', state, attempt, (select string_agg(e ->> 'error', '; ') from jsonb_array_elements(errors) e))";
    raw.one(&format!("select {what} from trunkline.job_show({id})")).await
}

#[tokio::test]
async fn a_typed_job_is_pushed_as_its_kind_says_and_done_by_its_kinds_handler() {
    let (_db, tl, raw) = one().await;
    let jobs = tl.jobs();
    let welcome = jobs.push_task(&Welcome { to: "ann".into() }).await.unwrap();
    let thumb = jobs.push_task(&Thumb { width: 200 }).await.unwrap();
    let later = NewJob::of(&Welcome { to: "bob".into() }).unwrap().priority(7);
    let later = jobs.push("mail", later).await.unwrap();
    let said = "select concat_ws(' ', queue, kind, priority, max_attempts, payload) from trunkline.job_show";
    assert_eq!(raw.one(&format!("{said}({welcome})")).await, "mail welcome 2 3 {\"to\":\"ann\"}");
    assert_eq!(raw.one(&format!("{said}({thumb})")).await, "default thumb 5 20 {\"width\":200}");
    let (sent, mut seen) = mpsc::unbounded_channel();
    let (one, two) = (sent.clone(), sent);
    let tasks = Tasks::new()
        .on(move |job: Job, task: Welcome| {
            let sent = one.clone();
            async move { sent.send((job.id, task.to)).map_err(|_| Failure::new("gone", "")) }
        })
        .on(move |job: Job, task: Thumb| {
            let sent = two.clone();
            async move {
                sent.send((job.id, task.width.to_string())).unwrap();
                Ok::<_, Failure>(Payload::from("small"))
            }
        });
    assert_eq!(tasks.kinds().collect::<Vec<_>>(), ["thumb", "welcome"]);
    let mut working = jobs.work_tasks(Work::queue("mail").and("default").concurrency(1).drain(), tasks);
    within(20_000, "all to be done", working.ended()).await.unwrap();
    let mut all = Vec::new();
    while let Ok(one) = seen.try_recv() {
        all.push(one);
    }
    assert_eq!(all, [(welcome, "ann".to_owned()), (thumb, "200".to_owned()), (later, "bob".to_owned())]);
    assert_eq!(raw.one(&format!("select result from trunkline.job_result({thumb})")).await, "small");
}

#[tokio::test]
async fn an_unknown_kind_comes_again_and_a_payload_that_cannot_be_read_is_a_dead_letter_at_once() {
    let (_db, tl, raw) = one().await;
    let unknown = tl.jobs().push("mail", NewJob::new("x").kind("fare\nwell")).await.unwrap();
    let bad = Payload::json(&serde_json::json!({"to": 7, "secret": "S3cret"})).unwrap();
    let bad = tl.jobs().push("mail", NewJob::new(bad).kind("welcome")).await.unwrap();
    let tasks = Tasks::new().on(async |_: Job, _: Welcome| Ok::<_, Failure>(()));
    let ran = tl.jobs().run_due("mail", tasks.clone().into_handler()).await.unwrap();
    assert_eq!(ran.len(), 2);
    let why = "retrying 1 unknown kind: no handler here for jobs of the kind \"fare\\nwell\"";
    assert_eq!(shown(&raw, unknown).await, why);
    let why = shown(&raw, bad).await;
    assert!(
        why.starts_with("dead 1 the payload is not one of the kind \"welcome\"") && !why.contains("S3cret"),
        "{why}"
    );
}

#[tokio::test]
async fn layers_see_what_the_handler_answers_panics_and_time_outs_too_the_first_one_outermost() {
    let (_db, tl, raw) = one().await;
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let layer = |name: &'static str| {
        let log = log.clone();
        move |job: Job, next: trunkline::jobs::Next| {
            let log = log.clone();
            async move {
                let what = job.payload.text()?.to_owned();
                log.lock().unwrap().push(format!("{name} > {what}"));
                if what == "not now" && name == "inner" {
                    return Ok(Outcome::Snooze(secs(1000)));
                }
                let answer = next.run(job).await;
                let said = match &answer {
                    Ok(outcome) => format!("{outcome:?}"),
                    Err(failure) => failure.code.clone(),
                };
                log.lock().unwrap().push(format!("{name} < {said}"));
                answer
            }
        }
    };
    let work = Work::queue("q").timeout(millis(100)).wrap(layer("outer")).wrap(layer("inner"));
    let handler = async |job: Job| match job.payload.text()? {
        "done" => Ok(Outcome::Done),
        "panic" => panic!("as it is asked to"),
        "hang" => std::future::pending().await,
        other => Err(Failure::new("odd", other)),
    };
    for what in ["done", "panic", "hang", "not now"] {
        tl.jobs().push("q", NewJob::new(what).max_attempts(1)).await.unwrap();
        tl.jobs().run_due(work.clone(), handler).await.unwrap();
    }
    let mut expected = Vec::new();
    for (what, said) in [("done", "Done"), ("panic", "panic"), ("hang", "timed out")] {
        expected.extend([format!("outer > {what}"), format!("inner > {what}")]);
        expected.extend([format!("inner < {said}"), format!("outer < {said}")]);
    }
    expected.extend(["outer > not now", "inner > not now", "outer < Snooze(1000s)"].map(str::to_owned));
    assert_eq!(*log.lock().unwrap(), expected);
    let states = "select string_agg(job_state, ' ' order by id) from trunkline.job_list('q')";
    assert_eq!(raw.one(states).await, "done dead dead scheduled");
    // A worker goes the same way.
    log.lock().unwrap().clear();
    let id = tl.jobs().push("q", "panic").await.unwrap();
    let mut working = tl.jobs().work(work.drain(), handler);
    within(10_000, "the worker to end", working.ended()).await.unwrap();
    assert_eq!(log.lock().unwrap().last().unwrap(), "outer < panic");
    assert_eq!(shown(&raw, id).await, "retrying 1 panic: the handler panicked");
}

#[tokio::test]
async fn a_layer_that_panics_is_a_failed_attempt() {
    let (_db, tl, raw) = one().await;
    let id = tl.jobs().push("q", "x").await.unwrap();
    let work =
        Work::queue("q").wrap(|_, _| -> std::future::Ready<Result<Outcome, Failure>> { panic!("here") });
    let mut working = tl.jobs().work(work.drain(), async |_: Job| Ok::<_, Failure>(()));
    within(10_000, "the worker to end", working.ended()).await.unwrap();
    assert_eq!(shown(&raw, id).await, "retrying 1 panic: the handler panicked");
}

/// A gate for threads.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.changed.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// Opens a gate when its test ends, however that ends: a runtime waits for its threads.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[tokio::test]
async fn handlers_that_block_run_as_many_at_once_as_there_are_slots_and_panics_are_counted() {
    let (_db, tl, raw) = one().await;
    let ids = tl.jobs().push_all("q", ["0", "1", "2", "3", "4", "panic"]).await.unwrap();
    let (gate, most, now) =
        (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (_opens, inner, highest) = (Opens(gate.clone()), gate.clone(), most.clone());
    let mut working = tl.jobs().work_blocking(Work::queue("q").concurrency(3).drain(), move |job: Job| {
        highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        inner.wait();
        now.fetch_sub(1, Ordering::SeqCst);
        let text = job.payload.text()?.to_owned();
        assert!(text != "panic", "as it is asked to");
        let progress = job.progress(100, "done");
        tokio::runtime::Handle::current().block_on(progress)?;
        Ok::<_, Failure>(Payload::from(text))
    });
    raw.until("three to run", "select running = 3 and waiting = 3 from trunkline.job_queues()").await;
    until("three threads", async || most.load(Ordering::SeqCst) == 3).await;
    gate.open();
    within(20_000, "all to be done", working.ended()).await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(shown(&raw, ids[5]).await, "retrying 1 panic: the handler panicked");
    assert_eq!(
        raw.one(&format!("select result || progress from trunkline.job_result({})", ids[4])).await,
        "4100"
    );
}

#[tokio::test]
async fn a_thread_that_outlives_its_attempt_keeps_its_slot_and_what_it_returns_is_thrown_away() {
    let (_db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_set('q', 'retry_after', '100 days'), trunkline.job_set('q', 'retry_most', '100 days')").await;
    let slow = tl.jobs().push("q", "slow").await.unwrap();
    let gate = Arc::new(Gate::default());
    let (_opens, inner, (sent, mut told)) = (Opens(gate.clone()), gate.clone(), mpsc::unbounded_channel());
    let work = Work::queue("q").concurrency(1).timeout(millis(600));
    let working = tl.jobs().work_blocking(work, move |job: Job| {
        if job.payload.text()? == "slow" {
            inner.wait();
            sent.send(job.is_cancelled()).unwrap();
        }
        Ok::<_, Failure>(Payload::from("too late"))
    });
    raw.until("it to have failed", &format!("select state = 'retrying' from trunkline.job_show({slow})"))
        .await;
    let next = tl.jobs().push("q", "next").await.unwrap();
    // Another worker of this process hears of its jobs meanwhile, pushed later, one after the other.
    let others = tl.jobs().work("other", async |_: Job| Ok::<_, Failure>(()));
    for n in 1..=20 {
        tl.jobs().push("other", "x").await.unwrap();
        raw.until(
            "the other's job to be done",
            &format!("select count(*) = {n} from trunkline.job where queue = 'other' and state = 'done'"),
        )
        .await;
    }
    others.stop().await.unwrap();
    assert_eq!(shown(&raw, next).await, "waiting 0");
    gate.open();
    assert_eq!(within(5_000, "the thread", told.recv()).await, Some(true), "it is told");
    raw.until("the next to be done", &format!("select state = 'done' from trunkline.job_show({next})")).await;
    working.stop().await.unwrap();
    let why = shown(&raw, slow).await;
    assert_eq!(why, "retrying 1 timed out: the handler took longer than 600ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_handler_that_gives_no_sign_of_life_has_failed_also_one_that_blocks_its_thread() {
    let (db, tl, raw) = one().await;
    let db = Arc::new(db);
    let payloads = ["hangs", "beats", "blocks"];
    let ids = tl.jobs().push_all("q", payloads.map(|p| NewJob::new(p).max_attempts(1))).await.unwrap();
    let gate = Arc::new(Gate::default());
    let (_opens, inner) = (Opens(gate.clone()), gate.clone());
    let watch = Stopwatch::start();
    let work = Work::queue("q").timeout(secs(1000)).heartbeat_timeout(millis(1500));
    let working = tl.jobs().work(work, move |job: Job| {
        let (gate, db) = (inner.clone(), db.clone());
        async move {
            match job.payload.text()? {
                "hangs" => std::future::pending::<()>().await,
                "blocks" => gate.wait(),
                _ => {
                    job.progress(1, "beating").await?;
                    let raw = db.raw().await;
                    while raw.one("select count(*) from trunkline.job where state = 'dead'").await != "2" {
                        job.heartbeat();
                    }
                }
            }
            Ok::<_, Failure>(())
        }
    });
    for id in [ids[0], ids[2]] {
        raw.until(
            "the silent one to be dead",
            &format!("select state = 'dead' from trunkline.job_show({id})"),
        )
        .await;
        let why = "dead 1 no heartbeat: the handler gave no sign of life for 1.5s";
        assert_eq!(shown(&raw, id).await, why);
    }
    assert!(watch.elapsed() < secs(10), "{:?}", watch.elapsed());
    raw.until("the other to be done", &format!("select state = 'done' from trunkline.job_show({})", ids[1]))
        .await;
    gate.open();
    working.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_due_is_run_one_after_the_other_in_the_callers_task() {
    let (db, tl, raw) = one().await;
    let jobs = tl.jobs();
    jobs.open("q").await.unwrap();
    raw.run("create table public.effect (id bigint primary key); select trunkline.job_set('q', 'retry_after', '1 h')").await;
    let held = jobs.push("q", NewJob::new("held").key("k")).await.unwrap();
    let ids = jobs.push_all("q", ["fails", "done", "commits", "rolls back", "cancelled"]).await.unwrap();
    let later = jobs.push("q", NewJob::new("later").delay(secs(7200))).await.unwrap();
    jobs.cancel(ids[4]).await.unwrap();
    let handler = move |job: Job| {
        let db = db.clone();
        async move {
            let text = job.payload.text()?.to_owned();
            if text == "fails" {
                return Err(Failure::new("odd", "not yet"));
            } else if text == "commits" || text == "rolls back" {
                let mut raw = db.raw().await;
                let tx = raw.client.transaction().await?;
                tx.execute("insert into public.effect values ($1)", &[&job.id]).await?;
                job.complete_on(&mut &tx).await?;
                if text == "commits" { tx.commit().await? } else { tx.rollback().await? }
            }
            Ok(())
        }
    };
    let ran = jobs.run_due("q", handler.clone()).await.unwrap();
    let seen: Vec<_> = ran.iter().map(|r| (r.id, r.attempt, r.answer.is_ok())).collect();
    assert_eq!(
        seen,
        [(held, 1, true), (ids[0], 1, false), (ids[1], 1, true), (ids[2], 1, true), (ids[3], 1, true)]
    );
    assert_eq!(ran[1].answer, Err(Failure::new("odd", "not yet")));
    let states = "select string_agg(job_state, ' ' order by id) from trunkline.job_list('q')";
    let order = [held, ids[0], ids[1], ids[2], ids[3], ids[4], later];
    let by_id = |words: [&'static str; 7]| {
        let mut all: Vec<_> = order.into_iter().zip(words).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, w)| w).collect::<Vec<_>>().join(" ")
    };
    let first = by_id(["done", "retrying", "done", "done", "retrying", "cancelled", "scheduled"]);
    assert_eq!(raw.one(states).await, first);
    assert_eq!(raw.one("select count(*) from public.effect").await, "1");
    assert!(jobs.run_due("q", handler.clone()).await.unwrap().is_empty());
    assert_eq!(jobs.forward(secs(3700)).await.unwrap(), 3);
    let again = jobs.run_due(Work::queue("q").at_most(1), handler.clone()).await.unwrap();
    assert_eq!((again.len(), again[0].attempt), (1, 2), "no more than it was told");
    assert_eq!(jobs.run_due("q", handler).await.unwrap().len(), 1);
    assert_eq!(raw.one(&format!("select state from trunkline.job_show({later})")).await, "scheduled");
}

#[tokio::test]
async fn a_job_whose_run_is_dropped_is_handed_back() {
    let (_db, tl, raw) = one().await;
    let id = tl.jobs().push("q", "x").await.unwrap();
    let (sent, mut began) = mpsc::unbounded_channel();
    let handler = move |job: Job| {
        sent.send(job.id).unwrap();
        std::future::pending::<Result<(), Failure>>()
    };
    let jobs = tl.jobs();
    tokio::select! {
        _ = jobs.run_due("q", handler) => panic!("it cannot end"),
        got = began.recv() => assert_eq!(got, Some(id)),
    }
    raw.until(
        "it to be handed back",
        &format!("select state = 'waiting' and attempt = 0 from trunkline.job_show({id})"),
    )
    .await;
}

#[tokio::test]
async fn the_clock_is_moved_for_what_waits_and_sleeping_workers_are_woken() {
    let (db, tl, raw) = one().await;
    let later = |queue: &'static str| {
        let jobs = tl.jobs();
        async move { jobs.push(queue, NewJob::new("x").delay(secs(3600))).await.unwrap() }
    };
    let (mine, others) = (later("mine").await, later("others").await);
    let worker = db.client("worker").await;
    let _working = worker.jobs().work(Work::queue("mine").and("others"), async |_: Job| Ok::<_, Failure>(()));
    crate::jobs::asleep(&raw, "worker").await;
    assert_eq!(raw.one("select trunkline.job_forward('30 min')").await, "2");
    let states = "select string_agg(job_state, ' ' order by id) from trunkline.job_list()";
    assert_eq!(raw.one(states).await, "scheduled scheduled");
    assert_eq!(raw.one("select trunkline.job_forward(by => '31 min', queue => 'mine')").await, "1");
    raw.until("mine to be done", &format!("select state = 'done' from trunkline.job_show({mine})")).await;
    assert_eq!(raw.one(&format!("select state from trunkline.job_show({others})")).await, "scheduled");
    assert_eq!(tl.jobs().forward(secs(3600)).await.unwrap(), 1);
    raw.until("the other to be done", &format!("select state = 'done' from trunkline.job_show({others})"))
        .await;
    for (call, code) in
        [("null", "22004"), ("'-1 s'", "22023"), ("'4000 days'", "22023"), ("'1 s', 'none'", "42704")]
    {
        assert_eq!(raw.code(&format!("select trunkline.job_forward({call})")).await, code, "{call}");
    }
    let far = tl.jobs().forward(secs(86_400 * 4000)).await.unwrap_err();
    assert_eq!(far.kind(), ErrorKind::Invalid);
}
