//! The statements of the engine, and their rows. Each exists for the ephemeral and for the durable ring.

use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{Result, listener::Link};

/// Which ring a channel's requests are kept in; bit 1 of every id tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ring {
    Ephemeral,
    Durable,
}

impl Ring {
    pub(crate) const BOTH: [Self; 2] = [Self::Ephemeral, Self::Durable];

    pub(crate) fn durable(durable: bool) -> Self {
        if durable { Self::Durable } else { Self::Ephemeral }
    }

    fn pick(self, pair: [&'static str; 2]) -> &'static str {
        match self {
            Self::Ephemeral => pair[0],
            Self::Durable => pair[1],
        }
    }
}

const LANE: &str = "select lane, durable from trunkline._request_lane($1)";
const SERVE: &str = "select lane, durable, own from trunkline._request_serve($1, $2, $3)";
const CROWD: &str = "select trunkline._request_crowd($1, $2)";
const UNSERVE: &str = "select trunkline._request_unserve($1, $2)::text";
const SNAPSHOT: &str = "select pg_current_snapshot()::text";
const WRITE: [&str; 2] = [
    "select trunkline._request_write_e($1, $2, $3, $4, $5, $6, $7, $8)",
    "select trunkline._request_write_d($1, $2, $3, $4, $5, $6, $7, $8)",
];
const TAKE: [&str; 2] = [
    "select t.more, t.take, t.token, t.lefts, (t.slice).ids, (t.slice).attempts, (t.slice).callers, (t.slice).flags, (t.slice).kinds, (t.slice).payloads, (t.slice).headers from trunkline._request_take_e($1, $2, $3, $4) t",
    "select t.more, t.take, t.token, t.lefts, (t.slice).ids, (t.slice).attempts, (t.slice).callers, (t.slice).flags, (t.slice).kinds, (t.slice).payloads, (t.slice).headers from trunkline._request_take_d($1, $2, $3, $4) t",
];
const REPLY: [&str; 2] = [
    "select trunkline._request_reply_e($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    "select trunkline._request_reply_d($1, $2, $3, $4, $5, $6, $7, $8, $9)",
];
const FETCH: [&str; 2] = [
    "select seen::text, ids, corrs, attempts, parts, statuses, contents, codes, payloads, headers from trunkline._request_fetch_e($1, $2::text::pg_snapshot)",
    "select seen::text, ids, corrs, attempts, parts, statuses, contents, codes, payloads, headers from trunkline._request_fetch_d($1, $2::text::pg_snapshot)",
];
const FINISH: [&str; 2] = [
    "select trunkline._request_finish_e($1, $2, false)",
    "select trunkline._request_finish_d($1, $2, false)",
];
const OUTCOME: [&str; 2] = [
    "select id, status, content, code, payload, headers from trunkline._request_outcome_e($1)",
    "select id, status, content, code, payload, headers from trunkline._request_outcome_d($1)",
];
const WATCH: [&str; 2] =
    ["select trunkline._request_watch_e($1, $2, $3)", "select trunkline._request_watch_d($1, $2, $3)"];
const REAP: &str = "select trunkline._session_reap()";

/// A request as it is written. Flags: see `_request_write_e`.
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

pub(crate) async fn write(link: &Link, ring: Ring, batch: &[Outgoing]) -> Result<Vec<i64>> {
    let corrs: Vec<i64> = batch.iter().map(|o| o.corr).collect();
    let lanes: Vec<i32> = batch.iter().map(|o| o.lane).collect();
    let kinds: Vec<&str> = batch.iter().map(|o| o.kind.as_str()).collect();
    let timeouts: Vec<i32> = batch.iter().map(|o| o.timeout_ms).collect();
    let flags: Vec<i32> = batch.iter().map(|o| o.flags).collect();
    let payloads: Vec<&[u8]> = batch.iter().map(|o| o.payload.as_slice()).collect();
    let headers: Vec<Option<&str>> = batch.iter().map(|o| o.headers.as_deref()).collect();
    link.value(
        ring.pick(WRITE),
        &[
            (&link.session, Type::INT4),
            (&corrs, Type::INT8_ARRAY),
            (&lanes, Type::INT4_ARRAY),
            (&kinds, Type::TEXT_ARRAY),
            (&timeouts, Type::INT4_ARRAY),
            (&flags, Type::INT4_ARRAY),
            (&payloads, Type::BYTEA_ARRAY),
            (&headers, Type::TEXT_ARRAY),
        ],
    )
    .await
}

/// The right to answer one request: a slot of a take, with its token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) take: i64,
    pub(crate) token: i64,
    pub(crate) slot: i32,
}

/// A request as it was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) claim: Claim,
    pub(crate) id: i64,
    pub(crate) attempt: i32,
    pub(crate) caller: i32,
    pub(crate) flags: i32,
    pub(crate) left_ms: i32,
    pub(crate) kind: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Option<String>,
}

