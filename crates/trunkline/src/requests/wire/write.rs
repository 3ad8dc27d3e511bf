//! Writing requests: all of a batch, or none of it.

use std::sync::LazyLock;

use tokio_postgres::types::Type;

use super::{Direct, Ring, Segment, direct};
use crate::{
    Result,
    listener::{Args, Link},
};

const WRITE: [&str; 4] = each_segment!(
    "select id, absent from trunkline._request_write_",
    "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
);
static DIRECT_WRITE: Direct = LazyLock::new(|| direct("write"));
/// Writes one request in the application's transaction.
pub(crate) const WRITE_ON: [&str; 2] =
    each_ring!("select trunkline._request_write_", "($1, $2, $3, $4, $5, $6, $7, $8)");

/// A request as it is written. Flags: see `_request_write_e0.sql`.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) ring: Ring,
    pub(crate) corr: i64,
    pub(crate) lane: i32,
    pub(crate) kind: String,
    pub(crate) timeout_ms: i32,
    pub(crate) flags: i32,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// What a write did: the id of each request, or (nothing was written then) the lanes that nobody serves.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) ids: Vec<i64>,
    pub(crate) absent: Vec<i32>,
}

fn distinct(lanes: impl Iterator<Item = i32>) -> Vec<i32> {
    let mut lanes: Vec<i32> = lanes.collect();
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

/// Writes requests: all, or none when nobody serves a lane whose request asked to fail then.
pub(crate) async fn write(link: &Link, segment: Segment, batch: &[Outgoing]) -> Result<Written> {
    let doors = distinct(batch.iter().map(|o| o.lane));
    let needed = distinct(batch.iter().filter(|o| o.flags & 32 != 0).map(|o| o.lane));
    let corrs: Vec<i64> = batch.iter().map(|o| o.corr).collect();
    let kinds: Vec<&str> = batch.iter().map(|o| o.kind.as_str()).collect();
    let timeouts: Vec<i32> = batch.iter().map(|o| o.timeout_ms).collect();
    let flags: Vec<i32> = batch.iter().map(|o| o.flags).collect();
    let payloads: Vec<&[u8]> = batch.iter().map(|o| o.payload.as_slice()).collect();
    let headers: Vec<Option<&str>> = batch.iter().map(|o| o.headers.as_deref()).collect();
    let said: &Args<'_> = &[
        (&kinds, Type::TEXT_ARRAY),
        (&timeouts, Type::INT4_ARRAY),
        (&flags, Type::INT4_ARRAY),
        (&payloads, Type::BYTEA_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    if let ([lane], Some(role)) = (doors.as_slice(), &link.direct) {
        let must = !needed.is_empty();
        let to: &Args<'_> = &[
            (&link.session, Type::INT4),
            (lane, Type::INT4),
            (&must, Type::BOOL),
            (role, Type::TEXT),
            (&corrs, Type::INT8_ARRAY),
        ];
        let rows = link.query(&DIRECT_WRITE[segment.index()], &[to, said].concat()).await?;
        let ids = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<i64>>>()?;
        let absent = if ids.is_empty() { doors } else { Vec::new() };
        return Ok(Written { ids, absent });
    }
    let lanes: Vec<i32> = batch.iter().map(|o| o.lane).collect();
    let to: &Args<'_> = &[
        (&link.session, Type::INT4),
        (&doors, Type::INT4_ARRAY),
        (&needed, Type::INT4_ARRAY),
        (&corrs, Type::INT8_ARRAY),
        (&lanes, Type::INT4_ARRAY),
    ];
    let mut written = Written::default();
    for row in &link.query(WRITE[segment.index()], &[to, said].concat()).await? {
        match row.try_get::<_, Option<i64>>(0)? {
            Some(id) => written.ids.push(id),
            None => written.absent.push(row.try_get(1)?),
        }
    }
    Ok(written)
}
