//! Requests through the library: every promise of calling and serving.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use trunkline::{
    ErrorKind, Trunkline,
    requests::{Content, Failure, Payload, Request, Serve, Serving},
};

use crate::support::{Db, Stopwatch, millis, secs, until, within};

/// Answers with what it got, and says nothing else.
pub fn echo(tl: &Trunkline, channel: &str) -> Serving {
    tl.requests().serve(channel, |r: Request| async move { Ok::<_, Failure>(r.payload) })
}

/// Waits until so many responders of a channel are present.
pub async fn served(db: &Db, channel: &str, by: usize) {
    let raw = db.raw().await;
    let sql =
        format!("select count(*) = {by} from trunkline.request_responders() where channel = '{channel}'");
    raw.until("responders to be present", &sql).await;
}

async fn pair() -> (Db, Trunkline, Trunkline) {
    let db = Db::new().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    (db, caller, responder)
}

#[tokio::test]
async fn text_json_and_bytes_come_back_as_they_were_sent() {
    let (db, caller, responder) = pair().await;
    let _serving = echo(&responder, "echo");
    served(&db, "echo", 1).await;
    for size in [0, 1, 7_999, 8_000, 8_001, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 256) as u8).collect();
        let reply = caller.requests().call("echo", bytes.clone()).await.unwrap();
        assert_eq!(
            (reply.payload.content(), reply.payload.bytes()),
            (Content::Bytes, bytes.as_slice()),
            "{size}"
        );
    }
    let text = "é'\\\"\n\r\u{0} \u{1F600} %s {}";
    assert_eq!(caller.requests().call("echo", text).await.unwrap().text().unwrap(), text);
    let json = serde_json::json!({"a": [1, null, "x\u{0}"], "b": 9_007_199_254_740_993_i64});
    let reply = caller.requests().call("echo", Payload::json(&json).unwrap()).await.unwrap();
    assert_eq!(reply.payload.content(), Content::Json);
    assert_eq!(reply.parse::<serde_json::Value>().unwrap(), json);
}

#[tokio::test]
async fn a_payload_over_its_channels_limit_is_refused_with_the_limit_and_the_size() {
    let (db, caller, responder) = pair().await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_open('big', max_bytes => 67108864)").await;
    let (_a, _b) = (echo(&responder, "big"), echo(&responder, "echo"));
    served(&db, "big", 1).await;
    served(&db, "echo", 1).await;
    let e = caller.requests().call("echo", vec![7; (1 << 20) + 1]).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Invalid, Some("TL004")));
    assert!(e.to_string().contains("1048576") && e.to_string().contains("1048577"), "{e}");
    let big = vec![42; 20 << 20];
    let reply = caller.requests().call("big", big.clone()).timeout(secs(60)).await.unwrap();
    assert!(reply.payload.bytes() == big);
    assert_eq!(caller.requests().call("echo", "still well").await.unwrap().text().unwrap(), "still well");
}

#[tokio::test]
async fn headers_are_carried_both_ways() {
    let (db, caller, responder) = pair().await;
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let pending = caller.requests().call("work", "x").header("traceparent", trace).start().await.unwrap();
    let held = inbox.next().await.unwrap();
    assert_eq!(held.headers["traceparent"], trace);
    held.reply_with("y", &[("k".to_owned(), "é\"".to_owned())].into()).await.unwrap();
    assert_eq!(pending.wait().await.unwrap().headers["k"], "é\"");
}

#[tokio::test]
async fn a_type_goes_to_whoever_serves_it_and_is_unsupported_where_nobody_does() {
    let (db, caller, a) = pair().await;
    let b = db.client("b").await;
    let named = |tl: &Trunkline, kind: &'static str| {
        tl.requests()
            .serve(Serve::channel("work").types([kind]), move |_| async move { Ok::<_, Failure>(kind) })
    };
    let (_a, _b) = (named(&a, "one"), named(&b, "two"));
    served(&db, "work", 2).await;
    for _ in 0..10 {
        for kind in ["one", "two"] {
            let reply =
                within(3_000, kind, async { caller.requests().call("work", "x").kind(kind).await }).await;
            assert_eq!(reply.unwrap().text().unwrap(), kind);
        }
    }
    let e = caller.requests().call("work", "x").kind("three").await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Remote, Some("unsupported")));
}

