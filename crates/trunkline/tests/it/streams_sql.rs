//! Streams in plain SQL, beside their core: many events at once, settings, moving a consumer, dead letters, what is
//! shown of streams and consumers, ticks from outside.

use crate::support::{Db, Raw, Stream};

/// Each call fails with this code and says this, and changes nothing.
async fn refused(raw: &Raw, calls: &[(&str, &str, &str)]) {
    let state = "select md5(string_agg(t, '' order by t)) from (
        select s::text t from trunkline.stream s union all select c::text from trunkline.stream_consumer c
        union all select e::text from trunkline.stream_event e union all select e::text from trunkline.stream_tick e
        union all select e::text from trunkline.stream_take e union all select e::text from trunkline.stream_take_end e
        union all select m::text from trunkline.stream_move m union all select d::text from trunkline.stream_dead d) q";
    let before = raw.one(state).await;
    for (call, code, says) in calls {
        let failure = raw.failure(&format!("select trunkline.{call}")).await;
        assert!(failure.contains(&format!("\"{code}\"")) || failure.contains(&format!("E{code}")), "{call}: {failure}");
        assert!(failure.contains(says), "{call}: {failure}");
    }
    assert_eq!(raw.one(state).await, before);
}

#[tokio::test]
async fn many_events_are_written_by_one_call_in_their_order() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    let many = "select trunkline.stream_append_many('s', array['a', 'b', 'c'], array['x', '', 'z'], array['k', null, 'm'])";
    assert_eq!(raw.one(many).await, "3");
    assert_eq!(raw.one("select trunkline.stream_append_many('s', '{}')").await, "0");
    let written = "select cardinality(trunkline._stream_write('s', '{2,1,0}', array['{\"b\": 1.0, \"a\":2}', 'é', null],
        array[null, null, '\\x00ff'::bytea], array['j', 't', 'b'], null, array['{\"h\": \"1\"}', null, null]))";
    assert_eq!(raw.one(written).await, "3");
    let batch = s.batch("c").await;
    let rows = format!("select type, key, payload, case when payload is null then bytes end, headers from trunkline.stream_events('{batch}')");
    assert_eq!(
        raw.rows(&rows).await,
        ["x|k|a||", "||b||", "z|m|c||", "j||{\"b\": 1.0, \"a\":2}||{\"h\": \"1\"}", "t||é||", "b|||\\x00ff|"]
    );
    let ids = raw.rows("select unnest(trunkline._stream_write('s', '{1,1,1}', '{a,b,c}', null))").await;
    assert!(ids.is_sorted() && ids.len() == 3, "{ids:?}");
}

#[tokio::test]
async fn many_events_wake_who_sleeps_there() {
    let db = Db::new().await;
    let (raw, mut sleeper) = (db.raw().await, db.raw().await);
    Stream::new(&raw, "s", &["c"]).await;
    let door = raw.one("select id & 63 from trunkline.stream").await;
    sleeper.run(&format!("listen trunkline_{door}; select pg_advisory_lock_shared(1953656427, {door})")).await;
    let events = "select trunkline.stream_append_many('s', array(select i::text from generate_series(1, 1000) i))";
    assert_eq!(raw.one(events).await, "1000");
    raw.run(&format!("notify trunkline_{door}, 'end'")).await;
    for _ in 0..2 {
        crate::support::within(1_000, "a bell", sleeper.notes.recv()).await.unwrap();
    }
    assert!(sleeper.notes.try_recv().is_err(), "a thousand events, one bell");
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
            ("stream_append_many('s', array['a', 'b', 'elevenbytes'])", "TL004", "event 3: payload for stream \\\"s\\\" must be at most 10 bytes, got 11"),
            ("stream_append_many('s', '{a,b}', array['', repeat('x', 101)])", "22023", "event 2: event type must be at most 100 bytes, got 101"),
            ("stream_append_many('s', '{a,b}', array[null, ''])", "22004", "event 1: event type must not be null"),
            ("stream_append_many('s', '{a,b}', null, array['', repeat('x', 1001)])", "22023", "event 2: event key must be at most 1000 bytes, got 1001"),
            ("stream_append_many('s', '{a,b}', '{x}')", "22023", "types must have one element for each of 2 events, got 1"),
            ("stream_append_many('s', '{a,b}', null, '{x,y,z}')", "22023", "keys must have one element for each of 2 events, got 3"),
            ("_stream_write('s', null, '{a}', null)", "22004", "contents must not be null"),
            ("_stream_write('s', '{1,3}', '{a,b}', null)", "22023", "event 2: content must be 0, 1 or 2, got 3"),
            ("_stream_write('s', array[1,null]::smallint[], '{a,b}', null)", "22023", "event 2: content must be 0, 1 or 2, got null"),
            ("_stream_write('s', '{1,0}', '{a,b}', null)", "22004", "event 2: event payload"),
            ("_stream_write('s', '{2,2}', array['1', '{S3cret'], null)", "22P02", "event 2: payload is not JSON"),
            ("_stream_write('s', '{2,2}', array['1', '\"\\u0000\"'], null)", "22P02", "event 2: payload is not JSON"),
            ("_stream_write('s', '{1,1}', '{a,b}', null, null, null, array[null, '[]'])", "22023", "event 2: headers must be an object"),
            ("_stream_write('s', '{1,1}', '{a,b}', null, null, null, array['{}', '{\"a\": 1}'])", "22023", "event 2: header values must be strings"),
        ],
    )
    .await;
    let secret = raw.failure("select trunkline._stream_write('s', '{2}', array['{S3cret'], null)").await;
    let message = secret.split("message").nth(1).unwrap().split("where_").next().unwrap();
    assert!(!message.contains("S3cret"), "{secret}");
    s.set("closed", "true").await;
    refused(&raw, &[("stream_append_many('s', '{a}')", "TL016", "is closed"), ("_stream_write('s', '{1}', '{a}', null)", "TL016", "is closed")]).await;
    s.set("closed", "off").await;
    assert_eq!(raw.one("select trunkline.stream_append_many('s', '{a}')").await, "1");
    assert_eq!(s.drain("c").await, ["a"]);
}

