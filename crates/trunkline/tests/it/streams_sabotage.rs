//! The storm against streams that are broken on purpose, each in one function of its own database: its checker must tell.
//! They take long, so `.ci/soak` runs them: `cargo test -p trunkline --test it -- --ignored streams_sabotage::`.

use crate::{
    streams_storm::{seed, storm},
    support::{Db, say, secs},
};

/// Replaces texts in functions, and runs storms until one tells, four at most.
async fn told(changes: &[(&str, &str, &str)], more: &str) {
    for _ in 0..4 {
        let db = Db::new().await;
        let raw = db.raw().await;
        for (function, from, to) in changes {
            let sql = raw
                .one(&format!("select pg_get_functiondef(oid) from pg_proc where pronamespace = 'trunkline'::regnamespace and proname = '{function}'"))
                .await;
            assert!(sql.contains(from), "{function} is no longer as the sabotage expects: {sql}");
            raw.run(&sql.replace(from, to)).await;
        }
        raw.run(more).await;
        let (faults, drained, counts) = storm(db, secs(4), seed()).await;
        say(&format!("{faults:?}, {drained:?}; {counts}"));
        // What was not drained is not lost, unless it cannot be.
        let gone = drained.as_ref().is_err_and(|e| e.contains("TL007"));
        if gone || faults.doubled + faults.phantom + faults.disorder > 0 || drained.is_ok() && faults.any() {
            return;
        }
    }
    panic!("nothing was noticed");
}

macro_rules! sabotages {
    ($($name:ident: $changes:expr, $more:expr;)*) => {$(
        #[tokio::test]
        #[ignore = "a storm of its own"]
        async fn $name() {
            told(&$changes, $more).await;
        }
    )*};
}

const HASTY_FINISH: [(&str, &str, &str); 3] = [
    ("stream_finish", "if not found then", "if false then"),
    ("_stream_held", "if v_on then", "if false then"),
    ("_stream_held", "or v_on is not null then", "then"),
];

const SLOWLY: &str = "perform pg_sleep(case when random() < 0.2 then 0.5 else 0 end); v_new.token := uuid";
const SLOWLY_SHORT: &str =
    "perform pg_sleep(case when random() < 0.2 then 0.5 else 0 end); insert into trunkline.stream_take (";
const LATER: &str =
    "t.id = (select min(l.id) from trunkline.stream_tick l where l.stream = t.stream and l.id > first);";

sabotages! {
    a_number_and_a_snapshot_drawn_without_the_lock: [
        ("_stream_clock", "for update", ""),
        ("_stream_clock", "id := nextval", "perform pg_sleep(0.03 * random()); id := nextval"),
        ("_stream_queue", "begin", "begin return true;"),
        ("_stream_tick_short", "for update", ""),
        ("_stream_tick_short", "v_new := nextval", "perform pg_sleep(0.03 * random()); v_new := nextval"),
        ("_stream_tick_short", "not pg_try_advisory_xact_lock(1953656434, stream)", "false"),
    ], "";
    ticks_with_an_old_snapshot: [
        ("_stream_tick", "<> 'read committed'", "= 'never'"),
        ("_stream_short", "<> 'read committed'", "= 'never'"),
    ], "";
    a_tick_that_counts_its_own_transaction_in: [("_log_snapshot", "v_own is null", "true")], "";
    looking_in_the_segment_in_use_alone: [
        (
            "_stream_measure",
            "continue when",
            "continue when v_n <> (select s.segment & 3 from trunkline.stream s where s.id = _stream_measure.stream) or",
        ),
        (
            "_stream_measure_make",
            "if pg_relation_size('trunkline.stream_event_%1$s') > 0",
            "if exists (select from trunkline.stream s where s.segment = %1$s)",
        ),
    ], "";
    emptying_what_the_newest_tick_has_seen: [("_stream_needed", "coalesce(v_low, v_last)", "v_last")], "";
    finishing_without_the_token: HASTY_FINISH, "";
    a_window_that_begins_one_tick_late: [("_stream_span", "t.id = first;", LATER)], "";
    ids_from_a_cache: [], "alter sequence trunkline.stream_event_id cache 20";
    following_what_is_off_the_books: [
        ("_stream_take", "v_new.token := uuid", SLOWLY),
        ("_stream_take", "for key share;\n        if found then", "for key share;\n        if true then"),
        ("_stream_take", "perform from trunkline.stream_take t", "perform from trunkline.stream_take_end t"),
        ("_stream_short", "insert into trunkline.stream_take (", SLOWLY_SHORT),
        ("_stream_short", "for key share;\n    if found then", "for key share;\n    if true then"),
        ("_stream_short", "perform from trunkline.stream_take t", "perform from trunkline.stream_take_end t"),
    ], "";
    parts_that_overlap: [("_stream_next", "v_new.after := cursor.upto;", "v_new.after := cursor.upto - 1;")], "";
    marks_that_end_too_soon: [("_stream_mark", "max(ctid)", "min(ctid)")], "";
    a_share_that_forgets_who_came_before: [("_stream_next", "v_new.open := _stream_next.open", "v_new.open := '{}'")], "";
}
