//! Writes of many tasks: one statement in flight, and whatever is written meanwhile goes into the next.
//!
//! Guarantee: an id comes back once its item is committed. What if it dies here: what was not written is not, and who
//! waits is told; a connection that ends in the middle leaves in doubt whether it was written, and says so.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use crate::{
    ErrorKind, Result,
    listener::{Link, Listener, closed},
};

/// Waiting writes taken together, and the bytes of payload in one statement; a single write may be larger.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// How items are written: many of one target, a stream or a queue, in one statement.
pub(crate) trait Written: Sized + Send + Sync + 'static {
    /// Bytes of payload.
    fn bytes(&self) -> usize;

    /// One statement: the ids in order, and the doors that it rang, for who sleeps in this process.
    fn write(
        link: &Link,
        target: &str,
        items: &[&Self],
    ) -> impl Future<Output = Result<(Vec<i64>, Vec<i32>)>> + Send;
}

/// Items of one write, which go into one statement, and who waits for their ids.
#[derive(Debug)]
struct Waiting<T> {
    target: String,
    items: Vec<T>,
    written: oneshot::Sender<Result<Vec<i64>>>,
}

#[derive(Debug)]
pub(crate) struct Writer<T> {
    queue: mpsc::Sender<Waiting<T>>,
}

impl<T: Written> Writer<T> {
    pub(crate) fn start(listener: Arc<Listener>) -> Self {
        let (queue, waiting) = mpsc::channel(4096);
        tokio::spawn(pump(listener, waiting));
        Self { queue }
    }

    /// Writes items that were checked: their ids, in order. All of them, or none.
    pub(crate) async fn write(&self, target: &str, items: Vec<T>) -> Result<Vec<i64>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let (written, ids) = oneshot::channel();
        let waiting = Waiting { target: target.to_owned(), items, written };
        self.queue.send(waiting).await.map_err(|_| closed())?;
        ids.await.map_err(|_| closed())?
    }
}

async fn pump<T: Written>(listener: Arc<Listener>, mut queue: mpsc::Receiver<Waiting<T>>) {
    let mut all = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut all, BATCH).await > 0 {
        let mut targets: HashMap<String, Vec<Waiting<T>>> = HashMap::new();
        for waiting in all.drain(..) {
            targets.entry(waiting.target.clone()).or_default().push(waiting);
        }
        let Ok(link) = listener.link().await else { return };
        for (target, mut waiting) in targets {
            while !waiting.is_empty() {
                let mut bytes = 0;
                let fits = waiting.iter().take_while(|w| {
                    bytes += w.items.iter().map(T::bytes).sum::<usize>();
                    bytes <= BATCH_BYTES
                });
                let fits = fits.count().max(1);
                write(&listener, &link, &target, waiting.drain(..fits).collect()).await;
            }
        }
    }
}

/// Writes items of one target. Those that are refused must not take their neighbours with them.
async fn write<T: Written>(listener: &Listener, link: &Link, target: &str, group: Vec<Waiting<T>>) {
    let items: Vec<&T> = group.iter().flat_map(|w| &w.items).collect();
    match T::write(link, target, &items).await {
        Ok((mut ids, doors)) => {
            doors.into_iter().for_each(|door| listener.ring(door)); // nobody notifies itself
            for waiting in group {
                let rest = ids.split_off(waiting.items.len().min(ids.len()));
                let _ = waiting.written.send(Ok(std::mem::replace(&mut ids, rest)));
            }
        }
        Err(e) if group.len() > 1 && e.kind() != ErrorKind::Unreachable => {
            for waiting in group {
                Box::pin(write(listener, link, target, vec![waiting])).await;
            }
        }
        Err(e) => {
            for waiting in group {
                let _ = waiting.written.send(Err(e.again()));
            }
        }
    }
}