#[tokio::test]
async fn every_setting_is_checked_and_kept() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    for (setting, value, too_low, too_high) in [
        ("closed", "true", "2", "maybe"),
        ("max_bytes", "7", "0", "67108865"),
        ("tick_mode", "paused", "", "Auto"),
        ("tick_count", "7", "0", "1000001"),
        ("tick_lag", "00:00:07", "0", "25 h"),
        ("turn_bytes", "8192", "8191", "99999999999999999999"),
        ("turn_after", "00:00:07", "-1 s", "infinity"),
        ("free_after", "00:00:07", "-1 s", "366 days"),
        ("keep_for", "00:00:07", "-1 s", "x"),
        ("keep_bytes", "7", "-1", "1.5"),
        ("slow_after", "00:00:07", "0", "11 years"),
        ("slow_rule", "limit", "", "warn|drop"),
    ] {
        let call = |value: &str| format!("stream_set('s', '{setting}', {value})");
        for wrong in [too_low, too_high] {
            refused(&raw, &[(&call(&format!("'{wrong}'")), "22023", &format!("{setting} must be "))]).await;
        }
        refused(&raw, &[(&call("null"), "22004", &format!("{setting} must not be null"))]).await;
        let read = format!("select {setting}::text from trunkline.stream");
        assert_ne!(raw.one(&read).await, value, "{setting}: the test changes it");
        s.set(setting, value).await;
        assert_eq!(raw.one(&read).await, value);
    }
    for (setting, value, too_low, too_high) in [
        ("max_events", "7", "0", "1000001"),
        ("max_bytes", "7", "0", "1073741825"),
        ("min_events", "7", "-1", "1000001"),
        ("min_interval", "00:00:07", "-1 ms", "25 h"),
        ("min_lag", "00:00:07", "-1 ms", "31 days"),
        ("max_attempts", "7", "0", "1000001"),
    ] {
        let call = |value: &str| format!("stream_consumer_set('s', 'c', '{setting}', {value})");
        for wrong in [too_low, too_high] {
            refused(&raw, &[(&call(&format!("'{wrong}'")), "22023", &format!("{setting} must be "))]).await;
        }
        refused(&raw, &[(&call("null"), "22004", &format!("{setting} must not be null"))]).await;
        s.consumer_set("c", setting, value).await;
        assert_eq!(raw.one(&format!("select {setting}::text from trunkline.stream_consumer")).await, value);
    }
    refused(
        &raw,
        &[
            ("stream_set('s', 'id', '1')", "22023", "there is no setting \\\"id\\\" of a stream"),
            ("stream_set('s', null, '1')", "22023", "no setting \\\"null\\\""),
            ("stream_set('t', 'closed', 'true')", "42704", "no stream \\\"t\\\""),
            ("stream_set('s', 'max_bytes', '0')", "22023", "max_bytes must be 1 to 67108864 bytes, got 0"),
            ("stream_set('s', 'tick_lag', '0')", "22023", "tick_lag must be from 1 ms to 1 day, got 0"),
            ("stream_consumer_set('s', 'c', 'role', 'x')", "22023", "no setting \\\"role\\\" of a consumer"),
            ("stream_consumer_set('s', 'd', 'max_events', '1')", "42704", "no consumer \\\"d\\\""),
            ("stream_consumer_set('t', 'c', 'max_events', '1')", "42704", "no stream \\\"t\\\""),
            ("stream_consumer_set('s', 'c', 'max_events', '0')", "22023", "max_events must be 1 to 1000000 events, got 0"),
        ],
    )
    .await;
}

#[tokio::test]
async fn settings_do_what_they_say() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.consumer_set("c", "max_events", "2").await;
    raw.run("select trunkline.stream_append_many('s', '{a,b,c,d,e}')").await;
    let batch = s.batch("c").await;
    assert_eq!(s.read(&batch).await, ["a", "b"]);
    s.finish(&batch).await;
    assert_eq!(s.drain("c").await, ["c", "d", "e"]);
    s.set("tick_mode", "paused").await;
    s.append("f").await;
    assert_eq!(raw.one("select trunkline.stream_maintain() ->> 'ticks'").await, "0");
    assert_eq!(s.batch("c").await, "");
    raw.run("select trunkline.stream_tick('s', true)").await;
    assert_eq!(s.drain("c").await, ["f"], "a forced tick is one while it is paused");
    s.append("g").await;
    assert_eq!(s.batch("c").await, "");
    s.set("tick_mode", "auto").await;
    assert_eq!(s.drain("c").await, ["g"]);
}
