//! Fetches a PostgreSQL where none is installed: a pinned archive of the project `theseus-rs/postgresql-binaries`.
//!
//! Guarantees: nothing is unpacked before size and SHA-256 are right; an archive with an entry that leads outside
//! is refused as a whole; the programs have run once before they are put in place; they appear in the cache by a
//! rename, whole or not at all; two processes do not fetch at once. Does not guarantee that the archive suits
//! every system: it needs glibc 2.34 and a few shared libraries, and where it does not run the error says so.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::account::{self, Account};
use crate::binaries::{self, Binaries};
use crate::error::Error;
use crate::settings::{Archive, Environment};

const RELEASES: &str = "https://github.com/theseus-rs/postgresql-binaries/releases/download";
const VERSION: &str = "18.6.0";

/// Target, SHA-256 and size of the archives of [`VERSION`].
const PINS: [(&str, &str, u64); 4] = [
    (
        "x86_64-unknown-linux-gnu",
        "bb3d09f876b2383e25a8c9ce09e32d185a03656a23d074f5195542b1b1b3ca61",
        12_184_736,
    ),
    (
        "aarch64-unknown-linux-gnu",
        "5d2b5e8be9e96bfc3d7f22090057a836ec36d5d092542d8d3b93cc145cf4ee13",
        11_979_851,
    ),
    ("x86_64-apple-darwin", "f8918fbe747e0d79bda58ad8f8afcf23ac384b847ff3af18856f0825ba54b031", 13_435_995),
    ("aarch64-apple-darwin", "a257bcdb8aa3301a13d6a5bcec48f8c9517045b7cbae71e50788b2615539e95b", 13_081_312),
];

impl Archive {
    /// The pinned archive for this machine, if there is one.
    #[must_use]
    pub fn pinned() -> Option<Self> {
        let system = match std::env::consts::OS {
            "linux" => "unknown-linux-gnu",
            "macos" => "apple-darwin",
            _ => return None,
        };
        let target = format!("{}-{system}", std::env::consts::ARCH);
        PINS.iter().find(|(name, ..)| *name == target).map(|(_, sha256, bytes)| Self {
            version: VERSION.into(),
            target,
            sha256: (*sha256).into(),
            bytes: *bytes,
        })
    }

    /// The name of the file, such as `postgresql-18.6.0-x86_64-unknown-linux-gnu.tar.gz`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("postgresql-{}-{}.tar.gz", self.version, self.target)
    }

    fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}

/// Directories with programs that were fetched before.
pub(crate) fn fetched(environment: &Environment) -> Vec<PathBuf> {
    let Some(Ok(entries)) = cache(environment).map(fs::read_dir) else {
        return Vec::new();
    };
    let mut dirs: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path().join("bin"))
        .collect();
    dirs.sort();
    dirs
}

/// Fetches the archive into the cache; `Err(Ok(why))` when there is nothing that would do.
pub(crate) fn fetch(
    (mirror, archive): (Option<&str>, Option<&Archive>),
    needs: Option<u32>,
    account: &Account,
    environment: &Environment,
    notice: &mut dyn FnMut(&str),
) -> Result<Binaries, Result<String, Error>> {
    let Some(archive) = archive.cloned().or_else(Archive::pinned) else {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        return Err(Ok(format!("there is no archive to fetch for {os} on {arch}")));
    };
    if needs.is_some() && archive.major() != needs {
        return Err(Ok(format!("only {} could be fetched", archive.version)));
    }
    let Some(cache) = cache(environment) else {
        return Err(Ok("nothing was fetched because neither XDG_CACHE_HOME nor HOME is set".into()));
    };
    let base = mirror
        .map(str::to_owned)
        .or_else(|| environment.get("TRUNKLINE_PG_MIRROR").map(|value| value.to_string_lossy().into_owned()))
        .unwrap_or_else(|| RELEASES.into());
    let source = Source::of(base.trim_end_matches('/'), &archive);
    into_cache(&source, &archive, &cache, account, environment, notice).map_err(Err)
}