#[tokio::test]
async fn what_a_process_asks_of_itself_needs_no_poll() {
    let db = Db::new().await;
    let tl = db.client("both").await;
    let _serving = tl
        .requests()
        .serve(Serve::channel("work").types([""]), |r: Request| async move { Ok::<_, Failure>(r.payload) });
    served(&db, "work", 1).await;
    for _ in 0..5 {
        within(400, "an echo", async { tl.requests().call("work", "x").await }).await.unwrap();
        let e = within(400, "unsupported", async { tl.requests().call("work", "x").kind("no").await }).await;
        assert_eq!(e.unwrap_err().code(), Some("unsupported"));
        within(400, "confirmed", async { tl.requests().send("work", "x").confirm().await }).await.unwrap();
    }
}

#[tokio::test]
async fn two_channels_behind_one_door_are_both_woken() {
    let (db, caller, responder) = pair().await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_open('c' || i) from generate_series(1, 65) i").await;
    let (_a, _b) = (echo(&responder, "c1"), echo(&responder, "c65"));
    served(&db, "c1", 1).await;
    served(&db, "c65", 1).await;
    for _ in 0..5 {
        for channel in ["c1", "c65"] {
            within(400, channel, async { caller.requests().call(channel, "x").await }).await.unwrap();
        }
    }
}

#[tokio::test]
async fn one_way_ends_when_it_is_sent_and_confirmed_when_it_is_taken() {
    let (db, caller, responder) = pair().await;
    let mut inbox = responder.requests().inbox(Serve::channel("work").concurrency(1));
    served(&db, "work", 1).await;
    assert_eq!(caller.requests().send("work", "1").await.unwrap().payload.bytes(), b"");
    let first = inbox.next().await.unwrap();
    assert!(first.one_way);
    let confirmed = caller.requests().send("work", "2").confirm().start().await.unwrap();
    let mut waiting = Box::pin(confirmed.wait());
    assert!(
        tokio::time::timeout(millis(100), &mut waiting).await.is_err(),
        "no slot is free, so nobody took it"
    );
    first.reply("").await.unwrap();
    within(1_000, "taken", waiting).await.unwrap();
    assert_eq!(inbox.next().await.unwrap().payload.text().unwrap(), "2");
}

#[tokio::test]
async fn parts_arrive_in_order_before_the_reply() {
    let (db, caller, responder) = pair().await;
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let (tx, mut parts) = mpsc::channel(100);
    let pending = caller.requests().call("work", "x").parts(tx).start().await.unwrap();
    let mut held = inbox.next().await.unwrap();
    for n in 1..=50 {
        held.part(format!("{n}")).await.unwrap();
    }
    held.reply("end").await.unwrap();
    assert_eq!(pending.wait().await.unwrap().text().unwrap(), "end");
    for n in 1..=50 {
        let part = parts.try_recv().unwrap();
        assert_eq!((part.number, part.payload.text().unwrap()), (n, n.to_string().as_str()));
    }
}

