//! What trunkline is measured against: two sessions bouncing a bare NOTIFY (the floor), and requests in SQL alone.
//!
//! The SQL-only design inserts a request and notifies, lets handlers claim it by SKIP LOCKED, and has the caller look
//! for the reply once a millisecond: one connection for each caller, as such designs have it.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Statement};
use trunkline::Result;

use super::measure::{Run, load, session};

/// A NOTIFY there and one back, each with its commit.
pub(super) async fn floor(url: &str, seconds: f64) -> Result<Run> {
    let (a, ra) = session(url).await?;
    let (b, mut rb) = session(url).await?;
    a.batch_execute("listen bench_back").await?;
    b.batch_execute("listen bench_there").await?;
    let there = a.prepare("select pg_notify('bench_there', '')").await?;
    let back = b.prepare("select pg_notify('bench_back', '')").await?;
    let echo = tokio::spawn(async move {
        while rb.recv().await.is_some() {
            if b.execute(&back, &[]).await.is_err() {
                break;
            }
        }
    });
    let ends = Arc::new(Mutex::new((a, ra)));
    let run = load(1, seconds, None, move |_| {
        let (ends, there) = (ends.clone(), there.clone());
        async move {
            let mut ends = ends.lock().await;
            ends.0.execute(&there, &[]).await?;
            ends.1.recv().await;
            Ok(())
        }
    })
    .await;
    echo.abort();
    run
}

const SETUP: &str = "
    drop schema if exists trunkline_bench cascade;
    create schema trunkline_bench;
    create unlogged table trunkline_bench.request (
        id bigint generated always as identity primary key, payload text not null, reply text, state int not null default 0);
    create index on trunkline_bench.request (id) where state = 0;";
const SEND: &str = "with i as (insert into trunkline_bench.request (payload) values ($1) returning id)
    select id, pg_notify('bench_request', '')::text from i";
const CLAIM: &str = "update trunkline_bench.request set state = 1 where id = (
    select id from trunkline_bench.request where state = 0 order by id for update skip locked limit 1) returning id, payload";
const ANSWER: &str = "update trunkline_bench.request set state = 2, reply = $2 where id = $1";
const LOOK: &str = "delete from trunkline_bench.request where id = $1 and state = 2 returning reply";

/// Requests in SQL alone, with `callers` connections and `handlers` more.
pub(super) async fn sql_design(url: &str, callers: usize, handlers: usize, seconds: f64) -> Result<Run> {
    let (admin, _rx) = session(url).await?;
    admin.batch_execute(SETUP).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..handlers {
        tasks.spawn(handler(url.to_owned()));
    }
    let mut ends: Vec<Arc<(Client, [Statement; 2])>> = Vec::new();
    for _ in 0..callers {
        let (client, _) = session(url).await?;
        let statements = [client.prepare(SEND).await?, client.prepare(LOOK).await?];
        ends.push(Arc::new((client, statements)));
    }
    let ends = Arc::new(ends);
    let payload = "p".repeat(60);
    let run = load(callers, seconds, None, move |n| {
        let (ends, payload) = (ends.clone(), payload.clone());
        async move {
            let Some((client, [send, look])) = ends.get(n).map(|e| &**e) else { return Ok(()) };
            let id: i64 = client.query_one(send, &[&payload]).await?.get(0);
            while client.query_opt(look, &[&id]).await?.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            Ok(())
        }
    })
    .await;
    tasks.shutdown().await;
    admin.batch_execute("drop schema trunkline_bench cascade").await?;
    run
}

async fn handler(url: String) -> Result<()> {
    let (client, mut bell) = session(&url).await?;
    client.batch_execute("listen bench_request").await?;
    let (claim, answer) = (client.prepare(CLAIM).await?, client.prepare(ANSWER).await?);
    loop {
        while let Some(row) = client.query_opt(&claim, &[]).await? {
            let (id, payload): (i64, String) = (row.get(0), row.get(1));
            client.execute(&answer, &[&id, &payload]).await?;
        }
        if bell.recv().await.is_none() {
            return Ok(());
        }
        while bell.try_recv().is_ok() {}
    }
}
