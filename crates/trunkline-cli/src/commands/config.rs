//! `trunkline config`: an example of the configuration file, and what is wrong with one.

use std::path::PathBuf;

use clap::Subcommand;

use crate::{
    args::Global,
    config,
    exit::{OK, Result},
    out::{self, Out},
};

/// What to do with the configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print an example: every key with its default, commented out
    Print,
    /// Say what is wrong with a file, with its line
    Check {
        /// The file
        file: PathBuf,
    },
}

pub(crate) fn run(global: &Global, command: &Command) -> Result<u8> {
    match command {
        Command::Print => Out::new(true, true).bytes(config::example().as_bytes())?,
        Command::Check { file } => {
            let keys = config::check(file)?;
            if !global.quiet {
                out::talk(&format!("trunkline: {}: {keys} keys, nothing wrong", file.display()));
            }
        }
    }
    Ok(OK)
}
