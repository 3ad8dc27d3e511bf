//! Who serves: several services of one process, several processes on one lane, presence when they come and go, gather.

use std::{collections::BTreeMap, future::IntoFuture as _};

use trunkline::{
    ErrorKind, Trunkline,
    requests::{Failure, Request, Serve, Serving},
};

use crate::support::{Db, Stopwatch, late, millis, secs, within};

/// Answers with its own name.
async fn named(tl: &Trunkline, serve: Serve, name: &'static str) -> Serving {
    let serving = tl.requests().serve(serve, move |_: Request| async move { Ok::<_, Failure>(name) });
    within(5_000, "the registration", serving.ready()).await.unwrap();
    serving
}

async fn ask(tl: &Trunkline, kind: &str) -> Result<String, ErrorKind> {
    let reply = tl.requests().call("work", "x").kind(kind).timeout(secs(5)).await;
    reply.map(|r| String::from_utf8_lossy(r.payload.bytes()).into_owned()).map_err(|e| e.kind())
}

#[tokio::test]
async fn two_services_of_one_process_on_one_channel_each_get_their_types() {
    let db = Db::new().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let a = named(&responder, Serve::channel("work").types(["a"]), "first").await;
    let b = named(&responder, Serve::channel("work").types(["b"]), "second").await;
    for _ in 0..5 {
        let (a, b) = tokio::join!(ask(&caller, "a"), ask(&caller, "b"));
        assert_eq!((a.as_deref(), b.as_deref()), (Ok("first"), Ok("second")));
    }
    assert_eq!(ask(&caller, "c").await, Err(ErrorKind::Remote), "unsupported");
    a.stop().await;
    assert_eq!(ask(&caller, "b").await.as_deref(), Ok("second"), "the other goes on");
    assert_eq!(ask(&caller, "a").await, Err(ErrorKind::Remote), "nobody serves it now");
    b.stop().await;
    assert_eq!(ask(&caller, "b").await, Err(ErrorKind::NoResponder));
}

#[tokio::test]
async fn presence_follows_every_coming_and_going_at_once() {
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    for round in 0..10 {
        let since = Stopwatch::start();
        assert_eq!(ask(&caller, "").await, Err(ErrorKind::NoResponder), "round {round}");
        assert!(since.elapsed() < millis(250), "at once: {:?}", since.elapsed());
        let first = named(&one, "work".into(), "one").await;
        assert!(ask(&caller, "").await.is_ok());
        let second = named(&two, "work".into(), "two").await;
        first.stop().await;
        assert_eq!(ask(&caller, "").await.as_deref(), Ok("two"));
        second.stop().await;
    }
}

#[tokio::test]
async fn many_who_ask_at_once_where_nobody_serves_are_all_told() {
    let db = Db::new().await;
    let callers = [db.client("a").await, db.client("b").await, db.client("c").await, db.client("d").await];
    for _ in 0..50 {
        let asked = futures_util::future::join_all(callers.iter().map(|c| ask(c, ""))).await;
        assert!(asked.iter().all(|a| *a == Err(ErrorKind::NoResponder)), "{asked:?}");
    }
}

#[tokio::test]
async fn a_process_serves_itself_and_sees_its_own_absence() {
    let db = Db::new().await;
    let own = db.client("own").await;
    let serving = named(&own, "work".into(), "me").await;
    assert_eq!(ask(&own, "").await.as_deref(), Ok("me"));
    serving.stop().await;
    assert_eq!(ask(&own, "").await, Err(ErrorKind::NoResponder));
}

#[tokio::test]
async fn a_sql_responder_that_stops_serving_is_absent() {
    let db = Db::new().await;
    let (raw, other) = (db.raw().await, db.raw().await);
    raw.run("select trunkline.request_serve('work'), trunkline.request_serve('work', array['t'])").await;
    other.run("select trunkline.request_send('work', 'x')").await;
    assert_eq!(raw.one("select trunkline.request_unserve('work')").await, "t");
    assert_eq!(raw.one("select trunkline.request_unserve('work')").await, "f");
    assert_eq!(other.code("select trunkline.request_send('work', 'x')").await, "TL012");
    assert_eq!(raw.one("select count(*) from trunkline.request_responders()").await, "0");
}

