//! The append pump: one statement in flight, and whatever is appended meanwhile goes into the next.
//!
//! Guarantee: an id comes back once its event is committed. What if it dies here: what was not written is not, and who
//! waits is told; a connection that ends in the middle leaves in doubt whether it was written, and says so.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::Type;

use super::{Content, NewEvent};
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link, Listener},
};

const WRITE: &str = "select id, door from trunkline._stream_write($1, $2, $3, $4, $5, $6, $7)";
/// Waiting appends taken together, and the bytes of payload in one statement; a single append may be larger.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// Events of one append, which are written in one statement, and who waits for their ids.
#[derive(Debug)]
struct Waiting {
    stream: String,
    events: Vec<NewEvent>,
    headers: Vec<Option<String>>,
    written: oneshot::Sender<Result<Vec<i64>>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.events.iter().map(|e| e.payload.bytes().len()).sum()
    }
}

#[derive(Debug)]
pub(super) struct Appender {
    queue: mpsc::Sender<Waiting>,
}

impl Appender {
    pub(super) fn start(listener: Arc<Listener>) -> Self {
        let (queue, waiting) = mpsc::channel(4096);
        tokio::spawn(pump(listener, waiting));
        Self { queue }
    }

    pub(super) async fn append(&self, stream: &str, events: Vec<NewEvent>) -> Result<Vec<i64>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let headers = events.iter().map(NewEvent::headers).collect::<Result<Vec<_>>>()?;
        let (written, ids) = oneshot::channel();
        let waiting = Waiting { stream: stream.to_owned(), events, headers, written };
        self.queue.send(waiting).await.map_err(|_| crate::listener::closed())?;
        ids.await.map_err(|_| crate::listener::closed())?
    }
}

async fn pump(listener: Arc<Listener>, mut queue: mpsc::Receiver<Waiting>) {
    let mut all = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut all, BATCH).await > 0 {
        let mut streams: HashMap<String, Vec<Waiting>> = HashMap::new();
        for waiting in all.drain(..) {
            streams.entry(waiting.stream.clone()).or_default().push(waiting);
        }
        let Ok(link) = listener.link().await else { return };
        for (stream, mut waiting) in streams {
            while !waiting.is_empty() {
                let mut bytes = 0;
                let fits = waiting.iter().take_while(|w| {
                    bytes += w.bytes();
                    bytes <= BATCH_BYTES
                });
                let fits = fits.count().max(1);
                write(&listener, &link, &stream, waiting.drain(..fits).collect()).await;
            }
        }
    }
}

/// Writes appends of one stream. One that is refused must not take its neighbours with it.
async fn write(listener: &Listener, link: &Link, stream: &str, group: Vec<Waiting>) {
    match write_all(link, stream, &group).await {
        Ok((mut ids, door)) => {
            listener.ring(door); // nobody notifies itself
            for waiting in group {
                let rest = ids.split_off(waiting.events.len().min(ids.len()));
                let _ = waiting.written.send(Ok(std::mem::replace(&mut ids, rest)));
            }
        }
        Err(e) if group.len() > 1 && e.kind() != ErrorKind::Unreachable => {
            for waiting in group {
                Box::pin(write(listener, link, stream, vec![waiting])).await;
            }
        }
        Err(e) => {
            for waiting in group {
                let again = Error::new(e.kind(), e.to_string());
                let _ = waiting.written.send(Err(match e.code() {
                    Some(code) => again.with_code(code),
                    None => again,
                }));
            }
        }
    }
}

/// One statement: the ids in order, and the stream's door.
async fn write_all(link: &Link, stream: &str, group: &[Waiting]) -> Result<(Vec<i64>, i32)> {
    let events = || group.iter().flat_map(|w| &w.events);
    let kinds: Vec<&str> = events().map(|e| e.kind.as_str()).collect();
    let keys: Vec<Option<&str>> = events().map(|e| e.key.as_deref()).collect();
    let contents: Vec<i16> = events().map(|e| e.payload.content().code()).collect();
    let is_bytes = |e: &NewEvent| e.payload.content() == Content::Bytes;
    let texts: Vec<Option<&str>> = events()
        .map(|e| if is_bytes(e) { Ok(None) } else { e.payload.text().map(Some) })
        .collect::<Result<_>>()?;
    let bytes: Vec<Option<&[u8]>> = events().map(|e| is_bytes(e).then(|| e.payload.bytes())).collect();
    let headers: Vec<Option<&str>> = group.iter().flat_map(|w| &w.headers).map(Option::as_deref).collect();
    let args: &Args<'_> = &[
        (&stream, Type::TEXT),
        (&kinds, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&contents, Type::INT2_ARRAY),
        (&texts, Type::TEXT_ARRAY),
        (&bytes, Type::BYTEA_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    let rows = link.query(WRITE, args).await?;
    let door = rows.first().map_or(Ok(0), |r| r.try_get(1))?;
    let ids = rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<_, _>>()?;
    Ok((ids, door))
}