/// Takes from a lane: what was taken, and whether to look again.
pub(crate) async fn take(
    link: &Link,
    ring: Ring,
    lane: i32,
    types: Option<&[String]>,
    max: i32,
) -> Result<(bool, Vec<Taken>)> {
    let args: &crate::listener::Args<'_> =
        &[(&link.session, Type::INT4), (&lane, Type::INT4), (&types, Type::TEXT_ARRAY), (&max, Type::INT4)];
    let rows = link.query(ring.pick(TAKE), args).await?;
    let Some(row) = rows.first() else { return Ok((false, Vec::new())) };
    let more: bool = row.try_get(0)?;
    let Some(ids) = row.try_get::<_, Option<Vec<i64>>>(4)? else { return Ok((more, Vec::new())) };
    let (take, token): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
    let mut lefts = column::<i32>(row, 3)?;
    let mut attempts = column::<i32>(row, 5)?;
    let mut callers = column::<i32>(row, 6)?;
    let mut flags = column::<i32>(row, 7)?;
    let mut kinds = column::<String>(row, 8)?;
    let mut payloads = column::<Vec<u8>>(row, 9)?;
    let mut headers = column::<Option<String>>(row, 10)?;
    let taken = ids.into_iter().zip(1..).map(|(id, slot)| Taken {
        claim: Claim { take, token, slot },
        id,
        attempt: attempts.next().unwrap_or(1),
        caller: callers.next().unwrap_or(0),
        flags: flags.next().unwrap_or(0),
        left_ms: lefts.next().unwrap_or(0),
        kind: kinds.next().unwrap_or_default(),
        payload: payloads.next().unwrap_or_default(),
        headers: headers.next().flatten(),
    });
    Ok((more, taken.collect()))
}

fn column<T>(row: &Row, index: usize) -> Result<std::vec::IntoIter<T>>
where
    Vec<T>: for<'a> tokio_postgres::types::FromSql<'a>,
{
    Ok(row.try_get::<_, Vec<T>>(index)?.into_iter())
}

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

