//! Bad input to the library, by its number in the list of bad inputs: refused with the right kind, naming field, limit
//! and size and never the payload; nothing is written, and the next good call works.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize, Serializer};
use trunkline::{
    Error, ErrorKind, Trunkline,
    connect::{Pool, PoolOptions},
    conninfo::{ConnInfo, Env},
    requests::{Failure, Payload, Request, Serve},
};

use crate::{
    requests::{echo, served},
    support::{Db, Raw, secs, until, within},
};

pub const SECRET: &str = "S3cret-";

/// What failed did so with this kind, in words that name these, shortly and without the payload.
#[track_caller]
pub fn refused<T: Debug>(row: &str, outcome: Result<T, Error>, kind: ErrorKind, words: &[&str]) {
    let e = outcome.expect_err(row);
    assert_eq!(e.kind(), kind, "{row}: {e:?}");
    let (said, shown) = (e.to_string(), format!("{e:?}"));
    assert!(words.iter().all(|w| said.contains(w)), "{row}: {said}");
    assert!(!shown.contains(SECRET) && shown.len() < 10_000, "{row}: {} bytes: {shown:.2000}", shown.len());
}

/// A channel's requests, with the channel itself: what a refusal must not have added to.
async fn kept(raw: &Raw) -> String {
    raw.one("select (select count(*) from trunkline.request_list(max => 1000)) || ' ' || (select count(*) from trunkline.request_channel)")
        .await
}

pub async fn works(tl: &Trunkline, row: &str) {
    let reply = within(5_000, row, async { tl.requests().call("work", "good").await }).await;
    assert_eq!(reply.expect(row).text().unwrap(), "good", "{row}");
}

#[tokio::test]
async fn row_63_settings_that_are_wrong_are_refused_by_name() {
    for (text, word) in [
        ("postgres://u:S3cret-@h:99999/d", "port"),
        ("postgres://u:S3cret-@h:0/d", "port"),
        ("postgres://u:S3cret-@[::1/d", "host"),
        ("host=h password=S3cret- sslmode=S3cret-", "sslmode"),
        ("host=h password='S3cret-", "connection text"),
        ("amqp://u:S3cret-@h/d", "connection text"),
        ("host=h password=S3cret- connect_timeout=S3cret-", "connect_timeout"),
        ("host=h password=S3cret-\0", "connection text"),
        ("host=h password=S3cret- require_auth=none", "require_auth"),
    ] {
        refused(&format!("row 63 {word}"), Trunkline::connect(text).await, ErrorKind::Config, &[word]);
    }
    refused("row 63 empty", ConnInfo::from_str_with("", &Env::empty()), ErrorKind::Config, &["user"]);
    let env = Env::empty().with_user("ann");
    let odd = ConnInfo::from_str_with("postgres://h/d?pasword=S3cret-", &env).expect("row 63");
    assert!(odd.warnings()[0].contains("pasword"), "row 63: {:?}", odd.warnings());
    assert!(!format!("{odd:?}").contains(SECRET), "row 63: {odd:?}");
}

#[tokio::test]
async fn row_66_servers_that_will_not_do_are_told_apart_with_the_next_step() {
    let missing = Db::empty().await;
    refused(
        "row 66 missing",
        Trunkline::with(missing.info("it")).await,
        ErrorKind::Schema,
        &["trunkline schema install"],
    );
    let nowhere = missing.info("it").with_database("nowhere");
    refused("row 66 no such database", Trunkline::with(nowhere).await, ErrorKind::Config, &["nowhere"]);
    for (row, sql, kind, word) in [
        ("older", "update trunkline.schema_info set version = 0", ErrorKind::Schema, "schema upgrade"),
        ("newer", "update trunkline.schema_info set version = 999", ErrorKind::Schema, "upgrade the program"),
        ("restored", "update trunkline.epoch set system_identifier = 1", ErrorKind::Epoch, "schema repair"),
        ("no rights", "revoke all on schema trunkline from public", ErrorKind::Denied, "trunkline"),
        (
            "read-only",
            "do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$",
            ErrorKind::Unsupported,
            "read-only",
        ),
    ] {
        let db = Db::new().await;
        db.raw().await.run(sql).await;
        let mut info = db.info("it");
        if row == "no rights" {
            db.raw()
                .await
                .run("do $$ begin create role row_66 login; exception when duplicate_object then end $$")
                .await;
            let url = db.url.replace("user=postgres", "user=row_66");
            info = ConnInfo::from_str_with(&url, &Env::empty()).unwrap();
        }
        refused(&format!("row 66 {row}"), Trunkline::with(info).await, kind, &[word]);
    }
}

