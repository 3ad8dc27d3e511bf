//! The guard of a program that runs while a lease is held: a process between `leases run` and the program.
//!
//! Over its stdin, a socket, it is told for how many milliseconds the program may go on (`for 4500`), and says what it started
//! (`pid 17`) and how that ended (`code 0`). Guarantee: the program and what it started in its process group is killed when that
//! time is over without a new one, and when the other end is gone.

use std::{
    os::{
        fd::AsFd as _,
        unix::{net::UnixStream as Socket, process::ExitStatusExt as _},
    },
    process::{ExitStatus, Stdio},
    time::Duration,
};

use clap::Args;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::Command,
    time::{Instant, sleep_until},
};

use crate::{
    exec::Group,
    exit::{FAILURE, Failure, OK, Result},
    out,
};

/// The program.
#[derive(Debug, Args)]
pub(crate) struct GuardArgs {
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(super) async fn run(args: GuardArgs) -> Result<u8> {
    let failed = |e| Failure::io("cannot guard the program", e);
    let socket = Socket::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    socket.set_nonblocking(true).map_err(failed)?;
    let (told, mut tell) = UnixStream::from_std(socket).map_err(failed)?.into_split();
    let mut told = BufReader::new(told).lines();
    let mut until = Instant::now();
    if let Ok(Some(line)) = told.next_line().await {
        until = good_until(&line).unwrap_or(until);
    }
    let mut program = Command::new(&args.command[0]);
    program.args(&args.command[1..]).process_group(0).stdin(Stdio::null());
    let mut child = match program.spawn() {
        Ok(child) => child,
        Err(e) => {
            out::talk(&format!("trunkline: cannot start {}: {e}", args.command[0]));
            let _ = tell.write_all(b"pid 0\ncode 127\n").await;
            return Ok(OK);
        }
    };
    let id = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
    let mut group = Group::new(id);
    let _ = tell.write_all(format!("pid {id}\n").as_bytes()).await;
    loop {
        tokio::select! {
            ended = child.wait() => {
                drop(group); // what it has left running
                let code = ended.map_or(FAILURE, code);
                let _ = tell.write_all(format!("code {code}\n").as_bytes()).await;
                return Ok(OK);
            }
            line = told.next_line() => match line {
                Ok(Some(line)) => until = good_until(&line).unwrap_or(until),
                _ => return Ok(FAILURE), // and the group is killed
            },
            () = sleep_until(until) => {
                group.kill();
                return Ok(FAILURE);
            }
        }
    }
}

fn good_until(line: &str) -> Option<Instant> {
    let ms = line.strip_prefix("for ")?.parse().ok()?;
    Some(Instant::now() + Duration::from_millis(ms))
}

/// As shells tell it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILURE)
}
