//! Payloads of topics at their borders: as large as was declared, and what is no text.

use trunkline::{
    ErrorKind,
    topics::{Event, Kind, NewMessage, Subscribe},
};

use crate::{
    support::Db,
    topics::{connected, message, next, texts},
};

#[tokio::test]
async fn payloads_are_as_large_as_was_declared_and_no_larger() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    let topics = tl.topics();
    let most = 64 << 20;
    let error = topics.create_up_to("huge", Kind::Volatile, most + 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for (topic, kind) in [("huge", Kind::Volatile), ("vast", Kind::Durable)] {
        assert!(topics.create_up_to(topic, kind, most).await.unwrap());
        let named = Subscribe::new([topic]);
        let mut subscription =
            topics.subscribe(if kind == Kind::Durable { named.name("n") } else { named }).await.unwrap();
        connected(&mut subscription).await;
        let error = topics.publish(topic, vec![7_u8; most as usize + 1]).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains("67108865")),
            (ErrorKind::Invalid, true),
            "{error}"
        );
        topics.publish(topic, vec![7_u8; most as usize]).await.unwrap();
        let got = message(&mut subscription).await;
        assert!(
            got.payload().bytes().len() == most as usize && got.payload().bytes().iter().all(|b| *b == 7)
        );
    }
    assert_eq!(raw.one("select 1").await, "1");
}

#[tokio::test]
async fn names_of_any_length_that_is_allowed_carry_messages() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    let (topics, long) = (tl.topics(), |n: usize| "n".repeat(n));
    let mut named: Vec<(String, Kind)> = [63, 64, 127, 200].map(|n| (long(n), Kind::Volatile)).into();
    named.push((long(48), Kind::Durable));
    // 63 bytes, as a database has room for in any name: of letters, of characters of three bytes, and of what must be quoted.
    named.extend([long(63), "€".repeat(21), format!("\"{}';", long(60))].map(|name| (name, Kind::Channel)));
    for (name, kind) in &named {
        let subscribe = Subscribe::new([name]).kind(*kind);
        let named = if *kind == Kind::Durable { subscribe.name("books") } else { subscribe };
        if *kind == Kind::Durable {
            topics.create(name, *kind).await.unwrap();
        }
        let mut subscription = topics.subscribe(named).await.unwrap();
        connected(&mut subscription).await;
        topics.publish(name, NewMessage::new("by name").kind(*kind)).await.unwrap();
        let got = message(&mut subscription).await;
        assert_eq!((got.topic(), got.text().unwrap()), (name.as_str(), "by name"), "{kind:?}");
    }
    for (name, kind) in
        [(long(201), Kind::Volatile), (long(49), Kind::Durable), ("€".repeat(22), Kind::Channel)]
    {
        let error = topics.publish(&name, NewMessage::new("x").kind(kind)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let subscribe = Subscribe::new([&name]).kind(kind);
        let error = topics.subscribe(if kind == Kind::Durable { subscribe.name("n") } else { subscribe });
        let error = error.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert_eq!(raw.one("select 1").await, "1");
}

#[tokio::test]
async fn what_cannot_be_read_for_a_while_is_an_error_and_comes_when_it_can_be() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    let mut subscription = tl.topics().subscribe("a").await.unwrap();
    connected(&mut subscription).await;
    raw.run("alter table trunkline.topic_message rename column payload to hidden").await;
    raw.run("select pg_notify('trunkline_' || trunkline._topic_door('a'), '')").await;
    match next(&mut subscription).await {
        Event::Error(e) => assert!(e.kind() == ErrorKind::Other || e.kind() == ErrorKind::Unsupported, "{e}"),
        other => panic!("{other:?}"),
    }
    raw.run("alter table trunkline.topic_message rename column hidden to payload").await;
    tl.topics().publish("a", "after").await.unwrap();
    assert_eq!(texts(&mut subscription, 1).await, ["after"]);
}

#[tokio::test]
async fn what_is_no_text_is_an_error_and_the_bytes_are_there() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    let mut subscription = tl.topics().subscribe("a").await.unwrap();
    connected(&mut subscription).await;
    raw.run("select trunkline.topic_publish_bytes('a', '\\xff00')").await;
    let got = message(&mut subscription).await;
    assert!(got.text().is_err() && got.json::<serde_json::Value>().is_err());
    assert_eq!(got.payload().bytes(), [0xff, 0]);
    for text in ["a\0b", "\0"] {
        for refused in [
            NewMessage::new(text),
            NewMessage::new(text).kind(Kind::Channel),
            NewMessage::new("x").message_id(text),
            NewMessage::new("x").header("h", text),
        ] {
            let error = tl.topics().publish("a", refused).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
    }
    tl.topics().publish("a", "on").await.unwrap();
    assert_eq!(texts(&mut subscription, 1).await, ["on"]);
}

#[tokio::test]
async fn equal_messages_are_separate_messages() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    let topics = tl.topics();
    topics.create("bills", Kind::Durable).await.unwrap();
    let on = [("a", Kind::Volatile, "a"), ("b", Kind::Channel, "b"), ("bills", Kind::Durable, "books")];
    for (topic, kind, name) in on {
        let subscribe = Subscribe::new([topic]).kind(kind);
        let named = if kind == Kind::Durable { subscribe.name(name) } else { subscribe };
        let mut subscription = topics.subscribe(named).await.unwrap();
        connected(&mut subscription).await;
        let same = || NewMessage::new("same").kind(kind);
        // Whoever is first is written alone, and the others, in one statement, behind it.
        let all = (0..20).map(|_| topics.publish(topic, same()));
        for published in futures_util::future::join_all(all).await {
            published.unwrap();
        }
        let together = topics.publish_all(topic, [same(), same()]).await;
        let many = if kind == Kind::Channel {
            let e = together.unwrap_err();
            assert!(
                e.kind() == ErrorKind::Invalid && e.to_string().contains("message 2: equal messages"),
                "{e}"
            );
            20
        } else {
            together.unwrap();
            22
        };
        topics.publish(topic, NewMessage::new("last").kind(kind)).await.unwrap();
        let mut got = texts(&mut subscription, many + 1).await;
        assert_eq!(got.pop().as_deref(), Some("last"), "{topic}");
        assert!(got.iter().all(|text| text == "same"), "{topic}: {got:?}");
    }
    let twice = "select trunkline.topic_publish_many('b', array['x', 'y', 'x'], kind => 'channel')";
    assert_eq!(raw.code(twice).await, "22023");
}
