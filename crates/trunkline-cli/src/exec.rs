//! Commands of the shell that are run for a request or an event: payload on stdin, the end of stderr kept.
//!
//! Guarantee: the command and what it started is killed when its future is dropped, because that kills its process group.
//! A SIGKILL of ours leaves it running.

use std::{
    collections::BTreeSet,
    io,
    process::{ExitStatus, Stdio},
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
use trunkline::requests::Headers;

use crate::input::LIMIT;

/// How much of stderr goes into a remote error.
const TAIL: usize = 4 << 10;

/// The process groups of the commands under way.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Kills the group of a command that has not ended when this is dropped.
pub(crate) struct Group(Option<i32>);

impl Group {
    fn of(child: &Child) -> Self {
        Self::new(child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default())
    }

    /// The group of this number; 0 for none.
    pub(crate) fn new(id: i32) -> Self {
        let id = Some(id).filter(|id| *id > 0);
        groups().extend(id);
        Self(id)
    }

    /// It ended by itself; its number may be used again from now on.
    pub(crate) fn ended(&mut self) {
        if let Some(id) = self.0.take() {
            groups().remove(&id);
        }
    }

    pub(crate) fn kill(&mut self) {
        let id = self.0;
        self.ended();
        id.into_iter().for_each(kill);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = self.0 {
            // It may have ended just now.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills every command under way, because this process ends now.
pub(crate) fn kill_all() {
    groups().iter().for_each(|id| kill(*id));
}

fn kill(group: i32) {
    // It may have ended just now.
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
}

fn groups() -> MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    /// What it printed, when that was asked for: up to one byte over the limit.
    pub(crate) output: Vec<u8>,
    /// The end of what it said on stderr.
    pub(crate) said: String,
}

impl Ran {
    /// The exit status as a word.
    pub(crate) fn code(&self) -> String {
        self.status.code().map_or_else(|| "killed".to_owned(), |c| c.to_string())
    }
}

/// Runs a command with this on its stdin; what it prints is kept, or goes where our own stdout goes.
pub(crate) async fn run(
    command: &str,
    variables: &[(String, String)],
    input: &[u8],
    keep: bool,
) -> io::Result<Ran> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).process_group(0).kill_on_drop(true);
    shell.stdin(Stdio::piped()).stderr(Stdio::piped());
    shell.stdout(if keep { Stdio::piped() } else { Stdio::inherit() });
    shell.envs(variables.iter().map(|(name, value)| (name, value)));
    shell.envs(trunkline::trace::traceparent().map(|parent| ("TRACEPARENT", parent)));
    let mut child = shell.spawn()?;
    let mut group = Group::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command need not read its input.
            let _ = stdin.write_all(input).await;
        }
    };
    let (output, tail, ()) = tokio::join!(limited(stdout), tail(stderr), feed);
    let output = output?;
    let said = String::from_utf8_lossy(&tail).trim_end().to_owned();
    // One that prints without end is killed with its group, when that is dropped.
    let status = if output.len() as u64 > LIMIT { ExitStatus::default() } else { child.wait().await? };
    if output.len() as u64 <= LIMIT {
        group.ended();
    }
    Ok(Ran { status, output, said })
}

/// The variables for headers.
pub(crate) fn header_variables(headers: &Headers) -> impl Iterator<Item = (String, String)> {
    headers.iter().map(|(name, value)| (variable(name), value.clone()))
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
