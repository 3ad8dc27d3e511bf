//! Streams, interleaving by interleaving: old snapshots that meet what others did meanwhile, and long transactions that
//! must not hold up anybody else. Each test is one that lost, doubled or stalled before the core was as it is.

use crate::support::{Db, Raw, within};

/// A stream `s` with a consumer `c`, and a session beside it.
async fn stream(db: &Db) -> Raw {
    let raw = db.raw().await;
    raw.run("select trunkline.stream_open('s')").await;
    raw.run("select trunkline.stream_register('s', 'c')").await;
    raw
}

const NEXT: &str = "select batch from trunkline.stream_next_batch('s', 'c', 'share')";

/// Takes and finishes so many batches of one event each; the turns before the last are then no longer on the books.
async fn pass(raw: &Raw, batches: usize) {
    for n in 0..batches {
        raw.run(&format!("select trunkline.stream_append('s', 'passed {n}')")).await;
        let batch = raw.one(NEXT).await;
        raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
    }
    raw.run("select trunkline._stream_tidy(1)").await;
    assert_eq!(raw.one("select count(*) from trunkline.stream_take").await, "1");
}

async fn payloads(raw: &Raw, batch: &str) -> String {
    raw.rows(&format!("select payload from trunkline.stream_events('{batch}')")).await.join(",")
}

#[tokio::test]
async fn a_taker_with_an_old_snapshot_does_not_take_a_turn_that_is_off_the_books() {
    for level in ["repeatable read", "serializable"] {
        let db = Db::new().await;
        let (raw, old) = (stream(&db).await, db.raw().await);
        raw.run("select trunkline.stream_append('s', 'a')").await;
        raw.run("select trunkline.stream_tick('s')").await;
        old.run(&format!("begin isolation level {level}")).await;
        assert_eq!(old.one("select count(*) from trunkline.stream_take").await, "1");
        pass(&raw, 3).await;
        assert_eq!(old.code(NEXT).await, "40001", "{level}");
    }
}

#[tokio::test]
async fn a_taker_that_waited_does_not_take_a_turn_that_is_off_the_books() {
    let db = Db::new().await;
    let (raw, slow) = (stream(&db).await, db.raw().await);
    raw.run("begin").await;
    raw.run("lock table trunkline.stream_event_4 in access exclusive mode").await;
    let pid = slow.pid;
    let waiting = tokio::spawn(async move { slow.rows(NEXT).await });
    db.raw().await.blocked(pid).await;
    // An own event comes with the next transaction only, so the turns here are of retries.
    for id in 1..4 {
        raw.run(&format!("insert into trunkline.stream_again (consumer, id, tries, due_at, at, type, content, payload) values (1, {id}, 2, now(), now(), '', 1, 'x')")).await;
        let batch = raw.one(NEXT).await;
        raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
    }
    raw.run("select trunkline._stream_tidy(1)").await;
    raw.run("select trunkline.stream_append('s', 'after')").await;
    raw.run("commit").await;
    let batch = waiting.await.unwrap();
    let turns = raw.one("select string_agg(turn::text, ',' order by turn) from trunkline.stream_take").await;
    assert!(batch.is_empty() && turns == "3" || turns == "3,4", "{batch:?}: {turns}");
}

#[tokio::test]
async fn a_holder_with_an_old_snapshot_does_not_finish_what_another_finished_and_the_books_forgot() {
    let db = Db::new().await;
    let (raw, other) = (stream(&db).await, db.raw().await);
    raw.run("select trunkline.stream_append('s', 'a')").await;
    let batch = raw.one(NEXT).await;
    raw.run("begin isolation level repeatable read").await;
    assert_eq!(payloads(&raw, &batch).await, "a");
    let over = other.one("select batch from trunkline.stream_next_batch('s', 'c', 'take')").await;
    other.run(&format!("select trunkline.stream_finish('{over}')")).await;
    pass(&other, 2).await;
    assert_eq!(raw.code(&format!("select trunkline.stream_finish('{batch}')")).await, "40001");
}

#[tokio::test]
async fn finishing_again_in_another_transaction_is_refused_so_that_its_writes_roll_back() {
    let db = Db::new().await;
    let raw = stream(&db).await;
    raw.run("select trunkline.stream_append('s', 'a')").await;
    let batch = raw.one(NEXT).await;
    raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
    assert_eq!(raw.code(&format!("select trunkline.stream_finish('{batch}')")).await, "TL017");
}

