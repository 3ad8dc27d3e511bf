//! Subscriptions: what to listen to and how, and what comes of it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tokio_postgres::types::Type;
use tracing::debug;

use super::{
    Engine, Kind, channels, durable,
    filter::Pattern,
    handlers::{Handlers, Told},
    kept::Kept,
    look::{Said, subscribe},
    message::{Event, OnFull},
    queue::Queue,
    reader,
    single::{self, Single},
};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link, closed, turned},
    running::Running,
};

const KIND: &str = "select trunkline._topic_kind($1, $2)";
/// So long one that is closed waits for what was handled to be noted.
const FINISH: Duration = Duration::from_secs(5);
const UNSUBSCRIBE: &str = "select trunkline._topic_unsubscribe($1, $2)::text";

/// What to listen to, and how.
#[derive(Debug, Clone)]
pub struct Subscribe {
    topics: Vec<String>,
    kind: Option<Kind>,
    buffer: usize,
    on_full: OnFull,
    filtered: bool,
    name: Option<String>,
    single: bool,
}

impl Subscribe {
    /// These topics: names, and wildcards: `orders.*` is one word more, `orders.>` one or more. Wildcards are for volatile topics, and with
    /// [`Subscribe::kind`] for durable ones: those that are there, and those that are declared later.
    pub fn new(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            topics: topics.into_iter().map(Into::into).collect(),
            kind: None,
            buffer: 1000,
            on_full: OnFull::default(),
            filtered: false,
            name: None,
            single: false,
        }
    }

    /// A listener on plain PostgreSQL channels: of all processes that have one on the same channels, one is active and hears what comes, the
    /// others stand by. [`Subscribe::new`] with [`Kind::Channel`] and [`Subscribe::single`]; [`Subscribe::all`] lets everybody hear everything.
    pub fn listener(channels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(channels).kind(Kind::Channel).single()
    }

    /// Topics of this kind: [`Kind::Channel`] for plain PostgreSQL channels. Without it, as they were declared, and volatile where nobody
    /// did; those of one subscription are of one kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// How many messages wait here to be taken: 1 to 1,000,000, 1,000 unless told, and no more than some 16 MiB of them.
    #[must_use]
    pub fn buffer(mut self, messages: usize) -> Self {
        self.buffer = messages.clamp(1, 1_000_000);
        self
    }

    /// What happens to those for which there is no room.
    #[must_use]
    pub fn on_full(mut self, what: OnFull) -> Self {
        self.on_full = what;
        self
    }

    /// Leaves out what this process publishes itself.
    #[must_use]
    pub fn filtered(mut self) -> Self {
        self.filtered = true;
        self
    }

    /// Of all subscriptions to the same topics, or of the same name, one is active and gets the messages; the others stand by, and the next
    /// one goes on where it was: see `docs/topics.md`.
    #[must_use]
    pub fn single(mut self) -> Self {
        self.single = true;
        self
    }

    /// Every subscription gets every message, which is so unless it is [`Subscribe::single`] or a [`Subscribe::listener`].
    #[must_use]
    pub fn all(mut self) -> Self {
        self.single = false;
        self
    }

    /// The name of a durable subscription: whoever has it next goes on where it was, and all who have it at once share the messages. Of
    /// single ones, the name of the group of which one is active.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The kind of its topics, once all that can be said without a topic's messages is checked.
    async fn checked(&self, link: &Link) -> Result<Kind> {
        let invalid = |text: &str| Err(Error::new(ErrorKind::Invalid, text.to_owned()));
        if self.topics.is_empty() || self.topics.len() > 1000 {
            let text = format!("a subscription has 1 to 1000 topics, got {}", self.topics.len());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let mut kind = self.kind;
        for topic in &self.topics {
            let own = if kind == Some(Kind::Channel) {
                channels::check_name(topic)?;
                Kind::Channel
            } else if Pattern::parse(topic)?.plain().is_none() {
                self.kind.unwrap_or(Kind::Volatile)
            } else {
                let asked = self.kind.map(Kind::word);
                let args: &Args<'_> = &[(topic, Type::TEXT), (&asked, Type::TEXT)];
                Kind::of(&link.value::<String>(KIND, args).await?)
            };
            if kind.is_some_and(|k| k != own) {
                return invalid(
                    "the topics of a subscription are of one kind; wildcards are for volatile ones, and for durable ones where that is said",
                );
            }
            kind = Some(own);
        }
        let kind = kind.unwrap_or(Kind::Volatile);
        match (&self.name, kind) {
            (None, Kind::Durable) => {
                invalid("a subscription to durable topics needs a name, to go on where it was")
            }
            (Some(_), Kind::Volatile | Kind::Channel) if !self.single => {
                invalid("only a subscription that is single, or to durable topics, has a name")
            }
            _ => Ok(kind),
        }
    }
}

