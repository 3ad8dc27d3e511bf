//! The limit: the same way of a request through tables and doorbell, and nothing else. No taking, no lease, no deadline, no
//! rights, no presence, one responder, endings that nobody guards: what the statements and their round trips cost alone.
//!
//! What trunkline adds to this is the price of its promises; what this costs no design on insert-only tables goes below.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_postgres::{Client, Statement, types::Type};
use trunkline::Result;

use super::measure::{Run, load, session};

const SETUP: &str = "
    drop schema if exists trunkline_bench cascade;
    create schema trunkline_bench;
    create unlogged table trunkline_bench.asked (xid xid8 not null default pg_current_xact_id(), id bigint not null, payload text not null);
    create unlogged table trunkline_bench.answered (like trunkline_bench.asked including defaults);
    create index on trunkline_bench.asked (xid);
    create index on trunkline_bench.answered (xid);";

type Message = (i64, String);
type Waiting = Arc<Mutex<HashMap<i64, oneshot::Sender<()>>>>;

/// One side: it writes to one table, in batches, and reads what is new in the other when it is rung.
struct Side {
    client: Client,
    bell: mpsc::UnboundedReceiver<String>,
    insert: Statement,
    look: Statement,
    seen: String,
}

impl Side {
    async fn open(url: &str, writes: &str, reads: &str) -> Result<Self> {
        let (client, bell) = session(url).await?;
        client.batch_execute(&format!("set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; listen bench_{reads}")).await?;
        let insert = format!(
            "with i as (insert into trunkline_bench.{writes} (id, payload) select * from unnest($1, $2)) select pg_notify('bench_{writes}', '')::text"
        );
        let insert = client.prepare_typed(&insert, &[Type::INT8_ARRAY, Type::TEXT_ARRAY]).await?;
        let look = format!(
            "select id, payload, pg_current_snapshot()::text from trunkline_bench.{reads} where xid >= pg_snapshot_xmin($1::text::pg_snapshot) and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)"
        );
        let look = client.prepare_typed(&look, &[Type::TEXT]).await?;
        let seen = client.query_one("select pg_current_snapshot()::text", &[]).await?.get(0);
        Ok(Self { client, bell, insert, look, seen })
    }
}

async fn write(client: &Client, insert: &Statement, batch: &[Message]) -> Result<()> {
    let ids: Vec<i64> = batch.iter().map(|m| m.0).collect();
    let payloads: Vec<&str> = batch.iter().map(|m| m.1.as_str()).collect();
    Ok(client.execute(insert, &[&ids, &payloads]).await.map(drop)?)
}

/// Calls through bare tables, with `callers` in flight.
pub(super) async fn run(url: &str, callers: usize, seconds: f64) -> Result<Run> {
    let (admin, _rx) = session(url).await?;
    admin.batch_execute(SETUP).await?;
    let mut tasks = JoinSet::new();
    let mut responder = Side::open(url, "answered", "asked").await?;
    tasks.spawn(async move {
        while responder.bell.recv().await.is_some() {
            while responder.bell.try_recv().is_ok() {}
            let Ok(rows) = responder.client.query(&responder.look, &[&responder.seen]).await else { return };
            let batch: Vec<Message> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
            if let Some(row) = rows.first() {
                responder.seen = row.get(2);
                if write(&responder.client, &responder.insert, &batch).await.is_err() {
                    return;
                }
            }
        }
    });
    let caller = Side::open(url, "asked", "answered").await?;
    let (queue, mut queued) = mpsc::unbounded_channel::<Message>();
    let waiting = Waiting::default();
    let (client, insert) = (Arc::new(caller.client), caller.insert);
    let (mut bell, look, mut seen) = (caller.bell, caller.look, caller.seen);
    let (writer, reader, answered) = (client.clone(), client, waiting.clone());
    tasks.spawn(async move {
        let mut batch = Vec::new();
        while queued.recv_many(&mut batch, 512).await > 0 {
            if write(&writer, &insert, &batch).await.is_err() {
                return;
            }
            batch.clear();
        }
    });
    tasks.spawn(async move {
        while bell.recv().await.is_some() {
            while bell.try_recv().is_ok() {}
            let Ok(rows) = reader.query(&look, &[&seen]).await else { return };
            for row in &rows {
                let mut all = answered.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(done) = all.remove(&row.get(0)) {
                    let _ = done.send(());
                }
            }
            if let Some(row) = rows.first() {
                seen = row.get(2);
            }
        }
    });
    let (next, payload) = (Arc::new(AtomicI64::new(1)), "p".repeat(60));
    let run = load(callers, seconds, None, move |_| {
        let id = next.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = oneshot::channel();
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, done);
        let _ = queue.send((id, payload.clone()));
        async move {
            let _ = answer.await;
            Ok(())
        }
    })
    .await;
    tasks.shutdown().await;
    admin.batch_execute("drop schema trunkline_bench cascade").await?;
    run
}
