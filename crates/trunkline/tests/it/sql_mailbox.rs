//! The three queues of a connection in plain SQL: what it has taken, what it awaits, and the outcomes that are here.

use trunkline::requests::Serve;

use crate::{
    requests::{echo, served},
    support::{Db, Raw, within},
};

const REPLIES: &str = "select outcome, payload from trunkline.request_replies()";
const AWAITING: &str = "select count(*) from trunkline.request_awaiting()";

async fn send(raw: &Raw, text: &str, more: &str) -> String {
    raw.one(&format!("select trunkline.request_send('work', '{text}'{more})")).await
}

/// A responder in SQL, and a connection with its mailbox open.
async fn pair(db: &Db) -> (Raw, Raw) {
    let (a, b) = (db.raw().await, db.raw().await);
    b.run("select trunkline.request_serve('work')").await;
    a.run("select trunkline.request_mailbox()").await;
    (a, b)
}

async fn answer(raw: &Raw, text: &str) {
    let claim = "select claim from trunkline.request_incoming() where payload =";
    raw.run("select * from trunkline.request_take('work', 99)").await;
    let claim = raw.one(&format!("{claim} '{text}'")).await;
    raw.run(&format!("select trunkline.request_reply('{claim}', 're {text}')")).await;
}

#[tokio::test]
async fn sql_takes_each_outcome_once_and_again_after_a_rollback() {
    let db = Db::new().await;
    let (a, b) = pair(&db).await;
    let plain = db.raw().await;
    let other = send(&plain, "plain", "").await;
    for text in ["one", "two", "three"] {
        send(&a, text, "").await;
    }
    a.run("begin").await;
    send(&a, "gone", "").await;
    a.run("savepoint s").await;
    send(&a, "gone too", "").await;
    a.run("rollback to s").await;
    assert_eq!(a.one(AWAITING).await, "4");
    a.run("rollback").await;
    let awaiting = "select destination, extract(epoch from expires_at - sent_at)::int, id > 0 from trunkline.request_awaiting()";
    assert_eq!(a.rows(awaiting).await, ["work|30|t"; 3]);
    assert!(a.rows(REPLIES).await.is_empty());
    for text in ["plain", "two", "one"] {
        answer(&b, text).await;
    }
    let both = ["ok|re one", "ok|re two"];
    assert_eq!(a.rows("select outcome, payload from trunkline.request_replies(keep => true)").await, both);
    a.run("begin").await;
    assert_eq!(a.rows(REPLIES).await, both);
    assert!(a.rows(REPLIES).await.is_empty());
    a.run("rollback").await;
    assert_eq!(a.rows("select outcome, payload from trunkline.request_replies(1)").await, both[..1]);
    assert_eq!(a.rows(REPLIES).await, both[1..]);
    assert!(a.rows(REPLIES).await.is_empty());
    assert_eq!(a.one(AWAITING).await, "1");
    assert!(plain.rows("select * from trunkline.request_replies()").await.is_empty());
    assert!(plain.rows("select * from trunkline.request_awaiting()").await.is_empty());
    assert_eq!(plain.one(&format!("select payload from trunkline.request_await({other})")).await, "re plain");
}

#[tokio::test]
async fn every_kind_of_outcome_comes_out_of_a_sql_mailbox() {
    let db = Db::new().await;
    let (a, b) = pair(&db).await;
    a.run("select trunkline.request_open('kept', durable => true)").await;
    b.run("select trunkline.request_serve('kept', array['t'])").await;
    let held = send(&a, "awaited", "").await;
    let cancelled = send(&a, "cancelled", "").await;
    send(&a, "late", ", timeout => '1 ms'").await;
    send(&a, "taken", ", one_way => true, confirm => true").await;
    send(&a, "not mine", ", one_way => true").await;
    a.run("select trunkline.request_send('kept', 'x', 'other')").await;
    a.run("select trunkline.request_send('kept', 'late', 't', timeout => '1 ms')").await;
    a.run(&format!("select trunkline.request_cancel({cancelled})")).await;
    answer(&b, "awaited").await;
    answer(&b, "taken").await;
    b.run("select * from trunkline.request_take('kept', 9)").await;
    assert_eq!(a.one(&format!("select payload from trunkline.request_await({held})")).await, "re awaited");
    let mut outcomes = a.rows("select outcome from trunkline.request_replies()").await;
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["cancelled", "taken", "timed out", "timed out", "unsupported"]);
    assert_eq!(a.one(AWAITING).await, "0");
    // What was lost in a crash, or asked for when it was forgotten.
    send(&a, "forgotten", "").await;
    b.run("truncate trunkline.request_e0, trunkline.take_e0, trunkline.ending_e0").await;
    assert_eq!(a.rows(REPLIES).await, ["lost|"]);
    for (sql, code) in [
        ("select * from trunkline.request_replies(0)", "22023"),
        ("select * from trunkline.request_replies(null)", "22023"),
        (
            "select set_config('trunkline.mailbox', repeat(' 1', 100001), false); select trunkline.request_send('work', 'x')",
            "53400",
        ),
    ] {
        assert_eq!(a.code(sql).await, code, "{sql}");
    }
    a.run("begin isolation level repeatable read").await;
    assert_eq!(a.code("select * from trunkline.request_replies()").await, "25001");
}

