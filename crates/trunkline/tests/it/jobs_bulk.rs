//! Jobs, many at once: all of a state retried or cancelled; and workers that end by themselves.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use trunkline::{
    ErrorKind, Trunkline,
    jobs::{Job, NewJob, Outcome, Work},
    requests::Failure,
};

use crate::support::{Db, Raw, secs, within};

async fn one() -> (Db, Trunkline, Raw) {
    let db = Db::new().await;
    let tl = db.client("client").await;
    let raw = db.raw().await;
    (db, tl, raw)
}

/// How many of a queue's jobs are in which state: `dead 2 waiting 1`.
async fn counts(raw: &Raw, queue: &str) -> String {
    let counts = format!(
        "select coalesce(string_agg(job_state || ' ' || n, ' ' order by job_state), '')
         from (select job_state, count(*) n from trunkline.job_list('{queue}', max => 10000) group by 1) c"
    );
    raw.one(&counts).await
}

/// Does what there is, each job as its payload says, and how many there were.
async fn drained(tl: &Trunkline, work: Work) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let mut working = tl.jobs().work(work.drain(), move |job: Job| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move {
            Ok::<_, Failure>(match job.payload.text().unwrap() {
                "dead" => Outcome::Dead("it can never work".into()),
                "retry" => Outcome::Retry { after: secs(100), error: "not yet".into() },
                "at once" if job.attempt < 3 => Outcome::Retry { after: secs(0), error: "not yet".into() },
                _ => Outcome::Done,
            })
        }
    });
    within(20_000, "the queue to be drained", working.ended()).await.unwrap();
    count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_worker_that_drains_ends_when_nothing_could_run_now() {
    let (_db, tl, raw) = one().await;
    assert_eq!(drained(&tl, Work::queue("q")).await, 0, "nothing is there");
    tl.jobs().push_all("q", (0..700).map(|n| n.to_string())).await.unwrap();
    tl.jobs().push_all("q", (0..5).map(|_| NewJob::new("keyed").key("k"))).await.unwrap();
    tl.jobs().push_all("other", ["retry", "at once", "dead"]).await.unwrap();
    tl.jobs().push("q", NewJob::new("later").delay(secs(1000))).await.unwrap();
    let work = Work::queue("q").and("other").concurrency(7);
    assert_eq!(drained(&tl, work).await, 700 + 5 + 5, "also what comes again at once");
    assert_eq!(counts(&raw, "q").await, "done 705 scheduled 1");
    assert_eq!(counts(&raw, "other").await, "dead 1 done 1 retrying 1");
    raw.run("select trunkline.job_pause('q')").await;
    tl.jobs().push("q", "x").await.unwrap();
    assert_eq!(drained(&tl, Work::queue("q")).await, 0, "what is paused cannot run");
}

#[tokio::test]
async fn a_worker_takes_no_more_than_it_was_told() {
    let (_db, tl, raw) = one().await;
    tl.jobs().push_all("q", (0..10).map(|n| n.to_string())).await.unwrap();
    for (most, left) in [(1, "done 1 waiting 9"), (6, "done 7 waiting 3")] {
        let done = async |_: Job| Ok::<_, Failure>(());
        let mut working = tl.jobs().work(Work::queue("q").concurrency(4).at_most(most), done);
        within(10_000, "the worker to end", working.ended()).await.unwrap();
        assert_eq!(counts(&raw, "q").await, left);
    }
}

#[tokio::test]
async fn all_dead_letters_of_a_queue_or_of_a_kind_run_again_and_a_dry_run_counts_them() {
    let (_db, tl, raw) = one().await;
    let jobs = (0..6).map(|n| NewJob::new("dead").kind(if n < 4 { "a" } else { "b" }));
    tl.jobs().push_all("q", jobs).await.unwrap();
    tl.jobs().push_all("other", ["dead"]).await.unwrap();
    drained(&tl, Work::queue("q").and("other")).await;
    let all = async |args: &str| raw.one(&format!("select trunkline.job_retry_all({args})")).await;
    assert_eq!(all("'q', dry_run => true").await, "6");
    assert_eq!(all("'q', kind => 'b', dry_run => true").await, "2");
    assert_eq!(counts(&raw, "q").await, "dead 6");
    assert_eq!(all("'q', kind => 'a'").await, "4");
    assert_eq!(counts(&raw, "q").await, "dead 2 waiting 4");
    assert_eq!(counts(&raw, "other").await, "dead 1");
    assert_eq!(drained(&tl, Work::queue("q")).await, 4, "they can run");
    assert_eq!((all("'q'").await, all("'q'").await), ("6".into(), "0".into()));
    tl.jobs().push_all("q", ["retry"]).await.unwrap();
    tl.jobs().push("q", NewJob::new("x").delay(secs(1000))).await.unwrap();
    drained(&tl, Work::queue("q")).await;
    assert_eq!(counts(&raw, "q").await, "dead 6 retrying 1 scheduled 1");
    assert_eq!((all("'q', 'retrying'").await, all("'q', 'scheduled'").await), ("1".into(), "1".into()));
    assert_eq!(drained(&tl, Work::queue("q")).await, 2);
}