#[tokio::test]
async fn who_ticked_in_a_long_transaction_holds_up_nobody() {
    let db = Db::new().await;
    let (raw, long, late) = (stream(&db).await, db.raw().await, db.raw().await);
    raw.run("select trunkline.stream_register('s', 'other')").await;
    raw.run("select trunkline.stream_append('s', 'a')").await;
    long.run("begin").await;
    let first = long.one(NEXT).await;
    raw.run("select trunkline.stream_append('s', 'b')").await;
    let next = "select batch from trunkline.stream_next_batch('s', 'other')";
    let second = within(2000, "a batch while another ticks", raw.one(next)).await;
    assert_eq!(payloads(&raw, &second).await, "a,b");
    within(2000, "the maintenance", raw.run("select trunkline.stream_maintain()")).await;
    within(2000, "a tick", raw.run("select trunkline.stream_tick('s', true)")).await;
    assert_eq!(payloads(&long, &first).await, "a");
    long.run(&format!("select trunkline.stream_finish('{first}')")).await;
    long.run("commit").await;
    let rest = late.one(NEXT).await;
    assert_eq!(payloads(&late, &rest).await, "b");
}

#[tokio::test]
async fn who_ticked_in_a_long_transaction_does_not_keep_the_ring_from_turning() {
    let db = Db::new().await;
    let (raw, long) = (stream(&db).await, db.raw().await);
    raw.run("update trunkline.stream set turn_bytes = 1, free_after = '0'").await;
    raw.run("select trunkline.stream_append('s', 'a')").await;
    let batch = raw.one(NEXT).await;
    raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
    assert_eq!(raw.one("select trunkline._stream_turn(1)").await, "turned");
    raw.run("select trunkline.stream_append('s', 'b')").await;
    long.run("begin").await;
    let batch = long.one(NEXT).await;
    assert_eq!(payloads(&long, &batch).await, "b");
    raw.run("update trunkline.stream set turn_bytes = 1000000").await;
    assert_eq!(raw.one("select trunkline._stream_turn(1)").await, "emptied");
}

#[tokio::test]
async fn an_old_snapshot_does_not_take_a_renewed_session_for_dead() {
    let db = Db::new().await;
    let (raw, old) = (stream(&db).await, db.raw().await);
    raw.run("select trunkline.stream_append('s', 'a')").await;
    raw.one(NEXT).await;
    raw.run("update trunkline.session set expires_at = clock_timestamp() + '200 ms'").await;
    old.run("begin isolation level repeatable read").await;
    assert_eq!(old.one("select count(*) from trunkline.session").await, "1");
    let expiry = raw.one("select expires_at from trunkline.session").await;
    raw.run("update trunkline.session set expires_at = clock_timestamp() + '1 hour'").await;
    raw.until("the first expiry", &format!("select clock_timestamp() > '{expiry}'")).await;
    assert_eq!(old.code("select * from trunkline.stream_next_batch('s', 'c')").await, "TL015");
}

#[tokio::test]
async fn who_is_put_elsewhere_loses_its_batch_also_when_it_is_being_taken_over() {
    let db = Db::new().await;
    let (raw, over, mover) = (stream(&db).await, db.raw().await, db.raw().await);
    raw.run("select trunkline.stream_append('s', 'a')").await;
    raw.one(NEXT).await;
    over.run("begin").await;
    let batch = over.one("select batch from trunkline.stream_next_batch('s', 'c', 'take')").await;
    let pid = mover.pid;
    let moving = tokio::spawn(async move { mover.code("select trunkline._stream_place(1, 1)").await });
    raw.blocked(pid).await;
    over.run("commit").await;
    assert_eq!(moving.await.unwrap(), "00000");
    assert_eq!(over.code(&format!("select trunkline.stream_finish('{batch}')")).await, "TL001");
    let again = raw.one(NEXT).await;
    assert_eq!(payloads(&raw, &again).await, "a");
}

#[tokio::test]
async fn a_limit_counts_what_a_filter_lets_through() {
    let db = Db::new().await;
    let raw = stream(&db).await;
    for (payload, kind) in [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")] {
        raw.run(&format!("select trunkline.stream_append('s', '{payload}', '{kind}')")).await;
    }
    let batch = raw.one(NEXT).await;
    let some = format!("select payload from trunkline.stream_events('{batch}', types => '{{y}}', max => 1)");
    assert_eq!(raw.rows(&some).await, ["c"]);
}

#[tokio::test]
async fn what_comes_again_counts_for_the_limits_of_a_batch() {
    let db = Db::new().await;
    let raw = stream(&db).await;
    raw.run("update trunkline.stream_consumer set max_events = 4").await;
    for _ in 0..2 {
        raw.run("select trunkline.stream_append('s', 'x') from generate_series(1, 4)").await;
    }
    let mut seen = Vec::new();
    for round in 0..20 {
        let Some(batch) = raw.rows(NEXT).await.pop() else { break };
        let events = raw.rows(&format!("select id, attempt from trunkline.stream_events('{batch}')")).await;
        assert!((1..=4).contains(&events.len()), "{round}: {events:?}");
        raw.run(&format!("select trunkline.stream_retry('{batch}', array(select id from trunkline.stream_events('{batch}') where attempt = 1), '0')")).await;
        raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
        seen.extend(events);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 16, "each once, and once more: {seen:?}");
}