fn into_cache(
    source: &Source,
    archive: &Archive,
    cache: &Path,
    account: &Account,
    environment: &Environment,
    notice: &mut dyn FnMut(&str),
) -> Result<Binaries, Error> {
    make_open(cache)?;
    let lock = cache.join(".lock");
    let lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(Error::path("lock", &lock))?;
    let place = cache.join(&archive.version);
    if let Ok(there) = binaries::at(&place.join("bin"), account, environment) {
        return Ok(there);
    }
    for entry in fs::read_dir(cache).map_err(Error::path("read", cache))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".new-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let (tenths, name) = (archive.bytes / 100_000, archive.file_name());
    let size = format!("{}.{} MB", tenths / 10, tenths % 10);
    notice(&format!(
        "no PostgreSQL installed; fetching PostgreSQL {} ({name}, {size}) from {source} to {}",
        archive.version,
        place.display()
    ));
    let scratch = Scratch(cache.join(format!(".new-{}", std::process::id())));
    let refuse = |reason| Error::Fetch { what: name.clone(), from: source.to_string(), reason };
    make_open(&scratch.0)?;
    let packed = scratch.0.join("archive.tar.gz");
    download(source, archive, &packed).map_err(refuse)?;
    let tree = unpack(&packed, &scratch.0.join("tree")).map_err(refuse)?;
    binaries::at(&tree.join("bin"), account, environment).map_err(|error| refuse(error.to_string()))?;
    flush(&tree)?;
    if place.exists() {
        fs::remove_dir_all(&place).map_err(Error::path("remove", &place))?;
    }
    fs::rename(&tree, &place).map_err(Error::path("move into place", &tree))?;
    drop(lock);
    binaries::at(&place.join("bin"), account, environment)
}

/// Removed with its contents when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where an archive comes from.
enum Source {
    Web(String),
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Web(url) => f.write_str(url),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Source {
    fn of(base: &str, archive: &Archive) -> Self {
        let (version, name) = (&archive.version, archive.file_name());
        if base.starts_with("http://") || base.starts_with("https://") {
            return Self::Web(format!("{base}/{version}/{name}"));
        }
        let dir = match base.strip_prefix("file://") {
            Some(path) => PathBuf::from(path.strip_prefix("localhost").unwrap_or(path)),
            None => PathBuf::from(base),
        };
        let flat = dir.join(&name);
        Self::File(if flat.is_file() { flat } else { dir.join(version).join(name) })
    }

    fn open(&self) -> Result<Box<dyn Read>, String> {
        match self {
            Self::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(error.to_string()),
            },
            Self::Web(url) => {
                let agent: ureq::Agent = ureq::Agent::config_builder()
                    .timeout_connect(Some(Duration::from_secs(15)))
                    .timeout_global(Some(Duration::from_secs(900)))
                    .user_agent("trunkline")
                    .build()
                    .into();
                match agent.get(url).call() {
                    Ok(response) => Ok(Box::new(response.into_body().into_reader())),
                    Err(error) => Err(error.to_string()),
                }
            }
        }
    }
}

/// Copies the archive and checks it on the way.
fn download(source: &Source, archive: &Archive, to: &Path) -> Result<(), String> {
    let mut from = source.open()?.take(archive.bytes + 1);
    let mut file = File::create(to).map_err(|error| error.to_string())?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut bytes: u64 = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.to_string()),
        };
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(|error| error.to_string())?;
        bytes += u64::try_from(count).map_err(|error| error.to_string())?;
    }
    if bytes != archive.bytes {
        let more = if bytes > archive.bytes { "more" } else { "only" };
        return Err(format!("refused: {more} {bytes} bytes instead of {}", archive.bytes));
    }
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 != archive.sha256.to_ascii_lowercase() {
        return Err(format!("refused: its SHA-256 is {sha256} instead of {}", archive.sha256));
    }
    Ok(())
}

