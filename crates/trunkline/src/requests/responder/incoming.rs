//! A request as its responder holds it, and every way to answer it; and what a handler sees of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::Instant,
};

use super::answers::Answer;
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    listener::lock,
    requests::{
        caller::Counters,
        payload::{Headers, Payload, encode_headers},
        wire::{self, Claim, Ending, Ring},
    },
};

/// What a responder's handler fails with: a code and a text, sent to the caller as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short word for programs, at most 100 bytes.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// A failure with a code and a text.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(e: E) -> Self {
        Self::new("error", e.to_string())
    }
}

/// A request that this process has accepted and is to answer. Dropping it unanswered fails it with code `dropped`.
#[derive(Debug)]
pub struct Incoming {
    /// The request's id.
    pub id: i64,
    /// Its type.
    pub kind: String,
    /// What was asked.
    pub payload: Payload,
    /// Its headers; `traceparent` among them when the caller traces.
    pub headers: Headers,
    /// 1, or more when an earlier responder died.
    pub attempt: i32,
    /// True when no reply is expected.
    pub one_way: bool,
    pub(super) deadline: Instant,
    pub(super) claim: Claim,
    pub(super) caller: i32,
    pub(super) ring: Ring,
    pub(super) parts: i32,
    /// None once it was answered.
    pub(super) answers: Option<mpsc::UnboundedSender<Answer>>,
    /// The part that was sent last, until it is known whether it was accepted.
    pub(super) part_sent: Option<oneshot::Receiver<Result<()>>>,
    pub(super) ended: watch::Receiver<bool>,
    pub(super) held: Arc<Mutex<HashMap<i64, Held>>>,
    pub(super) counters: Arc<Counters>,
    /// Until its answer is written.
    pub(super) slot: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) attempt: i32,
    pub(super) caller: i32,
    pub(super) ring: Ring,
    pub(super) since: Instant,
    pub(super) kind: String,
    pub(super) ended: watch::Sender<bool>,
}

impl Incoming {
    /// The time left to answer.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Completes when there is no use in going on: the caller cancelled or is gone, the deadline passed, or the request
    /// was handed to another responder. Cancel-safe.
    pub async fn cancelled(&self) {
        let mut ended = self.ended.clone();
        tokio::select! {
            _ = ended.wait_for(|e| *e) => {}
            () = tokio::time::sleep_until(self.deadline) => {}
        }
    }