#[tokio::test]
async fn no_batch_is_too_strange_a_text() {
    let db = Db::new().await;
    let raw = stream(&db).await;
    for (text, code) in
        [("1:1:1:9999999999999999999", "TL001"), ("1:1:1:-0", "TL001"), ("", "22023"), ("1:1", "22023")]
    {
        assert_eq!(raw.code(&format!("select trunkline.stream_finish('{text}')")).await, code, "{text}");
    }
}

/// Whether a segment is needed, as if its ticks told.
const BOOKS: &str = "v_need := exists (select from trunkline.stream_tick t
    where t.stream = _stream_empty.stream.id and t.id > low and t.segments & (1 << n) <> 0);
    if v_need or v_since is null then";

/// A segment is being emptied, and between the look and the lock somebody with an old snapshot writes there: what arrives.
async fn written_before_the_lock(changes: &[(&str, &str)]) -> Vec<String> {
    let db = Db::new().await;
    let (raw, writer, turner) = (stream(&db).await, db.raw().await, db.raw().await);
    raw.run("update trunkline.stream set turn_bytes = 1, free_after = '0'").await;
    let mut sql = raw.one("select pg_get_functiondef('trunkline._stream_empty'::regproc)").await;
    for (from, to) in changes {
        assert!(sql.contains(from), "{sql}");
        sql = sql.replace(from, to);
    }
    raw.run(&sql).await;
    writer.run("begin isolation level repeatable read").await;
    writer.rows("select * from trunkline.stream").await;
    raw.run("select trunkline.stream_append('s', 'a')").await;
    let batch = raw.one(NEXT).await;
    raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
    assert_eq!(raw.one("select trunkline._stream_turn(1)").await, "turned");
    raw.run("update trunkline.stream set turn_bytes = 1000000").await;
    raw.run("select pg_advisory_lock(4711)").await;
    let pid = turner.pid;
    let turning = tokio::spawn(async move { turner.rows("select trunkline._stream_turn(1)").await });
    raw.blocked(pid).await;
    writer.run("select trunkline.stream_append('s', 'late')").await;
    writer.run("commit").await;
    raw.run("select pg_advisory_unlock(4711)").await;
    turning.await.unwrap();
    match raw.rows(NEXT).await.pop() {
        Some(batch) => vec![payloads(&raw, &batch).await],
        None => Vec::new(),
    }
}

#[tokio::test]
async fn a_segment_is_looked_at_again_under_its_lock() {
    let step = (
        "if v_try = 2 then",
        "if v_try = 2 then set local lock_timeout = 0; perform pg_advisory_xact_lock(4711);",
    );
    assert_eq!(written_before_the_lock(&[step]).await, ["late"]);
    let hasty = ("if v_need or v_since is null then", "if v_try = 1 and (v_need or v_since is null) then");
    assert!(written_before_the_lock(&[step, hasty]).await.is_empty(), "it would be lost without");
    let books = ("if v_need or v_since is null then", BOOKS);
    assert!(
        written_before_the_lock(&[step, books]).await.is_empty(),
        "ticks do not tell what is in a segment"
    );
}

#[tokio::test]
async fn a_giant_window_comes_in_parts_wherever_its_events_are() {
    let db = Db::new().await;
    let raw = stream(&db).await;
    raw.run(
        "insert into trunkline.stream_event (segment, payload) select 4, 'x' from generate_series(1, 500)",
    )
    .await;
    raw.run("begin").await;
    raw.run("insert into trunkline.stream_event (segment, payload) select 4 + i / 700 % 3, 'y' from generate_series(1, 25000) i").await;
    raw.run(
        "insert into trunkline.stream_event (segment, payload) select 4, 'z' from generate_series(1, 500)",
    )
    .await;
    db.raw().await.run("insert into trunkline.stream_event (segment, payload) select 5, 'w' from generate_series(1, 500)").await;
    raw.run("commit").await;
    raw.run("update trunkline.stream_consumer set max_events = 999").await;
    let mut last = 0;
    let mut sum = 0;
    for part in 0.. {
        let Some(batch) = raw.rows(NEXT).await.pop() else { break };
        if part == 20 {
            assert_ne!(raw.one("select count(*) from trunkline.stream_mark").await, "0");
            raw.run("vacuum full trunkline.stream_event_5").await;
        }
        let row = raw
            .one(&format!("select count(*), min(id), max(id) from trunkline.stream_events('{batch}')"))
            .await;
        let numbers: Vec<u64> = row.split('|').map(|n| n.parse().unwrap()).collect();
        assert!(numbers[0] <= 999 && numbers[1] > last, "{part}: {row} after {last}");
        (last, sum) = (numbers[2], sum + numbers[0]);
        raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
    }
    assert_eq!((last, sum), (26500, 26500));
}
