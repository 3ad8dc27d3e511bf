//! Who may come in: tokens, logins, and who tried too often.
//!
//! ```text
//!   no token set ──▶ everybody who reaches 127.0.0.1 is an admin
//!   a token set  ──▶ Authorization: Bearer …            each request by itself
//!                    login form ──▶ cookie ──▶ session, 12 h, forgotten after 30 min without a request
//! ```
//! Guarantees: a wrong token costs the same time as a right one, whatever is wrong with it; at most 20 wrong ones a minute from an
//! address. At most 1,000 logins at a time: the one that is longest unused goes.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::exit::{Failure, Result};

const LONGEST: Duration = Duration::from_secs(12 * 3600);
const UNUSED: Duration = Duration::from_secs(30 * 60);
const LOGINS: usize = 1000;
const TRIES: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// The shortest token that is taken.
const SHORTEST: usize = 16;

/// What a viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Look; payloads only after they were asked for, which is noted.
    Reader,
    /// Look and act.
    Admin,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Admin => "admin",
        }
    }
}

/// A secret that shows nowhere.
#[derive(PartialEq, Eq)]
struct Token(Vec<u8>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Someone who logged in by the form.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) role: Role,
    /// What forms of this login carry.
    pub(crate) csrf: String,
    began: Instant,
    used: Instant,
}

/// What is given by options, and may change while we run.
#[derive(Debug)]
struct Known {
    tokens: Vec<(Role, Token)>,
    /// The names in `Host` that are ours, beside addresses and localhost; and whether they are reached by TLS.
    names: Vec<String>,
    tls: bool,
}

/// Tokens, logins and names.
#[derive(Debug)]
pub(crate) struct Access {
    known: RwLock<Known>,
    /// What forms carry where no login is needed.
    csrf: String,
    logins: Mutex<HashMap<String, Login>>,
    tries: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Access {
    /// Reads the tokens, of files or of the environment.
    pub(super) fn read(admin: Option<&Path>, reader: Option<&Path>, names: &[String]) -> Result<Self> {
        let mut tokens = Vec::new();
        for (role, file, variable) in
            [(Role::Admin, admin, "TRUNKLINE_ADMIN_TOKEN"), (Role::Reader, reader, "TRUNKLINE_READER_TOKEN")]
        {
            let given = match file {
                Some(path) => Some(
                    std::fs::read_to_string(path).map_err(|e| Failure::io(path.display().to_string(), e))?,
                ),
                None => std::env::var(variable).ok().filter(|v| !v.is_empty()),
            };
            let Some(text) = given else { continue };
            let token = text.trim_end_matches(['\n', '\r']);
            if token.len() < SHORTEST || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Failure::Usage(format!(
                    "the token of {}: at least {SHORTEST} characters, letters, digits and signs without blanks",
                    role.word()
                )));
            }
            tokens.push((role, Token(token.as_bytes().to_vec())));
        }
        let tls = names.iter().any(|n| n.starts_with("https://"));
        let bare = |n: &String| {
            let host = n.split_once("://").map_or(n.as_str(), |(_, rest)| rest);
            host.trim_end_matches('/').to_ascii_lowercase()
        };
        let names = names.iter().map(bare).collect();
        let (logins, tries) = (Mutex::default(), Mutex::default());
        let known = RwLock::new(Known { tokens, names, tls });
        Ok(Self { known, csrf: secret(), logins, tries })
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was read anew. Who logged in by a token that is no longer good is logged out.
    pub(super) fn replace(&self, fresh: Self) {
        let fresh = fresh.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let of = |known: &Known, role| known.tokens.iter().position(|(r, _)| *r == role);
        let stays = |role| match (of(&known, role), of(&fresh, role)) {
            (Some(was), Some(is)) => known.tokens[was].1 == fresh.tokens[is].1,
            _ => false,
        };
        locked(&self.logins).retain(|_, l| stays(l.role));
        *known = fresh;
    }

    pub(crate) fn needs_login(&self) -> bool {
        !self.known().tokens.is_empty()
    }

    /// Cookies are to be sent by TLS alone.
    pub(crate) fn by_tls(&self) -> bool {
        self.known().tls
    }

