//! Messages as they are published: those of many tasks, on many topics, in one statement (`writer.rs`).

use tokio_postgres::types::{ToSql, Type};

use super::message::NewMessage;
use crate::{
    Error, ErrorKind, Result,
    listener::{Args, Link},
    requests::{Content, encode_headers},
    writer::{Writer, Written},
};

const WRITE: &str =
    "select coalesce(id, 0), door from trunkline._topic_write($1, $2, $3, $4, $5, $6, $7, $8) order by n";

/// A message and its topic.
#[derive(Debug)]
pub(super) struct Outgoing {
    topic: String,
    message: NewMessage,
    headers: Option<String>,
}

/// Publishes messages on a topic: their ids, in order.
pub(super) async fn publish(
    writer: &Writer<Outgoing>,
    topic: &str,
    messages: impl Iterator<Item = NewMessage>,
) -> Result<Vec<i64>> {
    if topic.contains('\0') {
        return Err(Error::new(ErrorKind::Invalid, "topic name must not contain NUL"));
    }
    let outgoing = |message: NewMessage| {
        message.check()?;
        let headers = encode_headers(&message.headers)?;
        Ok(Outgoing { topic: topic.to_owned(), message, headers })
    };
    // Of all topics in one: the database sorts them out.
    writer.write("", messages.map(outgoing).collect::<Result<_>>()?).await
}

impl Written for Outgoing {
    fn bytes(&self) -> usize {
        self.message.payload.bytes().len()
    }

    async fn write(link: &Link, _: &str, all: &[&Self]) -> Result<(Vec<i64>, Vec<i32>)> {
        let is_bytes = |o: &Self| o.message.payload.content() == Content::Bytes;
        let text = |o| if is_bytes(o) { Ok(None) } else { o.message.payload.text().map(Some) };
        let topics: Vec<&str> = all.iter().map(|o| o.topic.as_str()).collect();
        let kinds: Vec<Option<&str>> = all.iter().map(|o| o.message.kind.map(super::Kind::word)).collect();
        let contents: Vec<i16> = all.iter().map(|o| o.message.payload.content().code()).collect();
        let texts: Vec<Option<&str>> = all.iter().map(|o| text(o)).collect::<Result<_>>()?;
        let bytes: Vec<Option<&[u8]>> =
            all.iter().map(|o| is_bytes(o).then(|| o.message.payload.bytes())).collect();
        let headers: Vec<Option<&str>> = all.iter().map(|o| o.headers.as_deref()).collect();
        let ids: Vec<Option<&str>> = all.iter().map(|o| o.message.message_id.as_deref()).collect();
        let values: [&(dyn ToSql + Sync); 8] =
            [&topics, &kinds, &contents, &texts, &bytes, &headers, &ids, &link.address];
        let types = [
            Type::TEXT_ARRAY,
            Type::TEXT_ARRAY,
            Type::INT2_ARRAY,
            Type::TEXT_ARRAY,
            Type::BYTEA_ARRAY,
            Type::TEXT_ARRAY,
            Type::TEXT_ARRAY,
            Type::UUID,
        ];
        let args: Vec<_> = values.into_iter().zip(types).collect();
        let args: &Args<'_> = &args;
        let rows = link.query(WRITE, args).await?;
        let ids = rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<_, _>>()?;
        let doors = rows.iter().map(|r| r.try_get::<_, Option<i32>>(1));
        let mut doors: Vec<i32> =
            doors.filter_map(|d| d.transpose()).collect::<std::result::Result<_, _>>()?;
        doors.sort_unstable();
        doors.dedup();
        Ok((ids, doors))
    }
}
