//! Streams from Rust: append, batches, handlers, deaths.

use tokio::sync::mpsc;
use trunkline::{
    ErrorKind, Trunkline,
    requests::{Failure, Payload},
    streams::{Consume, Event, Mode, NewEvent, OnFailure, Position},
};

use crate::support::{Db, Process, Raw, Stopwatch, millis, secs, within};

/// A database with a stream "orders" and a consumer "c", and a client of it.
async fn orders() -> (Db, Trunkline) {
    let db = Db::new().await;
    let tl = db.client("client").await;
    tl.streams().open("orders").await.unwrap();
    assert!(tl.streams().register("orders", "c", Position::End).await.unwrap());
    (db, tl)
}

/// Waits until a process of this name sleeps on a stream's door.
pub async fn asleep(raw: &Raw, application: &str) {
    raw.until(
        "the consumer to sleep",
        &format!(
            "select exists (select from pg_locks l join pg_stat_activity a using (pid)
              where l.locktype = 'advisory' and l.classid = 1953656427 and l.objid::bigint between 4294967168 and 4294967295 and l.granted
                and a.datname = current_database() and a.application_name = '{application}')"
        ),
    )
    .await;
}

fn texts(events: &[Event]) -> Vec<&str> {
    events.iter().map(|e| e.payload.text().unwrap()).collect()
}

