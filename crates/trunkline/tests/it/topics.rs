//! Topics: who gets what, on channels, in the ring and from streams; wildcards, order, what does not parse, and bad input.

use serde_json::json;
use trunkline::{
    ErrorKind, Trunkline,
    requests::Payload,
    topics::{Event, Gap, Handlers, Kind, Message, NewMessage, OnFull, Subscribe, Subscription, Told},
};

use crate::support::{Db, Raw, millis, until, within};

/// The next event, in time.
pub async fn next(subscription: &mut Subscription) -> Event {
    within(15_000, "an event", subscription.next()).await.unwrap().expect("it goes on")
}

/// The next message; anything before it but "connected" is a failure.
pub async fn message(subscription: &mut Subscription) -> Message {
    loop {
        match next(subscription).await {
            Event::Message(message) => return message,
            Event::Connected => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The next so many messages, as text.
pub async fn texts(subscription: &mut Subscription, many: usize) -> Vec<String> {
    let mut texts = Vec::with_capacity(many);
    for _ in 0..many {
        texts.push(message(subscription).await.text().unwrap().to_owned());
    }
    texts
}

/// Waits until it is connected; anything else is a failure.
pub async fn connected(subscription: &mut Subscription) {
    match next(subscription).await {
        Event::Connected => {}
        other => panic!("{other:?}"),
    }
}

async fn one() -> (Db, Trunkline, Raw) {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    (db, tl, raw)
}

#[tokio::test]
async fn what_is_published_comes_to_everybody_who_listens_in_order() {
    let (db, tl, raw) = one().await;
    let other = db.client("other").await;
    let mut here = tl.topics().subscribe("orders.eu").await.unwrap();
    let mut there = other.topics().subscribe("orders.eu").await.unwrap();
    let mut elsewhere = other.topics().subscribe("orders.us").await.unwrap();
    for subscription in [&mut here, &mut there, &mut elsewhere] {
        connected(subscription).await;
    }
    let first = tl.topics().publish("orders.eu", "1").await.unwrap();
    raw.run("select trunkline.topic_publish('orders.eu', '2')").await;
    tl.topics().publish_all("orders.eu", ["3", "4"]).await.unwrap();
    raw.run("select trunkline.topic_publish_many('orders.eu', array['5', '6'])").await;
    tl.topics().publish("orders.us", "us").await.unwrap();
    let got = message(&mut here).await;
    assert_eq!((got.text().unwrap(), got.id(), got.topic()), ("1", first, "orders.eu"));
    assert_eq!(got.sender(), tl.address());
    let got = message(&mut here).await;
    assert_eq!((got.text().unwrap(), got.sender()), ("2", None));
    assert_eq!(texts(&mut here, 4).await, ["3", "4", "5", "6"]);
    assert_eq!(texts(&mut there, 6).await, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(texts(&mut elsewhere, 1).await, ["us"]);
}

#[tokio::test]
async fn every_payload_comes_as_it_went() {
    let (_db, tl, raw) = one().await;
    let mut all = tl.topics().subscribe(">").await.unwrap();
    connected(&mut all).await;
    let large = vec![7_u8; 1 << 20];
    for payload in ["".into(), "é '\\\" \n".into(), Payload::json(&json!({ "a": [1, null] })).unwrap()] {
        tl.topics().publish("a", NewMessage::new(payload.clone())).await.unwrap();
        assert_eq!(*message(&mut all).await.payload(), payload);
    }
    for bytes in [vec![0_u8, 255, 10], large] {
        tl.topics().publish("a", bytes.clone()).await.unwrap();
        assert_eq!(message(&mut all).await.payload().bytes(), bytes);
    }
    let rich = NewMessage::new("x").header("traceparent", "00-1").message_id("m1");
    tl.topics().publish("a", rich).await.unwrap();
    let got = message(&mut all).await;
    assert_eq!((got.headers()["traceparent"].as_str(), got.message_id()), ("00-1", Some("m1")));
    raw.run(r#"select trunkline.topic_publish_bytes('a', '\x00ff'), trunkline.topic_publish_json('a', '{"n":1}', '{"h":"v"}', 'id')"#)
        .await;
    assert_eq!(message(&mut all).await.payload().bytes(), [0, 255]);
    let got = message(&mut all).await;
    assert_eq!((got.headers()["h"].as_str(), got.message_id()), ("v", Some("id")));
    assert_eq!(got.json::<serde_json::Value>().unwrap(), json!({ "n": 1 }));
}

#[tokio::test]
async fn what_does_not_parse_is_an_error_with_the_raw_text() {
    let (_db, tl, _raw) = one().await;
    let mut subscription = tl.topics().subscribe("a").await.unwrap();
    connected(&mut subscription).await;
    tl.topics().publish("a", "{broken").await.unwrap();
    let unreadable = message(&mut subscription).await.json::<serde_json::Value>().unwrap_err();
    assert_eq!(unreadable.message.text().unwrap(), "{broken");
    assert!(!unreadable.to_string().contains("broken"), "{unreadable}");
}

#[tokio::test]
async fn wildcards_match_words_and_each_message_comes_once() {
    let (_db, tl, _raw) = one().await;
    let topics = tl.topics();
    let mut star = topics.subscribe("orders.*").await.unwrap();
    let mut rest = topics.subscribe("orders.>").await.unwrap();
    let mut both =
        topics.subscribe(Subscribe::new(["orders.eu", "orders.*", "*.eu", "orders.>"])).await.unwrap();
    for subscription in [&mut star, &mut rest, &mut both] {
        connected(subscription).await;
    }
    for topic in ["orders", "orders.eu", "orders.eu.de", "bills.eu", "orders.us"] {
        topics.publish(topic, topic).await.unwrap();
    }
    topics.publish("orders.end", "end").await.unwrap();
    assert_eq!(texts(&mut star, 3).await, ["orders.eu", "orders.us", "end"]);
    assert_eq!(texts(&mut rest, 4).await, ["orders.eu", "orders.eu.de", "orders.us", "end"]);
    assert_eq!(texts(&mut both, 5).await, ["orders.eu", "orders.eu.de", "bills.eu", "orders.us", "end"]);
}

#[tokio::test]
async fn messages_go_out_with_the_commit_also_of_a_transaction_that_was_open_for_long() {
    let (db, tl, raw) = one().await;
    let mut all = tl.topics().subscribe(">").await.unwrap();
    connected(&mut all).await;
    raw.run("begin").await;
    raw.run("select trunkline.topic_publish('a', 'late 1')").await;
    let gone = db.raw().await;
    gone.run("begin; select trunkline.topic_publish('a', 'never'); rollback").await;
    // More transactions than are read over: the old one is looked up by itself.
    for n in 0..100 {
        tl.topics().publish("b", n.to_string()).await.unwrap();
    }
    let early = texts(&mut all, 100).await;
    assert_eq!(early, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    raw.run("savepoint s; select trunkline.topic_publish('a', 'rolled back'); rollback to s").await;
    raw.run("select trunkline.topic_publish('a', 'late 2'); commit").await;
    assert_eq!(texts(&mut all, 2).await, ["late 1", "late 2"]);
    let mut client = db.raw().await;
    let tx = client.client.transaction().await.unwrap();
    tl.topics().publish_on(&mut &tx, "a", "in mine").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(texts(&mut all, 1).await, ["in mine"]);
}

#[tokio::test]
async fn own_messages_are_left_out_when_wanted() {
    let (db, tl, raw) = one().await;
    let other = db.client("other").await;
    let (mut filtered, mut all) = (
        tl.topics().subscribe(Subscribe::new(["a"]).filtered()).await.unwrap(),
        tl.topics().subscribe("a").await.unwrap(),
    );
    let mut channel =
        tl.topics().subscribe(Subscribe::new(["c"]).kind(Kind::Channel).filtered()).await.unwrap();
    raw.run("select trunkline.topic_create('d', 'durable')").await;
    let mut durable = tl.topics().subscribe(Subscribe::new(["d"]).name("n").filtered()).await.unwrap();
    let mut single =
        tl.topics().subscribe(Subscribe::new(["d"]).name("s").single().filtered()).await.unwrap();
    for subscription in [&mut filtered, &mut all, &mut channel, &mut durable, &mut single] {
        connected(subscription).await;
    }
    assert!(matches!(next(&mut single).await, Event::Active { .. }));
    for (client, text) in [(&tl, "mine"), (&other, "theirs")] {
        client.topics().publish("a", text).await.unwrap();
        client.topics().publish("d", text).await.unwrap();
        client.topics().publish("c", NewMessage::new(text).kind(Kind::Channel)).await.unwrap();
    }
    assert_eq!(texts(&mut filtered, 1).await, ["theirs"]);
    assert_eq!(texts(&mut all, 2).await, ["mine", "theirs"]);
    assert_eq!(texts(&mut channel, 1).await, ["theirs"]);
    assert_eq!(texts(&mut durable, 1).await, ["theirs"]);
    assert_eq!(texts(&mut single, 1).await, ["theirs"]);
}

#[tokio::test]
async fn a_channel_hears_others_and_is_heard_by_them() {
    let (db, tl, raw) = one().await;
    let listener = db.raw().await;
    let name = "Orders \"new\" é'; --";
    listener.run(&format!("listen {}", quoted(name))).await;
    let channel = || Subscribe::new([name]).kind(Kind::Channel);
    let mut first = tl.topics().subscribe(channel()).await.unwrap();
    connected(&mut first).await;
    let mut second = tl.topics().subscribe(channel()).await.unwrap();
    connected(&mut second).await;
    raw.client.execute("select pg_notify($1, 'from a trigger')", &[&name]).await.unwrap();
    raw.run(&format!("notify {}, 'x'; notify {}", quoted(name), quoted(name))).await;
    for subscription in [&mut first, &mut second] {
        assert_eq!(texts(subscription, 3).await, ["from a trigger", "x", ""]);
    }
    tl.topics().publish(name, NewMessage::new("ours").kind(Kind::Channel)).await.unwrap();
    assert_eq!(texts(&mut first, 1).await, ["ours"]);
    let mut listener = listener;
    for _ in 0..4 {
        assert_eq!(within(15_000, "a notification", listener.notes.recv()).await.as_deref(), Some(name));
    }
    // The last who listens lets go of it, and not the first.
    first.close().await;
    raw.client.execute("select pg_notify($1, 'still')", &[&name]).await.unwrap();
    assert_eq!(texts(&mut second, 2).await, ["ours", "still"]);
    second.close().await;
    let mut again = tl.topics().subscribe(channel()).await.unwrap();
    connected(&mut again).await;
    raw.client.execute("select pg_notify($1, 'again')", &[&name]).await.unwrap();
    assert_eq!(texts(&mut again, 1).await, ["again"]);
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test]
async fn a_named_subscription_to_a_durable_topic_goes_on_where_it_was() {
    let (db, tl, raw) = one().await;
    assert!(tl.topics().create("bills", Kind::Durable).await.unwrap());
    assert!(!tl.topics().create("bills", Kind::Durable).await.unwrap());
    let named = || Subscribe::new(["bills"]).name("books");
    let mut first = tl.topics().subscribe(named()).await.unwrap();
    connected(&mut first).await;
    let rich = NewMessage::new("1").header("h", "v").message_id("m1");
    tl.topics().publish("bills", rich).await.unwrap();
    let got = message(&mut first).await;
    assert_eq!((got.text().unwrap(), got.message_id(), got.sender()), ("1", Some("m1"), tl.address()));
    assert_eq!(got.headers().iter().collect::<Vec<_>>(), [(&"h".to_owned(), &"v".to_owned())]);
    drop(got);
    until("the batch to be finished", async || {
        raw.one("select backlog from trunkline.stream_consumers('bills')").await == "0"
    })
    .await;
    first.close().await;
    tl.topics().publish_all("bills", ["2", "3"]).await.unwrap();
    raw.run("select trunkline.topic_publish_json('bills', '4')").await;
    let other = db.client("other").await;
    let mut second = other.topics().subscribe(named()).await.unwrap();
    assert_eq!(texts(&mut second, 3).await, ["2", "3", "4"]);
}

#[tokio::test]
async fn a_durable_message_whose_handler_fails_comes_again() {
    let (_db, tl, _raw) = one().await;
    tl.topics().create("bills", Kind::Durable).await.unwrap();
    let subscription = tl.topics().subscribe(Subscribe::new(["bills"]).name("books")).await.unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let mut times = std::sync::Mutex::new(0);
    let _ = times.get_mut();
    let handling = subscription.handle(Handlers::new().on("bills", move |message: Message| {
        let mut n = times.lock().unwrap();
        *n += 1;
        let (n, tx) = (*n, tx.clone());
        async move {
            tx.send((n, message.text().unwrap().to_owned())).unwrap();
            match n {
                1 => Err(trunkline::requests::Failure::new("no", "not now")),
                2 => panic!("not now either"),
                _ => Ok(()),
            }
        }
    }));
    tl.topics().publish("bills", "x").await.unwrap();
    for n in 1..=3 {
        assert_eq!(within(15_000, "the message", rx.recv()).await, Some((n, "x".to_owned())));
    }
    handling.stop().await.unwrap();
}

#[tokio::test]
async fn the_catch_all_handler_comes_first_and_failures_are_told() {
    let (_db, tl, _raw) = one().await;
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let say = move |what: String| tx.send(what).unwrap();
    let said = |who: &'static str| {
        let say = say.clone();
        move |message: Message| {
            say(format!("{who} {}", message.topic()));
            async { Ok(()) }
        }
    };
    let (on_json, on_event) = (say.clone(), say.clone());
    let handlers = Handlers::new()
        .on("a.*", said("words"))
        .on("a.b", said("exact"))
        .all(said("all"))
        .on_json("j", move |_, value: Vec<u32>| {
            on_json(format!("json {value:?}"));
            async { Ok(()) }
        })
        .on("bad", |_| async { panic!("now") })
        .events(move |told| match told {
            Told::Event(Event::Connected) => on_event("connected".into()),
            Told::Unreadable(u) => on_event(format!("unreadable {}", u.message.text().unwrap())),
            Told::Failed(message, failure) => on_event(format!("{} {}", message.topic(), failure.code)),
            other => panic!("{other:?}"),
        });
    let handling = tl.topics().subscribe(">").await.unwrap().handle(handlers);
    let mut heard = async |what: &str| {
        assert_eq!(within(15_000, what, rx.recv()).await.as_deref(), Some(what));
    };
    heard("connected").await;
    for (topic, payload) in [("a.b", "1"), ("a.c", "2"), ("j", "[1,2]"), ("j", "{}"), ("bad", "")] {
        tl.topics().publish(topic, payload).await.unwrap();
    }
    for what in [
        "all a.b",
        "words a.b",
        "exact a.b",
        "all a.c",
        "words a.c",
        "all j",
        "json [1, 2]",
        "all j",
        "unreadable {}",
    ] {
        heard(what).await;
    }
    heard("all bad").await;
    heard("bad panic").await;
    handling.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_buffer_waits_or_drops_and_tells_and_others_go_on() {
    let (_db, tl, _raw) = one().await;
    let topics = tl.topics();
    let of = |what| Subscribe::new(["a"]).buffer(10).on_full(what);
    let mut wait = topics.subscribe(of(OnFull::Wait)).await.unwrap();
    let mut oldest = topics.subscribe(of(OnFull::DropOldest)).await.unwrap();
    let mut newest = topics.subscribe(of(OnFull::DropNewest)).await.unwrap();
    let mut reads = topics.subscribe("a").await.unwrap();
    for subscription in [&mut wait, &mut oldest, &mut newest, &mut reads] {
        connected(subscription).await;
    }
    let all: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    for chunk in all.chunks(250) {
        topics.publish_all("a", chunk.iter().map(String::as_str)).await.unwrap();
        assert_eq!(texts(&mut reads, 250).await, chunk, "who reads goes on");
    }
    assert_eq!(texts(&mut wait, 5000).await, all);
    topics.publish("a", "end").await.unwrap();
    assert_eq!(texts(&mut wait, 1).await, ["end"]);
    assert_eq!(texts(&mut reads, 1).await, ["end"]);
    let Event::Gap(Gap { missed: Some(4991), .. }) = next(&mut oldest).await else {
        panic!("no gap of 4991")
    };
    let newest_ten: Vec<&str> = all[4991..].iter().map(String::as_str).chain(["end"]).collect();
    assert_eq!(texts(&mut oldest, 10).await, newest_ten);
    assert_eq!(texts(&mut newest, 10).await, all[..10]);
    let Event::Gap(Gap { missed: Some(4991), .. }) = next(&mut newest).await else {
        panic!("no gap of 4991")
    };
}

#[tokio::test]
async fn what_cannot_be_published_or_listened_to_is_refused_with_a_reason() {
    let (_db, tl, _raw) = one().await;
    let topics = tl.topics();
    topics.create("bills", Kind::Durable).await.unwrap();
    let long = "x".repeat(201);
    let channel = |text: &str| NewMessage::new(text).kind(Kind::Channel);
    let c64 = "c".repeat(64);
    for (topic, message, kind, words) in [
        ("", NewMessage::new("x"), ErrorKind::Invalid, "1 to 200 bytes, got 0"),
        (long.as_str(), "x".into(), ErrorKind::Invalid, "1 to 200 bytes, got 201"),
        ("a b", "x".into(), ErrorKind::Invalid, "words of"),
        ("a..b", "x".into(), ErrorKind::Invalid, "words of"),
        ("a.*", "x".into(), ErrorKind::Invalid, "words of"),
        ("a\0", "x".into(), ErrorKind::Invalid, "NUL"),
        ("a", vec![0; (1 << 20) + 1].into(), ErrorKind::Invalid, "at most 1048576 bytes, got 1048577"),
        (
            "a",
            NewMessage::new("x").message_id("i".repeat(101)),
            ErrorKind::Invalid,
            "at most 100 bytes, got 101",
        ),
        ("bills", channel("x"), ErrorKind::Conflict, "is durable, not channel"),
        ("none", NewMessage::new("x").kind(Kind::Durable), ErrorKind::NotFound, "no durable topic"),
        ("c", channel(&"x".repeat(8000)), ErrorKind::Invalid, "at most 7999 bytes, got 8000"),
        (c64.as_str(), channel("x"), ErrorKind::Invalid, "1 to 63 bytes, got 64"),
        ("trunkline_1", channel("x"), ErrorKind::Invalid, "reserved"),
        ("c", NewMessage::new(vec![1]).kind(Kind::Channel), ErrorKind::Invalid, "text, not bytes"),
        ("c", channel("x").header("a", "b"), ErrorKind::Invalid, "a payload alone"),
    ] {
        let error = topics.publish(topic, message).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{topic:?}: {error}");
        assert!(error.to_string().contains(words), "{topic:?}: {error}");
    }
    for (options, words) in [
        (Subscribe::new(Vec::<String>::new()), "1 to 1000 topics, got 0"),
        (Subscribe::new(["a", "bills"]), "one kind"),
        ("bills".into(), "needs a name"),
        (Subscribe::new(["a"]).name("n"), "has a name"),
        ("a.".into(), "words of"),
        (Subscribe::new([c64.clone()]).kind(Kind::Channel), "1 to 63 bytes, got 64"),
        (Subscribe::new(["c\0"]).kind(Kind::Channel), "NUL"),
        (Subscribe::new(["trunkline_7"]).kind(Kind::Channel), "reserved"),
    ] {
        let error = topics.subscribe(options).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_published_by_sql_is_refused_and_nothing_is_written() {
    let (_db, tl, raw) = one().await;
    let topics = tl.topics();
    topics.create("bills", Kind::Durable).await.unwrap();
    for (call, code) in [
        ("topic_publish(null, 'x')", "22004"),
        ("topic_publish('a', null)", "22004"),
        ("topic_publish('a', 'x', kind => 'fast')", "22023"),
        ("topic_publish('a', 'x', headers => '[]')", "22023"),
        ("topic_publish_many('a', null)", "22004"),
        ("topic_publish_many('a', array['x', null])", "22004"),
        ("topic_publish_many('a', array['x'], array['1', '2'])", "22023"),
        ("topic_publish(repeat('c', 64), 'x', kind => 'channel')", "54000"),
        ("topic_create('A', 'durable')", "22023"),
        ("topic_create('a', 'volatile', 0)", "22023"),
        ("topic_create('bills', 'volatile')", "TL015"),
    ] {
        assert_eq!(raw.code(&format!("select trunkline.{call}")).await, code, "{call}");
    }
    let two = topics.publish_all("a", ["x", &"y".repeat((1 << 20) + 1)]).await.unwrap_err();
    assert!(two.to_string().starts_with("message 2: payload"), "{two}");
    assert_eq!(raw.one("select count(*) from trunkline.topic_message").await, "0", "nothing was written");
    let most = "m".repeat(7999);
    let mut c = topics.subscribe(Subscribe::new(["c"]).kind(Kind::Channel)).await.unwrap();
    connected(&mut c).await;
    topics.publish("c", NewMessage::new(most.as_str()).kind(Kind::Channel)).await.unwrap();
    assert_eq!(texts(&mut c, 1).await, [most]);
}

#[tokio::test]
async fn who_listens_on_what_is_seen_until_he_leaves_or_dies() {
    let (db, tl, raw) = one().await;
    let other = db.client("other").await;
    let mine = tl.topics().subscribe(Subscribe::new(["a", "b.*"])).await.unwrap();
    let _theirs = other.topics().subscribe(Subscribe::new(["c"]).kind(Kind::Channel)).await.unwrap();
    let seen = "select topics, kind, application, active from trunkline.subscription";
    until("both to be there", async || {
        raw.rows(seen).await == ["{a,b.*}|volatile|topics|t", "{c}|channel|other|t"]
    })
    .await;
    let listed = tl.topics().subscriptions().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].topics.len(), listed[0].address), (2, tl.address().unwrap()));
    assert_eq!(raw.rows("select topic, subscriptions from trunkline.topic_list()").await.len(), 3);
    mine.close().await;
    assert_eq!(raw.rows(seen).await, ["{c}|channel|other|t"]);
    other.close().await;
    until("nobody to be there", async || raw.rows(seen).await.is_empty()).await;
    assert_eq!(raw.one("select count(*) from trunkline.topic_subscription").await, "0");
}

#[tokio::test]
async fn nobody_who_is_awake_is_notified_and_who_sleeps_is_woken() {
    let (db, tl, raw) = one().await;
    let mut subscription = tl.topics().subscribe(Subscribe::new(["a", "b"])).await.unwrap();
    connected(&mut subscription).await;
    let doors = |number: i32| {
        format!(
            "select count(*) = {number} from pg_locks where locktype = 'advisory' and classid = 1953656427 and granted
                and objid::text::bigint between 2147483648 and 2147483712
                and database = (select oid from pg_database where datname = current_database())"
        )
    };
    raw.until("it to sleep on its two doors", &doors(2)).await;
    let other = db.raw().await;
    for n in 0..5 {
        other.run(&format!("select trunkline.topic_publish('a', '{n}')")).await;
        let (got, limit) = (texts(&mut subscription, 1), millis(900));
        let (got, late) = crate::support::late(limit, got).await;
        assert_eq!(got, [n.to_string()]);
        assert!(late.is_zero(), "found by the poll, {late:?} late");
    }
    subscription.close().await;
    raw.until("the doors to be left", &doors(0)).await;
}
