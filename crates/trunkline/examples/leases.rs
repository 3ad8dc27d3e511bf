//! Of many clerks one keeps the till: when it leaves, the next one goes on where it was, and one that was dismissed can
//! write nothing more.
//!
//! `cargo run -p trunkline --example leases -- [URL]`: without a URL it takes `DATABASE_URL`.

#![expect(clippy::print_stdout, reason = "what it prints is what it shows")]

use std::error::Error;

use tokio_postgres::{Client, NoTls};
use trunkline::{
    Trunkline,
    leases::{Lease, Loss},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).map_or_else(|| std::env::var("DATABASE_URL"), Ok)?;
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("create table if not exists till (cents bigint not null)").await?;

    // Two processes could be on two machines; here they are two handles.
    let (ann, bob) = (Trunkline::connect(&url).await?, Trunkline::connect(&url).await?);
    let first = ann.leases().acquire("till").held_by("ann").await?;
    println!("{} holds the till", held_by(&ann).await?);
    println!("bob, at once: {}", bob.leases().try_acquire("till").await?.is_some());

    // Bob waits in turn, and has it as soon as ann leaves.
    let leases = bob.leases();
    let waiting = tokio::spawn(async move { leases.acquire("till").held_by("bob").await });
    put(&mut client, &first, 450).await?;
    first.note("450 cents");
    first.resign().await?;
    let second = waiting.await??;
    println!(
        "{} holds the till, and reads: {}",
        held_by(&bob).await?,
        second.predecessor_progress().unwrap_or("nothing")
    );
    put(&mut client, &second, 120).await?;

    // Somebody asks bob to leave. He is told, and may finish what he does.
    ann.leases().resign("till").await?;
    println!("bob is {}, and still holds it: {}", second.lost().await, second.is_valid());

    // He does not: it is taken away. What he writes now does not count.
    ann.leases().revoke("till").await?;
    let third = ann.leases().acquire("till").held_by("ann").await?;
    match put(&mut client, &second, 99_999).await {
        Ok(()) => println!("bob wrote"),
        Err(e) => println!("bob: {e}"),
    }
    let again = matches!(second.lost().await, Loss::Taken | Loss::Asked);
    println!("bob knows: {again}; the fence rose: {}", third.fence() > second.fence());
    let cents: i64 = client.query_one("select sum(cents)::bigint from till", &[]).await?.get(0);
    println!("in the till: {cents} cents");
    ann.close().await;
    bob.close().await;
    Ok(())
}

/// Puts money into the till, in one transaction with the proof that this clerk still holds it.
async fn put(client: &mut Client, lease: &Lease, cents: i64) -> Result<()> {
    let tx = client.transaction().await?;
    tx.execute("insert into till values ($1)", &[&cents]).await?;
    lease.guard(&mut &tx).await?;
    Ok(tx.commit().await?)
}

async fn held_by(trunkline: &Trunkline) -> Result<String> {
    let shown = trunkline.leases().show("till").await?;
    Ok(shown.and_then(|lease| lease.held_by).unwrap_or_default())
}