impl<T: Into<String>> From<T> for Subscribe {
    fn from(topic: T) -> Self {
        Self::new([topic])
    }
}

/// A subscription. Dropping it ends it; what it had not yielded is gone, but for what is durable.
#[derive(Debug)]
pub struct Subscription {
    engine: Arc<Engine>,
    number: i32,
    kind: Kind,
    channels: Vec<String>,
    queue: Arc<Queue>,
    tasks: Vec<JoinHandle<()>>,
}

impl Subscription {
    pub(super) async fn start(engine: Arc<Engine>, options: Subscribe) -> Result<Self> {
        let listener = engine.listener.clone();
        let link = listener.link().await?;
        let kind = options.checked(&link).await?;
        let kept = (options.single && kind == Kind::Channel).then(|| Kept::new(&options.topics));
        let queue = Queue::new(options.buffer, options.on_full, options.single, kept);
        let number = engine.numbers.fetch_add(1, Ordering::Relaxed);
        let said = Said {
            number,
            topics: options.topics.clone(),
            kind: kind.word(),
            name: match options.single {
                true => Some(single::lease_of(options.name.as_deref(), &options.topics)),
                false => options.name.clone(),
            },
            single: options.single,
        };
        let mut subscription =
            Self { engine: engine.clone(), number, kind, channels: Vec::new(), queue, tasks: Vec::new() };
        let (queue, filtered) = (subscription.queue.clone(), options.filtered);
        subscription.tasks.push(tokio::spawn(queue.gaps().say(listener.clone(), number)));
        if kind == Kind::Durable {
            durable::register(&link, options.name.as_deref().unwrap_or_default(), &options.topics).await?;
            let connection = durable::connection(listener.clone(), link.clone(), queue.clone());
            subscription.tasks.push(tokio::spawn(connection));
        }
        match kind {
            Kind::Volatile | Kind::Durable if options.single => {
                let patterns = options.topics.iter().filter_map(|t| Pattern::parse(t).ok()).collect();
                let begin = subscribe(&link, &said).await?;
                let single = Single { engine, said, kind, patterns, filtered, queue, begin };
                subscription.tasks.push(tokio::spawn(single.run()));
            }
            Kind::Volatile => {
                let patterns = options.topics.iter().map(|t| Pattern::parse(t)).collect::<Result<_>>()?;
                let position = subscribe(&link, &said).await?;
                let (generation, turn) = (link.generation, None);
                let member =
                    reader::Member { said, patterns, queue, filtered, turn, connected: false, generation };
                engine
                    .reader()
                    .send(reader::Command::Join(Box::new((member, position))))
                    .map_err(|_| closed())?;
            }
            Kind::Channel => {
                if options.single {
                    let (engine, said, queue) = (engine.clone(), said.clone(), queue.clone());
                    let begin = subscribe(&link, &said).await?;
                    let patterns = Vec::new();
                    let single = Single { engine, said, kind, patterns, filtered, queue, begin };
                    subscription.tasks.push(tokio::spawn(single.run()));
                }
                for channel in said.channels() {
                    drop(engine.listener.listen(channel));
                    subscription.channels.push(channel.to_owned());
                }
                let member = channels::Member { said, queue, filtered };
                engine.channels().send(channels::Command::Join(Box::new(member))).map_err(|_| closed())?;
            }
            Kind::Durable => {
                subscribe(&link, &said).await?;
                queue.tell(Event::Connected);
                let name = options.name.unwrap_or_default();
                let consuming = durable::start(&listener, &said, &name, &queue, None, filtered);
                subscription.tasks.push(consuming);
            }
        }
        Ok(subscription)
    }

