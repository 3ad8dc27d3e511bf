//! Serving: what, with a function or by polling, and until when.

use std::{future::Future, pin::Pin};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::responder::Incoming;
use crate::{Result, listener::closed};

/// What to serve, and how.
#[derive(Debug, Clone)]
pub struct Serve {
    pub(super) channel: Option<String>,
    pub(super) types: Option<Vec<String>>,
    pub(super) concurrency: usize,
    pub(super) address: bool,
    pub(super) most: u64,
}

impl Serve {
    /// A channel, every type, 16 at once.
    pub fn channel(name: impl Into<String>) -> Self {
        Self { channel: Some(name.into()), types: None, concurrency: 16, address: false, most: u64::MAX }
    }

    /// What is sent to this process's own address.
    #[must_use]
    pub fn own_address() -> Self {
        Self { channel: None, types: None, concurrency: 16, address: true, most: u64::MAX }
    }

    /// The channel, and what is sent to this process's own address as well.
    #[must_use]
    pub fn and_own_address(mut self) -> Self {
        self.address = true;
        self
    }

    /// Takes exactly so many requests, and ends when they are answered.
    #[must_use]
    pub fn at_most(mut self, requests: u64) -> Self {
        self.most = requests;
        self
    }

    /// Only these types; others go to who serves them, or get an `unsupported` reply.
    #[must_use]
    pub fn types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// How many requests are handled at once: 1 to 10,000.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }
}

impl From<&str> for Serve {
    fn from(channel: &str) -> Self {
        Self::channel(channel)
    }
}

/// How a service stands: on its way, to be found by callers, or at its end, with why.
#[derive(Debug)]
pub(super) enum State {
    Coming,
    Here,
    Over(Result<()>),
}

/// What the handle of a service sees of that.
#[derive(Debug, Clone)]
pub(super) struct Standing(pub(super) watch::Receiver<State>);

impl Standing {
    async fn ready(&self) -> Result<()> {
        match &*self.0.clone().wait_for(|s| !matches!(s, State::Coming)).await.map_err(|_| closed())? {
            State::Over(Err(why)) => Err(why.again()),
            _ => Ok(()),
        }
    }

    async fn ended(&self) -> Result<()> {
        match self.0.clone().wait_for(|s| matches!(s, State::Over(_))).await.as_deref() {
            Ok(State::Over(Err(why))) => Err(why.again()),
            Ok(_) => Ok(()),
            Err(_) => Err(closed()),
        }
    }
}

/// A responder at work.
#[derive(Debug)]
pub struct Serving {
    standing: Standing,
    stop: watch::Sender<bool>,
    pump: Option<JoinHandle<()>>,
    work: Option<JoinHandle<()>>,
}

impl Serving {
    pub(super) fn new(
        standing: Standing,
        stop: watch::Sender<bool>,
        pump: JoinHandle<()>,
        work: JoinHandle<()>,
    ) -> Self {
        Self { standing, stop, pump: Some(pump), work: Some(work) }
    }

    /// Completes when it is registered: from then on callers find it. Cancel-safe.
    ///
    /// # Errors
    /// Why it has ended: [`Invalid`](crate::ErrorKind::Invalid) for a bad channel name or type and
    /// [`Denied`](crate::ErrorKind::Denied), which no further try would heal, now or after a reconnect;
    /// [`Unreachable`](crate::ErrorKind::Unreachable) when the engine was closed.
    pub async fn ready(&self) -> Result<()> {
        self.standing.ready().await
    }

    /// Completes when it takes no more by itself: what it has taken is answered still, and [`Serving::stop`] waits for that.
    /// Cancel-safe.
    ///
    /// # Errors
    /// Why, as [`Serving::ready`]; none after as many requests as [`Serve::at_most`] says.
    pub async fn ended(&self) -> Result<()> {
        self.standing.ended().await
    }

    /// Takes no more, and waits until what was taken is answered.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(pump) = self.pump.take() {
            let _ = pump.await;
        }
        if let Some(work) = self.work.take() {
            let _ = work.await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// What happens at an inbox.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "one is made at a time, and nearly all are the large one")]
pub enum Event {
    /// A request, to be answered.
    Request(Incoming),
    /// One that was handed out, by its id, ended unanswered: its deadline passed, its caller cancelled it or is gone, or it
    /// went to another responder. Its answer will be refused.
    Expired(i64),
}

type Fate = Pin<Box<dyn Future<Output = Option<i64>> + Send>>;

/// Requests to be answered one by one, for programs that poll or follow events.
pub struct Inbox {
    rx: mpsc::Receiver<Incoming>,
    standing: Standing,
    stop: watch::Sender<bool>,
    fates: FuturesUnordered<Fate>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("open", &self.fates.len()).finish_non_exhaustive()
    }
}

impl Inbox {
    pub(super) fn new(rx: mpsc::Receiver<Incoming>, standing: Standing, stop: watch::Sender<bool>) -> Self {
        Self { rx, standing, stop, fates: FuturesUnordered::new() }
    }

    /// Completes when it is registered: from then on callers find it. Cancel-safe.
    ///
    /// # Errors
    /// Why it has ended, as [`Serving::ready`].
    pub fn ready(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let standing = self.standing.clone();
        async move { standing.ready().await }
    }

    /// The next request; none once the service has ended, and [`Inbox::ready`] says why. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.rx.recv().await
    }

    /// The next request if one is here now.
    pub fn try_next(&mut self) -> Option<Incoming> {
        self.rx.try_recv().ok()
    }

    /// The next request, or the end of one that [`Inbox::event`] handed out; none once the service has ended. Cancel-safe.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                Some(fate) = self.fates.next() => {
                    if let Some(id) = fate {
                        return Some(Event::Expired(id));
                    }
                }
                incoming = self.rx.recv() => {
                    let incoming = incoming?;
                    self.fates.push(Box::pin(incoming.fate()));
                    return Some(Event::Request(incoming));
                }
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
