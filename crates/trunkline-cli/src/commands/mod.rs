//! The words, one file each. A new word is a module here, a variant of `args::Command`, and a line in [`run`].

pub(crate) mod completions;
pub(crate) mod db;
pub(crate) mod man;
pub(crate) mod requests;
pub(crate) mod schema;
pub(crate) mod serve;

use crate::{
    args::{Cli, Command},
    exit::{self, Result},
};

/// Runs the command and returns its exit code.
pub(crate) async fn run(cli: Cli) -> Result<u8> {
    let global = &cli.global;
    match cli.command {
        Command::Serve(args) => serve::run(global, args).await,
        Command::Requests(command) => requests::run(global, command).await,
        Command::Req(args) => requests::call::run(global, args).await,
        Command::Reply(args) => requests::serve::run(global, args).await,
        Command::Schema(command) => until_interrupted(schema::run(global, command)).await,
        Command::Db(command) => until_interrupted(db::run(global, command)).await,
        Command::Completions { shell } => completions::run(global, shell),
        Command::Man(args) => man::run(global, &args),
    }
}

/// Ends with 130 at Ctrl-C; what the command had begun in the database is rolled back.
pub(crate) async fn until_interrupted(command: impl Future<Output = Result<u8>>) -> Result<u8> {
    tokio::select! {
        outcome = Box::pin(command) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}