/// Unpacks and returns the directory in it that holds `bin`.
fn unpack(packed: &Path, to: &Path) -> Result<PathBuf, String> {
    let say = |error: io::Error| error.to_string();
    make_open(to).map_err(|error| error.to_string())?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(packed).map_err(say)?));
    for entry in archive.entries().map_err(say)? {
        let mut entry = entry.map_err(say)?;
        let path = entry.path().map_err(say)?.into_owned();
        let link = entry.link_name().map_err(say)?.map(|link| link.into_owned());
        let kind = entry.header().entry_type();
        if matches!(kind, tar::EntryType::XGlobalHeader) {
            continue;
        }
        let sound = match link {
            Some(link) if kind.is_symlink() => {
                stays_inside(&path) && stays_inside(&path.parent().unwrap_or(Path::new("")).join(link))
            }
            Some(link) => kind.is_hard_link() && stays_inside(&path) && stays_inside(&link),
            None => (kind.is_file() || kind.is_dir()) && stays_inside(&path),
        };
        if !sound || !entry.unpack_in(to).map_err(say)? {
            return Err(format!("refused: its entry {} leads outside or is no plain file", path.display()));
        }
    }
    let inner = fs::read_dir(to).map_err(say)?.flatten().map(|entry| entry.path());
    inner
        .chain([to.to_owned()])
        .find(|dir| dir.join("bin").is_dir())
        .ok_or_else(|| "refused: it has no directory `bin`".into())
}

/// Whether a relative path never climbs above its start.
fn stays_inside(path: &Path) -> bool {
    let mut depth: u32 = 0;
    path.components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => match depth.checked_sub(1) {
            Some(up) => {
                depth = up;
                true
            }
            None => false,
        },
        Component::RootDir | Component::Prefix(_) => false,
    })
}

/// Makes a directory with its parents; when root makes it, the server's user can read it whatever the umask is.
fn make_open(dir: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|part| !part.exists()).collect();
    fs::create_dir_all(dir).map_err(Error::path("make", dir))?;
    if account::is_root() {
        for part in missing {
            fs::set_permissions(part, fs::Permissions::from_mode(0o755))
                .map_err(Error::path("open up", part))?;
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn flush(dir: &Path) -> Result<(), Error> {
    let file = File::open(dir).map_err(Error::path("open", dir))?;
    nix::unistd::syncfs(&file).map_err(|errno| Error::path("sync", dir)(errno.into()))
}

#[cfg(not(target_os = "linux"))]
fn flush(_: &Path) -> Result<(), Error> {
    Ok(())
}

/// Where fetched programs are kept: one directory for each version.
fn cache(environment: &Environment) -> Option<PathBuf> {
    let base = if account::is_root() {
        environment.rooted("/var/cache")
    } else {
        let home =
            || environment.dir("HOME").or_else(account::home_of_caller).map(|home| home.join(".cache"));
        environment.dir("XDG_CACHE_HOME").or_else(home)?
    };
    Some(base.join("trunkline/postgresql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_out_are_seen() {
        for inside in ["a/b", "./a", "a/../b", "lib/../share/x"] {
            assert!(stays_inside(Path::new(inside)), "{inside}");
        }
        for outside in ["../a", "a/../../b", "/etc/passwd", "lib/../../x"] {
            assert!(!stays_inside(Path::new(outside)), "{outside}");
        }
    }

    #[test]
    fn a_mirror_replaces_the_base() {
        let archive =
            Archive { version: "1.2.3".into(), target: "t".into(), sha256: String::new(), bytes: 0 };
        let web = Source::of("https://example.org/pg", &archive).to_string();
        assert_eq!(web, "https://example.org/pg/1.2.3/postgresql-1.2.3-t.tar.gz");
        let file = Source::of("file:///srv/pg", &archive).to_string();
        assert_eq!(file, "/srv/pg/1.2.3/postgresql-1.2.3-t.tar.gz");
    }
}
