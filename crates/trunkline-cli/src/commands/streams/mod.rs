//! `trunkline streams`: append events, consume them, pass them on, and look after streams and their consumers.

mod append;
mod batches;
mod copy;
mod event;
mod lines;
mod look;
mod manage;
mod read;
mod relay;
mod split;
mod sql;
mod statement;

use clap::Subcommand;
use trunkline::streams::Position;

pub(crate) use self::look::PeekArgs;
use super::{schema, until_interrupted};
use crate::{args::Global, exit::Result, out::Out, source};

/// What to do with streams.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a stream; one that is there stays as it is
    Create(manage::StreamArgs),
    /// Remove a stream with its events
    Drop(manage::DropArgs),
    /// Append an event, or one for each input line
    Append(append::AppendArgs),
    /// Register a consumer; one that is there stays where it is
    Register(manage::RegisterArgs),
    /// Remove a consumer, its retries and its dead letters
    Unregister(manage::ConsumerArgs),
    /// Print the events of a consumer, or run a command for each
    Read(read::ReadArgs),
    /// Append a stream's events to another one, also in another database: each exactly once
    Copy(copy::CopyArgs),
    /// Append each event to the stream that its type or key names: each exactly once
    Split(split::SplitArgs),
    /// Run an SQL statement for each event, in the transaction that finishes it: each exactly once
    Sql(sql::SqlArgs),
    /// Make a tick, if there is anything that none covers yet; consumers that wait need none
    Tick(manage::TickArgs),
    /// List the streams
    ///
    /// Columns: stream, events, uncovered, consumers, furthest_behind, lag, slow, last_tick, last_tick_age,
    /// ticks_per_second, segment, segment_bytes, closed, tick_mode, limited_by.
    Ls,
    /// List the consumers, how far behind they are, and who holds what
    ///
    /// Columns: stream, consumer, role, tick, backlog, lag, in_hand, held_since, session, alive, coming_again, dead,
    /// last_seen, slow_since.
    Consumers(look::ConsumersArgs),
    /// List a consumer's dead letters, by id
    ///
    /// Columns: id, died_at, attempts, cause, at, type, key, payload.
    Dead(look::DeadArgs),
    /// Look at the newest events of a stream, the newest first, without taking them
    ///
    /// Of each payload the first 10,000 characters. Columns: id, at, type, key, bytes, payload, headers.
    Peek(look::PeekArgs),
    /// Let dead letters come again
    Replay(look::LettersArgs),
    /// Delete dead letters
    Purge(look::LettersArgs),
    /// Move a consumer; what it has in hand can no longer be finished
    Seek(look::SeekArgs),
    /// Begin a new epoch after a restore, a clone or a failover: positions go on without loss or duplicates
    ///
    /// The same as `trunkline schema repair`: one epoch holds for all streams, requests and jobs of a database.
    Repair,
    /// Change settings of a stream, or of one of its consumers
    ///
    /// Of a stream: closed, max_bytes, tick_mode, tick_count, tick_lag, turn_bytes, turn_after, free_after, keep_for,
    /// keep_bytes, slow_after, slow_rule. Of a consumer: max_events, max_bytes, min_events, min_interval, min_lag,
    /// max_attempts.
    Set(look::SetArgs),
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Create(args) => until_interrupted(manage::create(global, args)).await,
        Command::Drop(args) => until_interrupted(manage::drop(global, args)).await,
        Command::Append(args) => until_interrupted(append::run(global, args)).await,
        Command::Register(args) => until_interrupted(manage::register(global, args)).await,
        Command::Unregister(args) => until_interrupted(manage::unregister(global, args)).await,
        Command::Read(args) => read::run(global, args).await,
        Command::Copy(args) => copy::run(global, args).await,
        Command::Split(args) => split::run(global, args).await,
        Command::Sql(args) => sql::run(global, args).await,
        Command::Tick(args) => until_interrupted(manage::tick(global, args)).await,
        Command::Ls => until_interrupted(look::ls(global)).await,
        Command::Consumers(args) => until_interrupted(look::consumers(global, args)).await,
        Command::Dead(args) => until_interrupted(look::dead(global, args)).await,
        Command::Peek(args) => until_interrupted(look::peek(global, args)).await,
        Command::Replay(args) => until_interrupted(look::replay(global, args)).await,
        Command::Purge(args) => until_interrupted(look::purge(global, args)).await,
        Command::Seek(args) => until_interrupted(look::seek(global, args)).await,
        Command::Repair => until_interrupted(repair(global)).await,
        Command::Set(args) => until_interrupted(look::set(global, args)).await,
    }
}

async fn repair(global: &Global) -> Result<u8> {
    schema::repair(&source::choose_as_it_is(global).await?, Out::new(global.json, true)).await
}

/// `end`, `beginning`, `tick:N`, `like:CONSUMER`, or a time as PostgreSQL reads it.
fn position(text: &str) -> Result<Position, String> {
    Ok(match text {
        "end" => Position::End,
        "beginning" => Position::Beginning,
        _ => match text.split_once(':') {
            Some(("tick", id)) => Position::Tick(id.parse().map_err(|_| "give a tick as tick:7".to_owned())?),
            Some(("like", name)) => Position::Like(name.to_owned()),
            _ => Position::Time(text.to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read() {
        assert_eq!(position("end"), Ok(Position::End));
        assert_eq!(position("tick:7"), Ok(Position::Tick(7)));
        assert_eq!(position("like:a"), Ok(Position::Like("a".into())));
        assert_eq!(position("2030-01-01 10:00"), Ok(Position::Time("2030-01-01 10:00".into())));
        assert!(position("tick:seven").is_err());
    }
}
