//! Endings: a responder writes them, and their caller fetches them.

use std::sync::LazyLock;

use tokio_postgres::types::Type;

use super::{Claim, Direct, Segment, Snapshot, direct, nothing};
use crate::{
    Result,
    listener::{Args, Link},
};

const REPLY: [&str; 4] =
    each_segment!("select * from trunkline._request_reply_", "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
static DIRECT_REPLY: Direct = LazyLock::new(|| direct("reply"));
static DIRECT_FETCH: Direct = LazyLock::new(|| direct("fetch"));
const REFUSED: [&str; 4] = each_segment!("select trunkline._request_refused_", "($1, $2, $3, $4, $5)");
const FETCH: [&str; 4] = each_segment!(
    "select seen, id, corr, attempt, part, status, content, code, payload, headers from trunkline._request_fetch_",
    "($1, $2)"
);
/// Answers one request in the application's transaction: 0 when that was refused.
pub(crate) const REPLY_ON: [&str; 2] =
    each_ring!("select trunkline._request_reply_", "($1, $2, $3, 0, 0, $4, null, $5, null)::int::bigint");

/// An ending, or a part, as a responder writes it.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) claim: Claim,
    pub(crate) part: i32,
    pub(crate) status: i16,
    pub(crate) content: i16,
    pub(crate) code: Option<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// Writes endings, and rings their callers: the positions (from 1) that were refused. `again`: an earlier try may have been
/// committed, so that what is there of them already was ours.
pub(crate) async fn reply(
    link: &Link,
    segment: Segment,
    callers: &[i32],
    batch: &[&Ending],
    again: bool,
) -> Result<Vec<i32>> {
    let takes: Vec<i64> = batch.iter().map(|e| e.claim.take).collect();
    let tokens: Vec<i64> = batch.iter().map(|e| e.claim.token).collect();
    let slots: Vec<i32> = batch.iter().map(|e| e.claim.slot).collect();
    let parts: Vec<i32> = batch.iter().map(|e| e.part).collect();
    let statuses: Vec<i16> = batch.iter().map(|e| e.status).collect();
    let contents: Vec<i16> = batch.iter().map(|e| e.content).collect();
    let codes: Vec<Option<&str>> = batch.iter().map(|e| e.code.as_deref()).collect();
    let payloads: Vec<&[u8]> = batch.iter().map(|e| e.payload.as_slice()).collect();
    let headers: Vec<Option<&str>> = batch.iter().map(|e| e.headers.as_deref()).collect();
    let args: &Args<'_> = &[
        (&callers, Type::INT4_ARRAY),
        (&takes, Type::INT8_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&slots, Type::INT4_ARRAY),
        (&parts, Type::INT4_ARRAY),
        (&statuses, Type::INT2_ARRAY),
        (&contents, Type::INT2_ARRAY),
        (&codes, Type::TEXT_ARRAY),
        (&payloads, Type::BYTEA_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    let (accepted, xid) = if link.direct.is_some() && parts.iter().all(|p| *p == 0) {
        let args: Vec<_> = args.iter().enumerate().filter(|(i, _)| *i != 4).map(|(_, a)| a.clone()).collect();
        let rows = link.query(&DIRECT_REPLY[segment.index()], &args).await?;
        (rows.len(), rows.first().map_or(Ok(String::from("0")), |row| row.try_get(0))?)
    } else {
        let rows = link.query(REPLY[segment.index()], args).await?;
        let row = rows.first().ok_or_else(nothing)?;
        (usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0), row.try_get(1)?)
    };
    if accepted == batch.len() {
        return Ok(Vec::new());
    }
    let xid = (!again).then_some(xid);
    let args: &Args<'_> = &[
        (&xid, Type::TEXT),
        (&takes, Type::INT8_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&slots, Type::INT4_ARRAY),
        (&parts, Type::INT4_ARRAY),
    ];
    link.value(REFUSED[segment.index()], args).await
}

/// An ending, or a part, as its caller reads it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: i64,
    pub(crate) corr: i64,
    pub(crate) attempt: i32,
    pub(crate) part: i32,
    pub(crate) status: i16,
    pub(crate) content: i16,
    pub(crate) code: Option<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// What came for this session after `since`, which is moved on.
pub(crate) async fn fetch(link: &Link, segment: Segment, since: &mut Snapshot) -> Result<Vec<Ended>> {
    let rows = if link.direct.is_some() && since.is_near() {
        let xmin = since.xmin();
        let args: &Args<'_> =
            &[(&link.session, Type::INT4), (&*since, Type::PG_SNAPSHOT), (&xmin, Type::XID8)];
        link.query(&DIRECT_FETCH[segment.index()], args).await?
    } else {
        let args: &Args<'_> = &[(&link.session, Type::INT4), (&*since, Type::PG_SNAPSHOT)];
        link.query(FETCH[segment.index()], args).await?
    };
    let ended = rows.iter().map(|row| {
        Ok(Ended {
            id: row.try_get(1)?,
            corr: row.try_get(2)?,
            attempt: row.try_get(3)?,
            part: row.try_get(4)?,
            status: row.try_get(5)?,
            content: row.try_get(6)?,
            code: row.try_get(7)?,
            payload: row.try_get::<_, Option<_>>(8)?.unwrap_or_default(),
            headers: row.try_get(9)?,
        })
    });
    let ended = ended.collect::<Result<Vec<_>>>()?;
    if let Some(row) = rows.first() {
        *since = row.try_get(0)?;
    }
    Ok(ended)
}
