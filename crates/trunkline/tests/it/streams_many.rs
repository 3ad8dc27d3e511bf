//! Many events by one call: `stream_append_many`, and what is beneath it.

use crate::{
    streams_sql::refused,
    support::{Db, Stream},
};

#[tokio::test]
async fn many_events_are_written_by_one_call_in_their_order() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    let many = "select trunkline.stream_append_many('s', array['a', 'b', 'c'], array['x', '', 'z'], array['k', null, 'm'])";
    assert_eq!(raw.one(many).await, "3");
    assert_eq!(raw.one("select trunkline.stream_append_many('s', '{}')").await, "0");
    let written = "select cardinality(trunkline._stream_append_many('s', '{2,1,0}', array['{\"b\": 1.0, \"a\":2}', 'é', null],
        array[null, null, '\\x00ff'::bytea], array['j', 't', 'b'], null, array['{\"h\": \"1\"}', null, null]))";
    assert_eq!(raw.one(written).await, "3");
    let batch = s.batch("c").await;
    let rows = format!(
        "select type, key, payload, case when payload is null then bytes end, headers from trunkline.stream_events('{batch}')"
    );
    assert_eq!(
        raw.rows(&rows).await,
        ["x|k|a||", "||b||", "z|m|c||", "j||{\"b\": 1.0, \"a\":2}||{\"h\": \"1\"}", "t||é||", "b|||\\x00ff|"]
    );
    let ids = raw.rows("select unnest(trunkline._stream_append_many('s', '{1,1,1}', '{a,b,c}', null))").await;
    assert!(ids.is_sorted() && ids.len() == 3, "{ids:?}");
}

#[tokio::test]
async fn many_events_wake_who_sleeps_there() {
    let db = Db::new().await;
    let (raw, mut sleeper) = (db.raw().await, db.raw().await);
    Stream::new(&raw, "s", &["c"]).await;
    let door = raw.one("select -1 - (id & 63) from trunkline.stream").await;
    sleeper
        .run(&format!("listen \"trunkline_{door}\"; select pg_advisory_lock_shared(1953656427, {door})"))
        .await;
    let events =
        "select trunkline.stream_append_many('s', array(select i::text from generate_series(1, 1000) i))";
    assert_eq!(raw.one(events).await, "1000");
    raw.run(&format!("notify \"trunkline_{door}\", 'end'")).await;
    for _ in 0..2 {
        crate::support::within(1_000, "a bell", sleeper.notes.recv()).await.unwrap();
    }
    assert!(sleeper.notes.try_recv().is_err(), "a thousand events, one bell");
    raw.run("select trunkline.stream_tick('s')").await;
    crate::support::within(1_000, "a bell for a tick", sleeper.notes.recv()).await.unwrap();
    for mode in ["external", "auto"] {
        raw.run(&format!("select trunkline.stream_set('s', 'tick_mode', '{mode}')")).await;
        let tick = if mode == "auto" { "stream_tick('s', true)" } else { "stream_tick_at('s', 100)" };
        raw.run(&format!("select trunkline.{tick}")).await;
        crate::support::within(1_000, tick, sleeper.notes.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_by_its_number() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.set("max_bytes", "10").await;
    refused(
        &raw,
        &[
            ("stream_append_many('t', '{a}')", "42704", "there is no stream \\\"t\\\""),
            ("stream_append_many(null, '{a}')", "22004", "stream name must not be null"),
            ("stream_append_many('s', null)", "22004", "payloads must not be null"),
            ("stream_append_many('s', array['a', null])", "22004", "event 2: event payload must not be null"),
            (
                "stream_append_many('s', array['a', 'b', 'elevenbytes'])",
                "TL004",
                "event 3: payload for stream \\\"s\\\" must be at most 10 bytes, got 11",
            ),
            (
                "stream_append_many('s', '{a,b}', array['', repeat('x', 101)])",
                "22023",
                "event 2: event type must be at most 100 bytes, got 101",
            ),
            (
                "stream_append_many('s', '{a,b}', array[null, ''])",
                "22004",
                "event 1: event type must not be null",
            ),
            (
                "stream_append_many('s', '{a,b}', null, array['', repeat('x', 1001)])",
                "22023",
                "event 2: event key must be at most 1000 bytes, got 1001",
            ),
            (
                "stream_append_many('s', '{a,b}', '{x}')",
                "22023",
                "types must have one element for each of 2 events, got 1",
            ),
            (
                "stream_append_many('s', '{a,b}', null, '{x,y,z}')",
                "22023",
                "keys must have one element for each of 2 events, got 3",
            ),
        ],
    )
    .await;
    s.set("closed", "true").await;
    refused(
        &raw,
        &[
            ("stream_append_many('s', '{a}')", "TL016", "is closed"),
            ("_stream_append_many('s', '{1}', '{a}', null)", "TL016", "is closed"),
        ],
    )
    .await;
    s.set("closed", "off").await;
    assert_eq!(raw.one("select trunkline.stream_append_many('s', '{a}')").await, "1");
    assert_eq!(s.drain("c").await, ["a"]);
}

#[tokio::test]
async fn what_an_engine_cannot_write_is_refused_by_its_number_too() {
    let db = Db::new().await;
    let raw = db.raw().await;
    Stream::new(&raw, "s", &["c"]).await;
    refused(
        &raw,
        &[
            ("_stream_append_many('s', null, '{a}', null)", "22004", "contents must not be null"),
            (
                "_stream_append_many('s', '{1,3}', '{a,b}', null)",
                "22023",
                "event 2: content must be 0, 1 or 2, got 3",
            ),
            (
                "_stream_append_many('s', array[1,null]::smallint[], '{a,b}', null)",
                "22023",
                "event 2: content must be 0, 1 or 2, got null",
            ),
            ("_stream_append_many('s', '{1,0}', '{a,b}', null)", "22004", "event 2: event payload"),
            (
                "_stream_append_many('s', '{2,2}', array['1', '{S3cret'], null)",
                "22P02",
                "event 2: payload is not JSON",
            ),
            (
                "_stream_append_many('s', '{2,2}', array['1', '\"\\u0000\"'], null)",
                "22P02",
                "event 2: payload is not JSON",
            ),
            (
                "_stream_append_many('s', '{1,1}', '{a,b}', null, null, null, array[null, '[]'])",
                "22023",
                "event 2: headers must be an object",
            ),
            (
                "_stream_append_many('s', '{1,1}', '{a,b}', null, null, null, array['{}', '{\"a\": 1}'])",
                "22023",
                "event 2: header values must be strings",
            ),
        ],
    )
    .await;
    let secret =
        raw.failure("select trunkline._stream_append_many('s', '{2}', array['{S3cret'], null)").await;
    let message = secret.split("message").nth(1).unwrap().split("where_").next().unwrap();
    assert!(!message.contains("S3cret"), "{secret}");
}
