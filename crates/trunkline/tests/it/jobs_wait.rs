//! Waiting for a job's end from anywhere, and how far it has come.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use trunkline::{
    ErrorKind, Trunkline,
    jobs::{Job, NewJob, Outcome, Work},
    requests::{Failure, Payload},
};

use crate::{
    jobs::{asleep, one},
    support::{Process, Raw, Stopwatch, millis, secs, until, within},
};

/// A worker that answers with the payload, in capitals.
fn echo(tl: &Trunkline, queue: &str) -> trunkline::jobs::Working {
    tl.jobs()
        .work(queue, async |job: Job| Ok::<_, Failure>(Payload::from(job.payload.text()?.to_uppercase())))
}

/// Waits until the process that waits is rung.
async fn listens(raw: &Raw, application: &str) {
    raw.until(
        "the waiter to hold its door",
        &format!(
            "select exists (select from pg_locks l join pg_stat_activity a using (pid)
               join trunkline.session s on s.pid = l.pid
              where l.locktype = 'advisory' and l.classid = 1953656427 and l.granted
                and l.objid::bigint = 4294967296 - 130 - s.id and a.application_name = '{application}')"
        ),
    )
    .await;
}

#[tokio::test]
async fn who_pushes_and_waits_gets_what_the_job_yields_from_any_process() {
    let (db, tl, raw) = one().await;
    let worker = db.client("worker").await;
    let _working = echo(&worker, "q");
    let jobs = tl.jobs();
    let mut latencies = Vec::new();
    for n in 0..20 {
        asleep(&raw, "worker").await;
        let watch = Stopwatch::start();
        let reply = jobs.push_and_wait("q", format!("é{n}").as_str(), secs(10)).await.unwrap();
        assert_eq!(reply.text().unwrap(), format!("É{n}"));
        latencies.push(watch.elapsed());
    }
    latencies.sort();
    assert!(latencies[10] < millis(300), "nobody polls: {latencies:?}");
    until("nobody to be noted", async || raw.one("select count(*) from trunkline.job_wait").await == "0")
        .await;
    let here = echo(&tl, "here");
    let reply = jobs.push_and_wait("here", "one process", secs(10)).await.unwrap();
    assert_eq!(reply.text().unwrap(), "ONE PROCESS");
    here.stop().await.unwrap();
}

#[tokio::test]
async fn many_wait_at_once_and_each_gets_its_own() {
    let (db, tl, _raw) = one().await;
    let worker = db.client("worker").await;
    let _working = echo(&worker, "q");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let jobs = tl.jobs();
        tasks.spawn(async move {
            let reply = jobs.push_and_wait("q", format!("n{n}").as_str(), secs(30)).await.unwrap();
            assert_eq!(reply.text().unwrap(), format!("N{n}"));
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn a_failed_attempt_is_no_end_and_a_dead_letter_and_a_cancel_are_told_with_their_reason() {
    let (db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_set('q', 'retry_after', '0')").await;
    let worker = db.client("worker").await;
    let handler = async |job: Job| match job.payload.text()? {
        "third time" if job.attempt < 3 => Err(Failure::new("not yet", "")),
        "third time" => Ok(Outcome::Result(format!("{}", job.attempt).into())),
        "dead" => Ok(Outcome::Dead("no such customer".into())),
        "cancel" => Ok(Outcome::Cancel("not any more".into())),
        "panic" => panic!("as it is asked to"),
        _ => Ok(Outcome::Done),
    };
    let _working = worker.jobs().work("q", handler);
    let push = async |job: NewJob| tl.jobs().push_and_wait("q", job, secs(10)).await;
    assert_eq!(push("third time".into()).await.unwrap().text().unwrap(), "3");
    assert!(push("nothing".into()).await.unwrap().bytes().is_empty());
    let dead = push("dead".into()).await.unwrap_err();
    assert_eq!((dead.kind(), dead.code()), (ErrorKind::Remote, Some("dead")));
    assert!(dead.to_string().ends_with("failed for good: no such customer"), "{dead}");
    let cancelled = push("cancel".into()).await.unwrap_err();
    assert_eq!(cancelled.kind(), ErrorKind::Cancelled);
    assert!(cancelled.to_string().ends_with("was cancelled: not any more"), "{cancelled}");
    let panicked = push(NewJob::new("panic").max_attempts(2)).await.unwrap_err();
    assert!(panicked.to_string().contains("the handler panicked"), "{panicked}");
}

#[tokio::test]
async fn whoever_cancels_a_waiting_job_ends_the_wait() {
    let (db, tl, raw) = one().await;
    let other = db.client("other").await;
    for how in ["rust", "own", "sql", "all"] {
        let mut pending = tl.jobs().push_pending("q", NewJob::new("x").delay(secs(1000))).await.unwrap();
        assert_eq!(pending.wait(millis(1)).await.unwrap_err().kind(), ErrorKind::TimedOut);
        match how {
            "rust" => assert!(other.jobs().cancel(pending.id()).await.unwrap()),
            "own" => assert!(tl.jobs().cancel(pending.id()).await.unwrap()),
            "sql" => raw.run(&format!("select trunkline.job_cancel({})", pending.id())).await,
            _ => raw.run("select trunkline.job_cancel_all('q', 'scheduled')").await,
        }
        let ended = within(5_000, "the cancel", pending.wait(secs(30))).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Cancelled, "{how}");
        assert_eq!(pending.wait(secs(1)).await.unwrap_err().kind(), ErrorKind::Cancelled, "asked again");
    }
}

#[tokio::test]
async fn a_time_out_leaves_the_job_alone_and_it_can_be_waited_for_again() {
    let (db, tl, raw) = one().await;
    let ended = tl.jobs().push_and_wait("q", "x", secs(2)).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::TimedOut);
    assert_eq!(raw.one("select job_state from trunkline.job_list()").await, "waiting");
    until("nobody to be noted", async || raw.one("select count(*) from trunkline.job_wait").await == "0")
        .await;
    let id: i64 = raw.one("select id from trunkline.job_list()").await.parse().unwrap();
    let worker = db.client("worker").await;
    let _working = echo(&worker, "q");
    assert_eq!(tl.jobs().wait(id, secs(10)).await.unwrap().text().unwrap(), "X");
    assert_eq!(tl.jobs().wait(id, secs(10)).await.unwrap().text().unwrap(), "X", "it is kept");
    let unknown = tl.jobs().wait(id + 400, secs(10)).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.code()), (ErrorKind::NotFound, Some("TL007")));
}

