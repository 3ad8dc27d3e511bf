//! Payloads of topics at their borders: as large as was declared, and what is no text.

use trunkline::{
    ErrorKind,
    topics::{Kind, NewMessage, Subscribe},
};

use crate::{
    support::Db,
    topics::{connected, message, texts},
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
