//! A member of a consumer: takes its batches, one at a time.
//!
//! ```text
//!   next ──▶ [in hand] ── finish ──▶ done
//!                │ handed back, or its session ended: the same batch comes again, with a new token
//!                ▼
//!            another member has it: finish fails with TL001, and changes nothing
//! ```
//! What if it dies here: after a take, the batch is its session's until that ends (its connection's key, or five seconds
//! without a sign of life); whoever asks next gets it. A take whose answer was lost is found again by the same member.
//!
//! Who finds nothing sleeps on the stream's door, and looks when it rings, when something is due to come again, and twice a minute.
//! Once a second only while others have something in hand: when one of them dies, nobody rings.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_postgres::types::Type;
use tracing::debug;
use uuid::Uuid;

use super::{
    Event,
    pace::Pace,
    read::{Ahead, NEXT_READ, Place, events},
};
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    listener::{Args, Asleep, Bell, Busy, Link, Listener, POLL, lock},
};

const ASK: &str = "select number, door, readable, most from trunkline._stream_ask($1, $2)";
const NEXT: &str =
    "select batch, first_tick, last_tick, attempt from trunkline._stream_next_batch($1, $2, $3, $4, $5)";
const HAND_BACK: &str = "select trunkline._stream_hand_back($1, $2, $3)";
const RETRY: &str = "select trunkline.stream_retry($1, $2, make_interval(secs => $3), $4)";
const CALM: &str = "select trunkline._stream_calm($1)";
const FINISH: &str = "select trunkline.stream_finish($1)::text";
const FINISH_ON: &str = "select coalesce(length(trunkline.stream_finish($1)::text), 0)::bigint";

/// What to do while another member holds the consumer's batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Wait until it is finished, or its holder is gone: of many members one works, the others stand by.
    #[default]
    Wait,
    /// Fail at once with [`ErrorKind::Conflict`].
    Fail,
    /// Take the next batch beside it: the members share the work. Order is kept within a batch, and where the consumer has
    /// `lanes` (`stream_consumer_set`) for each key.
    Share,
    /// Take it over: whoever held it can no longer finish.
    Take,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Wait | Self::Fail => "fail",
            Self::Share => "share",
            Self::Take => "take",
        }
    }
}

/// A member of a consumer. Dropping it, with the batch that it gave, or ending its process hands what it holds to the next
/// who asks.
#[derive(Debug)]
pub struct Consumer {
    listener: Arc<Listener>,
    stream: String,
    name: String,
    mode: Mode,
    most: Option<i32>,
    hand: Arc<Hand>,
    known: Option<Known>,
    /// Of the next batch, if the last take said where it will be.
    ahead: Option<Ahead>,
}

/// A member's hand: when the last who has it lets go of it, and something is in it, that is handed back.
#[derive(Debug)]
struct Hand {
    listener: Arc<Listener>,
    member: String,
    /// The session, the consumer and the door of the batch that was in it last, and may be finished already.
    holds: Mutex<Option<(i32, i32, i32)>>,
    /// While something may be in it: if the process dies, the next member learns of it soon.
    busy: Mutex<Option<Busy>>,
}

impl Hand {
    /// Something is in it, or may be from now on.
    fn is_busy(&self) {
        lock(&self.busy).get_or_insert_with(|| self.listener.busy());
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let held = self.holds.get_mut().ok().and_then(Option::take);
        let (Some((session, consumer, door)), Ok(runtime)) = (held, Handle::try_current()) else { return };
        if *self.listener.closing().borrow() {
            return; // and so ends its session
        }
        let (member, listener) = (std::mem::take(&mut self.member), self.listener.clone());
        let busy = self.busy.get_mut().ok().and_then(Option::take);
        runtime.spawn(async move {
            let _busy = busy;
            let mut pause = Duration::from_millis(10);
            let args: &Args<'_> = &[(&session, Type::INT4), (&consumer, Type::INT4), (&member, Type::TEXT)];
            // Not while somebody finishes it in a transaction, which may be rolled back: nobody else's statement shall wait for that.
            loop {
                let Some(link) = listener.link().await.ok().filter(|l| l.session == session) else { return };
                match link.query(HAND_BACK, args).await {
                    Ok(_) => return listener.ring(door), // a session does not notify itself
                    Err(e)
                        if matches!(e.kind(), ErrorKind::Denied | ErrorKind::Schema | ErrorKind::Epoch) =>
                    {
                        return;
                    }
                    Err(e) => debug!(error = %e, "not handed back"),
                }
                sleep(pause).await;
                pause = (pause * 2).min(POLL);
            }
        });
    }
}

