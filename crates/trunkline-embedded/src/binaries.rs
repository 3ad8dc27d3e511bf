//! Finds an installed PostgreSQL.
//!
//! The places, in order: the directory named by the caller or by `TRUNKLINE_PG_BIN` (then no other); `pg/bin`
//! beside the program; `pg_config --bindir`; `PATH`; the usual places of Debian, Red Hat, Homebrew, Postgres.app,
//! MacPorts and of a build from source; what was fetched before. The newest major version wins, and among equals
//! the earlier place, unless data exist: then their major version is needed.
//!
//! Guarantees: what is returned holds `initdb` and `postgres`, and `postgres --version` has just run as the user
//! the server will run as. Does not guarantee that `initdb` works: Linux distributions that split packages keep
//! both together.

use std::fs;
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::error::Error;
use crate::settings::{Environment, Settings};

/// The oldest major version that is used.
const OLDEST: u32 = 15;

/// Directories with one `*`: what comes before it, and what follows the matched name.
const USUAL: [(&str, &str); 6] = [
    ("/usr/lib/postgresql/", "bin"),
    ("/usr/pgsql-", "bin"),
    ("/opt/homebrew/opt/postgresql@", "bin"),
    ("/usr/local/opt/postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions/", "bin"),
    ("/opt/local/lib/postgresql", "bin"),
];

/// A directory with PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub(crate) dir: PathBuf,
    pub(crate) major: u32,
    /// As `postgres --version` has it, such as `15.18`.
    pub(crate) version: String,
}

/// What the search came to.
pub(crate) struct Found {
    usable: Vec<Binaries>,
    /// Directories that looked promising, and why they will not do.
    pub(crate) rejected: Vec<String>,
}

impl Found {
    /// The newest, or the newest of this major version.
    pub(crate) fn best(&self, needs: Option<u32>) -> Option<&Binaries> {
        let mut best: Option<&Binaries> = None;
        for one in self.usable.iter().filter(|one| needs.is_none_or(|major| one.major == major)) {
            if best.is_none_or(|best| one.major > best.major) {
                best = Some(one);
            }
        }
        best
    }
}

/// The directory that was named, if one was.
pub(crate) fn named(settings: &Settings) -> Option<PathBuf> {
    settings.bin_dir.clone().or_else(|| settings.environment.get("TRUNKLINE_PG_BIN").map(PathBuf::from))
}

/// Tries the directory that was named.
pub(crate) fn at(dir: &Path, account: &Account, environment: &Environment) -> Result<Binaries, Error> {
    let refuse = |reason| Error::BadBinaries { dir: dir.to_owned(), reason };
    let dir = std::path::absolute(dir).map_err(Error::path("find", dir))?;
    match probe(&dir, account, environment) {
        Some(Ok(binaries)) => Ok(binaries),
        Some(Err(reason)) => Err(refuse(reason)),
        None => Err(refuse("`initdb` and `postgres` are not both there".into())),
    }
}

/// Looks in every place. `fetched` are directories of earlier downloads.
pub(crate) fn search(environment: &Environment, account: &Account, fetched: Vec<PathBuf>) -> Found {
    let mut found = Found { usable: Vec::new(), rejected: Vec::new() };
    let mut seen: Vec<PathBuf> = Vec::new();
    for dir in places(environment, account).into_iter().chain(fetched) {
        let dir = real(&dir);
        if seen.contains(&dir) {
            continue;
        }
        match probe(&dir, account, environment) {
            Some(Ok(binaries)) => found.usable.push(binaries),
            Some(Err(reason)) => found.rejected.push(format!("{}: {reason}", dir.display())),
            None => {}
        }
        seen.push(dir);
    }
    found
}

fn places(environment: &Environment, account: &Account) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(beside) = environment.beside_executable() {
        places.push(beside.join("pg/bin"));
    }
    let path: Vec<PathBuf> = environment
        .get("PATH")
        .map(|path| std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect())
        .unwrap_or_default();
    if let Some(tool) = path.iter().map(|dir| dir.join("pg_config")).find(|tool| tool.is_file()) {
        places.extend(asked(&tool, account, environment));
    }
    places.extend(path);
    for (before, after) in USUAL {
        places.extend(matching(environment, before, after));
    }
    places.push(environment.rooted("/usr/local/pgsql/bin"));
    places
}

fn asked(pg_config: &Path, account: &Account, environment: &Environment) -> Option<PathBuf> {
    let output = account.command(pg_config, environment).arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(dir.trim())).filter(|dir| output.status.success() && dir.is_absolute())
}

/// `<before>*/<after>`, sorted.
fn matching(environment: &Environment, before: &str, after: &str) -> Vec<PathBuf> {
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(environment.rooted(parent)) else {
        return Vec::new();
    };
    let mut dirs: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after))
        .collect();
    dirs.sort();
    dirs
}

/// PostgreSQL finds `share` and `lib` from where its program really is, so a directory of links is replaced by
/// the one they lead to, if both lead there.
fn real(dir: &Path) -> PathBuf {
    let target =
        |name| fs::canonicalize(dir.join(name)).ok().and_then(|path| path.parent().map(Path::to_owned));
    match (target("postgres"), target("initdb")) {
        (Some(server), Some(initdb)) if server == initdb => server,
        _ => dir.to_owned(),
    }
}

/// `None` when the two programs are not there.
fn probe(dir: &Path, account: &Account, environment: &Environment) -> Option<Result<Binaries, String>> {
    let dir = real(dir);
    let server = dir.join("postgres");
    if !server.is_file() || !dir.join("initdb").is_file() {
        return None;
    }
    let tried = match account.command(&server, environment).arg("--version").output() {
        Err(error) => Err(format!("user `{}` cannot run `postgres`: {error}", account.name)),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("`postgres --version` failed: {}", said.trim()))
        }
        Ok(output) => version(&String::from_utf8_lossy(&output.stdout)),
    };
    Some(tried.and_then(|(major, version)| match major {
        OLDEST.. => Ok(Binaries { dir, major, version }),
        _ => Err(format!("is PostgreSQL {version}, older than {OLDEST}")),
    }))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version(text: &str) -> Result<(u32, String), String> {
    let word = text.split_whitespace().nth(2).unwrap_or_default();
    let digits: &str = word.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    match digits.parse() {
        Ok(major) => Ok((major, word.to_owned())),
        Err(_) => Err(format!("unexpected version {:?}", text.trim())),
    }
}

/// The versions that would do, for messages.
pub(crate) fn wanted(needs: Option<u32>) -> String {
    match needs {
        Some(major) => format!("{major} (the data need this version)"),
        None => format!("{OLDEST} or newer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_distributions_write_them() {
        let of = |text| version(text).map(|(major, _)| major);
        assert_eq!(of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Ok(15));
        assert_eq!(of("postgres (PostgreSQL) 18.6\n"), Ok(18));
        assert_eq!(of("postgres (PostgreSQL) 19beta1\n"), Ok(19));
        assert_eq!(of("postgres (PostgreSQL) 9.6.24\n"), Ok(9));
        assert!(of("something else").is_err());
    }

    #[test]
    fn the_newest_wins_then_the_earlier_place_unless_data_need_another() {
        let one = |dir: &str, major| Binaries { dir: dir.into(), major, version: major.to_string() };
        let found = Found { usable: vec![one("a", 16), one("b", 18), one("c", 18)], rejected: Vec::new() };
        assert_eq!(found.best(None), Some(&one("b", 18)));
        assert_eq!(found.best(Some(16)), Some(&one("a", 16)));
        assert_eq!(found.best(Some(17)), None);
    }
}
