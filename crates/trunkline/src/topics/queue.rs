//! The bounded buffer of a subscription: messages and events, in order.
//!
//! Guarantee: what is dropped for want of room is counted, in a gap where it would have been. Events other than messages are few: a
//! connection that comes and goes leaves its last state, and gaps one upon the other are one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

use super::{
    gaps::Gaps,
    kept::{Kept, Place},
    look::Position,
    message::{Event, Gap, Message, OnFull, Turn},
};
use crate::{
    Error, Result,
    leases::Lease,
    listener::{closed, lock},
};

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
    lease: Option<Arc<Lease>>,
    /// A lease that is given up once what is in hand is handled.
    leaving: Option<Arc<Lease>>,
    /// Of channels, which keep nothing themselves: what whoever is active may not have handled when it dies; also this one.
    kept: Option<Kept>,
    /// Behind the newest of that which this one has handled.
    handled: Option<Place>,
    /// Whoever asks for the next event has got them all.
    idle: bool,
    /// Behind how many of the messages that are still here a position is: all before was handled once the next is asked for.
    marks: VecDeque<(usize, Position)>,
    /// A message or a gap was yielded, and the next one not asked for.
    in_hand: bool,
    /// Under which fence, and behind it.
    place_in_hand: Option<(i64, Place)>,
    gaps: Arc<Gaps>,
}

/// The buffer takes no more than this, whatever its size in messages, but always one.
const BYTES: usize = 16 << 20;

