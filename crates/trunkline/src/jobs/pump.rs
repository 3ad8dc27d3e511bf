//! A worker's loop: one look and one batch of ends in flight, and whatever ends meanwhile goes into the next.
//!
//! ```text
//!            look: ≤ free slots              handler, no transaction open        ends, many in one statement
//!  bell ──▶ jobs, and the slices they are of ───────────────────▶ verdict ──────────────────────────▶ accepted
//!   due ──▶        │                                                  └── refused: handed on meanwhile, or carried to
//!   poll           ▼ nothing: doze on the queues' doors                     where jobs are held: once more there
//! ```
//! Guarantees: no more is taken than there are free slots; no transaction is open while a handler runs; what ended is written
//! at once, or when the connection is back, and is on the disk ten milliseconds later; a stale end changes nothing.
//!
//! What if it dies here: what was taken comes again once the session is buried (`_job_abandon_e0`), its attempt counted; a take
//! whose answer was lost is given back by its token; an end whose answer was lost is written again, and is the same.

mod exchange;
mod idle;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

pub(super) use self::exchange::token;
use super::{
    Job, Work,
    attempt::Perform,
    cursor::Cursors,
    hand::{Ends, Hand, Verdict},
    signs::{Attempt, Signs},
    wire::{self, Claim, Look, Queue, Taken},
    work::Stop,
};
use crate::{
    ErrorKind, Result,
    listener::{Asleep, Bell, Busy, Link, Listener, Works},
};

/// Behind the bell stands a look from time to time; without a bell, behind a pooler, it is all there is.
const POLL: Duration = Duration::from_secs(30);
const POOLED: Duration = Duration::from_millis(500);
/// For so long a job that was done may be in memory alone: commits of many share one wait for the disk.
const LAZY: Duration = Duration::from_millis(8);
/// How often jobs that run are looked up for having been cancelled.
const WATCH: Duration = Duration::from_millis(500);
/// How long what is due, and could not be taken, is let be.
const PATIENCE: Duration = Duration::from_millis(250);
/// After so many looks that found something at once nobody rings for us.
const AWAKE: u32 = 8;
/// Where so many jobs come in a [`SPELL`], a look waits for more of them: beyond it each costs more than it is early.
const MANY: usize = 20;
const SPELL: Duration = Duration::from_millis(10);
/// After so many looks the least urgent jobs go first, once the function is asked again: a tenth of a second later at most.
const FAIR: u32 = 16;
/// The most that one look takes: a slice's row is one page at most.
const MOST: usize = 900;
/// How long to stand back where a stranger keeps a lane's key; then it is taken from without, which is as safe.
const POLITE: Duration = Duration::from_secs(1);

/// What tells the loop to go on.
#[derive(Debug)]
enum Word {
    /// A handler is through: its job's slot is free.
    Through(i64, Claim, Verdict),
    /// What a handler's own transaction did was looked up.
    Checked(i64, Claim, Verdict),
    /// Ends that are to be tried once more.
    Again(Ends),
}

/// A job that runs.
struct Running {
    claim: Claim,
    attempt: Attempt,
    abort: AbortHandle,
}

/// One worker.
pub(super) struct Pump {
    listener: Arc<Listener>,
    options: Work,
    run: Perform,
    stop: watch::Receiver<Stop>,
    closing: watch::Receiver<bool>,
    queues: Vec<Queue>,
    ids: Vec<i32>,
    names: HashMap<i32, Arc<str>>,
    /// The queues' own number of attempts.
    usual: HashMap<i32, i32>,
    bells: Vec<Bell>,
    asleep: Vec<Asleep>,
    words: mpsc::UnboundedSender<Word>,
    heard: mpsc::UnboundedReceiver<Word>,
    running: HashMap<i64, Running>,
    /// What is told of it.
    works: Arc<Works>,
    /// Jobs whose handler ended them in a transaction of its own, until that was looked up; and ends that were put off.
    checking: usize,
    hand: Hand,
    cursors: Cursors,
    /// Tokens of takes whose answer never came.
    owed: Vec<i64>,
    /// Something may be there.
    look: bool,
    /// The look that is to come, or came last, was made with nothing in hand: when it finds nothing, all is drained.
    sure: bool,
    looks: u32,
    /// Of them, when the least urgent last went first.
    fair_at: u32,
    streak: u32,
    /// Since when jobs are counted, how many came since, and whether many came in the spell before.
    spell: (Instant, usize, bool),
    generation: u64,
    watched: Instant,
    /// Since when something that was done is not known to be on the disk.
    unflushed: Option<Instant>,
    /// While anything is in hand, or may be.
    busy: Option<Busy>,
    /// The look that is to come has no reason but that it is time for one.
    poll: bool,
    polite_since: Option<Instant>,
    /// The last step failed, and that was said.
    failing: bool,
    deadline: Option<Instant>,
}

