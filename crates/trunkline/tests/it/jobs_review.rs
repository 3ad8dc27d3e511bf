//! What a review of the coordination found, each as it was shown.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::task::JoinSet;
use trunkline::{
    jobs::{Job, Work},
    requests::Failure,
};

use crate::support::{Db, Raw, until};

async fn queue() -> (Db, Raw) {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.job_open('q'), trunkline.job_set('q', 'retry_after', '0')").await;
    (db, raw)
}

/// Turns the ring at once, and moves what keeps the segment.
async fn carry(raw: &Raw) {
    for _ in 0..3 {
        raw.run("select trunkline._job_turn_d(1, '0')").await;
    }
}

/// Takes what there is into a table, and says which.
async fn take(raw: &Raw) -> Vec<String> {
    raw.run("drop table if exists took; create temp table took as select * from trunkline.job_take('q', 9)")
        .await;
    raw.rows("select payload from took order by id").await
}

#[tokio::test]
async fn who_took_a_job_by_sql_ends_it_also_after_it_was_carried() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c'])").await;
    assert_eq!(take(&raw).await.len(), 3);
    carry(&raw).await;
    assert_eq!(raw.one("select string_agg(state::text, ',') from trunkline.job_held").await, "1,1,1");
    raw.run("select trunkline.job_complete(claim) from took where payload = 'a'").await;
    raw.run("select trunkline.job_fail(claim, 'x', '1 h') from took where payload = 'b'").await;
    raw.run("select trunkline.job_snooze(claim, '1 h') from took where payload = 'c'").await;
    let states = "select string_agg(job_state || attempt, ',' order by id) from trunkline.job_list()";
    assert_eq!(raw.one(states).await, "done1,retrying1,scheduled0");
    assert_eq!(raw.code("select trunkline.job_complete(claim) from took where payload = 'a'").await, "TL001");
}

#[tokio::test]
async fn jobs_that_were_pushed_before_there_was_a_limit_are_done() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c'])").await;
    raw.run("select trunkline.job_set('q', 'max_running', '2')").await;
    assert_eq!(take(&raw).await, ["a", "b"]);
    raw.run("select trunkline.job_complete(claim) from took").await;
    assert_eq!(take(&raw).await, ["c"]);
}

#[tokio::test]
async fn a_cancel_survives_that_its_job_is_carried_and_fails() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', 'a')").await;
    take(&raw).await;
    assert_eq!(raw.one("select trunkline.job_cancel(id) from took").await, "told");
    carry(&raw).await;
    raw.run("select trunkline._job_tidy()").await;
    raw.run("select trunkline.job_fail(claim, 'stopped') from took").await;
    assert_eq!(raw.one("select job_state from trunkline.job_list()").await, "cancelled");
}

#[tokio::test]
async fn a_cancel_that_commits_while_its_job_fails_is_not_lost() {
    let (db, raw) = queue().await;
    let other = db.raw().await;
    raw.run("select trunkline.job_push('q', 'a')").await;
    take(&raw).await;
    let id = raw.one("select id from took").await;
    other.run(&format!("begin; select trunkline.job_cancel({id})")).await;
    raw.run("select trunkline.job_fail(claim, 'x', '1 h') from took").await;
    other.run("commit").await;
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(raw.one("select job_state from trunkline.job_list()").await, "cancelled");
}

#[tokio::test]
async fn an_older_job_does_not_wait_for_a_younger_ones_retries() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', 'a', key => 'k', max_attempts => 1), trunkline.job_push('q', 'b', key => 'k')").await;
    assert_eq!(take(&raw).await, ["a"]);
    raw.run("select trunkline.job_fail(claim, 'x') from took").await;
    assert_eq!(take(&raw).await, ["b"]);
    raw.run("select trunkline.job_retry(id) from trunkline.job_list(state => 'dead')").await;
    assert!(raw.rows("select id from trunkline.job_take('q', 9)").await.is_empty(), "b runs");
    raw.run("select trunkline.job_fail(claim, 'x', '1 h') from took").await;
    assert_eq!(take(&raw).await, ["a"]);
}