#[tokio::test]
async fn four_processes_share_a_lane_and_each_request_is_answered_once() {
    const ALL: usize = 2_000;
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let raw = db.raw().await;
    raw.run("create table done (request bigint, by text)").await;
    let mut serving = Vec::new();
    let mut processes = Vec::new();
    for n in 0..4 {
        let tl = db.client(&format!("p{n}")).await;
        let own = db.raw().await;
        let own = std::sync::Arc::new(own);
        let service = tl.requests().serve(Serve::channel("work").concurrency(8), move |r: Request| {
            let own = own.clone();
            async move {
                own.run(&format!("insert into done values ({}, 'p{n}')", r.id)).await;
                Ok::<_, Failure>(r.payload)
            }
        });
        service.ready().await.unwrap();
        serving.push(service);
        processes.push(tl);
    }
    let requests = caller.requests();
    let calls = (0..ALL).map(|n| {
        let call = requests.call("work", n.to_string()).timeout(secs(20));
        async move { (n.to_string(), call.await) }
    });
    for (asked, reply) in futures_util::future::join_all(calls).await {
        assert_eq!(reply.unwrap().payload.text().unwrap(), asked);
    }
    assert_eq!(raw.one("select count(*), count(distinct request) from done").await, format!("{ALL}|{ALL}"));
    assert_eq!(raw.one("select count(distinct by) > 1 from done").await, "t");
}

#[tokio::test]
async fn gather_asks_every_service_once_and_stops_at_the_first_so_many() {
    let db = Db::new().await;
    let caller = db.client("caller").await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let _a = named(&one, "work".into(), "a").await;
    let _b = named(&one, "work".into(), "b").await;
    let _c = named(&two, "work".into(), "c").await;
    let requests = caller.requests();
    let mut counted = BTreeMap::new();
    for outcome in requests.gather("work", "x", 9, secs(3)).await.unwrap() {
        let name = String::from_utf8_lossy(outcome.unwrap().payload.bytes()).into_owned();
        *counted.entry(name).or_insert(0) += 1;
    }
    assert_eq!(counted, BTreeMap::from(["a", "b", "c"].map(|n| (n.to_owned(), 1))));
    assert_eq!(requests.gather("work", "x", 2, secs(3)).await.unwrap().len(), 2);
    assert_eq!(requests.gather("nobody", "x", 2, secs(3)).await.unwrap_err().kind(), ErrorKind::NoResponder);
    let _slow = two.requests().inbox("work");
    within(5_000, "the inbox", _slow.ready()).await.unwrap();
    let (outcomes, over) = late(secs(3), requests.gather("work", "x", 9, secs(3))).await;
    let outcomes = outcomes.unwrap();
    assert!(over < secs(1), "{over:?}");
    let late = outcomes.iter().filter(|o| o.as_ref().is_err_and(|e| e.kind() == ErrorKind::TimedOut)).count();
    assert_eq!((outcomes.len(), late), (4, 1));
}

