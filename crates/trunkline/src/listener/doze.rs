//! Sleeping on a door only while there is nothing to do, for words whose producers are many: a NOTIFY makes commits wait for
//! each other, so nobody shall ring for one who is awake.
//!
//! Guarantee: from [`Listener::doze`] on every later producer rings, and the looks that the hand-over needs come as rings
//! of the door's bell. Whoever holds an [`Asleep`] looks at each ring, and goes on sleeping when that found nothing.
//!
//! What if it dies here: the hold is the connection's, and ends with it; after a reconnect every bell rings.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    time::{Duration, sleep},
};
use tokio_postgres::types::Type;
use tracing::debug;

use super::{
    Link, Listener,
    keeper::{HOLD, settle},
};
use crate::Result;

const LEAVE: &str = "select trunkline._door_leave($1)";

/// A hold on a door: while it lives producers ring.
#[derive(Debug)]
pub(crate) struct Asleep {
    link: Arc<Link>,
    door: i32,
    held: bool,
}

impl Listener {
    /// Falls asleep on a door: LISTEN, hold it, and look until whoever may have missed that has ended.
    pub(crate) async fn doze(self: &Arc<Self>, door: i32) -> Result<Asleep> {
        let link = self.link().await?;
        if link.pooled {
            return Ok(Asleep { link, door, held: false });
        }
        link.client.batch_execute(&format!("listen \"trunkline_{door}\"")).await?;
        let mut asleep = Asleep { link: link.clone(), door, held: false };
        for wait in [0, 1, 2, 4, 8] {
            sleep(Duration::from_millis(wait)).await;
            asleep.held = true; // also when this is dropped before the answer
            asleep.held = link.value(HOLD, &[(&door, Type::INT4)]).await?;
            if asleep.held {
                tokio::spawn(settle(link, self.clone(), vec![door]));
                break;
            }
        }
        if !asleep.held {
            debug!(door, "the door's key is held by somebody else; looking once a second instead");
        }
        Ok(asleep)
    }
}

impl Asleep {
    /// False once its connection is not the live one any more.
    pub(crate) fn lasts(&self, listener: &Listener) -> bool {
        listener.current().is_some_and(|l| l.generation == self.link.generation)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.held, Handle::try_current()) {
            let (link, door) = (self.link.clone(), self.door);
            runtime.spawn(async move { link.query(LEAVE, &[(&door, Type::INT4)]).await.map(drop) });
        }
    }
}
