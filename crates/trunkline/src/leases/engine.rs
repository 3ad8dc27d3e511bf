//! The engine: one task that renews, releases and looks for everything of leases in this process, one statement at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_postgres::types::Type;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    lease::{Hold, Lease, Loss},
    trust::Trust,
    vigil::Vigil,
    watch::Standing,
    wire::{self, Asked, Looked, Mine, Predecessor},
};
use crate::{
    ErrorKind, Result,
    listener::{Args, Bell, Busy, Link, Listener, Moment, lock, turned},
};

/// How often a lease that is watched is looked at, though nobody rang.
const WATCH: Duration = Duration::from_secs(5);
/// How often who waits looks behind a pooler, where it hears no ring.
const UNHEARD: Duration = Duration::from_secs(2);
/// How often who waits looks while a vigil is kept.
const SELDOM: Duration = Duration::from_secs(30);
/// The pause after something failed, or was locked.
const PAUSE: Duration = Duration::from_millis(50);

type Tell = oneshot::Sender<Result<Option<Lease>>>;

/// One who asks for a lease, from the first look on.
#[derive(Debug)]
pub(super) struct Wait {
    asked: Asked,
    tell: Tell,
    /// It was not looked at yet; what is wrong with it is its own.
    fresh: bool,
    /// The next look may take it, so the database is to know before that this process holds something.
    ripe: bool,
    next: Instant,
}

impl Wait {
    pub(super) fn new(name: String, ttl: Duration, held_by: String, waits: bool, tell: Tell) -> Self {
        let asked = Asked { holder: Uuid::nil(), name, held_by, ttl, waits };
        Self { asked, tell, fresh: true, ripe: true, next: Instant::now() }
    }
}

#[derive(Debug)]
struct Release {
    mine: Mine,
    done: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Watched {
    standing: watch::Sender<Option<Standing>>,
    ears: usize,
    next: Instant,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// While anything is held, or may be taken with the next look: nothing is taken without it.
    busy: Option<Busy>,
    waits: HashMap<Uuid, Wait>,
    /// With when each is to be renewed.
    holds: HashMap<Uuid, (Arc<Hold>, Instant)>,
    releases: Vec<Release>,
    /// Who waits no longer; the database is still to be told.
    left: Vec<Uuid>,
    watched: HashMap<String, Watched>,
    unwatched: Vec<String>,
}

impl State {
    /// Who asked waits no longer; a look that is under way, or whose answer was lost, may have given it the lease.
    fn never_mind(&mut self, asked: Asked) {
        self.left.push(asked.holder);
        let mine = Mine { holder: asked.holder, name: asked.name, progress: None };
        self.releases.push(Release { mine, done: None });
    }
}

/// The engine behind all handles of one process.
#[derive(Debug)]
pub(crate) struct Engine {
    listener: Arc<Listener>,
    state: Mutex<State>,
    wake: Notify,
    vigil: Vigil,
    started: OnceLock<()>,
}

impl Engine {
    pub(crate) fn new(listener: Arc<Listener>) -> Arc<Self> {
        let (wake, vigil) = (Notify::new(), Vigil::new());
        Arc::new(Self { listener, state: Mutex::default(), wake, vigil, started: OnceLock::new() })
    }

    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    fn woken(self: &Arc<Self>) {
        self.started.get_or_init(|| drop(tokio::spawn(self.clone().run())));
        self.wake.notify_one();
    }

    /// Begins to ask; dropping `wait`'s receiver and [`Engine::give_up`] end it.
    pub(super) fn wait(self: &Arc<Self>, holder: Uuid, mut wait: Wait) {
        wait.asked.holder = holder;
        let mut state = lock(&self.state);
        if state.closed {
            return; // and its receiver learns it
        }
        state.waits.insert(holder, wait);
        drop(state);
        self.woken();
    }

    pub(super) fn give_up(&self, holder: Uuid) {
        let mut state = lock(&self.state);
        if let Some(wait) = state.waits.remove(&holder).filter(|w| !w.fresh) {
            state.never_mind(wait.asked);
            self.wake.notify_one();
        }
    }

    /// Gives a lease back, once; completes when the database has it. None when that was done, or it was lost.
    pub(super) fn release(&self, hold: &Hold) -> Option<oneshot::Receiver<()>> {
        let (done, released) = oneshot::channel();
        let mut state = lock(&self.state);
        state.holds.remove(&hold.holder)?;
        hold.over(Loss::Closed);
        let mine = Mine { holder: hold.holder, name: hold.name.clone(), progress: hold.progress() };
        state.releases.push(Release { mine, done: Some(done) });
        self.wake.notify_one();
        Some(released)
    }

