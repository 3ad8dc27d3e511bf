//! Starts the postmaster and waits for it to say that it is ready.
//!
//! `postgres` is started directly: `pg_ctl -w` looks only every 100 ms. It gets a process group of its own, so that
//! Ctrl-C in the starter's terminal does not reach it, and no file of ours but its log. A thread waits for its end,
//! so that it never stays behind as a process nobody has collected, however long the starter lives.
//!
//! What if it dies here: a starter killed after the spawn leaves a server that goes on and becomes ready; the next
//! `start` finds it by `postmaster.pid` and adopts it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::binaries::Binaries;
use crate::error::Error;
use crate::layout::Layout;
use crate::postmaster::PidFile;
use crate::settings::Settings;

/// The port in the name of the socket where none is asked for on TCP.
const SOCKET_PORT: u16 = 5432;
/// How often the status is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(2);
const TAIL_LINES: usize = 15;
const TAIL_BYTES: u64 = 16 << 10;

/// Starts it and waits until it is ready. Only under the lock. After a crash the old server's children need a
/// moment to notice; until they have gone, postgres refuses to start, and is started again.
pub(crate) fn launch(
    layout: &Layout,
    socket_dir: &Path,
    binaries: &Binaries,
    account: &Account,
    settings: &Settings,
) -> Result<PidFile, Error> {
    let deadline = Instant::now() + settings.timeout;
    loop {
        match launch_once(layout, socket_dir, binaries, account, settings, deadline) {
            Err(Error::Start { tail, .. })
                if tail.contains("pre-existing shared memory block") && Instant::now() < deadline =>
            {
                std::thread::sleep(LOOK);
            }
            other => return other,
        }
    }
}

fn launch_once(
    layout: &Layout,
    socket_dir: &Path,
    binaries: &Binaries,
    account: &Account,
    settings: &Settings,
    deadline: Instant,
) -> Result<PidFile, Error> {
    let log = layout.open_log()?;
    let before = log.metadata().map_err(Error::path("look at", &layout.log))?.len();
    let mut command = command(layout, socket_dir, binaries, account, settings);
    let error_log = log.try_clone().map_err(Error::path("open", &layout.log))?;
    let child = command.stdout(log).stderr(error_log).spawn().map_err(Error::io("start postgres"))?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let ended = collect(child)?;
    loop {
        match PidFile::read(&layout.db) {
            Ok(Some(file)) if file.is_ready(pid) => return Ok(file),
            // It may be between creating the file and writing to it.
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        match ended.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(reason) => {
                let tail = tail(&layout.log, before);
                return Err(Error::Start { reason, log: layout.log.clone(), tail });
            }
            Err(RecvTimeoutError::Disconnected) => {
                let reason = "its end could not be waited for".into();
                return Err(Error::Start {
                    reason,
                    log: layout.log.clone(),
                    tail: tail(&layout.log, before),
                });
            }
        }
        if Instant::now() > deadline {
            let what = "PostgreSQL to become ready".into();
            return Err(Error::Timeout { what, after: settings.timeout, log: layout.log.clone() });
        }
    }
}

fn command(
    layout: &Layout,
    socket_dir: &Path,
    binaries: &Binaries,
    account: &Account,
    settings: &Settings,
) -> Command {
    let mut command = account.command(binaries.dir.join("postgres"), &settings.environment);
    command.process_group(0).arg("-D").arg(&layout.db);
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    set("cluster_name", "trunkline");
    set("fsync", "on");
    set("full_page_writes", "on");
    set("log_destination", "stderr");
    for (name, value) in &settings.extra {
        set(name, value);
    }
    set("logging_collector", "off");
    set("listen_addresses", if settings.tcp.is_some() { "127.0.0.1" } else { "" });
    set("port", &settings.tcp.unwrap_or(SOCKET_PORT).to_string());
    set("unix_socket_permissions", "0700");
    // Only characters that need no quotes there: see `Layout::socket_dir`.
    set("unix_socket_directories", &socket_dir.to_string_lossy());
    command
}

/// Waits for the end of the child in a thread and tells it to whoever listens.
fn collect(mut child: Child) -> Result<Receiver<String>, Error> {
    let (tell, ended) = channel();
    let wait = move || {
        let end = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let _ = tell.send(end);
    };
    std::thread::Builder::new()
        .name("trunkline-embedded".into())
        .stack_size(64 << 10)
        .spawn(wait)
        .map_err(Error::io("start a thread"))?;
    Ok(ended)
}

/// The last lines that were written after `start`.
fn tail(log: &Path, start: u64) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
