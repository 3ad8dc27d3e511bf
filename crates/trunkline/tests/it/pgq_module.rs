//! `trunkline::pgq`: the same program on the adapter and, where the server has it, on the real extension.

use tokio_postgres::Client;
use trunkline::{
    ErrorKind,
    pgq::{self, Consumer, NewEvent, Queue, Ticker},
    schema,
};

use crate::support::{Db, millis, secs};

/// Databases with a PgQ each: the adapter, and the extension where it can be had.
async fn both() -> Vec<(&'static str, Db, Client)> {
    let ours = Db::empty().await;
    let mut raw = ours.raw().await;
    schema::install_pgq(&mut raw.client).await.unwrap();
    let mut all = vec![("adapter", ours, raw.client)];
    let real = Db::empty().await;
    let raw = real.raw().await;
    if raw.one("select count(*) from pg_available_extensions where name = 'pgq'").await == "1" {
        raw.run("create extension pgq").await;
        all.push(("extension", real, raw.client));
    }
    all
}

/// A tick that covers all that was inserted.
async fn tick(client: &Client, queue: &Queue) {
    queue.force_tick(client).await.unwrap();
    assert!(queue.tick(client).await.unwrap().is_some());
}

#[tokio::test]
async fn a_queue_is_filled_consumed_retried_and_dropped() {
    for (which, _db, mut client) in both().await {
        assert!(pgq::version(&client).await.unwrap().starts_with('3'), "{which}");
        let queue = Queue::new("orders");
        assert!(queue.create(&client).await.unwrap() && !queue.create(&client).await.unwrap());
        queue.set(&client, "ticker_max_lag", "0 s").await.unwrap();
        let mut consumer = Consumer::new("orders", "mailer");
        assert!(consumer.register(&client).await.unwrap() && !consumer.register(&client).await.unwrap());
        assert!(consumer.next(&client).await.unwrap().is_none());
        let tx = client.transaction().await.unwrap();
        queue.insert(&tx, &NewEvent::new("t", "rolled back")).await.unwrap();
        tx.rollback().await.unwrap();
        let extra = NewEvent {
            extra: [Some("e1".into()), None, None, Some("e4".into())],
            ..NewEvent::new("t", "one")
        };
        let first = queue.insert(&client, &extra).await.unwrap();
        let tx = client.transaction().await.unwrap();
        let many = (0..50).map(|n| NewEvent::new("bulk", n.to_string()));
        assert_eq!(queue.insert_all(&tx, many).await.unwrap(), 50);
        tx.commit().await.unwrap();
        tick(&client, &queue).await;
        let mut batch = consumer.next(&client).await.unwrap().unwrap();
        let events = batch.events(&client).await.unwrap();
        assert_eq!(events.len(), 51, "{which}");
        assert_eq!(
            (events[0].id, events[0].data.as_str(), events[0].extra[3].as_deref()),
            (first, "one", Some("e4"))
        );
        let tx = client.transaction().await.unwrap();
        let mut portions = Vec::new();
        let large = Some("ev_data = any ('{1,2,3,4,5}')");
        batch
            .each(&tx, 2, large, async |some| {
                portions.push(some.len());
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(portions, [2, 2, 1], "{which}");
        batch.retry(first, millis(1));
        batch.retry(events[1].id, secs(1));
        batch.done(events[1].id);
        batch.finish(&tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(batch.finish(&client).await.unwrap_err().kind(), ErrorKind::Stale, "{which}");
        crate::support::until("the event to come again", async || Ticker::retry(&client).await.unwrap() == 1)
            .await;
        tick(&client, &queue).await;
        let again = consumer.next(&client).await.unwrap().unwrap();
        let events = again.events(&client).await.unwrap();
        assert_eq!((events.len(), events[0].id, events[0].retry), (1, first, 1), "{which}");
        again.finish(&client).await.unwrap();
        assert_eq!(pgq::queues(&client).await.unwrap()[0].name, "orders");
        assert_eq!(pgq::consumers(&client).await.unwrap()[0].name, "mailer");
        assert!(queue.drop(&client, false).await.is_err(), "it has a consumer");
        assert_eq!(consumer.unregister(&client).await.unwrap(), 1);
        queue.drop(&client, false).await.unwrap();
    }
}

#[tokio::test]
async fn members_that_share_a_consumer_take_different_batches_and_over_from_the_dead() {
    let ours = Db::empty().await;
    let mut raw = ours.raw().await;
    schema::install_pgq(&mut raw.client).await.unwrap();
    let client = raw.client;
    let queue = Queue::new("shared");
    queue.create(&client).await.unwrap();
    let member = |name: &str, dead| Consumer::new("shared", "c").shared(name, dead);
    let (mut a, mut b) = (member("a", secs(3600)), member("b", secs(3600)));
    a.register(&client).await.unwrap();
    b.register(&client).await.unwrap();
    for text in ["one", "two"] {
        queue.insert(&client, &NewEvent::new("t", text)).await.unwrap();
        tick(&client, &queue).await;
    }
    let (first, second) = (a.next(&client).await.unwrap().unwrap(), b.next(&client).await.unwrap().unwrap());
    assert_eq!(first.events(&client).await.unwrap()[0].data, "one");
    assert_eq!(second.events(&client).await.unwrap()[0].data, "two");
    second.finish(&client).await.unwrap();
    assert_eq!(a.next(&client).await.unwrap().unwrap().id(), first.id(), "until it is finished");
    let taken = member("c", millis(0)).next(&client).await.unwrap().unwrap();
    assert_eq!(taken.events(&client).await.unwrap()[0].data, "one");
    taken.finish(&client).await.unwrap();
}

#[tokio::test]
async fn one_ticker_ticks_and_tidies_and_a_second_stands_by() {
    for (which, db, client) in both().await {
        let queue = Queue::new("ticked");
        queue.create(&client).await.unwrap();
        queue.set(&client, "ticker_max_lag", "0 s").await.unwrap();
        let mut consumer = Consumer::new("ticked", "c");
        consumer.register(&client).await.unwrap();
        assert!(Ticker::alone(&client).await.unwrap());
        assert!(!Ticker::alone(&db.raw().await.client).await.unwrap(), "{which}");
        queue.insert(&client, &NewEvent::new("t", "x")).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let ticker = Ticker { every: millis(20), maintenance: millis(50), retry: millis(50) };
        let other = db.raw().await;
        let (all, ()) = tokio::join!(ticker.run(&client, async { drop(stopped.await) }, |_| {}), async {
            let mut batch = None;
            crate::support::until("a batch", async || {
                batch = consumer.next(&other.client).await.unwrap();
                batch.is_some()
            })
            .await;
            assert_eq!(batch.unwrap().events(&other.client).await.unwrap().len(), 1);
            drop(stop);
        });
        let all = all.unwrap();
        assert!(all.ticks > 0, "{which}: {all:?}");
        Ticker::maintain(&client).await.unwrap();
    }
}