#[tokio::test]
async fn what_is_appended_comes_once_to_each_consumer_as_it_was() {
    let (_db, tl) = orders().await;
    let streams = tl.streams();
    assert!(!streams.register("orders", "c", Position::Beginning).await.unwrap(), "it is there");
    streams.register("orders", "d", Position::Like("c".into())).await.unwrap();
    let first = NewEvent::new("text é").kind("made").key("k1").header("traceparent", "00-1");
    let json = Payload::json(&serde_json::json!({"n": 1})).unwrap();
    let ids = streams
        .append_all("orders", [first.clone(), NewEvent::new(json.clone()), NewEvent::new(vec![0_u8, 255])])
        .await
        .unwrap();
    assert!(ids.is_sorted() && ids.len() == 3);
    for name in ["c", "d"] {
        let mut consumer = streams.consumer("orders", name);
        let batch = within(5_000, "a batch", consumer.next()).await.unwrap();
        let events = batch.events();
        assert_eq!(events.iter().map(|e| e.id).collect::<Vec<_>>(), ids);
        assert_eq!((events[0].kind.as_str(), events[0].key.as_deref()), ("made", Some("k1")));
        assert_eq!(events[0].headers["traceparent"], "00-1");
        assert_eq!(events[1].payload, json);
        assert_eq!(events[2].payload.bytes(), [0, 255]);
        assert!(events.iter().all(|e| e.attempt == 1) && batch.attempt() == 1);
        batch.finish().await.unwrap();
        batch.finish().await.unwrap();
        assert!(consumer.try_next().await.unwrap().is_none(), "it came once");
    }
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_within_moments_and_nobody_polls() {
    let (db, tl) = orders().await;
    let (producer, raw) = (db.client("producer").await, db.raw().await);
    let mut consumer = tl.streams().consumer("orders", "c");
    assert!(consumer.try_next().await.unwrap().is_none());
    let mut latencies = Vec::new();
    for n in 0..20 {
        let text = n.to_string();
        let (batch, sent) =
            tokio::join!(async { within(5_000, "the event", consumer.next()).await.unwrap() }, async {
                asleep(&raw, "client").await;
                let sent = Stopwatch::start();
                producer.streams().append("orders", text.as_str()).await.unwrap();
                sent
            });
        latencies.push(sent.elapsed());
        assert_eq!(texts(batch.events()), [text]);
        batch.finish().await.unwrap();
    }
    latencies.sort_unstable();
    assert!(latencies[10] < millis(200), "{latencies:?}");
}

#[tokio::test]
async fn a_batch_and_ones_own_writes_are_finished_together_or_not_at_all() {
    let (db, tl) = orders().await;
    let mut raw = db.raw().await;
    raw.run("create table public.done (id bigint)").await;
    tl.streams().append("orders", "once").await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c");
    for commit in [false, true] {
        let batch = within(5_000, "the batch", consumer.next()).await.unwrap();
        let tx = raw.client.transaction().await.unwrap();
        tx.execute("insert into public.done values ($1)", &[&batch.events()[0].id]).await.unwrap();
        batch.finish_on(&mut &tx).await.unwrap();
        if commit {
            tx.commit().await.unwrap();
        }
    }
    assert!(consumer.try_next().await.unwrap().is_none());
    assert_eq!(raw.one("select count(*)::text from public.done").await, "1");
}

#[tokio::test]
async fn an_append_in_ones_own_transaction_goes_out_with_the_commit() {
    let (db, tl) = orders().await;
    let mut raw = db.raw().await;
    let mut consumer = tl.streams().consumer("orders", "c");
    for (text, commit) in [("rolled back", false), ("committed", true)] {
        let tx = raw.client.transaction().await.unwrap();
        tl.streams().append_on(&mut &tx, "orders", NewEvent::new(text).key("k")).await.unwrap();
        assert!(consumer.try_next().await.unwrap().is_none());
        if commit {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
    }
    let batch = within(5_000, "the batch", consumer.next()).await.unwrap();
    assert_eq!(texts(batch.events()), ["committed"]);
}

#[tokio::test]
async fn what_fails_comes_again_and_becomes_a_dead_letter_in_the_end() {
    let (db, tl) = orders().await;
    let raw = db.raw().await;
    raw.run("update trunkline.stream_consumer set max_attempts = 2").await;
    let (tx, mut seen) = mpsc::unbounded_channel();
    let consuming = tl.streams().consume(Consume::new("orders", "c"), move |event: Event| {
        let text = event.payload.text().unwrap().to_owned();
        tx.send((text.clone(), event.attempt)).unwrap();
        async move {
            match text.as_str() {
                "bad" => Err(Failure::new("poison", "cannot")),
                "panic" => panic!("as the test wants it"),
                _ => Ok(()),
            }
        }
    });
    tl.streams().append_all("orders", ["good", "bad", "panic", "last"]).await.unwrap();
    let mut all = Vec::new();
    while all.len() < 6 {
        all.push(within(10_000, "the events", seen.recv()).await.unwrap());
    }
    let text = |(t, n): &(String, i32)| format!("{t}{n}");
    assert_eq!(all[..4].iter().map(text).collect::<Vec<_>>(), ["good1", "bad1", "panic1", "last1"]);
    assert_eq!(all[4..].iter().map(text).collect::<Vec<_>>(), ["bad2", "panic2"]);
    raw.until("both to be dead letters", "select count(*) = 2 from trunkline.stream_dead").await;
    let causes = raw.rows("select cause from trunkline.stream_dead order by id").await;
    assert_eq!(causes, ["poison: cannot", "panic: the handler panicked"]);
    consuming.stop().await.unwrap();
}

#[tokio::test]
async fn a_held_batch_comes_again_as_a_whole_until_it_succeeds() {
    let (_db, tl) = orders().await;
    let (tx, mut seen) = mpsc::unbounded_channel();
    let options = Consume::new("orders", "c").on_failure(OnFailure::Hold);
    let failed = std::sync::atomic::AtomicBool::new(false);
    let _consuming = tl.streams().consume(options, move |event: Event| {
        let text = event.payload.text().unwrap().to_owned();
        let fail = text == "b" && !failed.swap(true, std::sync::atomic::Ordering::Relaxed);
        tx.send(text).unwrap();
        async move { if fail { Err(Failure::new("not", "yet")) } else { Ok(()) } }
    });
    tl.streams().append_all("orders", ["a", "b", "c"]).await.unwrap();
    let mut all = Vec::new();
    while all.len() < 5 {
        all.push(within(10_000, "the events", seen.recv()).await.unwrap());
    }
    assert_eq!(all, ["a", "b", "a", "b", "c"]);
}

#[tokio::test]
async fn of_two_members_one_works_and_the_other_takes_over_when_it_goes() {
    let (db, tl) = orders().await;
    let (other, raw) = (db.client("other").await, db.raw().await);
    tl.streams().append("orders", "x").await.unwrap();
    let mut first = tl.streams().consumer("orders", "c");
    let held = within(5_000, "the batch", first.next()).await.unwrap();
    let mut failing = other.streams().consumer("orders", "c").mode(Mode::Fail);
    assert_eq!(failing.try_next().await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut waiting = other.streams().consumer("orders", "c");
    let (taken, ()) = tokio::join!(within(10_000, "the batch", waiting.next()), async {
        asleep(&raw, "other").await;
        tl.close().await;
    });
    let taken = taken.unwrap();
    assert_eq!((texts(taken.events()), taken.attempt()), (vec!["x"], 2));
    assert_eq!(raw.code(&format!("select trunkline.stream_finish('{}')", held.token())).await, "TL001");
    taken.finish().await.unwrap();
}

#[tokio::test]
async fn members_that_share_get_different_batches_and_finish_in_any_order() {
    let (db, tl) = orders().await;
    db.raw().await.run("update trunkline.stream_consumer set max_events = 2").await;
    tl.streams().append_all("orders", ["1", "2", "3", "4", "5"]).await.unwrap();
    let mut batches = Vec::new();
    for _ in 0..3 {
        let mut member = tl.streams().consumer("orders", "c").mode(Mode::Share);
        batches.push(within(5_000, "a batch", member.next()).await.unwrap());
    }
    let all: Vec<_> = batches.iter().map(|b| texts(b.events())).collect();
    assert_eq!(all, [vec!["1", "2"], vec!["3", "4"], vec!["5"]]);
    batches[2].finish().await.unwrap();
    batches[0].finish().await.unwrap();
    let mut late = tl.streams().consumer("orders", "c").mode(Mode::Share);
    assert!(late.try_next().await.unwrap().is_none(), "the second is in hand");
    batches[1].finish().await.unwrap();
    assert!(late.try_next().await.unwrap().is_none(), "all are done");
}

#[tokio::test]
async fn a_killed_consumers_batch_comes_to_the_next_within_three_seconds() {
    let (db, tl) = orders().await;
    tl.streams().append("orders", "x").await.unwrap();
    let mut child = Process::start("consumer", &db).await;
    child.line("took").await;
    let mut next = tl.streams().consumer("orders", "c");
    child.child.kill().await.unwrap();
    let killed = Stopwatch::start();
    let batch = within(5_000, "the batch", next.next()).await.unwrap();
    assert_eq!((batch.attempt(), texts(batch.events())), (2, vec!["x"]));
    assert!(killed.elapsed() < secs(3), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn a_large_transaction_comes_in_parts_of_the_consumers_size_in_order() {
    let (db, tl) = orders().await;
    let raw = db.raw().await;
    raw.run("update trunkline.stream_consumer set max_events = 300, max_bytes = 5000").await;
    raw.run("begin; select trunkline.stream_append('orders', repeat('x', 10) || i) from generate_series(1, 1000) i; select trunkline.stream_append('orders', repeat('y', 9000)); commit").await;
    tl.streams().append("orders", "after").await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c");
    let (mut ids, mut batches) = (Vec::new(), 0);
    while ids.len() < 1002 {
        let batch = within(5_000, "a part", consumer.next()).await.unwrap();
        let bytes: usize = batch.events().iter().map(|e| e.payload.bytes().len()).sum();
        assert!(batch.events().len() <= 300 && (bytes <= 5000 || batch.events().len() == 1));
        ids.extend(batch.events().iter().map(|e| e.id));
        batch.finish().await.unwrap();
        batches += 1;
    }
    assert!(ids.is_sorted_by(|a, b| a < b) && batches >= 5, "{batches}");
    assert!(consumer.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn ten_thousand_appends_of_many_tasks_come_once_each() {
    let (_db, tl) = orders().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..50 {
        let streams = tl.streams();
        tasks.spawn(async move {
            let mut ids = Vec::new();
            for n in 0..200 {
                ids.push(streams.append("orders", format!("{task}-{n}")).await.unwrap());
            }
            ids
        });
    }
    let mut consumer = tl.streams().consumer("orders", "c");
    let mut got = Vec::new();
    while got.len() < 10_000 {
        let batch = within(10_000, "a batch", consumer.next()).await.unwrap();
        got.extend(batch.events().iter().map(|e| e.id));
        batch.finish().await.unwrap();
    }
    let mut sent: Vec<i64> = tasks.join_all().await.concat();
    sent.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, sent);
}

#[tokio::test]
async fn a_load_comes_whole_or_not_at_all_with_copy_and_without() {
    let db = Db::new().await;
    let by_function = format!("{}&application_name=slow&options=-c%20trunkline.direct%3Doff", db.url);
    let by_function = Trunkline::connect(&by_function).await.unwrap();
    for (stream, tl) in [("copied", db.client("fast").await), ("written", by_function)] {
        let streams = tl.streams();
        streams.open(stream).await.unwrap();
        streams.register(stream, "c", Position::End).await.unwrap();
        let event = |n: u32| NewEvent::new(n.to_string()).kind("t").key(format!("k{n}")).header("h", "v");
        let loaded = streams.load(stream, futures_util::stream::iter((0..5000).map(event))).await.unwrap();
        assert_eq!(loaded, 5000);
        let spoilt = (0..5000).map(|n| if n == 4999 { event(n).kind("t".repeat(101)) } else { event(n) });
        let e = streams.load(stream, futures_util::stream::iter(spoilt)).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("got 101"), "{e}");
        let large = [NewEvent::new("x".repeat(1_048_577))];
        let e = streams.load(stream, futures_util::stream::iter(large)).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("1048577"), "{e}");
        let mut consumer = streams.consumer(stream, "c");
        let mut all = Vec::new();
        while all.len() < 5000 {
            let mut batch = within(5_000, "a batch", consumer.next()).await.unwrap();
            batch.finish().await.unwrap();
            all.append(&mut batch.take_events());
        }
        assert!(consumer.try_next().await.unwrap().is_none(), "{stream}");
        assert!(all.iter().enumerate().all(|(n, e)| e.payload.text().unwrap() == n.to_string()));
        assert_eq!(
            (all[7].kind.as_str(), all[7].key.as_deref(), all[7].headers["h"].as_str()),
            ("t", Some("k7"), "v")
        );
    }
}

#[tokio::test]
async fn a_round_of_the_duties_ticks_and_empties_what_nobody_needs() {
    let (db, tl) = orders().await;
    let raw = db.raw().await;
    raw.run("update trunkline.stream set tick_lag = '0', turn_bytes = 1, free_after = '0'").await;
    let ticks = "select max(id)::text from trunkline.stream_tick";
    let before = raw.one(ticks).await;
    tl.streams().append("orders", "x").await.unwrap();
    tl.maintain().await.unwrap();
    assert_ne!(raw.one(ticks).await, before, "a consumer that polls needs the tick");
    let mut consumer = tl.streams().consumer("orders", "c");
    consumer.try_next().await.unwrap().unwrap().finish().await.unwrap();
    let done = raw.one("select trunkline.maintain()->'streams'->>'errors'").await;
    assert_eq!(done, "{}");
    tl.maintain().await.unwrap();
    assert_eq!(raw.one("select count(*)::text from trunkline.stream_event").await, "0");
}

#[tokio::test]
async fn a_new_batch_is_no_larger_than_asked_for_and_what_comes_again_counts() {
    let (_db, tl) = orders().await;
    tl.streams().append_all("orders", (0..10).map(|n| n.to_string())).await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c").max_events(4);
    let first = within(5_000, "a batch", consumer.next()).await.unwrap();
    assert_eq!(texts(first.events()), ["0", "1", "2", "3"]);
    let ids: Vec<i64> = first.events().iter().map(|e| e.id).collect();
    first.retry(&ids[..3], millis(0), None).await.unwrap();
    first.give_up(&ids[3..], Some("enough")).await.unwrap();
    first.finish().await.unwrap();
    // What comes again has at most half of it, so that it does not keep out what is new.
    let second = within(5_000, "a batch", consumer.next()).await.unwrap();
    assert_eq!(texts(second.events()), ["0", "1", "4", "5"]);
    second.retry(&ids[..3], millis(0), None).await.unwrap();
    second.finish().await.unwrap();
    let (mut attempts, mut consumer) = (Vec::new(), consumer.max_events(3));
    while let Some(batch) = consumer.try_next().await.unwrap() {
        assert!(batch.events().len() <= 3, "{:?}", texts(batch.events()));
        attempts.extend(batch.events().iter().map(|e| (e.payload.text().unwrap().to_owned(), e.attempt)));
        batch.finish().await.unwrap();
    }
    attempts.sort_unstable();
    let all = [("0", 3), ("1", 3), ("2", 2), ("6", 1), ("7", 1), ("8", 1), ("9", 1)];
    assert_eq!(attempts, all.map(|(text, n)| (text.to_owned(), n)));
}

#[tokio::test]
async fn what_is_put_off_comes_when_it_is_due_to_who_sleeps() {
    let (db, tl) = orders().await;
    let raw = db.raw().await;
    // The first minute of the first session is watched for what a crash may have left: let it be over.
    raw.run("update trunkline.session set opened_at = opened_at - interval '2 minutes'").await;
    tl.streams().append("orders", "later").await.unwrap();
    let mut consumer = tl.streams().consumer("orders", "c");
    let batch = within(5_000, "a batch", consumer.next()).await.unwrap();
    batch.retry(&[batch.events()[0].id], secs(8), None).await.unwrap();
    batch.finish().await.unwrap();
    drop(batch);
    let put_off = Stopwatch::start();
    let next = tokio::spawn(async move { consumer.next().await.unwrap() });
    // Nobody is watched any more, so it looks twice a minute.
    raw.until("it to be at rest", "select bool_and(rests) from trunkline.session").await;
    let again = within(12_000, "what was put off", next).await.unwrap();
    assert_eq!(again.events()[0].attempt, 2);
    assert!(put_off.passed() >= secs(7) && put_off.elapsed() < secs(12), "{:?}", put_off.elapsed());
}

#[tokio::test]
async fn who_waits_gets_the_batch_of_a_killed_one_whoever_buries_that() {
    let (db, tl) = orders().await;
    let raw = db.raw().await;
    raw.run("update trunkline.session set opened_at = opened_at - interval '2 minutes'").await;
    let _buriers = [Process::start("rescuer", &db).await, Process::start("rescuer", &db).await];
    for n in 1..=3 {
        tl.streams().append("orders", "x").await.unwrap();
        let mut child = Process::start("consumer", &db).await;
        child.line("took").await;
        let mut next = tl.streams().consumer("orders", "c");
        let next = tokio::spawn(async move { next.next().await.unwrap() });
        asleep(&raw, "client").await;
        child.child.kill().await.unwrap();
        let batch = within(3_000, "the batch", next).await.unwrap();
        assert_eq!(batch.attempt(), 2, "round {n}");
        batch.finish().await.unwrap();
    }
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_written() {
    let (db, tl) = orders().await;
    let streams = tl.streams();
    let raw: Raw = db.raw().await;
    raw.run("update trunkline.stream set max_bytes = 10").await;
    let cases: [(&str, NewEvent, ErrorKind, &str); 5] = [
        ("none", "x".into(), ErrorKind::NotFound, "there is no stream \"none\""),
        ("orders", "12345678901".into(), ErrorKind::Invalid, "at most 10 bytes, got 11"),
        (
            "orders",
            NewEvent::new("x").kind("t".repeat(101)),
            ErrorKind::Invalid,
            "type must be at most 100 bytes, got 101",
        ),
        (
            "orders",
            NewEvent::new("x").key("k".repeat(1001)),
            ErrorKind::Invalid,
            "key must be at most 1000 bytes, got 1001",
        ),
        ("orders", NewEvent::new("x").header("a", "b\nc"), ErrorKind::Invalid, "line breaks"),
    ];
    for (stream, event, kind, words) in cases {
        let e = streams.append_all(stream, [NewEvent::new("ok"), event]).await.unwrap_err();
        assert!(e.kind() == kind && e.to_string().contains(words), "{words}: {e}");
    }
    for at in [Position::Tick(99), Position::Like("nobody".into())] {
        assert_eq!(streams.register("orders", "late", at).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let e = streams.register("orders", "late", Position::Time("nonsense".into())).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains("position"), "{e}");
    let e = streams.consumer("orders", "nobody").next().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    let mut ended = streams.consume(Consume::new("orders", "nobody"), |_| async { Ok(()) });
    let e = within(5_000, "the end", ended.ended()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert_eq!(raw.one("select count(*)::text from trunkline.stream_event").await, "0");
}
