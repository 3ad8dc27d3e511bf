//! The append pump: one statement in flight, and whatever is appended meanwhile goes into the next.
//!
//! Guarantee: an id comes back once its event is committed. What if it dies here: what was not written is not, and who
//! waits is told; a connection that ends in the middle leaves in doubt whether it was written, and says so.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::{ToSql, Type};

use super::{Content, NewEvent};
use crate::{
    Error, ErrorKind, Result,
    listener::{Link, Listener},
    requests::encode_headers,
};

pub(super) const WRITE: &str = "select id, door from trunkline._stream_write($1, $2, $3, $4, $5, $6, $7)";
pub(super) const TYPES: [Type; 7] = [
    Type::TEXT,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT2_ARRAY,
    Type::TEXT_ARRAY,
    Type::BYTEA_ARRAY,
    Type::TEXT_ARRAY,
];
/// Waiting appends taken together, and the bytes of payload in one statement; a single append may be larger.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 4 << 20;

/// Events of one append, which are written in one statement, and who waits for their ids.
#[derive(Debug)]
struct Waiting {
    stream: String,
    events: Vec<NewEvent>,
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
        events.iter().try_for_each(NewEvent::check)?;
        let (written, ids) = oneshot::channel();
        let waiting = Waiting { stream: stream.to_owned(), events, written };
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
    let columns = Columns::of(group.iter().flat_map(|w| &w.events))?;
    let values = columns.args(&stream);
    let args: Vec<_> = values.into_iter().zip(TYPES).collect();
    let rows = link.query(WRITE, &args).await?;
    let door = rows.first().map_or(Ok(0), |r| r.try_get(1))?;
    let ids = rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<_, _>>()?;
    Ok((ids, door))
}

/// Events as [`WRITE`] takes them, column by column.
pub(super) struct Columns<'a> {
    kinds: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    contents: Vec<i16>,
    texts: Vec<Option<&'a str>>,
    bytes: Vec<Option<&'a [u8]>>,
    headers: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(events: impl Iterator<Item = &'a NewEvent> + Clone) -> Result<Self> {
        let is_bytes = |e: &NewEvent| e.payload.content() == Content::Bytes;
        let text = |e: &'a NewEvent| if is_bytes(e) { Ok(None) } else { e.payload.text().map(Some) };
        Ok(Self {
            kinds: events.clone().map(|e| e.kind.as_str()).collect(),
            keys: events.clone().map(|e| e.key.as_deref()).collect(),
            contents: events.clone().map(|e| e.payload.content().code()).collect(),
            texts: events.clone().map(text).collect::<Result<_>>()?,
            bytes: events.clone().map(|e| is_bytes(e).then(|| e.payload.bytes())).collect(),
            headers: events.map(|e| encode_headers(&e.headers)).collect::<Result<_>>()?,
        })
    }

    pub(super) fn args<'b>(&'b self, stream: &'b &'b str) -> [&'b (dyn ToSql + Sync); 7] {
        [stream, &self.kinds, &self.keys, &self.contents, &self.texts, &self.bytes, &self.headers]
    }
}
