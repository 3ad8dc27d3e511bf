//! Requests and replies: ask a service and get exactly one definite outcome before a deadline.
//!
//! [`Requests::call`] sends a request to one responder of a channel (or to one session) and awaits the reply.
//! [`Requests::serve`] answers. Guarantees, and what is not promised: `docs/requests.md`.

mod call;
mod caller;
mod mailbox;
mod payload;
mod responder;
mod serve;
pub(crate) mod wire;

use std::{
    future::{Future, IntoFuture},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

pub use call::{Call, Pending};
pub use caller::Summary;
pub use mailbox::{Mailbox, Outcome};
pub use payload::{Content, Destination, Headers, Part, Payload, Reply};
pub(crate) use payload::{check_size, decode_headers, encode_headers};
pub use responder::{Failure, Incoming, Request};
pub use serve::{Event, Inbox, Serve, Serving};

use self::{
    caller::{Caller, Counters},
    payload::check_timeout,
    responder::{Responder, Service},
    serve::{Standing, State},
};
use crate::{Error, ErrorKind, Result, listener::Listener};

/// The engine behind all handles of one process.
#[derive(Debug)]
pub(crate) struct Engine {
    caller: Arc<Caller>,
    responder: Arc<Responder>,
    counters: Arc<Counters>,
    listener: Arc<Listener>,
}

impl Engine {
    pub(crate) fn start(listener: Arc<Listener>) -> Arc<Self> {
        let counters = Arc::new(Counters::default());
        let caller = Caller::start(listener.clone(), counters.clone());
        let responder = Responder::start(listener.clone(), counters.clone());
        Arc::new(Self { caller, responder, counters, listener })
    }

    /// Until the database knows what callers here have ended.
    pub(crate) async fn finished(&self) {
        self.caller.finished().await;
    }
}

/// The handle for requests; clones share one connection.
#[derive(Debug, Clone)]
pub struct Requests {
    engine: Arc<Engine>,
}

/// What one process has done since it began; the numbers only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests written.
    pub sent: u64,
    /// Endings that reached a call.
    pub replied: u64,
    /// Endings that the poll found and no bell announced.
    pub found_by_poll: u64,
    /// Endings for a call that had ended already.
    pub unclaimed: u64,
    /// Requests accepted as responder.
    pub served: u64,
    /// Own answers that were refused as late.
    pub refused: u64,
    /// Accepted requests that ended before they were answered.
    pub expired: u64,
}

