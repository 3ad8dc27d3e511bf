//! HTTP: the dashboard, the JSON API, metrics and health, of the daemon and of the demo.
//!
//! ```text
//!  socket ─▶ mod.rs: a slot, time limits ─▶ guard.rs: Host, who is it, Origin, CSRF ─▶ dashboard/ pages ─┐
//!                                                                                     api.rs     JSON  ─┤
//!                                                                                     metrics.rs text  ─┤
//!                                                                                     words.rs ─▶ the library │
//!                                            live.rs: one snapshot for all ◀── watched ────────────────┤
//!                                                   │                                                   ▼
//!                                                   └──────────────▶ data.rs: calls functions, a small pool
//! ```
//!
//! Guarantees: 127.0.0.1 needs no login, any other address is refused without a token; every connection has a slot, and everything
//! that a client does a time limit, so that slow ones, or many, take nothing from the duties of the daemon; while the database is
//! away pages say 503. Nothing is changed by GET. Does not speak TLS: that is a proxy's part (`--http-name`).
//!
//! What if it dies here: the process keeps nothing that matters; who was logged in logs in again.

mod access;
mod answers;
mod api;
pub(crate) mod data;
pub(crate) mod flow;
pub(crate) mod guard;
mod health;
mod io;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod problem;
mod words;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{Router, middleware};
use clap::Args;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use trunkline::conninfo::ConnInfo;

use self::{access::Access, data::Data, live::Live, words::Words};
use crate::{
    exit::{Failure, Result},
    otlp::{self, Collector},
    out,
    signals::stopped,
};

/// Where it listens unless told otherwise; if that is taken, any free port.
const PORT: u16 = 7432;
/// Connections at a time; who comes beyond them is told 503.
const CONNECTIONS: usize = 512;
/// How long a client may take for the head of a request, and an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a client may leave what was written for it unread.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// How large the head may be.
const HEAD_BYTES: usize = 32 * 1024;
/// How many headers.
const HEADERS: usize = 64;
/// What answers under way get when it is time to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Options of what serves HTTP.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Dashboard")]
pub(crate) struct HttpArgs {
    /// Where the dashboard, the API and the metrics are served [default: 127.0.0.1:7432, or a free port]
    ///
    /// Any address but 127.0.0.1 and ::1 needs a token.
    #[arg(long, value_name = "ADDRESS", env = "TRUNKLINE_HTTP")]
    http: Option<SocketAddr>,

    /// Serve no HTTP
    #[arg(long, conflicts_with = "http")]
    no_http: bool,

    /// The names that people use for it, as in `https://ops.example.org`: of a proxy, or of this machine
    #[arg(long, value_name = "URL", env = "TRUNKLINE_HTTP_NAME", value_delimiter = ',')]
    http_name: Vec<String>,

    /// A file with the token of who may look and act; or TRUNKLINE_ADMIN_TOKEN
    #[arg(long, value_name = "FILE", env = "TRUNKLINE_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,

    /// A file with the token of who may look; or TRUNKLINE_READER_TOKEN
    #[arg(long, value_name = "FILE", env = "TRUNKLINE_READER_TOKEN_FILE")]
    reader_token_file: Option<PathBuf>,
}

/// A socket that is bound, and who may come in.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    access: Arc<Access>,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) access: Arc<Access>,
    pub(crate) data: Data,
    pub(crate) live: Live,
    words: Words,
}

impl HttpArgs {
    /// Whether an address was named.
    pub(crate) fn given(&self) -> bool {
        self.http.is_some() || self.no_http
    }

    /// Binds the socket; nothing when no HTTP is wanted.
    pub(crate) async fn bind(&self) -> Result<Option<Bound>> {
        if self.no_http {
            return Ok(None);
        }
        let access = self.access()?;
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let address = self.http.unwrap_or(usual);
        may_serve(address, &access)?;
        let bound = match TcpListener::bind(address).await {
            Err(_) if self.http.is_none() => TcpListener::bind((address.ip(), 0)).await,
            bound => bound,
        };
        let listener = bound.map_err(|e| Failure::io(format!("cannot listen on {address}"), e))?;
        Ok(Some(Bound { listener, access: Arc::new(access) }))
    }

