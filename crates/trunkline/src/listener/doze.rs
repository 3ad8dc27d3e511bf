//! Sleeping on doors only while there is nothing to do, for words whose producers are many: a NOTIFY makes commits wait for
//! each other, so nobody shall ring for one who is awake.
//!
//! Guarantee: from [`Listener::doze`] on every later producer rings, and the looks that the hand-over needs come as rings
//! of the doors' bell. Whoever holds an [`Asleep`] looks at each ring, and goes on sleeping when that found nothing.
//!
//! What if it dies here: the hold is the connection's, and ends with it; after a reconnect every bell rings.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    time::{Duration, sleep},
};
use tokio_postgres::types::Type;
use tracing::debug;

use super::{Link, Listener, keeper::settle};
use crate::Result;

const HOLD: &str = "select array(select d from unnest($1::int[]) d where trunkline._door_hold(d))";
const LEAVE: &str = "select count(trunkline._door_leave(d)) from unnest($1::int[]) d";

/// A hold on doors: while it lives producers ring.
#[derive(Debug)]
pub(crate) struct Asleep {
    link: Arc<Link>,
    held: Vec<i32>,
    all: bool,
}

impl Listener {
    /// Falls asleep on doors: LISTEN, hold them, and look until whoever may have missed that has ended.
    pub(crate) async fn doze(self: &Arc<Self>, doors: &[i32]) -> Result<Asleep> {
        let link = self.link().await?;
        let mut asleep = Asleep { link: link.clone(), held: Vec::new(), all: false };
        if link.pooled {
            return Ok(asleep);
        }
        let listen: String = doors.iter().map(|door| format!("listen \"trunkline_{door}\";")).collect();
        link.client.batch_execute(&listen).await?;
        let mut left = doors.to_vec();
        for wait in [0, 1, 2, 4, 8] {
            sleep(Duration::from_millis(wait)).await;
            let before = asleep.held.len();
            asleep.held.extend(&left); // also when this is dropped before the answer
            let held: Vec<i32> = link.value(HOLD, &[(&left, Type::INT4_ARRAY)]).await?;
            asleep.held.truncate(before);
            left.retain(|door| !held.contains(door));
            asleep.held.extend(held);
            if left.is_empty() {
                break;
            }
        }
        asleep.all = left.is_empty();
        if !asleep.held.is_empty() {
            tokio::spawn(settle(link, self.clone(), asleep.held.clone()));
        }
        if !asleep.all {
            debug!(doors = ?left, "the key of a door is held by somebody else; looking once a second instead");
        }
        Ok(asleep)
    }
}

impl Asleep {
    /// Whether every producer rings: no door is a stranger's, and no pooler between.
    pub(crate) fn soundly(&self) -> bool {
        self.all
    }

    /// False once its connection is not the live one any more.
    pub(crate) fn lasts(&self, listener: &Listener) -> bool {
        listener.current().is_some_and(|l| l.generation == self.link.generation)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.held);
        if let (false, Ok(runtime)) = (held.is_empty(), Handle::try_current()) {
            let link = self.link.clone();
            runtime.spawn(async move { link.query(LEAVE, &[(&held, Type::INT4_ARRAY)]).await.map(drop) });
        }
    }
}