/// A look by one at rest: when nobody hears what it has found, something may be in hand.
struct Unheard(Option<Arc<Hand>>);

impl Drop for Unheard {
    fn drop(&mut self) {
        self.0.iter().for_each(|hand| hand.is_busy());
    }
}

/// What the database said of the consumer, and how it waits.
#[derive(Debug)]
struct Known {
    number: i32,
    door: i32,
    /// The role may read the segments by itself.
    readable: bool,
    bell: Bell,
    asleep: Option<Asleep>,
    pace: Pace,
    /// The look that is to come has no reason but that it is time for one.
    poll: bool,
}

impl Consumer {
    pub(crate) fn new(listener: Arc<Listener>, stream: String, name: String) -> Self {
        let member = Uuid::new_v4().simple().to_string();
        let (holds, busy) = (Mutex::default(), Mutex::default());
        let hand = Arc::new(Hand { listener: listener.clone(), member, holds, busy });
        Self { listener, stream, name, mode: Mode::default(), most: None, hand, known: None, ahead: None }
    }

    /// What to do while another member holds the batch.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How many events a new batch has at most, besides the consumer's own limits; at least 1. What is in hand already
    /// comes again as it was.
    #[must_use]
    pub fn max_events(mut self, most: usize) -> Self {
        self.most = Some(i32::try_from(most.max(1)).unwrap_or(i32::MAX));
        self
    }

    /// The next batch; waits for one. Cancel-safe: a batch that was taken meanwhile comes with the next call.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a stream or consumer that is not there; [`ErrorKind::Conflict`] while another member
    /// holds it ([`Mode::Fail`]); [`ErrorKind::Epoch`] after a restore. While the connection is down it waits.
    pub async fn next(&mut self) -> Result<Batch> {
        let mut anew = false;
        loop {
            if let Some(known) = &self.known {
                sleep_until(known.pace.due()).await; // what comes until then comes with one look
            }
            match self.try_next().await {
                Ok(Some(batch)) => return Ok(batch),
                Ok(None) => {}
                Err(e) if e.kind() == ErrorKind::Conflict && self.mode == Mode::Wait => {}
                // A table, or the consumer, is not there: it was dropped, and may be there again, which who asks anew is told.
                Err(e)
                    if matches!(e.code(), Some("42P01" | "TL001")) && !std::mem::replace(&mut anew, true) =>
                {
                    self.known = None;
                    continue;
                }
                // A busy moment, or a connection that ended: the next look tells.
                Err(e) if e.kind() == ErrorKind::Unreachable && !*self.listener.closing().borrow() => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(e) => return Err(e),
            }
            self.rest().await;
        }
    }

    /// Waits until it is time to look again. While events come one upon the other it stays awake, so that producers need not
    /// ring: a NOTIFY makes their commits wait for each other.
    async fn rest(&mut self) {
        let Some(known) = &mut self.known else { return };
        if !known.asleep.as_ref().is_some_and(|a| a.lasts(&self.listener)) {
            known.asleep = None;
            if known.pace.awake() {
                return sleep(known.pace.pause()).await;
            }
            match self.listener.doze(&[known.door]).await {
                Ok(asleep) => known.asleep = Some(asleep),
                Err(e) => debug!(error = %e, "cannot sleep on the door; looking once a second"),
            }
        }
        let mut pause = POLL;
        if known.asleep.as_ref().is_some_and(Asleep::soundly)
            && !self.listener.watches()
            && let Some(calm) = calm(&self.listener, known.number).await
        {
            pause = calm;
        }
        tokio::select! {
            slept = timeout(pause, known.bell.rung()) => known.poll = slept.is_err(),
            () = self.listener.watching(), if pause > POLL => known.poll = true,
        }
    }

