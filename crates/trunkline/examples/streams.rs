//! Orders that are placed, and a stock that counts what was sold: each order exactly once, whatever dies.
//!
//! `cargo run -p trunkline --example streams -- [produce|consume] [URL]`: without a role it plays both, without a URL it
//! takes `DATABASE_URL`. The stream must be there: `trunkline streams create orders`. `examples/python` and
//! `examples/node` do the same, and print the same.

#![expect(clippy::print_stdout, reason = "what it prints is what it shows")]

use std::{error::Error, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_postgres::{Client, NoTls, Transaction};
use trunkline::{
    Trunkline,
    requests::Payload,
    streams::{Batch, Event, NewEvent, Position, Streams},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    count: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let role = args.first().filter(|a| *a == "produce" || *a == "consume").cloned();
    if role.is_some() {
        args.remove(0);
    }
    let url = args.pop().map_or_else(|| std::env::var("DATABASE_URL"), Ok)?;

    let trunkline = Trunkline::connect(&url).await?;
    let (streams, given_up) = (trunkline.streams(), Notify::new());
    match role.as_deref() {
        Some("produce") => produce(&streams, &url).await?,
        Some(_) => {
            let mut terminate = signal(SignalKind::terminate())?;
            consume(&streams, &url, &given_up, async { terminate.recv().await.unwrap_or(()) }).await?;
            println!("stopped");
        }
        None => {
            streams.register("orders", "stock", Position::End).await?;
            let both = async {
                tokio::try_join!(
                    produce(&streams, &url),
                    consume(&streams, &url, &given_up, given_up.notified())
                )
            };
            both.await?;
        }
    }
    trunkline.close().await;
    Ok(())
}

/// A connection for your own writes.
async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn order(item: &str, count: i64) -> Result<NewEvent> {
    let order = Order { item: item.to_owned(), count };
    Ok(NewEvent::new(Payload::json(&order)?).kind("placed").key(item))
}

async fn produce(streams: &Streams, url: &str) -> Result<()> {
    // Once its id is here the event is committed, and every consumer will get it.
    streams.append("orders", order("tea", 3)?).await?;
    println!("placed: 3 tea");

    // In a transaction of your own it goes out with your writes, or not at all.
    let mut db = connect(url).await?;
    let tx = db.transaction().await?;
    streams.append_on(&mut &tx, "orders", order("unicorn", 1)?).await?;
    tx.commit().await?;
    println!("placed: 1 unicorn");

    let tx = db.transaction().await?;
    streams.append_on(&mut &tx, "orders", order("sugar", 5)?).await?;
    tx.rollback().await?;
    println!("taken back: 5 sugar");
    Ok(())
}

/// Consumes until `stop` completes; the batch in hand is finished before.
async fn consume(
    streams: &Streams,
    url: &str,
    given_up: &Notify,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    streams.register("orders", "stock", Position::End).await?;
    let mut db = connect(url).await?;
    // A real one would not be temporary.
    db.batch_execute("create temp table sold (item text primary key, count bigint not null)").await?;
    println!("consuming orders");

    let mut consumer = streams.consumer("orders", "stock");
    let mut stop = std::pin::pin!(stop);
    loop {
        let batch = tokio::select! {
            () = &mut stop => return Ok(()),
            batch = consumer.next() => batch?,
        };
        // Your writes and the end of the batch are one transaction: when it is not committed, the batch comes again.
        let tx = db.transaction().await?;
        for event in batch.events() {
            sell(&tx, &batch, event, given_up).await?;
        }
        batch.finish_on(&mut &tx).await?;
        tx.commit().await?;
    }
}

async fn sell(tx: &Transaction<'_>, batch: &Batch, event: &Event, given_up: &Notify) -> Result<()> {
    const SELL: &str =
        "insert into sold as s values ($1, $2) on conflict (item) do update set count = s.count + $2
        returning count";
    let order: Order = event.payload.parse()?;
    if order.item == "tea" {
        let sold: i64 = tx.query_one(SELL, &[&order.item, &order.count]).await?.get(0);
        println!("sold {} {}, {sold} in all", order.count, order.item);
    } else if event.attempt == 1 {
        // It holds up nobody: it alone comes again, to this consumer only.
        batch.retry(&[event.id], Duration::from_secs(1), Some("not in stock")).await?;
        println!("{}: not in stock, it comes again", order.item);
    } else {
        batch.give_up(&[event.id], Some("not in stock")).await?;
        println!("{}: not in stock, given up", order.item);
        given_up.notify_one();
    }
    Ok(())
}
