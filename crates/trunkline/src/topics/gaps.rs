//! How often a subscription was told of a gap, said to the database for who looks who listens.
//!
//! Counted where the gap is put into the buffer, so also of one that nobody takes from; said once a second at most, by a task of its own,
//! so it is in the way of nothing that comes. What if it dies here: the number goes with the subscription.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_postgres::types::Type;
use tracing::debug;

use crate::listener::{Args, Listener};

const GAPPED: &str = "select trunkline._topic_gapped($1, $2, $3)";
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Gaps {
    many: AtomicI64,
    over: AtomicBool,
    changed: Notify,
}

impl Gaps {
    /// There is one more.
    pub(super) fn add(&self) {
        self.many.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// None comes any more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Says how many there were, after each, until it ends. What cannot be said now is said with the next one, or a second later.
    pub(super) async fn say(self: Arc<Self>, listener: Arc<Listener>, number: i32) {
        let mut said = 0;
        loop {
            self.changed.notified().await;
            while self.many.load(Ordering::Relaxed) != said && !self.over.load(Ordering::Relaxed) {
                sleep(PAUSE).await;
                let Ok(link) = listener.link().await else { return };
                let many = self.many.load(Ordering::Relaxed);
                let args: &Args<'_> =
                    &[(&link.session, Type::INT4), (&number, Type::INT4), (&many, Type::INT8)];
                let heard = link.query(GAPPED, args).await;
                match heard.and_then(|rows| Ok(rows.first().map(|row| row.try_get(0)).transpose()?)) {
                    Ok(Some(true)) => said = many,
                    Ok(_) => {} // after a loss it is to be listed again
                    Err(e) => debug!(error = %e, number, "it is not said how many gaps there were"),
                }
            }
            if self.over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
