//! The push pump: one statement in flight, and whatever is pushed meanwhile goes into the next.
//!
//! Guarantee: an id comes back once its job is committed. What if it dies here: what was not written is not, and who waits is
//! told; a connection that ends in the middle leaves in doubt whether it was written, and says so.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::{ToSql, Type};

use super::NewJob;
use crate::{
    Error, ErrorKind, Result,
    listener::{Link, Listener},
    requests::{Content, encode_headers},
};

pub(super) const WRITE: &str =
    "select ids, door from trunkline._job_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
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
        for (number, job) in (1..).zip(&jobs) {
            job.check().map_err(|e| match jobs.len() {
                1 => e,
                _ => Error::new(e.kind(), format!("job {number}: {e}")),
            })?;
        }
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
    let columns = Columns::of(group.iter().flat_map(|w| &w.jobs))?;
    let rows = link.query(WRITE, &columns.args(&queue)).await?;
    let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "a function returned no row"))?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Jobs as [`WRITE`] takes them, column by column.
pub(super) struct Columns<'a> {
    contents: Vec<i32>,
    texts: Vec<Option<&'a str>>,
    bytes: Vec<Option<&'a [u8]>>,
    kinds: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    unique_keys: Vec<Option<&'a str>>,
    priorities: Vec<i32>,
    delays: Vec<Option<i64>>,
    most: Vec<Option<i32>>,
    headers: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(jobs: impl Iterator<Item = &'a NewJob> + Clone) -> Result<Self> {
        let is_bytes = |j: &NewJob| j.payload.content() == Content::Bytes;
        let text = |j: &'a NewJob| if is_bytes(j) { Ok(None) } else { j.payload.text().map(Some) };
        Ok(Self {
            contents: jobs.clone().map(|j| i32::from(j.payload.content().code())).collect(),
            texts: jobs.clone().map(text).collect::<Result<_>>()?,
            bytes: jobs.clone().map(|j| is_bytes(j).then(|| j.payload.bytes())).collect(),
            kinds: jobs.clone().map(|j| j.kind.as_str()).collect(),
            keys: jobs.clone().map(|j| j.key.as_deref()).collect(),
            unique_keys: jobs.clone().map(|j| j.unique_key.as_deref()).collect(),
            priorities: jobs.clone().map(|j| j.priority.into()).collect(),
            delays: jobs.clone().map(NewJob::delay_ms).collect(),
            most: jobs.clone().map(|j| j.max_attempts).collect(),
            headers: jobs.map(|j| encode_headers(&j.headers)).collect::<Result<_>>()?,
        })
    }

    pub(super) fn args<'b>(&'b self, queue: &'b &'b str) -> [(&'b (dyn ToSql + Sync), Type); 11] {
        [
            (queue, Type::TEXT),
            (&self.contents, Type::INT4_ARRAY),
            (&self.texts, Type::TEXT_ARRAY),
            (&self.bytes, Type::BYTEA_ARRAY),
            (&self.kinds, Type::TEXT_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
            (&self.unique_keys, Type::TEXT_ARRAY),
            (&self.priorities, Type::INT4_ARRAY),
            (&self.delays, Type::INT8_ARRAY),
            (&self.most, Type::INT4_ARRAY),
            (&self.headers, Type::TEXT_ARRAY),
        ]
    }
}
