//! Answers on their way to the database: written in batches, and whoever gave one learns whether it was accepted.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::sleep,
};

use super::incoming::{gone, stale};
use crate::{
    ErrorKind, Result,
    listener::Listener,
    requests::{
        caller::Counters,
        wire::{self, Ending, Segment},
    },
};

const BATCH: usize = 512;

/// An answer on its way: what to write, and whom to tell whether it was accepted.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: i64,
    pub(super) caller: i32,
    pub(super) ending: Ending,
    pub(super) accepted: oneshot::Sender<Result<()>>,
    pub(super) _slot: Option<OwnedSemaphorePermit>,
}

impl Answer {
    fn segment(&self) -> Segment {
        Segment::of(self.ending.claim.take)
    }
}

/// One reply statement in flight: whatever is answered meanwhile goes into the next.
pub(super) async fn reply_pump(
    listener: Arc<Listener>,
    mut queue: mpsc::UnboundedReceiver<Answer>,
    counters: Arc<Counters>,
) {
    let mut batch: Vec<Answer> = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        for segment in Segment::ALL {
            let group: Vec<Answer> = batch.extract_if(.., |a| a.segment() == segment).collect();
            if !group.is_empty() {
                answer_group(&listener, segment, group, &counters).await;
            }
        }
    }
}

/// An answer that must wait for somebody's open transaction on the same request; until that ends, or the deadline.
fn answer_later(
    listener: Arc<Listener>,
    segment: Segment,
    answer: Answer,
    counters: Arc<Counters>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        sleep(Duration::from_millis(250)).await;
        answer_group(&listener, segment, vec![answer], &counters).await;
    })
}

/// Writes answers, and tells whoever gave them. A connection that ends meanwhile is not their end: they are written
/// again through the next one, where what had been committed counts as accepted.
async fn answer_group(
    listener: &Arc<Listener>,
    segment: Segment,
    mut group: Vec<Answer>,
    counters: &Arc<Counters>,
) {
    let endings: Vec<&Ending> = group.iter().map(|a| &a.ending).collect();
    let mut callers: Vec<i32> = group.iter().map(|a| a.caller).filter(|c| *c != 0).collect();
    callers.sort_unstable();
    callers.dedup();
    let mut refused = Err(gone());
    for tries in 0..100 {
        let Ok(link) = listener.link().await else { break };
        refused = wire::reply(&link, segment, &callers, &endings, tries > 0).await;
        if group.iter().any(|a| a.caller == link.session) {
            listener.ring(64 + link.session); // nobody notifies itself
        }
        match &refused {
            Err(e) if e.kind() == ErrorKind::Unreachable => sleep(Duration::from_millis(50)).await,
            _ => break,
        }
    }
    match refused {
        Ok(refused) => {
            counters.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
            for (answer, position) in group.into_iter().zip(1..) {
                let verdict = if refused.contains(&position) { Err(stale(answer.id)) } else { Ok(()) };
                let _ = answer.accepted.send(verdict);
            }
        }
        // One bad answer must not take its neighbours with it.
        Err(e) if group.len() > 1 && e.kind() != ErrorKind::Unreachable => {
            for answer in group {
                Box::pin(answer_group(listener, segment, vec![answer], counters)).await;
            }
        }
        Err(e) if e.code() == Some("55P03") => {
            if let Some(answer) = group.pop() {
                tokio::spawn(answer_later(listener.clone(), segment, answer, counters.clone()));
            }
        }
        Err(e) => {
            for answer in group {
                let _ = answer.accepted.send(Err(e.again()));
            }
        }
    }
}
