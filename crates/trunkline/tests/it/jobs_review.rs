//! What a review of the coordination found, each as it was shown.

use crate::support::{Db, Raw};

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
