//! `trunkline streams split`: each event into the stream that its type or key names, each exactly once.

use clap::{Args, ValueEnum};
use tokio_postgres::{Transaction, types::Type};
use trunkline::{
    Error, ErrorKind,
    streams::{Event, Position},
};

use super::{
    batches::Consuming,
    relay::{self, From, Relay},
};
use crate::{
    args::Global,
    exit::{Failure, Result},
    signals,
};

const OPEN: &str = "select trunkline.stream_open(stream => $1)";

/// What names the stream.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// The event's type
    Type,
    /// The event's key
    Key,
}

/// Options of `streams split`.
#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// The stream to read
    stream: String,

    /// What names the stream that an event goes to
    #[arg(long, value_enum, value_name = "WHAT")]
    by: By,

    /// The stream to append to, with {} where the type or key is to stand
    #[arg(long, value_name = "TEMPLATE", value_parser = template)]
    to: String,

    /// The stream for events without a key or type, or with one that makes no name of a stream
    ///
    /// Without it the first such event ends the command; its batch is not finished.
    #[arg(long, value_name = "STREAM")]
    rest: Option<String>,

    /// Make the streams that are not there yet
    #[arg(long)]
    create: bool,

    /// The consumer; registered if it is new: at the beginning, or at --at [default: split.type or split.key]
    #[arg(short, long, value_name = "NAME")]
    consumer: Option<String>,

    #[command(flatten)]
    consuming: Consuming,
}

fn template(text: &str) -> Result<String, String> {
    match text.matches("{}").count() {
        1 => Ok(text.to_owned()),
        _ => Err("give {} once, where the type or key is to stand".to_owned()),
    }
}

pub(crate) async fn run(global: &Global, args: SplitArgs) -> Result<u8> {
    let word = match args.by {
        By::Type => "type",
        By::Key => "key",
    };
    let consumer = args.consumer.clone().unwrap_or_else(|| format!("split.{word}"));
    let register = Some(args.consuming.at.clone().unwrap_or(Position::Beginning));
    let from = From { stream: &args.stream, consumer: &consumer, register, options: &args.consuming };
    let Some(mut relay) = Relay::begin(global, from).await? else { return Ok(signals::code()) };
    let each = relay.each(async |tx, batch| split(&args, tx, batch.events()).await);
    let split = Box::pin(each).await;
    relay.end(global, split, "split").await
}

/// Appends the events of one batch, those of one stream together and in their order.
async fn split(args: &SplitArgs, tx: &Transaction<'_>, events: &[Event]) -> Result<()> {
    let mut parts: Vec<(String, Vec<&Event>)> = Vec::new();
    for event in events {
        let to = args.target(event)?;
        match parts.iter_mut().find(|(name, _)| *name == to) {
            Some((_, part)) => part.push(event),
            None => parts.push((to, vec![event])),
        }
    }
    for (to, part) in parts {
        if args.create {
            tx.query_typed(OPEN, &[(&to, Type::TEXT)]).await?;
        }
        relay::write(tx, &to, &part).await?;
    }
    Ok(())
}

impl SplitArgs {
    /// Where an event goes.
    fn target(&self, event: &Event) -> Result<String> {
        let word = match self.by {
            By::Type => Some(event.kind.as_str()).filter(|kind| !kind.is_empty()),
            By::Key => event.key.as_deref(),
        };
        let named = word.map(|word| self.to.replace("{}", word)).filter(|name| is_name(name));
        match named.or_else(|| self.rest.clone()) {
            Some(to) if to == self.stream => {
                Err(Failure::Usage(format!("event {} would come into the stream that it is from", event.id)))
            }
            Some(to) => Ok(to),
            None => {
                let text =
                    format!("event {} names no stream: where shall such go? give --rest STREAM", event.id);
                Err(Error::new(ErrorKind::Invalid, text).into())
            }
        }
    }
}

/// Whether a stream can be called so.
fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 48 && name.starts_with(fine) && name.chars().all(|c| fine(c) || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_database_takes() {
        assert!(is_name("by.made") && is_name("0-a_b"));
        for bad in ["", ".a", "A", "a b", "ä", &"a".repeat(49)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(template("by.{}").is_ok() && template("by").is_err() && template("{}{}").is_err());
    }
}
