//! `--exec`: a request answered by a command of the shell.
//!
//! The payload is the command's stdin and its stdout is the reply. An exit status other than 0 is a remote error with
//! that status as code and the end of stderr as text. Guarantee: the command and what it started is killed when the
//! request ends before it does, because dropping the future kills its process group. A SIGKILL of ours leaves it running.

use std::{
    collections::BTreeSet,
    io,
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
};
use trunkline::requests::{Failure, Payload, Request};

use crate::input::{self, LIMIT};

/// How much of stderr goes into a remote error.
const TAIL: usize = 4 << 10;

/// The process groups of the commands under way.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Kills the group of a command that has not ended when this is dropped.
struct Group(Option<i32>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        groups().extend(id);
        Self(id)
    }

    /// It ended by itself; its number may be used again from now on.
    fn ended(mut self) {
        if let Some(id) = self.0.take() {
            groups().remove(&id);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.take() {
            groups().remove(&id);
            kill(id);
        }
    }
}

/// Kills every command under way, because this process ends now.
pub(super) fn kill_all() {
    groups().iter().for_each(|id| kill(*id));
}

fn kill(group: i32) {
    // It may have ended just now.
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
}

fn groups() -> MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the command for one request.
pub(super) async fn run(command: &str, request: Request) -> Result<Payload, Failure> {
    let failed = |e: io::Error| Failure::new("exec", format!("cannot run the command: {e}"));
    let mut child = start(command, &request).map_err(failed)?;
    let group = Group::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command need not read its input.
            let _ = stdin.write_all(request.payload.bytes()).await;
        }
    };
    let (output, tail, ()) = tokio::join!(limited(stdout), tail(stderr), feed);
    let output = output.map_err(failed)?;
    if output.len() as u64 > LIMIT {
        return Err(Failure::new("too large", format!("the command's output is larger than {LIMIT} bytes")));
    }
    let status = child.wait().await.map_err(failed)?;
    group.ended();
    if status.success() {
        return input::typed(output, false).map_err(|e| Failure::new("exec", e.to_string()));
    }
    let code = status.code().map_or_else(|| "killed".to_owned(), |c| c.to_string());
    Err(Failure::new(code, String::from_utf8_lossy(&tail).trim_end()))
}

fn start(command: &str, request: &Request) -> io::Result<Child> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).process_group(0).kill_on_drop(true);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell.env("TRUNKLINE_REQUEST_ID", request.id.to_string());
    shell.env("TRUNKLINE_TYPE", &request.kind);
    shell.env("TRUNKLINE_ATTEMPT", request.attempt.to_string());
    for (name, value) in &request.headers {
        shell.env(variable(name), value);
    }
    shell.spawn()
}

/// The variable for a header: upper case, and `_` for what a name cannot hold.
fn variable(header: &str) -> String {
    let name = header.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("TRUNKLINE_HEADER_{}", name.collect::<String>())
}

async fn limited(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(LIMIT + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Reads to the end and keeps the last of it.
async fn tail(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0_u8; TAIL]);
    let Some(mut from) = from else { return kept };
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        let surplus = kept.len().saturating_sub(TAIL);
        kept.drain(..surplus);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_become_variables() {
        assert_eq!(variable("traceparent"), "TRUNKLINE_HEADER_TRACEPARENT");
        assert_eq!(variable("x-a=b"), "TRUNKLINE_HEADER_X_A_B");
    }

    #[tokio::test]
    async fn only_the_end_of_stderr_is_kept() {
        let text = vec![b'x'; 3 * TAIL + 7];
        assert_eq!(tail(Some(&text[..])).await.len(), TAIL);
    }
}
