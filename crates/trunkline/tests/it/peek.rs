//! Looking at what is in a stream or on a topic, without taking anything.

use crate::support::{Db, Stream};

#[tokio::test]
async fn the_newest_of_a_stream_are_seen_wherever_its_ring_stands_and_nobody_moves() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    let newest = |max: u32| format!("select payload from trunkline.stream_peek('s', {max})");
    assert!(raw.rows(&newest(5)).await.is_empty());
    raw.run("select count(trunkline.stream_append('s', 'e' || n)) from generate_series(1, 3000) n").await;
    assert_eq!(raw.rows(&newest(3)).await, ["e3000", "e2999", "e2998"]);
    assert_eq!(raw.rows(&newest(1000)).await.len(), 1000);
    // The ring turns, twice: the newest are in two segments, and what was not read is in the third.
    for (round, wanted) in [(1, ["late 1", "e3000", "e2999"]), (2, ["late 2", "late 1", "e3000"])] {
        raw.run("update trunkline.stream set turn_bytes = 1").await;
        assert_eq!(raw.one("select trunkline._stream_turn(1)").await, "turned");
        s.append(&format!("late {round}")).await;
        assert_eq!(raw.rows(&newest(3)).await, wanted);
    }
    raw.run("begin").await;
    s.append("not yet committed").await;
    assert_eq!(db.raw().await.rows(&newest(1)).await, ["late 2"], "what is committed");
    raw.run("commit").await;
    raw.run("select trunkline.stream_append_bytes('s', '\\x00ff', 't', 'k', '{\"h\": \"v\"}')").await;
    raw.run("select trunkline.stream_append('s', repeat('ä', 500000))").await;
    let told = "select type || ' ' || coalesce(key, '-') || ' ' || bytes || ' ' || coalesce(length(payload)::text, 'bytes') || ' ' || coalesce(headers::text, '-')
                  from trunkline.stream_peek('s', 2)";
    assert_eq!(raw.rows(told).await, [" - 1000000 10000 -", "t k 2 bytes {\"h\": \"v\"}"]);
    s.append("last").await;
    raw.run("select trunkline.stream_tick('s')").await;
    assert_eq!(s.drain("c").await.len(), 3006, "nobody's place was changed");
    for (bad, code) in [
        ("'s', 0", "22023"),
        ("'s', 1001", "22023"),
        ("'s', null", "22023"),
        ("'none'", "42704"),
        ("null", "22004"),
    ] {
        assert_eq!(raw.code(&format!("select * from trunkline.stream_peek({bad})")).await, code, "{bad}");
    }
}

#[tokio::test]
async fn the_newest_on_a_topic_are_seen_and_no_other_ones() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let newest = |max: u32| {
        format!("select coalesce(payload, 'bytes') || ' ' || bytes from trunkline.topic_peek('a', {max})")
    };
    assert!(raw.rows(&newest(5)).await.is_empty());
    raw.run("select trunkline.topic_publish('a', 'one'), trunkline.topic_publish('b', 'other')").await;
    raw.run("select trunkline.topic_publish('a', 'two'), trunkline.topic_publish_bytes('a', '\\x00ff')")
        .await;
    assert_eq!(raw.rows(&newest(2)).await, ["bytes 2", "two 3"]);
    assert_eq!(raw.rows(&newest(9)).await, ["bytes 2", "two 3", "one 3"]);
    for bad in ["0", "1001", "null"] {
        assert_eq!(raw.code(&format!("select * from trunkline.topic_peek('a', {bad})")).await, "22023");
    }
}