    /// The next batch if there is one now. Cancel-safe, as [`Consumer::next`].
    ///
    /// # Errors
    /// As [`Consumer::next`], and [`ErrorKind::Unreachable`].
    pub async fn try_next(&mut self) -> Result<Option<Batch>> {
        let poll = self.known.as_mut().is_some_and(|known| std::mem::take(&mut known.poll));
        if !poll {
            self.hand.is_busy();
            self.listener.awake().await;
        }
        let link = self.listener.link().await?;
        let known = match &mut self.known {
            Some(known) => known,
            none => {
                let args: &Args<'_> = &[(&self.stream, Type::TEXT), (&self.name, Type::TEXT)];
                let rows = link.query(ASK, args).await?;
                let row =
                    rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "no consumer came back"))?;
                let (number, door, readable) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                let most = if self.mode == Mode::Share { 0 } else { row.try_get(3)? };
                let pace = Pace::new(self.most.map_or(most, |m| m.min(most)));
                let bell = self.listener.bell(door);
                none.insert(Known { number, door, readable, bell, asleep: None, pace, poll: false })
            }
        };
        let args: &Args<'_> = &[
            (&link.session, Type::INT4),
            (&known.number, Type::INT4),
            (&self.mode.word(), Type::TEXT),
            (&self.hand.member, Type::TEXT),
            (&self.most, Type::INT4),
        ];
        let begun = Instant::now();
        // From before the take, whose answer may be lost.
        *lock(&self.hand.holds) = Some((link.session, known.number, known.door));
        let direct = known.readable && link.direct.is_some();
        let mut unheard = Unheard(poll.then(|| self.hand.clone()));
        let rows = link.query(if direct { NEXT_READ } else { NEXT }, args).await;
        if rows.as_ref().err().is_none_or(|e| e.kind() != ErrorKind::Unreachable) {
            unheard.0 = None;
        }
        let rows = rows?;
        let Some(row) = rows.first() else {
            *lock(&self.hand.holds) = None;
            *lock(&self.hand.busy) = None;
            return Ok(None);
        };
        self.hand.is_busy();
        self.listener.awake().await;
        known.asleep = None;
        let token: String = row.try_get(0)?;
        let mut batch = Batch {
            listener: self.listener.clone(),
            hand: self.hand.clone(),
            shares: (self.mode == Mode::Share).then_some(known.door),
            token,
            first_tick: row.try_get(1)?,
            last_tick: row.try_get(2)?,
            attempt: row.try_get(3)?,
            events: Vec::new(),
        };
        if direct && let Some(place) = Place::of(row)? {
            let next = rows.get(1).map(Place::of).transpose()?.flatten();
            batch.events = self.read(&link, place, next).await?;
        }
        if batch.events.is_empty() {
            batch.events = events(&link, &batch.token).await?;
        }
        if let Some(known) = &mut self.known {
            let bytes = batch.events.iter().map(|e| e.payload.bytes().len()).sum();
            known.pace.found(begun, Instant::now(), batch.events.len(), bytes);
        }
        Ok(Some(batch))
    }

    /// The events from where they are, if they were not read ahead; and begins to read where the next batch will be. None
    /// when they have to be asked for.
    async fn read(&mut self, link: &Arc<Link>, place: Place, next: Option<Place>) -> Result<Vec<Event>> {
        let read = self.ahead.take_if(|a| a.is(link, &place));
        self.ahead = self.ahead.take().filter(|a| next.as_ref().is_some_and(|n| a.is(link, n)));
        let mut events = match read {
            Some(_) => Vec::new(),
            None => place.read(link).await?,
        };
        if let Some(next) = next.filter(|_| self.ahead.is_none()) {
            self.ahead = Some(Ahead::start(link, next));
        }
        if let Some(read) = read {
            events = read.events().await;
        }
        Ok(events)
    }
}