    fn access(&self) -> Result<Access> {
        Access::read(self.admin_token_file.as_deref(), self.reader_token_file.as_deref(), &self.http_name)
    }

    /// Whether these mean the same socket.
    pub(crate) fn same_socket(&self, other: &Self) -> bool {
        self.http == other.http && self.no_http == other.no_http
    }

    /// Reads tokens and names anew; what is wrong with them leaves those that were good.
    pub(crate) fn reload(&self, open: &Open) -> Result<()> {
        let fresh = self.access()?;
        may_serve(open.address, &fresh)?;
        open.access.replace(fresh);
        Ok(())
    }
}

/// Any address but our own needs a token.
fn may_serve(address: SocketAddr, access: &Access) -> Result<()> {
    if address.ip().is_loopback() || access.needs_login() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "--http {address}: whoever reaches it could act on messages; set a token (--admin-token-file), or listen on 127.0.0.1"
    )))
}

/// What is served, to be changed while it is.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    address: SocketAddr,
    access: Arc<Access>,
}

impl Bound {
    /// What [`HttpArgs::reload`] changes.
    pub(crate) fn open(&self) -> Result<Open> {
        let address = self.listener.local_addr().map_err(|e| Failure::io("cannot tell the address", e))?;
        Ok(Open { address, access: self.access.clone() })
    }

    /// Serves one database until it is time to stop. The address is said at once.
    pub(crate) async fn serve(self, info: ConnInfo, stop: watch::Receiver<bool>) -> Result<()> {
        let address = self.listener.local_addr().map_err(|e| Failure::io("cannot tell the address", e))?;
        out::talk(&format!("trunkline: dashboard at http://{address}/"));
        let data = Data::new(info.clone())?;
        let live = Live::new(data.clone());
        let app = Arc::new(App { access: self.access, data, live, words: Words::new(info) });
        let watching = tokio::spawn(live::watch(app.clone()));
        let telling = tokio::spawn(tell(app.clone()));
        accept(self.listener, router(app.clone()), &stop).await;
        watching.abort();
        telling.abort();
        let _ = timeout(GRACE, app.words.close()).await;
        Ok(())
    }
}

/// Tells a collector what /metrics does, where there is one.
async fn tell(app: Arc<App>) {
    let Some(mut collector) = Collector::new() else { return };
    let mut due = tokio::time::interval(Collector::interval());
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        collector.tell(metrics::families(&app).await);
        collector.send().await;
    }
}

fn router(app: Arc<App>) -> Router {
    let inner = Router::new()
        .merge(crate::dashboard::routes())
        .merge(api::routes())
        .merge(metrics::routes())
        .merge(health::routes())
        .fallback(problem::unknown_path);
    guard::around(inner.layer(middleware::from_fn(otlp::request)), &app).with_state(app)
}

/// Takes connections as long as there are slots, and ends them when it is time to stop.
async fn accept(listener: TcpListener, app: Router, stop: &watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Out of descriptors, most likely: those that are open will end.
                Err(_) => { sleep(Duration::from_millis(100)).await; continue }
            },
            Some(_) = open.join_next() => continue,
            () = stopped(stop) => break,
        };
        match slots.clone().try_acquire_owned() {
            Ok(slot) => {
                let (app, stop) = (app.clone(), stop.clone());
                open.spawn(async move {
                    connection(stream, peer, app, stop).await;
                    drop(slot);
                });
            }
            Err(_) => drop(tokio::spawn(timeout(GRACE, refuse(stream)))),
        }
    }
    drop(listener);
    let _ = timeout(GRACE, async { while open.join_next().await.is_some() {} }).await;
}

/// Serves a connection until the client leaves it, or it is time to stop.
async fn connection(stream: TcpStream, peer: SocketAddr, app: Router, stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let app = TowerToHyperService::new(app);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(guard::Peer(peer.ip()));
        hyper::service::Service::call(&app, request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io::Patient::new(stream, WRITE_TIME)), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&stop) => {
            serving.as_mut().graceful_shutdown();
            timeout(GRACE, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(e) = ended {
        tracing::debug!(%peer, error = %e, "a connection ended");
    }
}

/// Says that all slots are taken.
async fn refuse(mut stream: TcpStream) {
    const BUSY: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let _ = stream.write_all(BUSY).await;
    let _ = stream.shutdown().await;
}
