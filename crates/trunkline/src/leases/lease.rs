//! A lease in its holder's hands.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::{
    Engine,
    trust::Trust,
    wire::{self, Predecessor},
};
use crate::{
    Error, ErrorKind, Result,
    executor::{Executor, Param},
    listener::{Moment, Presence, closed, lock},
};

/// A timer stands still while the machine is suspended; so soon after it a holder is told at most.
const SLICE: Duration = Duration::from_millis(500);

/// Why a holder is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// Somebody asks it to resign. The lease is valid until it does, which is when it drops it: take the time to finish.
    Asked,
    /// The connection ended, or the database did not answer in time: another may have it within moments.
    Silent,
    /// The database says that it is not this holder's any more.
    Taken,
    /// This handle was closed.
    Closed,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked to resign",
            Self::Silent => "the database did not answer in time",
            Self::Taken => "taken over",
            Self::Closed => "closed",
        })
    }
}

/// What holder and engine share.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) holder: Uuid,
    pub(super) name: String,
    fence: i64,
    state: watch::Sender<State>,
    presence: watch::Receiver<Presence>,
    /// To be noted with the next renewal.
    progress: Mutex<Option<String>>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    trust: Trust,
    over: Option<Loss>,
    asked: bool,
}

impl Hold {
    pub(super) fn new(
        holder: Uuid,
        name: String,
        fence: i64,
        trust: Trust,
        presence: watch::Receiver<Presence>,
    ) -> Self {
        let state = watch::Sender::new(State { trust, over: None, asked: false });
        Self { holder, name, fence, state, presence, progress: Mutex::default() }
    }

    /// Until when it is valid; why it is not, if it is not.
    pub(super) fn until(&self) -> Result<Moment, Loss> {
        let State { trust, over, .. } = *self.state.borrow();
        match over {
            Some(loss) => Err(loss),
            None => trust.until(&self.presence.borrow(), Moment::now()).ok_or(Loss::Silent),
        }
    }

    pub(super) fn renew_at(&self) -> Instant {
        self.state.borrow().trust.renew_at().timer()
    }

    /// A renewal was answered. One that was lost meanwhile stays lost.
    pub(super) fn renewed(&self, asked: Moment) {
        if self.until().is_ok() {
            self.state.send_modify(|s| s.trust.asked = asked);
        }
    }

    pub(super) fn asked_to_resign(&self) {
        self.state.send_if_modified(|s| !std::mem::replace(&mut s.asked, true));
    }

    pub(super) fn over(&self, loss: Loss) {
        self.state.send_if_modified(|s| s.over.is_none() && s.over.replace(loss).is_none());
    }

    /// What is to be noted of its progress, taken.
    pub(super) fn progress(&self) -> Option<String> {
        lock(&self.progress).take()
    }

    /// It could not be noted; unless there is something newer.
    pub(super) fn unnoted(&self, progress: Option<String>) {
        let mut noted = lock(&self.progress);
        *noted = noted.take().or(progress);
    }
}

/// A lease that this process holds. Dropping it resigns.
#[derive(Debug)]
#[must_use = "dropping a lease resigns it"]
pub struct Lease {
    engine: Arc<Engine>,
    hold: Arc<Hold>,
    before: Predecessor,
}

impl Lease {
    pub(super) fn new(engine: Arc<Engine>, hold: Arc<Hold>, before: Predecessor) -> Self {
        Self { engine, hold, before }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.hold.name
    }

    /// Its fence: higher than that of any holder before, and lower than that of any holder after this one.
    #[must_use]
    pub fn fence(&self) -> i64 {
        self.hold.fence
    }

    /// For how long the holder before had given no sign of life when this one took over, its release counting as one: since then at
    /// most nobody acted. None when there was none.
    #[must_use]
    pub fn predecessor_silent(&self) -> Option<Duration> {
        self.before.silent
    }

    /// What the holders before noted last: see [`Lease::note`].
    #[must_use]
    pub fn predecessor_progress(&self) -> Option<&str> {
        self.before.progress.as_deref()
    }

    /// When that was noted, by this machine's clock, rather too early than too late: a holder that died soon after it took over
    /// has noted nothing, and then it is older than that.
    #[must_use]
    pub fn predecessor_noted_at(&self) -> Option<SystemTime> {
        self.before.noted_at
    }