#[tokio::test]
async fn what_waits_behind_a_key_keeps_nobody_else_from_being_taken() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', n::text, key => 'k') from generate_series(1, 50) n").await;
    raw.run("select trunkline.job_push('q', 'other', key => 'o')").await;
    assert_eq!(raw.rows("select payload from trunkline.job_take('q', 1)").await, ["1"]);
    assert_eq!(raw.rows("select payload from trunkline.job_take('q', 1)").await, ["other"]);
}

#[tokio::test]
async fn who_gives_back_waits_for_a_take_of_held_jobs_that_is_under_way() {
    let (db, old) = queue().await;
    let (new, third) = (db.raw().await, db.raw().await);
    old.run("select trunkline.job_push('q', 'a', key => 'k'), trunkline._session_own()").await;
    let session = old.one("select current_setting('trunkline.session')").await;
    let queue = old.one("select trunkline._job_target('q', 5)").await;
    assert!(queue.starts_with("(2,"), "{queue}");
    let taken = format!("select * from trunkline._job_take({session}, array[1], 9, true, false, 77)");
    old.run(&format!("begin; {taken}")).await;
    third
        .run(&format!("update trunkline.session set pid = {}, watched = false where id = {session}", new.pid))
        .await;
    let waits = async { new.run(&format!("select trunkline._job_return({session}, 77)")).await };
    let commits = async {
        third.blocked(new.pid).await;
        old.run("commit").await;
    };
    tokio::join!(waits, commits);
    assert_eq!(third.one("select concat_ws(' ', state, attempt) from trunkline.job_held").await, "0 0");
}

#[tokio::test]
async fn a_part_of_a_slice_that_was_closed_is_refused_and_parts_leave_no_gap() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c'])").await;
    take(&raw).await;
    let part = |number: i32, bits: &str, token: &str| {
        format!(
            "select cardinality(trunkline._job_done_d0(array[c.number], array[c.token {token}], array[{number}], array['{bits}'::bytea], false))
               from took t, trunkline._job_claim(t.claim) c where t.payload = 'a'"
        )
    };
    assert_eq!(raw.one(&part(1, "\\x01", "+ 1")).await, "0", "another's token");
    assert_eq!(raw.one(&part(2, "\\x01", "")).await, "0", "the first is missing");
    assert_eq!(raw.one(&part(1, "\\x01", "")).await, "1");
    raw.run("select trunkline._job_abandon_d0(trunkline._session_own(), 0, 100)").await;
    for number in 1..4 {
        assert_eq!(raw.one(&part(number, "\\x02", "")).await, "0", "part {number}");
    }
    assert_eq!(raw.code("select trunkline.job_complete(claim) from took where payload = 'b'").await, "TL001");
    let states = "select string_agg(job_state || attempt, ',' order by id) from trunkline.job_list()";
    assert_eq!(raw.one(states).await, "done1,retrying1,retrying1");
}

#[tokio::test]
async fn a_stale_hand_ends_no_held_job() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', 'a', key => 'k')").await;
    take(&raw).await;
    let stale = raw.one("select claim from took").await;
    raw.run("select trunkline._job_abandon_held(trunkline._session_own())").await;
    assert_eq!(take(&raw).await, ["a"]);
    for end in ["job_complete('#')", "job_fail('#', 'late')", "job_snooze('#', '1 h')"] {
        assert_eq!(
            raw.code(&format!("select trunkline.{}", end.replace('#', &stale))).await,
            "TL001",
            "{end}"
        );
    }
    assert_eq!(
        raw.one("select concat_ws(' ', job_state, attempt) from trunkline.job_list()").await,
        "running 2"
    );
    raw.run("select trunkline.job_complete(claim) from took").await;
    assert_eq!(raw.one("select job_state from trunkline.job_list()").await, "done");
}

#[tokio::test]
async fn a_limit_counts_what_another_is_taking_just_now() {
    let (db, raw) = queue().await;
    let other = db.raw().await;
    raw.run("select trunkline.job_set('q', 'max_running', '2')").await;
    raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c', 'd'])").await;
    other.run("begin").await;
    assert_eq!(other.rows("select payload from trunkline.job_take('q', 9)").await, ["a", "b"]);
    assert!(
        raw.rows("select payload from trunkline.job_take('q', 9)").await.is_empty(),
        "it is not committed yet"
    );
    other.run("commit").await;
    assert!(raw.rows("select payload from trunkline.job_take('q', 9)").await.is_empty());
}

