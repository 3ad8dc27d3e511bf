//! Durable topics by wildcards: a named subscription gets what is published on all that match, also on those that are declared later.

use trunkline::{
    ErrorKind,
    topics::{Event, Kind, Subscribe, Subscription},
};

use crate::{
    support::Db,
    topics::{connected, message, next, texts},
};

fn orders() -> Subscribe {
    Subscribe::new(["orders.>"]).kind(Kind::Durable).name("books")
}

/// The next so many, in any order: each as its topic and text.
async fn some(subscription: &mut Subscription, many: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..many {
        let got = message(subscription).await;
        all.push(format!("{} {}", got.topic(), got.text().unwrap()));
    }
    all.sort();
    all
}

#[tokio::test]
async fn wildcards_get_all_durable_topics_that_match_also_those_that_are_declared_later() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    let other = db.client("other").await;
    for topic in ["orders.eu", "orders.us.ca", "bills"] {
        tl.topics().create(topic, Kind::Durable).await.unwrap();
    }
    let mut all = tl.topics().subscribe(orders()).await.unwrap();
    let word = Subscribe::new(["orders.*", "bills"]).kind(Kind::Durable).name("words");
    let mut word = other.topics().subscribe(word).await.unwrap();
    connected(&mut all).await;
    connected(&mut word).await;
    for topic in ["orders.eu", "orders.us.ca", "bills"] {
        tl.topics().publish(topic, "1").await.unwrap();
    }
    assert_eq!(some(&mut all, 2).await, ["orders.eu 1", "orders.us.ca 1"]);
    assert_eq!(some(&mut word, 2).await, ["bills 1", "orders.eu 1"]);
    // Declared by another program, which publishes before anybody can have looked.
    raw.run("begin; select trunkline.topic_create('orders.asia', 'durable'), trunkline.topic_publish('orders.asia', '2'); commit").await;
    assert_eq!(some(&mut all, 1).await, ["orders.asia 2"]);
    assert_eq!(some(&mut word, 1).await, ["orders.asia 2"]);
    // One goes, and comes again; the others are still heard.
    raw.run("select trunkline.topic_drop('orders.eu', true)").await;
    tl.topics().publish("orders.us.ca", "3").await.unwrap();
    assert_eq!(some(&mut all, 1).await, ["orders.us.ca 3"]);
    tl.topics().create("orders.eu", Kind::Durable).await.unwrap();
    tl.topics().publish("orders.eu", "4").await.unwrap();
    assert_eq!(some(&mut all, 1).await, ["orders.eu 4"]);
    all.close().await;
    // While nobody is there.
    raw.run("select trunkline.topic_create('orders.af', 'durable')").await;
    tl.topics().publish("orders.af", "5").await.unwrap();
    tl.topics().publish("orders.asia", "6").await.unwrap();
    let mut again = other.topics().subscribe(orders()).await.unwrap();
    assert_eq!(some(&mut again, 2).await, ["orders.af 5", "orders.asia 6"]);
    again.close().await;
    assert_eq!(tl.topics().forget("books").await.unwrap(), 4);
    raw.run("select trunkline.topic_create('orders.sa', 'durable')").await;
    let named = "select count(*) from trunkline.stream_consumers() where consumer = 'books'";
    assert_eq!(raw.one(named).await, "0", "it is forgotten");
}

#[tokio::test]
async fn who_declares_a_topic_while_a_wildcard_is_said_is_not_missed() {
    let db = Db::new().await;
    let (declares, says, raw) = (db.raw().await, db.raw().await, db.raw().await);
    declares.run("begin; select trunkline.topic_create('orders.eu', 'durable')").await;
    let pid = says.pid;
    let said = tokio::spawn(async move {
        says.one("select topic from trunkline._topic_follow('books', '{orders.*}')").await
    });
    raw.blocked(pid).await;
    declares.run("commit").await;
    assert_eq!(said.await.unwrap(), "orders.eu");
    // And the other way round.
    let (declares, says) = (db.raw().await, declares);
    says.run("begin; select trunkline._topic_follow('more', '{orders.*}')").await;
    let pid = declares.pid;
    let declared =
        tokio::spawn(
            async move { declares.one("select trunkline.topic_create('orders.us', 'durable')").await },
        );
    raw.blocked(pid).await;
    says.run("commit").await;
    declared.await.unwrap();
    let consumers = "select consumer from trunkline.stream_consumers('orders.us') order by 1";
    assert_eq!(raw.rows(consumers).await, ["books", "more"]);
}