    /// The next event; waits for one. None when it has ended, as by [`Trunkline::close`](crate::Trunkline::close). Cancel-safe.
    ///
    /// # Errors
    /// What ended it: [`ErrorKind::Denied`], [`ErrorKind::NotFound`], [`ErrorKind::Schema`], [`ErrorKind::Epoch`]; told once.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        self.queue.next().await.transpose()
    }

    /// Runs handlers for what comes, one message at a time, until [`Handling::stop`], or until the handle is dropped.
    #[must_use]
    pub fn handle(mut self, handlers: Handlers) -> Handling {
        Handling(Running::start(false, |mut stopped| async move {
            loop {
                let event = tokio::select! {
                    biased;
                    () = turned(&mut stopped) => break,
                    event = self.next() => event,
                };
                match event {
                    Ok(Some(Event::Message(message))) => handlers.give(message).await,
                    Ok(Some(event)) => handlers.tell(Told::Event(event)),
                    Ok(None) => break,
                    Err(e) => return Err(e),
                }
            }
            self.close().await;
            Ok(())
        }))
    }

    /// Ends it, and says so in the database. What was yielded counts as handled, of a durable one when it was dropped too; of a single
    /// one the next in turn goes on from there.
    pub async fn close(mut self) {
        self.queue.settle();
        if self.kind == Kind::Durable && !self.queue.is_single() {
            self.queue.close(None);
            for task in &mut self.tasks {
                let _ = timeout(FINISH, task).await;
            }
        } else if self.kind == Kind::Volatile && self.queue.is_single() {
            // What was yielded may not be marked yet.
            let (leaving, left) = oneshot::channel();
            let _ = self.engine.reader().send(reader::Command::Leave(self.number, Some(leaving)));
            let _ = timeout(FINISH, left).await;
        }
        self.leave();
        if let Some(link) = self.engine.listener.current() {
            unsubscribe(&link, self.number).await;
        }
        self.number = 0;
    }

    fn leave(&mut self) {
        self.queue.close(None);
        self.queue.deactivate();
        self.queue.let_go();
        match self.kind {
            Kind::Volatile => drop(self.engine.reader().send(reader::Command::Leave(self.number, None))),
            Kind::Channel => drop(self.engine.channels().send(channels::Command::Leave(self.number))),
            Kind::Durable => {}
        }
        self.tasks.drain(..).for_each(|task| task.abort());
        for channel in self.channels.drain(..) {
            self.engine.listener.unlisten(&channel);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.number == 0 {
            return;
        }
        self.leave();
        let number = self.number;
        if let (Some(link), Ok(runtime)) =
            (self.engine.listener.current(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { unsubscribe(&link, number).await });
        }
    }
}

async fn unsubscribe(link: &Link, number: i32) {
    let args: &Args<'_> = &[(&link.session, Type::INT4), (&vec![number], Type::INT4_ARRAY)];
    if let Err(e) = link.query(UNSUBSCRIBE, args).await {
        debug!(error = %e, "the subscription is still listed, until the session ends");
    }
}

/// Handlers at work. Dropping it stops them at their next `.await`.
#[derive(Debug)]
pub struct Handling(Running<bool>);

impl Handling {
    /// Stops after the message in hand, and waits for that.
    ///
    /// # Errors
    /// What ended it before: see [`Subscription::next`].
    pub async fn stop(mut self) -> Result<()> {
        self.0.tell(true);
        self.0.ended().await
    }

    /// Completes when it goes on no longer. Cancel-safe.
    ///
    /// # Errors
    /// What ended it: see [`Subscription::next`]; told once.
    pub async fn ended(&mut self) -> Result<()> {
        self.0.ended().await
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.abort();
    }
}
