//! `trunkline completions`: the completion script of a shell, on stdout.

use clap::CommandFactory as _;

use crate::{
    args::{Cli, Global},
    exit::{OK, Result},
    out::Out,
};

pub(crate) fn run(global: &Global, shell: clap_complete::Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "trunkline", &mut script);
    Out::new(global.json, true).bytes(&script)?;
    Ok(OK)
}