#[tokio::test]
async fn rows_3_to_14_23_61_and_67_are_refused_before_anything_is_written() {
    let db = Db::new().await;
    let (raw, tl) = (db.raw().await, db.client("it").await);
    let _serving = echo(&tl, "work");
    served(&db, "work", 1).await;
    let before = kept(&raw).await;
    let (long, huge) = ("x".repeat(49), "y".repeat(10 << 20));
    for (row, name, words) in [
        ("row 2", "", &["name"][..]),
        ("row 3", &long, &["48", "49"]),
        ("row 4", &huge, &["48", "10485760"]),
        ("row 5", "Robert'); DROP TABLE x;--", &["name"]),
        ("row 9", "a ", &["name"]),
        ("row 11", "\u{1F600}", &["name"]),
        ("row 13", "Work", &["name"]),
        ("row 14", "pg_x", &["reserved"]),
        ("row 40", "a\0b", &[]),
        ("row 12", "@x", &["address"]),
    ] {
        refused(row, tl.requests().call(name, SECRET).await, ErrorKind::Invalid, words);
        refused(row, tl.requests().send(name, SECRET).await, ErrorKind::Invalid, words);
        refused(row, tl.requests().gather(name, SECRET, 1, secs(1)).await, ErrorKind::Invalid, words);
    }
    for (timeout, got) in [
        (Duration::ZERO, "0ns"),
        (Duration::from_micros(999), "999µs"),
        (Duration::MAX, "18446744073709551615"),
    ] {
        let words = ["timeout", "1 ms", "7 days", got];
        let of = |call: trunkline::requests::Call| call.timeout(timeout);
        refused("row 67", of(tl.requests().call("work", SECRET)).await, ErrorKind::Invalid, &words);
        refused("row 67", of(tl.requests().send("work", SECRET)).start().await, ErrorKind::Invalid, &words);
        refused("row 67", tl.requests().gather("work", SECRET, 1, timeout).await, ErrorKind::Invalid, &words);
    }
    let big = SECRET.repeat(1 << 18);
    let words = ["\"work\"", "1048576", "1835008"];
    refused("row 24", tl.requests().call("work", big.as_str()).await, ErrorKind::Invalid, &words);
    refused(
        "row 24",
        tl.requests().gather("work", big.as_str(), 1, secs(1)).await,
        ErrorKind::Invalid,
        &words,
    );
    refused("row 39", tl.requests().gather("work", SECRET, 0, secs(1)).await, ErrorKind::Invalid, &["0"]);
    let mut many = tl.requests().call("work", SECRET);
    for n in 0..65 {
        many = many.header(format!("k{n}"), "v");
    }
    refused("row 61 many", many.await, ErrorKind::Invalid, &["64", "65"]);
    let named = |name: &str, value: &str| tl.requests().call("work", SECRET).header(name, value);
    refused("row 61 wide", named("k", &SECRET.repeat(1_200)).await, ErrorKind::Invalid, &["8192", "8408"]);
    refused(
        "row 61 break",
        named("k", "S3cret-\r\nx: y").await,
        ErrorKind::Invalid,
        &["\"k\"", "line breaks"],
    );
    refused("row 61 name", named(&format!("k\n{huge}"), "").await, ErrorKind::Invalid, &["line breaks"]);
    let typed = |kind: &str| tl.requests().call("work", SECRET).kind(kind);
    refused("row 61 type", typed(&"t".repeat(101)).await, ErrorKind::Invalid, &["type", "100", "101"]);
    refused("row 61 type", typed("S3cret-\u{1b}").await, ErrorKind::Invalid, &["type", "control"]);
    assert_eq!(kept(&raw).await, before, "nothing was written");
    assert_eq!(tl.requests().stats().sent, 0);
    works(&tl, "after all").await;
}

