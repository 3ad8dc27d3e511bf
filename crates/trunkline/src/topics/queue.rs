//! The bounded buffer of a subscription: messages and events, in order.
//!
//! Guarantee: what is dropped for want of room is counted, in a gap where it would have been. Events other than messages are few: a
//! connection that comes and goes leaves its last state, and gaps one upon the other are one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::sync::Notify;

use super::{
    look::Position,
    message::{Event, Gap, Message, Turn},
};
use crate::{Error, leases::Lease, listener::lock};

/// What happens to messages for which the buffer has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// They wait in the database, a volatile one for a minute at least, a durable one for ever; nothing is dropped before. A channel keeps
    /// nothing: there it is as [`OnFull::DropNewest`].
    #[default]
    Wait,
    /// The oldest in the buffer go, and a gap tells how many.
    DropOldest,
    /// They go themselves, and a gap tells how many.
    DropNewest,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    taken: Notify,
    most: usize,
    on_full: OnFull,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    messages: usize,
    bytes: usize,
    closed: bool,
    /// What ended it, told last.
    failure: Option<Error>,
    /// Whether messages come only under a lease, and that.
    single: bool,
    /// Of channels, which keep nothing themselves.
    keeps: bool,
    lease: Option<Arc<Lease>>,
    /// What came on channels lately, which whoever is active may not have handled when it dies; also this one.
    kept: VecDeque<Message>,
    /// When the newest came that was dropped from there.
    dropped_at: Option<SystemTime>,
    /// When the newest came that this one handled itself: all since may not have been.
    left_off: Option<SystemTime>,
    /// Behind how many of the messages that are still here a position is: all before was handled once the next is asked for.
    marks: VecDeque<(usize, Position)>,
    /// A message was yielded, and the next one not asked for.
    in_hand: bool,
    /// When that came.
    in_hand_at: Option<SystemTime>,
}

/// The buffer takes no more than this, whatever its size in messages, but always one.
const BYTES: usize = 16 << 20;

/// For so long a standby keeps what comes on channels.
const KEPT: Duration = Duration::from_secs(60);

