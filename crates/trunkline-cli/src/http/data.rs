//! What the pages and the API ask of the database: every statement, each a call of functions.
//!
//! At most four sessions, and one for batches, apart from the daemon's own; a statement whose viewer went away is cancelled.

use std::time::SystemTime;

use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use trunkline::{
    Result,
    connect::{Pool, PoolOptions},
    conninfo::ConnInfo,
    doctor::{self, Finding},
};

use super::problem::{Answer, Problem};
use crate::input;

const SNAPSHOT: &str = "select jsonb_build_object(
    'at', extract(epoch from clock_timestamp()),
    'queues', (select coalesce(jsonb_agg(to_jsonb(q) - 'settings' || jsonb_build_object('oldest', extract(epoch from q.oldest), 'limits',
                           (select jsonb_object_agg(l.key, case when l.key like '%period' then to_jsonb(extract(epoch from (l.value #>> '{}')::interval))
                                                                  else l.value end) from jsonb_each(q.settings) l
                             where l.key = 'key_max_running' and l.value <> '1'
                                or l.key in ('max_running', 'rate_limit', 'max_length', 'key_rate_limit') and l.value <> '0'
                                or l.key = 'rate_period' and q.settings -> 'rate_limit' <> '0'
                                or l.key = 'key_rate_period' and q.settings -> 'key_rate_limit' <> '0'))), '[]')
                 from trunkline.job_queues() q),
    'streams', (select coalesce(jsonb_agg(to_jsonb(s) || jsonb_build_object(
                           'lag', extract(epoch from s.lag), 'last_tick_age', extract(epoch from s.last_tick_age))), '[]')
                  from trunkline.stream_list() s),
    'consumers', (select coalesce(jsonb_agg(to_jsonb(c) || jsonb_build_object('lag', extract(epoch from c.lag))), '[]')
                    from trunkline.stream_consumers(exact => false) c),
    'channels', (select coalesce(jsonb_agg(to_jsonb(c) || jsonb_build_object('oldest', extract(epoch from c.oldest))), '[]')
                   from trunkline.request_channels() c),
    'sessions', (select coalesce(jsonb_agg(to_jsonb(s)), '[]') from trunkline.session_list() s),
    'schedules', (select coalesce(jsonb_agg(to_jsonb(s)), '[]') from trunkline.job_schedules() s),
    'leases', (select coalesce(jsonb_agg(to_jsonb(l) - 'holder' || jsonb_build_object('waiters', case when l.waiting > 0 then
                        (select jsonb_agg(to_jsonb(w)) from trunkline.lease_waiters(l.name) w) end)), '[]') from trunkline.lease_list() l),
    'subscriptions', (select coalesce(jsonb_agg(to_jsonb(s)), '[]') from trunkline.topic_subscriptions() s),
    'topics', case when $1 then (select coalesce(jsonb_agg(to_jsonb(t)), '[]') from trunkline.topic_list() t) end,
    'published', trunkline.topic_published(),
    'rings', (select coalesce(jsonb_agg(to_jsonb(r) - 'tables'), '[]') from trunkline.log_rings() r),
    'notify', pg_catalog.pg_notification_queue_usage(),
    'server', current_setting('server_version'), 'database', current_database())";

const JOBS: &str = "select to_jsonb(j) from trunkline.job_page(queue => $1, state => $2, kind => $3, key => $4, max => $5, before => $6,
    payload => $7::text::jsonb, containing => $8, since => $9, until => $10,
    within => interval '120 ms') j";
const JOB: &str = "select to_jsonb(j) - 'bytes' - 'result_bytes' || jsonb_build_object('bytes', octet_length(j.bytes),
    'base64', case when j.payload is null then encode(j.bytes, 'base64') end) from trunkline.job_show(id => $1) j";
const DEAD: &str = "select to_jsonb(d) from trunkline.job_dead(queue => $1, max => $2, below => $3) d";
const REQUESTS: &str =
    "select to_jsonb(r) from trunkline.request_list(channel => $1, max => $2, before => $3) r";
const REQUEST: &str = "select to_jsonb(r) from trunkline.request_show(request => $1, payloads => $2) r";
const LETTERS: &str = "select to_jsonb(d) - 'bytes' from trunkline.stream_dead_letters(stream => $1, consumer => $2, max => $3, after => coalesce($4, 0)) d";
const MOVES: &str =
    "select to_jsonb(m) from trunkline.stream_moves(in_stream => $1, max => $2, before => $3) m";