#[tokio::test]
async fn a_sql_mailbox_has_a_bell_and_its_requests_end_with_its_connection() {
    let db = Db::new().await;
    let (mut a, admin) = (db.raw().await, db.raw().await);
    let tl = db.client("library").await;
    let _serving = echo(&tl, "echo");
    let mut inbox = tl.requests().inbox(Serve::channel("work"));
    served(&db, "echo", 1).await;
    within(5_000, "the inbox", inbox.ready()).await.unwrap();
    let bell = a.one("select trunkline.request_mailbox()").await;
    a.run(&format!("listen {bell}")).await;
    assert_eq!(a.one("select trunkline.request_mailbox()").await, bell);
    a.run("select trunkline.request_send('echo', 'x')").await;
    assert_eq!(within(1_000, "the bell", a.notes.recv()).await.unwrap(), bell);
    assert_eq!(a.rows(REPLIES).await, ["ok|x"]);
    send(&a, "running", "").await;
    let held = within(1_000, "the request", inbox.next()).await.unwrap();
    let pid = a.pid;
    admin.run("select trunkline.request_serve('queue')").await;
    a.run("select trunkline.request_send('queue', 'queued')").await;
    drop(a);
    admin.until("its end", &format!("select count(*) = 0 from pg_stat_activity where pid = {pid}")).await;
    within(3_000, "the handler to be told", held.cancelled()).await;
    assert!(admin.rows("select * from trunkline.request_take('queue')").await.is_empty(), "withdrawn");
}

#[tokio::test]
async fn a_connection_lists_what_it_has_taken_and_not_answered() {
    let db = Db::new().await;
    let (a, b) = pair(&db).await;
    assert!(b.rows("select * from trunkline.request_incoming()").await.is_empty());
    for text in ["one", "two", "three"] {
        send(&a, text, ", type => 't', headers => '{\"k\": \"v\"}'").await;
    }
    let taken = b.rows("select * from trunkline.request_take('work', 2)").await;
    assert_eq!(b.rows("select * from trunkline.request_incoming()").await, taken);
    assert!(a.rows("select * from trunkline.request_incoming()").await.is_empty(), "not what others took");
    answer(&b, "one").await;
    let left = "select payload from trunkline.request_incoming()";
    assert_eq!(b.rows(left).await, ["two", "three"]);
    a.run("select trunkline.request_cancel(id) from (select id from trunkline.request_awaiting() limit 1) a")
        .await;
    assert_eq!(b.rows(left).await, ["three"], "the cancelled one has left");
}

#[tokio::test]
async fn a_mailbox_shows_a_role_its_own_requests_only() {
    let db = Db::new().await;
    let (a, b) = pair(&db).await;
    a.run("do $$ begin create role it_box; exception when duplicate_object then end $$").await;
    a.run("select trunkline.grant_to('it_box', 'writer')").await;
    send(&a, "mine", "").await;
    answer(&b, "mine").await;
    a.run("set role it_box").await;
    assert!(a.rows(REPLIES).await.is_empty());
    assert_eq!(a.one(AWAITING).await, "0");
    a.run("reset role").await;
    assert_eq!(a.rows(REPLIES).await, ["ok|re mine"], "and it is there still");
    // Somebody else's id in the setting tells nothing and ends nothing.
    let theirs = db.raw().await;
    let id = send(&theirs, "theirs", ", timeout => '1 ms'").await;
    a.run(&format!("set role it_box; set trunkline.mailbox = ' {id} '")).await;
    assert!(a.rows("select * from trunkline.request_replies()").await.is_empty());
    a.run("reset role").await;
    assert_eq!(a.one("select count(*) from trunkline.ending_e0 where status = 4").await, "0");
}