impl Queue {
    /// With `single`, messages come only under a lease; with `keeps`, those before are kept for when it comes.
    pub(super) fn new(most: usize, on_full: OnFull, single: bool, keeps: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { single, keeps: single && keeps, ..State::default() }),
            arrived: Notify::new(),
            taken: Notify::new(),
            most: most.max(1),
            on_full,
        })
    }

    /// Puts a message in; gives it back when it has to wait.
    pub(super) fn push(&self, message: Message) -> Result<(), Message> {
        let mut state = lock(&self.state);
        if state.closed || !state.may_yield(&message) {
            return Ok(());
        }
        while state.messages >= self.most || state.messages > 0 && state.bytes + message.bytes() > BYTES {
            match self.on_full {
                OnFull::Wait => return Err(message),
                OnFull::DropOldest => state.drop_oldest(),
                OnFull::DropNewest => {
                    let at = message.at();
                    message.given();
                    state.add(Event::Gap(Gap { since: at, until: at, missed: Some(1) }));
                    drop(state);
                    self.arrived.notify_one();
                    return Ok(());
                }
            }
        }
        state.messages += 1;
        state.bytes += message.bytes();
        state.events.push_back(Event::Message(message));
        state.note_oldest();
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts a message in of a channel, which cannot wait. Of a single subscription that stands by, it is kept.
    pub(super) fn push_or_drop(&self, message: Message) {
        let at = message.at();
        let message = {
            let mut state = lock(&self.state);
            if state.keeps {
                state.keep(message.clone(), self.most);
            }
            match state.turn() {
                turn if !state.single || turn.is_some() => message.under(turn.as_ref()),
                _ => return,
            }
        };
        if self.push(message).is_err() {
            self.tell(Event::Gap(Gap { since: at, until: at, missed: Some(1) }));
        }
    }

    /// Puts in what is no message.
    pub(super) fn tell(&self, event: Event) {
        lock(&self.state).add(event);
        self.arrived.notify_one();
    }

    /// From here on messages come, under this lease; first those that were kept from so long ago.
    pub(super) fn activate(&self, lease: Arc<Lease>, since: Option<SystemTime>) {
        let mut state = lock(&self.state);
        state.lease = Some(lease);
        // Nobody knows of another one since: as far as it had come itself.
        let since = since.or(state.left_off);
        let (turn, kept) = (state.turn(), state.kept.clone());
        let missed = state.dropped_at.filter(|at| since.is_some_and(|since| *at >= since));
        if let (Some(until), Some(since)) = (missed, since) {
            state.add(Event::Gap(Gap { since, until, missed: None }));
        }
        for message in kept.into_iter().filter(|m| since.is_none_or(|since| m.at() >= since)) {
            state.messages += 1;
            state.bytes += message.bytes();
            state.events.push_back(Event::Message(message.under(turn.as_ref())));
        }
        state.note_oldest();
        drop(state);
        self.arrived.notify_one();
    }

    /// No message comes any more: what is here goes.
    pub(super) fn deactivate(&self) -> Option<Arc<Lease>> {
        let mut state = lock(&self.state);
        if state.keeps && state.lease.is_some() {
            state.note_oldest();
        }
        state.events.retain(|e| !matches!(e, Event::Message(_)));
        state.marks.clear();
        (state.messages, state.bytes) = (0, 0);
        let lease = state.lease.take();
        drop(state);
        self.taken.notify_waiters();
        lease
    }

    /// All messages up to here were put in: the position is noted with the lease once they are handled.
    pub(super) fn mark(&self, position: &Position) {
        let mut state = lock(&self.state);
        if !state.single {
            return;
        }
        let messages = state.messages;
        if state.marks.back().is_some_and(|(behind, _)| *behind == messages) {
            state.marks.pop_back();
        }
        state.marks.push_back((messages, position.clone()));
        state.note();
    }

    /// What was yielded was handled, though nobody asks for the next one.
    pub(super) fn settle(&self) {
        let mut state = lock(&self.state);
        state.in_hand = false;
        state.left_off = state.in_hand_at.or(state.left_off);
        state.note();
        state.note_oldest();
    }

    /// Waits until what was yielded is handled. Cancel-safe.
    pub(super) async fn handled(&self) {
        loop {
            let taken = self.taken.notified();
            {
                let state = lock(&self.state);
                if state.closed || !state.in_hand {
                    return;
                }
            }
            taken.await;
        }
    }

    /// The next event; none when it was closed and all is told.
    pub(super) async fn next(&self) -> Option<Result<Event, Error>> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = lock(&self.state);
                if std::mem::take(&mut state.in_hand) {
                    state.left_off = state.in_hand_at.or(state.left_off);
                    state.note();
                    self.taken.notify_waiters();
                }
                if let Some(event) = state.take() {
                    state.in_hand_at = match &event {
                        Event::Message(message) => Some(message.at()),
                        _ => None,
                    };
                    state.in_hand = state.in_hand_at.is_some();
                    state.note_oldest();
                    drop(state);
                    self.taken.notify_waiters();
                    return Some(Ok(event));
                }
                state.note_oldest();
                if state.closed {
                    return state.failure.take().map(Err);
                }
            }
            arrived.await;
        }
    }

    /// Waits until at most half of it is used, or it is closed. Cancel-safe.
    pub(super) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            {
                let state = lock(&self.state);
                if state.closed || state.messages <= self.most / 2 && state.bytes <= BYTES / 2 {
                    return;
                }
            }
            taken.await;
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// It was closed, or this turn of a single one is over.
    pub(super) fn is_over(&self, turn: Option<&Turn>) -> bool {
        let state = lock(&self.state);
        let turns = turn.is_none_or(|t| state.lease.as_ref().is_some_and(|l| l.fence() == t.fence));
        state.closed || !turns
    }

    /// Waits until it is over. Cancel-safe.
    pub(super) async fn over(&self, turn: Option<&Turn>) {
        loop {
            let taken = self.taken.notified();
            if self.is_over(turn) {
                return;
            }
            taken.await;
        }
    }

    pub(super) fn is_single(&self) -> bool {
        lock(&self.state).single
    }

    /// Nothing more goes in; what is in it is still told, and then the failure.
    pub(super) fn close(&self, failure: Option<Error>) {
        let mut state = lock(&self.state);
        state.failure = state.failure.take().or(failure.filter(|_| !state.closed));
        state.closed = true;
        drop(state);
        self.arrived.notify_one();
        self.taken.notify_waiters();
    }
}

impl State {
    fn take(&mut self) -> Option<Event> {
        while let Some(event) = self.events.pop_front() {
            let Event::Message(message) = &event else { return Some(event) };
            self.gone(message.bytes());
            if self.may_yield(message) {
                message.given();
                return Some(event);
            }
        }
        None
    }

    /// A message is no longer here.
    fn gone(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
        self.marks.iter_mut().for_each(|(behind, _)| *behind = behind.saturating_sub(1));
    }

    /// Nobody else may have it: of a single subscription, while its lease is valid by this process's clock.
    fn may_yield(&self, message: &Message) -> bool {
        !self.single || self.lease.as_ref().is_some_and(|l| message.fence == Some(l.fence()) && l.is_valid())
    }

    /// The turn of a single one that is active.
    fn turn(&self) -> Option<Turn> {
        let lease = self.lease.as_ref().filter(|l| l.is_valid())?;
        Some(Turn { lease: lease.name().into(), fence: lease.fence() })
    }

    /// Keeps a message for when the one who is active dies; so many at most, of the last minute.
    fn keep(&mut self, message: Message, most: usize) {
        let long_ago = message.at().checked_sub(KEPT);
        self.kept.push_back(message);
        while self.kept.len() > most
            || self.kept.front().is_some_and(|m| long_ago.is_some_and(|then| m.at() < then))
        {
            self.dropped_at = self.kept.pop_front().map(|m| m.at());
        }
    }