/// For how long who has found nothing may sleep: none where only looking tells.
async fn calm(listener: &Listener, consumer: i32) -> Option<Duration> {
    let calm = async { listener.link().await?.value::<Option<i32>>(CALM, &[(&consumer, Type::INT4)]).await };
    let ms = calm.await.inspect_err(|e| debug!(error = %e, "looking once a second")).ok()??;
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// A batch in hand. Until it is finished it comes again; dropping it leaves it to its member's next call.
#[derive(Debug)]
pub struct Batch {
    listener: Arc<Listener>,
    /// Keeps it in the member's hand.
    #[expect(dead_code, reason = "what matters is when it is dropped")]
    hand: Arc<Hand>,
    /// The door of members that share.
    shares: Option<i32>,
    token: String,
    first_tick: i64,
    last_tick: i64,
    attempt: i32,
    events: Vec<Event>,
}

impl Batch {
    /// The events, by id; those that come again have an attempt above 1.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The events, taken out.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The ticks between which its events lie: after the first, up to the last.
    #[must_use]
    pub fn ticks(&self) -> (i64, i64) {
        (self.first_tick, self.last_tick)
    }

    /// 1, or more when the batch was handed out before and not finished.
    #[must_use]
    pub fn attempt(&self) -> i32 {
        self.attempt
    }

    /// The text that names it in SQL: `trunkline.stream_finish(token)`. Whoever knows it may finish the batch.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Tags events to come again after a delay, once the batch is finished; beyond the consumer's `max_attempts` they become
    /// dead letters. The number tagged.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the batch was handed to another.
    pub async fn retry(&self, ids: &[i64], delay: Duration, cause: Option<&str>) -> Result<i32> {
        self.tag(ids, Some(delay.as_secs_f64()), cause).await
    }

    /// Tags events to become dead letters, once the batch is finished. The number tagged.
    ///
    /// # Errors
    /// As [`Batch::retry`].
    pub async fn give_up(&self, ids: &[i64], cause: Option<&str>) -> Result<i32> {
        self.tag(ids, None, cause).await
    }

    async fn tag(&self, ids: &[i64], seconds: Option<f64>, cause: Option<&str>) -> Result<i32> {
        let args: &Args<'_> = &[
            (&self.token, Type::TEXT),
            (&ids, Type::INT8_ARRAY),
            (&seconds, Type::FLOAT8),
            (&cause, Type::TEXT),
        ];
        self.listener.link().await?.value(RETRY, args).await
    }

    /// Finishes it. A second time does nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when it was handed to another meanwhile: nothing was changed.
    pub async fn finish(&self) -> Result<()> {
        loop {
            let link = self.listener.link().await?;
            match link.query(FINISH, &[(&self.token, Type::TEXT)]).await {
                Err(e) if e.kind() == ErrorKind::Unreachable && !*self.listener.closing().borrow() => {
                    sleep(Duration::from_millis(20)).await; // finishing twice is fine
                }
                Err(e) if e.code() == Some("TL017") => return Ok(()), // by us, just before
                Err(e) => return Err(e),
                Ok(_) => {
                    // Others here may wait for its lane, and a session does not notify itself.
                    self.shares.into_iter().for_each(|door| self.listener.ring(door));
                    return Ok(());
                }
            }
        }
    }

    /// Finishes it in your own transaction, together with your writes: exactly once.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when it was handed to another meanwhile, or finished by this same batch before, as after a commit
    /// whose answer was lost: roll back, your writes belong to nobody, or are there already.
    pub async fn finish_on(&self, executor: &mut impl Executor) -> Result<()> {
        executor.scalar(FINISH_ON, &[Param::Text(Some(&self.token))]).await.map(drop)
    }
}
