//! What the pages and the API ask of the database: every statement, each a call of functions.
//!
//! At most four sessions, apart from the daemon's own; a statement whose viewer went away is cancelled.

use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};
use trunkline::{
    Result,
    connect::{Pool, PoolOptions},
    conninfo::ConnInfo,
    doctor::{self, Finding},
};

use super::problem::Answer;

const SNAPSHOT: &str = "select jsonb_build_object(
    'at', extract(epoch from clock_timestamp()),
    'queues', (select coalesce(jsonb_agg(to_jsonb(q) - 'settings' || jsonb_build_object('oldest', extract(epoch from q.oldest))), '[]')
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
    'rings', (select coalesce(jsonb_agg(to_jsonb(r) - 'tables'), '[]') from trunkline.log_rings() r),
    'notify', pg_catalog.pg_notification_queue_usage(),
    'server', current_setting('server_version'), 'database', current_database())";

const JOBS: &str = "select to_jsonb(j) from trunkline.job_page(queue => $1, state => $2, kind => $3, key => $4, max => $5, before => $6,
    payload => $7::text::jsonb) j";
const JOB: &str = "select to_jsonb(j) - 'bytes' - 'result_bytes' || jsonb_build_object('bytes', octet_length(j.bytes),
    'base64', case when j.payload is null then encode(j.bytes, 'base64') end) from trunkline.job_show(id => $1) j";
const DEAD: &str = "select to_jsonb(d) from trunkline.job_dead(queue => $1) d";
const REQUESTS: &str = "select to_jsonb(r) from trunkline.request_list(channel => $1, max => $2) r";
const REQUEST: &str = "select to_jsonb(r) from trunkline.request_show(request => $1) r";
const LETTERS: &str = "select to_jsonb(d) - 'bytes' from trunkline.stream_dead_letters(stream => $1, consumer => $2, max => $3) d";
const MOVES: &str = "select to_jsonb(m) from trunkline.stream_moves(in_stream => $1, max => $2) m";
const ACTIONS: &str = "select to_jsonb(a) from trunkline.action_list(max => $1, before => $2) a";
const ACT: &str = "select trunkline.action_do(who => $1, action => $2, target => $3)";
const PUSH: &str =
    "select to_jsonb(trunkline.job_push(queue => $1, payload => $2, kind => coalesce($3, ''), key => $4))";
const APPEND: &str = "select to_jsonb(trunkline.stream_append(stream => $1, payload => $2, type => coalesce($3, ''), key => $4))";
const SEND: &str =
    "select to_jsonb(trunkline.request_send(channel => $1, payload => $2, type => coalesce($3, '')))";

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Which jobs are wanted.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(crate) struct JobFilter {
    pub(crate) queue: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) payload: Option<String>,
    pub(crate) before: Option<i64>,
}

/// The database, as pages and the API see it.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pool: Pool,
}

impl Data {
    pub(crate) fn new(info: ConnInfo) -> Result<Self> {
        let options = PoolOptions { max_size: 4, ..PoolOptions::default() };
        Ok(Self { pool: Pool::new(info, options)? })
    }

    async fn rows(&self, sql: &str, args: &[Parameter<'_>]) -> Result<Vec<Value>> {
        let work = async |client: &tokio_postgres::Client| {
            let rows = client.query_typed(sql, args).await?;
            Ok(rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<Vec<Value>, _>>()?)
        };
        Box::pin(self.pool.with(work)).await
    }

    async fn one(&self, sql: &str, args: &[Parameter<'_>]) -> Result<Value> {
        Ok(self.rows(sql, args).await?.pop().unwrap_or_default())
    }

    /// Everything that flows and waits, in one statement.
    pub(super) async fn snapshot(&self) -> Result<Value> {
        self.one(SNAPSHOT, &[]).await
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

    pub(crate) async fn jobs(&self, filter: &JobFilter, max: i32) -> Result<Vec<Value>> {
        let parameters: [Parameter<'_>; 7] = [
            (&filter.queue, Type::TEXT),
            (&filter.state, Type::TEXT),
            (&filter.kind, Type::TEXT),
            (&filter.key, Type::TEXT),
            (&max, Type::INT4),
            (&filter.before, Type::INT8),
            (&filter.payload, Type::TEXT),
        ];
        self.rows(JOBS, &parameters).await
    }

    pub(crate) async fn job(&self, id: i64) -> Result<Value> {
        self.one(JOB, &[(&id, Type::INT8)]).await
    }

    pub(crate) async fn dead(&self, queue: Option<&str>) -> Result<Vec<Value>> {
        self.rows(DEAD, &[(&queue, Type::TEXT)]).await
    }

    pub(crate) async fn requests(&self, channel: Option<&str>, max: i32) -> Result<Vec<Value>> {
        self.rows(REQUESTS, &[(&channel, Type::TEXT), (&max, Type::INT4)]).await
    }

    pub(crate) async fn request(&self, id: i64) -> Result<Value> {
        self.one(REQUEST, &[(&id, Type::INT8)]).await
    }

    pub(crate) async fn letters(&self, stream: &str, consumer: &str, max: i32) -> Result<Vec<Value>> {
        self.rows(LETTERS, &[(&stream, Type::TEXT), (&consumer, Type::TEXT), (&max, Type::INT4)]).await
    }

    pub(crate) async fn moves(&self, stream: Option<&str>, max: i32) -> Result<Vec<Value>> {
        self.rows(MOVES, &[(&stream, Type::TEXT), (&max, Type::INT4)]).await
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

    /// Pushes a job, appends an event, or sends a request, by the word for it: its id.
    pub(crate) async fn produce(
        &self,
        word: &str,
        to: &str,
        payload: &str,
        kind: Option<&str>,
        key: Option<&str>,
    ) -> Result<Value> {
        let all: [Parameter<'_>; 4] =
            [(&to, Type::TEXT), (&payload, Type::TEXT), (&kind, Type::TEXT), (&key, Type::TEXT)];
        match word {
            "job" => self.one(PUSH, &all).await,
            "event" => self.one(APPEND, &all).await,
            _ => self.one(SEND, &all[..3]).await,
        }
    }
}
