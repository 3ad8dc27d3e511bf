//! The half of a connection that does the input and output, and a look at the key that cancels it.
//!
//! Guarantees that nothing is read from the server unless the owner polls, so that a listener sees every message in
//! order. It does not reconnect.

use crate::Result;
use std::{
    future::{Future, Ready, poll_fn, ready},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) type RawConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Moves the bytes of one connection. Without it being polled no statement makes progress.
///
/// As a future it runs until the client is dropped and everything has been answered, throwing notifications away.
pub struct Driver(Box<RawConnection>);

impl Driver {
    pub(super) fn new(connection: RawConnection) -> Self {
        Self(Box::new(connection))
    }

    /// The next notice or notification; `None` when the connection has ended in good order. Statements of the client
    /// make progress meanwhile.
    pub fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage>>> {
        self.0.poll_message(cx).map(|m| m.map(|r| r.map_err(Into::into)))
    }

    /// Waits for the next message, see [`Driver::poll_message`]. Cancel-safe.
    pub async fn message(&mut self) -> Option<Result<AsyncMessage>> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Runs `future` and the connection together; what the server sends unasked meanwhile is thrown away.
    pub(super) async fn run<T>(&mut self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            while let Poll::Ready(message) = self.poll_message(cx) {
                match message {
                    Some(Ok(_)) => {}
                    Some(Err(e)) => return Poll::Ready(Err(e)),
                    None => break,
                }
            }
            future.as_mut().poll(cx)
        })
        .await
    }
}

impl Future for Driver {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.poll_message(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(e)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// The `CancelRequest` of this session: 16 bytes, being length, code, process id, secret (PostgreSQL documentation,
/// "Message Formats").
///
/// The driver does not tell its parts, but writes it into any stream when asked to cancel. Nothing leaves this process.
pub(super) async fn cancel_request(client: &Client) -> Option<[u8; 16]> {
    let (near, mut far) = duplex(64);
    // The answer to the TLS question that precedes the request if the session is encrypted.
    far.write_all(b"S").await.ok()?;
    client.cancel_token().cancel_query_raw(near, Tap).await.ok()?;
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.ok()?;
    bytes.last_chunk::<16>().copied()
}

/// Claims to encrypt and does not; it only ever sees the in-memory stream above.
struct Tap;

struct Tapped(DuplexStream);

impl TlsConnect<DuplexStream> for Tap {
    type Stream = Tapped;
    type Error = io::Error;
    type Future = Ready<io::Result<Tapped>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(Tapped(stream)))
    }
}

impl TlsStream for Tapped {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
