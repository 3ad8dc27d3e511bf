//! Races as named steps: two or three raw sessions, each step waited for by what the database shows.

use trunkline::{ErrorKind, requests::Failure};

use crate::{
    requests::served,
    support::{Db, Raw, millis, secs, until, within},
};

/// A SQL responder of `work` with one request taken: its session, the request's id and the claim.
async fn taken(db: &Db) -> (Raw, Raw, String, String) {
    let (responder, caller) = (db.raw().await, db.raw().await);
    responder.run("select trunkline.request_serve('work')").await;
    let id =
        caller.one("select trunkline.request_send('work', 'x', timeout => '20 s', idempotent => true)").await;
    let row = responder.one("select id, claim from trunkline.request_take('work')").await;
    let (taken, claim) = row.split_once('|').unwrap();
    assert_eq!(taken, id);
    (responder, caller, id, claim.to_owned())
}

#[tokio::test]
async fn of_two_answers_at_once_the_second_waits_and_is_refused() {
    let db = Db::new().await;
    let (first, caller, id, claim) = taken(&db).await;
    let second = db.raw().await;
    first.run(&format!("begin; select trunkline.request_reply('{claim}', 'first')")).await;
    let (pid, reply) = (second.pid, format!("select trunkline.request_reply('{claim}', 'second')"));
    let waiting = tokio::spawn(async move { second.code(&reply).await });
    caller.blocked(pid).await;
    first.run("commit").await;
    assert_eq!(waiting.await.unwrap(), "TL001");
    assert_eq!(caller.one(&format!("select payload from trunkline.request_await({id})")).await, "first");
}

#[tokio::test]
async fn of_two_answers_at_once_the_second_wins_when_the_first_is_rolled_back() {
    let db = Db::new().await;
    let (first, caller, id, claim) = taken(&db).await;
    let second = db.raw().await;
    first.run(&format!("begin; select trunkline.request_reply('{claim}', 'first')")).await;
    let (pid, reply) = (second.pid, format!("select trunkline.request_reply('{claim}', 'second')"));
    let waiting = tokio::spawn(async move { second.code(&reply).await });
    caller.blocked(pid).await;
    first.run("rollback").await;
    assert_eq!(waiting.await.unwrap(), "00000");
    assert_eq!(caller.one(&format!("select payload from trunkline.request_await({id})")).await, "second");
}

#[tokio::test]
async fn a_cancel_and_a_reply_agree_on_the_outcome() {
    let db = Db::new().await;
    let (responder, caller, id, claim) = taken(&db).await;
    caller.run(&format!("begin; select trunkline.request_cancel({id})")).await;
    let (pid, reply) = (responder.pid, format!("select trunkline.request_reply('{claim}', 'x')"));
    let waiting = tokio::spawn(async move { responder.code(&reply).await });
    caller.blocked(pid).await;
    caller.run("commit").await;
    assert_eq!(waiting.await.unwrap(), "TL001");
    assert_eq!(caller.one(&format!("select outcome from trunkline.request_await({id})")).await, "cancelled");
    assert_eq!(caller.one(&format!("select trunkline.request_cancel({id})")).await, "f");
}

#[tokio::test]
async fn a_part_of_an_ended_request_is_refused() {
    let db = Db::new().await;
    let (responder, caller, id, claim) = taken(&db).await;
    assert_eq!(responder.code(&format!("select trunkline.request_part('{claim}', 1, 'p')")).await, "00000");
    assert_eq!(responder.code(&format!("select trunkline.request_part('{claim}', 1, 'p')")).await, "TL001");
    caller.run(&format!("select trunkline.request_cancel({id})")).await;
    assert_eq!(responder.code(&format!("select trunkline.request_part('{claim}', 2, 'p')")).await, "TL001");
}

#[tokio::test]
async fn a_buried_responders_answer_and_its_burial_agree() {
    let db = Db::new().await;
    let (responder, caller, id, claim) = taken(&db).await;
    let other = db.raw().await;
    other.run("select trunkline.request_serve('work')").await;
    // The answer is open when the reaper comes: it waits a moment, leaves it, and buries nothing twice.
    responder.run(&format!("begin; select trunkline.request_reply('{claim}', 'mine')")).await;
    caller.run("update trunkline.session set expires_at = '-infinity' where id = (select session from trunkline.take_e0)").await;
    within(1_000, "the reaper not to wait", caller.run("select trunkline._session_reap()")).await;
    responder.run("commit").await;
    caller.run("select trunkline._session_reap()").await;
    assert_eq!(caller.one(&format!("select payload from trunkline.request_await({id})")).await, "mine");
    assert!(other.rows("select id from trunkline.request_take('work')").await.is_empty());
}

