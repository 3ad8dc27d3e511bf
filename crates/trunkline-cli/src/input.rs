//! Payloads from the command line: the argument itself, `@file`, or `-` for stdin.
//!
//! Guarantees: never reads more than the limit, so that `@/dev/zero` is an error and not a full memory.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd as _,
    time::{Duration, SystemTime},
};

use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use trunkline::requests::{Content, Payload};

use crate::exit::{Failure, Result};

/// The largest payload of any channel.
pub(crate) const LIMIT: u64 = 64 << 20;

/// How much of the lines is read at once.
const BUFFER: usize = 256 << 10;

/// Reads a payload as it was named on the command line; nothing named is an empty one.
pub(crate) fn payload(argument: Option<&str>, json: bool) -> Result<Payload> {
    let bytes = match argument {
        None => Vec::new(),
        Some("-") => read("stdin", io::stdin().lock())?,
        Some(name) => match name.strip_prefix('@') {
            Some(literal) if literal.starts_with('@') => literal.as_bytes().to_vec(),
            Some(path) => read(path, open(path)?)?,
            None => name.as_bytes().to_vec(),
        },
    };
    typed(bytes, json)
}

/// Text when it is UTF-8, JSON when that was asked for, else bytes.
pub(crate) fn typed(bytes: Vec<u8>, json: bool) -> Result<Payload> {
    if json {
        let raw: &RawValue = serde_json::from_slice(&bytes)
            .map_err(|e| Failure::Usage(format!("the payload is not JSON: {}", place(&e))))?;
        return Ok(Payload::json(raw)?);
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(e) => e.into_bytes().into(),
    })
}

/// Where the JSON breaks, without showing any of it.
fn place(e: &serde_json::Error) -> String {
    format!("line {}, column {}", e.line(), e.column())
}

/// A payload as PostgreSQL can keep it: text with a NUL is none to it, and goes as bytes.
pub(crate) fn storable(payload: Payload) -> Payload {
    let nul = payload.content() == Content::Text && payload.bytes().contains(&0);
    if nul { payload.into_bytes().into() } else { payload }
}

/// The lines to be sent: of a file, or of stdin.
pub(crate) fn lines(argument: Option<&str>) -> Result<Box<dyn AsyncBufRead + Unpin + Send>> {
    match argument.and_then(|a| a.strip_prefix('@')) {
        Some(path) => Ok(Box::new(BufReader::with_capacity(BUFFER, tokio::fs::File::from_std(open(path)?)))),
        None if argument.is_none_or(|a| a == "-") => {
            Ok(Box::new(BufReader::with_capacity(BUFFER, tokio::io::stdin())))
        }
        None => Err(Failure::Usage("--lines reads stdin or @file, not an argument".into())),
    }
}

/// How large the input of [`lines`] is, where that is known beforehand.
pub(crate) fn size(argument: Option<&str>) -> Option<u64> {
    let file = match argument.and_then(|a| a.strip_prefix('@')) {
        Some(path) => File::open(path).ok()?,
        None => File::from(io::stdin().as_fd().try_clone_to_owned().ok()?),
    };
    let known = file.metadata().ok()?;
    known.is_file().then_some(known.len())
}

/// The next line without its line end, or none at the end.
pub(crate) async fn next_line(
    from: &mut (impl AsyncBufRead + Unpin + ?Sized),
    number: u64,
) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = from.take(LIMIT + 2).read_until(b'\n', &mut line).await;
    if read.map_err(|e| Failure::io("cannot read the lines", e))? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() as u64 > LIMIT {
        return Err(too_large(&format!("line {number}")));
    }
    Ok(Some(line))
}

fn open(path: &str) -> Result<File> {
    let usage = |e: &dyn std::fmt::Display| Failure::Usage(format!("cannot read {path}: {e}"));
    let file = File::open(path).map_err(|e| usage(&e))?;
    if file.metadata().map_err(|e| usage(&e))?.is_dir() {
        return Err(usage(&"it is a directory"));
    }
    Ok(file)
}

fn read(name: &str, from: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::Usage(format!("cannot read {name}: {e}")))?;
    if bytes.len() as u64 > LIMIT {
        return Err(too_large(name));
    }
    Ok(bytes)
}

fn too_large(name: &str) -> Failure {
    Failure::Usage(format!("{name}: a payload can be at most {LIMIT} bytes (64 MiB); gave up reading there"))
}

/// Text that is JSON.
pub(crate) fn json(text: &str) -> Result<String, String> {
    let read: std::result::Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    read.map(|_| text.to_owned()).map_err(|e| format!("must be JSON: {e}"))
}

/// `500ms`, `15s`, `2m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; examples: 500ms, 15s, 2m"))
}

/// A moment: so long ago (`15m`, `2h`), or a time (`2026-11-23T12:00Z`; of UTC, whether it says so or not).
pub(crate) fn moment(text: &str) -> Result<SystemTime, String> {
    let wrong = || {
        format!(
            "`{}` is no time; examples: 15m for so long ago, 2026-11-23, 2026-11-23T12:00Z",
            text.chars().take(40).collect::<String>()
        )
    };
    let plain = text.trim().trim_end_matches('Z');
    let whole = match plain.len() {
        10 => format!("{plain}T00:00:00Z"),
        16 => format!("{plain}:00Z"),
        _ => format!("{plain}Z"),
    };
    if let Ok(at) = humantime::parse_rfc3339_weak(&whole) {
        return Ok(at);
    }
    let ago = humantime::parse_duration(plain).map_err(|_| wrong())?;
    SystemTime::now().checked_sub(ago).filter(|at| *at >= SystemTime::UNIX_EPOCH).ok_or_else(wrong)
}

/// A time between looks: long enough to do something else meanwhile.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    let long_enough = found >= Duration::from_millis(100);
    long_enough.then_some(found).ok_or_else(|| format!("must be at least 100ms, got {found:?}"))
}

/// `name=value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give a header as name=value".to_owned()),
    }
}

/// `name=value`, of a setting.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give a setting as name=value, such as max_bytes=1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_the_limit() {
        let error = payload(Some("@/dev/zero"), false).expect_err("an endless file was read");
        assert!(error.to_string().contains("64 MiB"), "{error}");
        assert_eq!(error.code(), 2);
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        for same in
            ["2026-11-23T12:00Z", "2026-11-23T12:00", "2026-11-23 12:00:00", "2026-11-23T12:00:00.000Z"]
        {
            let at = moment(same).expect(same);
            assert_eq!(humantime::format_rfc3339(at).to_string(), "2026-11-23T12:00:00Z", "{same}");
        }
        assert_eq!(moment("2026-11-23").unwrap(), moment("2026-11-23T00:00").unwrap());
        let ago = SystemTime::now().duration_since(moment("15m").unwrap()).unwrap();
        assert!((899..902).contains(&ago.as_secs()), "{ago:?}");
        for wrong in [
            "",
            "soon",
            "2026-11-23T12:00+02:00",
            "2026-13-01",
            "-1h",
            "99999999999d",
            "\u{1F600}\u{1F600}12",
        ] {
            moment(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn json_is_sent_as_written() {
        let number = "12345678901234567890.000";
        assert_eq!(payload(Some(number), true).unwrap().bytes(), number.as_bytes());
        assert_eq!(payload(Some("{"), true).expect_err("no JSON").code(), 2);
    }

    #[test]
    fn two_at_signs_are_one() {
        assert_eq!(payload(Some("@@home"), false).unwrap().bytes(), b"@home");
        assert_eq!(payload(Some("@/"), false).expect_err("a directory").code(), 2);
    }
}
