//! Bad behaviour around the library, by its number in the list of bad inputs: futures dropped midway, handles used after
//! their end, forged notifications, broken transactions, servers that are none, a runtime that goes away.

use std::{
    future::Future,
    io::{Read as _, Write as _},
    net::TcpListener,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::timeout;
use trunkline::{
    Error, ErrorKind, Trunkline,
    requests::{Failure, Serve},
};

use crate::{
    requests::{echo, served},
    rust_input::{SECRET, refused, works},
    support::{Db, Raw, millis, secs, shared, until, within},
};

/// Drops a future after so many fifths of a millisecond, unless it is ready by then.
async fn cut<T>(after: u64, future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::from_micros(200 * after), future).await.ok()
}

#[tokio::test]
async fn row_71_futures_dropped_anywhere_lose_no_claim_and_leave_nothing() {
    let db = Db::new().await;
    let (caller, tl) = (db.client("caller").await, db.client("it").await);
    let serving = tl
        .requests()
        .serve(Serve::channel("work").concurrency(1), |r| async move { Ok::<_, Failure>(r.payload) });
    served(&db, "work", 1).await;
    let requests = caller.requests();
    for n in 0..25 {
        cut(n, async { requests.call("work", "x").await }).await;
        cut(n, requests.call("work", "x").start()).await;
        cut(n, async { requests.send("work", "x").confirm().await }).await;
        cut(n, requests.gather("work", "x", 9, secs(5))).await;
        if let Some(pending) =
            cut(n, requests.call(format!("new{n}").as_str(), "x").wait_for_responder().start()).await
        {
            cut(n, pending.unwrap().cancel()).await;
        }
    }
    until("row 71: nothing to be awaited", async || requests.awaiting().is_empty()).await;
    works(&caller, "row 71").await;
    until("row 71: nothing to be held", async || tl.requests().incoming().is_empty()).await;
    serving.stop().await;
    let raw = db.raw().await;
    let open = "select not exists (select from trunkline.request_list(max => 10000) where state in ('waiting', 'taken'))";
    raw.until("row 71: every request to have ended", open).await;
}

#[tokio::test]
async fn row_71_what_an_inbox_took_is_answered_wherever_its_futures_are_dropped() {
    let db = Db::new().await;
    let (caller, tl) = (db.client("caller").await, db.client("it").await);
    let mut inbox = tl.requests().inbox(Serve::channel("work").concurrency(1));
    served(&db, "work", 1).await;
    let (mut answered, mut dropped) = (0, 0);
    for n in 0..25 {
        let pending = caller.requests().call("work", "x").start().await.unwrap();
        let mut held = loop {
            if let Some(held) = cut(n % 3, inbox.next()).await {
                break held.expect("row 71: the inbox goes on");
            }
        };
        cut(n % 5, held.part("p")).await;
        cut(n, held.reply("y")).await;
        match within(3_000, "row 71: an outcome", pending.wait()).await {
            Ok(reply) => answered += usize::from(reply.text().unwrap() == "y"),
            Err(e) => dropped += usize::from(e.code() == Some("dropped")),
        }
    }
    assert_eq!(answered + dropped, 25, "row 71: {answered} answered, {dropped} dropped");
    assert!(answered > 0, "row 71");
}

