//! Members that share a consumer in lanes: the events of a key are handled one after the other, whoever handles them.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use trunkline::{
    ErrorKind, Trunkline,
    streams::{Mode, NewEvent, Position},
};

use crate::{
    streams::asleep,
    support::{Db, Raw, millis, until, within},
};

/// A stream "s" with a consumer "c" in so many lanes.
async fn lanes(lanes: u32, most: u32) -> (Db, Trunkline, Raw) {
    let db = Db::new().await;
    let (tl, raw) = (db.client("producer").await, db.raw().await);
    tl.streams().open("s").await.unwrap();
    tl.streams().register("s", "c", Position::Beginning).await.unwrap();
    raw.run(&format!(
        "select trunkline.stream_consumer_set('s', 'c', 'lanes', '{lanes}'), trunkline.stream_consumer_set('s', 'c', 'max_events', '{most}')"
    ))
    .await;
    (db, tl, raw)
}

/// Works until told to stop; writes what it did in the transaction that finishes, and leaves some batches where they are.
async fn member(db: &Db, number: u64, mut end: tokio::sync::watch::Receiver<bool>) {
    let tl = db.client(&format!("member-{number}")).await;
    let mut raw = db.raw().await;
    let mut consumer = tl.streams().consumer("s", "c").mode(Mode::Share);
    let mut turn = number;
    loop {
        let batch = tokio::select! {
            _ = end.changed() => return,
            batch = consumer.next() => batch.unwrap(),
        };
        turn += 1;
        if turn.is_multiple_of(7) {
            // Lets go of it: as a batch, and then as a member.
            drop(batch);
            if turn.is_multiple_of(2) {
                consumer = tl.streams().consumer("s", "c").mode(Mode::Share);
            }
            continue;
        }
        let tx = raw.client.transaction().await.unwrap();
        for event in batch.events() {
            let sql = "insert into public.done (key, id, member) values ($1, $2, $3)";
            tx.execute(sql, &[&event.key, &event.id, &number.to_string()]).await.unwrap();
        }
        match batch.finish_on(&mut &tx).await {
            Ok(()) => tx.commit().await.unwrap(),
            Err(e) => assert_eq!(e.kind(), ErrorKind::Stale),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_keys_and_each_keys_order_is_kept() {
    let (db, tl, raw) = lanes(6, 40).await;
    raw.run("create table public.done (n bigserial, key text, id bigint, member text)").await;
    let db = std::sync::Arc::new(db);
    let (stop, end) = tokio::sync::watch::channel(false);
    let mut members = JoinSet::new();
    for number in 0..4 {
        let (db, end) = (db.clone(), end.clone());
        members.spawn(async move { member(&db, number, end).await });
    }
    let mut producers = JoinSet::new();
    for producer in 0..3 {
        let streams = tl.streams();
        producers.spawn(async move {
            for n in 0..500 {
                let event = NewEvent::new("x").key(format!("{producer}-{}", n * n % 11));
                streams.append("s", event).await.unwrap();
                if n % 50 == 0 {
                    streams.append("s", "without a key").await.unwrap();
                }
            }
        });
    }
    while producers.join_next().await.is_some() {}
    // A member that is cut off goes on; so do the others.
    raw.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'member-1'")
        .await;
    raw.until("everything to be done", "select count(*) = 1530 from public.done").await;
    stop.send_replace(true);
    members.join_all().await;
    let doubled = "select count(*) from (select id from public.done group by id having count(*) > 1) d";
    assert_eq!(raw.one(doubled).await, "0");
    let disorder = "select count(*) from (select id, max(id) over (partition by key order by n) as last from public.done where key is not null) d where id < last";
    assert_eq!(raw.one(disorder).await, "0");
    assert_eq!(raw.one("select count(distinct member) from public.done").await, "4");
}

#[tokio::test]
async fn of_a_lane_one_batch_is_in_hand_and_the_others_go_on() {
    let (db, tl, raw) = lanes(8, 100).await;
    let streams = tl.streams();
    let fill = async || {
        for n in 0..40 {
            streams.append("s", NewEvent::new("x").key(format!("k{n}"))).await.unwrap();
        }
        raw.run("select trunkline.stream_tick('s')").await;
    };
    fill().await;
    let mut slow = streams.consumer("s", "c").mode(Mode::Share);
    let held = slow.try_next().await.unwrap().unwrap();
    let theirs: Vec<_> = held.events().iter().map(|e| e.key.clone()).collect();
    assert!(!theirs.is_empty() && theirs.len() < 40 && held.attempt() == 1);
    let other = db.client("other").await;
    let mut quick = other.streams().consumer("s", "c").mode(Mode::Share);
    let mut seen = BTreeMap::new();
    for _ in 0..4 {
        while let Some(batch) = quick.try_next().await.unwrap() {
            assert!(batch.attempt() == 1 && batch.events().iter().all(|e| !theirs.contains(&e.key)));
            batch.events().iter().for_each(|e| *seen.entry(e.key.clone()).or_insert(0) += 1);
            batch.finish().await.unwrap();
        }
        fill().await;
    }
    assert_eq!(seen.len(), 40 - theirs.len());
    assert!(seen.values().all(|n| *n == 4), "the other lanes do not wait");
    assert_eq!(raw.one("select in_hand from trunkline.stream_consumers('s')").await, "1");
    let mut alone = other.streams().consumer("s", "c").mode(Mode::Fail);
    assert_eq!(alone.try_next().await.unwrap_err().kind(), ErrorKind::Conflict);
    held.finish().await.unwrap();
    let rest = 40 + theirs.len() as u64 * 3;
    let told = raw.one("select backlog from trunkline.stream_consumers('s')").await;
    assert_eq!(told, rest.to_string());
    let mut left = 0;
    while let Some(batch) = quick.try_next().await.unwrap() {
        left += batch.events().len() as u64;
        batch.finish().await.unwrap();
    }
    assert_eq!(left, rest);
}

#[tokio::test]
async fn other_lanes_come_when_the_old_ones_are_finished() {
    let (_db, tl, raw) = lanes(4, 100).await;
    let streams = tl.streams();
    for n in 0..30 {
        streams.append("s", NewEvent::new(n.to_string()).key(format!("k{n}"))).await.unwrap();
    }
    let mut consumer = streams.consumer("s", "c").mode(Mode::Share);
    let first = consumer.try_next().await.unwrap().unwrap();
    raw.run("select trunkline.stream_consumer_set('s', 'c', 'lanes', '1')").await;
    streams.append("s", NewEvent::new("30").key("k1")).await.unwrap();
    let mut texts: Vec<_> = first.events().iter().map(|e| e.payload.text().unwrap().to_owned()).collect();
    let mut other = streams.consumer("s", "c").mode(Mode::Share);
    while let Some(batch) = other.try_next().await.unwrap() {
        texts.extend(batch.events().iter().map(|e| e.payload.text().unwrap().to_owned()));
        batch.finish().await.unwrap();
    }
    assert!(!texts.contains(&"30".to_owned()), "one of its key may be in hand");
    first.finish().await.unwrap();
    let batch = other.try_next().await.unwrap().unwrap();
    assert_eq!((batch.events().len(), batch.events()[0].payload.text().unwrap()), (1, "30"));
    assert_eq!(texts.len(), 30);
    batch.finish().await.unwrap();
    // What is to come again stays in its lane, and so do parts of a large window.
    raw.run("select trunkline.stream_consumer_set('s', 'c', 'lanes', '3')").await;
    raw.run("insert into trunkline.stream_event (segment, key, payload) select 4, i % 50, 'x' from generate_series(1, 1000) i").await;
    let (mut counted, mut again) = (0, 0);
    while let Some(batch) = other.try_next().await.unwrap() {
        assert!(batch.events().len() <= 100);
        let retried: Vec<i64> =
            batch.events().iter().filter(|e| e.id % 10 == 0 && e.attempt == 1).map(|e| e.id).collect();
        counted += batch.events().iter().filter(|e| e.attempt == 1).count();
        again += batch.events().iter().filter(|e| e.attempt == 2).count();
        batch.retry(&retried, millis(0), None).await.unwrap();
        batch.finish().await.unwrap();
    }
    assert_eq!((counted, again), (1000, 100));
    assert_eq!(raw.one("select backlog + coming_again from trunkline.stream_consumers('s')").await, "0");
}

#[tokio::test]
async fn who_lets_go_of_a_batch_hands_it_on() {
    let (_db, tl, raw) = lanes(1, 100).await;
    let streams = tl.streams();
    streams.append("s", "x").await.unwrap();
    // The batch outlives its member, and is finished.
    let kept = streams.consumer("s", "c").try_next().await.unwrap().unwrap();
    let mut next = streams.consumer("s", "c").mode(Mode::Fail);
    assert_eq!(next.try_next().await.unwrap_err().kind(), ErrorKind::Conflict);
    kept.finish().await.unwrap();
    streams.append("s", "y").await.unwrap();
    let mut first = streams.consumer("s", "c");
    drop(first.try_next().await.unwrap().unwrap());
    let same = first.try_next().await.unwrap().unwrap();
    assert_eq!(
        (same.attempt(), same.events()[0].payload.text().unwrap()),
        (2, "y"),
        "the member has it still"
    );
    let token = same.token().to_owned();
    let mut waiting = streams.consumer("s", "c");
    let waiting = tokio::spawn(async move { waiting.next().await.map(|b| (b.attempt(), b)) });
    asleep(&raw, "producer").await;
    drop((first, same));
    let (attempt, batch) = within(800, "it, before anybody polls", waiting).await.unwrap().unwrap();
    assert_eq!(attempt, 3);
    assert_eq!(raw.code(&format!("select trunkline.stream_finish('{token}')")).await, "TL001");
    batch.finish().await.unwrap();
    until("nothing to be in hand", async || {
        raw.one("select in_hand from trunkline.stream_consumers('s')").await == "0"
    })
    .await;
}

const TAKE: &str = "select batch from trunkline.stream_next_batch('s', 'c', 'share')";

#[tokio::test]
async fn what_was_handed_back_is_moved_with_its_consumer() {
    let (_db, tl, raw) = lanes(1, 100).await;
    let streams = tl.streams();
    streams.append("s", "x").await.unwrap();
    drop(streams.consumer("s", "c").try_next().await.unwrap().unwrap());
    until("it to be handed back", async || {
        raw.one("select in_hand from trunkline.stream_consumers('s')").await == "0"
    })
    .await;
    within(3_000, "the move", raw.run("select trunkline.stream_seek('s', 'c', 'end')")).await;
    assert!(streams.consumer("s", "c").try_next().await.unwrap().is_none());
    streams.append("s", "y").await.unwrap();
    let batch = streams.consumer("s", "c").try_next().await.unwrap().unwrap();
    assert_eq!((batch.events().len(), batch.events()[0].payload.text().unwrap()), (1, "y"));
}

#[tokio::test]
async fn who_waits_for_a_move_takes_nothing_that_it_ended() {
    for many in ["1", "4"] {
        let (db, tl, raw) = lanes(1, 100).await;
        raw.run(&format!("select trunkline.stream_consumer_set('s', 'c', 'lanes', '{many}')")).await;
        tl.streams().append("s", NewEvent::new("x").key("k")).await.unwrap();
        let holder = db.raw().await;
        assert_eq!(holder.rows(TAKE).await.len(), 1);
        raw.run(&format!("select pg_terminate_backend({})", holder.pid)).await;
        let gone = format!("select not exists (select from pg_stat_activity where pid = {})", holder.pid);
        raw.until("it to be gone", &gone).await;
        let mover = db.raw().await;
        mover.run("begin; select trunkline.stream_seek('s', 'c', 'end')").await;
        let taker = db.raw().await;
        let pid = taker.pid;
        let taking = tokio::spawn(async move { taker.rows(TAKE).await });
        let waits = format!("select wait_event_type = 'Lock' from pg_stat_activity where pid = {pid}");
        raw.until("it to wait", &waits).await;
        mover.run("commit").await;
        assert_eq!(taking.await.unwrap(), Vec::<String>::new(), "in {many} lanes");
    }
}

#[tokio::test]
async fn a_segment_that_becomes_another_file_while_somebody_reads_loses_nothing() {
    let (db, _tl, raw) = lanes(1, 1000).await;
    // What was rolled back leaves room, so that the rows move.
    let many = "insert into trunkline.stream_event (segment, key, payload) select 4, i % 50, 'x' from generate_series(1, {}) i";
    raw.run(&format!("begin; {}; rollback", many.replace("{}", "300"))).await;
    raw.run(&many.replace("{}", "30000")).await;
    let mut counted = 0;
    for n in 0.. {
        let Some(batch) = raw.rows(TAKE).await.pop() else { break };
        let read = format!("select count(*) from trunkline.stream_events('{batch}')");
        if n == 2 {
            let other = db.raw().await;
            other.run("begin; cluster trunkline.stream_event_4 using stream_event_4_xid").await;
            let reader = db.raw().await;
            let pid = reader.pid;
            let reading = tokio::spawn(async move { reader.one(&read).await });
            let waits = format!("select wait_event_type = 'Lock' from pg_stat_activity where pid = {pid}");
            raw.until("it to wait", &waits).await;
            other.run("commit").await;
            counted += reading.await.unwrap().parse::<u64>().unwrap();
        } else {
            counted += raw.one(&read).await.parse::<u64>().unwrap();
        }
        raw.run(&format!("select trunkline.stream_finish('{batch}')")).await;
    }
    assert_eq!(counted, 30_000);
}

#[tokio::test]
async fn letting_go_in_the_midst_of_a_finish_keeps_nobody_waiting() {
    let (db, tl, _raw) = lanes(1, 100).await;
    let streams = tl.streams();
    streams.append("s", "x").await.unwrap();
    let mut consumer = streams.consumer("s", "c");
    let batch = consumer.try_next().await.unwrap().unwrap();
    let mut raw = db.raw().await;
    let tx = raw.client.transaction().await.unwrap();
    batch.finish_on(&mut &tx).await.unwrap();
    drop((batch, consumer));
    for _ in 0..10 {
        within(350, "an append on the same connection", streams.append("s", "y")).await.unwrap();
    }
    tx.commit().await.unwrap();
    let next = streams.consumer("s", "c").try_next().await.unwrap().unwrap();
    assert_eq!((next.events().len(), next.attempt()), (10, 1));
}
