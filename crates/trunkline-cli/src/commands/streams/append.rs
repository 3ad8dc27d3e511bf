//! `trunkline streams append`: one event, or one for each input line.

use clap::Args;
use serde_json::json;
use trunkline::{requests::Payload, streams::NewEvent};

use super::lines;
use crate::{
    args::Global,
    exit::{OK, Result},
    input,
    out::Out,
    source,
};

/// Options of `streams append`.
#[derive(Debug, Args)]
pub(crate) struct AppendArgs {
    /// The stream
    pub(super) stream: String,

    /// The payload: itself, @file, or - for stdin; @@ begins one with an @
    #[arg(value_name = "PAYLOAD", allow_negative_numbers = true)]
    pub(super) payload: Option<String>,

    /// The type of the event: a word for readers to choose by
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    kind: String,

    /// The key of the event: what it is about
    #[arg(short, long, value_name = "KEY")]
    key: Option<String>,

    /// Add a header; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = input::header)]
    headers: Vec<(String, String)>,

    /// The payload is JSON; it is checked before it is sent
    #[arg(long)]
    pub(super) json_payload: bool,

    /// Append an event for each line of stdin (or of @file), in order; the count goes to stderr
    ///
    /// Many go into one statement; a line that is there is not kept waiting for the next. It ends at the first line
    /// that is refused: those before it are appended, those after it are not.
    #[arg(long)]
    lines: bool,

    /// All lines, or none: in one transaction
    #[arg(long, requires = "lines")]
    pub(super) atomic: bool,
}

impl AppendArgs {
    /// An event with this payload.
    pub(super) fn event(&self, payload: Payload) -> NewEvent {
        let mut event = NewEvent::new(input::storable(payload)).kind(&self.kind);
        if let Some(key) = &self.key {
            event = event.key(key);
        }
        self.headers.iter().fold(event, |event, (name, value)| event.header(name, value))
    }
}

/// Prints the event's id.
pub(crate) async fn run(global: &Global, args: AppendArgs) -> Result<u8> {
    if args.lines {
        return lines::run(global, args).await;
    }
    let (argument, json) = (args.payload.clone(), args.json_payload);
    let payload = source::blocking(move || input::payload(argument.as_deref(), json)).await?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let id = trunkline.streams().append(&args.stream, args.event(payload)).await;
    trunkline.close().await;
    let (id, out) = (id?, Out::new(global.json, true));
    match out.json {
        true => out.json(&json!({ "id": id }))?,
        false => out.line(&id.to_string())?,
    }
    Ok(OK)
}