#[tokio::test]
async fn who_ends_a_job_and_who_cancels_it_never_wait_in_a_circle() {
    let (db, raw) = queue().await;
    let (other, third) = (db.raw().await, db.raw().await);
    raw.run("select trunkline.job_push('q', 'a', key => 'k'), trunkline.job_push('q', 'b', key => 'k')")
        .await;
    assert_eq!(take(&raw).await, ["a"]);
    other.run("begin; select trunkline.job_cancel(id) from trunkline.job_held where payload = 'b'").await;
    let ends = raw.run("select trunkline.job_complete(claim) from took");
    let cancels = async {
        third.blocked(raw.pid).await;
        let told = "select trunkline.job_cancel(id) from trunkline.job_held where payload = 'a'";
        assert_eq!(other.one(told).await, "told");
        other.run("commit").await;
    };
    tokio::join!(ends, cancels);
    let states = "select string_agg(job_state, ' ' order by id) from trunkline.job_list()";
    assert_eq!(raw.one(states).await, "done cancelled");
}

#[tokio::test]
async fn ends_of_jobs_of_many_keys_never_wait_in_a_circle() {
    let (db, raw) = queue().await;
    let (other, third, fourth) = (db.raw().await, db.raw().await, db.raw().await);
    raw.run("select trunkline.job_set('q', 'key_max_running', '2')").await;
    raw.run("select trunkline.job_push('q', k, key => k) from unnest('{x,y,y,x}'::text[]) k").await;
    for session in [&raw, &other] {
        session.run("create temp table took as select * from trunkline.job_take('q', 2)").await;
    }
    let locks = "select pg_advisory_xact_lock(1953656434, hashtext(concat(lane >> 4, ' ', key))) from trunkline.job_held";
    third.run(&format!("begin; {locks}")).await;
    let end = "select trunkline._job_end(array_agg(c.source), array_agg(c.number), array_agg(c.token), array_agg(c.slot),
                   array_agg(4), array_agg(0::bigint), array_agg(true), array_agg(null::text), array_agg(null::int),
                   array_agg(null::bytea)) from took t, trunkline._job_claim(t.claim) c";
    let frees = async {
        fourth.blocked(raw.pid).await;
        fourth.blocked(other.pid).await;
        third.run("commit").await;
    };
    tokio::join!(raw.run(end), other.run(end), frees);
    assert_eq!(raw.one("select count(*) from trunkline.job_held where state = 4").await, "4");
}

#[tokio::test]
async fn a_job_that_is_being_replaced_keeps_nobody_waiting_and_its_turn_comes() {
    let (db, raw) = queue().await;
    let other = db.raw().await;
    let push = |payload: &str| {
        format!(
            "select trunkline.job_push('q', '{payload}', key => 'k', unique_key => 'u', options => '{{\"on_conflict\": \"replace\"}}')"
        )
    };
    raw.run("select trunkline.job_push('q', 'a', key => 'k')").await;
    raw.run(&push("b")).await;
    assert_eq!(take(&raw).await, ["a"]);
    other.run(&format!("begin; {}", push("c"))).await;
    raw.run("select trunkline.job_complete(claim) from took").await;
    assert!(take(&raw).await.is_empty());
    other.run("commit").await;
    assert_eq!(take(&raw).await, ["c"]);
    raw.run(&push("d")).await;
    assert!(take_one(&raw).await.is_empty(), "c runs");
    other.run(&format!("begin; {}", push("e"))).await;
    raw.run("select trunkline.job_complete(claim) from took").await;
    other.run("rollback").await;
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(take(&raw).await, ["d"]);
}

/// Takes one, and forgets it.
async fn take_one(raw: &Raw) -> Vec<String> {
    raw.rows("select payload from trunkline.job_take('q', 1)").await
}

#[tokio::test]
async fn a_key_that_an_open_transaction_has_keeps_no_other_from_being_taken() {
    let (db, raw) = queue().await;
    let other = db.raw().await;
    raw.run("select trunkline.job_push('q', 'a', key => 'k')").await;
    take(&raw).await;
    raw.run("begin; select trunkline.job_complete(claim) from took").await;
    other.run("select trunkline.job_push('q', n::text, key => 'k') from generate_series(1, 40) n").await;
    other.run("select trunkline.job_push('q', 'other', key => 'o')").await;
    assert_eq!(take_one(&other).await, ["other"]);
    raw.run("commit").await;
    assert_eq!(take_one(&other).await, ["1"]);
}

