//! Handlers for what a subscription yields: which come first, and what becomes of one that fails.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin};

use futures_util::FutureExt as _;
use serde::de::DeserializeOwned;
use tracing::{Instrument as _, debug, warn};

use super::{
    filter::Pattern,
    message::{Event, Message, Unreadable},
};
use crate::{requests::Failure, trace};

type Handler = Box<
    dyn Fn(Message) -> Pin<Box<dyn Future<Output = std::result::Result<(), Failing>> + Send>> + Send + Sync,
>;

/// Why a handler did not handle a message.
enum Failing {
    Failed(Failure),
    Unreadable(Box<Unreadable>),
}

/// What [`Handlers::events`] is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told {
    /// The subscription says something of itself.
    Event(Event),
    /// A message was not what its handler expects; it is here, as it came.
    Unreadable(Box<Unreadable>),
    /// A handler failed, or panicked.
    Failed(Message, Failure),
}

/// Handlers for messages: those for all of them first, then those for their topics, each in the order in which they were added.
#[derive(Default)]
pub struct Handlers {
    all: Vec<Handler>,
    on: Vec<(String, Option<Pattern>, Handler)>,
    events: Option<Box<dyn Fn(Told) + Send + Sync>>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topics: Vec<&str> = self.on.iter().map(|(topic, ..)| topic.as_str()).collect();
        f.debug_struct("Handlers").field("all", &self.all.len()).field("on", &topics).finish_non_exhaustive()
    }
}

impl Handlers {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For every message, before those for its topic.
    #[must_use]
    pub fn all<H, F>(mut self, handler: H) -> Self
    where
        H: Fn(Message) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<(), Failure>> + Send + 'static,
    {
        self.all.push(boxed(handler));
        self
    }

    /// For the messages of a topic, or of those that a wildcard matches.
    #[must_use]
    pub fn on<H, F>(mut self, topic: &str, handler: H) -> Self
    where
        H: Fn(Message) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<(), Failure>> + Send + 'static,
    {
        self.on.push((topic.to_owned(), Pattern::parse(topic).ok(), boxed(handler)));
        self
    }

    /// As [`Handlers::on`], for values that come as JSON. What is none of this type is told as [`Told::Unreadable`], and not handled.
    #[must_use]
    pub fn on_json<T, H, F>(mut self, topic: &str, handler: H) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        H: Fn(Message, T) -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<(), Failure>> + Send + 'static,
    {
        let reading: Handler = Box::new(move |message| match message.json::<T>() {
            Ok(value) => {
                let handled = handler(message, value);
                Box::pin(async move { handled.await.map_err(Failing::Failed) })
            }
            Err(unreadable) => Box::pin(async { Err(Failing::Unreadable(unreadable)) }),
        });
        self.on.push((topic.to_owned(), Pattern::parse(topic).ok(), reading));
        self
    }

    /// For all that is no message: what the subscription says of itself, and what went wrong. Without it that goes to the log.
    #[must_use]
    pub fn events(mut self, told: impl Fn(Told) + Send + Sync + 'static) -> Self {
        self.events = Some(Box::new(told));
        self
    }

    pub(super) fn tell(&self, told: Told) {
        match (&self.events, told) {
            (Some(events), told) => events(told),
            (None, Told::Failed(message, failure)) => {
                warn!(topic = message.topic(), code = failure.code, "a handler failed: {}", failure.message);
            }
            (None, Told::Unreadable(unreadable)) => warn!("{unreadable}"),
            (None, Told::Event(Event::Error(e))) => warn!(error = %e, "a subscription"),
            (None, Told::Event(event)) => debug!(?event, "a subscription"),
        }
    }

    /// One message to all whom it concerns. One that fails keeps it from no other; a durable one comes again.
    pub(super) async fn give(&self, message: Message) {
        let span = trace::processing(message.topic(), None, message.id(), message.headers());
        let on = self.on.iter().filter(|(topic, pattern, _)| {
            pattern.as_ref().is_some_and(|p| p.matches(message.topic())) || topic == message.topic()
        });
        for handler in self.all.iter().chain(on.map(|(.., handler)| handler)) {
            let handled = async { handler(message.clone()).await }.instrument(span.clone());
            let handled = AssertUnwindSafe(handled).catch_unwind().await;
            let failing = match handled {
                Ok(Ok(())) => continue,
                Ok(Err(failing)) => failing,
                Err(_) => Failing::Failed(Failure::new("panic", "the handler panicked")),
            };
            match failing {
                Failing::Failed(failure) => {
                    trace::failed(&span, &failure.code);
                    message.fail(&format!("{}: {}", failure.code, failure.message));
                    self.tell(Told::Failed(message.clone(), failure));
                }
                Failing::Unreadable(unreadable) => {
                    trace::failed(&span, "unreadable");
                    message.fail("the payload is not what was expected");
                    self.tell(Told::Unreadable(unreadable));
                }
            }
        }
    }
}

fn boxed<H, F>(handler: H) -> Handler
where
    H: Fn(Message) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<(), Failure>> + Send + 'static,
{
    Box::new(move |message| {
        let handled = handler(message);
        Box::pin(async move { handled.await.map_err(Failing::Failed) })
    })
}