impl Pump {
    pub(super) fn new(
        listener: Arc<Listener>,
        options: Work,
        run: Perform,
        (stop, closing): (watch::Receiver<Stop>, watch::Receiver<bool>),
    ) -> Self {
        let (words, heard) = mpsc::unbounded_channel();
        let works = listener.works(&options.queues);
        Self {
            listener,
            options,
            run,
            stop,
            closing,
            queues: Vec::new(),
            ids: Vec::new(),
            names: HashMap::new(),
            usual: HashMap::new(),
            bells: Vec::new(),
            asleep: Vec::new(),
            words,
            heard,
            running: HashMap::new(),
            works,
            checking: 0,
            hand: Hand::default(),
            cursors: Cursors::default(),
            owed: Vec::new(),
            look: true,
            sure: false,
            looks: 0,
            fair_at: 0,
            streak: 0,
            spell: (Instant::now(), 0, false),
            generation: 0,
            watched: Instant::now(),
            unflushed: None,
            busy: None,
            poll: false,
            polite_since: None,
            failing: false,
            deadline: None,
        }
    }

    /// Works until it is told to stop, or what keeps it from working can never heal.
    pub(super) async fn run(mut self) -> Result<()> {
        let ended = self.work().await;
        self.give_up();
        let _ = timeout(Duration::from_secs(5), self.write()).await;
        ended
    }

    async fn work(&mut self) -> Result<()> {
        loop {
            while let Ok(word) = self.heard.try_recv() {
                self.note(word);
            }
            self.works.has(self.running.len());
            let stop = *self.stop.borrow();
            match stop {
                _ if *self.closing.borrow() => return Ok(()),
                Stop::Now => return Ok(()),
                Stop::Drain if self.running.is_empty() && self.checking == 0 && self.hand.is_empty() => {
                    return Ok(());
                }
                Stop::Drain if self.deadline.is_none() => {
                    self.deadline = Some(Instant::now() + self.options.grace);
                    self.asleep.clear();
                }
                Stop::Drain if self.deadline.is_some_and(|d| d <= Instant::now()) => return Ok(()),
                _ if self.through() => return Ok(()),
                _ => {}
            }
            if self.bells.iter_mut().fold(false, |rung, bell| bell.has_rung() | rung) {
                (self.look, self.poll) = (true, false);
                self.cursors.rung();
            }
            let free = self.free();
            if self.look && free == 0 {
                self.asleep.clear(); // nobody need ring: we know
            }
            let wanted = if stop == Stop::No && self.look { free.min(MOST) } else { 0 };
            let step = if wanted > 0 || !self.hand.is_empty() {
                self.exchange(wanted).await
            } else if !self.running.is_empty() && self.watched.elapsed() >= WATCH {
                self.attend().await.map(drop)
            } else {
                self.idle().await
            };
            match step {
                Ok(()) => self.failing = false,
                Err(e) if for_good(e.kind()) => return Err(e),
                Err(e) => {
                    self.polite_since = None;
                    if !std::mem::replace(&mut self.failing, true) && e.kind() != ErrorKind::Unreachable {
                        warn!(error = %e, "a worker's statement failed; trying again");
                    }
                    let mut stop = self.stop.clone();
                    let _ = timeout(Duration::from_millis(100), stop.changed()).await;
                }
            }
        }
    }

