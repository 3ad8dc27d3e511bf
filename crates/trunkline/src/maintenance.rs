//! The duties: what the daemon does on a clock, one round at a time.
//!
//! No state of its own; any number of rounds at once, in any processes, is harmless. Each duty is a statement of its
//! own, so that a ring that is busy does not keep the dead from being buried.

use tracing::debug;

use crate::{Result, listener::Link, requests::wire};

const DUTIES: [&str; 4] = [
    "select trunkline._epoch_check()::text",
    "select trunkline._log_turn_e(67108864)",
    "select trunkline._log_turn_d(67108864)",
    "select trunkline.stream_maintain()::text",
];

/// One round of every duty; the first failure is reported after all were tried.
pub(crate) async fn round(link: &Link) -> Result<()> {
    let mut failure = None;
    for duty in DUTIES {
        match link.query(duty, &[]).await {
            Ok(rows) => debug!(duty, done = ?rows.first().and_then(|r| r.get::<_, Option<String>>(0))),
            Err(e) => failure = failure.or(Some(e)),
        }
    }
    failure.or(wire::reap(link).await.err()).map_or(Ok(()), Err)
}
