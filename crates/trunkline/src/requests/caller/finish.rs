//! The finish pump: ends calls in the database, when their time is up or their caller has gone.

use std::{collections::HashSet, time::Duration};

use tokio::sync::mpsc;
use tracing::debug;

use super::{Flight, Pumps, timed_out};
use crate::{
    Error, ErrorKind,
    listener::{Link, lock},
    requests::wire::{self, Ring},
};

impl Pumps {
    /// Ends calls in the database, many at once; what a reply won is fetched.
    pub(super) async fn finish(self, mut queue: mpsc::UnboundedReceiver<(i64, i32)>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, 4096).await > 0 {
            let Ok(link) = self.listener.link().await else { return };
            let asked: Vec<(i64, i32, Option<i64>, Ring)> = {
                let mut flights = lock(&self.flights);
                let known = |(corr, status)| {
                    let f: &mut Flight = flights.get_mut(&corr)?;
                    f.ended = Some(status);
                    Some((corr, status, f.id, f.ring))
                };
                batch.drain(..).filter_map(known).collect()
            };
            for ring in Ring::BOTH {
                for status in [3, 4] {
                    let group: Vec<(i64, i64)> = asked
                        .iter()
                        .filter(|a| a.1 == status && a.3 == ring)
                        .filter_map(|a| a.2.map(|id| (a.0, id)))
                        .collect();
                    if !group.is_empty() {
                        self.finish_group(&link, ring, status, &group).await;
                    }
                }
            }
        }
    }

    async fn finish_group(&self, link: &Link, ring: Ring, status: i32, group: &[(i64, i64)]) {
        let ids: Vec<i64> = group.iter().map(|g| g.1).collect();
        let won = match wire::finish(link, ring, &ids, status).await {
            Ok(won) => won,
            // Somebody is answering one of them in a transaction that stays open: the others do not wait for it.
            Err(_) if group.len() > 1 => {
                for one in group {
                    Box::pin(self.finish_group(link, ring, status, std::slice::from_ref(one))).await;
                }
                return;
            }
            Err(e) => {
                debug!(error = %e, "cannot end a request; trying again");
                let (ending, corr) = (self.ending.clone(), group[0].0);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    ending.upgrade().map(|e| e.send((corr, status)))
                });
                return;
            }
        };
        let won: HashSet<i64> = won.into_iter().collect();
        for (corr, _) in group.iter().filter(|g| won.contains(&g.1)) {
            let Some(f) = lock(&self.flights).remove(corr) else { continue };
            let _ = f.done.send(Err(match status {
                3 => Error::new(
                    ErrorKind::Cancelled,
                    format!("the request to {} was cancelled", f.summary.destination),
                ),
                _ => timed_out(),
            }));
        }
        let others: Vec<(i64, i64)> = group.iter().filter(|g| !won.contains(&g.1)).copied().collect();
        if !others.is_empty()
            && let Err(e) = self.settle(link, ring, &others).await
        {
            debug!(error = %e, "cannot look up what was not ended");
        }
    }
}
