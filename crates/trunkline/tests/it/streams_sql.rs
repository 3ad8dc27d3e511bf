//! Streams in plain SQL, beside their core: settings, moving a consumer, dead letters, what is
//! shown of streams and consumers, ticks from outside.

use crate::support::{Db, Raw, Stream};

/// Each call fails with this code and says this, and changes nothing.
pub async fn refused(raw: &Raw, calls: &[(&str, &str, &str)]) {
    let state = "select md5(string_agg(t, '' order by t)) from (
        select s::text t from trunkline.stream s union all select c::text from trunkline.stream_consumer c
        union all select e::text from trunkline.stream_event e union all select e::text from trunkline.stream_tick e
        union all select e::text from trunkline.stream_take e union all select e::text from trunkline.stream_take_end e
        union all select m::text from trunkline.stream_move m union all select d::text from trunkline.stream_dead d) q";
    let before = raw.one(state).await;
    for (call, code, says) in calls {
        let failure = raw.failure(&format!("select trunkline.{call}")).await;
        assert!(
            failure.contains(&format!("\"{code}\"")) || failure.contains(&format!("E{code}")),
            "{call}: {failure}"
        );
        assert!(failure.contains(says), "{call}: {failure}");
    }
    assert_eq!(raw.one(state).await, before);
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
            (
                "stream_consumer_set('s', 'c', 'max_events', '0')",
                "22023",
                "max_events must be 1 to 1000000 events, got 0",
            ),
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

#[tokio::test]
async fn a_moved_consumer_goes_on_from_there_and_its_holder_is_fenced() {
    let db = Db::new().await;
    let (raw, other) = (db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c", "d"]).await;
    s.append("a").await;
    assert_eq!(s.drain("c").await, ["a"]);
    let middle = raw.one("select max(id) from trunkline.stream_tick").await;
    s.append("b").await;
    let held = s.of(&other).batch("c").await;
    assert_eq!(s.read(&held).await, ["b"]);
    let at = raw.one("select trunkline.stream_seek('s', 'c', 'beginning')").await;
    assert_eq!(at, "1");
    assert_eq!(s.of(&other).finish(&held).await, "TL001", "its holder can no longer finish it");
    assert_eq!(other.code(&format!("select * from trunkline.stream_events('{held}')")).await, "TL001");
    assert_eq!(s.drain("c").await, ["a", "b"]);
    raw.run(&format!("select trunkline.stream_seek('s', 'c', 'tick:{middle}')")).await;
    assert_eq!(s.drain("c").await, ["b"]);
    let time = raw.one(&format!("select at from trunkline.stream_tick where id = {middle}")).await;
    raw.run(&format!("select trunkline.stream_seek('s', 'c', '{time}')")).await;
    assert_eq!(s.drain("c").await, ["b"]);
    raw.run("select trunkline.stream_seek('s', 'c', 'like:d')").await;
    s.append("c").await;
    assert_eq!(s.drain("c").await, ["a", "b", "c"]);
    s.append("skipped").await;
    let held = s.batch("c").await;
    raw.run("select trunkline.stream_seek('s', 'c', 'end')").await;
    assert_eq!(s.finish(&held).await, "TL001");
    s.append("d").await;
    assert_eq!(s.drain("c").await, ["d"]);
    assert_eq!(s.drain("d").await, ["a", "b", "c", "skipped", "d"], "nobody else is moved");
    let moves =
        raw.rows("select consumer, stream, role, from_tick, to_tick from trunkline.stream_moves()").await;
    let next = middle.parse::<i64>().unwrap() + 1;
    assert_eq!(moves[3..], [format!("c|s|postgres|{next}|{middle}"), format!("c|s|postgres|{middle}|1")]);
    assert_eq!(moves.len(), 5);
    assert_eq!(raw.rows("select from_tick from trunkline.stream_moves('s', 1)").await.len(), 1);
    assert!(raw.rows("select * from trunkline.stream_moves('t')").await.is_empty());
    refused(&raw, &[("stream_moves('s', 0)", "22023", "max must be from 1 to 10000 rows, got 0")]).await;
}

#[tokio::test]
async fn an_event_that_was_to_come_again_comes_once_after_a_move() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.append("a").await;
    s.retry(&s.batch("c").await, "'0'").await;
    let middle = raw.one("select max(id) from trunkline.stream_tick").await;
    s.append("b").await;
    let batch = s.batch("c").await;
    assert_eq!(s.read(&batch).await, ["a 2", "b"]);
    s.retry(&batch, "'0'").await;
    raw.run(&format!("select trunkline.stream_seek('s', 'c', 'tick:{middle}')")).await;
    assert_eq!(
        s.drain("c").await,
        ["a 3", "b"],
        "a is before the position and comes again; b comes from there"
    );
    assert_eq!(raw.one("select count(*) from trunkline.stream_again").await, "0");
}