#[tokio::test]
async fn the_end_of_a_job_that_nobody_meant_to_wait_for_is_found_wherever_it_is() {
    let (db, tl, raw) = one().await;
    let worker = db.client("worker").await;
    let payloads = ["result", "plain", "dead", "cancelled"];
    let ids = tl.jobs().push_all("q", payloads).await.unwrap();
    let keyed = tl.jobs().push("q", NewJob::new("result").key("k")).await.unwrap();
    let waits: Vec<_> = ids
        .iter()
        .chain([&keyed])
        .map(|id| {
            let (jobs, id) = (tl.jobs(), *id);
            tokio::spawn(async move { jobs.wait(id, secs(20)).await })
        })
        .collect();
    raw.until("all to be noted", "select count(*) = 5 from trunkline.job_wait").await;
    raw.run(&format!("select trunkline.job_cancel({})", ids[3])).await;
    let _working = worker.jobs().work("q", async |job: Job| {
        Ok::<_, Failure>(match job.payload.text()? {
            "result" => Outcome::Result("yes".into()),
            "dead" => Outcome::Dead("no".into()),
            _ => Outcome::Done,
        })
    });
    let mut ended = Vec::new();
    for wait in waits {
        let outcome = within(10_000, "an end", wait).await.unwrap();
        ended.push(outcome.map(|p| p.text().unwrap().to_owned()).map_err(|e| e.kind()));
    }
    let expected = [
        Ok("yes".to_owned()),
        Ok(String::new()),
        Err(ErrorKind::Remote),
        Err(ErrorKind::Cancelled),
        Ok("yes".to_owned()),
    ];
    assert_eq!(ended, expected);
}

#[tokio::test]
async fn when_the_worker_dies_the_waiter_gets_what_the_second_attempt_yields() {
    let (db, tl, raw) = one().await;
    let mut pending = tl.jobs().push_pending("q", "again").await.unwrap();
    let mut child = Process::start("jobber", &db).await;
    assert_eq!(child.line("took").await, pending.id().to_string());
    listens(&raw, "client").await;
    let worker = db.client("worker").await;
    let _working =
        worker.jobs().work("q", async |job: Job| Ok::<_, Failure>(Payload::from(job.attempt.to_string())));
    asleep(&raw, "worker").await;
    child.child.kill().await.unwrap();
    let reply = within(10_000, "the second attempt", pending.wait(secs(60))).await.unwrap();
    assert_eq!(reply.text().unwrap(), "2");
}