#[tokio::test]
async fn what_can_never_be_served_ends_and_says_why() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("it").await, db.raw().await);
    let long = "t".repeat(101);
    for (serve, word) in [
        (Serve::channel("no such name"), "name"),
        (Serve::channel("pg_x"), "reserved"),
        (Serve::channel("work").types([long.as_str()]), "101"),
        (Serve::channel("work").types(vec!["t"; 101]), "101"),
        (Serve::channel("a\0b"), ""),
        (Serve::channel("@x"), "address"),
    ] {
        let serving = tl.requests().serve(serve.clone(), |r| async move { Ok::<_, Failure>(r.payload) });
        let refused = within(2_000, word, serving.ready()).await.unwrap_err();
        assert!(refused.to_string().contains(word), "{refused}");
        let ended = within(500, word, serving.ended()).await.unwrap_err();
        assert_eq!((refused.kind(), ended.kind()), (ErrorKind::Invalid, ErrorKind::Invalid), "{word}");
        assert_eq!((refused.code(), refused.to_string()), (ended.code(), ended.to_string()));
        within(1_000, "its stop", serving.stop()).await;
        let mut inbox = tl.requests().inbox(serve);
        assert!(within(2_000, word, inbox.next()).await.is_none());
        assert_eq!(inbox.ready().await.unwrap_err().code(), refused.code(), "{word}");
    }
    // What a reconnect finds forbidden ends what was served until then; what is merely away does not.
    raw.run("do $$ begin create role it_server login; exception when duplicate_object then end $$").await;
    raw.run("select trunkline.grant_to('it_server', 'writer')").await;
    let url = db.url.replace("user=postgres", "user=it_server");
    let info = trunkline::conninfo::ConnInfo::from_str_with(
        &format!("{url}&application_name=server"),
        &trunkline::conninfo::Env::empty(),
    );
    let server = Trunkline::with(info.unwrap()).await.unwrap();
    let serving = named(&server, "work".into(), "served").await;
    let cut_off = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'server'
                      and datname = current_database()";
    raw.run(cut_off).await;
    let back = tl.requests().call("work", "x").wait_for_responder().timeout(secs(9)).await.unwrap();
    assert_eq!(back.payload.bytes(), b"served", "it came back");
    raw.run("revoke execute on function trunkline._request_serve from it_server").await;
    raw.run(cut_off).await;
    let ended = within(15_000, "the end", serving.ended()).await.unwrap_err();
    assert_eq!((ended.kind(), ended.code()), (ErrorKind::Denied, Some("42501")));
    let idle = server.requests().serve(Serve::own_address(), |r| async move { Ok::<_, Failure>(r.payload) });
    within(5_000, "what needs no such right", idle.ready()).await.unwrap();
    server.close().await;
    assert_eq!(within(2_000, "the end", idle.ended()).await.unwrap_err().kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_service_for_so_many_requests_takes_those_and_no_more() {
    let db = Db::new().await;
    let (caller, one, two) = (db.client("caller").await, db.client("one").await, db.client("two").await);
    let requests = caller.requests();
    let mut mailbox = requests.mailbox();
    for n in 0..20 {
        let call = requests.call("work", n.to_string()).wait_for_responder().timeout(secs(20));
        mailbox.send(call).await.unwrap();
    }
    // By its channel, by `gather` and by its address: all of them count.
    let first = named(&one, Serve::channel("work").and_own_address().at_most(7), "first").await;
    for _ in 0..7 {
        within(3_000, "an answer", mailbox.next()).await.unwrap().result.unwrap();
    }
    within(1_000, "its end", first.ended()).await.unwrap();
    within(1_000, "its stop", first.stop()).await;
    assert_eq!((mailbox.awaiting().len(), one.requests().stats().served), (13, 7));
    let second = named(&two, Serve::channel("work").and_own_address().at_most(15), "second").await;
    for _ in 0..13 {
        within(3_000, "an answer", mailbox.next()).await.unwrap().result.unwrap();
    }
    let gathered = requests.gather("work", "x", 9, secs(3)).await.unwrap();
    assert_eq!(gathered.len(), 1);
    let to = two.address().unwrap();
    let by_address = requests.call(to, "x").timeout(secs(3)).await.unwrap();
    assert_eq!(by_address.payload.bytes(), b"second");
    within(1_000, "its end", second.ended()).await.unwrap();
    let mut inbox = one.requests().inbox(Serve::channel("few").at_most(1));
    within(3_000, "the inbox", inbox.ready()).await.unwrap();
    let calls =
        futures_util::future::join_all((0..2).map(|n| {
            requests.call("few", n.to_string()).wait_for_responder().timeout(secs(2)).into_future()
        }));
    let calls = tokio::spawn(calls);
    within(3_000, "one", inbox.next()).await.unwrap().reply("y").await.unwrap();
    assert!(within(1_000, "its end", inbox.next()).await.is_none());
    inbox.ready().await.unwrap();
    assert_eq!(calls.await.unwrap().iter().filter(|o| o.is_ok()).count(), 1);
}

#[tokio::test]
async fn whether_an_inbox_is_ready_can_be_awaited_in_any_task() {
    let db = Db::new().await;
    let tl = db.client("it").await;
    let inbox = tl.requests().inbox("work");
    let ready = tokio::spawn(async move {
        inbox.ready().await.unwrap();
        inbox
    });
    let _inbox = within(5_000, "the inbox to be ready", ready).await.unwrap();
    tl.requests().send("work", "somebody is there").await.unwrap();
}