#[tokio::test]
async fn a_move_waits_for_a_take_under_way_and_fences_that_too() {
    let db = Db::new().await;
    let (raw, taker, mover) = (db.raw().await, db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.append("a").await;
    raw.run("select trunkline.stream_tick('s')").await;
    for (what, before, attempt) in [("a new batch", false, "1"), ("the one in hand again", true, "2")] {
        if before {
            s.of(&taker).batch("c").await;
        }
        taker.run("begin").await;
        let held = s.of(&taker).batch("c").await;
        assert_eq!(held.split(':').nth(2), Some(attempt), "{what}");
        let moving = mover.run("select trunkline.stream_seek('s', 'c', 'beginning')");
        let ending = async {
            raw.blocked(mover.pid).await;
            taker.run("commit").await;
        };
        tokio::join!(moving, ending);
        assert_eq!(s.of(&taker).finish(&held).await, "TL001", "{what}");
    }
    assert_eq!(s.drain("c").await, ["a"]);
}

#[tokio::test]
async fn a_move_that_cannot_be_is_refused() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.append("a").await;
    s.drain("c").await;
    raw.run("update trunkline.stream set first_tick = 2").await;
    refused(
        &raw,
        &[
            ("stream_seek('s', 'c', null)", "22004", "position must not be null"),
            (
                "stream_seek('s', 'c', 'nowhere')",
                "22023",
                "a position is end, beginning, tick:N, like:CONSUMER or a time",
            ),
            ("stream_seek('s', 'c', 'tick:1')", "TL007", "nothing at position tick:1"),
            ("stream_seek('s', 'c', 'tick:99')", "TL007", "nothing at position tick:99"),
            ("stream_seek('s', 'c', 'like:nobody')", "TL007", "nothing at position like:nobody"),
            ("stream_seek('s', 'd', 'end')", "42704", "no consumer \\\"d\\\""),
            ("stream_seek('t', 'c', 'end')", "42704", "no stream \\\"t\\\""),
        ],
    )
    .await;
    raw.run("begin isolation level repeatable read").await;
    assert_eq!(raw.code("select trunkline.stream_seek('s', 'c', 'end')").await, "25001");
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_purged() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c", "d"]).await;
    s.consumer_set("c", "max_attempts", "2").await;
    raw.run("select trunkline.stream_append_many('s', '{a,b,c}', '{x,y,z}')").await;
    s.retry(&s.batch("c").await, "'0'").await;
    let list = |what: &str| {
        format!("select payload, attempt, cause, due_at <= clock_timestamp() from trunkline.{what}")
    };
    assert_eq!(
        raw.rows(&list("stream_retries('s', 'c')")).await,
        ["a|2|because|t", "b|2|because|t", "c|2|because|t"]
    );
    s.retry(&s.batch("c").await, "'0'").await;
    assert!(s.drain("c").await.is_empty());
    assert!(raw.rows("select * from trunkline.stream_retries('s', 'c')").await.is_empty());
    let dead = "select type, payload, attempts, cause from trunkline.stream_dead_letters('s', 'c')";
    assert_eq!(raw.rows(dead).await, ["x|a|2|because", "y|b|2|because", "z|c|2|because"]);
    let page = "select payload from trunkline.stream_dead_letters('s', 'c', 1, (select min(id) from trunkline.stream_dead))";
    assert_eq!(raw.rows(page).await, ["b"]);
    let id = |payload: &str| {
        format!("(select id from trunkline.stream_dead_letters('s', 'c') where payload = '{payload}')")
    };
    assert_eq!(
        raw.one(&format!("select trunkline.stream_replay('s', 'c', array[{}, 99])", id("b"))).await,
        "1"
    );
    assert_eq!(s.drain("c").await, ["b 2"]);
    assert_eq!(
        raw.one(&format!("select trunkline.stream_purge('s', 'c', array[{}, 99])", id("c"))).await,
        "1"
    );
    assert_eq!(raw.rows(dead).await, ["x|a|2|because"]);
    assert_eq!(raw.one("select trunkline.stream_replay('s', 'c')").await, "1");
    s.retry(&s.batch("c").await, "null").await;
    assert_eq!(raw.rows(dead).await, ["x|a|2|because"], "given up at once");
    assert_eq!(raw.one("select trunkline.stream_purge('s', 'c')").await, "1");
    assert_eq!(s.drain("d").await, ["a", "b", "c"], "all that was one consumer's own");
    for list in ["stream_dead_letters", "stream_retries"] {
        refused(
            &raw,
            &[
                (&format!("{list}('s', 'c', 0)"), "22023", "max must be from 1 to 10000 rows, got 0"),
                (&format!("{list}('s', 'c', 10001)"), "22023", "got 10001"),
                (&format!("{list}('s', 'c', null)"), "22004", "max must not be null"),
                (&format!("{list}('s', 'c', 1, null)"), "22004", "after must not be null"),
            ],
        )
        .await;
    }
    for call in ["stream_dead_letters", "stream_retries", "stream_replay", "stream_purge"] {
        refused(
            &raw,
            &[
                (&format!("{call}('s', 'e')"), "42704", "no consumer \\\"e\\\""),
                (&format!("{call}('s', null)"), "42704", "no consumer \\\"null\\\""),
                (&format!("{call}('t', 'c')"), "42704", "no stream \\\"t\\\""),
                (&format!("{call}(null, 'c')"), "22004", "stream name must not be null"),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn the_lists_say_what_is_there() {
    let db = Db::new().await;
    let (raw, other) = (db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c", "d"]).await;
    Stream::new(&raw, "empty", &[]).await;
    let list = |columns: &str| format!("select {columns} from trunkline.stream_list()");
    let counts = list(
        "stream, events, uncovered, consumers, furthest_behind, lag, slow, closed, tick_mode, limited_by",
    );
    assert_eq!(raw.rows(&counts).await, ["empty|0|0|0|||{}|f|auto|", "s|0|0|2|||{}|f|auto|"]);
    raw.run("select trunkline.stream_append_many('s', '{a,b,c}')").await;
    raw.run("begin; select trunkline.stream_append('s', 'gone'); rollback").await;
    let backlog = async |consumer: &str| {
        s.of_consumer(consumer, "backlog, estimate, in_hand, coming_again, dead").await
    };
    assert_eq!(
        backlog("c").await,
        "3|0|0|0|0",
        "what no tick covers is counted, what was rolled back is not"
    );
    assert_eq!(s.of_consumer("c", "lag > '0' and lag < '1 min'").await, "t");
    let held = s.of(&other).batch("c").await;
    s.append("d").await;
    assert_eq!(backlog("c").await, "4|3|1|0|0");
    let session = other.one("select current_setting('trunkline.session')").await;
    assert_eq!(
        s.of_consumer(
            "c",
            "session, member, alive, held_since <= clock_timestamp(), last_seen = held_since, role"
        )
        .await,
        format!("{session}||t|t|t|postgres")
    );
    let rows = raw.rows(&list("stream, events, uncovered, furthest_behind, lag > '0', segment, segment_bytes[1] > 0, last_tick, last_tick_age < '1 min', ticks_per_second > 0")).await;
    assert_eq!(rows[1], "s|4|1|c|t|1|t|4|t|t");
    s.of(&other).retry(&held, "'1 h'").await;
    assert_eq!(backlog("c").await, "1|0|0|3|0");
    assert_eq!(
        s.of_consumer(
            "c",
            "session is null, held_since is null, alive is null, last_seen > now() - interval '1 min'"
        )
        .await,
        "t|t|t|t"
    );
    assert_eq!(backlog("d").await, "4|3|0|0|0");
    assert_eq!(raw.one(&list("furthest_behind").replace("()", "() where stream = 's'")).await, "d");
    assert_eq!(raw.one("select count(*) from trunkline.stream_consumers('empty')").await, "0");
    assert_eq!(
        raw.rows("select consumer, backlog, estimate from trunkline.stream_consumers(exact => false)").await,
        ["c||0", "d||3"]
    );
    refused(&raw, &[("stream_consumers('t')", "42704", "no stream \\\"t\\\"")]).await;
}

#[tokio::test]
async fn the_backlog_is_exact_in_the_midst_of_a_large_window_and_of_shared_batches() {
    let db = Db::new().await;
    let (raw, other) = (db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.consumer_set("c", "max_events", "2").await;
    raw.run("select trunkline.stream_append_many('s', '{a,b,c,d,e}'); select trunkline.stream_tick('s')")
        .await;
    raw.run("select trunkline.stream_append_many('s', '{f}'); select trunkline.stream_tick('s')").await;
    s.append("g").await;
    assert_eq!(s.of_consumer("c", "backlog").await, "7");
    let first = s.batch("c").await;
    assert_eq!(s.of_consumer("c", "backlog, in_hand").await, "7|1");
    let shared = "select batch from trunkline.stream_next_batch('s', 'c', 'share')";
    let second = other.one(shared).await;
    assert_eq!(s.of_consumer("c", "backlog, in_hand").await, "7|2");
    s.of(&other).finish(&second).await;
    assert_eq!(s.of_consumer("c", "backlog, in_hand").await, "5|1", "a, b, e, f, g");
    let third = other.one(shared).await;
    s.of(&other).finish(&third).await;
    assert_eq!(s.of_consumer("c", "backlog").await, "4");
    assert_eq!(s.of_consumer("c", "tick").await, "2", "all is finished up to there only");
    s.finish(&first).await;
    assert_eq!(s.of_consumer("c", "backlog").await, "2");
    assert_eq!(s.drain("c").await, ["f", "g"]);
    assert_eq!(s.of_consumer("c", "backlog, lag").await, "0|00:00:00");
}

#[tokio::test]
async fn ticks_come_from_outside_where_that_is_wanted() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    refused(&raw, &[("stream_tick_at('s', 9)", "55000", "its tick_mode is auto")]).await;
    s.set("tick_mode", "external").await;
    raw.run("select trunkline.stream_append_many('s', '{a,b}')").await;
    assert_eq!(raw.one("select trunkline.stream_maintain() ->> 'ticks'").await, "0");
    assert_eq!(s.batch("c").await, "", "nobody ticks but who is outside");
    assert_eq!(raw.one("select trunkline.stream_tick_at('s', 1000, '2020-02-02Z')").await, "2");
    assert_eq!(s.drain("c").await, ["a", "b"]);
    raw.run("select trunkline.stream_register('s', 'd')").await;
    assert_eq!(
        raw.one("select max(id) from trunkline.stream_tick").await,
        "1000",
        "not one of our own for its end"
    );
    s.append("c").await;
    refused(
        &raw,
        &[
            ("stream_tick_at('s', 1000)", "22023", "tick number must be above 1000, got 1000"),
            ("stream_tick_at('s', -5)", "22023", "tick number must be above 1000, got -5"),
            ("stream_tick('s', true)", "55000", "ticks of stream \\\"s\\\" come from outside"),
            ("stream_tick_at('s', null)", "22004", "tick number must not be null"),
            ("stream_tick_at('s', 1001, null)", "22004", "tick time must not be null"),
            ("stream_tick_at('s', 1001, 'infinity')", "22023", "tick time must be finite"),
            ("stream_tick_at('t', 1001)", "42704", "no stream \\\"t\\\""),
        ],
    )
    .await;
    assert_eq!(raw.one("select trunkline.stream_tick_at('s', 1003)").await, "1");
    assert_eq!((s.drain("c").await, s.drain("d").await), (vec!["c".to_owned()], vec!["c".to_owned()]));
    assert_eq!(raw.one("select at = '2020-02-02Z' from trunkline.stream_tick where id = 1000").await, "t");
    raw.run("begin isolation level serializable").await;
    assert_eq!(raw.code("select trunkline.stream_tick_at('s', 2000)").await, "25001");
    raw.run("rollback").await;
    s.set("tick_mode", "auto").await;
    s.append("d").await;
    assert_eq!(s.drain("c").await, ["d"], "and by itself again");
    assert_eq!(raw.one("select max(id) from trunkline.stream_tick").await, "1004");
}