#[tokio::test]
async fn a_dropped_call_cancels_its_handler_within_a_second() {
    let (db, caller, responder) = pair().await;
    let (tx, mut dropped) = mpsc::unbounded_channel();
    let (begun_tx, mut begun) = mpsc::unbounded_channel();
    let _serving = responder.requests().serve("work", move |_| {
        let (guard, begun) = (tx.clone(), begun_tx.clone());
        async move {
            let _told = Told(guard);
            begun.send(()).unwrap();
            std::future::pending::<Result<String, Failure>>().await
        }
    });
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    begun.recv().await.unwrap();
    drop(pending);
    within(1_000, "the handler to be dropped", dropped.recv()).await.unwrap();
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    begun.recv().await.unwrap();
    assert_eq!(pending.cancel().await.unwrap_err().kind(), ErrorKind::Cancelled);
    within(1_000, "the handler to be dropped", dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn what_was_cancelled_before_a_close_is_cancelled_after_it() {
    let db = Db::new().await;
    let responder = db.client("responder").await;
    let mut inbox = responder.requests().inbox("work");
    for _ in 0..10 {
        let caller = db.client("caller").await;
        let pending = caller.requests().call("work", "x").wait_for_responder().start().await.unwrap();
        let _held = within(3_000, "the request", inbox.next()).await.unwrap();
        drop(pending);
        caller.close().await;
        let states = "select string_agg(distinct state, ' ') from trunkline.request_list()";
        assert_eq!(db.raw().await.one(states).await, "cancelled");
    }
}

struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn a_handlers_error_and_its_panic_are_remote_errors() {
    let (db, caller, responder) = pair().await;
    let _serving = responder.requests().serve("work", |r: Request| async move {
        match r.payload.text()? {
            "panic" => panic!("S3cret-panic"),
            "io" => Err(std::io::Error::other("disk"))?,
            _ => {}
        }
        Err::<String, _>(Failure::new("E42", "not today"))
    });
    served(&db, "work", 1).await;
    for (ask, code, text) in
        [("x", "E42", "not today"), ("panic", "panic", "the handler panicked"), ("io", "error", "disk")]
    {
        let e = caller.requests().call("work", ask).await.unwrap_err();
        assert_eq!((e.kind(), e.code(), e.to_string().as_str()), (ErrorKind::Remote, Some(code), text));
    }
}

#[tokio::test]
async fn an_incoming_request_that_is_dropped_fails_at_once() {
    let (db, caller, responder) = pair().await;
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    drop(inbox.next().await);
    assert_eq!(pending.wait().await.unwrap_err().code(), Some("dropped"));
    let left = caller.requests().call("work", "y").start().await.unwrap();
    let listed = "select exists (select from trunkline.request_list('work'))";
    db.raw().await.until("it to be written", listed).await;
    drop(inbox);
    served(&db, "work", 0).await;
    // It was taken just before, and is dropped; or it was not, and waits for the next one.
    let _next = echo(&responder, "work");
    match within(3_000, "an outcome", left.wait()).await {
        Ok(reply) => assert_eq!(reply.text().unwrap(), "y"),
        Err(e) => assert_eq!(e.code(), Some("dropped")),
    }
}

#[tokio::test]
async fn nobody_there_is_told_within_50_ms_and_waiting_for_one_is_served() {
    let (db, caller, responder) = pair().await;
    let _ = caller.requests().call("work", "first use").await;
    let mut best = secs(1);
    for _ in 0..5 {
        let begun = Stopwatch::start();
        let e = caller.requests().call("work", "x").await.unwrap_err();
        assert_eq!((e.kind(), e.code()), (ErrorKind::NoResponder, Some("TL012")));
        best = best.min(begun.elapsed());
    }
    assert!(best < millis(50), "{best:?}");
    let raw = db.raw().await;
    let waiting = caller.requests().call("work", "early").wait_for_responder().start().await.unwrap();
    raw.until("it to be there", "select exists (select from trunkline.request_list('work'))").await;
    let _serving = echo(&responder, "work");
    let reply = within(1_500, "the one that came first", waiting.wait()).await.unwrap();
    assert_eq!(reply.text().unwrap(), "early");
}

#[tokio::test]
async fn peers_ask_each_other_by_address() {
    let (_db, a, b) = pair().await;
    let to = a.address().unwrap();
    let _a =
        a.requests().serve(Serve::own_address(), |r: Request| async move { Ok::<_, Failure>(r.payload) });
    let mut at_b = b.requests().inbox(Serve::own_address());
    let reply = b.requests().call(to, "to a").await.unwrap();
    assert_eq!(reply.text().unwrap(), "to a");
    let pending = a.requests().call(format!("@{}", b.address().unwrap()), "to b").start().await.unwrap();
    at_b.next().await.unwrap().reply("b").await.unwrap();
    assert_eq!(pending.wait().await.unwrap().text().unwrap(), "b");
    let nobody = a.requests().call(uuid::Uuid::new_v4(), "x").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NoResponder);
}

#[tokio::test]
async fn a_thousand_requests_that_expire_together_end_on_time() {
    let (db, caller, responder) = pair().await;
    let _inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..1_000_u64 {
        let call = caller.requests().call("work", "x").timeout(millis(1_000 + n));
        let watch = Stopwatch::start();
        calls.spawn(async move {
            let e = call.await.unwrap_err();
            (e.kind(), watch.elapsed().saturating_sub(millis(1_000 + n)))
        });
    }
    let ended = calls.join_all().await;
    let worst = ended.iter().map(|e| e.1).max().unwrap();
    assert!(ended.iter().all(|e| e.0 == ErrorKind::TimedOut));
    // The promise is 100 ms; the rest is for a machine that runs other tests meanwhile.
    assert!(worst < millis(400), "{worst:?}");
    until("nothing to be left", async || caller.requests().awaiting().is_empty()).await;
}

#[tokio::test]
async fn a_late_reply_is_refused_and_counted_and_changes_nothing() {
    let (db, caller, responder) = pair().await;
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").timeout(secs(2)).start().await.unwrap();
    let id = pending_id(&caller).await;
    let held = within(10_000, "it to be taken in time", inbox.next()).await.unwrap();
    assert_eq!(pending.wait().await.unwrap_err().kind(), ErrorKind::TimedOut);
    let e = held.reply("late").await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Stale, Some("TL001")));
    assert_eq!(responder.requests().stats().refused, 1);
    let raw = db.raw().await;
    assert_eq!(raw.one(&format!("select outcome from trunkline.request_await({id})")).await, "timed out");
}