    /// Notes how far this holder has come, for the one after it and for people; at most 1,000 characters are kept. It is
    /// written with the next renewal, or when the lease is released, so what died in between is missing.
    pub fn note(&self, progress: impl Into<String>) {
        *lock(&self.hold.progress) = Some(progress.into().replace('\0', ""));
    }

    /// Whether nobody else can have it at this moment, by this process's clock. For effects in the database use
    /// [`Lease::guard`], which is certain.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.hold.until().is_ok()
    }

    /// Until when it is valid if nothing is heard of the database from now on; none when it is not.
    #[must_use]
    pub fn valid_until(&self) -> Option<std::time::Instant> {
        self.hold.until().ok().map(|until| until.timer().into_std())
    }

    /// Completes when this holder is to stop: before another may start, or because it is asked to resign. Cancel-safe, and can be
    /// called again.
    ///
    /// Of a connection that ended it tells at once, and another may start a quarter of a second later. What was not renewed in
    /// time, by a process that was frozen or cut off, it tells a second (a quarter of a ttl below four) before another may start.
    pub async fn lost(&self) -> Loss {
        let mut state = self.hold.state.subscribe();
        let mut presence = self.hold.presence.clone();
        loop {
            state.borrow_and_update();
            presence.borrow_and_update();
            let until = match self.hold.until() {
                Err(loss) => return loss,
                Ok(_) if state.borrow().asked => return Loss::Asked,
                Ok(until) => until,
            };
            tokio::select! {
                () = sleep_until(until.timer().min(Instant::now() + SLICE)) => {}
                _ = state.changed() => {}
                ended = presence.changed() => if ended.is_err() {
                    return Loss::Closed;
                }
            }
        }
    }

    /// Makes your own transaction fail unless this lease's fence is in force, and keeps it in force until that transaction
    /// ends: a hand-over waits for it. Call it as late as you can, and commit.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`](crate::ErrorKind::Stale) when another has had the lease since: roll back.
    pub async fn guard(&self, executor: &mut impl Executor) -> Result<()> {
        guard(executor, &self.hold.name, self.hold.fence).await
    }

    /// Gives the lease back, and waits until the next one may have it. One that was lost is nobody's to give. Cancel-safe: it is given back all the same.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) once this handle was closed. While the connection is down it waits.
    pub async fn resign(self) -> Result<()> {
        match self.engine.release(&self.hold) {
            Some(released) => released.await.map_err(|_| closed()),
            None => Ok(()),
        }
    }
}

/// Makes a transaction fail unless a lease's fence is in force.
pub(crate) async fn guard(executor: &mut impl Executor, name: &str, fence: i64) -> Result<()> {
    let params = [Param::Text(Some(name)), Param::I64(fence)];
    if executor.scalar(wire::IN_FORCE, &params).await? == 1 {
        return Ok(());
    }
    // It fails now, whatever the caller makes of our answer; and not every driver passes on why.
    match executor.scalar(wire::CHECK, &params).await {
        Err(e) if e.code().is_none() && e.kind() == ErrorKind::Other => {
            Err(Error::new(ErrorKind::Stale, e.to_string()).with_code("TL002"))
        }
        checked => checked.map(drop),
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.engine.release(&self.hold));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::suspend;

    /// A lease that is held, and was renewed just now.
    fn held() -> (Hold, watch::Sender<Presence>) {
        let presence = watch::Sender::new(Presence::new());
        presence.send_modify(|p| p.renewed(Moment::now(), Moment::now()));
        let now = Moment::now();
        let trust = Trust { began: now, asked: now, ttl: Duration::from_secs(15) };
        (Hold::new(Uuid::nil(), "l".to_owned(), 1, trust, presence.subscribe()), presence)
    }

    #[test]
    fn what_a_machine_was_suspended_for_counts() {
        let (hold, _presence) = held();
        assert!(hold.until().is_ok());
        suspend(Duration::from_secs(3));
        assert!(hold.until().is_ok(), "others may not have it yet");
        suspend(Duration::from_secs(2));
        assert_eq!(hold.until(), Err(Loss::Silent), "others may");
    }

    #[test]
    fn a_renewal_that_was_asked_for_before_a_suspension_revives_nothing() {
        let (hold, presence) = held();
        let asked = Moment::now();
        suspend(Duration::from_secs(5));
        presence.send_modify(|p| p.renewed(asked, Moment::now()));
        hold.renewed(asked);
        assert_eq!(hold.until(), Err(Loss::Silent));
    }
}
