//! The figures of streams: single appends against a bare INSERT, bulk and reading against COPY, latency, a held snapshot.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Statement};
use trunkline::{
    Error, ErrorKind, Result, Trunkline,
    streams::{Consume, Event, NewEvent, Position},
};

use super::{
    Figure, connect,
    measure::{Run, count, holder, load, median, session},
    pgq::Beside,
};

const PAYLOAD: usize = 100;
const CLIENTS: [usize; 3] = [1, 16, 32];
const SETUP: &str = "
    drop schema if exists trunkline_bench cascade;
    create schema trunkline_bench;
    create table trunkline_bench.bare (id bigint generated always as identity primary key, payload text not null);
    select trunkline.stream_drop('bench', true);
    select trunkline.stream_open('bench');
    select trunkline.stream_register('bench', 'c'), trunkline.stream_register('bench', 'd');
    select trunkline.stream_consumer_set('bench', c, 'max_events', '10000') from unnest(array['c', 'd']) c;";
const TEARDOWN: &str =
    "drop schema if exists trunkline_bench cascade; select trunkline.stream_drop('bench', true);";
const INSERT: &str = "insert into trunkline_bench.bare (payload) values ($1)";
const APPEND: &str = "select trunkline.stream_append('bench', $1)";

/// Rounds of every measurement, interleaved.
pub(super) async fn run(
    url: &str,
    rounds: u32,
    seconds: f64,
    bulk: u32,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Figure>> {
    let (admin, _rx) = session(url).await?;
    let mut found = Found::default();
    for round in 1..=rounds {
        found.round(url, &admin, seconds, bulk, &mut |line| say(&format!("round {round}  {line}"))).await?;
    }
    admin.batch_execute(TEARDOWN).await?;
    Ok(found.figures())
}

/// What each round found, one value for each.
#[derive(Default)]
struct Found {
    over_insert: [Vec<f64>; 3],
    bulk: Vec<f64>,
    read: Vec<f64>,
    latency: [Vec<f64>; 2],
    held: Vec<f64>,
    dead: Vec<f64>,
    backlog: Vec<f64>,
    beside: Beside,
}

impl Found {
    async fn round(
        &mut self,
        url: &str,
        admin: &Client,
        seconds: f64,
        bulk: u32,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        admin.batch_execute(SETUP).await?;
        let tl = connect(url).await?;
        // Consumers that sleep at the start, and are woken by the run.
        let consuming: Vec<_> = ["c", "d"]
            .map(|name| tl.streams().consume(Consume::new("bench", name), |_| async { Ok(()) }))
            .into();
        for (n, ratios) in CLIENTS.into_iter().zip(&mut self.over_insert) {
            let bare = single(url, INSERT, n, seconds).await?;
            let ours = single(url, APPEND, n, seconds).await?;
            say(&format!(
                "{n:>3} clients: bare INSERT {:>7.0}/s, stream_append {:>7.0}/s",
                bare.rate(),
                ours.rate()
            ));
            ratios.push(ours.rate() / bare.rate());
        }
        self.held.push(held(url, seconds, say).await?);
        for c in consuming {
            c.stop().await?;
        }
        self.dead.push(dead(admin).await?);
        tl.close().await;
        admin.batch_execute(SETUP).await?;
        let tl = connect(url).await?;
        let read = self.bulk(&tl, admin, bulk, say).await?;
        self.latency(&tl, url, seconds, say).await?;
        tl.close().await;
        let append = single(url, APPEND, 16, seconds).await?.rate();
        self.beside.round(url, seconds, append, read, say).await
    }

    /// Bulk appends against COPY into a bare table, and reading in batches against COPY out of it.
    async fn bulk(
        &mut self,
        tl: &Trunkline,
        admin: &Client,
        bulk: u32,
        say: &mut dyn FnMut(&str),
    ) -> Result<f64> {
        let events = f64::from(bulk);
        let payload = "p".repeat(PAYLOAD);
        let at = Instant::now();
        copy_in(admin, &payload, bulk).await?;
        let copied = events / at.elapsed().as_secs_f64();
        let at = Instant::now();
        let all = stream::iter((0..bulk).map(|_| NewEvent::new(payload.as_str())));
        tl.streams().load("bench", all).await?;
        let loaded = events / at.elapsed().as_secs_f64();
        let at = Instant::now();
        let mut out = Box::pin(admin.copy_out("copy trunkline_bench.bare to stdout").await?);
        while let Some(chunk) = out.next().await {
            chunk?;
        }
        let copied_out = events / at.elapsed().as_secs_f64();
        let before = resident();
        let mut most = before;
        let at = Instant::now();
        let (mut consumer, mut read) = (tl.streams().consumer("bench", "c"), 0);
        while let Some(batch) = consumer.try_next().await? {
            read += batch.events().len();
            batch.finish().await?;
            most = most.max(resident());
        }
        let rate = events / at.elapsed().as_secs_f64();
        if read != usize::try_from(bulk).unwrap_or(0) {
            return Err(Error::new(ErrorKind::Other, format!("{read} of {bulk} events were read")));
        }
        say(&format!(
            "{bulk} events: COPY in {copied:.0}/s, load {loaded:.0}/s; COPY out {copied_out:.0}/s, read {rate:.0}/s, {:.0} MiB more",
            most - before
        ));
        self.bulk.push(loaded / copied);
        self.read.push(rate / copied_out);
        self.backlog.push(most - before);
        Ok(rate)
    }

    /// From the append to the handler, at a thousand a second, with nobody polling.
    async fn latency(
        &mut self,
        tl: &Trunkline,
        url: &str,
        seconds: f64,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let producer = connect(url).await?;
        let begun = Instant::now();
        let (tx, mut rx) = mpsc::unbounded_channel();
        tl.streams().unregister("bench", "d").await?;
        tl.streams().register("bench", "d", Position::End).await?;
        let consuming = tl.streams().consume(Consume::new("bench", "d"), move |event: Event| {
            let sent: f64 = event.payload.text().ok().and_then(|t| t.parse().ok()).unwrap_or(f64::NAN);
            let _ = tx.send(begun.elapsed().as_secs_f64() - sent);
            async { Ok(()) }
        });
        asleep(url).await?;
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let mut sending = tokio::task::JoinSet::new();
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            tick.tick().await;
            let streams = producer.streams();
            let text = begun.elapsed().as_secs_f64().to_string();
            sending.spawn(async move { streams.append("bench", text).await });
        }
        let mut times = Vec::new();
        while let Some(done) = sending.join_next().await {
            done.map_err(|e| Error::new(ErrorKind::Other, e.to_string()))??;
            times.push(rx.recv().await.unwrap_or(f64::NAN) * 1000.0);
        }
        consuming.stop().await?;
        producer.close().await;
        times.sort_by(f64::total_cmp);
        let at = |p: usize| times.get(times.len().saturating_sub(1) * p / 100).copied().unwrap_or(f64::NAN);
        say(&format!(
            "append to handler, {} events: p50 {:.2} ms, p99 {:.2} ms",
            times.len(),
            at(50),
            at(99)
        ));
        self.latency[0].push(at(50));
        self.latency[1].push(at(99));
        Ok(())
    }

    fn figures(self) -> Vec<Figure> {
        let figure = |name, values, unit, wanted| Figure { name, value: median(values), unit, wanted };
        let [one, sixteen, thirty_two] = self.over_insert;
        let [p50, p99] = self.latency;
        let mut all = vec![
            figure("append1_over_insert", one, "x", ">= 0.85"),
            figure("append16_over_insert", sixteen, "x", ">= 0.85"),
            figure("append32_over_insert", thirty_two, "x", ">= 0.85"),
            figure("bulk_append_over_copy", self.bulk, "x", ">= 0.8"),
            figure("read_over_copy_out", self.read, "x", ">= 0.5"),
            figure("latency_p50_ms", p50, "ms", "<= 2"),
            figure("latency_p99_ms", p99, "ms", "<= 10"),
            figure("held_xmin_speed", self.held, "x", ">= 0.95"),
            figure("segment_dead_rows", self.dead, "rows", "0"),
            figure("backlog_rss_mib", self.backlog, "MiB", "bounded"),
        ];
        all.extend(self.beside.figures());
        all
    }
}

