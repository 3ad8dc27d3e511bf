//! Engines with rights on the tables read by themselves what others ask functions for, and ahead: all get the same.

use trunkline::{
    Trunkline,
    requests::Payload,
    streams::{Batch, Consumer, Event, NewEvent, Position},
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
async fn fill(db: &Db, raw: &Raw, tl: &Trunkline) {
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
    // Rows that do not lie by id, few and many; and each time a transaction that is in progress at the tick, and ends in the
    // window after it.
    let slow = db.raw().await;
    for count in [900, 30_000, 900, 30_000] {
        slow.run("begin; select trunkline.stream_append('s', 'near')").await;
        raw.run(&format!(
            "with n as (select nextval('trunkline.stream_event_id') as id from generate_series(1, {count}))
             insert into trunkline.stream_event (segment, id, payload) select 4, id, 'x' from n order by id desc"
        ))
        .await;
        raw.run("select trunkline.stream_tick('s')").await;
        slow.run("commit").await;
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
    fill(&db, &raw, &direct).await;
    let read = drain(&direct, "direct", async |_| {}).await;
    let told = drain(&asking, "asking", async |_| {}).await;
    assert_eq!(texts(&read), texts(&told));
    let first = read.iter().filter(|e| e.attempt == 1).count();
    assert_eq!(first, 60 + 65_000 + 61_800 + 4 + 71);
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

/// A stream with a window of 30,000 events, with marks, and a consumer that has them in parts of 1,000.
async fn backlog(db: &Db) -> (Raw, Trunkline) {
    // Who reads through functions reads nothing ahead.
    let url = format!("{}&application_name=reader", db.url);
    let (raw, tl) = (db.raw().await, Trunkline::connect(&url).await.unwrap());
    tl.streams().open("s").await.unwrap();
    tl.streams().register("s", "c", Position::Beginning).await.unwrap();
    // What was rolled back leaves room, so that rows move when the segment is written anew.
    let many =
        "insert into trunkline.stream_event (segment, payload) select 4, 'x' from generate_series(1, {})";
    raw.run(&format!("begin; {}; rollback", many.replace("{}", "300"))).await;
    raw.run(&many.replace("{}", "30000")).await;
    (raw, tl)
}

/// The next batch. Soon: while the segment is locked, so is the connection.
async fn next(consumer: &mut Consumer) -> Batch {
    within(4_000, "a batch", consumer.try_next()).await.unwrap().unwrap()
}

fn ids(batch: &Batch) -> Vec<i64> {
    batch.events().iter().map(|e| e.id).collect()
}

/// The next batch, finished: its events.
async fn take(consumer: &mut Consumer) -> Vec<i64> {
    let batch = next(consumer).await;
    batch.finish().await.unwrap();
    ids(&batch)
}

/// All that there is, finished.
async fn rest(consumer: &mut Consumer) -> Vec<Vec<i64>> {
    let mut all = Vec::new();
    while let Some(batch) = consumer.try_next().await.unwrap() {
        batch.finish().await.unwrap();
        all.push(ids(&batch));
    }
    all
}

/// Of batches, one after the other, that no event is missing, none comes twice, and all are in order.
async fn whole(raw: &Raw, batches: &[Vec<i64>]) {
    let all = raw.rows("select id from trunkline.stream_event order by id").await;
    assert!(batches.concat().iter().map(i64::to_string).eq(all), "not each event once");
}

/// Somebody wants to read the segment, and waits for who has locked it.
const WAITS: &str =
    "select exists (select from pg_locks where relation = 'trunkline.stream_event_4'::regclass
    and mode = 'AccessShareLock' and not granted)";

#[tokio::test]
async fn what_was_read_ahead_is_not_handed_to_who_gets_another_batch() {
    let db = Db::new().await;
    let (raw, tl) = backlog(&db).await;
    let (mut one, mut other) = (tl.streams().consumer("s", "c"), tl.streams().consumer("s", "c"));
    let mut batches = Vec::new();
    for _ in 0..3 {
        batches.push(take(&mut one).await);
        batches.push(take(&mut other).await); // which the one has read ahead
    }
    assert!(batches.iter().all(|b| b.len() > 500));
    batches.push(take(&mut one).await);
    raw.run("select trunkline.stream_consumer_set('s', 'c', 'max_events', '300')").await;
    batches.push(take(&mut one).await); // of which it has read more ahead
    assert!(batches[7].len() <= 300);
    batches.extend(rest(&mut other).await);
    batches.push(vec![tl.streams().append("s", "new").await.unwrap()]);
    assert_eq!(Some(&take(&mut one).await), batches.last());
    whole(&raw, &batches).await;
}

#[tokio::test]
async fn a_member_may_go_while_it_reads_ahead() {
    let db = Db::new().await;
    let (raw, tl) = backlog(&db).await;
    let mut one = tl.streams().consumer("s", "c");
    let mut batches = vec![take(&mut one).await];
    tl.streams().tick("s").await.unwrap(); // on its connection, behind what it reads ahead
    raw.run("begin; lock table trunkline.stream_event_4").await;
    let batch = next(&mut one).await; // which was read before
    raw.until("the one after it to be read ahead", WAITS).await;
    drop((batch, one));
    raw.run("rollback").await;
    let mut other = tl.streams().consumer("s", "c");
    let batch = within(10_000, "what was handed back", other.next()).await.unwrap();
    batch.finish().await.unwrap();
    batches.push(ids(&batch));
    batches.extend(rest(&mut other).await);
    whole(&raw, &batches).await;
}

#[tokio::test]
async fn a_segment_may_become_another_file_before_it_is_read_ahead() {
    let db = Db::new().await;
    let (raw, tl) = backlog(&db).await;
    let mut one = tl.streams().consumer("s", "c");
    let mut batches = vec![take(&mut one).await];
    tl.streams().tick("s").await.unwrap(); // on its connection, behind what it reads ahead
    raw.run("begin; lock table trunkline.stream_event_4 in access share mode").await;
    let other = db.raw().await;
    let pid = other.pid;
    let vacuum = tokio::spawn(async move { other.run("vacuum full trunkline.stream_event_4").await });
    raw.blocked(pid).await;
    let batch = next(&mut one).await; // which was read before
    raw.until("the one after it to be read behind the other file", WAITS).await;
    raw.run("commit").await;
    vacuum.await.unwrap();
    batch.finish().await.unwrap();
    batches.push(ids(&batch));
    batches.extend(rest(&mut one).await);
    whole(&raw, &batches).await;
}
