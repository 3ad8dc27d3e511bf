//! Waiting for a job's end, from anywhere: its result, or why it will never have one.
//!
//! ```text
//!  push_pending ──▶ held, and this session noted with it (job_wait)
//!       │                    │ whoever ends it, in the same transaction: rings the session's own door for this
//!       ▼                    ▼
//!   [waiting] ◀── bell ── look: what has ended, of all that is waited for ──▶ ended, and the note is taken away
//!       └─────── nothing rang: a look now and then ─────▲
//! ```
//! Guarantees: a job that was pushed to be waited for keeps its result and its errors until this process has seen them, or is
//! gone; a failed attempt is no end; giving up changes nothing about the job. One look is in flight, whatever the number of
//! waiters.
//!
//! What if it dies here: the note goes with the session; after a reconnect with another session the jobs are noted with that, and
//! looked at. A bell that is lost, or was never heard behind a pooler, costs the time until the next look.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_postgres::types::Type;
use tracing::debug;

use super::{Jobs, NewJob};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Bell, Link, Listener, POLL, closed, lock, turned},
    requests::{Content, Payload, encode_headers},
    trace::Sending,
};

const PUSH_WAIT: &str =
    "select id, door from trunkline._job_push_wait($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const WAIT: &str = "select trunkline._job_wait($1, $2)::text";
const UNWAIT: &str = "select trunkline._job_unwait($1, $2)::text";
const OUTCOMES: &str = "select id, state, held, content, result, error from trunkline._job_outcomes($1, $2)";

/// The first pause between two looks at a job for which nobody rings for sure; twice as long each time, up to [`POLL`].
const PAUSE: Duration = Duration::from_millis(10);

type Ended = Result<Payload>;

/// A job that is waited for here.
#[derive(Debug)]
struct Waited {
    /// Who waits for it, by numbers of their own.
    ears: Vec<(u64, oneshot::Sender<Ended>)>,
    /// The session that it was noted with; 0 for none.
    session: i32,
    /// It is where jobs are held, and its result stays there.
    held: bool,
    next: Instant,
    pause: Duration,
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<i64, Waited>,
    /// No longer waited for; the database is still to be told.
    left: Vec<i64>,
    ears: u64,
    looking: bool,
}

/// All that this process waits for.
#[derive(Debug)]
pub(super) struct Waits {
    listener: Arc<Listener>,
    state: Mutex<State>,
    wake: Notify,
}

impl Waits {
    pub(super) fn new(listener: Arc<Listener>) -> Arc<Self> {
        Arc::new(Self { listener, state: Mutex::default(), wake: Notify::new() })
    }

    /// Begins to wait for a job that is held and noted with this session; or for any other.
    fn pending(self: &Arc<Self>, id: i64, session: Option<i32>) -> Pending {
        let (tell, told) = oneshot::channel();
        let mut state = lock(&self.state);
        state.ears += 1;
        let ear = state.ears;
        let waited = state.jobs.entry(id).or_insert_with(|| Waited {
            ears: Vec::new(),
            session: session.unwrap_or(0),
            held: session.is_some(),
            next: Instant::now(),
            pause: PAUSE,
        });
        waited.ears.push((ear, tell));
        waited.next = Instant::now();
        if !std::mem::replace(&mut state.looking, true) {
            tokio::spawn(self.clone().run());
        }
        self.wake.notify_one();
        Pending { id, ear, told, known: None, waits: self.clone() }
    }

    /// Looks, until nobody waits any more.
    async fn run(self: Arc<Self>) {
        let mut closing = self.listener.closing();
        let mut rung = false;
        let mut bell: Option<(i32, Bell)> = None;
        loop {
            let Ok(link) = self.listener.link().await else { return self.abort() };
            let (_, bell) = match &mut bell {
                Some(b) if b.0 == link.session => b,
                other => other.insert((link.session, self.listener.door(link.door()))), // before the look
            };
            if let Err(e) = self.look(&link, rung).await {
                debug!(error = %e, "cannot look for the ends of jobs");
                rung = true;
                sleep(Duration::from_millis(50)).await;
                continue;
            }
            let Some(next) = self.next() else { return };
            rung = tokio::select! {
                () = bell.rung() => true,
                () = self.wake.notified() => false,
                () = sleep_until(next) => false,
                () = turned(&mut closing) => return self.abort(),
            };
        }
    }

    /// When to look next; none when there is nothing more to be done.
    fn next(&self) -> Option<Instant> {
        let mut state = lock(&self.state);
        if state.jobs.is_empty() && state.left.is_empty() {
            state.looking = false;
            return None;
        }
        let next = state.jobs.values().map(|w| w.next).min();
        Some(next.filter(|_| state.left.is_empty()).unwrap_or_else(Instant::now))
    }