    pub(super) fn watch(self: &Arc<Self>, name: &str) -> watch::Receiver<Option<Standing>> {
        let mut state = lock(&self.state);
        state.unwatched.retain(|n| n != name);
        let watched = state.watched.entry(name.to_owned()).or_insert_with(|| Watched {
            standing: watch::Sender::new(None),
            ears: 0,
            next: Instant::now(),
        });
        watched.ears += 1;
        let mut standing = watched.standing.subscribe();
        if standing.borrow().is_some() {
            standing.mark_changed();
        }
        drop(state);
        self.woken();
        standing
    }

    pub(super) fn unwatch(&self, name: &str) {
        let mut state = lock(&self.state);
        let Some(watched) = state.watched.get_mut(name) else { return };
        watched.ears -= 1;
        if watched.ears == 0 {
            state.watched.remove(name);
            state.unwatched.push(name.to_owned());
            self.wake.notify_one();
        }
    }

    pub(super) async fn resign(&self, sql: &'static str, name: &str, force: bool) -> Result<bool> {
        let link = self.listener.link().await?;
        let args: &Args<'_> = &[(&name, Type::TEXT), (&force, Type::BOOL)];
        let held = link.value(sql, args).await;
        self.listener.ring(link.door()); // nobody notifies itself
        held
    }

    /// Releases everything, for a second at most; who waits learns that it is over.
    pub(crate) async fn finished(&self) {
        let released: Vec<_> = {
            let holds: Vec<_> = lock(&self.state).holds.values().map(|(h, _)| h.clone()).collect();
            holds.iter().filter_map(|hold| self.release(hold)).collect()
        };
        let waits = std::mem::take(&mut lock(&self.state).waits);
        lock(&self.state).left.extend(waits.keys());
        let all = futures_util::future::join_all(released);
        let _ = timeout(Duration::from_secs(1), all).await;
        lock(&self.state).closed = true;
    }

