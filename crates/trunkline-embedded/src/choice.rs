//! Chooses the programs: those named by the caller, else the best installed or fetched before, else fetched now.
//!
//! Guarantees: data that exist get the major version that wrote them, or an error that says which is needed. Does
//! not guarantee the newest minor version.

use std::path::PathBuf;

use crate::account::Account;
use crate::binaries::{self, Binaries};
use crate::error::Error;
use crate::layout::Layout;
use crate::settings::{Environment, Fetch, Settings};

/// The programs to use.
pub(crate) fn choose(
    layout: &Layout,
    settings: &Settings,
    account: &Account,
    notice: &mut dyn FnMut(&str),
) -> Result<Binaries, Error> {
    let environment = &settings.environment;
    let needs = layout.major()?;
    if let Some(dir) = binaries::named(settings) {
        let found = binaries::at(&dir, account, environment)?;
        return match needs {
            Some(needs) if needs != found.major => Err(Error::WrongMajor {
                data_dir: layout.home.clone(),
                needs,
                bin_dir: dir,
                found: found.major,
            }),
            _ => Ok(found),
        };
    }
    let found = binaries::search(environment, account, fetched(environment));
    if let Some(best) = found.best(needs) {
        return Ok(best.clone());
    }
    let why = match &settings.fetch {
        Fetch::Forbidden => "fetching it was forbidden".into(),
        allowed @ Fetch::Allowed { .. } => match fetch(allowed, needs, account, environment, notice) {
            Ok(fetched) => return Ok(fetched),
            Err(Err(error)) => return Err(error),
            Err(Ok(why)) => why,
        },
    };
    let rejected = match found.rejected.as_slice() {
        [] => String::new(),
        some => format!(" (refused: {})", some.join("; ")),
    };
    Err(Error::NotFound { wanted: binaries::wanted(needs), why, rejected })
}

#[cfg(feature = "fetch")]
fn fetched(environment: &Environment) -> Vec<PathBuf> {
    crate::fetch::fetched(environment)
}

#[cfg(not(feature = "fetch"))]
fn fetched(_: &Environment) -> Vec<PathBuf> {
    Vec::new()
}

/// `Err(Ok(why))` when nothing that would do can be fetched.
#[cfg(feature = "fetch")]
fn fetch(
    allowed: &Fetch,
    needs: Option<u32>,
    account: &Account,
    environment: &Environment,
    notice: &mut dyn FnMut(&str),
) -> Result<Binaries, Result<String, Error>> {
    match allowed {
        Fetch::Allowed { mirror, archive } => {
            let from = (mirror.as_deref(), archive.as_ref());
            crate::fetch::fetch(from, needs, account, environment, notice)
        }
        Fetch::Forbidden => Err(Ok("fetching it was forbidden".into())),
    }
}

#[cfg(not(feature = "fetch"))]
fn fetch(
    _: &Fetch,
    _: Option<u32>,
    _: &Account,
    _: &Environment,
    _: &mut dyn FnMut(&str),
) -> Result<Binaries, Result<String, Error>> {
    Err(Ok("this build cannot fetch one".into()))
}