    /// When the oldest message came that was not handled.
    fn oldest(&self) -> Option<SystemTime> {
        let waiting = self.events.iter().find_map(|e| match e {
            Event::Message(message) => Some(message.at()),
            _ => None,
        });
        self.in_hand_at.filter(|_| self.in_hand).or(waiting)
    }

    /// Has it noted with the lease how old that is.
    fn note_oldest(&self) {
        if let Some(lease) = self.lease.as_ref().filter(|_| self.keeps) {
            lease.note_age(self.oldest());
        }
    }

    /// Notes the newest position of which all before was handled.
    fn note(&mut self) {
        let mut newest = None;
        while !self.in_hand && self.marks.front().is_some_and(|(behind, _)| *behind == 0) {
            newest = self.marks.pop_front();
        }
        if let (Some((_, position)), Some(lease)) = (newest, &self.lease) {
            lease.note(position.text());
        }
    }

    /// The oldest message goes; a gap stands in its place.
    fn drop_oldest(&mut self) {
        let Some(at) = self.events.iter().position(|e| matches!(e, Event::Message(_))) else { return };
        let Some(Event::Message(message)) = self.events.remove(at) else { return };
        message.given();
        self.gone(message.bytes());
        let gap = Gap { since: message.at(), until: message.at(), missed: Some(1) };
        match at.checked_sub(1).and_then(|before| self.events.get_mut(before)) {
            Some(Event::Gap(known)) => merge(known, &gap),
            _ => self.events.insert(at, Event::Gap(gap)),
        }
    }

    /// Adds what is no message, and keeps it short.
    fn add(&mut self, event: Event) {
        let mut before = self.events.iter().rev().skip(1).skip_while(|e| matches!(e, Event::Gap(_)));
        // Of a connection that comes and goes, and of nothing else, the last state is enough.
        let lost = matches!(before.next(), Some(Event::Lost));
        match (self.events.back_mut(), &event) {
            _ if self.closed => {}
            (Some(Event::Connected), Event::Connected)
            | (Some(Event::Lost), Event::Lost)
            | (Some(Event::Error(_)), Event::Error(_)) => {}
            (Some(Event::Gap(_)), Event::Lost) if lost => {}
            (Some(Event::Connected), Event::Lost) if lost => drop(self.events.pop_back()),
            (Some(Event::Gap(known)), Event::Gap(gap)) => merge(known, gap),
            _ => self.events.push_back(event),
        }
    }
}

/// Two gaps one upon the other are one; how many is known when it is of both.
fn merge(known: &mut Gap, more: &Gap) {
    known.since = known.since.min(more.since);
    known.until = known.until.max(more.until);
    known.missed = known.missed.zip(more.missed).map(|(a, b)| a + b);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::topics::message::Sent;

    fn message(n: u64) -> Message {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        Message::new(Arc::new(Sent { id: n.cast_signed(), at: Some(at), ..Sent::default() }))
    }

    async fn all(queue: &Queue) -> Vec<String> {
        queue.close(None);
        let mut all = Vec::new();
        while let Some(event) = queue.next().await {
            all.push(match event.unwrap() {
                Event::Message(m) => m.id().to_string(),
                Event::Gap(gap) => format!("gap {:?}", gap.missed),
                other => format!("{other:?}"),
            });
        }
        all
    }

    #[tokio::test]
    async fn what_goes_is_counted_where_it_would_have_been() {
        let oldest = Queue::new(2, OnFull::DropOldest, false, false);
        let newest = Queue::new(2, OnFull::DropNewest, false, false);
        for n in 1..=5 {
            oldest.push(message(n)).unwrap();
            newest.push(message(n)).unwrap();
        }
        assert_eq!(all(&oldest).await, ["gap Some(3)", "4", "5"]);
        assert_eq!(all(&newest).await, ["1", "2", "gap Some(3)"]);
    }

    #[tokio::test]
    async fn who_waits_gets_it_back_until_half_is_free() {
        let queue = Queue::new(4, OnFull::Wait, false, false);
        for n in 1..=4 {
            queue.push(message(n)).unwrap();
        }
        assert_eq!(queue.push(message(5)).unwrap_err().id(), 5);
        queue.next().await.unwrap().unwrap();
        let room = queue.room();
        tokio::pin!(room);
        assert!(room.as_mut().now_or_never().is_none(), "one of four is not half");
        queue.next().await.unwrap().unwrap();
        room.await;
    }

    #[tokio::test]
    async fn a_connection_that_comes_and_goes_leaves_its_last_state() {
        let queue = Queue::new(4, OnFull::Wait, false, false);
        for _ in 0..1000 {
            queue.tell(Event::Connected);
            queue.tell(Event::Lost);
        }
        for n in 0..1000 {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
            queue.tell(Event::Gap(Gap { since: at, until: at, missed: None }));
            queue.tell(Event::Connected);
            queue.tell(Event::Lost);
        }
        assert_eq!(all(&queue).await, ["Connected", "Lost", "gap None"]);
    }
}
