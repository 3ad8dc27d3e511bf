//! Pushes as they are written: many in one statement (`writer.rs`).

use tokio_postgres::types::{ToSql, Type};

use super::NewJob;
use crate::{
    Error, ErrorKind, Result,
    listener::Link,
    requests::{Content, encode_headers},
    writer::{Writer, Written},
};

pub(super) const WRITE: &str =
    "select ids, array[door] from trunkline._job_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// Pushes jobs, once they are checked: their ids, in order.
pub(super) async fn push(writer: &Writer<NewJob>, queue: &str, jobs: Vec<NewJob>) -> Result<Vec<i64>> {
    for (number, job) in (1..).zip(&jobs) {
        job.check().map_err(|e| match jobs.len() {
            1 => e,
            _ => Error::new(e.kind(), format!("job {number}: {e}")),
        })?;
    }
    writer.write(queue, jobs).await
}

impl Written for NewJob {
    fn bytes(&self) -> usize {
        self.payload.bytes().len()
    }

    async fn write(link: &Link, queue: &str, jobs: &[&Self]) -> Result<(Vec<i64>, Vec<i32>)> {
        let columns = Columns::of(jobs.iter().copied())?;
        let rows = link.query(WRITE, &columns.args(&queue)).await?;
        let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "a function returned no row"))?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
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
    options: Vec<Option<String>>,
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
            headers: jobs.clone().map(|j| encode_headers(&j.headers)).collect::<Result<_>>()?,
            options: jobs.map(|j| j.options.encode()).collect(),
        })
    }

    pub(super) fn args<'b>(&'b self, queue: &'b &'b str) -> [(&'b (dyn ToSql + Sync), Type); 12] {
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
            (&self.options, Type::TEXT_ARRAY),
        ]
    }
}
