//! Outcomes and requests as events or by polling: a caller's mailbox, a responder's inbox.

use std::{collections::BTreeSet, time::Instant};

use trunkline::{
    ErrorKind,
    requests::{Event, Failure, Mailbox, Request, Serve},
};

use crate::{
    requests::{echo, served},
    support::{Db, millis, secs, until, within},
};

async fn silent(db: &Db, at_once: usize) -> (trunkline::Trunkline, trunkline::requests::Inbox) {
    let responder = db.client("silent").await;
    let inbox = responder.requests().inbox(Serve::channel("silent").concurrency(at_once));
    served(db, "silent", 1).await;
    (responder, inbox)
}

#[tokio::test]
async fn a_mailbox_gives_each_calls_one_outcome_as_an_event_or_by_polling() {
    let db = Db::new().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _echo = echo(&responder, "echo");
    served(&db, "echo", 1).await;
    let _failing = responder
        .requests()
        .serve("failing", |_: Request| async { Err::<Vec<u8>, _>(Failure::new("no", "not today")) });
    served(&db, "failing", 1).await;
    let (_silent, _inbox) = silent(&db, 16).await;
    let requests = caller.requests();
    let mut mailbox = requests.mailbox();
    let slow = mailbox.send(requests.call("silent", "x").timeout(millis(400))).await.unwrap();
    let quick = mailbox.send(requests.call("echo", "hello").kind("greeting")).await.unwrap();
    let bad = mailbox.send(requests.call("failing", "x")).await.unwrap();
    let none = mailbox.send(requests.call("nobody", "x")).await.unwrap();
    until("three to be here", async || mailbox.replies().len() == 3).await;
    assert_eq!(mailbox.awaiting(), [slow]);
    let outcome = mailbox.take(quick).expect("taken out of turn");
    assert_eq!((outcome.destination.as_str(), outcome.kind.as_str()), ("echo", "greeting"));
    assert_eq!(outcome.result.unwrap().payload.bytes(), b"hello");
    assert!(mailbox.take(quick).is_none(), "once only");
    let mut left = BTreeSet::new();
    while let Some(outcome) = mailbox.try_next() {
        left.insert((outcome.number, outcome.result.unwrap_err().kind().to_string()));
    }
    assert_eq!(left, BTreeSet::from([(bad, "remote error".into()), (none, "no responder".into())]));
    let expired = within(600, "the expiry", mailbox.next()).await.unwrap();
    assert_eq!((expired.number, expired.result.unwrap_err().kind()), (slow, ErrorKind::TimedOut));
    assert!(within(100, "the end", mailbox.next()).await.is_none());
}

#[tokio::test]
async fn dropping_a_mailbox_cancels_what_is_open() {
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let (_silent, mut inbox) = silent(&db, 16).await;
    let mut mailbox: Mailbox = caller.requests().mailbox();
    mailbox.send(caller.requests().call("silent", "x")).await.unwrap();
    let Some(Event::Request(held)) = inbox.event().await else { panic!("a request") };
    drop(mailbox);
    let Some(Event::Expired(id)) = within(1_500, "the cancel", inbox.event()).await else {
        panic!("its end")
    };
    assert_eq!(id, held.id);
}

#[tokio::test]
async fn an_answered_request_is_no_expiry_and_an_unanswered_one_is_told_at_its_deadline() {
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let (_silent, mut inbox) = silent(&db, 16).await;
    let requests = caller.requests();
    let answered = requests.call("silent", "a").timeout(secs(2)).start().await.unwrap();
    let Some(Event::Request(first)) = within(10_000, "a request", inbox.event()).await else {
        panic!("a request")
    };
    first.reply("done").await.unwrap();
    answered.wait().await.unwrap();
    let open = requests.call("silent", "b").timeout(secs(2)).start().await.unwrap();
    let Some(Event::Request(second)) = within(10_000, "a request", inbox.event()).await else {
        panic!("a request")
    };
    let Some(Event::Expired(id)) = within(2_400, "the end", inbox.event()).await else { panic!("its end") };
    assert_eq!(id, second.id, "and not the one that was answered");
    assert_eq!(open.wait().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(second.reply("late").await.unwrap_err().kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn a_thousand_that_expire_in_one_instant_are_told_on_both_sides() {
    const ALL: usize = 1_000;
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let (_silent, mut inbox) = silent(&db, ALL).await;
    let mut mailbox = caller.requests().mailbox();
    let until_then = Instant::now() + secs(3);
    for _ in 0..ALL {
        let left = until_then.saturating_duration_since(Instant::now());
        mailbox.send(caller.requests().call("silent", "x").timeout(left)).await.unwrap();
    }
    let mut held = Vec::new();
    let mut expired = BTreeSet::new();
    while expired.len() < ALL {
        match within(6_000, "an event", inbox.event()).await.expect("open") {
            Event::Request(incoming) => held.push(incoming),
            Event::Expired(id) => assert!(expired.insert(id), "told twice"),
            _ => {}
        }
    }
    assert_eq!(held.iter().map(|h| h.id).collect::<BTreeSet<_>>(), expired);
    for _ in 0..ALL {
        let outcome = within(1_000, "an outcome", mailbox.next()).await.expect("one for each");
        assert_eq!(outcome.result.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
