//! The push pump: one statement in flight, and whatever is pushed meanwhile goes into the next.
//!
//! Guarantee: an id comes back once its job is committed. What if it dies here: what was not written is not, and who waits is
//! told; a connection that ends in the middle leaves in doubt whether it was written, and says so.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::Type;

use super::NewJob;
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link, Listener},
    requests::{Content, encode_headers},
};

const WRITE: &str = "select ids, door from trunkline._job_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
/// Waiting pushes taken together, and the bytes of payload in one statement; a single push may be larger.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// Jobs of one push, which are written in one statement, and who waits for their ids.
#[derive(Debug)]
struct Waiting {
    queue: String,
    jobs: Vec<NewJob>,
    written: oneshot::Sender<Result<Vec<i64>>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.jobs.iter().map(|j| j.payload.bytes().len()).sum()
    }
}

#[derive(Debug)]
pub(super) struct Pusher {
    queue: mpsc::Sender<Waiting>,
}

impl Pusher {
    pub(super) fn start(listener: Arc<Listener>) -> Self {
        let (queue, waiting) = mpsc::channel(4096);
        tokio::spawn(pump(listener, waiting));
        Self { queue }
    }

    pub(super) async fn push(&self, queue: &str, jobs: Vec<NewJob>) -> Result<Vec<i64>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        jobs.iter().try_for_each(NewJob::check)?;
        let (written, ids) = oneshot::channel();
        let waiting = Waiting { queue: queue.to_owned(), jobs, written };
        self.queue.send(waiting).await.map_err(|_| crate::listener::closed())?;
        ids.await.map_err(|_| crate::listener::closed())?
    }
}

async fn pump(listener: Arc<Listener>, mut queue: mpsc::Receiver<Waiting>) {
    let mut all = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut all, BATCH).await > 0 {
        let mut queues: HashMap<String, Vec<Waiting>> = HashMap::new();
        for waiting in all.drain(..) {
            queues.entry(waiting.queue.clone()).or_default().push(waiting);
        }
        let Ok(link) = listener.link().await else { return };
        for (queue, mut waiting) in queues {
            while !waiting.is_empty() {
                let mut bytes = 0;
                let fits = waiting.iter().take_while(|w| {
                    bytes += w.bytes();
                    bytes <= BATCH_BYTES
                });
                let fits = fits.count().max(1);
                write(&listener, &link, &queue, waiting.drain(..fits).collect()).await;
            }
        }
    }
}

/// Writes pushes to one queue. One that is refused must not take its neighbours with it.
async fn write(listener: &Listener, link: &Link, queue: &str, group: Vec<Waiting>) {
    match write_all(link, queue, &group).await {
        Ok((mut ids, door)) => {
            listener.ring(door); // nobody notifies itself
            for waiting in group {
                let rest = ids.split_off(waiting.jobs.len().min(ids.len()));
                let _ = waiting.written.send(Ok(std::mem::replace(&mut ids, rest)));
            }
        }
        Err(e) if group.len() > 1 && e.kind() != ErrorKind::Unreachable => {
            for waiting in group {
                Box::pin(write(listener, link, queue, vec![waiting])).await;
            }
        }
        Err(e) => {
            for waiting in group {
                let _ = waiting.written.send(Err(e.again()));
            }
        }
    }
}

/// One statement: the ids in order, and the queue's door.
async fn write_all(link: &Link, queue: &str, group: &[Waiting]) -> Result<(Vec<i64>, i32)> {
    let jobs = || group.iter().flat_map(|w| &w.jobs);
    let is_bytes = |j: &NewJob| j.payload.content() == Content::Bytes;
    let contents: Vec<i32> = jobs().map(|j| i32::from(j.payload.content().code())).collect();
    let texts = jobs().map(|j| if is_bytes(j) { Ok(None) } else { j.payload.text().map(Some) });
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let bytes: Vec<Option<&[u8]>> = jobs().map(|j| is_bytes(j).then(|| j.payload.bytes())).collect();
    let kinds: Vec<&str> = jobs().map(|j| j.kind.as_str()).collect();
    let keys: Vec<Option<&str>> = jobs().map(|j| j.key.as_deref()).collect();
    let uniques: Vec<Option<&str>> = jobs().map(|j| j.unique_key.as_deref()).collect();
    let priorities: Vec<i32> = jobs().map(|j| j.priority.into()).collect();
    let delays: Vec<Option<i64>> = jobs().map(NewJob::delay_ms).collect();
    let most: Vec<Option<i32>> = jobs().map(|j| j.max_attempts).collect();
    let headers = jobs().map(|j| encode_headers(&j.headers)).collect::<Result<Vec<_>>>()?;
    let args: &Args<'_> = &[
        (&queue, Type::TEXT),
        (&contents, Type::INT4_ARRAY),
        (&texts, Type::TEXT_ARRAY),
        (&bytes, Type::BYTEA_ARRAY),
        (&kinds, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&uniques, Type::TEXT_ARRAY),
        (&priorities, Type::INT4_ARRAY),
        (&delays, Type::INT8_ARRAY),
        (&most, Type::INT4_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    let rows = link.query(WRITE, args).await?;
    let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "a function returned no row"))?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