#[tokio::test]
async fn what_comes_before_does_not_lose_its_place_to_what_waits_behind_it() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', 'a', key => 'k', priority => 9), trunkline.job_push('q', 'o', key => 'o', priority => 9),
        trunkline.job_push('q', 'b', key => 'k', priority => 1)").await;
    assert_eq!(take_one(&raw).await, ["a"]);
}

#[tokio::test]
async fn who_tidies_waits_for_nobody() {
    let (db, raw) = queue().await;
    let other = db.raw().await;
    let push = |time: &str| {
        format!(
            "select trunkline.job_push('q', 'x', unique_key => 'u', options => '{{\"unique_for\": \"{time}\"}}')"
        )
    };
    raw.run(&push("1 ms")).await;
    take(&raw).await;
    raw.run("select trunkline.job_complete(claim), pg_sleep(0.01) from took").await;
    raw.run("select trunkline.job_push('q', 'next', key => 'k'); update trunkline.job_held set state = 5 where state = 0").await;
    let key = "pg_advisory_xact_lock(1953656434, hashtext(concat(lane >> 4, ' ', key)))";
    other.run(&format!("begin; {}; select {key} from trunkline.job_held where state = 5", push("1 h"))).await;
    raw.run("set lock_timeout = '200ms'; select trunkline._job_tidy()").await;
    other.run("commit").await;
    assert_eq!(raw.one("select count(*) from trunkline.job_unique").await, "1", "it holds anew");
    raw.run("select trunkline._job_tidy()").await;
    assert_eq!(take(&raw).await, ["next", "x"]);
}

#[tokio::test]
async fn a_long_line_of_a_key_keeps_neither_others_nor_its_own_next() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', n::text, key => 'k') from generate_series(1, 3000) n").await;
    raw.run("select trunkline.job_push('q', 'other', key => 'o')").await;
    raw.run("create temp table took as select * from trunkline.job_take('q', 1)").await;
    assert_eq!(take_one(&raw).await, ["other"]);
    raw.run("select trunkline.job_complete(claim) from took").await;
    assert_eq!(take_one(&raw).await, ["2"]);
}

#[tokio::test]
async fn the_next_of_a_long_line_is_found_without_reading_the_line() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', 'x', key => 'k') from generate_series(1, 5000)").await;
    take(&raw).await;
    while raw.one("select count(*) from trunkline.job_held where state = 0").await != "0" {
        take_one(&raw).await;
    }
    let pages = |plan: &str| -> u32 {
        let hits = plan.split("\"Shared Hit Blocks\": ").nth(1).and_then(|h| h.split(',').next());
        hits.unwrap().parse().unwrap()
    };
    raw.run("create table claims as select claim from took").await;
    for act in ["_job_tidy()", "job_complete(claim) from claims", "job_take('q', 1)"] {
        let act = format!("select trunkline.{act}");
        let plan = raw.rows(&format!("explain (analyze, buffers, format json) {act}")).await.concat();
        assert!(pages(&plan) < 1000, "{act}: {} pages", pages(&plan));
    }
}

#[tokio::test]
async fn a_cancelled_job_hides_none_behind_it_from_who_takes_one() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c', 'd'])").await;
    raw.run("select trunkline.job_cancel(id) from trunkline.job_list() where id < (select max(id) from trunkline.job)")
        .await;
    assert_eq!(raw.rows("select payload from trunkline.job_take('q', 1)").await, ["d"]);
    assert!(raw.rows("select payload from trunkline.job_take('q', 1)").await.is_empty());
}

#[tokio::test]
async fn what_a_higher_limit_of_keys_lets_begin_is_taken_at_once() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', n::text, key => 'k') from generate_series(1, 3) n").await;
    assert_eq!(take(&raw).await, ["1"]);
    assert!(take(&raw).await.is_empty());
    raw.run("select trunkline.job_set('q', 'key_max_running', '2')").await;
    assert_eq!(take(&raw).await, ["2"]);
}