const ACTIONS: &str = "select to_jsonb(a) from trunkline.action_list(max => $1, before => $2) a";
const ACT: &str = "select trunkline.action_do(who => $1, action => $2, target => $3)";
const PUSH: &str = "select to_jsonb(trunkline.job_push(queue => $1, payload => $2, kind => coalesce(m.kind, ''), key => m.key,
        unique_key => m.unique_key, priority => coalesce(m.priority, 5), max_attempts => m.max_attempts, headers => m.headers,
        run_at => coalesce(m.run_at, clock_timestamp() + make_interval(secs => m.delay_seconds)), options => m.options))
    from jsonb_to_record($3) m (kind text, key text, unique_key text, priority int, max_attempts int, headers jsonb,
                                run_at timestamptz, delay_seconds float8, options jsonb)";
const APPEND: &str = "select to_jsonb(trunkline.stream_append(stream => $1, payload => $2, type => coalesce(m.kind, ''), headers => m.headers,
        key => m.key))
    from jsonb_to_record($3) m (kind text, key text, headers jsonb)";
const SEND: &str = "select to_jsonb(trunkline.request_send(channel => $1, payload => $2, type => coalesce(m.kind, ''), headers => m.headers,
        timeout => coalesce(make_interval(secs => m.timeout_ms / 1000.0), '30 seconds'), idempotent => coalesce(m.idempotent, false)))
    from jsonb_to_record($3) m (kind text, headers jsonb, timeout_ms int, idempotent boolean)";

const PUBLISH: &str = "select to_jsonb(trunkline.topic_publish(topic => $1, payload => $2, headers => $3, message_id => $4, kind => $5))";
const REGISTER: &str = "select to_jsonb(trunkline.stream_register(stream => $1, consumer => $2, at => $3))";
const NEXT: &str = "select to_jsonb(b) from trunkline.stream_next_batch(stream => $1, consumer => $2, mode => $3, member => $4, max => $5) b";
const EVENTS: &str = "select coalesce(jsonb_agg(to_jsonb(e) - 'bytes' || case when e.payload is null
    then jsonb_build_object('base64', encode(e.bytes, 'base64')) else '{}' end), '[]') from trunkline.stream_events(batch => $1) e";
const AGAIN: &str =
    "select trunkline.stream_retry(batch => $1, ids => $2, delay => make_interval(secs => $3), cause => $4)";
const FINISH: &str = "select trunkline.stream_finish(batch => $1)";

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// An event that comes again: its id, after how many seconds (a dead letter without), and why.
pub(super) type Again = (i64, Option<f64>, Option<String>);

/// How long the session that holds batches stays without being asked.
const HELD: std::time::Duration = std::time::Duration::from_secs(3600);

/// Which jobs are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobFilter {
    pub(crate) queue: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) key: Option<String>,
    /// JSON that the payload contains.
    pub(crate) payload: Option<String>,
    /// Characters that are a part of the payload.
    pub(crate) text: Option<String>,
    pub(crate) since: Option<SystemTime>,
    pub(crate) until: Option<SystemTime>,
    pub(crate) before: Option<i64>,
}

impl JobFilter {
    /// Those pushed from one moment on and before another, as they were typed; empty is none.
    pub(crate) fn between(since: &str, until: &str) -> Answer<Self> {
        let moment = |name: &str, text: &str| {
            let given = Some(text).filter(|t| !t.is_empty());
            given.map(input::moment).transpose().map_err(|e| Problem::bad(format!("{name}: {e}")))
        };
        Ok(Self { since: moment("since", since)?, until: moment("until", until)?, ..Self::default() })
    }
}

/// Jobs, the newest first, and whether there may be more.
#[derive(Debug)]
pub(crate) struct JobPage {
    pub(crate) items: Vec<Value>,
    /// Go on with jobs before this one.
    pub(crate) next: Option<i64>,
    /// Where the page is not full and time was up: when the last jobs that were looked at had been pushed.
    pub(crate) looked_back_to: Value,
}

/// The database, as pages and the API see it.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pool: Pool,
    /// The one session that holds the batches of consumers over HTTP, whoever they are: another could not take them again.
    batches: Pool,
}

impl Data {
    pub(crate) fn new(info: ConnInfo) -> Result<Self> {
        let options = PoolOptions { max_size: 4, ..PoolOptions::default() };
        let one = PoolOptions { max_size: 1, idle_timeout: HELD, ..PoolOptions::default() };
        Ok(Self { pool: Pool::new(info.clone(), options)?, batches: Pool::new(info, one)? })
    }

