//! What `copy`, `split` and `sql` share: a batch's effects and its end in one transaction.
//!
//! Guarantee: each event exactly once, because the effects are committed with the end of their batch, or not at all.
//! What if it dies here: the transaction is rolled back by the server, and the batch comes again.

use serde_json::json;
use tokio_postgres::{
    Transaction,
    types::{ToSql, Type},
};
use trunkline::{
    Trunkline,
    connect::Purpose,
    requests::Content,
    streams::{Batch, Event, Position},
};

use super::batches::{Batches, Consuming, finished};
use crate::{
    args::Global,
    exit::Result,
    out::{self, Out},
    signals,
    source::{self, Plain},
};

const WRITE: &str =
    "select count(*) from trunkline._stream_write(stream => $1, types => $2, keys => $3, contents => $4,
    texts => $5, bytes => $6, headers => $7)";

/// Whose events are passed on.
pub(super) struct From<'a> {
    pub(super) stream: &'a str,
    pub(super) consumer: &'a str,
    /// Where the consumer begins if it is to be registered.
    pub(super) register: Option<Position>,
    pub(super) options: &'a Consuming,
}

/// Everything that passing on needs.
pub(super) struct Relay {
    trunkline: Trunkline,
    pub(super) plain: Plain,
    pub(super) batches: Batches,
    /// Events that were passed on.
    pub(super) count: u64,
}

impl Relay {
    /// Connects, and registers the consumer; none when it is time to stop before.
    pub(super) async fn begin(global: &Global, from: From<'_>) -> Result<Option<Self>> {
        let stop = signals::drain(|| {})?;
        let begin = async {
            let database = source::choose(global).await?;
            let trunkline = database.trunkline().await?;
            if let Some(at) = from.register {
                trunkline.streams().register(from.stream, from.consumer, at).await?;
            }
            Ok((trunkline, database.plain(Purpose::Work).await?))
        };
        let Some((trunkline, plain)) = signals::unless_stopped(&stop, begin).await? else { return Ok(None) };
        let batches = Batches::new(&trunkline, (from.stream, from.consumer), from.options, stop);
        Ok(Some(Self { trunkline, plain, batches, count: 0 }))
    }

    /// Does this for each batch, and finishes it in the same transaction.
    pub(super) async fn each(
        &mut self,
        mut work: impl AsyncFnMut(&mut Transaction<'_>, &Batch) -> Result<()>,
    ) -> Result<()> {
        while let Some(batch) = self.batches.next().await? {
            let mut tx = self.plain.client.transaction().await?;
            work(&mut tx, &batch).await?;
            if finished(batch.finish_on(&mut &tx).await)? {
                tx.commit().await?;
                self.count += batch.events().len() as u64;
            }
        }
        Ok(())
    }

    /// Leaves, and says how many events were passed on, whatever ended it.
    pub(super) async fn end(self, global: &Global, ended: Result<()>, word: &str) -> Result<u8> {
        self.trunkline.close().await;
        if !global.quiet {
            out::talk(&format!("trunkline: {} events {word}", self.count));
        }
        if global.json {
            Out::new(true, true).json(&json!({ "events": self.count }))?;
        }
        ended.map(|()| signals::code())
    }
}

/// Appends events to another stream as they are, in this transaction.
pub(super) async fn write(tx: &Transaction<'_>, stream: &str, events: &[&Event]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let is_bytes = |e: &Event| e.payload.content() == Content::Bytes;
    let content = |e: &Event| match e.payload.content() {
        Content::Bytes => 0,
        Content::Json => 2,
        _ => 1_i16,
    };
    let headers = |e: &Event| (!e.headers.is_empty()).then(|| json!(e.headers).to_string());
    let kinds: Vec<&str> = events.iter().map(|e| e.kind.as_str()).collect();
    let keys: Vec<Option<&str>> = events.iter().map(|e| e.key.as_deref()).collect();
    let contents: Vec<i16> = events.iter().map(|e| content(e)).collect();
    let text =
        |e: &&'_ Event| if is_bytes(e) { Ok(None) } else { e.payload.text().map(|t| Some(t.to_owned())) };
    let texts: Vec<Option<String>> = events.iter().map(text).collect::<Result<_, _>>()?;
    let bytes: Vec<Option<&[u8]>> = events.iter().map(|e| is_bytes(e).then(|| e.payload.bytes())).collect();
    let headers: Vec<Option<String>> = events.iter().map(|e| headers(e)).collect();
    let args: [(&(dyn ToSql + Sync), Type); 7] = [
        (&stream, Type::TEXT),
        (&kinds, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&contents, Type::INT2_ARRAY),
        (&texts, Type::TEXT_ARRAY),
        (&bytes, Type::BYTEA_ARRAY),
        (&headers, Type::TEXT_ARRAY),
    ];
    tx.query_typed(WRITE, &args).await?;
    Ok(())
}
