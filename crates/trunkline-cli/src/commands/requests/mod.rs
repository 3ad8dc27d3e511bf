//! `trunkline requests`: call services, be one, and look at what is under way.

pub(crate) mod call;
mod exec;
mod gather;
mod lines;
mod list;
pub(super) mod outcome;
mod send;
pub(crate) mod serve;

use clap::Subcommand;

use super::until_interrupted;
use crate::{args::Global, exit::Result};

/// What to do with requests.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask one responder of a channel and print its reply
    Call(call::CallArgs),
    /// Send without expecting a reply
    Send(send::SendArgs),
    /// Ask every responder that is present and print each reply
    Gather(gather::GatherArgs),
    /// Answer the requests of a channel with a command
    Serve(serve::ServeArgs),
    /// List the requests that are kept, newest first
    ///
    /// Columns: id, destination, type, state, sent_at, expires_at, bytes, attempt, responder.
    Ls(list::LsArgs),
    /// Show one request
    Show(list::ShowArgs),
    /// Cancel a request; its handler is told
    Cancel(list::CancelArgs),
    /// List who serves what, here and now
    ///
    /// Columns: channel, address, types, application, role, pid, since.
    Responders,
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Call(args) => call::run(global, args).await,
        Command::Serve(args) => serve::run(global, args).await,
        Command::Send(args) => until_interrupted(send::run(global, args)).await,
        Command::Gather(args) => until_interrupted(gather::run(global, args)).await,
        Command::Ls(args) => until_interrupted(list::ls(global, args)).await,
        Command::Show(args) => until_interrupted(list::show(global, args)).await,
        Command::Cancel(args) => until_interrupted(list::cancel(global, args)).await,
        Command::Responders => until_interrupted(list::responders(global)).await,
    }
}
