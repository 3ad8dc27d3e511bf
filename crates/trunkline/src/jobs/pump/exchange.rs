//! One exchange with the database: what ended is written, and what there are slots for is taken, both at once.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    super::{
        hand::Ends,
        job::stale,
        wire::{self, Wanted},
    },
    FAIR, POLITE, Pump, Word,
};
use crate::{ErrorKind, Result, listener::Link};

impl Pump {
    /// Writes what ended, and takes what there are slots for, both at once.
    pub(super) async fn exchange(&mut self, wanted: usize) -> Result<()> {
        let link = self.link().await?;
        let mut ends = self.hand.unwritten();
        // Of a key or within a limit others may follow, and nobody notifies itself: a look that comes after the write finds them.
        let freed = ends.free();
        let lazy = !self.overdue();
        self.unflushed = match (lazy, self.unflushed) {
            (false, _) => None,
            (true, None) if !ends.parts.is_empty() || !ends.singles.is_empty() => Some(Instant::now()),
            (true, since) => since,
        };
        if wanted == 0 {
            self.look |= freed;
            let wrote = write(&link, &ends, (false, lazy)).await;
            return self.wrote(ends, wrote, &link).await;
        }
        if !self.poll {
            self.busy.get_or_insert_with(|| self.listener.busy());
            self.listener.awake().await;
        }
        let (token, most) = (token(), i32::try_from(wanted).unwrap_or(1));
        self.owed.push(token);
        let (look, failed) = match self.cursors.short().filter(|_| link.direct.is_some()) {
            Some(short) => {
                let place = short.place;
                let here = ends.take_segment(place.source, short.limit.map(|_| place.lane >> 4));
                let (worked, wrote) = tokio::join!(
                    wire::work(&link, &short, most, token, &here.parts, lazy),
                    write(&link, &ends, (false, lazy))
                );
                let (look, done) = match worked {
                    Ok((done, row)) => (
                        wire::worked(&row, place, token, &mut self.cursors),
                        Ok((done.into_iter().collect(), HashSet::new())),
                    ),
                    Err(e) => (Err(e.again()), Err(e)),
                };
                let done = self.wrote(here, done, &link).await;
                (look, done.and(self.wrote(ends, wrote, &link).await))
            }
            None => {
                let fair = self.looks.wrapping_sub(self.fair_at) >= FAIR;
                let polite = self.polite_since.is_none_or(|s| s.elapsed() < POLITE);
                let wanted = Wanted { queues: &self.ids, most, fair, polite, token };
                let take = wire::take(&link, wanted, &mut self.cursors);
                let write = write(&link, &ends, (false, lazy));
                let (look, wrote) = if freed {
                    // Over one connection: mostly the take finds what the ends before it let begin, so it takes more at a time.
                    let (wrote, look) = tokio::join!(write, take);
                    (look, wrote)
                } else {
                    tokio::join!(take, write)
                };
                if fair {
                    self.fair_at = self.looks;
                    self.cursors.leave();
                }
                (look, self.wrote(ends, wrote, &link).await)
            }
        };
        let mut look = look?;
        if look.dry && self.asleep.is_empty() && !self.options.drain && !link.pooled {
            look.more = false; // whoever is to be rung for looks once more in any case
        }
        self.owed.retain(|t| *t != token);
        self.looked(&link, look).await?;
        self.look |= freed;
        failed
    }

    /// Goes through what became of ends; those in doubt are written again until it is known.
    async fn wrote(&mut self, mut ends: Ends, mut wrote: Wrote, link: &Link) -> Result<()> {
        let mut sure = true;
        if matches!(&wrote, Err(e) if e.kind() == ErrorKind::Unreachable) {
            self.listener.next_after(link).await?;
            sure = false;
            while matches!(&wrote, Err(e) if e.kind() == ErrorKind::Unreachable) {
                let link = self.listener.link().await?;
                wrote = write(&link, &ends, (true, false)).await;
                if matches!(&wrote, Err(e) if e.kind() == ErrorKind::Unreachable) {
                    self.listener.next_after(&link).await?;
                }
            }
        }
        match wrote {
            Ok((accepted, refused)) => {
                self.hand.written(&ends.parts, |slice| accepted.contains(&slice));
                if ends.free() {
                    self.listener.ring(link.door()); // nobody notifies itself
                }
                let singles = ends.singles.drain(..).enumerate();
                for (_, single) in singles.filter(|(n, _)| refused.contains(n)) {
                    match single.end.claim.slice() {
                        Some(_) => self.hand.carried(single),
                        None if sure => {
                            warn!(id = single.id, error = %stale(single.id), "an end was refused")
                        }
                        None => debug!(id = single.id, "an end was refused, or accepted before"),
                    }
                }
                Ok(())
            }
            // One that cannot be written must not keep its neighbours.
            Err(e) if ends.parts.len() + ends.singles.len() > 1 => {
                debug!(error = %e, "ends are written one by one");
                for one in apart(ends) {
                    let link = self.listener.link().await?;
                    let wrote = write(&link, &one, (true, false)).await;
                    Box::pin(self.wrote(one, wrote, &link)).await?;
                }
                Ok(())
            }
            Err(e) => {
                warn!(error = %e, "an end cannot be written yet");
                if e.kind() == ErrorKind::Invalid {
                    // A text that this database's encoding cannot hold.
                    for single in &mut ends.singles {
                        single.end.error = single.end.error.take().map(|e| e.escape_default().to_string());
                    }
                }
                self.later(ends);
                Ok(())
            }
        }
    }

    /// Puts an end off that cannot be written now: somebody's open transaction may keep it.
    fn later(&mut self, ends: Ends) {
        let out = self.words.clone();
        self.checking += 1;
        self.hand.put_off(&ends);
        tokio::spawn(async move {
            sleep(Duration::from_millis(250)).await;
            let _ = out.send(Word::Again(ends));
        });
    }
}

/// The slices that accepted their part, and the numbers, from 0, of the ends that were refused.
type Wrote = Result<(HashSet<i64>, HashSet<usize>)>;

/// Writes ends; `again` after a lost answer, where what was accepted then counts as accepted; `lazy`: see [`wire::work`].
async fn write(link: &Link, ends: &Ends, (again, lazy): (bool, bool)) -> Wrote {
    let mut accepted = HashSet::new();
    for segment in 0..4 {
        let parts: Vec<_> = ends.parts.iter().filter(|p| p.segment() == segment).cloned().collect();
        if !parts.is_empty() {
            accepted.extend(wire::done(link, segment, &parts, again).await?);
        }
    }
    let mut refused = HashSet::new();
    if !ends.singles.is_empty() {
        let singles: Vec<_> = ends.singles.iter().map(|s| &s.end).collect();
        let ended = wire::end(link, &singles, lazy).await?;
        let ended: HashSet<usize> = ended.iter().filter_map(|n| usize::try_from(*n - 1).ok()).collect();
        refused.extend((0..singles.len()).filter(|n| !ended.contains(n)));
    }
    Ok((accepted, refused))
}

fn apart(ends: Ends) -> Vec<Ends> {
    let parts = ends.parts.into_iter().map(|p| Ends { parts: vec![p], singles: Vec::new() });
    let singles = ends.singles.into_iter().map(|s| Ends { parts: Vec::new(), singles: vec![s] });
    parts.chain(singles).collect()
}

pub(in crate::jobs) fn token() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair(); // whoever knows it may end the jobs; 122 bits of it are random
    (high.rotate_left(32) ^ low).cast_signed()
}
