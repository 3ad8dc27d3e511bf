//! Subscriptions to durable topics: a consumer of the stream behind each, and its batches message by message.
//!
//! Guarantee: the subscription goes on where it was, whichever process has its name; each message is handled at least once. A batch is
//! finished when each of its messages was let go of, or is to come again. For exactly once take the batches yourself
//! ([`Streams::consumer`](crate::streams::Streams::consumer)), and finish each in the transaction of your writes.
//!
//! A subscription with wildcards has a consumer of every topic that matches: the database makes those of topics that are declared later,
//! in the transaction that declares them, so that nothing of them is missed; here they are found when their door rings.
//!
//! What if it dies here: a batch that was not finished comes again as a whole, to whoever has the name.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_postgres::types::Type;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    filter::is_wild,
    look::Said,
    message::{Event, Message, Sent, Turn},
    queue::Queue,
    reader::ANY,
};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Asleep, Link, Listener, POLL, lock},
    streams::{self, Batch, Consumer, Mode, backoff},
};

const FOLLOW: &str = "select topic, consumer from trunkline._topic_follow($1, $2)";
/// The door that rings when a durable topic is declared.
pub(super) const DECLARED: i32 = ANY + 1;
/// How often who sleeps soundly on it looks all the same.
const LONG_POLL: Duration = Duration::from_secs(30);

/// Registers a named subscription with the topics that it is about: those that are there, and the number of its consumer of each.
pub(super) async fn register(link: &Link, name: &str, topics: &[String]) -> Result<HashMap<String, i32>> {
    let args: &Args<'_> = &[(&name, Type::TEXT), (&topics, Type::TEXT_ARRAY)];
    link.query(FOLLOW, args).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// A message of a batch that is handled; when it is dropped, it was.
#[derive(Debug)]
pub(super) struct InHand {
    id: i64,
    attempt: i32,
    batch: Arc<Handed>,
    failed: Mutex<Option<String>>,
    given: AtomicBool,
}

impl InHand {
    /// It was yielded, or dropped and told.
    pub(super) fn given(&self) {
        self.given.store(true, Ordering::Release);
    }

    pub(super) fn fail(&self, cause: String) {
        *lock(&self.failed) = Some(cause);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if !self.given.load(Ordering::Acquire) {
            self.batch.withheld.store(true, Ordering::Release);
        }
        let failed = lock(&self.failed).take();
        let failed = failed.or_else(|| std::thread::panicking().then(|| "the handler panicked".to_owned()));
        if let Some(cause) = failed {
            lock(&self.batch.failed).push((self.id, self.attempt, cause));
        }
        self.batch.left.fetch_sub(1, Ordering::AcqRel);
        self.batch.changed.notify_one();
    }
}

/// A batch that was handed out.
#[derive(Debug)]
struct Handed {
    left: AtomicUsize,
    /// One of them was not yielded: it comes again, with the others.
    withheld: AtomicBool,
    /// The messages that come again: their ids, attempts and why.
    failed: Mutex<Vec<(i64, i32, String)>>,
    changed: Notify,
}

/// Tells when the connection is lost, and when it is there again, until the subscription is closed. Nothing is to be subscribed anew: the
/// consumers go on where they were.
pub(super) async fn connection(listener: Arc<Listener>, mut link: Arc<Link>, queue: Arc<Queue>) {
    let tell = async {
        while listener.next_after(&link).await.is_ok() && !*listener.closing().borrow() {
            queue.tell(Event::Lost);
            let Ok(next) = listener.link().await else { return };
            queue.tell(Event::Connected);
            link = next;
        }
    };
    tokio::select! {
        () = tell => {}
        () = queue.over(None) => {}
    }
}

/// Hands out what the consumers of a subscription's topics get, until its queue is closed.
pub(super) fn start(
    listener: &Arc<Listener>,
    said: &Said,
    name: &str,
    queue: &Arc<Queue>,
    turn: Option<&Turn>,
    filtered: bool,
) -> JoinHandle<()> {
    let following = Following {
        filtered,
        listener: listener.clone(),
        topics: said.topics.clone(),
        name: name.to_owned(),
        queue: queue.clone(),
        turn: turn.cloned(),
        known: HashMap::new(),
        consuming: JoinSet::new(),
    };
    tokio::spawn(following.run())
}

/// A subscription, and its consumers.
struct Following {
    /// Own messages are left out.
    filtered: bool,
    listener: Arc<Listener>,
    /// Names and wildcards.
    topics: Vec<String>,
    name: String,
    queue: Arc<Queue>,
    turn: Option<Turn>,
    /// Topics that have a consumer here, and its number.
    known: HashMap<String, (i32, AbortHandle)>,
    consuming: JoinSet<(String, i32, Option<Error>)>,
}

impl Following {
    async fn run(mut self) {
        let wild = self.topics.iter().any(|t| is_wild(t));
        if !wild {
            self.topics.clone().into_iter().for_each(|topic| self.consume(topic, 0));
        }
        let mut bell = self.listener.bell(DECLARED);
        let (mut asleep, mut due) = (None, wild);
        while !self.queue.is_over(self.turn.as_ref()) {
            if std::mem::take(&mut due)
                && let Err(e) = self.look(&mut asleep).await
            {
                if ends(e.kind()) || *self.listener.closing().borrow() {
                    return self.queue.close(Some(e));
                }
                warn!(error = %e, "cannot look for durable topics; trying again");
                asleep = None;
            }
            let poll = if asleep.as_ref().is_some_and(Asleep::soundly) { LONG_POLL } else { POLL };
            tokio::select! {
                Some(ended) = self.consuming.join_next() => match ended.ok().and_then(|(topic, number, e)| Some((topic, number, e?))) {
                    // It was dropped; others go on, and it may be declared again.
                    Some((topic, number, e)) if wild && e.kind() == ErrorKind::NotFound => {
                        self.known.retain(|t, (n, _)| *t != topic || *n != number);
                    }
                    Some((.., e)) => return self.queue.close(Some(e)),
                    None => {} // it is over
                },
                _ = timeout(poll, bell.rung()), if wild => due = true,
                () = self.queue.over(self.turn.as_ref()) => {}
            }
        }
        while self.consuming.join_next().await.is_some() {} // what was handled is finished
    }

    /// Finds the topics that match by now. Asleep before it looks, so that none is declared unheard.
    async fn look(&mut self, asleep: &mut Option<Asleep>) -> Result<()> {
        if !asleep.as_ref().is_some_and(|a| a.lasts(&self.listener)) {
            *asleep = Some(self.listener.doze(&[DECLARED]).await?);
        }
        let link = self.listener.link().await?;
        let there = register(&link, &self.name, &self.topics).await?;
        self.known.retain(|topic, (number, consuming)| {
            let same = there.get(topic) == Some(number);
            if !same {
                consuming.abort(); // it was dropped
            }
            same
        });
        for (topic, number) in there {
            if !self.known.contains_key(&topic) {
                self.consume(topic, number);
            }
        }
        Ok(())
    }

    fn consume(&mut self, topic: String, number: i32) {
        // Whoever has the lease takes over what another one holds; those without one share.
        let mode = if self.turn.is_some() { Mode::Take } else { Mode::Share };
        let consumer = Consumer::new(self.listener.clone(), topic.clone(), self.name.clone()).mode(mode);
        let name = topic.clone();
        let (listener, queue, turn) = (self.listener.clone(), self.queue.clone(), self.turn.clone());
        let own = self.filtered.then(Vec::new);
        let consuming = self.consuming.spawn(async move {
            let failure = consume(consumer, &topic, &listener, &queue, turn.as_ref(), own).await.err();
            (topic, number, failure)
        });
        self.known.insert(name, (number, consuming));
    }
}

/// Hands out what one consumer gets, until the subscription is over.
async fn consume(
    mut consumer: Consumer,
    topic: &str,
    listener: &Listener,
    queue: &Queue,
    turn: Option<&Turn>,
    mut own: Option<Vec<Uuid>>,
) -> Result<()> {
    while !queue.is_over(turn) {
        let batch = tokio::select! {
            batch = consumer.next() => batch,
            () = queue.over(turn) => return Ok(()),
        };
        let failed = match batch {
            Ok(batch) => {
                // Each connection had an address of its own.
                if let (Some(own), Some(link)) = (&mut own, listener.current())
                    && !own.contains(&link.address)
                {
                    own.push(link.address);
                }
                hand_out(batch, topic, queue, turn, own.as_deref()).await.err()
            }
            Err(e) => Some(e),
        };
        match failed {
            None => {}
            Some(e) if e.kind() == ErrorKind::Stale => debug!(error = %e, "a batch was another's"),
            Some(e) if ends(e.kind()) || *listener.closing().borrow() => return Err(e),
            Some(e) => {
                warn!(topic, error = %e, "cannot take a batch; trying again");
                queue.tell(Event::Error(e));
                sleep(POLL).await;
            }
        }
    }
    Ok(())
}

/// Errors that no later try heals.
fn ends(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Epoch | ErrorKind::Invalid | ErrorKind::Schema
    )
}

