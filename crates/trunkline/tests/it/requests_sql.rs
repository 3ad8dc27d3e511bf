//! Requests in plain SQL: both sides, their traps, and SQL against the library.

use std::time::Instant;

use trunkline::{ErrorKind, requests::Serve};

use crate::{
    requests::{echo, served},
    support::{Db, Stopwatch, millis, until, within},
};

#[tokio::test]
async fn sql_asks_and_sql_answers() {
    let db = Db::new().await;
    let (a, mut b) = (db.raw().await, db.raw().await);
    let bell = b.one("select trunkline.request_serve('work', array['hash'])").await;
    b.run(&format!("listen {bell}")).await;
    let id = a.one("select trunkline.request_send('work', 'é', 'hash', headers => '{\"k\": \"v\"}')").await;
    assert_eq!(within(1_000, "the bell", b.notes.recv()).await.unwrap(), bell);
    let row =
        b.one("select claim, type, payload, headers, attempt from trunkline.request_take('work')").await;
    let mut fields = row.split('|');
    let claim = fields.next().unwrap().to_owned();
    assert_eq!(fields.collect::<Vec<_>>(), ["hash", "é", "{\"k\": \"v\"}", "1"]);
    b.run(&format!("select trunkline.request_part('{claim}', 1, 'half')")).await;
    b.run(&format!("select trunkline.request_reply('{claim}', 'done', '{{\"r\": \"1\"}}')")).await;
    let row = a.one(&format!("select outcome, payload, headers from trunkline.request_await({id})")).await;
    assert_eq!(row, "ok|done|{\"r\": \"1\"}");

    let id = a.one("select trunkline.request_send_bytes('work', '\\x00ff', 'hash')").await;
    let row = b.one("select claim, payload is null, bytes from trunkline.request_take('work')").await;
    let (claim, rest) = row.split_once('|').unwrap();
    assert_eq!(rest, "t|\\x00ff");
    b.run(&format!("select trunkline.request_reply_bytes('{claim}', '\\xff00')")).await;
    let row =
        a.one(&format!("select outcome, payload is null, bytes from trunkline.request_await({id})")).await;
    assert_eq!(row, "ok|t|\\xff00");

    let id = a.one("select trunkline.request_send('work', 'x', 'hash')").await;
    let claim = b.one("select claim from trunkline.request_take('work')").await;
    b.run(&format!("select trunkline.request_fail('{claim}', 'E7', 'no')")).await;
    let row = a.one(&format!("select outcome, code, payload from trunkline.request_await({id})")).await;
    assert_eq!(row, "remote error|E7|no");

    let id = a.one("select trunkline.request_send('work', 'x', 'other')").await;
    assert!(b.rows("select * from trunkline.request_take('work')").await.is_empty());
    assert_eq!(a.one(&format!("select outcome from trunkline.request_await({id})")).await, "unsupported");
}

#[tokio::test]
async fn await_says_at_once_what_can_never_come() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    b.run("select trunkline.request_serve('work')").await;
    for id in ["1", "2", "-5", "null", "9223372036854775807"] {
        let sql = format!("select * from trunkline.request_await({id})");
        assert_eq!(within(500, "an answer", a.code(&sql)).await, "TL007", "{id}");
        assert_eq!(a.code(&format!("select trunkline.request_cancel({id})")).await, "TL007", "{id}");
    }
    a.run("begin").await;
    let id = a.one("select trunkline.request_send('work', 'x')").await;
    let sql = format!("select * from trunkline.request_await({id})");
    assert_eq!(within(500, "an answer", a.code(&sql)).await, "TL009");
    a.run("rollback").await;
    assert_eq!(a.code(&sql).await, "TL007");
    a.run("begin; savepoint s").await;
    let id = a.one("select trunkline.request_send('work', 'x')").await;
    a.run("rollback to s; commit").await;
    assert_eq!(a.code(&format!("select * from trunkline.request_await({id})")).await, "TL007");
    assert!(b.rows("select * from trunkline.request_take('work')").await.is_empty());
    let id = a.one("select trunkline.request_send('work', 'x')").await;
    for level in ["repeatable read", "serializable"] {
        a.run(&format!("begin isolation level {level}")).await;
        assert_eq!(a.code(&format!("select * from trunkline.request_await({id})")).await, "25001");
        a.run("rollback").await;
        a.run(&format!(
            "begin isolation level {level}; select trunkline.request_send('work', '{level}'); commit"
        ))
        .await;
    }
    assert_eq!(b.rows("select * from trunkline.request_take('work', 9)").await.len(), 3);
}