#[tokio::test]
async fn a_dead_sessions_open_answer_does_not_stall_other_processes() {
    let db = Db::new().await;
    let (responder, admin, _id, claim) = taken(&db).await;
    let (caller, other) = (db.client("caller").await, db.client("other").await);
    let _serving = crate::requests::echo(&other, "echo");
    served(&db, "echo", 1).await;
    let hand = db.raw().await;
    hand.run(&format!("begin; select trunkline.request_reply('{claim}', 'open')")).await;
    admin.run(&format!("select pg_terminate_backend({})", responder.pid)).await;
    // Every process looks for the dead once a second: go on for three of those.
    let end = std::time::Instant::now() + secs(3);
    while std::time::Instant::now() < end {
        within(1_000, "an answer", async { caller.requests().call("echo", "x").await }).await.unwrap();
    }
    hand.run("commit").await;
}

#[tokio::test]
async fn an_open_take_holds_up_its_channel_only() {
    let db = Db::new().await;
    let admin = db.raw().await;
    admin.run("select trunkline.request_open('work'), trunkline.request_open('echo')").await;
    let (caller, other) = (db.client("caller").await, db.client("other").await);
    let _work = crate::requests::echo(&other, "work");
    let _echo = crate::requests::echo(&other, "echo");
    served(&db, "work", 1).await;
    served(&db, "echo", 1).await;
    let sloppy = db.raw().await;
    sloppy.run("select trunkline.request_serve('work')").await;
    sloppy
        .run("begin; select trunkline.request_send('work', 'x'); select trunkline.request_take('work')")
        .await;
    admin.run("select trunkline.request_send('work', 'y')").await;
    sloppy.run("select id from trunkline.request_take('work')").await;
    let end = std::time::Instant::now() + secs(7);
    while std::time::Instant::now() < end {
        within(2_500, "an answer", async { caller.requests().call("echo", "x").await }).await.unwrap();
    }
    sloppy.run("commit").await;
    within(3_000, "an answer", async { caller.requests().call("work", "x").await }).await.unwrap();
}

#[tokio::test]
async fn a_request_sent_in_ones_own_transaction_goes_out_with_the_commit() {
    let db = Db::new().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let mut own = db.raw().await;
    let tx = own.client.transaction().await.unwrap();
    let pending = caller.requests().call("work", "kept").start_on(&mut &tx).await.unwrap();
    let flag = caller.requests().call("work", "before the commit").start().await.unwrap();
    let first = inbox.next().await.unwrap();
    assert_eq!(first.payload.text().unwrap(), "before the commit");
    first.reply("").await.unwrap();
    flag.wait().await.unwrap();
    tx.commit().await.unwrap();
    let second = within(500, "the bell of the commit", inbox.next()).await.unwrap();
    second.reply("done").await.unwrap();
    assert_eq!(pending.wait().await.unwrap().text().unwrap(), "done");

    let tx = own.client.transaction().await.unwrap();
    let gone = caller.requests().call("work", "rolled back").start_on(&mut &tx).await.unwrap();
    tx.rollback().await.unwrap();
    drop(gone);
    until("the call that never was to be forgotten", async || caller.requests().awaiting().is_empty()).await;
    assert!(inbox.try_next().is_none());
}

#[tokio::test]
async fn a_reply_in_ones_own_transaction_goes_out_with_its_writes_or_not_at_all() {
    let db = Db::new().await;
    let admin = db.raw().await;
    admin.run("create table public.effect (id bigint)").await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let mut own = db.raw().await;

    let pending = caller.requests().call("work", "x").start().await.unwrap();
    let held = inbox.next().await.unwrap();
    let tx = own.client.transaction().await.unwrap();
    tx.batch_execute("insert into public.effect values (1)").await.unwrap();
    held.reply_on(&mut &tx, "with it").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(pending.wait().await.unwrap().text().unwrap(), "with it");

    let pending = caller.requests().call("work", "x").start().await.unwrap();
    let held = inbox.next().await.unwrap();
    assert_eq!(pending.cancel().await.unwrap_err().kind(), ErrorKind::Cancelled);
    let tx = own.client.transaction().await.unwrap();
    tx.batch_execute("insert into public.effect values (2)").await.unwrap();
    assert_eq!(held.reply_on(&mut &tx, "late").await.unwrap_err().kind(), ErrorKind::Stale);
    tx.rollback().await.unwrap();
    assert_eq!(admin.one("select string_agg(id::text, ',') from public.effect").await, "1");
}

