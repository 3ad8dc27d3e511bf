//! Subscriptions to durable topics: a consumer of the stream behind each, and its batches message by message.
//!
//! Guarantee: the subscription goes on where it was, whichever process has its name; each message is handled at least once. A batch is
//! finished when each of its messages was let go of, or is to come again. For exactly once take the batches yourself
//! ([`Streams::consumer`](crate::streams::Streams::consumer)), and finish each in the transaction of your writes.
//!
//! What if it dies here: a batch that was not finished comes again as a whole, to whoever has the name.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    look::Said,
    message::{Event, Message, Sent, Turn},
    queue::Queue,
};
use crate::{
    ErrorKind, Result,
    listener::{Listener, POLL, lock},
    streams::{self, Batch, Consumer, Mode, backoff},
};

/// A message of a batch that is handled; when it is dropped, it was.
#[derive(Debug)]
pub(super) struct InHand {
    id: i64,
    attempt: i32,
    batch: Arc<Handed>,
    failed: Mutex<Option<String>>,
}

impl InHand {
    pub(super) fn fail(&self, cause: String) {
        *lock(&self.failed) = Some(cause);
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
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
    /// The messages that come again: their ids, attempts and why.
    failed: Mutex<Vec<(i64, i32, String)>>,
    changed: Notify,
}

/// Hands out what the consumers of a subscription's topics get, until its queue is closed.
pub(super) fn start(
    listener: &Arc<Listener>,
    said: &Said,
    name: &str,
    queue: &Arc<Queue>,
    turn: Option<&Turn>,
) -> Vec<JoinHandle<()>> {
    // Whoever has the lease takes over what another one holds; those without one share.
    let mode = if turn.is_some() { Mode::Take } else { Mode::Share };
    let task = |topic: &String| {
        let consumer = Consumer::new(listener.clone(), topic.clone(), name.to_owned()).mode(mode);
        tokio::spawn(consume(consumer, topic.clone(), listener.clone(), queue.clone(), turn.cloned()))
    };
    said.topics.iter().map(task).collect()
}

async fn consume(
    mut consumer: Consumer,
    topic: String,
    listener: Arc<Listener>,
    queue: Arc<Queue>,
    turn: Option<Turn>,
) {
    while !queue.is_over(turn.as_ref()) {
        let failed = match consumer.next().await {
            Ok(batch) => hand_out(batch, &topic, &queue, turn.as_ref()).await.err(),
            Err(e) => Some(e),
        };
        match failed {
            None => {}
            Some(e) if e.kind() == ErrorKind::Stale => debug!(error = %e, "a batch was another's"),
            Some(e) if ends(e.kind()) || *listener.closing().borrow() => return queue.close(Some(e)),
            Some(e) => {
                warn!(topic, error = %e, "cannot take a batch; trying again");
                queue.tell(Event::Error(e));
                sleep(POLL).await;
            }
        }
    }
}

/// Errors that no later try heals.
fn ends(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Epoch | ErrorKind::Invalid | ErrorKind::Schema
    )
}

/// Hands out a batch, waits until all of it was handled, and finishes it.
async fn hand_out(mut batch: Batch, topic: &str, queue: &Queue, turn: Option<&Turn>) -> Result<()> {
    let events = batch.take_events();
    let handed = Arc::new(Handed {
        left: AtomicUsize::new(events.len()),
        failed: Mutex::default(),
        changed: Notify::new(),
    });
    for event in events {
        let mut message = message(event, topic, &handed).under(turn);
        while let Err(full) = queue.push(message) {
            queue.room().await;
            message = full;
        }
    }
    while handed.left.load(Ordering::Acquire) > 0 && !queue.is_over(turn) {
        let _ = timeout(Duration::from_secs(1), handed.changed.notified()).await;
    }
    if queue.is_over(turn) {
        return Ok(()); // what is left was let go of by nobody's handling
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
    let in_hand = InHand { id, attempt, batch: batch.clone(), failed: Mutex::default() };
    Message { in_hand: Some(Arc::new(in_hand)), ..Message::new(Arc::new(sent)) }
}
