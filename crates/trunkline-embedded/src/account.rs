//! Who runs PostgreSQL: the caller, or, for root, another user.
//!
//! Guarantees: PostgreSQL's programs never run as root, get no supplementary groups from root and only a few
//! variables of the environment (never passwords). This process keeps its own user. Does not guarantee that the
//! user can read the programs: the search tries them as that user.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, getegid, geteuid};

use crate::error::Error;
use crate::settings::{Environment, Settings};

/// Tried in this order when root starts a server.
const USERS: [&str; 3] = ["trunkline", "postgres", "nobody"];

/// The user that PostgreSQL runs as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    gid: u32,
    /// We are root and this is somebody else.
    pub(crate) switched: bool,
}

impl Account {
    /// The caller, or for root: the user asked for, the owner of existing data, or the first of [`USERS`].
    pub(crate) fn choose(settings: &Settings, db: &Path) -> Result<Self, Error> {
        let me = geteuid();
        if !me.is_root() {
            let name = name_of(me);
            if let Some(other) = settings.run_as.as_deref().filter(|other| *other != name) {
                let reason = format!("only root can run the server as `{other}`, this is `{name}`");
                return Err(Error::Setting { name: "run_as".into(), reason });
            }
            return Ok(Self { name, uid: me.as_raw(), gid: getegid().as_raw(), switched: false });
        }
        if let Some(name) = settings.run_as.as_deref() {
            return Self::first_of(&[name]);
        }
        match fs::metadata(db) {
            Ok(meta) if meta.uid() != 0 => Ok(Self {
                name: name_of(Uid::from_raw(meta.uid())),
                uid: meta.uid(),
                gid: meta.gid(),
                switched: true,
            }),
            _ => Self::first_of(&USERS),
        }
    }

    fn first_of(names: &[&str]) -> Result<Self, Error> {
        let found = names.iter().find_map(|name| {
            let user = User::from_name(name).ok().flatten()?;
            (!user.uid.is_root()).then_some(user)
        });
        match found {
            Some(user) => {
                Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), switched: true })
            }
            None => Err(Error::NoUser {
                tried: names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
            }),
        }
    }

    /// A command that runs as this user, in `/`, without input, in a clean environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, environment: &Environment) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").stdin(Stdio::null());
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ"] {
            if let Some(value) = environment.get(name) {
                command.env(name, value);
            }
        }
        command.env("LC_ALL", "C");
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Hands a file or directory that we just made to this user.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        if !self.switched {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid)).map_err(Error::path("give away", path))
    }

    /// Fails unless this user can get to `dir`; asked of the system, by going there.
    pub(crate) fn reaches(&self, dir: &Path, environment: &Environment) -> Result<(), Error> {
        if !self.switched {
            return Ok(());
        }
        let status = self
            .command("/bin/sh", environment)
            .args(["-c", "cd -- \"$0\""])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(Error::io("run /bin/sh"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Unreachable { user: self.name.clone(), blocked: self.closed_part_of(dir) })
    }

    /// The first directory on the way that the permission bits close to this user.
    fn closed_part_of(&self, dir: &Path) -> PathBuf {
        let mut way: Vec<&Path> = dir.ancestors().collect();
        way.reverse();
        let closed = way.into_iter().find(|part| {
            fs::metadata(part).is_ok_and(|meta| {
                let bit = match (meta.uid() == self.uid, meta.gid() == self.gid) {
                    (true, _) => 0o100,
                    (false, true) => 0o010,
                    (false, false) => 0o001,
                };
                meta.permissions().mode() & bit == 0
            })
        });
        closed.unwrap_or(dir).to_owned()
    }
}

/// The user's home directory as the system's user table has it.
pub(crate) fn home_of_caller() -> Option<PathBuf> {
    User::from_uid(geteuid()).ok().flatten().map(|user| user.dir)
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

fn name_of(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
