//! Invoices that are paid: each exactly once, one that fails comes again, and one that never can is a dead letter.
//!
//! `cargo run -p trunkline --example jobs -- [push|work] [URL]`: without a role it plays both, without a URL it takes
//! `DATABASE_URL`. The queue is made on its first use.

#![expect(clippy::print_stdout, reason = "what it prints is what it shows")]

use std::{error::Error, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_postgres::{Client, NoTls};
use trunkline::{
    Trunkline,
    jobs::{Job, Jobs, NewJob, Outcome, Work},
    requests::{Failure, Payload},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Serialize, Deserialize)]
struct Invoice {
    customer: String,
    cents: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let role = args.first().filter(|a| *a == "push" || *a == "work").cloned();
    if role.is_some() {
        args.remove(0);
    }
    let url = args.pop().map_or_else(|| std::env::var("DATABASE_URL"), Ok)?;
    let trunkline = Trunkline::connect(&url).await?;
    let (jobs, given_up) = (trunkline.jobs(), Arc::new(Notify::new()));
    if role.as_deref() != Some("work") {
        push(&jobs, &url).await?;
    }
    if role.as_deref() != Some("push") {
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                () = given_up.notified(), if role.is_none() => {}
            }
        };
        work(&jobs, &url, &given_up, stop).await?;
        println!("stopped");
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

fn invoice(customer: &str, cents: i64) -> Result<NewJob> {
    let invoice = Invoice { customer: customer.to_owned(), cents };
    Ok(NewJob::new(Payload::json(&invoice)?).kind("pay").key(customer))
}

async fn push(jobs: &Jobs, url: &str) -> Result<()> {
    // Once its id is here the job is committed, and will be done.
    jobs.push("invoices", invoice("ann", 500)?).await?;
    println!("pushed: ann, 500");

    // In a transaction of your own it goes out with your writes, or not at all.
    let mut db = connect(url).await?;
    let tx = db.transaction().await?;
    jobs.push_on(&mut &tx, "invoices", invoice("bob", 700)?).await?;
    tx.rollback().await?;
    println!("taken back: bob, 700");

    // Jobs of one key are done one at a time, in order: this one waits for the first.
    jobs.push("invoices", invoice("ann", 250)?).await?;
    println!("pushed: ann, 250");
    jobs.push("invoices", invoice("nobody", 1)?).await?;
    println!("pushed: nobody, 1");
    Ok(())
}

/// Works until `stop` completes; what runs then is finished.
async fn work(jobs: &Jobs, url: &str, given_up: &Arc<Notify>, stop: impl Future<Output = ()>) -> Result<()> {
    connect(url)
        .await?
        .batch_execute("create table if not exists paid (customer text, cents bigint)")
        .await?;
    println!("working on invoices");
    let (url, given_up) = (url.to_owned(), given_up.clone());
    let handler = move |job: Job| {
        let (url, given_up) = (url.clone(), given_up.clone());
        async move {
            let paid = pay(&url, &job).await.map_err(|e| Failure::new("error", e.to_string()))?;
            if paid != Outcome::Done && job.attempt > 1 {
                given_up.notify_one();
            }
            Ok::<_, Failure>(paid)
        }
    };
    let working = jobs.work(Work::queue("invoices").concurrency(1), handler);
    stop.await;
    working.stop().await?;
    Ok(())
}

async fn pay(url: &str, job: &Job) -> Result<Outcome> {
    const PAY: &str = "insert into paid (customer, cents) values ($1, $2)";
    const SUM: &str = "select sum(cents)::bigint from paid where customer = $1";
    let Invoice { customer, cents } = job.payload.parse()?;
    if customer == "nobody" && job.attempt == 1 {
        println!("nobody: unknown, it comes again");
        return Ok(Outcome::Retry { after: Duration::from_millis(200), error: "unknown customer".into() });
    } else if customer == "nobody" {
        println!("nobody: unknown, given up");
        return Ok(Outcome::Dead("unknown customer".into()));
    }
    // Your writes and the end of the job are one transaction: when it is not committed, the job comes again.
    let mut db = connect(url).await?;
    let tx = db.transaction().await?;
    tx.execute(PAY, &[&customer, &cents]).await?;
    let sum: i64 = tx.query_one(SUM, &[&customer]).await?.get(0);
    job.complete_on(&mut &tx).await?;
    tx.commit().await?;
    println!("{customer} paid {cents}, {sum} in all");
    Ok(Outcome::Done)
}
