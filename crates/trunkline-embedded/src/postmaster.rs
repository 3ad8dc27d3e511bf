//! Looks at the postmaster of a data directory through its file `postmaster.pid` and its socket.
//!
//! ```text
//! no file ────────────────────────────────────────────────────▶ Absent
//! file ─ socket answers: the process of the file, which runs ─▶ Starting, Ready, Stopping (line 8)
//!                      : another ─────────────────────────────▶ Occupied   (a container on the same volume)
//!      ─ no answer, but the process runs in this directory ───▶ Starting or Stopping
//!                 , the process runs elsewhere ───────────────▶ Reused     (the pid now is somebody else's)
//!                 , the process has ended, is not collected ──▶ Reused     (a container without an init)
//!                 , there is no such process ─────────────────▶ Absent     (postgres clears the file itself)
//! ```
//!
//! Guarantees: `Ready` means that the process with this pid listens on this server's socket (asked of the kernel by
//! the peer's credentials). The file is never removed from here, because its line 7 lets postgres see whether
//! backends of a dead postmaster still use the data. Does not guarantee that it still holds a moment later.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;

/// What `postmaster.pid` says. Lines: pid, data directory, start time, port, socket directory, first listen
/// address, shared memory key, status.
#[derive(Debug, Clone)]
pub(crate) struct PidFile {
    pub(crate) pid: i32,
    pub(crate) port: u16,
    pub(crate) socket_dir: PathBuf,
    /// Whether it listens on TCP.
    pub(crate) tcp: bool,
    status: String,
    /// Written by `postgres --single`, which negates its pid.
    single: bool,
}

/// How things stand with a data directory.
#[derive(Debug)]
pub(crate) enum State {
    Absent,
    Reused(PidFile),
    Starting(PidFile),
    Ready(PidFile),
    Stopping(PidFile),
    Occupied(String),
}

/// Looks once.
pub(crate) fn inspect(db: &Path) -> Result<State, Error> {
    let Some(file) = PidFile::read(db)? else {
        return Ok(State::Absent);
    };
    let lives = alive(file.pid);
    if file.single {
        return Ok(match lives && runs_in(file.pid, db) {
            true => State::Occupied(format!("postgres --single, pid {}", file.pid)),
            false => file.left_over(),
        });
    }
    match file.peer() {
        Ok(Some(peer)) if peer == file.pid && lives => Ok(file.phase()),
        // A child that it had just made keeps its socket open for a moment longer.
        Ok(Some(peer)) if peer == file.pid => Ok(file.left_over()),
        Ok(None) if lives => Ok(file.phase()),
        Ok(peer) => {
            if PidFile::read(db)?.is_none_or(|now| now.pid != file.pid) {
                // A new server replaced the file between our two looks.
                return inspect(db);
            }
            Ok(State::Occupied(match peer {
                Some(peer @ 1..) => format!("a server whose pid is {peer} here and {} elsewhere", file.pid),
                _ => "a server in another container".into(),
            }))
        }
        Err(_) if lives && runs_in(file.pid, db) => Ok(match file.phase() {
            // Says ready but its sockets are closed: it is on its way out.
            State::Ready(file) => State::Stopping(file),
            other => other,
        }),
        Err(_) => Ok(file.left_over()),
    }
}

impl PidFile {
    /// `None` when there is no file, or it is too short to tell anything yet.
    pub(crate) fn read(db: &Path) -> Result<Option<Self>, Error> {
        let path = db.join("postmaster.pid");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::path("read", &path)(error)),
        };
        let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        let line = |number: usize| lines.get(number - 1).copied().unwrap_or_default();
        let text = |number| String::from_utf8_lossy(line(number)).trim().to_owned();
        let Ok(number) = text(1).parse::<i32>() else {
            return Ok(None);
        };
        Ok(Some(Self {
            pid: number.abs(),
            port: text(4).parse().unwrap_or(0),
            socket_dir: PathBuf::from(std::ffi::OsStr::from_bytes(line(5))),
            tcp: !text(6).is_empty(),
            status: text(8),
            single: number < 0,
        }))
    }

    fn phase(self) -> State {
        match self.status.as_str() {
            "ready" | "standby" => State::Ready(self),
            "stopping" => State::Stopping(self),
            _ => State::Starting(self),
        }
    }

    /// Nothing of it runs any more.
    fn left_over(self) -> State {
        if exists(self.pid) { State::Reused(self) } else { State::Absent }
    }

    /// Whether this process has said that it takes connections.
    pub(crate) fn is_ready(&self, pid: i32) -> bool {
        self.pid == pid && self.status == "ready"
    }

    /// Connects to the socket and asks who listens there; `None` where the system does not tell.
    fn peer(&self) -> io::Result<Option<i32>> {
        if self.socket_dir.as_os_str().is_empty() {
            // Not written yet.
            return Err(io::ErrorKind::NotFound.into());
        }
        let stream = UnixStream::connect(self.socket_dir.join(format!(".s.PGSQL.{}", self.port)))?;
        Ok(peer_pid(&stream))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn peer_pid(stream: &UnixStream) -> Option<i32> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    getsockopt(stream, PeerCredentials).ok().map(|peer| peer.pid())
}

#[cfg(target_os = "macos")]
fn peer_pid(stream: &UnixStream) -> Option<i32> {
    use nix::sys::socket::{getsockopt, sockopt::LocalPeerPid};
    getsockopt(stream, LocalPeerPid).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
fn peer_pid(_stream: &UnixStream) -> Option<i32> {
    None
}

/// Whether the process exists, be it only as an entry that its parent has not collected yet.
fn exists(pid: i32) -> bool {
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether the process has not ended.
pub(crate) fn alive(pid: i32) -> bool {
    // `pid (name) S ...`; the name may hold anything, so look behind its last parenthesis.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    exists(pid) && !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// A postmaster's working directory is its data directory.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn runs_in(pid: i32, db: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == db)
}

/// A postmaster of ours has its data directory in its command line.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn runs_in(pid: i32, db: &Path) -> bool {
    let output =
        std::process::Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&*db.to_string_lossy()))
}

/// Sends a signal; a process that is gone is no error.
pub(crate) fn signal(pid: i32, signal: Signal) -> Result<(), Error> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Error::io(format!("send {signal} to the server, pid {pid}"))(errno.into())),
    }
}

/// The pid in the file is somebody else's by now (usual after a restart of a container), or of a process that
/// ended and was not collected. postgres refuses to start then, unless the pid is its own or its parent's, so the first line gets ours: we are the parent of the server
/// that is about to start. The rest stays, so that postgres still checks the shared memory of line 7. The same
/// goes for the file beside the socket.
pub(crate) fn disown(db: &Path, file: &PidFile) -> Result<(), Error> {
    rewrite_pid(&db.join("postmaster.pid"))?;
    rewrite_pid(&file.socket_dir.join(format!(".s.PGSQL.{}.lock", file.port)))
}

fn rewrite_pid(path: &Path) -> Result<(), Error> {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;
    let rewrite = || {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let rest = bytes.iter().position(|b| *b == b'\n').map_or(&b""[..], |end| &bytes[end..]);
        let mut new = std::process::id().to_string().into_bytes();
        new.extend_from_slice(rest);
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(&new)
    };
    match rewrite() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(Error::path("rewrite", path)),
    }
}