/// Writes endings: the positions (from 1) that were refused.
pub(crate) async fn reply(link: &Link, ring: Ring, batch: &[&Ending]) -> Result<Vec<i32>> {
    let takes: Vec<i64> = batch.iter().map(|e| e.claim.take).collect();
    let tokens: Vec<i64> = batch.iter().map(|e| e.claim.token).collect();
    let slots: Vec<i32> = batch.iter().map(|e| e.claim.slot).collect();
    let parts: Vec<i32> = batch.iter().map(|e| e.part).collect();
    let statuses: Vec<i16> = batch.iter().map(|e| e.status).collect();
    let contents: Vec<i16> = batch.iter().map(|e| e.content).collect();
    let codes: Vec<Option<&str>> = batch.iter().map(|e| e.code.as_deref()).collect();
    let payloads: Vec<&[u8]> = batch.iter().map(|e| e.payload.as_slice()).collect();
    let headers: Vec<Option<&str>> = batch.iter().map(|e| e.headers.as_deref()).collect();
    link.value(
        ring.pick(REPLY),
        &[
            (&takes, Type::INT8_ARRAY),
            (&tokens, Type::INT8_ARRAY),
            (&slots, Type::INT4_ARRAY),
            (&parts, Type::INT4_ARRAY),
            (&statuses, Type::INT2_ARRAY),
            (&contents, Type::INT2_ARRAY),
            (&codes, Type::TEXT_ARRAY),
            (&payloads, Type::BYTEA_ARRAY),
            (&headers, Type::TEXT_ARRAY),
        ],
    )
    .await
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

/// Where a caller's window begins now.
pub(crate) async fn snapshot(link: &Link) -> Result<String> {
    link.value(SNAPSHOT, &[]).await
}

/// What came for this session after `since`, and the next `since`.
pub(crate) async fn fetch(link: &Link, ring: Ring, since: &str) -> Result<(String, Vec<Ended>)> {
    let rows = link.query(ring.pick(FETCH), &[(&link.session, Type::INT4), (&since, Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok((since.to_owned(), Vec::new())) };
    let seen: String = row.try_get(0)?;
    let Some(ids) = row.try_get::<_, Option<Vec<i64>>>(1)? else { return Ok((seen, Vec::new())) };
    let mut corrs = column::<i64>(row, 2)?;
    let mut attempts = column::<i32>(row, 3)?;
    let mut parts = column::<i32>(row, 4)?;
    let mut statuses = column::<i16>(row, 5)?;
    let mut contents = column::<i16>(row, 6)?;
    let mut codes = column::<Option<String>>(row, 7)?;
    let mut payloads = column::<Option<Vec<u8>>>(row, 8)?;
    let mut headers = column::<Option<String>>(row, 9)?;
    let ended = ids.into_iter().map(|id| Ended {
        id,
        corr: corrs.next().unwrap_or(0),
        attempt: attempts.next().unwrap_or(1),
        part: parts.next().unwrap_or(0),
        status: statuses.next().unwrap_or(5),
        content: contents.next().unwrap_or(0),
        code: codes.next().flatten(),
        payload: payloads.next().flatten().unwrap_or_default(),
        headers: headers.next().flatten(),
    });
    Ok((seen, ended.collect()))
}

/// Ends requests as their caller; the ids for which that was the outcome.
pub(crate) async fn finish(link: &Link, ring: Ring, ids: &[i64], status: i32) -> Result<Vec<i64>> {
    link.value(ring.pick(FINISH), &[(&ids, Type::INT8_ARRAY), (&status, Type::INT4)]).await
}

/// How requests stand, by id: those that are missing are unknown, `status` none is open.
pub(crate) async fn outcome(link: &Link, ring: Ring, ids: &[i64]) -> Result<Vec<(i64, Option<Ended>)>> {
    let rows = link.query(ring.pick(OUTCOME), &[(&ids, Type::INT8_ARRAY)]).await?;
    rows.iter()
        .map(|row| {
            let id: i64 = row.try_get(0)?;
            let Some(status) = row.try_get::<_, Option<i16>>(1)? else { return Ok((id, None)) };
            Ok((
                id,
                Some(Ended {
                    id,
                    corr: 0,
                    attempt: 0,
                    part: 0,
                    status,
                    content: row.try_get::<_, Option<i16>>(2)?.unwrap_or(0),
                    code: row.try_get(3)?,
                    payload: row.try_get::<_, Option<Vec<u8>>>(4)?.unwrap_or_default(),
                    headers: row.try_get(5)?,
                }),
            ))
        })
        .collect()
}

/// Of what is being handled: the ids that ended meanwhile.
pub(crate) async fn watch(link: &Link, ring: Ring, held: &[(i64, i32, i32)]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = held.iter().map(|h| h.0).collect();
    let attempts: Vec<i32> = held.iter().map(|h| h.1).collect();
    let callers: Vec<i32> = held.iter().map(|h| h.2).collect();
    let args: [(&(dyn ToSql + Sync), Type); 3] =
        [(&ids, Type::INT8_ARRAY), (&attempts, Type::INT4_ARRAY), (&callers, Type::INT4_ARRAY)];
    link.value(ring.pick(WATCH), &args).await
}

/// The lane and ring of a destination; makes a channel on its first use.
pub(crate) async fn lane(link: &Link, destination: &str) -> Result<(i32, Ring)> {
    lane_of(&link.query(LANE, &[(&destination, Type::TEXT)]).await?)
}

/// Registers this session as responder of a channel: the channel's lane, its ring, and the responder's own lane.
pub(crate) async fn serve(link: &Link, channel: &str, types: Option<&[String]>) -> Result<(i32, Ring, i32)> {
    let args: &crate::listener::Args<'_> =
        &[(&link.session, Type::INT4), (&channel, Type::TEXT), (&types, Type::TEXT_ARRAY)];
    let rows = link.query(SERVE, args).await?;
    let (lane, ring) = lane_of(&rows)?;
    Ok((lane, ring, rows.first().map_or(Ok(lane), |r| r.try_get(2))?))
}

/// The own lanes of all responders of a channel that are here now.
pub(crate) async fn crowd(link: &Link, channel: &str, kind: &str) -> Result<Vec<i32>> {
    link.value(CROWD, &[(&channel, Type::TEXT), (&kind, Type::TEXT)]).await
}

fn lane_of(rows: &[Row]) -> Result<(i32, Ring)> {
    let row = rows
        .first()
        .ok_or_else(|| crate::Error::new(crate::ErrorKind::Other, "the lane function returned no row"))?;
    Ok((row.try_get(0)?, Ring::durable(row.try_get(1)?)))
}

pub(crate) async fn unserve(link: &Link, lane: i32) -> Result<()> {
    link.query(UNSERVE, &[(&link.session, Type::INT4), (&lane, Type::INT4)]).await.map(drop)
}

/// Buries sessions whose process is gone.
pub(crate) async fn reap(link: &Link) -> Result<i32> {
    link.value(REAP, &[]).await
}