#[tokio::test]
async fn row_71_answers_that_nobody_waits_for_are_written_however_many_at_once() {
    const ALL: usize = 5_000;
    let db = Db::new().await;
    let (caller, tl) = (db.client("caller").await, db.client("it").await);
    let mut inbox = tl.requests().inbox(Serve::channel("work").concurrency(10_000));
    inbox.ready().await.unwrap();
    let mut mailbox = caller.requests().mailbox();
    for _ in 0..ALL {
        mailbox.send(caller.requests().call("work", "x").timeout(secs(60))).await.unwrap();
    }
    let mut held = Vec::new();
    while held.len() < ALL {
        held.push(within(5_000, "row 71: a request", inbox.next()).await.unwrap());
    }
    // Nothing is written in between: the task does not yield.
    for (n, mut one) in held.into_iter().enumerate() {
        if n % 2 == 0 {
            let _ = tokio::task::unconstrained(one.part("p")).now_or_never();
            let _ = tokio::task::unconstrained(one.reply("y")).now_or_never();
        }
    }
    let (mut replied, mut dropped) = (0, 0);
    for _ in 0..ALL {
        match within(9_000, "row 71: an outcome", mailbox.next()).await.unwrap().result {
            Ok(_) => replied += 1,
            Err(e) => dropped += usize::from(e.code() == Some("dropped")),
        }
    }
    assert_eq!((replied, dropped), (ALL / 2, ALL / 2), "row 71");
}

#[tokio::test]
async fn row_72_handles_used_after_the_end_fail_at_once() {
    let db = Db::new().await;
    let raw = db.raw().await;
    for way in ["closed", "dropped"] {
        let tl = db.client(way).await;
        let requests = tl.requests();
        let (_both, serving) = (echo(&tl, "work"), echo(&tl, "work"));
        served(&db, "work", 2).await;
        works(&tl, &format!("row 72 {way}: two of one channel")).await;
        let mut inbox = requests.inbox("idle");
        served(&db, "idle", 1).await;
        match way {
            "closed" => within(3_000, "row 72: the close", tl.close()).await,
            _ => drop(tl),
        }
        raw.until("row 72: the session to be gone", "select not exists (select from trunkline.session)")
            .await;
        // Longer than a look: by now everything inside has noticed, and nobody is left who would end a call.
        tokio::time::sleep(millis(1_200)).await;
        for channel in ["work", "work", "new", "@00000000-0000-4000-8000-000000000000"] {
            let outcome = within(1_000, channel, async { requests.call(channel, SECRET).await }).await;
            refused(&format!("row 72 {way} {channel}"), outcome, ErrorKind::Unreachable, &["closed"]);
        }
        let gathered = within(1_000, "gather", requests.gather("work", SECRET, 1, secs(9))).await;
        refused(&format!("row 72 {way} gather"), gathered, ErrorKind::Unreachable, &["closed"]);
        assert!(within(1_000, "the inbox to end", inbox.next()).await.is_none(), "row 72 {way}");
        assert!(
            within(1_000, "another inbox to end", requests.inbox("x").next()).await.is_none(),
            "row 72 {way}"
        );
        within(1_000, "the responder to stop", serving.stop()).await;
        assert!(requests.awaiting().is_empty(), "row 72 {way}");
    }
}

#[tokio::test]
async fn row_76_forged_notifications_are_looked_at_and_ignored() {
    let db = Db::new().await;
    let tl = db.client("it").await;
    let _serving = echo(&tl, "work");
    served(&db, "work", 1).await;
    let raw = db.raw().await;
    raw.run("do $$ begin create role row_76 login; exception when duplicate_object then end $$").await;
    let before = tl.requests().stats();
    let forger = db.raw_as("row_76").await;
    let doors = "select pg_notify('trunkline_' || d, p) from generate_series(-5, 200) d, (values (''), (repeat('x', 7999)), ('1:1:1'), (E'\\x01'), ('999999999999999999999')) p(p)";
    forger.run(doors).await;
    forger.run("select pg_notify(c, '') from unnest(array['trunkline_', 'trunkline_x', 'trunkline_99999999999999999999', 'TRUNKLINE_1', 'trunkline_1 ']) c").await;
    for _ in 0..20 {
        works(&tl, "row 76").await;
    }
    let after = tl.requests().stats();
    assert_eq!((after.served - before.served, after.replied - before.replied), (20, 20), "row 76: {after:?}");
    assert_eq!((after.unclaimed, after.refused), (before.unclaimed, before.refused), "row 76");
    assert_eq!(raw.one("select count(*) from trunkline.session").await, "1", "row 76: it never reconnected");
}