impl Requests {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Asks one responder of a channel (`"hash"`), or one session (`"@…"` or a [`uuid::Uuid`]), and awaits the reply.
    ///
    /// The default deadline is 30 s. Await the builder, or [`Call::start`] it for a handle.
    pub fn call(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> Call {
        Call::new(self.engine.clone(), to.into(), payload.into())
    }

    /// Sends without expecting a reply. Awaiting it ends when the request is committed; with [`Call::confirm`], when
    /// somebody took it.
    pub fn send(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> Call {
        self.call(to, payload).one_way()
    }

    /// Asks every responder of a channel that is present now; the first `most` outcomes within `within`.
    ///
    /// # Errors
    /// [`ErrorKind::NoResponder`] when nobody is present; [`ErrorKind::Invalid`] for an argument out of its limits;
    /// [`ErrorKind::TimedOut`] when the database did not say by then who is.
    pub async fn gather(
        &self,
        channel: &str,
        payload: impl Into<Payload>,
        most: usize,
        within: Duration,
    ) -> Result<Vec<Result<Reply>>> {
        let payload = payload.into();
        check_timeout(within)?;
        if most == 0 {
            return Err(Error::new(ErrorKind::Invalid, "gather needs at least 1 outcome to wait for, got 0"));
        }
        let asking = async {
            let most_bytes = self.engine.caller.lane(channel).await?.most;
            check_size(channel, payload.bytes(), most_bytes)?;
            let link = self.engine.listener.link().await?;
            Ok((most_bytes, wire::crowd(&link, channel, "").await?))
        };
        let asked = tokio::time::timeout(within, asking).await;
        let (most_bytes, lanes) = asked.unwrap_or_else(|_| Err(caller::timed_out()))?;
        if lanes.is_empty() {
            return Err(caller::no_responder(channel));
        }
        let mut calls = tokio::task::JoinSet::new();
        for lane in lanes {
            let lane = wire::Lane { number: lane, ring: wire::Ring::Ephemeral, most: most_bytes };
            let call = self.call(channel, payload.clone()).wait_for_responder().timeout(within);
            calls.spawn(call.at_lane(lane).into_future());
        }
        let mut outcomes = Vec::new();
        while outcomes.len() < most
            && let Some(outcome) = calls.join_next().await
        {
            outcomes.push(outcome.unwrap_or_else(|_| Err(caller::lost())));
        }
        Ok(outcomes)
    }

    /// Serves a channel with an async function; runs until [`Serving::stop`] or until the handle is dropped, through every
    /// reconnect. What no further try would heal ends it, a bad name above all: [`Serving::ready`] and [`Serving::ended`] tell.
    ///
    /// The handler's error, or its panic, is the caller's `remote error`. It is dropped at its next `.await` when the
    /// request ends before it does. At most `concurrency` handlers run at once, and no more is taken than that.
    pub fn serve<H, F, P>(&self, options: impl Into<Serve>, handler: H) -> Serving
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<P, Failure>> + Send + 'static,
        P: Into<Payload> + Send + 'static,
    {
        let options = options.into();
        let from = options.channel.clone().unwrap_or_else(|| "@".to_owned());
        let (rx, standing, stop, pump) = self.open(options);
        let work = tokio::spawn(responder::handle(rx, from, handler));
        Serving::new(standing, stop, pump, work)
    }

    /// Serves a channel by polling: requests come out of the [`Inbox`], to be answered one by one.
    pub fn inbox(&self, options: impl Into<Serve>) -> Inbox {
        let (rx, standing, stop, pump) = self.open(options.into());
        drop(pump); // it ends when told to, so that what it is taking just now is answered
        Inbox::new(rx, standing, stop)
    }

    /// A place for the outcomes of many calls, to be taken one by one as events, or polled.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::default()
    }

    /// What was sent and is not answered yet, oldest first.
    #[must_use]
    pub fn awaiting(&self) -> Vec<Summary> {
        self.engine.caller.awaiting()
    }

    /// What was accepted and is not answered yet, oldest first: id, type and age.
    #[must_use]
    pub fn incoming(&self) -> Vec<(i64, String, Duration)> {
        self.engine.responder.incoming()
    }

    /// Counters of this process.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let c = &self.engine.counters;
        let get = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed);
        Stats {
            sent: get(&c.sent),
            replied: get(&c.replied),
            found_by_poll: get(&c.found_by_poll),
            unclaimed: get(&c.unclaimed),
            served: get(&c.served),
            refused: get(&c.refused),
            expired: get(&c.expired),
        }
    }

    fn open(&self, options: Serve) -> Opened {
        let (tx, rx) = mpsc::channel(options.concurrency.clamp(1, 128));
        let (stop, stopped) = watch::channel(false);
        let (state, standing) = watch::channel(State::Coming);
        let responder = self.engine.responder.clone();
        let service = Service {
            channel: options.channel,
            types: options.types,
            concurrency: options.concurrency.clamp(1, 10_000),
            address: options.address,
            most: options.most,
        };
        let pump = tokio::spawn(async move { responder.pump(service, tx, state, stopped).await });
        (rx, Standing(standing), stop, pump)
    }
}

/// What a service works with: its requests, how it stands, how to stop it, and its task.
type Opened = (mpsc::Receiver<Incoming>, Standing, watch::Sender<bool>, JoinHandle<()>);