#[tokio::test]
async fn of_dead_letters_with_one_unique_key_one_runs_again_and_none_beside_a_living_one() {
    let (_db, tl, raw) = one().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(tl.jobs().push("q", NewJob::new("dead").unique("u")).await.unwrap());
        drained(&tl, Work::queue("q")).await;
    }
    let living = tl.jobs().push("q", NewJob::new("x").unique("u")).await.unwrap();
    let all = async || raw.one("select trunkline.job_retry_all('q')").await;
    assert_eq!(all().await, "0");
    assert!(tl.jobs().cancel(living).await.unwrap());
    assert_eq!(all().await, "1");
    assert_eq!(raw.one(&format!("select state from trunkline.job_show({})", ids[0])).await, "waiting");
    assert_eq!(all().await, "0", "it waits");
}

#[tokio::test]
async fn all_waiting_jobs_of_a_queue_are_cancelled_wherever_they_are() {
    let (_db, tl, raw) = one().await;
    tl.jobs()
        .push_all("q", (0..20).map(|n| NewJob::new("x").kind(if n < 5 { "a" } else { "b" })))
        .await
        .unwrap();
    tl.jobs().push_all("q", (0..3).map(|_| NewJob::new("x").key("k"))).await.unwrap();
    tl.jobs().push("q", NewJob::new("x").key("k").delay(secs(1000))).await.unwrap();
    tl.jobs().push_all("other", ["x"]).await.unwrap();
    let all = async |args: &str| raw.one(&format!("select trunkline.job_cancel_all({args})")).await;
    assert_eq!(all("'q', dry_run => true").await, "23");
    assert_eq!(counts(&raw, "q").await, "scheduled 1 waiting 23");
    assert_eq!(all("'q', kind => 'a'").await, "5");
    assert_eq!((all("'q'").await, all("'q'").await), ("18".into(), "0".into()));
    assert_eq!(counts(&raw, "q").await, "cancelled 23 scheduled 1");
    assert_eq!(all("'q', 'scheduled'").await, "1");
    assert_eq!(drained(&tl, Work::queue("q").and("other")).await, 1, "the other queue's");
    assert_eq!(counts(&raw, "q").await, "cancelled 24");
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(raw.one("select count(*) from trunkline.job_cancel").await, "0", "each was seen");
}

#[tokio::test]
async fn all_running_jobs_of_a_queue_are_told() {
    let (_db, tl, raw) = one().await;
    tl.jobs().push_all("q", [NewJob::new("ring"), NewJob::new("held").key("k")]).await.unwrap();
    let working = tl.jobs().work("q", async |job: Job| {
        job.cancelled().await;
        Err::<(), _>(Failure::new("stopped", "by request"))
    });
    raw.until("both to run", "select count(*) = 2 from trunkline.job_list('q', 'running')").await;
    assert_eq!(raw.one("select trunkline.job_cancel_all('q', 'running')").await, "2");
    raw.until("both to be cancelled", "select count(*) = 2 from trunkline.job_list('q', 'cancelled')").await;
    working.stop().await.unwrap();
}

/// Two sessions; each step is where it would have waited for the other.
#[tokio::test]
async fn who_cancels_all_waits_for_nobody_and_nothing_is_missed() {
    let (db, tl, raw) = one().await;
    let other = db.raw().await;
    tl.jobs().push_all("q", (0..3).map(|n| NewJob::new(n.to_string()).key("k"))).await.unwrap();
    tl.jobs().push("q", NewJob::new("x").key("free")).await.unwrap();
    let taken = raw.one("select claim from trunkline.job_take('q')").await;
    assert_eq!(
        other.rows("select claim from trunkline.job_take('q', 9)").await.len(),
        1,
        "the others wait behind their key"
    );
    let behind = "select id from trunkline.job_held where state = 5 order by id";
    assert_eq!(raw.rows(behind).await.len(), 2);
    // An end has its key, and somebody else one of the jobs that wait behind it.
    raw.run("begin; select pg_advisory_xact_lock(1953656434, hashtext((lane >> 4) || ' k')) from trunkline.job_held limit 1").await;
    let all = within(5_000, "the cancel", other.one("select trunkline.job_cancel_all('q')")).await;
    assert_eq!(all, "2");
    raw.run(&format!("select trunkline.job_complete('{taken}'); commit")).await;
    assert_eq!(drained(&tl, Work::queue("q")).await, 0, "they were told of");
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(counts(&raw, "q").await, "cancelled 2 done 1 running 1");
}

