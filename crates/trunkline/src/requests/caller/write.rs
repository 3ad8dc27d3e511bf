//! The write pump: sends what is queued, and tells those whose request could not be written.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::mpsc;
use tracing::warn;

use super::{Pumps, no_responder};
use crate::{
    Error, ErrorKind,
    listener::{Link, lock},
    requests::{
        payload::{Payload, Reply},
        wire::{self, Outgoing, Ring, Written},
    },
};

/// The most requests in one statement, and the most bytes.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// How long to wait before writing once more what a broken connection left in doubt.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

impl Pumps {
    /// One write in flight: whatever queued up meanwhile goes into the next.
    pub(super) async fn write(self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut busy = None; // from the first call on: who answers is told soon if we die
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let _ = busy.get_or_insert_with(|| self.listener.busy());
            self.listener.awake().await;
            let Ok(link) = self.listener.link().await else { return self.abort() };
            for ring in Ring::BOTH {
                let mut group: Vec<Outgoing> = Vec::new();
                let mut bytes = 0;
                for request in batch.extract_if(.., |r| r.ring == ring) {
                    bytes += request.payload.len();
                    group.push(request);
                    if bytes > BATCH_BYTES {
                        self.write_group(&link, ring, std::mem::take(&mut group)).await;
                        bytes = 0;
                    }
                }
                if !group.is_empty() {
                    self.write_group(&link, ring, group).await;
                }
            }
        }
    }

    async fn write_group(&self, link: &Arc<Link>, ring: Ring, mut group: Vec<Outgoing>) {
        let segment = ring.current(link);
        self.counters.used[segment.index()].store(true, Ordering::Relaxed);
        while !group.is_empty() {
            match wire::write(link, segment, &group).await {
                Ok(written) if written.absent.is_empty() => return self.written(link, &group, &written.ids),
                Ok(Written { absent, .. }) => {
                    let refused = group.extract_if(.., |r| r.flags & 32 != 0 && absent.contains(&r.lane));
                    self.refused(refused);
                }
                // A stranger's commit holds the server's one lock of NOTIFY: nothing was written, so ask again while
                // anybody waits.
                Err(e) if e.code() == Some("55P03") => {
                    group.retain(|r| lock(&self.flights).contains_key(&r.corr));
                }
                // One bad request must not take its neighbours with it.
                Err(e) if group.len() > 1 && e.kind() != ErrorKind::Unreachable => {
                    for request in group {
                        Box::pin(self.write_group(link, ring, vec![request])).await;
                    }
                    return;
                }
                // Perhaps written, and the answer lost: what may run twice is written again.
                Err(e) if e.kind() == ErrorKind::Unreachable && group.iter().any(|r| r.flags & 4 != 0) => {
                    let twice: Vec<Outgoing> = group.extract_if(.., |r| r.flags & 4 != 0).collect();
                    self.failed(link, &group, &e);
                    tokio::time::sleep(AGAIN).await;
                    let Ok(next) = self.listener.link().await else { return self.abort() };
                    return Box::pin(self.write_group(&next, ring, twice)).await;
                }
                Err(e) => return self.failed(link, &group, &e),
            }
        }
    }

    /// Nobody serves where these were to go, and they asked to be told so.
    fn refused(&self, group: impl Iterator<Item = Outgoing>) {
        for request in group {
            let flight = lock(&self.flights).remove(&request.corr);
            if let Some(f) = flight {
                let _ = f.done.send(Err(no_responder(&f.summary.destination)));
            }
        }
    }

    fn written(&self, link: &Link, group: &[Outgoing], ids: &[i64]) {
        self.counters.sent.fetch_add(group.len() as u64, Ordering::Relaxed);
        let mut flights = lock(&self.flights);
        for (request, id) in group.iter().zip(ids) {
            if request.flags & 8 != 0 && request.flags & 16 == 0 {
                if let Some(f) = flights.remove(&request.corr) {
                    let _ = f.done.send(Ok(Reply {
                        id: *id,
                        payload: Payload::default(),
                        headers: Default::default(),
                    }));
                }
            } else if let Some(f) = flights.get_mut(&request.corr) {
                f.written(*id, link.session);
                if let (Some(status), Some(ending)) = (f.ended, self.ending.upgrade()) {
                    let _ = ending.send((request.corr, status));
                }
            }
        }
        drop(flights);
        for request in group {
            self.listener.ring(request.lane & 63);
        }
    }

    /// A write that failed. When the connection broke in the middle it may have been done: those wait for a reply, for as
    /// long as the session is the same.
    fn failed(&self, link: &Link, group: &[Outgoing], e: &Error) {
        if e.kind() == ErrorKind::Unreachable {
            let mut flights = lock(&self.flights);
            for request in group {
                if let Some(f) = flights.get_mut(&request.corr) {
                    f.session = link.session;
                }
            }
            warn!(
                requests = group.len(),
                "connection lost while sending; waiting for what may have been sent"
            );
            return;
        }
        let mut flights = lock(&self.flights);
        for request in group {
            if let Some(f) = flights.remove(&request.corr) {
                let _ = f.done.send(Err(e.again()));
            }
        }
    }
}
