//! Slow consumers: what a stream does about one that holds everything up, by its `slow_rule`.

use crate::support::{Db, Raw, Stream};

/// A stream with a consumer that left something unfinished for longer than it may, and one that did not.
async fn behind<'a>(raw: &'a Raw, rule: &str) -> Stream<'a> {
    let s = Stream::new(raw, "s", &["late", "quick"]).await;
    s.set("slow_rule", rule).await;
    s.append("a").await;
    s.drain("quick").await;
    raw.run("update trunkline.stream_tick set at = at - interval '1 hour'").await;
    s.append("b").await;
    s.drain("quick").await;
    assert_eq!(slow(raw).await, "0", "slow_after is a day");
    s.set("slow_after", "30 min").await;
    s
}

async fn slow(raw: &Raw) -> String {
    raw.one("select trunkline.stream_maintain() ->> 'slow'").await
}

/// What this session hears of a call.
async fn warned(db: &Db, sql: &str) -> Vec<String> {
    let (client, mut connection) = tokio_postgres::connect(&db.url, tokio_postgres::NoTls).await.unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notice(n) = message {
                let _ = tx.send(format!("{}: {}", n.severity(), n.message()));
            }
        }
    });
    client.batch_execute(sql).await.unwrap();
    drop(client);
    let mut all = Vec::new();
    while let Some(one) = rx.recv().await {
        all.push(one);
    }
    all
}

#[tokio::test]
async fn a_slow_consumer_is_named_and_warned_of_once() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = behind(&raw, "warn").await;
    let maintain = "select trunkline.stream_maintain()";
    assert_eq!(
        warned(&db, maintain).await,
        ["WARNING: consumer \"late\" of stream \"s\" is more than 00:30:00 behind"]
    );
    assert!(warned(&db, maintain).await.is_empty(), "once is enough");
    assert_eq!(slow(&raw).await, "1");
    assert_eq!(
        raw.one("select slow, furthest_behind, lag > '30 min' from trunkline.stream_list()").await,
        "{late}|late|t"
    );
    assert_eq!(s.of_consumer("late", "slow_since is not null").await, "t");
    s.append("c").await;
    assert_eq!(s.drain("late").await, ["a", "b", "c"]);
    assert_eq!(slow(&raw).await, "0");
    assert_eq!(raw.one("select slow from trunkline.stream_list()").await, "{}");
}

#[tokio::test]
async fn a_slow_consumer_is_dropped_where_that_is_the_rule() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = behind(&raw, "drop").await;
    let held = s.batch("late").await;
    let maintain = "select trunkline.stream_maintain()";
    let said = warned(&db, maintain).await;
    assert_eq!(said, ["WARNING: consumer \"late\" of stream \"s\" is more than 00:30:00 behind"]);
    assert!(
        warned(&db, maintain).await.is_empty(),
        "the server may have been down: it has a while to catch up"
    );
    assert_eq!(raw.one("select count(*) from trunkline.stream_consumers()").await, "2");
    raw.run("update trunkline.stream_consumer set slow_since = slow_since - interval '3 min'").await;
    let said = warned(&db, maintain).await;
    let removed =
        "WARNING: consumer \"late\" of stream \"s\" is removed, since it stayed more than 00:30:00 behind";
    assert_eq!(said, [removed]);
    assert_eq!(raw.rows("select consumer from trunkline.stream_consumers()").await, ["quick"]);
    assert_eq!(s.finish(&held).await, "TL001");
    assert_eq!(raw.code("select * from trunkline.stream_next_batch('s', 'late')").await, "42704");
    let moved = "select consumer, stream, role, from_tick > 0, to_tick is null from trunkline.stream_move";
    assert_eq!(raw.rows(moved).await, ["late|s|postgres|t|t"]);
    assert_eq!(slow(&raw).await, "0");
    s.append("c").await;
    assert_eq!(s.drain("quick").await, ["c"]);
}

#[tokio::test]
async fn a_stream_is_limited_until_its_slow_consumer_has_caught_up() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = behind(&raw, "limit").await;
    assert_eq!(slow(&raw).await, "1");
    for append in
        ["stream_append('s', 'c')", "stream_append_many('s', '{c}')", "stream_append_json('s', '1')"]
    {
        let failure = raw.failure(&format!("select trunkline.{append}")).await;
        assert!(
            failure.contains("TL016") && failure.contains("until consumer \\\"late\\\" has caught up"),
            "{failure}"
        );
    }
    assert_eq!(raw.one("select limited_by from trunkline.stream_list()").await, "late");
    assert_eq!(s.drain("late").await, ["a", "b"]);
    assert_eq!(slow(&raw).await, "0");
    s.append("d").await;
    assert_eq!(s.drain("quick").await, ["d"]);
    raw.run("update trunkline.stream_tick set at = at - interval '1 hour'").await;
    assert_eq!(slow(&raw).await, "1");
    assert_eq!(raw.code("select trunkline.stream_append('s', 'e')").await, "TL016");
    s.set("slow_rule", "warn").await;
    s.append("e").await;
}