async fn pending_id(caller: &Trunkline) -> i64 {
    until("it to be written", async || caller.requests().awaiting().iter().any(|s| s.id != 0)).await;
    caller.requests().awaiting()[0].id
}

#[tokio::test]
async fn ten_thousand_requests_are_handled_exactly_once_by_three_responders() {
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let handled = Arc::new(std::sync::Mutex::new(std::collections::HashMap::<String, usize>::new()));
    let mut responders = Vec::new();
    for n in 0..3 {
        let (tl, handled) = (db.client(&format!("responder{n}")).await, handled.clone());
        let serving = tl.requests().serve(Serve::channel("work").concurrency(64), move |r: Request| {
            *handled.lock().unwrap().entry(r.payload.text().unwrap().to_owned()).or_default() += 1;
            async move { Ok::<_, Failure>(r.payload) }
        });
        responders.push((tl, serving));
    }
    served(&db, "work", 3).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..10_000 {
        let call = caller.requests().call("work", n.to_string()).timeout(secs(60));
        calls.spawn(async move { call.await.unwrap().text().unwrap() == n.to_string() });
        if calls.len() >= 500 {
            assert!(calls.join_next().await.unwrap().unwrap());
        }
    }
    assert!(calls.join_all().await.into_iter().all(|own| own), "each its own reply");
    let handled = handled.lock().unwrap();
    assert_eq!((handled.len(), handled.values().max()), (10_000, Some(&1)));
}