/// Hands out a batch, without what `own` sent, waits until all of it was handled, and finishes it.
async fn hand_out(
    mut batch: Batch,
    topic: &str,
    queue: &Queue,
    turn: Option<&Turn>,
    own: Option<&[Uuid]>,
) -> Result<()> {
    let events = batch.take_events();
    let handed = Arc::new(Handed {
        left: AtomicUsize::new(events.len()),
        withheld: AtomicBool::new(false),
        failed: Mutex::default(),
        changed: Notify::new(),
    });
    for event in events {
        let mut message = message(event, topic, &handed).under(turn);
        if own.zip(message.sender()).is_some_and(|(own, sender)| own.contains(&sender)) {
            message.given();
            continue;
        }
        while let Err(full) = queue.push(message) {
            queue.room().await;
            message = full;
        }
    }
    while handed.left.load(Ordering::Acquire) > 0 && !queue.is_over(turn) {
        let _ = timeout(Duration::from_secs(1), handed.changed.notified()).await;
    }
    if handed.left.load(Ordering::Acquire) > 0 || handed.withheld.load(Ordering::Acquire) {
        return Ok(());
    }
    let failed = std::mem::take(&mut *lock(&handed.failed));
    for (id, attempt, cause) in failed {
        batch.retry(&[id], backoff(attempt), Some(&cause)).await?;
    }
    batch.finish().await
}

fn message(event: streams::Event, topic: &str, batch: &Arc<Handed>) -> Message {
    let streams::Event { id, at, payload, mut headers, attempt, .. } = event;
    let sent = Sent {
        topic: topic.to_owned(),
        id,
        at: Some(at),
        sender: headers.remove("sender").and_then(|s| s.parse().ok()),
        message_id: headers.remove("message-id"),
        payload,
        headers,
    };
    let in_hand =
        InHand { id, attempt, batch: batch.clone(), failed: Mutex::default(), given: AtomicBool::new(false) };
    Message { in_hand: Some(Arc::new(in_hand)), ..Message::new(Arc::new(sent)) }
}
