//! What a worker does while there is nothing to take: it tells handlers that their job was cancelled, sees to it that what was
//! done is on the disk, falls asleep on its queues' doors, and waits for a bell, for what is due, or for time to pass.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{super::wire, LAZY, PATIENCE, POLL, POOLED, Pump, WATCH};
use crate::{Result, jobs::work::Stop, listener::Bell};

impl Pump {
    /// Tells handlers whose job was cancelled; how long until the next held job is worth a look.
    pub(super) async fn attend(&mut self) -> Result<Option<Duration>> {
        let link = self.link().await?;
        self.watched = Instant::now();
        let old = self.running.iter().filter(|(_, r)| r.attempt.0.began.elapsed() > WATCH / 2);
        let working: Vec<i64> = old.map(|(id, _)| *id).collect();
        let (due, cancelled) = wire::attend(&link, &self.ids, &working).await?;
        for running in cancelled.iter().filter_map(|id| self.running.get(id)) {
            running.attempt.0.end();
        }
        // One that was due when we looked waits for its key or a limit: whoever ends that rings.
        Ok(due.map(|ms| match u64::try_from(ms) {
            Ok(ms) => Duration::from_millis(ms + 1),
            Err(_) if ms > -20 => Duration::from_millis(1),
            Err(_) => PATIENCE,
        }))
    }

    /// Whether what was done has been in memory alone for as long as it may.
    pub(super) fn overdue(&self) -> bool {
        self.unflushed.is_some_and(|since| since.elapsed() >= LAZY)
    }

    /// Waits for the disk, if anything that was done may not be there yet.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.unflushed.take().is_some() {
            wire::flush(&*self.link().await?).await?;
        }
        Ok(())
    }

    /// Sleeps until there may be something to do.
    pub(super) async fn idle(&mut self) -> Result<()> {
        if self.overdue() {
            return self.flush().await;
        }
        let taking = *self.stop.borrow() == Stop::No;
        let alone = self.running.is_empty() && self.lingering() == 0;
        if alone && self.checking == 0 && self.hand.is_empty() {
            self.busy = None;
        }
        let mut wait = if alone { POLL } else { WATCH };
        let full = self.free() == 0;
        if taking && !full {
            let link = self.link().await?;
            if self.look {
                return Ok(()); // a new link
            }
            let awake =
                self.asleep.len() < self.bells.len() || self.asleep.iter().any(|a| !a.lasts(&self.listener));
            if link.pooled {
                wait = wait.min(POOLED);
            } else if awake {
                self.asleep.clear();
                for door in self.queues.iter().map(|q| q.door).collect::<HashSet<_>>() {
                    self.asleep.push(self.listener.doze(&[door]).await?);
                }
                self.look = true;
                return Ok(());
            }
            if let Some(due) = self.attend().await? {
                wait = wait.min(due);
            }
        }
        if let Some(deadline) = self.deadline {
            wait = wait.min(deadline.saturating_duration_since(Instant::now()));
        }
        let unflushed = self.unflushed.map(|since| since + LAZY);
        tokio::select! {
            biased;
            Some(word) = self.heard.recv() => self.note(word),
            () = sleep_until(unflushed.unwrap_or_else(Instant::now)), if unflushed.is_some() => {}
            _ = self.closing.changed() => {}
            _ = self.stop.changed() => {}
            () = any(&mut self.bells), if taking => {
                (self.look, self.poll) = (true, false);
                self.cursors.rung();
            }
            () = sleep(wait) => (self.look, self.poll) = (self.look || !full, wait == POLL),
        }
        Ok(())
    }
}

/// Waits until a bell rings.
pub(super) async fn any(bells: &mut [Bell]) {
    if bells.is_empty() {
        return std::future::pending().await;
    }
    let rings = bells.iter_mut().map(|b| Box::pin(b.rung()));
    futures_util::future::select_all(rings).await;
}
