//! `trunkline streams sql`: a statement for each event, in the transaction that finishes its batch.

use clap::Args;
use tokio_postgres::Transaction;
use tracing::warn;
use trunkline::{
    Error, ErrorKind,
    streams::{Batch, Event, Position, backoff},
};

use super::{
    batches::Consuming,
    relay::{From, Relay},
    statement::Statement,
};
use crate::{
    args::Global,
    exit::{Failure, Result},
    signals,
};

/// Options of `streams sql`.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The stream
    stream: String,

    /// The consumer
    #[arg(short, long, value_name = "NAME")]
    consumer: String,

    /// The statement, with :id :type :key :payload :headers :at :attempt where the event's are to stand
    ///
    /// They are bound, never put into its text, and become whatever type stands there; a cast such as :payload::jsonb
    /// helps where none is known. One statement, none that begins or ends a transaction.
    #[arg(short, long, value_name = "SQL", value_parser = Statement::read)]
    statement: Statement,

    /// An event whose statement fails comes again later, and is a dead letter in the end; without this it ends the command
    #[arg(long)]
    retry: bool,

    /// Register the consumer if it is new: at the end, or at --at
    #[arg(long)]
    register: bool,

    #[command(flatten)]
    consuming: Consuming,
}

pub(crate) async fn run(global: &Global, args: SqlArgs) -> Result<u8> {
    let options = &args.consuming;
    let register =
        (args.register || options.at.is_some()).then(|| options.at.clone().unwrap_or(Position::End));
    let from = From { stream: &args.stream, consumer: &args.consumer, register, options };
    let Some(mut relay) = Relay::begin(global, from).await? else { return Ok(signals::code()) };
    let done = match relay.plain.client.prepare(args.statement.text()).await {
        Err(e) => Err(wrong(e.into())),
        Ok(_) => Box::pin(relay.each(async |tx, batch| each(&args, tx, batch).await)).await,
    };
    relay.end(global, done, "done").await
}

/// The database does not understand the statement.
fn wrong(e: Error) -> Failure {
    match e.code() {
        Some(code) if code.starts_with("42") && code != "42501" => {
            Failure::Usage(format!("the statement: {e}"))
        }
        _ => e.into(),
    }
}

async fn each(args: &SqlArgs, tx: &mut Transaction<'_>, batch: &Batch) -> Result<()> {
    let prepared = tx.prepare(args.statement.text()).await?;
    for event in batch.events() {
        let values = args.statement.values(event);
        if !args.retry {
            tx.execute_raw(&prepared, values).await.map_err(|e| of_event(event, e.into()))?;
            continue;
        }
        let part = tx.transaction().await?;
        match part.execute_raw(&prepared, values).await.map_err(Error::from) {
            Ok(_) => part.commit().await?,
            Err(e) if e.code().is_none() || e.kind() == ErrorKind::Unreachable => return Err(e.into()),
            Err(e) => {
                part.rollback().await?;
                let cause = format!("{}: {e}", e.code().unwrap_or_default());
                warn!(id = event.id, attempt = event.attempt, cause, "it comes again");
                batch.retry(&[event.id], backoff(event.attempt), Some(&cause)).await?;
            }
        }
    }
    Ok(())
}

fn of_event(event: &Event, e: Error) -> Failure {
    let named = Error::new(e.kind(), format!("event {}: {e}", event.id));
    match e.code() {
        Some(code) => named.with_code(code).into(),
        None => named.into(),
    }
}