    /// How many more may be taken.
    fn free(&self) -> usize {
        let left = usize::try_from(self.options.most.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let taken = self.running.len() + self.lingering();
        self.options.concurrency.saturating_sub(taken).min(left)
    }

    /// Threads of handlers that block and whose attempt is over.
    fn lingering(&self) -> usize {
        self.options.threads.as_ref().map_or(0, |t| t.lingering())
    }

    /// Whether it has done what it was to do: see [`Work::drain`] and [`Work::at_most`].
    fn through(&mut self) -> bool {
        if !self.running.is_empty() || self.checking > 0 || !self.hand.is_empty() {
            self.sure = false;
        } else if self.options.most == Some(0) || (self.options.drain && !self.look && self.sure) {
            return true;
        } else if self.options.drain && !self.look {
            (self.sure, self.look) = (true, true);
        }
        false
    }

    /// The live link; on a new one the queues' ids are learnt first, and what was taken without an answer is given back.
    async fn link(&mut self) -> Result<Arc<Link>> {
        let link = self.listener.link().await?;
        if self.queues.is_empty() {
            self.queues = wire::queues(&link, &self.options.queues).await?;
            self.ids = self.queues.iter().map(|q| q.id).collect();
            self.usual = self.queues.iter().map(|q| (q.id, q.max_attempts)).collect();
            self.names = self.queues.iter().map(|q| (q.id, q.name.as_str().into())).collect();
            let doors: HashSet<i32> = self.queues.iter().map(|q| q.door).collect();
            self.bells = doors.into_iter().map(|d| self.listener.bell(d)).collect();
        }
        if self.generation != link.generation {
            if self.generation != 0 && !link.resumed {
                // The session that took them is over, and they were handed on.
                self.running.values().for_each(|r| r.attempt.0.end());
                self.owed.clear();
            }
            self.generation = link.generation;
            self.unflushed = None;
            self.cursors.forget();
            self.asleep.clear();
            self.look = true;
        }
        while let Some(token) = self.owed.last() {
            wire::give_back(&link, *token).await?;
            self.owed.pop();
        }
        Ok(link)
    }

    async fn looked(&mut self, link: &Link, look: Look) -> Result<()> {
        let Look { jobs, slices, more, cancels, dry } = look;
        self.looks = self.looks.wrapping_add(1);
        self.streak = if jobs.is_empty() { 0 } else { self.streak + 1 };
        let many = self.many(jobs.len());
        if self.streak >= AWAKE {
            self.asleep.clear();
        }
        (self.look, self.poll) = (more || !jobs.is_empty(), false);
        self.polite_since = stands_back(self.polite_since, !jobs.is_empty(), more, Instant::now());
        slices.into_iter().for_each(|slice| self.hand.taken(slice));
        debug!(jobs = jobs.len(), more, "looked");
        let cancelled: HashSet<i64> = if cancels && !jobs.is_empty() {
            let ids: Vec<i64> = jobs.iter().map(|j| j.id).collect();
            match wire::attend(link, &[], &ids).await {
                Ok((_, cancelled)) => cancelled.into_iter().collect(),
                Err(e) => {
                    debug!(error = %e, "cannot see which jobs were cancelled; they are told so when they run");
                    HashSet::new()
                }
            }
        } else {
            HashSet::new()
        };
        let some = !jobs.is_empty();
        if some {
            self.busy.get_or_insert_with(|| self.listener.busy());
        }
        for job in jobs {
            if cancelled.contains(&job.id) {
                self.hand.ended(job.id, job.claim, Verdict::cancelled());
            } else {
                self.begin(job);
            }
        }
        if !some && more {
            // Somebody else is taking; or the function is to be asked, and what comes meanwhile is found sooner without.
            let bells = if dry && !many { &mut self.bells[..] } else { &mut [] };
            if timeout(Duration::from_millis(1), idle::any(bells)).await.is_ok() {
                self.cursors.rung();
            }
        }
        Ok(())
    }

    /// Counts jobs that came: whether they come one upon the other.
    fn many(&mut self, more: usize) -> bool {
        let (since, count, _) = &mut self.spell;
        *count += more;
        if since.elapsed() >= SPELL {
            self.spell = (Instant::now(), 0, *count >= MANY);
        }
        self.spell.2
    }

    /// Runs a job in a task of its own.
    fn begin(&mut self, taken: Taken) {
        self.options.most = self.options.most.map(|m| m.saturating_sub(1));
        let (id, claim) = (taken.id, taken.claim);
        let queue = self.names.get(&taken.queue).cloned().unwrap_or_else(|| "".into());
        let (usual, signs) = (self.usual.get(&taken.queue).copied(), Signs::new(self.listener.clone()));
        let job = Job::of(taken, queue, usual, signs.clone());
        let attempt = Attempt(signs.clone());
        let (work, out) = ((self.run)(job), self.words.clone());
        let task = tokio::spawn(async move {
            let verdict = Verdict::after(work.await, &signs);
            let _ = out.send(Word::Through(id, claim, verdict));
        });
        self.running.insert(id, Running { claim, attempt, abort: task.abort_handle() });
    }

    fn note(&mut self, word: Word) {
        let (id, claim, verdict) = match word {
            Word::Through(id, claim, verdict) => {
                self.running.remove(&id);
                if verdict == Verdict::Completed {
                    self.checking += 1;
                    tokio::spawn(check(self.listener.clone(), id, claim, self.words.clone()));
                    return;
                }
                (id, claim, verdict)
            }
            Word::Checked(id, claim, verdict) => {
                self.checking -= 1;
                (id, claim, verdict)
            }
            Word::Again(ends) => {
                self.checking -= 1;
                return self.hand.put_back(ends);
            }
        };
        self.hand.ended(id, claim, verdict);
    }

    /// Everything that runs is handed back.
    fn give_up(&mut self) {
        while let Ok(word) = self.heard.try_recv() {
            self.note(word);
        }
        for (id, running) in self.running.drain() {
            running.abort.abort();
            self.hand.ended(id, running.claim, Verdict::handed_back());
        }
    }

    /// Writes what is left.
    async fn write(&mut self) {
        while !self.hand.is_empty() || !self.owed.is_empty() || self.checking > 0 {
            if self.hand.is_empty() && self.owed.is_empty() {
                let Some(word) = self.heard.recv().await else { return };
                self.note(word);
            } else if let Err(e) = self.exchange(0).await {
                debug!(error = %e, "cannot write what ended");
                sleep(Duration::from_millis(50)).await;
            }
        }
        if let Err(e) = self.flush().await {
            debug!(error = %e, "not known to be on the disk: what ended last");
        }
    }
}

/// Looks whether a handler's own transaction has ended its job, as the handler said.
async fn check(listener: Arc<Listener>, id: i64, claim: Claim, out: mpsc::UnboundedSender<Word>) {
    let found = loop {
        let Ok(link) = listener.link().await else { return };
        match wire::ended(&link, claim, id).await {
            Ok(found) => break found,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    let verdict = match found {
        true => Verdict::Settled,
        false => Verdict::not_committed(),
    };
    let _ = out.send(Word::Checked(id, claim, verdict));
}

/// Since when it stands back for a stranger, after a look that found something or not, and may find more at once. Once it has stood back
/// for long enough it does so no more until something is found: a lane is taken without its key then, and a limit, which a stranger
/// decides on and nobody goes around, is looked for from time to time.
fn stands_back(since: Option<Instant>, found: bool, more: bool, now: Instant) -> Option<Instant> {
    match since {
        _ if found => None,
        Some(since) => Some(since).filter(|s| more || now.duration_since(*s) >= POLITE),
        None => more.then_some(now),
    }
}

/// Errors that no later try heals.
fn for_good(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::Epoch | ErrorKind::Schema | ErrorKind::Conflict
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_stood_back_for_long_enough_does_so_no_more_until_something_is_found() {
        let began = Instant::now();
        let late = began + POLITE;
        assert_eq!(stands_back(None, false, false, began), None, "nobody is in the way");
        assert_eq!(stands_back(None, false, true, began), Some(began));
        assert_eq!(stands_back(Some(began), false, true, late), Some(began), "no longer than once");
        assert_eq!(stands_back(Some(began), false, false, began), None, "nobody is there any more");
        assert_eq!(stands_back(Some(began), false, false, late), Some(began), "or so it seems, from without");
        assert_eq!(stands_back(Some(began), true, true, late), None);
    }
}