    async fn rows(&self, sql: &str, args: &[Parameter<'_>]) -> Result<Vec<Value>> {
        let work = async |client: &tokio_postgres::Client| {
            let rows = client.query_typed(sql, args).await?;
            // What is null in SQL is so in JSON.
            let values = rows.iter().map(|r| Ok(r.try_get::<_, Option<Value>>(0)?.unwrap_or_default()));
            values.collect()
        };
        Box::pin(self.pool.with(work)).await
    }

    async fn one(&self, sql: &str, args: &[Parameter<'_>]) -> Result<Value> {
        Ok(self.rows(sql, args).await?.pop().unwrap_or_default())
    }

    /// Everything that flows and waits, in one statement; `topics`: with the list of topics, which counts what the ring holds.
    pub(super) async fn snapshot(&self, topics: bool) -> Result<Value> {
        self.one(SNAPSHOT, &[(&topics, Type::BOOL)]).await
    }

    /// Whether the database answers, and its schema is the one of this program.
    pub(super) async fn ready(&self) -> Result<()> {
        Box::pin(self.pool.with(async |client| trunkline::schema::check(client).await.map(drop))).await
    }

    pub(crate) async fn findings(&self) -> Result<Vec<Finding>> {
        let server = Box::pin(self.pool.server()).await?;
        let old = std::time::Duration::from_secs(300);
        Box::pin(self.pool.with(async |client| doctor::examine(client, &server, old).await)).await
    }

    /// The newest jobs that fit, at most `max`: who looks for what is in them has what was found within a tenth of a second.
    pub(crate) async fn jobs(&self, filter: &JobFilter, max: i32) -> Result<JobPage> {
        let parameters: [Parameter<'_>; 10] = [
            (&filter.queue, Type::TEXT),
            (&filter.state, Type::TEXT),
            (&filter.kind, Type::TEXT),
            (&filter.key, Type::TEXT),
            (&max, Type::INT4),
            (&filter.before, Type::INT8),
            (&filter.payload, Type::TEXT),
            (&filter.text, Type::TEXT),
            (&filter.since, Type::TIMESTAMPTZ),
            (&filter.until, Type::TIMESTAMPTZ),
        ];
        let mut items = self.rows(JOBS, &parameters).await?;
        let looked = items.pop_if(|last| last["job_state"].is_null());
        let full = i32::try_from(items.len()).is_ok_and(|n| n == max);
        let last = looked.as_ref().or_else(|| items.last().filter(|_| full));
        let next = last.and_then(|row| row["id"].as_i64());
        let looked_back_to = looked.map_or(Value::Null, |row| row["pushed_at"].clone());
        Ok(JobPage { items, next, looked_back_to })
    }

    pub(crate) async fn job(&self, id: i64) -> Result<Value> {
        self.one(JOB, &[(&id, Type::INT8)]).await
    }

    /// Groups of dead jobs, the largest first, and where to go on: the last one's number of jobs and newest id.
    pub(crate) async fn dead(
        &self,
        queue: Option<&str>,
        max: i32,
        cursor: Option<&str>,
    ) -> Answer<(Vec<Value>, Option<String>)> {
        let place = |text: &str| {
            let (many, id) = text.split_once('-')?;
            Some(vec![many.parse().ok()?, id.parse().ok()?])
        };
        let below: Option<Vec<i64>> = match cursor {
            Some(text) => {
                Some(place(text).ok_or_else(|| Problem::bad("cursor: not one that was given out here"))?)
            }
            None => None,
        };
        let parameters: [Parameter<'_>; 3] =
            [(&queue, Type::TEXT), (&max, Type::INT4), (&below, Type::INT8_ARRAY)];
        let rows = self.rows(DEAD, &parameters).await?;
        let full = i32::try_from(rows.len()).is_ok_and(|n| n == max);
        let next = rows.last().filter(|_| full).map(|r| format!("{}-{}", r["many"], r["last_id"]));
        Ok((rows, next))
    }

    pub(crate) async fn requests(
        &self,
        channel: Option<&str>,
        max: i32,
        before: Option<i64>,
    ) -> Result<Vec<Value>> {
        self.rows(REQUESTS, &[(&channel, Type::TEXT), (&max, Type::INT4), (&before, Type::INT8)]).await
    }

    /// `payloads`: with the request's and the reply's, where our role may see them.
    pub(crate) async fn request(&self, id: i64, payloads: bool) -> Result<Value> {
        self.one(REQUEST, &[(&id, Type::INT8), (&payloads, Type::BOOL)]).await
    }

    pub(crate) async fn letters(
        &self,
        stream: &str,
        consumer: &str,
        max: i32,
        after: Option<i64>,
    ) -> Result<Vec<Value>> {
        let parameters: [Parameter<'_>; 4] =
            [(&stream, Type::TEXT), (&consumer, Type::TEXT), (&max, Type::INT4), (&after, Type::INT8)];
        self.rows(LETTERS, &parameters).await
    }

    pub(crate) async fn moves(
        &self,
        stream: Option<&str>,
        max: i32,
        before: Option<i64>,
    ) -> Result<Vec<Value>> {
        self.rows(MOVES, &[(&stream, Type::TEXT), (&max, Type::INT4), (&before, Type::INT8)]).await
    }

    pub(crate) async fn actions(&self, max: i32, before: Option<i64>) -> Result<Vec<Value>> {
        self.rows(ACTIONS, &[(&max, Type::INT4), (&before, Type::INT8)]).await
    }

    /// Does something for somebody, noted in the same transaction.
    pub(crate) async fn act(&self, who: &str, action: &str, target: &Value) -> Answer<Value> {
        let parameters: [Parameter<'_>; 3] =
            [(&who, Type::TEXT), (&action, Type::TEXT), (target, Type::JSONB)];
        Ok(self.one(ACT, &parameters).await?)
    }

    pub(crate) async fn publish(
        &self,
        topic: &str,
        payload: &str,
        headers: Option<&Value>,
        message_id: Option<&str>,
        kind: Option<&str>,
    ) -> Result<Value> {
        let parameters: [Parameter<'_>; 5] = [
            (&topic, Type::TEXT),
            (&payload, Type::TEXT),
            (&headers, Type::JSONB),
            (&message_id, Type::TEXT),
            (&kind, Type::TEXT),
        ];
        self.one(PUBLISH, &parameters).await
    }

    pub(super) async fn register(&self, stream: &str, consumer: &str, at: &str) -> Result<Value> {
        self.one(REGISTER, &[(&stream, Type::TEXT), (&consumer, Type::TEXT), (&at, Type::TEXT)]).await
    }

    /// The next batch of a consumer with its events; null when there is nothing to do now.
    pub(super) async fn next_batch(
        &self,
        stream: &str,
        consumer: &str,
        mode: &str,
        member: &str,
        max: i32,
    ) -> Result<Value> {
        let parameters: [Parameter<'_>; 5] = [
            (&stream, Type::TEXT),
            (&consumer, Type::TEXT),
            (&mode, Type::TEXT),
            (&member, Type::TEXT),
            (&max, Type::INT4),
        ];
        let work = async |client: &tokio_postgres::Client| {
            let Some(row) = client.query_typed(NEXT, &parameters).await?.pop() else {
                return Ok(Value::Null);
            };
            let mut batch: Value = row.try_get(0)?;
            let token = batch["batch"].as_str().unwrap_or_default().to_owned();
            let rows = client.query_typed(EVENTS, &[(&token, Type::TEXT)]).await?;
            batch["events"] = rows.first().map_or(Ok(Value::Null), |r| r.try_get(0))?;
            Ok(batch)
        };
        Box::pin(self.batches.with(work)).await
    }

    /// Finishes a batch, with what comes again, in one transaction.
    pub(super) async fn finish(&self, batch: &str, again: &[Again]) -> Result<()> {
        let work = async |tx: &tokio_postgres::Transaction<'_>| {
            for (id, seconds, cause) in again {
                let ids = [*id];
                let parameters: [Parameter<'_>; 4] = [
                    (&batch, Type::TEXT),
                    (&&ids[..], Type::INT8_ARRAY),
                    (seconds, Type::FLOAT8),
                    (cause, Type::TEXT),
                ];
                tx.query_typed(AGAIN, &parameters).await?;
            }
            tx.query_typed(FINISH, &[(&batch, Type::TEXT)]).await?;
            Ok(())
        };
        Box::pin(self.batches.transaction(work)).await
    }

    /// Pushes a job, appends an event, or sends a request, by the word for it: its id.
    pub(crate) async fn produce(&self, word: &str, to: &str, payload: &str, more: &Value) -> Result<Value> {
        let mut more = more.clone();
        if let Some(parent) = trunkline::trace::traceparent() {
            let headers = &mut more["headers"];
            if headers.is_null() {
                *headers = serde_json::json!({});
            }
            headers.as_object_mut().map(|h| h.entry("traceparent").or_insert(parent.into()));
        }
        let all: [Parameter<'_>; 3] = [(&to, Type::TEXT), (&payload, Type::TEXT), (&more, Type::JSONB)];
        match word {
            "job" => self.one(PUSH, &all).await,
            "event" => self.one(APPEND, &all).await,
            _ => self.one(SEND, &all).await,
        }
    }
}
