//! The two written forms of a connection text: URL and `key=value` with libpq's quoting.
//!
//! Grammar after libpq's `conninfo_uri_parse_options` and `conninfo_parse` (src/interfaces/libpq/fe-connect.c). Errors
//! tell the place, never the text, since a badly quoted password can turn up anywhere.

use super::keys::{self, Treatment};
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// Raw settings by name, and what was odd about them.
#[derive(Default)]
pub(super) struct Params {
    pub(super) values: BTreeMap<&'static str, String>,
    pub(super) warnings: Vec<String>,
}

impl Params {
    /// A later value replaces an earlier one, as in libpq.
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<()> {
        match keys::lookup(name) {
            Some((_, Treatment::Idle)) => {}
            Some((known, Treatment::Refused)) if !value.is_empty() => {
                return Err(config(format!("{known}: this libpq setting is not supported here")));
            }
            Some((known, _)) => {
                self.values.insert(known, value);
            }
            None => self.warnings.push(keys::unknown(name)),
        }
        Ok(())
    }

    /// Takes what is not yet set.
    pub(super) fn fill(&mut self, other: Params) {
        for (name, value) in other.values {
            self.values.entry(name).or_insert(value);
        }
        self.warnings.extend(other.warnings);
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).filter(|v| !v.is_empty())
    }
}

pub(super) fn config(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message.into())
}

/// Parses either form; an empty text is one without settings.
pub(super) fn parse(text: &str) -> Result<Params> {
    if text.contains('\0') {
        return Err(config("connection text: contains a NUL character"));
    }
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => url(rest),
        None => match (text.find("://"), text.find('=')) {
            (Some(scheme), equals) if equals.is_none_or(|e| scheme < e) => {
                Err(config("connection text: the URL must begin with postgresql:// or postgres://"))
            }
            _ => key_value(text),
        },
    }
}

fn key_value(text: &str) -> Result<Params> {
    let mut params = Params::default();
    let mut chars = text.char_indices().peekable();
    loop {
        while chars.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        let Some(&(at, _)) = chars.peek() else { return Ok(params) };
        let mut key = String::new();
        while let Some((_, c)) = chars.next_if(|(_, c)| *c != '=' && !c.is_ascii_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        if key.is_empty() || chars.next_if(|(_, c)| *c == '=').is_none() {
            return Err(config(format!("connection text: no key=value at byte {at}")));
        }
        while chars.next_if(|(_, c)| c.is_ascii_whitespace()).is_some() {}
        let quoted = chars.next_if(|(_, c)| *c == '\'').is_some();
        let value = value(&mut chars, quoted)
            .ok_or_else(|| config(format!("connection text: the quote opened at byte {at} is not closed")))?;
        params.set(&key, value)?;
    }
}

fn value(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, quoted: bool) -> Option<String> {
    let mut value = String::new();
    loop {
        match chars.next() {
            Some((_, '\'')) if quoted => return Some(value),
            Some((_, c)) if !quoted && c.is_ascii_whitespace() => return Some(value),
            Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
            Some((_, c)) => value.push(c),
            None => return if quoted { None } else { Some(value) },
        }
    }
}

fn url(rest: &str) -> Result<Params> {
    let mut params = Params::default();
    // As libpq: the user part ends at the first @ if no / comes before it, and may hold any other character.
    let (userinfo, rest) = match rest.find(['@', '/']).and_then(|i| rest.split_at_checked(i)) {
        Some((before, after)) if after.starts_with('@') => (Some(before), &after[1..]),
        _ => (None, rest),
    };
    let (before_query, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
    let (hosts, path) = before_query.split_once('/').map_or((before_query, None), |(a, p)| (a, Some(p)));
    if before_query.contains('@') {
        return Err(config(
            "URL: a bare @ after the user part; in user and password write @ as %40 and / as %2F",
        ));
    }
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').map_or((userinfo, None), |(u, p)| (u, Some(p)));
        params.set("user", decode(user, "user")?)?;
        if let Some(password) = password {
            params.set("password", decode(password, "password")?)?;
        }
    }
    host_list(hosts, &mut params)?;
    if let Some(path) = path.filter(|p| !p.is_empty()) {
        params.set("dbname", decode(path, "dbname")?)?;
    }
    for pair in query.into_iter().flat_map(|q| q.split('&')).filter(|p| !p.is_empty()) {
        let Some((key, value)) = pair.split_once('=').filter(|(_, v)| !v.contains('=')) else {
            return Err(config("URL: each parameter is written name=value, with = in a value as %3D"));
        };
        let key = decode(key, "name of a parameter")?;
        let value = decode(value, if keys::lookup(&key).is_some() { &key } else { "value of a parameter" })?;
        match (key.as_str(), value.as_str()) {
            ("ssl", "true") => params.set("sslmode", "require".to_owned())?,
            _ => params.set(&key, value)?,
        }
    }
    Ok(params)
}

/// `host:port,[v6]:port,…`; the lists are handed on joined by commas, as libpq does.
fn host_list(text: &str, params: &mut Params) -> Result<()> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for one in text.split(',') {
        let (host, port) = match one.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']').ok_or_else(|| config("host: [ without ]"))?;
                let port = rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""));
                (host, port.ok_or_else(|| config("host: only :port may follow ]"))?)
            }
            None => one.split_once(':').unwrap_or((one, "")),
        };
        hosts.push(decode(host, "host")?);
        ports.push(decode(port, "port")?);
    }
    if hosts.iter().any(|h| !h.is_empty()) {
        params.set("host", hosts.join(","))?;
    }
    if ports.iter().any(|p| !p.is_empty()) {
        params.set("port", ports.join(","))?;
    }
    Ok(())
}

fn decode(text: &str, field: &str) -> Result<String> {
    let bad = || config(format!("{field}: a % must be followed by two hexadecimal digits, and not by 00"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        if b != b'%' {
            bytes.push(b);
            continue;
        }
        let mut digit =
            || rest.next().and_then(|d| char::from(d).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        let (high, low) = (digit().ok_or_else(bad)?, digit().ok_or_else(bad)?);
        bytes.push(Some(high * 16 + low).filter(|b| *b != 0).ok_or_else(bad)?);
    }
    String::from_utf8(bytes).map_err(|_| config(format!("{field}: is not UTF-8 after percent-decoding")))
}

/// Percent-encodes everything but unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}
