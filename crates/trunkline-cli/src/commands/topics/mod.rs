//! `trunkline topics`: publish messages, listen to them, and look who listens.

mod event;
mod manage;
pub(crate) mod publish;
pub(crate) mod subscribe;

use clap::{Subcommand, ValueEnum};
use trunkline::topics::Kind;

use super::{streams::PeekArgs, until_interrupted};
use crate::{args::Global, exit::Result};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish a message, or one for each input line
    Pub(publish::PubArgs),
    /// Listen to topics: print each message, or run a command for it
    Sub(subscribe::SubArgs),
    /// Listen to plain PostgreSQL channels as one of many: one process hears what comes, the others stand by
    ///
    /// It is sub with --kind channel and --single, unless told otherwise by --kind and --all.
    Listen(subscribe::SubArgs),
    /// Declare a topic's kind; only durable ones need it
    Create(manage::CreateArgs),
    /// Forget what was declared of a topic; a durable one goes with its messages
    Drop(manage::DropArgs),
    /// List the topics that are declared, listened to by name, or published on in the last minute
    ///
    /// Columns: topic, kind, max_bytes, subscriptions, messages, last_at, made_at.
    Ls,
    /// Look at the newest messages on a volatile topic, the newest first, without taking them
    ///
    /// Of each payload the first 10,000 characters, of the newest 10,000 messages of all topics; of a durable one: streams peek.
    /// Columns: id, sent_at, bytes, message_id, payload, headers.
    Peek(PeekArgs),
    /// List who listens on what, who is active, and since when
    ///
    /// Columns: topics, kind, name, single, active, fence, since, application, session, address, role, made_at, gaps, gap_at.
    Subscriptions,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Pub(args) => until_interrupted(publish::run(global, args)).await,
        Command::Sub(args) => subscribe::run(global, args).await,
        Command::Listen(args) => subscribe::run(global, args.of_a_listener()).await,
        Command::Create(args) => until_interrupted(manage::create(global, args)).await,
        Command::Drop(args) => until_interrupted(manage::drop(global, args)).await,
        Command::Ls => until_interrupted(manage::ls(global)).await,
        Command::Peek(args) => until_interrupted(manage::peek(global, args)).await,
        Command::Subscriptions => until_interrupted(manage::subscriptions(global)).await,
    }
}

/// A topic's kind, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Word {
    /// A plain PostgreSQL channel
    Channel,
    /// Kept for a minute, for who listens now
    Volatile,
    /// A stream: each subscription goes on where it was
    Durable,
}

impl From<Word> for Kind {
    fn from(word: Word) -> Self {
        match word {
            Word::Channel => Self::Channel,
            Word::Volatile => Self::Volatile,
            Word::Durable => Self::Durable,
        }
    }
}