#[tokio::test]
async fn row_76_a_database_whose_text_may_be_any_bytes_is_refused_by_its_encoding() {
    let db = encoded("row_76_ascii", "SQL_ASCII").await;
    let mut raw = db.raw().await;
    let words = ["SQL_ASCII", "UTF8"];
    let installed = trunkline::schema::install(&mut raw.client).await;
    refused("row 76 install", installed, ErrorKind::Unsupported, &words);
    refused("row 76 connect", Trunkline::with(db.info("it")).await, ErrorKind::Unsupported, &words);
    assert_eq!(raw.one("select count(*) from pg_namespace where nspname = 'trunkline'").await, "0", "row 76");
}

/// A database with an encoding of its own.
async fn encoded(name: &str, encoding: &str) -> Db {
    let cluster = shared().await;
    let admin = Raw::open(&cluster.server.url()).await;
    admin.run(&format!("create database {name} encoding '{encoding}' locale 'C' template template0")).await;
    Db { name: name.to_owned(), url: cluster.server.url_for(name), postmaster: cluster.server.pid() }
}

#[tokio::test]
async fn row_76_notifications_that_are_not_utf_8_do_not_stop_the_service() {
    let db = encoded("row_76_win", "WIN1252").await;
    let mut raw = db.raw().await;
    trunkline::schema::install(&mut raw.client).await.unwrap();
    let tl = db.client("it").await;
    let _serving = echo(&tl, "work");
    served(&db, "work", 1).await;
    works(&tl, "row 76: before").await;
    raw.run("select pg_notify('trunkline_' || d, E'\\x81\\x8d') from generate_series(0, 200) d").await;
    // It costs the connection, or the statement that the server was about to answer: what was on its way ends so, or by its
    // deadline, and what comes after is served.
    let cut_off = tl.requests().call("work", "x").timeout(millis(800));
    if let Err(e) = within(1_500, "row 76: an outcome", async { cut_off.await }).await {
        let said = matches!(e.code(), Some("22021" | "22P05"));
        assert!(said || matches!(e.kind(), ErrorKind::Lost | ErrorKind::TimedOut), "row 76: {e:?}");
    }
    until("row 76: the service to go on", async || {
        tl.requests().call("work", "x").timeout(secs(1)).await.is_ok()
    })
    .await;
    works(&tl, "row 76: after bytes that are no text").await;
}

#[tokio::test]
async fn row_77_a_broken_transaction_says_so_and_nothing_is_tried_again() {
    let db = Db::new().await;
    let tl = db.client("it").await;
    let _serving = echo(&tl, "work");
    served(&db, "work", 1).await;
    let mut raw = db.raw().await;
    let tx = raw.client.transaction().await.unwrap();
    let _ = tx.batch_execute("select 1/0").await;
    for _ in 0..2 {
        let outcome = tl.requests().call("work", SECRET).start_on(&mut &tx).await;
        assert_eq!(outcome.as_ref().err().and_then(Error::code), Some("25P02"), "row 77");
        refused("row 77", outcome, ErrorKind::Other, &["aborted"]);
    }
    tx.rollback().await.unwrap();
    let tx = raw.client.build_transaction().read_only(true).start().await.unwrap();
    let outcome = tl.requests().call("work", SECRET).start_on(&mut &tx).await;
    assert_eq!(outcome.as_ref().err().and_then(Error::code), Some("25006"), "row 47");
    tx.rollback().await.unwrap();
    let raw = db.raw().await;
    assert_eq!(raw.one("select count(*) from trunkline.request_list()").await, "0", "row 77");
    works(&tl, "row 77").await;
}

/// One message of the protocol.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Answers one connection with these bytes, the last of them again and again if asked to, and waits for its end.
fn impostor(bytes: Vec<u8>, flood: Option<Vec<u8>>) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(secs(10))).unwrap();
        let mut heard = [0; 4096];
        assert!(peer.read(&mut heard).unwrap() > 0);
        let _ = peer.write_all(&bytes);
        while let Some(more) = &flood
            && peer.write_all(more).is_ok()
        {}
        while peer.read(&mut heard).unwrap_or(0) > 0 {}
    });
    (port, task)
}