    /// What forms carry for everybody, where no login is needed.
    pub(super) fn open_csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether this name, as `Host` gives it, is ours: an address or localhost, which no foreign page can point elsewhere, or a
    /// name that was told us.
    pub(super) fn knows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
            Some((v6, _)) => v6,
            None => host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name),
        };
        name == "localhost"
            || name.parse::<IpAddr>().is_ok()
            || self.known().names.iter().any(|n| *n == host || *n == name)
    }

    /// Whose token this is.
    pub(super) fn role_of(&self, token: &str) -> Option<Role> {
        let mut found = None;
        for (role, known) in &self.known().tokens {
            let same = known.0.ct_eq(token.as_bytes());
            found = if bool::from(same) { Some(*role) } else { found };
        }
        found
    }

    /// Whether this address may try another token; a wrong one is to be told to [`Access::wrong`].
    pub(crate) fn may_try(&self, from: IpAddr) -> bool {
        let tries = locked(&self.tries);
        tries.get(&from).is_none_or(|(since, n)| since.elapsed() > MINUTE || *n < TRIES)
    }

    /// Counts a wrong token.
    pub(crate) fn wrong(&self, from: IpAddr) {
        let mut tries = locked(&self.tries);
        tries.retain(|_, (since, _)| since.elapsed() <= MINUTE);
        if tries.len() < 10_000 {
            tries.entry(from).or_insert((Instant::now(), 0)).1 += 1;
        }
    }

    /// Logs in: the cookie's value.
    pub(crate) fn log_in(&self, token: &str) -> Option<String> {
        let role = self.role_of(token)?;
        let (name, now) = (secret(), Instant::now());
        let mut logins = locked(&self.logins);
        logins.retain(|_, l| l.began.elapsed() < LONGEST && l.used.elapsed() < UNUSED);
        if logins.len() >= LOGINS {
            let oldest = logins.iter().min_by_key(|(_, l)| l.used).map(|(name, _)| name.clone());
            oldest.and_then(|name| logins.remove(&name));
        }
        logins.insert(name.clone(), Login { role, csrf: secret(), began: now, used: now });
        Some(name)
    }

    /// The login of a cookie, if it is still good.
    pub(super) fn login(&self, cookie: &str) -> Option<Login> {
        let mut logins = locked(&self.logins);
        let login = logins.get_mut(cookie)?;
        if login.began.elapsed() >= LONGEST || login.used.elapsed() >= UNUSED {
            logins.remove(cookie);
            return None;
        }
        login.used = Instant::now();
        Some(login.clone())
    }

    /// Logs out.
    pub(crate) fn log_out(&self, cookie: &str) {
        locked(&self.logins).remove(cookie);
    }
}

/// 244 random bits.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let access =
            Access::read(None, None, &["https://ops.example.org".into(), "box:7432".into()]).unwrap();
        access.known.write().unwrap().tokens = vec![
            (Role::Admin, Token(b"admin-token-0123".to_vec())),
            (Role::Reader, Token(b"reader-token-012".to_vec())),
        ];
        access
    }

    #[test]
    fn names_that_were_not_told_are_not_ours() {
        let access = access();
        for host in [
            "127.0.0.1:7432",
            "localhost",
            "LOCALHOST:1",
            "[::1]:7432",
            "10.0.0.3",
            "ops.example.org",
            "box:7432",
        ] {
            assert!(access.knows_host(host), "{host}");
        }
        for host in ["evil.example", "evil.example:7432", "localhost.evil", "127.0.0.1.evil", "", "box:1"] {
            assert!(!access.knows_host(host), "{host}");
        }
    }

    #[test]
    fn a_token_is_a_role_and_a_login_ends() {
        let access = access();
        assert_eq!(access.role_of("admin-token-0123"), Some(Role::Admin));
        for wrong in ["admin-token-012", "admin-token-01234", "", "x"] {
            assert_eq!(access.role_of(wrong), None);
        }
        let cookie = access.log_in("reader-token-012").unwrap();
        assert_eq!(access.login(&cookie).unwrap().role, Role::Reader);
        access.log_out(&cookie);
        assert!(access.login(&cookie).is_none() && access.login("x").is_none());
    }

    #[test]
    fn a_token_that_is_replaced_ends_its_logins_and_no_others() {
        let access = access();
        let [reader, admin] =
            ["reader-token-012", "admin-token-0123"].map(|token| access.log_in(token).unwrap());
        let fresh = self::access();
        fresh.known.write().unwrap().tokens[1].1 = Token(b"another-token-01".to_vec());
        access.replace(fresh);
        assert!(access.login(&reader).is_none() && access.login(&admin).is_some());
        assert_eq!(access.role_of("reader-token-012"), None);
        assert_eq!(access.role_of("another-token-01"), Some(Role::Reader));
    }

    #[test]
    fn who_guesses_waits() {
        let (access, from) = (access(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..TRIES {
            assert!(access.may_try(from));
            access.wrong(from);
        }
        assert!(!access.may_try(from) && access.may_try(IpAddr::from([10, 0, 0, 2])));
    }
}