#[tokio::test]
async fn what_ended_and_is_held_is_deleted_by_id_or_by_what_it_is() {
    let (_db, tl, raw) = one().await;
    let of = |n: i32| NewJob::new("dead").kind(if n < 2 { "a" } else { "b" }).key(format!("k{n}"));
    tl.jobs().push_all("q", (0..4).map(of)).await.unwrap();
    raw.run("select trunkline.job_push_json('q', '{\"a\": 1, \"b\": 2}', key => 'j')").await;
    drained(&tl, Work::queue("q")).await;
    let ring = tl.jobs().push("q", "ring").await.unwrap();
    let waits = tl.jobs().push("q", NewJob::new("x").delay(secs(100))).await.unwrap();
    let all = async |args: &str| raw.one(&format!("select trunkline.job_delete_all({args})")).await;
    assert_eq!(all("'q', dry_run => true").await, "4");
    assert_eq!(all("'q', 'done', payload => '{\"a\": 2}'").await, "0");
    assert_eq!(all("'q', 'done', payload => '{\"a\": 1}'").await, "1");
    assert_eq!(
        (all("'q', kind => 'a', key => 'k1'").await, all("'q', kind => 'a'").await),
        ("1".into(), "1".into())
    );
    assert_eq!(all("'q', older_than => '1 h'").await, "0");
    let one: i64 = raw.one("select min(id) from trunkline.job where state = 'dead'").await.parse().unwrap();
    assert!(tl.jobs().delete(one).await.unwrap());
    assert_eq!(raw.code(&format!("select trunkline.job_delete({one})")).await, "TL007");
    assert_eq!(tl.jobs().delete(one).await.unwrap_err().kind(), ErrorKind::NotFound);
    for id in [ring, waits] {
        assert_eq!(raw.one(&format!("select trunkline.job_delete({id})")).await, "f");
        assert!(!tl.jobs().delete(id).await.unwrap());
    }
    assert_eq!(counts(&raw, "q").await, "dead 1 scheduled 1 waiting 1");
}

#[tokio::test]
async fn retries_and_cancels_fit_all_filters_that_are_given() {
    let (_db, tl, raw) = one().await;
    raw.run(
        "select trunkline.job_push_json('q', jsonb_build_object('n', n % 2), kind => 'k' || n % 3, key => case when n > 6 then 'late' end)
           from generate_series(1, 12) n",
    )
    .await;
    let cancel = async |args: &str| raw.one(&format!("select trunkline.job_cancel_all('q', {args})")).await;
    assert_eq!(cancel("payload => '{\"n\": 1}', kind => 'k1', dry_run => true").await, "2");
    assert_eq!(cancel("payload => '{\"n\": 1}', kind => 'k1'").await, "2");
    assert_eq!(cancel("key => 'late', older_than => '0'").await, "5");
    assert_eq!(cancel("older_than => '1 min'").await, "0");
    let retry = async |args: &str| {
        raw.one(&format!("select trunkline.job_retry_all('q', 'cancelled', {args})")).await
    };
    assert_eq!(retry("payload => '{\"n\": 0}', dry_run => true").await, "3");
    assert_eq!(
        (retry("payload => '{\"n\": 0}', key => 'late'").await, retry("kind => 'k0'").await),
        ("3".into(), "1".into())
    );
    assert_eq!(drained(&tl, Work::queue("q")).await, 9);
}

#[tokio::test]
async fn what_fits_by_text_by_time_and_by_what_killed_it_is_what_lists_show() {
    let (_db, _tl, raw) = one().await;
    raw.run("select trunkline.job_push('q', p, max_attempts => 1) from unnest(array['text one', 'text two', 'bytes']) p").await;
    raw.run(
        "select trunkline.job_fail(claim, case payload when 'bytes' then 'quota' else 'no route to host ' || id || chr(10) || 'at x' end)
           from trunkline.job_take('q', 10)",
    )
    .await;
    for (args, fit) in [
        ("containing => 'text'", "2"),
        ("containing => 'one'", "1"),
        ("containing => '%'", "0"),
        ("since => now() - interval '1 hour'", "3"),
        ("since => now() + interval '1 hour'", "0"),
        ("until => now() + interval '1 hour'", "3"),
        ("until => now() - interval '1 hour'", "0"),
        ("cause => 'quota'", "1"),
        ("cause => 'no route'", "0"),
        ("cause => (select cause from trunkline.job_dead() where many = 2)", "2"),
    ] {
        for function in ["job_retry_all", "job_delete_all"] {
            let counted =
                raw.one(&format!("select trunkline.{function}('q', dry_run => true, {args})")).await;
            assert_eq!(counted, fit, "{function} {args}");
        }
    }
    let act = "select trunkline.action_do('ann', 'job_delete_all', jsonb_build_object('queue', 'q', 'state', 'dead', 'containing', 'one',
        'cause', 'no route to host #', 'since', now() - interval '1 hour', 'until', now() + interval '1 hour'))";
    assert_eq!(raw.one(act).await, "1");
    assert_eq!(raw.one("select trunkline.job_retry_all('q', cause => 'quota')").await, "1");
    assert_eq!(counts(&raw, "q").await, "dead 1 waiting 1");
    assert_eq!(raw.one("select trunkline.job_cancel_all('q', containing => 'bytes')").await, "1");
}

