//! `trunkline streams copy`: a stream's events into another one, also in another database, each exactly once.
//!
//! In one database the appends and the end of the batch are one transaction. To another database the appends and a note of
//! the batch's turn are one transaction, and the batch is finished after it. What if it dies between them: the batch comes
//! again with the same turn, the note tells that it is there already, and it is only finished.

use clap::Args;
use tokio_postgres::types::Type;
use trunkline::{
    Error,
    streams::{Batch, Event, Position},
};

use super::{
    batches::{Consuming, finished},
    relay::{self, From, Relay},
};
use crate::{
    args::Global,
    exit::{Failure, Result},
    signals,
    source::{Database, Plain},
};

const NAME: &str = "select source, turn from trunkline._stream_batch($1)";
const COPIED: &str = "select trunkline._stream_copied($1, $2, $3)";

/// Options of `streams copy`.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The stream to read
    stream: String,

    /// The stream to append to, which must be there
    #[arg(long, value_name = "STREAM")]
    to: String,

    /// The database of that stream, when it is another one
    ///
    /// Its position is kept there, together with the events. Give a password by PGPASSFILE or the environment.
    #[arg(long, value_name = "URL", env = "TRUNKLINE_TO_URL", hide_env_values = true)]
    to_url: Option<String>,

    /// The consumer; registered if it is new: at the beginning, or at --at [default: copy. and the other stream]
    #[arg(short, long, value_name = "NAME")]
    consumer: Option<String>,

    #[command(flatten)]
    consuming: Consuming,
}

pub(crate) async fn run(global: &Global, args: CopyArgs) -> Result<u8> {
    if args.to_url.is_none() && args.to == args.stream {
        return Err(Failure::Usage("a stream cannot be copied into itself".to_owned()));
    }
    let target = match &args.to_url {
        Some(url) => Some(Database::other(url, "TRUNKLINE_TO_URL")?.checked().await?),
        None => None,
    };
    let consumer = args.consumer.clone().unwrap_or_else(|| format!("copy.{}", args.to));
    let register = Some(args.consuming.at.clone().unwrap_or(Position::Beginning));
    let from = From { stream: &args.stream, consumer: &consumer, register, options: &args.consuming };
    let Some(mut relay) = Relay::begin(global, from).await? else { return Ok(signals::code()) };
    let copied = match target {
        None => {
            let each = relay.each(async |tx, batch| {
                let events: Vec<&Event> = batch.events().iter().collect();
                relay::write(tx, &args.to, &events).await
            });
            Box::pin(each).await
        }
        Some(target) => Box::pin(elsewhere(&mut relay, target, &args.to)).await,
    };
    relay.end(global, copied, "copied").await
}

async fn elsewhere(relay: &mut Relay, mut target: Plain, to: &str) -> Result<()> {
    while let Some(batch) = relay.batches.next().await? {
        let named = relay.plain.client.query_typed(NAME, &[(&batch.token(), Type::TEXT)]).await;
        let rows = match named.map_err(Error::from) {
            Ok(rows) => rows,
            Err(e) => {
                finished(Err(e))?;
                continue;
            }
        };
        let Some(row) = rows.first() else { continue };
        let (source, turn): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        append(&mut target, to, &source, turn, &batch).await?;
        if finished(batch.finish().await)? {
            relay.count += batch.events().len() as u64;
        }
    }
    Ok(())
}

/// Appends a batch that is not there yet, and notes that it is.
async fn append(target: &mut Plain, to: &str, source: &str, turn: i64, batch: &Batch) -> Result<()> {
    let tx = target.client.transaction().await?;
    let args: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&to, Type::TEXT), (&source, Type::TEXT), (&turn, Type::INT8)];
    let rows = tx.query_typed(COPIED, &args).await?;
    if rows.first().map_or(Ok(false), |r| r.try_get(0))? {
        let events: Vec<&Event> = batch.events().iter().collect();
        relay::write(&tx, to, &events).await?;
    }
    Ok(tx.commit().await?)
}