/// One statement again and again, each in a transaction of its own, with so many sessions.
pub(super) async fn single(url: &str, sql: &'static str, clients: usize, seconds: f64) -> Result<Run> {
    let mut ends: Vec<(Client, Statement)> = Vec::new();
    for _ in 0..clients {
        let (client, _) = session(url).await?;
        let statement = client.prepare(sql).await?;
        ends.push((client, statement));
    }
    let (ends, payload) = (Arc::new(ends), "p".repeat(PAYLOAD));
    load(clients, seconds, None, move |n| {
        let (ends, payload) = (ends.clone(), payload.clone());
        async move {
            let Some((client, statement)) = ends.get(n) else { return Ok(()) };
            Ok(client.execute(statement, &[&payload]).await.map(drop)?)
        }
    })
    .await
}

/// Until somebody sleeps on a stream's door, or a queue's.
pub(super) async fn asleep(url: &str) -> Result<()> {
    const ASLEEP: &str = "select exists (select from pg_locks where locktype = 'advisory' and classid = 1953656427 and granted
        and objid::bigint between 4294967168 and 4294967295 and database = (select oid from pg_database where datname = current_database()))";
    let (client, _rx) = session(url).await?;
    while !client.query_one(ASLEEP, &[]).await?.try_get::<_, bool>(0)? {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// How much slower appends and their consumers are while somebody holds a snapshot.
async fn held(url: &str, seconds: f64, say: &mut dyn FnMut(&str)) -> Result<f64> {
    let free = single(url, APPEND, 16, seconds).await?.rate();
    let holder = holder(url).await?;
    let held = single(url, APPEND, 16, seconds).await?.rate();
    holder.batch_execute("rollback").await?;
    say(&format!(" 16 clients: {free:.0}/s, while a snapshot is held {held:.0}/s"));
    Ok(held / free)
}

/// Dead rows in the segments of the stream, by the server's statistics.
async fn dead(admin: &Client) -> Result<f64> {
    const DEAD: &str = "select coalesce(sum(n_dead_tup), 0)::float8 from pg_stat_user_tables where schemaname = 'trunkline' and relname like 'stream\\_event\\_%'";
    Ok(admin.query_one(DEAD, &[]).await?.try_get(0)?)
}

pub(super) async fn copy_in(admin: &Client, payload: &str, rows: u32) -> Result<()> {
    use futures_util::SinkExt as _;
    admin.batch_execute("truncate trunkline_bench.bare").await?;
    let sink = admin.copy_in("copy trunkline_bench.bare (payload) from stdin").await?;
    let mut sink = Box::pin(sink);
    let line = format!("{payload}\n");
    let chunk = 500;
    for _ in 0..rows / chunk {
        sink.send(bytes::Bytes::from(line.repeat(usize::try_from(chunk).unwrap_or(1)))).await?;
    }
    sink.as_mut().finish().await?;
    Ok(())
}

/// Resident memory of this process, in MiB; 0 where /proc is not.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|t| t.split(' ').nth(1)?.parse().ok()).unwrap_or(0_usize);
    count(pages) * 4096.0 / 1_048_576.0
}