#[tokio::test]
async fn what_is_put_off_while_it_waits_behind_its_key_waits_for_its_time() {
    let (_db, raw) = queue().await;
    raw.run("select trunkline.job_push('q', 'a', key => 'k'), trunkline.job_push('q', 'b', key => 'k', unique_key => 'u')")
        .await;
    assert_eq!(take(&raw).await, ["a"]);
    assert!(take(&raw).await.is_empty());
    raw.run(
        "select trunkline.job_push('q', 'c', unique_key => 'u', run_at => clock_timestamp() + interval '1 h',
                options => '{\"on_conflict\": \"debounce\"}')",
    )
    .await;
    assert_eq!(raw.one("select state from trunkline.job where payload = 'c'").await, "scheduled");
    assert_eq!(raw.one("select trunkline.job_forward('1 h', 'q')").await, "1");
}

#[tokio::test]
async fn bells_that_ring_all_the_time_keep_no_worker_from_what_is_there() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("worker").await, db.raw().await);
    raw.run("select trunkline.job_open('q'), trunkline.job_push('q', 'first')").await;
    let done = Arc::new(AtomicU64::new(0));
    let count = done.clone();
    let working = tl.jobs().work(Work::queue("q").concurrency(4), move |_: Job| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Failure>(()) }
    });
    until("the worker to sleep", async || done.load(Ordering::Relaxed) == 1).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut ringing = JoinSet::new();
    for _ in 0..4 {
        let (session, over) = (db.raw().await, over.clone());
        ringing.spawn(async move {
            let ring = "select pg_notify('trunkline_' || (-65 - (id & 63)), '') from trunkline.job_queue where name = 'q'";
            while !over.load(Ordering::Relaxed) {
                session.run(ring).await;
            }
        });
    }
    // As many at once as there are slots: the window ends behind them, and is read to its end by nobody but the next look.
    for n in 1..=200_u64 {
        raw.run("select trunkline.job_push_many('q', array['a', 'b', 'c', 'd'])").await;
        until("the four to be done", async || done.load(Ordering::Relaxed) == 1 + 4 * n).await;
    }
    over.store(true, Ordering::Relaxed);
    ringing.join_all().await;
    working.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_worker_of_many_had_in_hand_comes_again_before_all_that_it_had_done_is_looked_at() {
    let (db, raw) = queue().await;
    raw.run("select trunkline.job_push_many('q', array_fill('done'::text, array[6000])), trunkline.job_push_many('q', array_fill('open'::text, array[3]))")
        .await;
    let worker = db.raw().await;
    worker.run("set statement_timeout = 0; select 1").await;
    worker
        .run("do $$ begin for n in 1..6000 loop perform trunkline.job_complete(t.claim) from trunkline.job_take('q') t; end loop; end $$")
        .await;
    let claim = worker.one("select claim from trunkline.job_take('q')").await;
    raw.run(&format!("select pg_terminate_backend({}, 10000)", worker.pid)).await;
    let calls = |raw: &str| format!("select more from trunkline._session_reap() {raw}");
    assert_eq!(raw.one(&calls("")).await, "t");
    let first = "select attempt || payload from trunkline.job_take('q')";
    assert_eq!(raw.one(first).await, "2open", "by the first call: {claim}");
    // All that it had done is looked at within a few calls, and nothing of it comes again.
    let mut left = 0;
    while raw.one(&calls("")).await == "t" {
        left += 1;
        assert!(left < 4, "6000 slices that were done");
    }
    assert_eq!(raw.one("select count(*) from trunkline.job_held").await, "1");
}

#[tokio::test]
async fn the_least_urgent_job_begins_while_urgent_ones_wait() {
    let (db, raw) = queue().await;
    let tl = db.client("worker").await;
    let (tx, mut begun) = tokio::sync::mpsc::unbounded_channel();
    raw.run("select trunkline.job_push_many('q', array_fill('urgent'::text, array[6000]), priority => 1)")
        .await;
    let working = tl.jobs().work(Work::queue("q").concurrency(1), move |job: Job| {
        let _ = tx.send(job.priority == 1);
        async { Ok(()) }
    });
    for round in 0..4 {
        raw.run("select trunkline.job_push('q', 'patient', priority => 9)").await;
        let mut before = 0;
        while crate::support::within(60_000, "a job", begun.recv()).await.unwrap() {
            before += 1;
            assert!(before < 1000, "{round}: urgent ones keep it from beginning");
        }
    }
    working.stop().await.unwrap();
}