    /// Its id, if it ends before it is answered; completes when either is so.
    pub(in crate::requests) fn fate(&self) -> impl Future<Output = Option<i64>> + Send + 'static {
        let (id, deadline, held) = (self.id, self.deadline, self.held.clone());
        let mut ended = self.ended.clone();
        async move {
            tokio::select! {
                told = ended.wait_for(|e| *e) => told.is_ok().then_some(id),
                () = tokio::time::sleep_until(deadline) => lock(&held).contains_key(&id).then_some(id),
            }
        }
    }

    /// Answers. Returns once the reply is committed.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the request ended meanwhile; nothing was changed then.
    pub async fn reply(self, payload: impl Into<Payload>) -> Result<()> {
        self.reply_with(payload, &Headers::new()).await
    }

    /// Answers, with headers.
    ///
    /// # Errors
    /// As [`Incoming::reply`]; [`ErrorKind::Invalid`] for headers out of their limits.
    pub async fn reply_with(mut self, payload: impl Into<Payload>, headers: &Headers) -> Result<()> {
        let status = if self.one_way { 8 } else { 0 };
        let headers = encode_headers(headers)?;
        self.settle(status, None, payload.into(), headers).await
    }

    /// Answers with an error of your own.
    ///
    /// # Errors
    /// As [`Incoming::reply`].
    pub async fn fail(mut self, failure: Failure) -> Result<()> {
        self.settle(1, Some(cut(failure.code)), failure.message.into(), None).await
    }

    /// Sends a part of the reply, or progress, ahead of the reply itself. One at a time: after one whose future was dropped,
    /// the next waits until that was written.
    ///
    /// # Errors
    /// As [`Incoming::reply`].
    pub async fn part(&mut self, payload: impl Into<Payload>) -> Result<()> {
        self.part_written().await;
        self.parts += 1;
        self.part_sent = Some(self.hand_over(self.parts, 9, None, payload.into(), None)?);
        self.part_written().await.unwrap_or(Ok(()))
    }

    async fn part_written(&mut self) -> Option<Result<()>> {
        let accepted = self.part_sent.as_mut()?.await.unwrap_or_else(|_| Err(gone()));
        self.part_sent = None;
        Some(accepted)
    }

    /// Answers in your own transaction, together with your writes: the reply goes out with its commit. Commit before the
    /// deadline: a caller that cannot be told by then ends `timed out`. After a rollback nobody has answered, and the
    /// request ends at its deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the request ended meanwhile: roll back, your writes belong to nobody.
    pub async fn reply_on(mut self, executor: &mut impl Executor, payload: impl Into<Payload>) -> Result<()> {
        let payload = payload.into();
        let content = i32::from(payload.content().code());
        let accepted = executor
            .scalar(
                wire::REPLY_ON[self.ring as usize],
                &[
                    Param::I64(self.claim.take),
                    Param::I64(self.claim.token),
                    Param::I32(self.claim.slot),
                    Param::I32(content),
                    Param::Bytes(Some(payload.bytes())),
                ],
            )
            .await?;
        self.answers = None;
        if accepted != 0 { Ok(()) } else { Err(self.stale()) }
    }

    async fn settle(
        &mut self,
        status: i16,
        code: Option<String>,
        payload: Payload,
        headers: Option<String>,
    ) -> Result<()> {
        self.hand_over(0, status, code, payload, headers)?.await.map_err(|_| gone())?
    }

    /// Queues an answer, which is written whether anybody waits for that or not. The queue is as long as there are slots, and
    /// one part for each: an answer keeps its slot until it is written.
    fn hand_over(
        &mut self,
        part: i32,
        status: i16,
        code: Option<String>,
        payload: Payload,
        headers: Option<String>,
    ) -> Result<oneshot::Receiver<Result<()>>> {
        let (answers, slot) = match part {
            0 => (self.answers.take(), self.slot.take()),
            _ => (self.answers.clone(), None),
        };
        let answers = answers.ok_or_else(|| self.stale())?;
        let (accepted, rx) = oneshot::channel();
        let content = payload.content().code();
        let ending =
            Ending { claim: self.claim, part, status, content, code, payload: payload.into_bytes(), headers };
        let answer = Answer { id: self.id, caller: self.caller, ending, accepted, _slot: slot };
        answers.send(answer).map_err(|_| gone())?;
        Ok(rx)
    }

    fn stale(&self) -> Error {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        stale(self.id)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        lock(&self.held).remove(&self.id);
        if self.answers.is_some() {
            // Ended, and perhaps nobody wrote that down: a caller that is gone cancels.
            let (status, code) = match (*self.ended.borrow(), self.one_way) {
                (true, _) => (3, None),
                (false, true) => (8, None),
                (false, false) => (1, Some("dropped".to_owned())),
            };
            let _ = self.hand_over(0, status, code, "the handler gave no answer".into(), None);
        }
    }
}

pub(super) fn stale(id: i64) -> Error {
    Error::new(
        ErrorKind::Stale,
        format!("request {id} is no longer yours: it ended, expired, or was handed on"),
    )
    .with_code("TL001")
}

pub(super) fn gone() -> Error {
    Error::new(ErrorKind::Unreachable, "trunkline was closed")
}

fn cut(mut code: String) -> String {
    let mut end = code.len().min(100);
    while !code.is_char_boundary(end) {
        end -= 1;
    }
    code.truncate(end);
    code
}

/// What a handler gets to see of a request; its answer is what the handler returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The request's id.
    pub id: i64,
    /// Its type.
    pub kind: String,
    /// What was asked.
    pub payload: Payload,
    /// Its headers.
    pub headers: Headers,
    /// 1, or more when an earlier responder died.
    pub attempt: i32,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl Request {
    pub(super) fn of(incoming: &Incoming) -> Self {
        Self {
            id: incoming.id,
            kind: incoming.kind.clone(),
            payload: incoming.payload.clone(),
            headers: incoming.headers.clone(),
            attempt: incoming.attempt,
            deadline: incoming.deadline,
        }
    }
}