    /// One look at all that is due, or after a ring at all.
    async fn look(&self, link: &Link, rung: bool) -> Result<()> {
        self.leave(link).await?;
        let fresh = self.select(|w| w.session != link.session);
        if !fresh.is_empty() {
            link.query(WAIT, &[(&fresh, Type::INT8_ARRAY), (&link.session, Type::INT4)]).await?;
            for id in &fresh {
                if let Some(waited) = lock(&self.state).jobs.get_mut(id) {
                    (waited.session, waited.next) = (link.session, Instant::now());
                }
            }
        }
        let now = Instant::now();
        let held = self.select(|w| w.held && (rung || w.next <= now));
        let anywhere = self.select(|w| !w.held && (rung || w.next <= now));
        if held.is_empty() && anywhere.is_empty() {
            return Ok(());
        }
        let args: &Args<'_> = &[(&held, Type::INT8_ARRAY), (&anywhere, Type::INT8_ARRAY)];
        for row in link.query(OUTCOMES, args).await? {
            let id: i64 = row.try_get(0)?;
            let state: Option<String> = row.try_get(1)?;
            let Some(state) = state else {
                if let (true, Some(waited)) = (row.try_get(2)?, lock(&self.state).jobs.get_mut(&id)) {
                    waited.held = true;
                }
                continue;
            };
            let content = row.try_get::<_, Option<i32>>(3)?;
            let result = row.try_get::<_, Option<Vec<u8>>>(4)?;
            let result = content.zip(result).map(|(c, bytes)| Payload::new(Content::of(c), bytes));
            self.ended(id, outcome(id, &state, result, row.try_get(5)?));
        }
        self.looked_at(held.iter().chain(&anywhere), link.pooled);
        self.leave(link).await
    }

    /// Those that have not ended are looked at again after a while.
    fn looked_at<'a>(&self, ids: impl Iterator<Item = &'a i64>, pooled: bool) {
        let mut state = lock(&self.state);
        for id in ids {
            if let Some(waited) = state.jobs.get_mut(id) {
                let rings = waited.held && !pooled;
                waited.next = Instant::now() + if rings { POLL } else { waited.pause };
                waited.pause = (waited.pause * 2).min(POLL);
            }
        }
    }

    /// Tells the database what is no longer waited for.
    async fn leave(&self, link: &Link) -> Result<()> {
        let mut left = {
            let mut state = lock(&self.state);
            let State { jobs, left, .. } = &mut *state;
            left.retain(|id| !jobs.contains_key(id));
            std::mem::take(left)
        };
        if left.is_empty() {
            return Ok(());
        }
        let args: &Args<'_> = &[(&left, Type::INT8_ARRAY), (&link.session, Type::INT4)];
        let told = link.query(UNWAIT, args).await;
        told.map(drop).inspect_err(|_| lock(&self.state).left.append(&mut left))
    }

    fn select(&self, which: impl Fn(&Waited) -> bool) -> Vec<i64> {
        lock(&self.state).jobs.iter().filter(|(_, w)| which(w)).map(|(id, _)| *id).collect()
    }

    fn ended(&self, id: i64, ended: Ended) {
        let mut state = lock(&self.state);
        let Some(waited) = state.jobs.remove(&id) else { return };
        state.left.push(id);
        for (_, ear) in waited.ears {
            let _ = ear.send(again(&ended));
        }
    }

    /// The end of everything: whoever waits learns it now.
    fn abort(&self) {
        let mut state = lock(&self.state);
        state.jobs.clear();
        state.looking = false;
    }
}

fn again(ended: &Ended) -> Ended {
    match ended {
        Ok(result) => Ok(result.clone()),
        Err(e) => Err(e.again()),
    }
}

/// What a job's state means for who waits for it.
fn outcome(id: i64, state: &str, result: Option<Payload>, error: Option<String>) -> Ended {
    match state {
        "done" => Ok(result.unwrap_or_default()),
        "dead" => {
            let why = error.unwrap_or_else(|| "its last attempt failed".to_owned());
            Err(Error::new(ErrorKind::Remote, format!("job {id} failed for good: {why}")).with_code("dead"))
        }
        "cancelled" => {
            let why = error.map(|e| format!(": {e}")).unwrap_or_default();
            Err(Error::new(ErrorKind::Cancelled, format!("job {id} was cancelled{why}")))
        }
        _ => {
            let text = format!("no job {id} (never pushed, or done and forgotten)");
            Err(Error::new(ErrorKind::NotFound, text).with_code("TL007"))
        }
    }
}

fn timed_out(id: i64, most: Duration) -> Error {
    Error::new(ErrorKind::TimedOut, format!("job {id} had not ended within {most:?}; it goes on"))
}

