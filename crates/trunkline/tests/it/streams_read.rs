//! Engines with rights on the tables read by themselves what others ask functions for: both get the same.

use trunkline::{
    Trunkline,
    requests::Payload,
    streams::{Event, NewEvent, Position},
};

use crate::{
    cursors::without_rights,
    support::{Db, Raw, millis, secs, within},
};

/// Reads all that there is, batch by batch; before the n-th batch something is done.
async fn drain(tl: &Trunkline, consumer: &str, mut before: impl AsyncFnMut(usize)) -> Vec<Event> {
    let mut consumer = tl.streams().consumer("s", consumer);
    let mut all = Vec::new();
    for n in 0.. {
        before(n).await;
        let Some(mut batch) = within(10_000, "a batch", consumer.try_next()).await.unwrap() else { break };
        let events = batch.take_events();
        assert!(events.windows(2).all(|w| w[0].id < w[1].id), "in order");
        let again: Vec<i64> =
            events.iter().filter(|e| e.kind == "bytes" && e.attempt == 1).map(|e| e.id).collect();
        batch.retry(&again, millis(0), None).await.unwrap();
        batch.finish().await.unwrap();
        all.extend(events);
    }
    all
}

fn texts(events: &[Event]) -> Vec<String> {
    let mut all: Vec<String> = events.iter().map(|e| format!("{e:?} {:?}", e.payload.bytes())).collect();
    all.sort();
    all
}

/// Events of every kind and size, in windows of one and of several segments, small, in parts, and in parts with marks.
async fn fill(raw: &Raw, tl: &Trunkline) {
    let streams = tl.streams();
    for n in 0..20_u8 {
        let bytes = Payload::from(vec![n, 0, 255]);
        streams.append("s", NewEvent::new(bytes).kind("bytes").key(format!("k{n}"))).await.unwrap();
        streams.append("s", NewEvent::new(format!("text {n}")).header("h", "v")).await.unwrap();
        raw.run("select trunkline.stream_append_json('s', '{\"a\": 1}'), trunkline.stream_tick('s')").await;
    }
    let many = "insert into trunkline.stream_event (segment, payload) select 4 + {}, convert_to(i::text, 'UTF8') from generate_series(1, {}) i";
    for (segment, count) in [("0", 2500), ("i % 3", 2500), ("0", 30_000), ("i / 5000 % 3", 30_000)] {
        raw.run(&many.replacen("{}", segment, 1).replacen("{}", &count.to_string(), 1)).await;
        raw.run("select trunkline.stream_tick('s')").await;
    }
    // A transaction that is long over and was in progress at a tick: its window is read one transaction at a time.
    raw.run("begin; select trunkline.stream_append('s', 'slow')").await;
    for _ in 0..70 {
        streams.append("s", "quick").await.unwrap();
    }
    streams.consumer("s", "other").try_next().await.unwrap();
    raw.run("commit").await;
}

#[tokio::test]
async fn an_engine_reads_by_itself_what_functions_tell_others() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (direct, asking) = (db.client("direct").await, without_rights(&db, "asking").await);
    direct.streams().open("s").await.unwrap();
    for consumer in ["direct", "asking", "other"] {
        direct.streams().register("s", consumer, Position::Beginning).await.unwrap();
    }
    fill(&raw, &direct).await;
    let read = drain(&direct, "direct", async |_| {}).await;
    let told = drain(&asking, "asking", async |_| {}).await;
    assert_eq!(texts(&read), texts(&told));
    let first = read.iter().filter(|e| e.attempt == 1).count();
    assert_eq!(first, 60 + 65_000 + 71);
    assert_eq!(read.len() - first, read.iter().filter(|e| e.kind == "bytes" && e.attempt == 1).count());
}

#[tokio::test]
async fn a_segment_that_became_another_file_is_read_all_the_same() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let direct = db.client("direct").await;
    direct.streams().open("s").await.unwrap();
    direct.streams().register("s", "c", Position::Beginning).await.unwrap();
    let many =
        "insert into trunkline.stream_event (segment, payload) select 4, 'x' from generate_series(1, {})";
    // What was rolled back leaves room, so that the rows move.
    raw.run(&format!("begin; {}; rollback", many.replace("{}", "300"))).await;
    raw.run(&many.replace("{}", "30000")).await;
    let read = drain(&direct, "c", async |n| {
        if n == 3 {
            within(10_000, "it", db.raw().await.run("vacuum full trunkline.stream_event_4")).await;
        }
    });
    let read = tokio::time::timeout(secs(60), read).await.unwrap();
    assert_eq!(read.iter().filter(|e| e.attempt == 1).count(), 30_000);
}