#[tokio::test]
async fn row_78_servers_that_are_none_are_left_soon_with_an_error() {
    let error = |code: &str, text: &str| {
        message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0D{SECRET}\0\0").as_bytes())
    };
    let welcome = message(b'R', &[0, 0, 0, 0]);
    let then = |more: &[u8]| [welcome.as_slice(), more].concat();
    let huge = "z".repeat(5 << 20);
    let notice = message(b'N', b"SNOTICE\0C00000\0Mhello\0\0");
    for (row, bytes, flood, kind) in [
        ("not PostgreSQL", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), None, None),
        ("a huge refusal", error("28P01", &huge), None, Some(ErrorKind::Denied)),
        ("a refusal of an unknown code", error("ZZZZZ", "odd"), None, Some(ErrorKind::Other)),
        ("a refusal cut short", message(b'E', b"SFATAL\0C28P0"), None, None),
        ("an unknown login", message(b'R', &[0, 0, 0, 99]), None, None),
        ("rows before the login ends", then(&message(b'T', &[0, 1, 0, 0])), None, None),
        ("a negative length", then(&[b'Z', 0xff, 0xff, 0xff, 0xff]), None, None),
        ("an endless length", then(&[b'Z', 0x7f, 0xff, 0xff, 0xff]), None, Some(ErrorKind::Unreachable)),
        ("an end without a word", then(&message(b'Z', b"I")), None, None),
        ("a flood of notices", welcome.clone(), Some(notice), Some(ErrorKind::Unreachable)),
    ] {
        let (port, task) = impostor(bytes, flood);
        let text =
            format!("host=127.0.0.1 port={port} user=u password={SECRET} sslmode=disable connect_timeout=1");
        let outcome = within(5_000, row, Trunkline::connect(&text)).await;
        let found = outcome.as_ref().err().map(Error::kind);
        assert!(found.is_some() && kind.is_none_or(|k| found == Some(k)), "row 78 {row}: {found:?}");
        assert!(
            matches!(found, Some(ErrorKind::Other | ErrorKind::Unreachable | ErrorKind::Denied)),
            "row 78 {row}: {found:?}"
        );
        refused(&format!("row 78 {row}"), outcome, found.unwrap(), &[&port.to_string()]);
        until(&format!("row 78 {row}: the connection to be closed"), async || task.is_finished()).await;
        task.join().unwrap();
    }
}

#[test]
fn row_80_a_runtime_that_goes_away_leaves_errors_and_not_hangs() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (tl, pending, held) = first.block_on(async {
        let db = Db::new().await;
        let (tl, responder) = (db.client("it").await, db.client("responder").await);
        let mut inbox = responder.requests().inbox("work");
        served(&db, "work", 1).await;
        let pending = tl.requests().call("work", "x").timeout(millis(1_500)).start().await.unwrap();
        let held = inbox.next().await.unwrap();
        (tl, pending, held)
    });
    first.shutdown_background();
    runtime().block_on(async {
        for channel in ["work", "new"] {
            let outcome = within(2_000, channel, async { tl.requests().call(channel, SECRET).await }).await;
            refused(&format!("row 80 {channel}"), outcome, ErrorKind::Unreachable, &[]);
        }
        let reply = within(2_000, "row 80: a reply", held.reply("y")).await;
        refused("row 80 reply", reply, ErrorKind::Unreachable, &["closed"]);
        let ended = within(3_000, "row 80: an outcome", pending.wait()).await.expect_err("row 80");
        assert!(matches!(ended.kind(), ErrorKind::Lost | ErrorKind::TimedOut), "row 80: {ended:?}");
        within(6_000, "row 80: the close", tl.close()).await;
    });
}
