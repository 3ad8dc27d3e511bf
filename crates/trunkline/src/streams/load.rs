//! Events in bulk: one transaction on a session of its own, by COPY where the role has rights on the tables.
//!
//! Guarantee: all of them or none. Memory: a chunk of them at a time, however many there are. What if it dies here: the
//! transaction is rolled back by the server, and nothing was appended.

use std::{pin::pin, sync::LazyLock};

use futures_util::{Stream, StreamExt};
use tokio_postgres::{
    Transaction,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use super::{
    NewEvent,
    append::{self, WRITE},
};
use crate::{
    Result,
    connect::Pool,
    requests::{check_size, encode_headers},
    schema,
};

static COPY: LazyLock<String> = LazyLock::new(|| schema::direct("stream_load", "e0"));
const TARGET: &str = "select segment, door, max_bytes from trunkline._stream_target($1)";
const RING: &str = "select trunkline._door_ring($1)";
/// Whether COPY is allowed here; `trunkline.direct = off` does without it.
const ALLOWED: &str = "select has_table_privilege('trunkline.stream_event', 'insert') and coalesce(current_setting('trunkline.direct', true), '') <> 'off'";
const COLUMNS: [Type; 6] = [Type::INT4, Type::TEXT, Type::TEXT, Type::INT2, Type::BYTEA, Type::TEXT];
/// Events in one statement where COPY is not allowed.
const CHUNK: usize = 2000;

/// Loads events into a stream: how many.
pub(super) async fn load<S>(pool: &Pool, stream: &str, events: S) -> Result<u64>
where
    S: Stream<Item = NewEvent> + Send,
{
    let mut events = pin!(events);
    pool.transaction(async |tx: &Transaction<'_>| {
        let target = tx.query_typed(TARGET, &[(&stream, Type::TEXT)]).await?;
        let allowed =
            tx.query_typed(ALLOWED, &[]).await?.first().is_some_and(|r| r.try_get(0).unwrap_or(false));
        let (Some(target), true) = (target.first(), allowed) else {
            return write(tx, stream, &mut events).await;
        };
        let (segment, door, most): (i32, i32, i32) =
            (target.try_get(0)?, target.try_get(1)?, target.try_get(2)?);
        let most = usize::try_from(most).unwrap_or(0);
        let mut writer = pin!(BinaryCopyInWriter::new(tx.copy_in(COPY.as_str()).await?, &COLUMNS));
        let mut count = 0;
        while let Some(event) = events.next().await {
            event.check()?;
            check_size(stream, event.payload.bytes(), most)?;
            let headers = encode_headers(&event.headers)?;
            let content = event.payload.content().code();
            let row: [&(dyn ToSql + Sync); 6] =
                [&segment, &event.kind, &event.key, &content, &event.payload.bytes(), &headers];
            writer.as_mut().write(&row).await?;
            count += 1;
        }
        writer.finish().await?;
        tx.query_typed(RING, &[(&door, Type::INT4)]).await?;
        Ok(count)
    })
    .await
}

async fn write<S>(tx: &Transaction<'_>, stream: &str, events: &mut S) -> Result<u64>
where
    S: Stream<Item = NewEvent> + Send + Unpin,
{
    let statement = tx.prepare_typed(WRITE, &append::TYPES).await?;
    let mut count = 0;
    let mut chunks = events.ready_chunks(CHUNK);
    while let Some(chunk) = chunks.next().await {
        let columns = append::Columns::of(chunk.iter())?;
        count += tx.query(&statement, &columns.args(&stream)).await?.len() as u64;
    }
    Ok(count)
}