#[tokio::test]
async fn two_who_await_one_request_both_get_its_outcome_as_often_as_they_ask() {
    let db = Db::new().await;
    let (a, b, c) = (db.raw().await, db.raw().await, db.raw().await);
    b.run("select trunkline.request_serve('work')").await;
    let id = a.one("select trunkline.request_send('work', 'x')").await;
    let sql = format!("select payload from trunkline.request_await({id})");
    let waiting = tokio::spawn(async move { (a.one(&sql).await, a.one(&sql).await) });
    let claim = b.one("select claim from trunkline.request_take('work')").await;
    b.run(&format!("select trunkline.request_reply('{claim}', 'y')")).await;
    assert_eq!(waiting.await.unwrap(), ("y".into(), "y".into()));
    assert_eq!(c.one(&format!("select payload from trunkline.request_await({id})")).await, "y");
    let answered = format!("select trunkline.request_reply('{claim}', 'z')");
    assert_eq!(b.code(&answered).await, "TL001");
}

#[tokio::test]
async fn await_ends_at_the_deadline_and_a_late_reply_is_refused() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    b.run("select trunkline.request_serve('work')").await;
    let (begun, watch) = (Instant::now(), Stopwatch::start());
    let id = a.one("select trunkline.request_send('work', 'x', timeout => '300 ms')").await;
    let claim = b.one("select claim from trunkline.request_take('work')").await;
    assert!(a.rows(&format!("select * from trunkline.request_await({id}, '10 ms')")).await.is_empty());
    assert_eq!(a.one(&format!("select outcome from trunkline.request_await({id})")).await, "timed out");
    let took = (begun.elapsed(), watch.elapsed());
    assert!(took.0 >= millis(300) && took.1 < millis(400), "{took:?}");
    assert_eq!(b.code(&format!("select trunkline.request_reply('{claim}', 'late')")).await, "TL001");
    assert_eq!(a.one(&format!("select outcome from trunkline.request_await({id})")).await, "timed out");
}

#[tokio::test]
async fn call_commits_in_between_and_only_outside_a_transaction() {
    let db = Db::new().await;
    let (a, admin) = (db.raw().await, db.raw().await);
    let responder = db.client("responder").await;
    let mut inbox = responder.requests().inbox("work");
    served(&db, "work", 1).await;
    let sql = "call trunkline.request_call('work', 'x', null, null)";
    a.run("begin").await;
    assert_eq!(a.code(sql).await, "2D000");
    a.run("rollback").await;
    let pid = a.pid;
    let waiting = tokio::spawn(async move { a.one(sql).await });
    let held = inbox.next().await.unwrap();
    let open = format!("select backend_xid is null from pg_stat_activity where pid = {pid}");
    admin.until("nothing to be open while it waits", &open).await;
    held.reply("y").await.unwrap();
    assert_eq!(waiting.await.unwrap(), "ok|y|");
}

#[tokio::test]
async fn sql_and_the_library_answer_each_other() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let tl = db.client("library").await;
    let _serving = echo(&tl, "lib");
    served(&db, "lib", 1).await;
    let id = raw.one("select trunkline.request_send('lib', 'from sql')").await;
    assert_eq!(raw.one(&format!("select payload from trunkline.request_await({id})")).await, "from sql");
    raw.run("select trunkline.request_serve('sql')").await;
    let pending = tl.requests().call("sql", "from rust").start().await.unwrap();
    let mut claim = String::new();
    until("the request", async || {
        let rows = raw.rows("select claim from trunkline.request_take('sql')").await;
        claim = rows.into_iter().next().unwrap_or_default();
        !claim.is_empty()
    })
    .await;
    raw.run(&format!("select trunkline.request_reply('{claim}', 'from sql')")).await;
    assert_eq!(within(500, "the bell", pending.wait()).await.unwrap().text().unwrap(), "from sql");
    // By address, both ways.
    let mut own = tl.requests().inbox(Serve::own_address());
    let at = raw.one("select trunkline.session_address()").await;
    assert!(at.starts_with('@'));
    let e = tl.requests().call(at.as_str(), "x").timeout(millis(50)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::TimedOut, "it is here, and takes nothing");
    let to = tl.address().unwrap();
    let id = raw.one(&format!("select trunkline.request_send('@{to}', 'to you')")).await;
    own.next().await.unwrap().reply("me").await.unwrap();
    assert_eq!(raw.one(&format!("select payload from trunkline.request_await({id})")).await, "me");
}