/// A job that is waited for. Dropping it leaves the job alone.
#[derive(Debug)]
pub struct Pending {
    id: i64,
    ear: u64,
    told: oneshot::Receiver<Ended>,
    known: Option<Ended>,
    waits: Arc<Waits>,
}

impl Pending {
    /// The job's id.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Waits for the job's end, for so long at most: what it yielded; an empty payload when that was nothing. Failed attempts
    /// are no end, as long as it comes again. Cancel-safe, and can be called again, after a time-out too.
    ///
    /// # Errors
    /// [`ErrorKind::Remote`] with the code `dead` and the last attempt's error when it is a dead letter,
    /// [`ErrorKind::Cancelled`], [`ErrorKind::TimedOut`], which leaves the job alone; [`ErrorKind::NotFound`] for an id that is
    /// unknown, or done and forgotten; [`ErrorKind::Unreachable`] once this handle was closed. While the connection is down it
    /// waits.
    pub async fn wait(&mut self, most: Duration) -> Result<Payload> {
        if self.known.is_none() {
            let told = timeout(most, &mut self.told).await.map_err(|_| timed_out(self.id, most))?;
            self.known = Some(told.unwrap_or_else(|_| Err(closed())));
        }
        self.known.as_ref().map_or_else(|| Err(closed()), again)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut state = lock(&self.waits.state);
        let Some(waited) = state.jobs.get_mut(&self.id) else { return };
        waited.ears.retain(|(ear, _)| *ear != self.ear);
        if waited.ears.is_empty() {
            state.jobs.remove(&self.id);
            state.left.push(self.id);
            self.waits.wake.notify_one();
        }
    }
}

impl Jobs {
    /// Pushes a job and waits for its end, for so long at most, the push included: what it yielded. It is held, so slower than
    /// one of the ring by far; for an answer within moments that may be lost, ask a service ([`requests`](crate::requests)).
    /// Dropping the future leaves the job alone.
    ///
    /// # Errors
    /// As [`Jobs::push`], and as [`Pending::wait`]. To learn the id first, or to wait again: [`Jobs::push_pending`].
    pub async fn push_and_wait(
        &self,
        queue: &str,
        job: impl Into<NewJob>,
        most: Duration,
    ) -> Result<Payload> {
        let began = Instant::now();
        let mut pending = timeout(most, self.push_pending(queue, job)).await.map_err(|_| {
            Error::new(
                ErrorKind::TimedOut,
                format!("no answer within {most:?}; the job may have been pushed"),
            )
        })??;
        pending.wait(most.saturating_sub(began.elapsed())).await.map_err(|e| match e.kind() {
            ErrorKind::TimedOut => timed_out(pending.id, most),
            _ => e,
        })
    }

    /// Pushes a job that is to be waited for: see [`Pending::wait`]. Its result is kept until it was seen here, and for as long
    /// as the queue keeps what is done (`keep_done`). When the future is dropped it may have been pushed.
    ///
    /// # Errors
    /// As [`Jobs::push`].
    pub async fn push_pending(&self, queue: &str, job: impl Into<NewJob>) -> Result<Pending> {
        let (sending, mut job) = (Sending::new("push", queue), job.into());
        sending.mark(&mut job.headers);
        job.check()?;
        let link = self.engine.listener.link().await?;
        let (headers, options) = (encode_headers(&job.headers)?, job.options.encode());
        let (content, bytes) = (i32::from(job.payload.content().code()), job.payload.bytes());
        let (priority, ms) = (i32::from(job.priority), job.delay_ms().unwrap_or(0));
        let args: &Args<'_> = &[
            (&queue, Type::TEXT),
            (&content, Type::INT4),
            (&bytes, Type::BYTEA),
            (&job.kind, Type::TEXT),
            (&job.key, Type::TEXT),
            (&job.unique_key, Type::TEXT),
            (&priority, Type::INT4),
            (&ms, Type::INT8),
            (&job.max_attempts.unwrap_or(0), Type::INT4),
            (&headers, Type::TEXT),
            (&options, Type::TEXT),
            (&link.session, Type::INT4),
        ];
        let rows = sending.run(link.query(PUSH_WAIT, args)).await?;
        let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "a function returned no row"))?;
        self.engine.listener.ring(row.try_get(1)?); // nobody notifies itself
        Ok(self.engine.waits.pending(row.try_get(0)?, Some(link.session)))
    }

    /// Waits for the end of a job that anybody pushed, for so long at most. One that is held, as all are that were pushed to be
    /// waited for or have a key, is told of at once; the end of another one is found by looking, at pauses of up to a second, and
    /// what it yielded is there until its segment of the ring is emptied. Cancel-safe.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub async fn wait(&self, id: i64, most: Duration) -> Result<Payload> {
        self.engine.waits.pending(id, None).wait(most).await
    }
}