    async fn run(self: Arc<Self>) {
        let mut closing = self.listener.closing();
        tokio::select! {
            () = self.rounds() => {}
            () = self.vigil.keep(&self.listener, || self.waits_are_due()) => {}
            () = turned(&mut closing) => {}
        }
        let ended = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut *state)
        };
        lock(&self.state).closed = true;
        for (hold, _) in ended.holds.values() {
            hold.over(Loss::Closed);
        }
    }

    async fn rounds(self: &Arc<Self>) {
        let mut bell: Option<(i32, Bell)> = None;
        let mut generation = 0;
        loop {
            let Ok(link) = self.listener.link().await else { return };
            if bell.as_ref().is_none_or(|b| b.0 != link.session) {
                bell = Some((link.session, self.listener.door(link.door()))); // before the look
            }
            let Some((_, ear)) = &mut bell else { return };
            if ear.has_rung() || generation != link.generation {
                self.everything_is_due();
            }
            generation = link.generation;
            if let Err(e) = self.round(&link).await {
                debug!(error = %e, "leases: a statement failed; trying again");
                sleep(PAUSE).await;
                continue;
            }
            let next = self.next();
            tokio::select! {
                () = ear.rung() => self.everything_is_due(),
                () = self.wake.notified() => {}
                () = async { match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                } } => {}
            }
        }
    }

    /// Who was rung, or is connected anew, looks at all it has to do with.
    fn everything_is_due(&self) {
        let (mut state, now) = (lock(&self.state), Instant::now());
        state.waits.values_mut().for_each(|w| w.next = now);
        state.holds.values_mut().for_each(|h| h.1 = now);
        state.watched.values_mut().for_each(|w| w.next = now);
    }

    fn waits_are_due(&self) {
        let now = Instant::now();
        lock(&self.state).waits.values_mut().for_each(|w| w.next = now);
        self.wake.notify_one();
    }

    fn next(&self) -> Option<Instant> {
        let state = lock(&self.state);
        let busy = !state.releases.is_empty() || !state.left.is_empty() || !state.unwatched.is_empty();
        let waits = state.waits.values().map(|w| w.next);
        let holds = state.holds.values().map(|h| h.1);
        let all = waits.chain(holds).chain(state.watched.values().map(|w| w.next));
        all.chain(busy.then(|| Instant::now() + PAUSE / 2)).min()
    }

    async fn round(self: &Arc<Self>, link: &Arc<Link>) -> Result<()> {
        self.renew(link).await?;
        self.let_go(link).await?;
        self.busy().await;
        self.look(link).await?;
        self.calm();
        self.observe(link).await
    }

    /// Renews what is due, in one statement.
    async fn renew(&self, link: &Link) -> Result<()> {
        let now = Instant::now();
        let due: Vec<Arc<Hold>> = {
            let state = lock(&self.state);
            state.holds.values().filter(|(_, at)| *at <= now).map(|(h, _)| h.clone()).collect()
        };
        let (due, over): (Vec<_>, Vec<_>) = due.into_iter().partition(|h| h.until().is_ok());
        over.iter().for_each(|hold| self.lost(hold, Loss::Silent));
        if due.is_empty() {
            return Ok(());
        }
        let mine: Vec<Mine> = due
            .iter()
            .map(|h| Mine { holder: h.holder, name: h.name.clone(), progress: h.progress() })
            .collect();
        let asked = Moment::now();
        let answers = wire::renew(link, &mine).await.inspect_err(|e| {
            // What the database's encoding does not have is not noted.
            let kept = due.iter().zip(&mine).filter(|_| e.kind() != ErrorKind::Invalid);
            kept.for_each(|(hold, m)| hold.unnoted(m.progress.clone()));
        })?;
        for (n, held, resign) in answers {
            let (Some(hold), Some(mine)) = (due.get(n), mine.get(n)) else { continue };
            match held {
                Some(true) => hold.renewed(asked),
                Some(false) => self.lost(hold, Loss::Taken),
                None => hold.unnoted(mine.progress.clone()),
            }
            if resign {
                hold.asked_to_resign();
            }
            let next = if held.is_some() { hold.renew_at() } else { Instant::now() + PAUSE };
            if let Some((_, at)) = lock(&self.state).holds.get_mut(&hold.holder) {
                *at = next;
            }
        }
        Ok(())
    }

    /// A lease was lost: its holder is told, and the database that nobody means to keep it.
    fn lost(&self, hold: &Hold, loss: Loss) {
        warn!(lease = hold.name, reason = %loss, "lost");
        hold.over(loss);
        drop(self.release(hold));
    }

    /// Releases, and leaves queues.
    async fn let_go(&self, link: &Link) -> Result<()> {
        let left = lock(&self.state).left.clone();
        if !left.is_empty() {
            wire::leave(link, &left).await?;
            lock(&self.state).left.retain(|h| !left.contains(h));
        }
        let mine: Vec<Mine> = lock(&self.state).releases.iter().map(|r| r.mine.clone()).collect();
        if mine.is_empty() {
            return Ok(());
        }
        let done = wire::release(link, &mine).await.inspect_err(|e| {
            if e.kind() == ErrorKind::Invalid {
                lock(&self.state).releases.iter_mut().for_each(|r| r.mine.progress = None);
            }
        })?;
        let mut state = lock(&self.state);
        let released: Vec<_> = state.releases.extract_if(.., |r| done.contains(&r.mine.holder)).collect();
        for release in released {
            // Nobody notifies itself.
            let now = Instant::now();
            let name = &release.mine.name;
            state.waits.values_mut().filter(|w| w.asked.name == *name).for_each(|w| w.next = now);
            if let Some(watched) = state.watched.get_mut(name) {
                watched.next = now;
            }
            release.done.map(|done| done.send(()));
        }
        Ok(())
    }

    /// Lets the database know whether anything is held or may be taken, before anything is.
    async fn busy(&self) {
        if self.calm() {
            return;
        }
        lock(&self.state).busy.get_or_insert_with(|| self.listener.holding());
        self.listener.awake().await;
    }

    /// Whether nothing is held, nor may be taken; the database is told in a while.
    fn calm(&self) -> bool {
        let mut state = lock(&self.state);
        let calm = state.holds.is_empty() && !state.waits.values().any(|w| w.ripe);
        if calm {
            state.busy = None;
        }
        calm
    }

    /// Looks for those who ask: the fresh ones each by itself, so that what is wrong with one is its own; the others together.
    async fn look(self: &Arc<Self>, link: &Arc<Link>) -> Result<()> {
        let now = Instant::now();
        let (fresh, due): (Vec<(bool, Asked)>, Vec<_>) = {
            let state = lock(&self.state);
            // Who came after the process last said that it is busy has its look in the next round.
            let due = state.waits.values().filter(|w| w.next <= now && (!w.ripe || state.busy.is_some()));
            due.map(|w| (w.fresh, w.asked.clone())).partition(|(fresh, _)| *fresh)
        };
        for (_, asked) in fresh {
            match self.looked(link, std::slice::from_ref(&asked)).await {
                Err(e) if e.code() == Some("55P03") => {} // something is locked just now
                Err(e) if e.kind() == ErrorKind::Unreachable && asked.waits => return Err(e),
                Err(e) => self.answer(asked.holder, Err(e)),
                Ok(()) => {}
            }
        }
        let due: Vec<Asked> = due.into_iter().map(|(_, asked)| asked).collect();
        if due.is_empty() { Ok(()) } else { self.looked(link, &due).await }
    }

    async fn looked(self: &Arc<Self>, link: &Arc<Link>, due: &[Asked]) -> Result<()> {
        let began = Moment::now();
        let answers = wire::look(link, due).await.inspect_err(|_| self.given_up(due))?;
        for (n, looked) in answers {
            let Some(asked) = due.get(n) else { continue };
            match looked {
                Looked::Granted { fence, before } => {
                    let trust = Trust { began, asked: began, ttl: asked.ttl };
                    let lease = self.granted(asked, fence, trust, before);
                    self.answer(asked.holder, Ok(Some(lease)));
                }
                Looked::Again { ripe: false, .. } if !asked.waits => self.answer(asked.holder, Ok(None)),
                Looked::Again { after, ripe, vigil } => {
                    let kept = vigil && self.vigil.wanted();
                    let after = match (kept, link.pooled) {
                        (true, _) => SELDOM,
                        (_, true) => after.min(UNHEARD),
                        _ => after,
                    };
                    if let Some(wait) = lock(&self.state).waits.get_mut(&asked.holder) {
                        (wait.fresh, wait.ripe, wait.next) = (false, ripe, Instant::now() + after);
                    }
                }
            }
        }
        self.given_up(due);
        Ok(())
    }

    /// Those of them who gave up while a look was under way.
    fn given_up(&self, looked: &[Asked]) {
        let mut state = lock(&self.state);
        for asked in looked.iter().filter(|a| a.waits) {
            if !state.waits.contains_key(&asked.holder) && !state.holds.contains_key(&asked.holder) {
                state.never_mind(asked.clone());
            }
        }
    }

    fn granted(self: &Arc<Self>, asked: &Asked, fence: i64, trust: Trust, before: Predecessor) -> Lease {
        let presence = self.listener.presence();
        let hold = Arc::new(Hold::new(asked.holder, asked.name.clone(), fence, trust, presence));
        let mut state = lock(&self.state);
        state.holds.insert(asked.holder, (hold.clone(), trust.renew_at().timer()));
        if let Some(watched) = state.watched.get_mut(&asked.name) {
            watched.next = Instant::now();
        }
        debug!(lease = asked.name, fence, "held");
        Lease::new(self.clone(), hold, before)
    }

    /// Tells who asked; a lease that nobody waits for any more is dropped, and so resigned.
    fn answer(&self, holder: Uuid, answer: Result<Option<Lease>>) {
        let wait = lock(&self.state).waits.remove(&holder);
        if let Some(wait) = wait {
            if answer.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unreachable) {
                lock(&self.state).never_mind(wait.asked);
            }
            let _ = wait.tell.send(answer);
        }
    }

    /// Looks at what is watched.
    async fn observe(&self, link: &Link) -> Result<()> {
        let gone = lock(&self.state).unwatched.clone();
        if !gone.is_empty() {
            wire::unwatch(link, &gone).await?;
            lock(&self.state).unwatched.retain(|n| !gone.contains(n));
        }
        let now = Instant::now();
        let due: Vec<String> = {
            let state = lock(&self.state);
            state.watched.iter().filter(|(_, w)| w.next <= now).map(|(n, _)| n.clone()).collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        for (name, standing) in wire::watch(link, &due).await? {
            if let Some(watched) = lock(&self.state).watched.get_mut(&name) {
                watched.next = Instant::now() + WATCH;
                watched.standing.send_if_modified(|known| {
                    let new = known.as_ref() != Some(&standing);
                    *known = Some(standing);
                    new
                });
            }
        }
        Ok(())
    }
}