#[tokio::test]
async fn a_payload_that_is_no_text_in_sql_does_not_block_its_channel() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_serve('work')").await;
    let tl = db.client("library").await;
    let bad = tl.requests().call("work", "a\0b").start().await.unwrap();
    let good = tl.requests().call("work", "good").start().await.unwrap();
    let mut rows = Vec::new();
    until("both", async || {
        rows.extend(raw.rows("select claim, payload, bytes from trunkline.request_take('work', 9)").await);
        rows.len() == 2
    })
    .await;
    assert!(rows[0].ends_with("||\\x610062"), "{rows:?}");
    for row in &rows {
        let claim = row.split('|').next().unwrap();
        raw.run(&format!("select trunkline.request_reply('{claim}', 'ok')")).await;
    }
    bad.wait().await.unwrap();
    good.wait().await.unwrap();
    // And a reply of that kind.
    let _echo = echo(&tl, "echo");
    served(&db, "echo", 1).await;
    let id = raw.one("select trunkline.request_send('echo', 'x')").await;
    raw.one(&format!("select outcome from trunkline.request_await({id})")).await;
    let sql = "select trunkline._request_write_e(0, 1, trunkline.request_open('echo'), '', 5000, 1, '\\xff00', '{bad')";
    let id = raw.one(sql).await;
    let row =
        raw.one(&format!("select outcome, payload is null, bytes from trunkline.request_await({id})")).await;
    assert_eq!(row, "ok|t|\\xff00");
}

#[tokio::test]
async fn a_confirmed_one_way_request_is_taken() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    b.run("select trunkline.request_serve('work')").await;
    let id = a.one("select trunkline.request_send('work', 'x', one_way => true, confirm => true)").await;
    b.run("select * from trunkline.request_take('work')").await;
    let sql = format!("select outcome from trunkline.request_await({id}, '1 s')");
    assert_eq!(a.rows(&sql).await, ["taken"]);
}

#[tokio::test]
async fn a_two_phase_producer_is_found_by_the_poll() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let tl = db.client("responder").await;
    let mut inbox = tl.requests().inbox("work");
    served(&db, "work", 1).await;
    raw.run("set trunkline.ring = off; begin").await;
    raw.run("select trunkline.request_send('work', 'two-phase')").await;
    raw.run("prepare transaction 'p'").await;
    assert!(inbox.try_next().is_none());
    raw.run("commit prepared 'p'").await;
    let held = within(1_500, "the poll", inbox.next()).await.unwrap();
    assert_eq!(held.payload.text().unwrap(), "two-phase");
    raw.run("set trunkline.ring = on; begin; select trunkline.request_send('work', 'rung')").await;
    assert_eq!(raw.code("prepare transaction 'q'").await, "0A000");
}

#[tokio::test]
async fn a_read_only_transaction_sends_nothing() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_serve('work'); begin read only").await;
    assert_eq!(raw.code("select trunkline.request_send('work', 'x')").await, "25006");
}

#[tokio::test]
async fn a_responder_that_ran_other_queries_is_present_and_strangers_are_not() {
    let (db, elsewhere) = (Db::new().await, Db::new().await);
    let (a, b, other) = (db.raw().await, db.raw().await, elsewhere.raw().await);
    let send = "select trunkline.request_send('work', 'x')";
    within(500, "the refusal", async { assert_eq!(a.code(send).await, "TL012") }).await;
    other.run("select trunkline.request_serve('work')").await;
    for name in ["work2", "wor", "work.x", "w_rk"] {
        b.run(&format!("select trunkline.request_serve('{name}')")).await;
    }
    b.run("listen work").await;
    assert_eq!(a.code(send).await, "TL012");
    b.run("select trunkline.request_serve('work'); select 1; select count(*) from pg_class; begin; commit")
        .await;
    assert_eq!(a.code(send).await, "00000");
    drop(b);
    a.until(
        "it to be gone",
        "select count(*) = 0 from trunkline.request_responders() where channel = 'work'",
    )
    .await;
    assert_eq!(a.code(send).await, "TL012");
}

#[tokio::test]
async fn a_sql_responders_requests_go_on_when_its_connection_ends() {
    let db = Db::new().await;
    let (a, b, c) = (db.raw().await, db.raw().await, db.raw().await);
    b.run("select trunkline.request_serve('work')").await;
    c.run("select trunkline.request_serve('work')").await;
    let again = a.one("select trunkline.request_send('work', 'again', idempotent => true)").await;
    let once = a.one("select trunkline.request_send('work', 'once')").await;
    assert_eq!(b.rows("select id from trunkline.request_take('work', 9)").await.len(), 2);
    a.run(&format!("select pg_terminate_backend({})", b.pid)).await;
    a.until("the end", &format!("select not exists (select from pg_stat_activity where pid = {})", b.pid))
        .await;
    a.run("select trunkline.maintain()").await;
    assert_eq!(a.one(&format!("select outcome from trunkline.request_await({once})")).await, "lost");
    let row = c.one("select claim, id, payload, attempt from trunkline.request_take('work', 9)").await;
    let (claim, rest) = row.split_once('|').unwrap();
    assert_eq!(rest, format!("{again}|again|2"));
    c.run(&format!("select trunkline.request_reply('{claim}', 'ok')")).await;
    assert_eq!(a.one(&format!("select outcome from trunkline.request_await({again})")).await, "ok");
}