#[tokio::test]
async fn of_single_ones_by_wildcards_the_next_goes_on_and_bad_ones_are_refused() {
    let db = Db::new().await;
    let (a, b) = (db.client("a").await, db.client("b").await);
    a.topics().create("orders.eu", Kind::Durable).await.unwrap();
    let mut first = a.topics().subscribe(orders().single()).await.unwrap();
    while !matches!(next(&mut first).await, Event::Active { .. }) {}
    let mut second = b.topics().subscribe(orders().single()).await.unwrap();
    while !matches!(next(&mut second).await, Event::Standby { .. }) {}
    a.topics().publish("orders.eu", "1").await.unwrap();
    assert_eq!(texts(&mut first, 1).await, ["1"]);
    first.close().await;
    while !matches!(next(&mut second).await, Event::Active { .. }) {}
    b.topics().create("orders.us", Kind::Durable).await.unwrap();
    b.topics().publish("orders.us", "2").await.unwrap();
    while message(&mut second).await.text().unwrap() != "2" {} // the first one's batch may come again
    for (topics, words) in [(["Orders.*"], "a-z"), (["a:b.>"], "a-z"), (["a.>.b"], "words of")] {
        let named = Subscribe::new(topics).kind(Kind::Durable).name("n");
        let error = a.topics().subscribe(named).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(words), "{error}");
    }
    let nameless = a.topics().subscribe(Subscribe::new(["a.*"]).kind(Kind::Durable)).await.unwrap_err();
    assert!(nameless.to_string().contains("needs a name"), "{nameless}");
}

#[tokio::test]
async fn what_was_yielded_is_handled_once_it_is_closed_and_what_was_not_comes_to_the_next() {
    let db = Db::new().await;
    let tl = db.client("topics").await;
    tl.topics().create("bills", Kind::Durable).await.unwrap();
    let books = || Subscribe::new(["bills"]).kind(Kind::Durable).name("books");
    let mut subscription = tl.topics().subscribe(books()).await.unwrap();
    connected(&mut subscription).await;
    for n in 0..20 {
        tl.topics().publish("bills", n.to_string()).await.unwrap();
        assert_eq!(some(&mut subscription, 1).await, [format!("bills {n}")], "once");
        subscription.close().await;
        subscription = tl.topics().subscribe(books()).await.unwrap();
    }
    tl.topics().publish_all("bills", ["a", "b", "c"]).await.unwrap();
    assert_eq!(some(&mut subscription, 1).await, ["bills a"]);
    subscription.close().await;
    let mut subscription = tl.topics().subscribe(books()).await.unwrap();
    let again = some(&mut subscription, 3).await;
    assert_eq!(again, ["bills a", "bills b", "bills c"], "the batch as a whole");
}

#[tokio::test]
async fn a_durable_subscription_says_when_its_connection_is_lost_and_back() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    tl.topics().create("orders.eu", Kind::Durable).await.unwrap();
    let mut shared = tl.topics().subscribe(Subscribe::new(["orders.eu"]).name("books")).await.unwrap();
    let single = Subscribe::new(["orders.eu"]).name("ledger").single();
    let mut single = tl.topics().subscribe(single).await.unwrap();
    for subscription in [&mut shared, &mut single] {
        connected(subscription).await;
    }
    assert!(matches!(next(&mut single).await, Event::Active { .. }));
    let pid = db.backend(&raw, "topics").await;
    raw.run(&format!("select pg_terminate_backend({pid}, 10000)")).await;
    for subscription in [&mut shared, &mut single] {
        while !matches!(next(subscription).await, Event::Lost) {} // a single one may stand by meanwhile
        while !matches!(next(subscription).await, Event::Connected) {}
    }
    raw.run("select trunkline.topic_publish('orders.eu', '1')").await;
    assert_eq!(message(&mut shared).await.text().unwrap(), "1");
    shared.close().await;
}
