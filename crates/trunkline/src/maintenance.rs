//! The duties: what the daemon does on a clock, one round at a time.
//!
//! No state of its own; any number of rounds at once, in any processes, is harmless. Each duty is a statement of its
//! own, and each stream has one, so that a ring that is busy does not keep the dead from being buried, and a stream that is
//! broken stops no other.

use tokio_postgres::types::Type;
use tracing::{debug, warn};

use crate::{
    Result,
    listener::{self, Link},
};

const DUTIES: [&str; 9] = [
    "select trunkline._epoch_check()::text",
    "select trunkline._log_turn_e(67108864)",
    "select trunkline._log_turn_d(67108864)",
    "select trunkline._job_turn_e(67108864, interval '10 minutes')",
    "select trunkline._job_turn_d(67108864, interval '10 minutes')",
    "select trunkline._topic_turn(67108864, interval '1 minute', 1073741824)",
    "select trunkline._job_tidy()::text",
    "select trunkline._job_count_held()::text",
    "select trunkline._job_attached_tidy()::text",
];
const STREAMS: &str = "select trunkline._stream_all()";
const STREAM: &str = "select trunkline._stream_duty($1, true)::text";

/// One round of every duty; the first failure is reported after all were tried.
pub(crate) async fn round(link: &Link) -> Result<()> {
    let mut failure = None;
    for duty in DUTIES {
        match link.query(duty, &[]).await {
            Ok(rows) => debug!(duty, done = ?rows.first().and_then(|r| r.get::<_, Option<String>>(0))),
            Err(e) => failure = failure.or(Some(e)),
        }
    }
    let streams = streams(link).await.err();
    failure.or(streams).or(listener::reap(link).await.err()).map_or(Ok(()), Err)
}

async fn streams(link: &Link) -> Result<()> {
    let mut failure = None;
    for stream in link.value::<Vec<i32>>(STREAMS, &[]).await? {
        if let Err(e) = link.query(STREAM, &[(&stream, Type::INT4)]).await {
            warn!(stream, error = %e, "a stream's duties failed");
            failure = failure.or(Some(e));
        }
    }
    failure.map_or(Ok(()), Err)
}
