//! Appends as they are written: many in one statement (`writer.rs`).

use tokio_postgres::types::{ToSql, Type};

use super::{Content, NewEvent};
use crate::{
    Result,
    listener::Link,
    requests::encode_headers,
    writer::{Writer, Written},
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

/// Appends events, once they are checked: their ids, in order.
pub(super) async fn append(
    writer: &Writer<NewEvent>,
    stream: &str,
    events: Vec<NewEvent>,
) -> Result<Vec<i64>> {
    events.iter().try_for_each(NewEvent::check)?;
    writer.write(stream, events).await
}

impl Written for NewEvent {
    fn bytes(&self) -> usize {
        self.payload.bytes().len()
    }

    async fn write(link: &Link, stream: &str, events: &[&Self]) -> Result<(Vec<i64>, Vec<i32>)> {
        let columns = Columns::of(events.iter().copied())?;
        let values = columns.args(&stream);
        let args: Vec<_> = values.into_iter().zip(TYPES).collect();
        let rows = link.query(WRITE, &args).await?;
        let door = rows.first().map_or(Ok(0), |r| r.try_get(1))?;
        let ids = rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<_, _>>()?;
        Ok((ids, vec![door]))
    }
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