/// A value that cannot be serialized.
pub struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    item: String,
    count: u8,
}

#[tokio::test]
async fn rows_68_and_69_values_that_do_not_fit_their_type_are_told_and_the_handler_goes_on() {
    refused("row 68", Payload::json(&Stubborn), ErrorKind::Invalid, &["serialized"]);
    let keys = std::collections::HashMap::from([((1, 2), SECRET)]);
    refused("row 68 keys", Payload::json(&keys), ErrorKind::Invalid, &["serialized"]);
    let db = Db::new().await;
    let tl = db.client("it").await;
    let _serving = tl.requests().serve(Serve::channel("work").concurrency(1), |r: Request| async move {
        let order: Order = r.payload.parse()?;
        Ok::<_, Failure>(format!("{} {}", order.count, order.item))
    });
    served(&db, "work", 1).await;
    for bad in [
        r#"{"item": "S3cret-", "count": 1, "S3cret-": 2}"#,
        r#"{"item": "S3cret-"}"#,
        r#"{"item": 1, "count": "S3cret-"}"#,
        r#"{"item": "S3cret-", "count": 256}"#,
        r#"{"item": "S3cret-", "count": 1} S3cret-"#,
        r#"{"item": "S3cret-"#,
        "",
    ] {
        let outcome = within(5_000, "row 69", async { tl.requests().call("work", bad).await }).await;
        assert_eq!(outcome.as_ref().err().and_then(Error::code), Some("error"), "row 69 {bad}");
        refused("row 69", outcome, ErrorKind::Remote, &["payload", "line 1"]);
    }
    let deep = "[".repeat(200_000);
    let outcome = tl.requests().call("work", deep).await;
    refused("row 69 deep", outcome, ErrorKind::Remote, &["payload"]);
    let reply = tl.requests().call("work", r#"{"item": "tea", "count": 2}"#).await.expect("row 69");
    assert_eq!(reply.text().unwrap(), "2 tea", "row 69");
    refused("row 69 reply", reply.parse::<Order>(), ErrorKind::Invalid, &["payload"]);
    let bytes = Payload::from(vec![0xff_u8]);
    refused("row 69 text", bytes.text().map(str::to_owned), ErrorKind::Invalid, &["UTF-8"]);
}

/// An answer, or a value that panics on its way to become one.
enum Answer {
    Good(Payload),
    Bad,
}

impl From<Answer> for Payload {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Good(payload) => payload,
            Answer::Bad => panic!("{SECRET}"),
        }
    }
}

/// A value that cannot be dropped in peace.
pub struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{SECRET}");
        }
    }
}

