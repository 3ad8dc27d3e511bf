//! What the workers of a process tell of themselves, with its signs of life: which queues they work on, and how many jobs they have
//! in hand. For people: a sign of life old, at most.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use super::{Listener, lock};

/// The most queues that are told.
const TOLD: usize = 50;

/// A worker, while it works.
#[derive(Debug)]
pub(crate) struct Works {
    queues: Vec<String>,
    in_hand: AtomicUsize,
}

impl Works {
    /// It has so many jobs in hand.
    pub(crate) fn has(&self, jobs: usize) {
        self.in_hand.store(jobs, Ordering::Relaxed);
    }
}

impl Listener {
    /// A worker begins: it is told of as long as what this returns lives.
    pub(crate) fn works(&self, queues: &[String]) -> Arc<Works> {
        let works = Arc::new(Works { queues: queues.to_vec(), in_hand: AtomicUsize::new(0) });
        lock(&self.workers).push(Arc::downgrade(&works));
        self.rest.send_modify(super::Rest::news);
        works
    }

    /// The queues that are worked on here, by name, and how many jobs are in hand.
    pub(super) fn told(&self) -> (Vec<String>, i32) {
        let mut all = lock(&self.workers);
        all.retain(|works| works.strong_count() > 0);
        let living: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        let mut queues: Vec<_> = living.iter().flat_map(|works| works.queues.iter().cloned()).collect();
        queues.sort_unstable();
        queues.dedup();
        queues.truncate(TOLD);
        let jobs: usize = living.iter().map(|works| works.in_hand.load(Ordering::Relaxed)).sum();
        (queues, i32::try_from(jobs).unwrap_or(i32::MAX))
    }
}
