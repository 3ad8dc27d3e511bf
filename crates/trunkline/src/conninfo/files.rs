//! The service file and the password file, with libpq's rules.
//!
//! A service is looked up in the user's file, then in the system's; a password file that others can read is not used.
//! LDAP lookups in service files are not supported.

use super::{
    env::{Env, Read},
    secret::Secret,
    text::{Params, config},
};
use crate::Result;
use std::path::{Path, PathBuf};

/// Where packagers put `pg_service.conf`, used when `PGSYSCONFDIR` is not set.
const SYSTEM_DIRS: &[&str] = &["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/etc"];

/// The settings of a service; not being defined anywhere is an error.
pub(super) fn service(name: &str, file: Option<String>, env: &Env) -> Result<Params> {
    let user_file = file.map(PathBuf::from).or_else(|| env.in_home(".pg_service.conf"));
    let system: Vec<PathBuf> = match env.var("PGSYSCONFDIR")? {
        Some(dir) => vec![PathBuf::from(dir)],
        None => SYSTEM_DIRS.iter().map(PathBuf::from).collect(),
    };
    let system = system.into_iter().map(|d| d.join("pg_service.conf"));
    for path in user_file.into_iter().chain(system) {
        match env.read(&path) {
            Read::Missing => {}
            Read::Unreadable(e) => {
                return Err(config(format!("service: cannot read {}", path.display())).with_source(e));
            }
            Read::Text { text, .. } => {
                if let Some(found) = section(&text, name, &path)? {
                    return Ok(found);
                }
            }
        }
    }
    Err(config(format!("service: {name:?} is not defined in any service file")))
}

fn section(text: &str, name: &str, path: &Path) -> Result<Option<Params>> {
    let mut found: Option<Params> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if head.strip_suffix(']').is_some_and(|n| n == name) {
                found = Some(Params::default());
            }
            continue;
        }
        let Some(params) = found.as_mut() else { continue };
        let place = || format!("{}, line {}", path.display(), number + 1);
        let Some((key, value)) = line.split_once('=') else {
            return Err(config(format!("service: no key=value in {}", place())));
        };
        if key.contains(char::is_whitespace) {
            return Err(config(format!("service: blank before = in {}", place())));
        }
        if key == "service" || key == "servicefile" {
            return Err(config(format!("service: a service cannot name another one, in {}", place())));
        }
        params.set(key, value.to_owned())?;
    }
    Ok(found)
}

/// A password file that was read once and is asked for each host.
pub(super) struct PassFile(Option<String>);

impl PassFile {
    /// Reads it; permissions beyond the owner's make it unused, with a warning.
    pub(super) fn read(file: Option<String>, env: &Env, warnings: &mut Vec<String>) -> Self {
        let Some(path) = file.map(PathBuf::from).or_else(|| env.in_home(".pgpass")) else {
            return Self(None);
        };
        match env.read(&path) {
            Read::Missing => Self(None),
            Read::Unreadable(e) => {
                warnings.push(format!("passfile: {} is not used: {e}", path.display()));
                Self(None)
            }
            Read::Text { mode, .. } if mode & 0o077 != 0 => {
                warnings.push(format!(
                    "passfile: {} is not used: group or others have access to it; chmod 0600",
                    path.display()
                ));
                Self(None)
            }
            Read::Text { text, .. } => Self(Some(text)),
        }
    }

    /// The first line that matches; `host` is `localhost` for the default socket directories.
    pub(super) fn find(&self, host: &str, port: u16, dbname: &str, user: &str) -> Option<Secret> {
        let port = port.to_string();
        let wanted = [host, &port, dbname, user];
        let lines = self.0.iter().flat_map(|t| t.lines());
        lines.filter(|l| !l.starts_with('#')).find_map(|line| password_of(line, &wanted))
    }
}

fn password_of(line: &str, wanted: &[&str; 4]) -> Option<Secret> {
    let mut rest = line;
    for want in wanted {
        let (field, after) = field(rest)?;
        if field != "*" && unescape(field) != *want {
            return None;
        }
        rest = after;
    }
    Some(Secret::new(unescape(rest))).filter(|p| !p.reveal().is_empty())
}

/// Splits at the first colon that no backslash escapes.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            ':' if !escaped => return Some((text.get(..i)?, text.get(i + 1..)?)),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}
