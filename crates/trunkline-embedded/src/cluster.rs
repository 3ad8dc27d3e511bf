//! Makes the database cluster: `initdb`, our defaults, one sync, then the move to its place.
//!
//! What if it dies here: `db` appears by a rename, complete and on disk, or not at all. A directory `db.new-*`
//! left by a process that was killed is removed by the next start.
//!
//! Choices. Superuser `postgres`. UTF-8 and locale `C`: text sorts by its bytes, the same on every system and
//! every major version, so no index goes stale with an upgrade of the C library; `upper` and `lower` know ASCII
//! only (`C.UTF-8` knows more, but PostgreSQL 15 and 16 take it from the system, where it may be missing). Data
//! checksums on. Over the socket `trust`, since only the owner can reach it; over TCP always a password.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::error::Error;
use crate::layout::Layout;
use crate::settings::Environment;

/// The superuser.
pub(crate) const USER: &str = "postgres";

/// Appended to `postgresql.conf`, where the owner may change it.
const DEFAULTS: &str = "
# Defaults of trunkline. Change them here or by ALTER SYSTEM.
max_connections = 200
shared_buffers = 128MB
log_checkpoints = off
";

/// Removed with its contents when dropped, unless it was moved away.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the cluster. Only under the lock.
pub(crate) fn create(
    layout: &Layout,
    binaries: &Binaries,
    account: &Account,
    environment: &Environment,
) -> Result<(), Error> {
    remove_leftovers(layout)?;
    let scratch = Scratch(layout.home.join(format!("db.new-{}", std::process::id())));
    let dir = &scratch.0;
    DirBuilder::new().mode(0o700).create(dir).map_err(Error::path("make", dir))?;
    account.own(dir)?;
    let password = random_password()?;
    initdb(layout, dir, binaries, account, environment, &password)?;
    append_defaults(dir, account)?;
    layout.write_password(&password)?;
    sync(dir, binaries, account, environment)?;
    fs::rename(dir, &layout.db).map_err(Error::path("move into place", dir))?;
    sync_dir(&layout.home)
}

fn remove_leftovers(layout: &Layout) -> Result<(), Error> {
    for entry in fs::read_dir(&layout.home).map_err(Error::path("read", &layout.home))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("db.new-") {
            fs::remove_dir_all(entry.path()).map_err(Error::path("remove", &entry.path()))?;
        } else if name.starts_with("pwfile-") {
            fs::remove_file(entry.path()).map_err(Error::path("remove", &entry.path()))?;
        }
    }
    Ok(())
}

fn initdb(
    layout: &Layout,
    dir: &Path,
    binaries: &Binaries,
    account: &Account,
    environment: &Environment,
    password: &str,
) -> Result<(), Error> {
    let pwfile = layout.home.join(format!("pwfile-{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&pwfile)?;
        writeln!(file, "{password}")
    };
    write().map_err(Error::path("write", &pwfile))?;
    let done = account.own(&pwfile).and_then(|()| {
        account
            .command(binaries.dir.join("initdb"), environment)
            .arg("-D")
            .arg(dir)
            .args([
                "-U",
                USER,
                "--encoding=UTF8",
                "--locale=C",
                "--data-checksums",
                "--no-sync",
                "--no-instructions",
            ])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg("--pwfile")
            .arg(&pwfile)
            .output()
            .map_err(Error::io("run initdb"))
    });
    let _ = fs::remove_file(&pwfile);
    let output = done?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.contains("could not look up effective user ID") {
        said.push_str("; give this user an entry in /etc/passwd, or run as one that has one");
    }
    Err(Error::Initdb { data_dir: layout.db.clone(), output: said })
}

/// The directory is the server's user's, so root writes only to a plain file that this user owns.
fn append_defaults(dir: &Path, account: &Account) -> Result<(), Error> {
    let path = dir.join("postgresql.conf");
    let append = || {
        let mut file = OpenOptions::new().append(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.uid() != account.uid {
            return Err(io::Error::other("it is not a file of the server's user"));
        }
        file.write_all(DEFAULTS.as_bytes())
    };
    append().map_err(Error::path("write", &path))
}

/// 256 bits from the system, in hex.
fn random_password() -> Result<String, Error> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(Error::io("read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One call for the file system instead of one for each of a thousand files; PostgreSQL itself offers the same
/// (`recovery_init_sync_method = syncfs`).
#[cfg(target_os = "linux")]
fn sync(dir: &Path, _: &Binaries, _: &Account, _: &Environment) -> Result<(), Error> {
    let file = File::open(dir).map_err(Error::path("open", dir))?;
    nix::unistd::syncfs(&file).map_err(|errno| Error::path("sync", dir)(errno.into()))
}

#[cfg(not(target_os = "linux"))]
fn sync(dir: &Path, binaries: &Binaries, account: &Account, environment: &Environment) -> Result<(), Error> {
    let output = account
        .command(binaries.dir.join("initdb"), environment)
        .arg("--sync-only")
        .arg("-D")
        .arg(dir)
        .output()
        .map_err(Error::io("run initdb"))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Initdb { data_dir: dir.to_owned(), output })
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(Error::path("sync", dir))
}