#[tokio::test]
async fn a_waiter_whose_connection_is_cut_gets_the_result_all_the_same() {
    let (db, tl, raw) = one().await;
    let worker = db.client("worker").await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let inner = gate.clone();
    let _working = worker.jobs().work("q", move |job: Job| {
        let gate = inner.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Failure>(job.payload)
        }
    });
    for how in ["cut before the end", "cut at the end", "a session that was buried"] {
        let mut pending = tl.jobs().push_pending("q", how).await.unwrap();
        listens(&raw, "client").await;
        let pid = db.backend(&raw, "client").await;
        match how {
            "cut at the end" => gate.add_permits(1),
            "a session that was buried" => {
                let bury = "with gone as (delete from trunkline.session s where s.pid = {pid} returning id) select count(*) from gone";
                raw.run(&bury.replace("{pid}", &pid.to_string())).await;
            }
            _ => {}
        }
        raw.run(&format!("select pg_terminate_backend({pid})")).await;
        if how != "cut at the end" {
            gate.add_permits(1);
        }
        let reply = within(10_000, how, pending.wait(secs(60))).await.unwrap();
        assert_eq!(reply.text().unwrap(), how);
        // The next one is pushed over the next connection: the result may have come before this one's end.
        let replaced = format!(
            "select coalesce(bool_and(pid <> {pid}), false) from pg_stat_activity
              where datname = current_database() and application_name = 'client'"
        );
        raw.until("the connection to be replaced", &replaced).await;
    }
}

