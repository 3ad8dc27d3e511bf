//! Prices that are published, a board that shows them, a trigger's notifications, and of two clerks the one who is active.
//!
//! `cargo run -p trunkline --example topics -- [URL]`: without a URL it takes `DATABASE_URL`. Topics need no declaration.

#![expect(clippy::print_stdout, reason = "what it prints is what it shows")]

use std::error::Error;

use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;
use trunkline::{
    Trunkline,
    requests::Payload,
    topics::{Event, Kind, Message, Subscribe, Subscription},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Serialize, Deserialize)]
struct Price {
    cents: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).map_or_else(|| std::env::var("DATABASE_URL"), Ok)?;
    let (here, there) = (Trunkline::connect(&url).await?, Trunkline::connect(&url).await?);
    board(&here, &there, &url).await?;
    notifications(&here, &url).await?;
    clerks(&here, &there).await?;
    here.close().await;
    there.close().await;
    Ok(())
}

/// The next message; what the subscription says of itself is printed.
async fn next(subscription: &mut Subscription) -> Result<Message> {
    loop {
        match subscription.next().await?.ok_or("it has ended")? {
            Event::Message(message) => return Ok(message),
            Event::Gap(_) => println!("something was missed"),
            Event::Active { fence, .. } => println!("active with fence {fence}"),
            _ => {}
        }
    }
}

/// Whoever listens gets what is published; in a transaction of your own, with its commit.
async fn board(here: &Trunkline, there: &Trunkline, url: &str) -> Result<()> {
    let mut board = there.topics().subscribe("price.*").await?;
    here.topics().publish("price.tea", Payload::json(&Price { cents: 300 })?).await?;

    let (mut db, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let tx = db.transaction().await?;
    here.topics().publish_on(&mut &tx, "price.milk", Payload::json(&Price { cents: 120 })?).await?;
    tx.commit().await?;
    here.topics().publish("price.sugar", "a lot").await?;

    for _ in 0..3 {
        let message = next(&mut board).await?;
        match message.json::<Price>() {
            Ok(price) => println!("{}: {}", message.topic(), price.cents),
            Err(e) => println!("{}: no price: {}", message.topic(), e.message.text()?),
        }
    }
    board.close().await;
    Ok(())
}

/// A plain PostgreSQL channel hears every program's NOTIFY.
async fn notifications(here: &Trunkline, url: &str) -> Result<()> {
    let mut heard = here.topics().subscribe(Subscribe::new(["stock"]).kind(Kind::Channel)).await?;
    while !matches!(heard.next().await?, Some(Event::Connected)) {}
    let (db, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    db.batch_execute("notify stock, 'tea is low'").await?;
    println!("stock: {}", next(&mut heard).await?.text()?);
    heard.close().await;
    Ok(())
}

/// Of two that listen, one gets each order; when it leaves, the other goes on.
async fn clerks(here: &Trunkline, there: &Trunkline) -> Result<()> {
    let single = || Subscribe::new(["order.*"]).single();
    let mut first = here.topics().subscribe(single()).await?;
    while !matches!(first.next().await?, Some(Event::Active { .. })) {}
    let mut second = there.topics().subscribe(single()).await?;
    while !matches!(second.next().await?, Some(Event::Standby { .. })) {}

    here.topics().publish("order.1", "3 tea").await?;
    println!("the first clerk: {}", next(&mut first).await?.text()?);
    first.close().await;
    here.topics().publish("order.2", "1 milk").await?;
    println!("the second clerk: {}", next(&mut second).await?.text()?);
    let _: () = second.close().await;
    Ok(())
}
