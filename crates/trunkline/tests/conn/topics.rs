//! Topics across a fail-over.

use std::time::Duration;

use tokio::time::timeout;
use trunkline::{
    Trunkline,
    topics::{Event, Kind, NewMessage, Subscribe, Subscription},
};

use super::server::{Server, info, open, text, until};

const LONG: Duration = Duration::from_secs(15);

async fn next(subscription: &mut Subscription) -> Event {
    timeout(LONG, subscription.next()).await.unwrap().unwrap().unwrap()
}

/// The text of the next message, and the fence of the turn that began before it, if one did.
async fn message(subscription: &mut Subscription) -> (String, Option<i64>) {
    let mut turn = None;
    loop {
        match next(subscription).await {
            Event::Message(message) => return (message.text().unwrap().to_owned(), turn),
            Event::Active { fence, .. } => turn = Some(fence),
            // Who was connected before the repair is so once more after it.
            Event::Gap(_) | Event::Connected | Event::Lost | Event::Standby { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_what_is_lost_is_told_and_durable_topics_go_on() {
    let primary = Server::start();
    primary.sql("create database topics");
    let (mut raw, _) = open(&primary.tcp("dbname=topics")).await;
    trunkline::schema::install(&mut raw).await.unwrap();
    let standby = primary.standby();
    let hosts = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} user=postgres dbname=topics",
        primary.port, standby.port
    );
    let tl = Trunkline::with(info(&hosts)).await.unwrap();
    let topics = tl.topics();
    topics.create("bills", Kind::Durable).await.unwrap();
    let books = || Subscribe::new(["bills"]).name("books");
    let publish = async |text: &str| {
        topics.publish("a", text).await.unwrap();
        topics.publish("c", NewMessage::new(text).kind(Kind::Channel)).await.unwrap();
        topics.publish("bills", text).await.unwrap();
    };
    let mut volatile = topics.subscribe("a").await.unwrap();
    let mut single = topics.subscribe(Subscribe::new(["a"]).single()).await.unwrap();
    let mut channel = topics.subscribe(Subscribe::new(["c"]).kind(Kind::Channel)).await.unwrap();
    let mut durable = topics.subscribe(books()).await.unwrap();
    for subscription in [&mut volatile, &mut channel, &mut durable] {
        assert!(matches!(next(subscription).await, Event::Connected));
    }
    let fence = loop {
        if let Event::Active { fence, .. } = next(&mut single).await {
            break fence;
        }
    };
    publish("before").await;
    for subscription in [&mut volatile, &mut single, &mut channel, &mut durable] {
        assert_eq!(message(subscription).await.0, "before");
    }
    durable.close().await;
    topics.publish("bills", "while nobody was there").await.unwrap();
    let written = text(&raw, "select pg_current_wal_lsn()").await;
    let there = format!("host=127.0.0.1 port={} user=postgres dbname=topics", standby.port);
    let (there, connection) = tokio_postgres::connect(&there, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let follows = format!("select pg_last_wal_replay_lsn() >= '{written}'");
    until("the standby to follow", || async { text(&there, &follows).await == "t" }).await;

    drop((raw, primary));
    standby.sql("select pg_promote()");
    there.batch_execute("select trunkline.schema_repair()").await.unwrap();
    let mut durable = topics.subscribe(books()).await.unwrap();
    // The ring of the old primary is gone, and so is what was notified there.
    for (subscription, turned) in [(&mut volatile, false), (&mut channel, false), (&mut single, true)] {
        let mut told = false;
        while !told {
            match next(subscription).await {
                Event::Gap(_) => told = true,
                Event::Lost | Event::Standby { .. } | Event::Connected => {}
                Event::Active { fence: now, .. } if turned => assert!(now > fence, "{now} after {fence}"),
                other => panic!("{other:?}"),
            }
        }
    }
    publish("after").await;
    for subscription in [&mut volatile, &mut channel] {
        assert_eq!(message(subscription).await, ("after".to_owned(), None));
    }
    let (text, turn) = message(&mut single).await;
    assert_eq!(text, "after");
    assert!(turn.is_none_or(|now| now > fence), "{turn:?} after {fence}");
    assert_eq!(message(&mut durable).await.0, "while nobody was there");
    assert_eq!(message(&mut durable).await.0, "after");
}
