//! The fetch pump: brings endings to their calls, and looks up by id what it may have missed.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::time::timeout;
use tracing::debug;

use super::{Flight, Pumps, lost, timed_out, verdict};
use crate::{
    Result,
    listener::{Bell, Link, POLL, closed, lock},
    requests::{
        payload::{Content, Part, Payload},
        wire::{self, Ended, Ring, Segment, Snapshot},
    },
};

/// How far a session's endings were read, in each segment.
struct Seen {
    session: i32,
    generation: u64,
    since: [Snapshot; 4],
}

impl Pumps {
    /// Reads this session's endings: when rung, after a reconnect, and once a second while calls are in flight.
    pub(super) async fn fetch(self) {
        let mut seen: Option<Seen> = None;
        let mut bell: Option<(i32, Bell)> = None;
        loop {
            let Ok(link) = self.listener.link().await else { return self.abort() };
            let (_, bell) = match &mut bell {
                Some(b) if b.0 == link.session => b,
                other => other.insert((link.session, self.listener.door(64 + link.session))),
            };
            if seen.as_ref().is_none_or(|s| s.session != link.session || s.generation != link.generation) {
                match self.begin(&link, seen.take()).await {
                    Ok(s) => seen = Some(s),
                    Err(e) => {
                        debug!(error = %e, "cannot begin to fetch");
                        let _ = timeout(Duration::from_millis(50), bell.rung()).await;
                        continue;
                    }
                }
            }
            let rung = tokio::select! {
                () = bell.rung() => true,
                () = self.wake.notified() => true,
                () = tokio::time::sleep(POLL) => false,
            };
            if !rung && let Err(e) = self.look_up(&link, false).await {
                debug!(error = %e, "cannot look up what an earlier session sent");
            }
            let waiting = !lock(&self.flights).is_empty();
            let Some(seen) = seen.as_mut() else { continue };
            for (segment, since) in Segment::ALL.into_iter().zip(seen.since.iter_mut()) {
                let used = self.counters.used[segment.index()].load(Ordering::Relaxed);
                if !used || !(rung || waiting) {
                    continue;
                }
                match wire::fetch(&link, segment, since).await {
                    Ok(ended) => {
                        if !rung && !ended.is_empty() {
                            self.counters.found_by_poll.fetch_add(ended.len() as u64, Ordering::Relaxed);
                        }
                        ended.into_iter().for_each(|e| self.arrived(e));
                    }
                    Err(e) => debug!(error = %e, "cannot fetch"),
                }
            }
        }
    }

    /// The end of everything: what is in flight learns it now, and not at its deadline.
    pub(super) fn abort(&self) {
        for (_, f) in lock(&self.flights).drain() {
            let known = f.id.is_some();
            let _ = f.done.send(Err(if known { lost() } else { closed() }));
        }
    }

    /// A new connection: of what is in flight, looks up by id what may have been missed.
    async fn begin(&self, link: &Arc<Link>, before: Option<Seen>) -> Result<Seen> {
        let now = wire::snapshot(link).await?;
        let since = match before {
            Some(seen) if seen.session == link.session => seen.since,
            _ => std::array::from_fn(|_| now.clone()),
        };
        self.look_up(link, true).await?;
        Ok(Seen { session: link.session, generation: link.generation, since })
    }

    /// Looks up calls by id: all, or those sent for an earlier session of ours, whose endings no bell announces.
    /// What is not there any more was lost in a crash.
    async fn look_up(&self, link: &Link, all: bool) -> Result<()> {
        let known: Vec<(i64, i64, Ring)> = lock(&self.flights)
            .iter()
            .filter(|(_, f)| all || f.session != link.session)
            .filter_map(|(corr, f)| Some((*corr, f.id?, f.ring)))
            .collect();
        // Perhaps written, and no way to ask: no id was learned, and what answers goes to a session that is not ours, or
        // would have come by now.
        let now = SystemTime::now();
        let past = |f: &Flight| f.session != link.session || f.summary.deadline + POLL < now;
        let gone = |f: &mut Flight| f.id.is_none() && f.session != 0 && past(f);
        for (_, f) in lock(&self.flights).extract_if(|_, f| gone(f)) {
            let _ = f.done.send(Err(lost()));
        }
        for ring in Ring::BOTH {
            let group: Vec<(i64, i64)> = known.iter().filter(|k| k.2 == ring).map(|k| (k.0, k.1)).collect();
            if !group.is_empty() {
                self.settle(link, ring, &group).await?;
            }
        }
        Ok(())
    }

    /// Brings the database's word on calls, by (correlation, id).
    pub(super) async fn settle(&self, link: &Link, ring: Ring, group: &[(i64, i64)]) -> Result<()> {
        let ids: Vec<i64> = group.iter().map(|g| g.1).collect();
        let mut found: HashMap<i64, Option<Ended>> =
            wire::outcome(link, ring, &ids).await?.into_iter().collect();
        for (corr, id) in group {
            match found.remove(id) {
                None => {
                    let mut flights = lock(&self.flights);
                    if flights.get(corr).is_some_and(|f| !f.unseen || f.ended.is_some())
                        && let Some(f) = flights.remove(corr)
                    {
                        // One that was never committed is not lost: nobody has seen it.
                        let _ = f.done.send(Err(if f.unseen { timed_out() } else { lost() }));
                    }
                }
                Some(Some(mut ended)) => {
                    ended.corr = *corr;
                    self.arrived(ended);
                }
                Some(None) => {}
            }
        }
        Ok(())
    }

    fn arrived(&self, ended: Ended) {
        let mut flights = lock(&self.flights);
        let Some(flight) = flights.get_mut(&ended.corr).filter(|f| f.id.is_none_or(|id| id == ended.id))
        else {
            drop(flights);
            self.counters.unclaimed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if ended.part > 0 {
            if let Some(parts) = &flight.parts
                && ended.attempt >= flight.attempt
            {
                flight.attempt = ended.attempt;
                let payload = Payload::new(Content::of(i32::from(ended.content)), ended.payload);
                let _ = parts.try_send(Part { number: ended.part, attempt: ended.attempt, payload });
            }
            return;
        }
        let _ = flight.known.set(ended.id);
        let destination = flight.summary.destination.clone();
        let corr = ended.corr;
        if let Some(answer) = verdict(ended, &destination)
            && let Some(flight) = flights.remove(&corr)
        {
            self.counters.replied.fetch_add(1, Ordering::Relaxed);
            let _ = flight.done.send(answer);
        }
    }
}