#[tokio::test]
async fn row_70_a_handler_that_panics_anywhere_costs_nobody_else_anything() {
    let db = Db::new().await;
    let (caller, tl) = (db.client("caller").await, db.client("it").await);
    let begun = Arc::new(AtomicUsize::new(0));
    let seen = begun.clone();
    let _serving = tl.requests().serve(Serve::channel("work").concurrency(1), move |r: Request| {
        let ask = r.payload.text().unwrap_or_default().to_owned();
        assert!(ask != "at once", "{SECRET}");
        let seen = seen.clone();
        async move {
            match ask.as_str() {
                "later" => panic!("{SECRET}"),
                "odd" => std::panic::panic_any(PanicsWhenDropped),
                "into" => return Ok(Answer::Bad),
                "drop" => {
                    let _kept = PanicsWhenDropped;
                    seen.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                _ => {}
            }
            Ok::<_, Failure>(Answer::Good(r.payload))
        }
    });
    served(&db, "work", 1).await;
    for (ask, code) in [("at once", "panic"), ("later", "panic"), ("odd", "panic"), ("into", "dropped")] {
        let outcome = within(5_000, "row 70", async { caller.requests().call("work", ask).await }).await;
        assert_eq!(outcome.as_ref().err().and_then(Error::code), Some(code), "row 70 {ask}");
        refused(&format!("row 70 {ask}"), outcome, ErrorKind::Remote, &["handler"]);
        works(&caller, &format!("row 70 {ask}")).await;
    }
    let pending = caller.requests().call("work", "drop").start().await.unwrap();
    until("row 70: the handler to begin", async || begun.load(Ordering::SeqCst) == 1).await;
    refused("row 70 drop", pending.cancel().await, ErrorKind::Cancelled, &["work"]);
    works(&caller, "row 70 drop").await;
    until("row 70: nothing to be held", async || tl.requests().incoming().is_empty()).await;
}

#[tokio::test]
async fn rows_70_and_73_an_answer_that_comes_too_late_is_stale_on_any_thread_and_after_the_end_an_error() {
    let db = Db::new().await;
    let (caller, tl) = (db.client("caller").await, db.client("it").await);
    let raw = db.raw().await;
    let mut inbox = tl.requests().inbox("work");
    served(&db, "work", 1).await;
    let pending = caller.requests().call("work", "x").start().await.unwrap();
    let mut held = inbox.next().await.unwrap();
    raw.run(&format!("select trunkline.request_cancel({})", held.id)).await;
    let id = held.id;
    let part = held.part("late").await;
    refused("row 73 part", part, ErrorKind::Stale, &["no longer yours"]);
    let late = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(held.reply(SECRET))
    });
    let late = tokio::task::spawn_blocking(move || late.join().unwrap()).await.unwrap();
    assert_eq!(late.as_ref().err().and_then(Error::code), Some("TL001"), "row 73");
    refused("row 73", late, ErrorKind::Stale, &["no longer yours"]);
    assert_eq!(
        raw.one(&format!("select outcome from trunkline.request_await({id})")).await,
        "cancelled",
        "row 73"
    );
    refused("row 73", pending.wait().await, ErrorKind::Cancelled, &[]);

    let pending = caller.requests().call("work", "y").start().await.unwrap();
    let mut held = inbox.next().await.unwrap();
    tl.close().await;
    let part = within(2_000, "row 70: a part after the end", held.part("late")).await;
    refused("row 70 part after the end", part, ErrorKind::Unreachable, &["closed"]);
    let reply = within(2_000, "row 70: a reply after the end", held.reply("late")).await;
    refused("row 70 reply after the end", reply, ErrorKind::Unreachable, &["closed"]);
    let ended = within(5_000, "row 70: an outcome", pending.wait()).await;
    refused("row 70 lost", ended, ErrorKind::Lost, &[]);
}

#[tokio::test]
async fn rows_74_and_75_sizes_out_of_their_limits_are_refused_or_capped() {
    let db = Db::new().await;
    for max_size in [0, 1_001, usize::MAX] {
        let options = PoolOptions { max_size, ..PoolOptions::default() };
        refused(
            "row 74",
            Pool::new(db.info("it"), options).map(drop),
            ErrorKind::Config,
            &["max_size", "1000"],
        );
    }
    let one = PoolOptions { max_size: 1, ..PoolOptions::default() };
    let pool = Pool::new(db.info("it"), one).expect("row 74");
    pool.with(async |c| Ok(c.batch_execute("select 1").await?)).await.expect("row 74");
    let tl = db.client("it").await;
    for (n, concurrency) in [0, 1, usize::MAX].into_iter().enumerate() {
        let name = format!("c{n}");
        let _serving = tl.requests().serve(Serve::channel(&name).concurrency(concurrency), |r| async move {
            Ok::<_, Failure>(r.payload)
        });
        for _ in 0..3 {
            let call = tl.requests().call(name.as_str(), "x").wait_for_responder().timeout(secs(5));
            assert_eq!(call.await.expect("row 75").text().unwrap(), "x", "row 75 {concurrency}");
        }
    }
}

#[tokio::test]
async fn row_57_sessions_of_the_library_may_call_every_function() {
    let db = Db::new().await;
    let pool = Pool::new(db.info("it"), PoolOptions::default()).unwrap();
    let door = pool
        .with(async |c| Ok(c.query_one("select trunkline.request_serve('work')", &[]).await?.get(0)))
        .await;
    let door: String = door.expect("row 57: our own settings are not in the way of our functions");
    assert!(door.starts_with("trunkline_"), "row 57: {door}");
}
