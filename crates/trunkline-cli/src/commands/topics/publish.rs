//! `trunkline topics pub`: one message, or one for each input line.

use clap::Args;
use serde_json::json;
use trunkline::{Trunkline, requests::Payload, topics::NewMessage};

use super::Word;
use crate::{
    args::Global,
    exit::{OK, Result},
    input,
    out::{self, Out},
    pieces::{self, Target},
    source,
};

/// Options of `topics pub`.
#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// The topic
    topic: String,

    /// The payload: itself, @file, or - for stdin; @@ begins one with an @
    #[arg(value_name = "PAYLOAD", allow_negative_numbers = true)]
    payload: Option<String>,

    /// Publish on a topic of this kind: channel for the plain PostgreSQL channel
    ///
    /// Without it, as the topic was declared, and volatile where nobody did.
    #[arg(short, long, value_enum, value_name = "KIND")]
    kind: Option<Word>,

    /// Add a header; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,

    /// An id of your choice, by which one of all who listen can claim the message
    #[arg(long, value_name = "ID", conflicts_with = "lines")]
    id: Option<String>,

    /// The payload is JSON; it is checked before it is sent
    #[arg(long)]
    json_payload: bool,

    /// Publish a message for each line of stdin (or of @file), in order; the count goes to stderr
    ///
    /// Many go into one statement; a line that is there is not kept waiting for the next. It ends at the first line
    /// that is refused: those before it are published, those after it are not.
    #[arg(long)]
    lines: bool,
}

impl PubArgs {
    fn message(&self, payload: Payload) -> NewMessage {
        let mut message = NewMessage::new(input::storable(payload));
        if let Some(kind) = self.kind {
            message = message.kind(kind.into());
        }
        if let Some(id) = &self.id {
            message = message.message_id(id);
        }
        self.headers.iter().fold(message, |message, (name, value)| message.header(name, value))
    }
}

/// Prints the message's id, where it has one.
pub(crate) async fn run(global: &Global, args: PubArgs) -> Result<u8> {
    if args.lines {
        return lines(global, args).await;
    }
    let (argument, json) = (args.payload.clone(), args.json_payload);
    let payload = source::blocking(move || input::payload(argument.as_deref(), json)).await?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let id = trunkline.topics().publish(&args.topic, args.message(payload)).await;
    trunkline.close().await;
    let (id, out) = (id?, Out::new(global.json, true));
    match (out.json, id) {
        (true, 0) => out.json(&json!({ "id": null }))?,
        (true, id) => out.json(&json!({ "id": id }))?,
        (false, 0) => {}
        (false, id) => out.line(&id.to_string())?,
    }
    Ok(OK)
}

async fn lines(global: &Global, args: PubArgs) -> Result<u8> {
    let from = input::lines(args.payload.as_deref())?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let (count, failure) =
        pieces::write(from, &Messages { trunkline: &trunkline, args: &args }, |_, _| {}).await;
    trunkline.close().await;
    if !global.quiet {
        out::talk(&format!("trunkline: {count} messages published"));
    }
    if global.json {
        Out::new(true, true).json(&json!({ "published": count }))?;
    }
    failure.map_or(Ok(OK), Err)
}

/// A topic that lines are published on.
struct Messages<'a> {
    trunkline: &'a Trunkline,
    args: &'a PubArgs,
}

impl Target for Messages<'_> {
    type Item = NewMessage;

    fn item(&self, line: Vec<u8>) -> Result<NewMessage> {
        Ok(self.args.message(input::typed(line, self.args.json_payload)?))
    }

    async fn write(&self, items: Vec<NewMessage>) -> trunkline::Result<()> {
        let topics = self.trunkline.topics();
        // Of equal ones in one statement a channel would carry one.
        let apart = matches!(self.args.kind, Some(Word::Channel));
        for some in if apart { distinct(items) } else { vec![items] } {
            topics.publish_all(&self.args.topic, some).await?;
        }
        Ok(())
    }
}

/// In order, and no two of a part are equal.
fn distinct(items: Vec<NewMessage>) -> Vec<Vec<NewMessage>> {
    let (mut parts, mut part) = (Vec::new(), Vec::new());
    for item in items {
        if part.contains(&item) {
            parts.push(std::mem::take(&mut part));
        }
        part.push(item);
    }
    parts.push(part);
    parts
}