impl Queue {
    /// With `single`, messages come only under a lease; what is kept is for when it comes.
    pub(super) fn new(most: usize, on_full: OnFull, single: bool, kept: Option<Kept>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { single, kept, ..State::default() }),
            arrived: Notify::new(),
            taken: Notify::new(),
            most: most.max(1),
            on_full,
        })
    }

    /// Puts a message in; gives it back when it has to wait.
    pub(super) fn push(&self, message: Message) -> Result<(), Message> {
        lock(&self.state).put(message, self.most, self.on_full)?;
        self.arrived.notify_one();
        Ok(())
    }

    /// Puts a message in of a channel, which cannot wait. Of a single subscription that stands by, it is kept.
    pub(super) fn push_or_drop(&self, message: Message) {
        let at = message.at();
        let mut state = lock(&self.state);
        let message = match &mut state.kept {
            Some(kept) => kept.keep(message, self.most),
            None => message,
        };
        let turn = state.turn();
        if state.single && turn.is_none() {
            return;
        }
        if state.put(message.under(turn.as_ref()), self.most, self.on_full).is_err() {
            state.add(Event::dropped(at));
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// On channels something else came than a message for this one.
    pub(super) fn hear(&self, heard: impl FnOnce(&mut Kept)) {
        let mut state = lock(&self.state);
        if let Some(kept) = &mut state.kept {
            heard(kept);
            state.note_place();
            self.taken.notify_waiters();
        }
    }

    /// Waits until all that comes on its channels is heard, and others know from where on. Cancel-safe.
    ///
    /// # Errors
    /// It was closed.
    pub(super) async fn placed(&self) -> Result<()> {
        self.until(|state| state.closed || state.kept.as_ref().is_none_or(Kept::is_placed)).await;
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    /// Puts in what is no message.
    pub(super) fn tell(&self, event: Event) {
        lock(&self.state).add(event);
        self.arrived.notify_one();
    }

    /// From here on messages come, under this lease; of channels first those that the ones before had not handled.
    pub(super) fn activate(&self, lease: Arc<Lease>) {
        let mut state = lock(&self.state);
        state.lease = Some(lease.clone());
        let turn = state.turn();
        if let Some(kept) = &state.kept {
            let rest = kept.rest(lease.predecessor_progress(), state.handled);
            state.handled = rest.from;
            if let Some(until) = rest.missed {
                let since = lease.predecessor_noted_at().unwrap_or(until).min(until);
                state.add(Event::Gap(Gap { since, until, missed: None }));
            }
            for message in rest.messages {
                state.messages += 1;
                state.bytes += message.bytes();
                state.events.push_back(Event::Message(message.under(turn.as_ref())));
            }
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// No message comes any more: what is here goes. The lease is kept until [`Queue::let_go`].
    pub(super) fn deactivate(&self) {
        let mut state = lock(&self.state);
        state.events.retain(|e| !matches!(e, Event::Message(_)));
        state.marks.clear();
        (state.messages, state.bytes) = (0, 0);
        state.leaving = state.lease.take().or(state.leaving.take());
        drop(state);
        self.taken.notify_waiters();
    }

    /// What is handled from now on is not noted.
    pub(super) fn let_go(&self) {
        let lease = lock(&self.state).leaving.take();
        drop(lease);
    }

    /// All messages of this turn up to here were put in: the position is noted with the lease once they are handled.
    pub(super) fn mark(&self, position: &Position, turn: Option<&Turn>) {
        let mut state = lock(&self.state);
        if !state.single || state.is_over(turn) {
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
        lock(&self.state).settle();
    }

    /// Waits until what was yielded is handled. Cancel-safe.
    pub(super) async fn handled(&self) {
        self.until(|state| state.closed || !state.in_hand).await;
    }

    /// The next event; none when it was closed and all is told.
    pub(super) async fn next(&self) -> Option<Result<Event>> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = lock(&self.state);
                if state.in_hand {
                    state.settle();
                    self.taken.notify_waiters();
                }
                if let Some(event) = state.take() {
                    state.idle = false;
                    drop(state);
                    self.taken.notify_waiters();
                    return Some(Ok(event));
                }
                state.idle = true;
                state.note_place();
                if state.closed {
                    return state.failure.take().map(Err);
                }
            }
            arrived.await;
        }
    }

    /// Waits until at most half of it is used, or it is closed. Cancel-safe.
    pub(super) async fn room(&self) {
        let half = self.most / 2;
        self.until(|state| state.closed || state.messages <= half && state.bytes <= BYTES / 2).await;
    }

    pub(super) fn gaps(&self) -> Arc<Gaps> {
        lock(&self.state).gaps.clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// It was closed, or this turn of a single one is over.
    pub(super) fn is_over(&self, turn: Option<&Turn>) -> bool {
        lock(&self.state).is_over(turn)
    }

    /// Waits until it is over. Cancel-safe.
    pub(super) async fn over(&self, turn: Option<&Turn>) {
        self.until(|state| state.is_over(turn)).await;
    }

    /// Waits for what comes of taking, of a turn's end, or of a mark. Cancel-safe.
    async fn until(&self, met: impl Fn(&State) -> bool) {
        loop {
            let taken = self.taken.notified();
            if met(&lock(&self.state)) {
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
        state.gaps.end();
        drop(state);
        self.arrived.notify_one();
        self.taken.notify_waiters();
    }
}

impl State {
    fn is_over(&self, turn: Option<&Turn>) -> bool {
        let turns = turn.is_none_or(|t| self.lease.as_ref().is_some_and(|l| l.fence() == t.fence));
        self.closed || !turns
    }

    fn take(&mut self) -> Option<Event> {
        while let Some(event) = self.events.pop_front() {
            let Event::Message(message) = &event else {
                self.in_hand = matches!(event, Event::Gap(_));
                return Some(event);
            };
            self.gone(message.bytes());
            if self.may_yield(message) {
                message.given();
                self.in_hand = true;
                self.place_in_hand = message.fence.zip(message.place);
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

    /// Puts a message in; gives it back when it has to wait.
    fn put(&mut self, message: Message, most: usize, on_full: OnFull) -> Result<(), Message> {
        if self.closed || !self.may_yield(&message) {
            return Ok(());
        }
        while self.messages >= most || self.messages > 0 && self.bytes + message.bytes() > BYTES {
            match on_full {
                OnFull::Wait => return Err(message),
                OnFull::DropOldest => self.drop_oldest(),
                OnFull::DropNewest => {
                    let at = message.at();
                    message.given();
                    self.add(Event::dropped(at));
                    return Ok(());
                }
            }
        }
        self.messages += 1;
        self.bytes += message.bytes();
        self.events.push_back(Event::Message(message));
        Ok(())
    }

    /// What was yielded is handled.
    fn settle(&mut self) {
        self.in_hand = false;
        self.note();
        if let Some((fence, place)) = self.place_in_hand.take() {
            // What was handled by one who is stale may have had no effect.
            let mut leases = self.lease.iter().chain(&self.leaving);
            if leases.any(|l| l.fence() == fence && l.is_valid()) {
                self.handled = Some(place);
                self.note_place();
            }
        }
    }

    /// Notes with the lease behind what of the channels all is handled.
    fn note_place(&mut self) {
        let Some(kept) = &self.kept else { return };
        // As long as its lease is valid nothing was left out.
        if self.idle && self.events.is_empty() && self.lease.as_ref().is_some_and(|l| l.is_valid()) {
            self.handled = Some(kept.here());
        }
        let noted = self.handled.and_then(|place| kept.said(place));
        if let (Some(noted), Some(lease)) = (noted, self.lease.as_ref().or(self.leaving.as_ref())) {
            lease.note(noted);
        }
    }

    /// Notes the newest position of which all before was handled. Once its lease is over nothing is: what comes then is left out.
    fn note(&mut self) {
        if let (Some(position), Some(lease)) = (self.settled(), self.lease.as_ref().filter(|l| l.is_valid()))
        {
            lease.note(position.text());
        }
    }

    /// The newest position of which all before was handled, and each gap was heard of.
    fn settled(&mut self) -> Option<Position> {
        let mut untold = self.events.iter().take_while(|e| !matches!(e, Event::Message(_)));
        if self.in_hand || untold.any(|e| matches!(e, Event::Gap(_))) {
            return None;
        }
        let mut newest = None;
        while self.marks.front().is_some_and(|(behind, _)| *behind == 0) {
            newest = self.marks.pop_front();
        }
        newest.map(|(_, position)| position)
    }

    /// The oldest message goes; a gap stands in its place.
    fn drop_oldest(&mut self) {
        let Some(at) = self.events.iter().position(|e| matches!(e, Event::Message(_))) else { return };
        let Some(Event::Message(message)) = self.events.remove(at) else { return };
        message.given();
        self.gone(message.bytes());
        let gap = Gap { since: message.at(), until: message.at(), missed: Some(1) };
        match at.checked_sub(1).and_then(|before| self.events.get_mut(before)) {
            Some(Event::Gap(known)) => known.merge(&gap),
            _ => {
                self.gaps.add();
                self.events.insert(at, Event::Gap(gap));
            }
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
            (Some(Event::Gap(known)), Event::Gap(gap)) => known.merge(gap),
            (_, Event::Gap(_)) => {
                self.gaps.add();
                self.events.push_back(event);
            }
            _ => self.events.push_back(event),
        }
    }
}

#[cfg(test)]
mod tests;
