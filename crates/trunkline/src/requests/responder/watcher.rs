//! Looks after what is being handled: whose request ended meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use super::incoming::Held;
use crate::{
    listener::{Listener, lock},
    requests::{
        caller::Counters,
        wire::{self, Ring},
    },
};

/// How often handlers' requests are looked up for having ended.
const WATCH: Duration = Duration::from_millis(250);

/// Tells handlers whose request ended.
pub(super) async fn watch_pump(
    listener: Arc<Listener>,
    held: Arc<Mutex<HashMap<i64, Held>>>,
    counters: Arc<Counters>,
) {
    while !*listener.closing().borrow() {
        sleep(WATCH).await;
        let Some(link) = listener.current() else { continue };
        for ring in Ring::BOTH {
            let old: Vec<(i64, i32, i32)> = lock(&held)
                .iter()
                .filter(|(_, h)| h.ring == ring && h.since.elapsed() > WATCH)
                .map(|(id, h)| (*id, h.attempt, h.caller))
                .collect();
            if old.is_empty() {
                continue;
            }
            let Ok(ended) = wire::watch(&link, ring, &old).await else { continue };
            let all = lock(&held);
            for h in ended.iter().filter_map(|id| all.get(id)) {
                counters.expired.fetch_add(1, Ordering::Relaxed);
                h.ended.send_replace(true);
            }
        }
    }
}