#[tokio::test]
async fn an_answer_that_stays_open_does_not_keep_other_calls_from_ending() {
    let db = Db::new().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut inbox = responder.requests().inbox(trunkline::requests::Serve::channel("work").concurrency(64));
    served(&db, "work", 1).await;
    let mut pending = Vec::new();
    for _ in 0..20 {
        pending.push(caller.requests().call("work", "x").start().await.unwrap());
    }
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(inbox.next().await.unwrap());
    }
    let mut own = db.raw().await;
    let tx = own.client.transaction().await.unwrap();
    held.remove(0).reply_on(&mut &tx, "open").await.unwrap();
    drop(pending);
    for h in &held {
        within(2_000, "the handler to be told", h.cancelled()).await;
    }
    tx.commit().await.unwrap();
    until("nothing to be left in flight", async || caller.requests().awaiting().is_empty()).await;
}

#[tokio::test]
async fn what_is_cancelled_beside_an_open_answer_is_cancelled_when_that_is_rolled_back() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    let held = inbox.next().await.unwrap();
    let mut own = db.raw().await;
    let tx = own.client.transaction().await.unwrap();
    held.reply_on(&mut &tx, "open").await.unwrap();
    let e = within(1_500, "a word all the same", pending.cancel()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::TimedOut, "the database has not said");
    tx.rollback().await.unwrap();
    let cancelled = "select state = 'cancelled' from trunkline.request_list('work')";
    raw.until("it to be cancelled, long before its deadline", cancelled).await;
    until("nothing to be left in flight", async || caller.requests().awaiting().is_empty()).await;
}

#[tokio::test]
async fn a_call_dropped_at_once_is_cancelled_at_the_responder() {
    let db = Db::new().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    drop(caller.requests().call("work", "x").start().await.unwrap());
    until("nothing to be left in flight", async || caller.requests().awaiting().is_empty()).await;
    if let Ok(Some(held)) = tokio::time::timeout(millis(50), inbox.next()).await {
        within(1_000, "the handler to be told", held.cancelled()).await;
        let refused = held.fail(Failure::new("late", "")).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Stale);
    }
}

#[tokio::test]
async fn two_takers_at_repeatable_read_are_refused_and_never_take_the_same() {
    let db = Db::new().await;
    let (responder, caller, _id, _claim) = taken(&db).await;
    caller.run("select trunkline.request_send('work', 'y')").await;
    for level in ["repeatable read", "serializable"] {
        responder.run(&format!("begin isolation level {level}")).await;
        assert_eq!(responder.code("select trunkline.request_take('work')").await, "25001");
        responder.run("rollback").await;
    }
    assert_eq!(responder.rows("select id from trunkline.request_take('work', 10)").await.len(), 1);
}

#[tokio::test]
async fn what_a_transaction_sends_after_it_took_is_found_by_the_next_take() {
    let db = Db::new().await;
    let own = db.raw().await;
    own.run("select trunkline.request_serve('work')").await;
    own.run("begin; select trunkline.request_send('work', '1')").await;
    let other = db.raw().await;
    other.run("select trunkline.request_send('work', '2')").await;
    assert_eq!(own.rows("select payload from trunkline.request_take('work', 10)").await, ["2"]);
    own.run("select trunkline.request_send('work', '3'); commit").await;
    assert_eq!(own.rows("select payload from trunkline.request_take('work', 10)").await, ["1", "3"]);
}

#[tokio::test]
async fn two_rounds_of_maintenance_at_once_are_harmless() {
    let db = Db::new().await;
    let (a, b) = (db.client("a").await, db.client("b").await);
    for _ in 0..20 {
        let (x, y) = tokio::join!(a.maintain(), b.maintain());
        x.unwrap();
        y.unwrap();
    }
}