#[tokio::test]
async fn no_more_is_taken_than_there_are_slots() {
    let (db, caller, responder) = pair().await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (n, m) = (now.clone(), most.clone());
    let _serving = responder.requests().serve(Serve::channel("work").concurrency(3), move |_| {
        let (n, m) = (n.clone(), m.clone());
        async move {
            m.fetch_max(n.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(millis(2)).await;
            n.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Failure>("")
        }
    });
    served(&db, "work", 1).await;
    let raw = db.raw().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        calls.spawn(std::future::IntoFuture::into_future(caller.requests().call("work", "x")));
    }
    let taken = "select count(*) from trunkline.request_list('work', 1000) where state = 'taken'";
    while !calls.is_empty() {
        let held: usize = raw.one(taken).await.parse().unwrap();
        assert!(held <= 3, "{held} taken");
        while calls.try_join_next().is_some() {}
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_stopped_responder_finishes_what_it_took_and_takes_no_more() {
    let (db, caller, responder) = pair().await;
    let (go, gate) = tokio::sync::watch::channel(false);
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let serving = responder.requests().serve(Serve::channel("work").concurrency(1), move |_| {
        let mut gate = gate.clone();
        seen.fetch_add(1, Ordering::SeqCst);
        async move { gate.wait_for(|g| *g).await.map(|_| "").map_err(Failure::from) }
    });
    served(&db, "work", 1).await;
    let first = caller.requests().call("work", "1").start().await.unwrap();
    until("the first to begin", async || count.load(Ordering::SeqCst) == 1).await;
    let second = caller.requests().call("work", "2").timeout(millis(900)).start().await.unwrap();
    until("the second to be written", async || caller.requests().awaiting().iter().all(|s| s.id != 0)).await;
    let stopping = tokio::spawn(serving.stop());
    served(&db, "work", 0).await;
    go.send_replace(true);
    within(2_000, "the stop", stopping).await.unwrap();
    first.wait().await.unwrap();
    assert_eq!(second.wait().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn calls_in_flight_end_when_the_process_leaves() {
    let (db, caller, responder) = pair().await;
    let _inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    pending_id(&caller).await;
    caller.close().await;
    let e = within(2_000, "an end", pending.wait()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Lost);
    let raw = db.raw().await;
    raw.until(
        "the session to be gone",
        "select not exists (select from trunkline.session where application = 'caller')",
    )
    .await;
}

#[tokio::test]
async fn foreign_notifications_pass_through() {
    let (db, caller, _responder) = pair().await;
    let raw = db.raw().await;
    let mut notes = caller.listen("Odd \"name\"");
    until("the LISTEN", async || {
        raw.run("notify \"Odd \"\"name\"\"\", 'first'").await;
        tokio::time::timeout(millis(50), notes.recv()).await.is_ok()
    })
    .await;
    let garbage = "x".repeat(7_999);
    raw.run(&format!("select pg_notify('Odd \"name\"', '{garbage}'), pg_notify('trunkline_1', 'forged'), pg_notify('trunkline_x', '')")).await;
    let mut note = within(1_000, "it", notes.recv()).await.unwrap();
    while note.payload == "first" {
        note = within(1_000, "it", notes.recv()).await.unwrap();
    }
    assert_eq!((note.channel.as_str(), note.payload, note.pid), ("Odd \"name\"", garbage, raw.pid));
}

#[tokio::test]
async fn what_could_not_be_sent_in_ones_own_transaction_is_not_awaited_for_ever() {
    let (db, caller, _responder) = pair().await;
    let mut raw = db.raw().await;
    let tx = raw.client.build_transaction().read_only(true).start().await.unwrap();
    let call = || caller.requests().call("work", "x").wait_for_responder().timeout(secs(60));
    call().start_on(&mut &tx).await.unwrap_err();
    drop(tx);
    let none = caller.requests().call("nobody", "x");
    let tx = raw.client.transaction().await.unwrap();
    assert_eq!(none.start_on(&mut &tx).await.unwrap_err().kind(), ErrorKind::NoResponder);
    assert_eq!(caller.requests().awaiting(), []);
}
