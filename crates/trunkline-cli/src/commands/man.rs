//! `trunkline man`: the manual page on stdout, or one file for each command.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use crate::{
    args::{Cli, Global},
    exit::{Failure, OK, Result},
    out::Out,
};

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &ManArgs) -> Result<u8> {
    if let Some(dir) = &args.dir {
        let failed = |e| Failure::io(format!("cannot write to {}", dir.display()), e);
        std::fs::create_dir_all(dir).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
        return Ok(OK);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|e| Failure::io("cannot write the page", e))?;
    Out::new(global.json, true).bytes(&page)?;
    Ok(OK)
}
