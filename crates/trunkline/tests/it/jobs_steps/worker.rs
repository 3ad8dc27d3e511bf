//! What the workers do with a job, in processes that are killed and in one that is not; and the proxy between.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    net::{TcpListener, UnixStream},
    sync::{mpsc, watch},
};
use tracing::{Event, Metadata, Subscriber, field, span};
use trunkline::{
    ErrorKind, Trunkline,
    jobs::{Job, Work, Working},
    requests::Failure,
};

use crate::{
    steps::told,
    support::{Db, Raw, say},
};

/// The sessions of handlers.
pub const HANDLER: &str = "handler";

/// Does what a job's kind says, tells what it begins and where it waits, and goes on when `go` is true. `plain`, `fail` (the first
/// attempt, at the end), `again` (the same, at once), and with an effect in one transaction with the end: `effect`,
/// which waits before it ends the job, and `ended`, after that.
async fn handle(
    job: &Job,
    url: &str,
    mut go: watch::Receiver<bool>,
    tell: impl Fn(String) + Send + Sync,
) -> Result<(), Failure> {
    let mut raw = Raw::open(&format!("{url}&application_name={HANDLER}")).await;
    raw.run(&format!("insert into public.begun values ({}, {})", job.id, job.attempt)).await;
    tell(format!("took {} {}", job.id, job.attempt));
    let fails = job.attempt == 1 && ["fail", "again"].contains(&job.kind.as_str());
    if job.kind == "again" && fails {
        return Err(Failure::new("again", ""));
    }
    let mut wait = async || {
        tell(format!("at {}", job.id));
        let _ = go.wait_for(|go| *go).await;
    };
    if job.kind != "effect" && job.kind != "ended" {
        wait().await;
        return if fails { Err(Failure::new("failed", "")) } else { Ok(()) };
    }
    let tx = raw.client.transaction().await?;
    tx.execute("insert into public.effect values ($1, $2)", &[&job.id, &job.attempt]).await?;
    if job.kind == "effect" {
        wait().await;
    }
    job.complete_on(&mut &tx).await.map_err(|e| match e.kind() {
        ErrorKind::Stale => Failure::new("stale", ""),
        _ => e.into(),
    })?;
    if job.kind == "ended" {
        wait().await;
    }
    Ok(tx.commit().await?)
}

/// Counts the ends that this process was refused, as it says itself.
struct Refusals(Arc<AtomicUsize>);

impl Subscriber for Refusals {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("trunkline::jobs")
    }

    fn event(&self, event: &Event<'_>) {
        struct Message(bool);
        impl field::Visit for Message {
            fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
                self.0 |= field.name() == "message" && format!("{value:?}").starts_with("an end was refused");
            }
        }
        let mut message = Message(false);
        event.record(&mut message);
        self.0.fetch_add(usize::from(message.0), Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The part of a worker: goes on at the line `go`, and at `stop` says how many ends were refused, in its transactions and out.
pub async fn worker(me: &Trunkline, db: &Db) {
    let (refused, stale) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    tracing::subscriber::set_global_default(Refusals(refused.clone())).unwrap();
    let go = watch::Sender::new(false);
    let (url, going, late) = (db.url.clone(), go.clone(), stale.clone());
    say("ready");
    let working = me.jobs().work("q", move |job: Job| {
        let (url, go, late) = (url.clone(), going.subscribe(), late.clone());
        async move {
            let ended = handle(&job, &url, go, |line| say(&line)).await;
            late.fetch_add(usize::from(ended.as_ref().is_err_and(|e| e.code == "stale")), Ordering::Relaxed);
            ended
        }
    });
    let mut lines = told();
    while let Some(line) = lines.recv().await {
        go.send_replace(true);
        if line == "stop" {
            break;
        }
    }
    working.stop().await.unwrap();
    say(&format!("stopped {} {}", stale.load(Ordering::Relaxed), refused.load(Ordering::Relaxed)));
}

/// A worker in this process, which nothing happens to.
pub struct Other {
    tl: Trunkline,
    working: Working,
    pub go: watch::Sender<bool>,
    /// Jobs that it began, with the attempt.
    pub took: mpsc::UnboundedReceiver<(i64, i32)>,
}

impl Other {
    pub async fn start(db: &Db, go: bool) -> Self {
        let tl = db.client("other").await;
        let ((took_tx, took), go, url) = (mpsc::unbounded_channel(), watch::Sender::new(go), db.url.clone());
        let going = go.clone();
        let working = tl.jobs().work(Work::queue("q"), move |job: Job| {
            let (url, go, took) = (url.clone(), going.subscribe(), took_tx.clone());
            async move {
                let tell = |line: String| {
                    if line.starts_with("took") {
                        let _ = took.send((job.id, job.attempt));
                    }
                };
                handle(&job, &url, go, tell).await
            }
        });
        Self { tl, working, go, took }
    }

    pub async fn stop(self) {
        self.working.stop().await.unwrap();
        self.tl.close().await;
    }
}

/// The part of a worker of keys: counts each job of its key, in one transaction with the end.
pub async fn counter(me: &Trunkline, db: &Db) {
    say("ready");
    let (url, idle) = (db.url.clone(), Arc::new(Mutex::new(Vec::<Raw>::new())));
    let _working = me.jobs().work(Work::queue("q").concurrency(4), move |job: Job| {
        let (url, idle) = (url.clone(), idle.clone());
        async move {
            let free = idle.lock().unwrap().pop();
            let mut raw = match free {
                Some(raw) => raw,
                None => Raw::open(&url).await,
            };
            let tx = raw.client.transaction().await?;
            let count = "update public.counter set n = n + 1 where key = $1 returning n";
            let n: i32 = tx.query_one(count, &[&job.key]).await?.get(0);
            let effect = "insert into public.effect values ($1, $2, $3)";
            tx.execute(effect, &[&job.id, &job.key, &n]).await?;
            job.complete_on(&mut &tx).await?;
            tx.commit().await?;
            idle.lock().unwrap().push(raw);
            Ok::<_, Failure>(())
        }
    });
    std::future::pending::<()>().await;
}

/// Between a process and the server: cuts all connections at a word, and lets new ones in. The server carries out what it got.
pub struct Proxy {
    pub db: Db,
    cut: watch::Sender<()>,
}

impl Proxy {
    pub async fn start(db: &Db, raw: &Raw) -> Self {
        let socket = raw.one(
            "select current_setting('unix_socket_directories') || '/.s.PGSQL.' || current_setting('port')",
        );
        let (socket, listener) = (socket.await, TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (cut, address) = (watch::Sender::new(()), listener.local_addr().unwrap());
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (socket, mut cut) = (socket.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = UnixStream::connect(socket).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        let url = format!("postgresql://postgres@{address}/{}?sslmode=disable", db.name);
        Self { db: Db { url, ..db.clone() }, cut }
    }

    pub fn cut(&self) {
        self.cut.send_replace(());
    }
}
