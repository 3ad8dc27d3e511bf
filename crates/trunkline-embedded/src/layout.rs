//! Where a server keeps its things: data, log, password, lock and socket.
//!
//! ```text
//! <data dir>/            the caller's; for root it is root's and open to pass through
//!   trunkline.lock       held while one process starts the server; also marks the directory as ours
//!   server.log           what postgres says
//!   password             of the superuser, for TCP; 0600
//!   db/                  PostgreSQL's own data directory; appears complete or not at all
//!   run/                 the socket, 0700, unless the path is too long
//! ```
//!
//! Guarantees: a directory that holds other things is refused before anything in it is touched; files are opened
//! without following a symbolic link; a socket directory outside the data directory is ours alone. Does not
//! guarantee anything against root or against the user the server runs as.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::account::{self, Account};
use crate::error::Error;
use crate::settings::{Environment, Settings};

/// `sockaddr_un.sun_path` takes 107 bytes on Linux and 103 on macOS.
const SOCKET_PATH_LIMIT: usize = 103;
const LOCK: &str = "trunkline.lock";
/// A log larger than this is set aside at the next start.
const LOG_LIMIT: u64 = 8 << 20;

/// The paths of one server.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) home: PathBuf,
    pub(crate) db: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) password: PathBuf,
}

impl Layout {
    /// The paths, without touching anything. Links in them are resolved, so that one directory has one name.
    pub(crate) fn of(settings: &Settings) -> Result<Self, Error> {
        let home = match &settings.data_dir {
            Some(dir) => std::path::absolute(dir).map_err(Error::path("find", dir))?,
            None => default_home(&settings.environment)?,
        };
        Ok(Self::at(fs::canonicalize(&home).unwrap_or(home)))
    }

    fn at(home: PathBuf) -> Self {
        Self { db: home.join("db"), log: home.join("server.log"), password: home.join("password"), home }
    }

    /// Makes the directory if need be and sees to it that the server's user can pass through.
    pub(crate) fn prepare(self, account: &Account, environment: &Environment) -> Result<Self, Error> {
        let made = !self.home.exists();
        if made {
            if let Some(parent) = self.home.parent() {
                fs::create_dir_all(parent).map_err(Error::path("make", parent))?;
            }
            let mode = if account.switched { 0o755 } else { 0o700 };
            match DirBuilder::new().mode(mode).create(&self.home) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::path("make", &self.home)(error));
                }
                _ => {}
            }
        }
        let home = fs::canonicalize(&self.home).map_err(Error::path("open", &self.home))?;
        let layout = Self::at(home);
        layout.refuse_foreign()?;
        if account.switched {
            layout.let_through()?;
        }
        account.reaches(&layout.home, environment)?;
        Ok(layout)
    }

    fn refuse_foreign(&self) -> Result<(), Error> {
        if self.home.join(LOCK).exists() {
            return Ok(());
        }
        let mut entries = fs::read_dir(&self.home).map_err(Error::path("read", &self.home))?;
        // Another process may have made its lock between the two looks.
        if entries.next().is_none() || self.home.join(LOCK).exists() {
            return Ok(());
        }
        Err(Error::NotOurs { dir: self.home.clone() })
    }

    /// Root's directory must let the server's user pass; its files stay closed by their own modes.
    fn let_through(&self) -> Result<(), Error> {
        let meta = fs::metadata(&self.home).map_err(Error::path("look at", &self.home))?;
        let mode = meta.permissions().mode() & 0o7777;
        if meta.uid() == 0 && mode & 0o011 != 0o011 {
            let open = fs::Permissions::from_mode(mode | 0o011);
            fs::set_permissions(&self.home, open).map_err(Error::path("open up", &self.home))?;
        }
        Ok(())
    }

    /// Waits for the lock. It is the kernel's: it ends with the process that holds it, however that ends.
    pub(crate) fn lock(&self, limit: Duration) -> Result<File, Error> {
        let path = self.home.join(LOCK);
        let file = open(&path, OpenOptions::new().read(true).write(true).create(true))?;
        let deadline = Instant::now() + limit;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    let what = format!("another process that holds {}", path.display());
                    return Err(Error::Timeout { what, after: limit, log: self.log.clone() });
                }
                Err(fs::TryLockError::Error(error)) => return Err(Error::path("lock", &path)(error)),
            }
        }
    }

    /// The log, open for appending; an overgrown one is set aside first. Only under the lock.
    pub(crate) fn open_log(&self) -> Result<File, Error> {
        if fs::symlink_metadata(&self.log).is_ok_and(|meta| meta.len() > LOG_LIMIT) {
            let old = self.home.join("server.log.1");
            fs::rename(&self.log, &old).map_err(Error::path("set aside", &self.log))?;
        }
        open(&self.log, OpenOptions::new().append(true).create(true))
    }

    /// Writes the password so that it is either whole or not there.
    pub(crate) fn write_password(&self, password: &str) -> Result<(), Error> {
        use std::io::Write as _;
        let draft = self.home.join("password.new");
        let _ = fs::remove_file(&draft);
        let mut file = open(&draft, OpenOptions::new().write(true).create_new(true))?;
        file.write_all(password.as_bytes()).map_err(Error::path("write", &draft))?;
        file.sync_all().map_err(Error::path("sync", &draft))?;
        fs::rename(&draft, &self.password).map_err(Error::path("write", &self.password))
    }

    /// The password for TCP.
    pub(crate) fn read_password(&self) -> Result<String, Error> {
        let text = fs::read_to_string(&self.password).map_err(Error::path("read", &self.password))?;
        Ok(text.trim().to_owned())
    }

    /// The major version that wrote the data, or `None` where there are none yet.
    pub(crate) fn major(&self) -> Result<Option<u32>, Error> {
        if !self.db.exists() {
            return Ok(None);
        }
        let path = self.db.join("PG_VERSION");
        let text = fs::read_to_string(&path).map_err(Error::path("read", &path))?;
        match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(Error::path("read", &path)(io::Error::other(format!("unexpected text {text:?}")))),
        }
    }

    /// The directory for the socket, made private to the server's user.
    pub(crate) fn socket_dir(&self, account: &Account, environment: &Environment) -> Result<PathBuf, Error> {
        let near = self.home.join("run");
        let dir = if fits(&near) { near } else { self.far_socket_dir(account, environment) };
        private_dir(&dir, account)?;
        Ok(dir)
    }

    /// A short path outside the data directory, the same for every start on it.
    fn far_socket_dir(&self, account: &Account, environment: &Environment) -> PathBuf {
        let hash = fnv1a(self.home.as_os_str().as_bytes());
        let base = if account::is_root() {
            Some(environment.rooted("/run")).filter(|dir| dir.is_dir())
        } else {
            environment.dir("XDG_RUNTIME_DIR").filter(|dir| owner_only(dir, account.uid).is_ok())
        };
        match base.map(|base| base.join(format!("trunkline-{hash:016x}"))).filter(|dir| fits(dir)) {
            Some(dir) => dir,
            None => PathBuf::from(format!("/tmp/trunkline-{}-{hash:016x}", account.uid)),
        }
    }
}

