//! The trunkline binary: `main` parses, runs one command, prints its error and turns it into an exit code.
//!
//! The way of a command: `args.rs` and `config/` (what was asked) → `commands/<word>.rs` (does it, with `source.rs` for the database
//! and `out.rs` for stdout) → `exit.rs` (what its failure means to a shell).

mod args;
mod commands;
mod config;
mod daemon;
mod dashboard;
mod exec;
mod exit;
mod http;
mod input;
mod logging;
mod otlp;
mod out;
mod pieces;
mod progress;
mod signals;
mod source;

use std::{process::ExitCode, time::Duration};

use tracing::Instrument as _;

use crate::{args::Cli, config::Stop, exit::Failure};

fn main() -> ExitCode {
    let cli = match begun() {
        Ok(cli) => cli,
        // A monitor would take the code for a state of what it looks at.
        Err(code) if code != ExitCode::SUCCESS && config::is_check(std::env::args_os().collect()) => {
            return ExitCode::from(exit::UNKNOWN);
        }
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return exit::report(&Failure::io("cannot start", e)),
    };
    let outcome = runtime.block_on(Box::pin(commands::run(cli).instrument(otlp::begun())));
    // A read of stdin that nobody waits for any more must not hold us up.
    runtime.shutdown_timeout(Duration::ZERO);
    otlp::finish();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => exit::report(&failure),
    }
}

/// What was asked for, with a log; else the exit code.
fn begun() -> Result<Cli, ExitCode> {
    let cli = config::parse(std::env::args_os().collect()).map_err(|stop| match stop {
        Stop::File(failure) => exit::report(&failure),
        Stop::Clap(e) => {
            // Help and version go to stdout; a reader that went away is no failure.
            let _ = e.print();
            ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(exit::USAGE))
        }
    })?;
    logging::start(&cli).map_err(|failure| exit::report(&failure))?;
    Ok(cli)
}