#[tokio::test]
async fn what_is_waited_for_is_kept_until_it_was_seen_however_short_the_queue_keeps_its_jobs() {
    let (db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_set('q', 'keep_done', '0'), trunkline.job_set('q', 'keep_dead', '0')")
        .await;
    // A waiter that cannot look: its process stands still.
    let id = raw
        .one("select id from trunkline._job_push_wait('q', 1, 'x', '', null, null, 5, 0, 0, null, null, (select id from trunkline.session limit 1))")
        .await;
    let worker = db.client("worker").await;
    let working = echo(&worker, "q");
    raw.until("it to be done", &format!("select state = 'done' from trunkline.job_show({id})")).await;
    working.stop().await.unwrap();
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(raw.one(&format!("select result from trunkline.job_result({id})")).await, "X");
    let reply = tl.jobs().wait(id.parse().unwrap(), secs(10)).await.unwrap();
    assert_eq!(reply.text().unwrap(), "X");
    raw.until("the note to be gone", "select count(*) = 0 from trunkline.job_wait").await;
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(raw.code(&format!("select trunkline.job_result({id})")).await, "TL007");
    // And what nobody can see any more is forgotten.
    raw.run("select trunkline._job_wait(array[1, 2], -5); select trunkline._job_tidy()").await;
    assert_eq!(raw.one("select count(*) from trunkline.job_wait").await, "0");
}

#[tokio::test]
async fn a_wait_for_a_job_that_is_already_there_by_its_unique_key_is_for_that_one() {
    let (db, tl, _raw) = one().await;
    let first = tl.jobs().push("q", NewJob::new("first").unique("u")).await.unwrap();
    let mut pending = tl.jobs().push_pending("q", NewJob::new("second").unique("u")).await.unwrap();
    assert_eq!(pending.id(), first);
    let worker = db.client("worker").await;
    let _working = echo(&worker, "q");
    assert_eq!(pending.wait(secs(10)).await.unwrap().text().unwrap(), "FIRST");
}

#[tokio::test]
async fn what_was_pushed_to_be_waited_for_can_be_run_in_the_same_task() {
    let (_db, tl, raw) = one().await;
    let mut pending = tl.jobs().push_pending("q", "x").await.unwrap();
    let answer = async |job: Job| Ok::<_, Failure>(job.payload);
    assert_eq!(tl.jobs().run_due("q", answer).await.unwrap().len(), 1);
    assert_eq!(pending.wait(secs(10)).await.unwrap().text().unwrap(), "x");
    // A job that nobody may know of yet is none.
    raw.run("begin; create temp table mine as select trunkline.job_push('q', 'y') as id").await;
    let id: i64 = raw.one("select id from mine").await.parse().unwrap();
    assert_eq!(tl.jobs().wait(id, secs(10)).await.unwrap_err().kind(), ErrorKind::NotFound);
    raw.run("commit").await;
    assert_eq!(tl.jobs().wait(id, secs(0)).await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn progress_survives_retries_and_is_forgotten_with_its_job() {
    let (db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_set('q', 'retry_after', '0'), trunkline.job_set('q', 'keep_done', '0')")
        .await;
    let ids = tl.jobs().push_all("q", [NewJob::new("ring"), NewJob::new("held").key("k")]).await.unwrap();
    assert_eq!(tl.jobs().progress_of(ids[0]).await.unwrap(), None);
    let worker = db.client("worker").await;
    let (sent, mut seen) = mpsc::unbounded_channel();
    let me = tl.clone();
    let handler = move |job: Job| {
        let (sent, me) = (sent.clone(), me.clone());
        async move {
            let before = me.jobs().progress_of(job.id).await?;
            if job.attempt == 1 {
                job.progress(10, "begun").await?;
                job.progress(40, "resizing").await?;
                return Err(Failure::new("again", ""));
            }
            sent.send((job.id, before.map(|p| (p.percent, p.message)))).unwrap();
            Ok(())
        }
    };
    let working = worker.jobs().work("q", handler);
    for _ in 0..2 {
        let (id, before) = within(10_000, "the second attempt", seen.recv()).await.unwrap();
        assert_eq!(before, Some((40, "resizing".to_owned())), "of {id}");
    }
    working.stop().await.unwrap();
    let shown = format!(
        "select concat_ws(' ', state, progress, progress_message, progress_at > pushed_at) from trunkline.job_show({})",
        ids[0]
    );
    assert_eq!(raw.one(&shown).await, "done 40 resizing t");
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(raw.one("select count(*) from trunkline.job_progress").await, "0");
}

#[tokio::test]
async fn progress_of_a_ring_job_is_forgotten_with_its_segment() {
    let (_db, tl, raw) = one().await;
    tl.jobs().push("q", "x").await.unwrap();
    let done = async |job: Job| {
        job.progress(100, "done").await?;
        Ok::<_, Failure>(())
    };
    assert_eq!(tl.jobs().run_due("q", done).await.unwrap().len(), 1);
    assert_eq!(raw.one("select count(*) from trunkline.job_progress").await, "1");
    raw.run("select trunkline._job_turn_d(1, '0')").await;
    raw.run("select trunkline._job_turn_d(1, '0')").await;
    assert_eq!(raw.one("select count(*) from trunkline.job_progress").await, "0");
}

#[tokio::test]
async fn a_stale_hand_and_a_bad_number_tell_no_progress() {
    let (_db, tl, raw) = one().await;
    raw.run("select trunkline.job_push('q', 'ring'), trunkline.job_push('q', 'held', key => 'k')").await;
    raw.run("create temp table took as select * from trunkline.job_take('q', 9)").await;
    let say = async |percent: &str, which: &str| {
        let sql = format!(
            "select trunkline.job_progress(claim, {percent}, 'half') from took where payload = '{which}'"
        );
        raw.code(&sql).await
    };
    for which in ["ring", "held"] {
        assert_eq!(say("101", which).await, "22023");
        assert_eq!(say("null", which).await, "22023");
        assert_eq!(say("50", which).await, "00000");
        raw.run(&format!("select trunkline.job_fail(claim, 'x', '0') from took where payload = '{which}'"))
            .await;
        assert_eq!(say("60", which).await, "TL001");
    }
    assert_eq!(raw.rows("select distinct percent from trunkline.job_progress").await, ["50"]);
    raw.run("truncate took; insert into took select * from trunkline.job_take('q', 9)").await;
    assert_eq!(say("70", "ring").await, "00000", "the next hand may");
    // Carried to where jobs are held it is still the same hand's.
    raw.run(
        "select trunkline.job_push('q', 'carried'); insert into took select * from trunkline.job_take('q')",
    )
    .await;
    for _ in 0..3 {
        raw.run("select trunkline._job_turn_d(1, '0')").await;
    }
    assert_eq!(say("80", "carried").await, "00000");
    assert_eq!(raw.code("select trunkline.job_progress('x', 1)").await, "22023");
    let long = "select trunkline.job_progress(claim, 1, repeat('x', 1001)) from took limit 1";
    assert_eq!(raw.code(long).await, "22023");
    assert_eq!(tl.jobs().progress_of(7).await.unwrap(), None);
}

#[tokio::test]
async fn progress_in_rust_is_refused_by_number_and_when_stale() {
    let (_db, tl, raw) = one().await;
    tl.jobs().push("q", "x").await.unwrap();
    let stolen = Arc::new(AtomicUsize::new(0));
    let (seen, raw) = (stolen.clone(), Arc::new(raw));
    let handler = move |job: Job| {
        let (seen, raw) = (seen.clone(), raw.clone());
        async move {
            for (percent, message) in [(101, "x"), (1, "a\0b")] {
                let bad = job.progress(percent, message).await.unwrap_err();
                assert_eq!(bad.kind(), ErrorKind::Invalid);
            }
            raw.run("select trunkline._job_abandon_d0(s.id, 0, 100) from trunkline.session s").await;
            let stale = job.progress(1, "late").await.unwrap_err();
            assert_eq!(stale.kind(), ErrorKind::Stale);
            seen.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Failure>(())
        }
    };
    let ran = tl.jobs().run_due(Work::queue("q").at_most(1), handler).await.unwrap();
    assert!(ran[0].answer.is_ok(), "{ran:?}");
    assert_eq!(stolen.load(Ordering::Relaxed), 1);
    assert_eq!(tl.jobs().progress_of(ran[0].id).await.unwrap(), None);
}