/// Short enough for a socket, and without characters that the lists of `unix_socket_directories` or of libpq's
/// `host` give a meaning to.
fn fits(dir: &Path) -> bool {
    let bytes = dir.as_os_str().as_bytes();
    bytes.len() + "/.s.PGSQL.65535".len() <= SOCKET_PATH_LIMIT
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"/._-+ ".contains(b))
}

/// Makes `dir` for the server's user alone, or checks that it is just that.
fn private_dir(dir: &Path, account: &Account) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => account.own(dir)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::path("make", dir)(error)),
    }
    owner_only(dir, account.uid).map_err(|reason| Error::UnsafeSocketDir { dir: dir.to_owned(), reason })
}

fn owner_only(dir: &Path, uid: u32) -> Result<(), String> {
    let meta = fs::symlink_metadata(dir).map_err(|error| error.to_string())?;
    if !meta.is_dir() {
        return Err("it is not a directory".into());
    }
    if meta.uid() != uid {
        return Err(format!("it belongs to user {}, not to {uid}", meta.uid()));
    }
    match meta.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(format!("its mode {:04o} lets others in", meta.permissions().mode() & 0o7777)),
    }
}

/// Opens one of our files, 0600 when new, never through a symbolic link. What root makes in a user's directory
/// belongs to that user.
fn open(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    let file = options
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(Error::path("open", path))?;
    if let Some(parent) = path.parent().filter(|_| account::is_root()) {
        let owner = fs::metadata(parent).map_err(Error::path("look at", parent))?;
        std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))
            .map_err(Error::path("give away", path))?;
    }
    Ok(file)
}

fn default_home(environment: &Environment) -> Result<PathBuf, Error> {
    if account::is_root() {
        return Ok(environment.rooted("/var/lib/trunkline"));
    }
    if let Some(base) = environment.dir("XDG_DATA_HOME") {
        return Ok(base.join("trunkline"));
    }
    match environment.dir("HOME").or_else(account::home_of_caller) {
        Some(home) => Ok(home.join(".local/share/trunkline")),
        None => Err(Error::Setting {
            name: "data_dir".into(),
            reason: "there is no default because HOME is not set; name a directory".into(),
        }),
    }
}

/// FNV-1a, 64 bit (Fowler, Noll, Vo): a name that stays the same between releases. Not a secret: the directory's
/// owner and mode are what keeps others out.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
