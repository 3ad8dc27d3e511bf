//! Stopping a statement whose caller has gone away.
//!
//! Dropping a future of the driver leaves its statement running on the server. [`CancelOnDrop`] sends PostgreSQL's
//! cancel request then, with the TLS of its connection. A cancel request names a session, not a statement, and may
//! arrive late: after one was sent the session must not be given other work. [`Pool`](super::Pool) keeps that rule by
//! closing the session.
//!
//! The request is ours and not the driver's, because the driver hangs up as soon as it has written it. Then nobody
//! knows when the server has acted, and pgbouncer 1.18 ends itself (`FATAL … disconnect_client(): bad client state`).
//! As libpq does, we keep the connection until the other side closes it.

use super::attempt::Tls;
use crate::{
    Error, ErrorKind, Result,
    conninfo::{ConnInfo, Endpoint, SslNegotiation},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a caller waits for one cancel request to be dealt with.
const WAIT: Duration = Duration::from_secs(5);

/// How long the connection of a cancel request is kept for a server or pooler that is slow to close it.
const KEEP: Duration = Duration::from_secs(60);

/// `SSLRequest`: length 8, code 80877103 (PostgreSQL documentation, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Sends cancel requests for one session.
#[derive(Clone)]
pub struct Canceller(Arc<Target>);

struct Target {
    request: [u8; 16],
    host: Endpoint,
    tls: Tls,
    direct: bool,
    connector: MakeRustlsConnect,
}

impl Canceller {
    /// `host` has an address unless it is a socket, so that the request goes to the server that gave the key.
    pub(super) fn new(
        info: &ConnInfo,
        host: Endpoint,
        tls: Tls,
        connector: MakeRustlsConnect,
        key: [u8; 16],
    ) -> Self {
        let direct = info.tls.negotiation == SslNegotiation::Direct;
        Self(Arc::new(Target { request: key, host, tls, direct, connector }))
    }

    /// Asks the server to stop what the session does now, and waits until the request was dealt with. That does not
    /// mean that it had an effect.
    ///
    /// Cancel-safe: a request that is under way is sent all the same.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], [`ErrorKind::TimedOut`].
    pub async fn cancel(&self) -> Result<()> {
        let target = Arc::clone(&self.0);
        // A task, so that a caller who gives up does not hang up on the pooler.
        let sending = tokio::spawn(async move { timeout(KEEP, target.send()).await });
        match timeout(WAIT, sending).await {
            Ok(Ok(Ok(sent))) => sent.map_err(|e| {
                Error::new(ErrorKind::Unreachable, format!("the cancel request was not sent: {e}"))
                    .with_source(e)
            }),
            _ => Err(Error::new(ErrorKind::TimedOut, "the cancel request was not dealt with in 5 s")),
        }
    }

    /// A guard that cancels when dropped, unless [`CancelOnDrop::disarm`] was called.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(Some(self.clone()))
    }
}

impl Target {
    async fn send(&self) -> io::Result<()> {
        if self.host.is_unix() {
            let path = format!("{}/.s.PGSQL.{}", self.host.host, self.host.port);
            return self.deliver(UnixStream::connect(path).await?).await;
        }
        let addr = self.host.addr.ok_or_else(|| io::Error::other("the address is not known"))?;
        let mut socket = TcpStream::connect((addr, self.host.port)).await?;
        if self.tls == Tls::Off {
            return self.deliver(socket).await;
        }
        if !self.direct {
            socket.write_all(&SSL_REQUEST).await?;
            match (socket.read_u8().await?, self.tls) {
                (b'S', _) => {}
                (_, Tls::IfOffered) => return self.deliver(socket).await,
                _ => return Err(io::Error::other("the server does not support TLS")),
            }
        }
        let mut connector = self.connector.clone();
        let Ok(connect) = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut connector, &self.host.host);
        self.deliver(connect.connect(socket).await?).await
    }

    async fn deliver(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        stream.write_all(&self.request).await?;
        stream.flush().await?;
        // The server answers by closing; with TLS it does so without the farewell that rustls asks for.
        let _closed = stream.read(&mut [0]).await;
        Ok(())
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

/// Cancels the running statement of its session when dropped. The request is sent by a task of the current tokio
/// runtime; dropped outside of one, it does nothing.
#[derive(Debug)]
#[must_use = "dropping it cancels"]
pub struct CancelOnDrop(Option<Canceller>);

impl CancelOnDrop {
    /// The statement has ended; nothing is to be cancelled.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some(canceller), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(e) = canceller.cancel().await {
                    tracing::warn!(error = %e, "a statement could not be cancelled");
                }
            });
        }
    }
}