#[tokio::test]
async fn bulk_operations_refuse_what_they_cannot_do() {
    let (_db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    for (call, code) in [
        ("job_retry_all('none')", "42704"),
        ("job_retry_all(null)", "22004"),
        ("job_retry_all('q', 'done')", "22023"),
        ("job_retry_all('q', null)", "22004"),
        ("job_cancel_all('none')", "42704"),
        ("job_cancel_all('q', 'dead')", "22023"),
        ("job_cancel_all('q', null)", "22004"),
        ("job_delete_all('none')", "42704"),
        ("job_delete_all('q', 'waiting')", "22023"),
        ("job_delete_all('q', null)", "22004"),
        ("job_delete(null)", "22004"),
    ] {
        let refused = raw.client.query_one(&format!("select trunkline.{call}"), &[]).await.unwrap_err();
        let refused = trunkline::Error::from(refused);
        assert_eq!(refused.code(), Some(code), "{call}: {refused}");
        assert_ne!(refused.kind(), ErrorKind::Other, "{call}");
    }
}

#[tokio::test]
async fn many_jobs_with_keys_pushed_at_once_are_one_each_and_run_in_their_order() {
    let (_db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    let there = tl.jobs().push("q", NewJob::new("there").unique("u2").delay(secs(1000))).await.unwrap();
    let jobs: Vec<NewJob> = (0..200)
        .map(|n| {
            let job = NewJob::new(n.to_string()).key((n % 7).to_string());
            match n {
                0..20 => job.unique(format!("u{}", n % 10)), // two of each, and of u2 three
                _ => job,
            }
        })
        .collect();
    let ids = tl.jobs().push_all("q", jobs).await.unwrap();
    assert_eq!(ids.len(), 200);
    assert_eq!((ids[2], ids[12]), (there, there), "of what was there already its id");
    assert!((0..10).all(|n| ids[n] == ids[n + 10]), "the second of two is the first");
    let rises = |ids: &[i64]| ids.is_sorted_by(|a, b| a < b);
    assert!(rises(&ids[3..10]) && rises(&ids[20..]), "{ids:?}");
    let done = Arc::new(std::sync::Mutex::new(Vec::<(i64, usize)>::new()));
    let seen = done.clone();
    let mut working = tl.jobs().work(Work::queue("q").concurrency(16).drain(), move |job: Job| {
        seen.lock().unwrap().push((job.id, job.payload.text().unwrap().parse::<usize>().unwrap()));
        async { Ok::<_, Failure>(Outcome::Done) }
    });
    within(20_000, "all to be done", working.ended()).await.unwrap();
    let done = done.lock().unwrap().clone();
    assert_eq!(done.len(), 189, "ten of them had been there");
    for key in 0..7 {
        let of: Vec<usize> = done.iter().map(|d| d.1).filter(|n| n % 7 == key).collect();
        assert!(of.is_sorted(), "key {key}: {of:?}");
    }
    assert_eq!(counts(&raw, "q").await, "done 189 scheduled 1");
}

#[tokio::test]
async fn a_look_reads_no_more_the_more_is_scheduled() {
    let (_db, tl, raw) = one().await;
    tl.jobs().open("q").await.unwrap();
    raw.run("select trunkline.job_push_many('q', array_fill('later'::text, array[20000]), run_at => now() + interval '1 day')")
        .await;
    for due in 0..2 {
        raw.run("begin").await;
        assert_eq!(raw.rows("select id from trunkline.job_take('q', 10)").await.len(), due);
        let read = raw
            .one("select sum(idx_tup_fetch + seq_tup_read) from pg_stat_xact_user_tables where relname = 'job_held'")
            .await;
        raw.run("commit").await;
        assert!(read.parse::<f64>().unwrap() < 100.0, "{read} rows read");
        tl.jobs().push("q", NewJob::new("now").key("k")).await.unwrap();
    }
}
