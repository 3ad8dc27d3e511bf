//! Jobs in bulk: one transaction on a session of its own, by COPY where the role has rights on the tables and the jobs need
//! nothing but to be done.
//!
//! Guarantee: all of them or none. Memory: a chunk of them at a time, however many there are. What if it dies here: the
//! transaction is rolled back by the server, and nothing was pushed.

use std::{
    pin::{Pin, pin},
    sync::LazyLock,
};

use futures_util::{Stream, StreamExt, stream::Peekable};
use tokio_postgres::{
    Transaction,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{
    NewJob,
    push::{self, WRITE},
};
use crate::{
    Result,
    connect::Pool,
    requests::{check_size, encode_headers},
    schema,
};

static COPY: LazyLock<[String; 4]> =
    LazyLock::new(|| ["e0", "e1", "d0", "d1"].map(|segment| schema::direct("job_load", segment)));
const TARGET: &str = "select segment, lane, door, max_bytes from trunkline._job_target($1, $2)";
const RING: &str = "select trunkline._door_ring($1)";
/// Whether COPY is allowed here; `trunkline.direct = off` does without it.
const ALLOWED: &str = "select has_table_privilege('trunkline.job_d0', 'insert') and coalesce(current_setting('trunkline.direct', true), '') <> 'off'";
const COLUMNS: [Type; 5] = [Type::INT4, Type::INT4, Type::TEXT, Type::BYTEA, Type::TEXT];
/// Jobs in one statement where COPY is not allowed.
const CHUNK: usize = 2000;

/// Loads jobs into a queue: how many.
pub(super) async fn load<S>(pool: &Pool, queue: &str, jobs: S) -> Result<u64>
where
    S: Stream<Item = NewJob> + Send,
{
    let mut jobs = pin!(jobs.peekable());
    pool.transaction(async |tx: &Transaction<'_>| {
        let allowed =
            tx.query_typed(ALLOWED, &[]).await?.first().is_some_and(|r| r.try_get(0).unwrap_or(false));
        let mut count = 0;
        while let Some(next) = jobs.as_mut().peek().await {
            next.check()?;
            let priority = i32::from(next.priority);
            let args: [(&(dyn ToSql + Sync), Type); 2] = [(&queue, Type::TEXT), (&priority, Type::INT4)];
            let rows = tx.query_typed(TARGET, &args).await?;
            let target = match rows.first() {
                Some(row) if allowed && next.is_plain() => Target {
                    segment: row.try_get::<_, i32>(0)?,
                    lane: row.try_get(1)?,
                    door: row.try_get(2)?,
                    most: usize::try_from(row.try_get::<_, i32>(3)?).unwrap_or(0),
                    priority: next.priority,
                },
                _ => Target { segment: -1, lane: 0, door: 0, most: 0, priority: 0 },
            };
            count += match usize::try_from(target.segment).ok().and_then(|n| COPY.get(n)) {
                Some(sql) => copy(tx, sql, queue, &target, jobs.as_mut()).await?,
                None => write(tx, queue, jobs.as_mut()).await?,
            };
        }
        Ok(count)
    })
    .await
}

/// Where jobs of one priority go.
struct Target {
    segment: i32,
    lane: i32,
    door: i32,
    most: usize,
    priority: u8,
}

/// The next jobs that are of the target's priority, and need nothing but to be done.
async fn copy<S>(
    tx: &Transaction<'_>,
    sql: &str,
    queue: &str,
    target: &Target,
    mut jobs: Pin<&mut Peekable<S>>,
) -> Result<u64>
where
    S: Stream<Item = NewJob> + Send,
{
    let mut writer = pin!(BinaryCopyInWriter::new(tx.copy_in(sql).await?, &COLUMNS));
    let mut count = 0;
    while let Some(job) = jobs.as_mut().next_if(|j| j.is_plain() && j.priority == target.priority).await {
        job.check()?;
        check_size(queue, job.payload.bytes(), target.most)?;
        let headers = encode_headers(&job.headers)?;
        let flags = i32::from(job.payload.content().code()) | (job.max_attempts.unwrap_or(0) << 8);
        let row: [&(dyn ToSql + Sync); 5] = [&target.lane, &flags, &job.kind, &job.payload.bytes(), &headers];
        writer.as_mut().write(&row).await?;
        count += 1;
    }
    writer.finish().await?;
    tx.query_typed(RING, &[(&target.door, Type::INT4)]).await?;
    Ok(count)
}

/// The next jobs, by a statement; one call writes a chunk.
async fn write<S>(tx: &Transaction<'_>, queue: &str, mut jobs: Pin<&mut Peekable<S>>) -> Result<u64>
where
    S: Stream<Item = NewJob> + Send,
{
    let mut chunk = Vec::new();
    while chunk.len() < CHUNK {
        let Some(job) = jobs.as_mut().next().await else { break };
        job.check()?;
        chunk.push(job);
    }
    let columns = push::Columns::of(chunk.iter())?;
    let rows = tx.query_typed(WRITE, &columns.args(&queue)).await?;
    let ids: Vec<i64> = rows.first().map_or(Ok(Vec::new()), |r| r.try_get(0))?;
    Ok(ids.len() as u64)
}
