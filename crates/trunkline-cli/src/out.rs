//! The one place that writes: data to stdout, talk to stderr.
//!
//! Guarantees: a reader of stdout that went away ends the command as a success, without a panic; control characters of
//! foreign data reach a terminal escaped. Tables when stdout is a terminal, tab-separated lines without a heading
//! otherwise, one JSON object a line with `--json`.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use comfy_table::{Table, presets};
use serde_json::Value;

use crate::{
    exit::{Failure, OK, Result},
    progress,
};

/// How results are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub(crate) json: bool,
    /// Control characters of payloads are shown escaped.
    pub(crate) escape: bool,
    /// They were asked for as they are.
    pub(crate) raw: bool,
    terminal: bool,
}

impl Out {
    /// `raw` lets control characters through to a terminal too.
    pub(crate) fn new(json: bool, raw: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self { json, escape: terminal && !raw, raw, terminal }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::io("cannot write to stdout", e),
        })
    }

    /// Writes a line.
    pub(crate) fn line(self, text: &str) -> Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes a value as one line.
    pub(crate) fn json(self, value: &Value) -> Result<()> {
        self.line(&value.to_string())
    }

    /// Writes a payload: as it is, or for people.
    pub(crate) fn payload(self, bytes: &[u8]) -> Result<()> {
        if !self.escape {
            return self.bytes(bytes);
        }
        let mut text = escaped(&String::from_utf8_lossy(bytes), false).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// Puts a payload on one line: line breaks in it are escaped, unless it was asked for as it is.
    pub(crate) fn on_one_line(self, bytes: &[u8], to: &mut Vec<u8>) {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if self.escape {
            to.extend_from_slice(escaped(&String::from_utf8_lossy(bytes), true).as_bytes());
        } else if self.raw {
            to.extend_from_slice(bytes);
        } else {
            bytes.iter().for_each(|b| match b {
                b'\n' => to.extend_from_slice(b"\\n"),
                b'\r' => to.extend_from_slice(b"\\r"),
                b => to.push(*b),
            });
        }
    }

    /// Writes rows, each an object with these fields.
    pub(crate) fn rows(self, fields: &[&str], rows: &[Value]) -> Result<()> {
        if self.json {
            return rows.iter().try_for_each(|row| self.json(row));
        }
        let cells = rows.iter().map(|row| fields.iter().map(|f| cell(&row[*f])).collect::<Vec<_>>());
        if !self.terminal {
            return cells.into_iter().try_for_each(|c| self.line(&c.join("\t")));
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(fields.iter().map(|f| f.replace('_', " ").to_uppercase()));
        cells.for_each(|c| {
            table.add_row(c);
        });
        self.line(&table.to_string())
    }

    /// Writes one object: a line for each of these fields.
    pub(crate) fn object(self, fields: &[&str], value: &Value) -> Result<()> {
        if self.json {
            return self.json(value);
        }
        fields.iter().try_for_each(|name| self.line(&format!("{name}\t{}", cell(&value[*name]))))
    }
}

/// Says what was done, to programs that ask for it.
pub(crate) fn said(json: bool, what: &Value) -> Result<u8> {
    if json {
        Out::new(true, true).json(what)?;
    }
    Ok(OK)
}

/// Prints a number, to programs under its name.
pub(crate) fn number(json: bool, name: &str, value: &Value) -> Result<u8> {
    match json {
        true => said(json, &serde_json::json!({ name: value })),
        false => Out::new(false, true).line(&value.to_string()).map(|()| OK),
    }
}

/// Whether talk goes into the log, so that stderr holds nothing but log lines.
static INTO_LOG: AtomicBool = AtomicBool::new(false);

/// From now on talk goes into the log.
pub(crate) fn talk_into_log() {
    INTO_LOG.store(true, Ordering::Relaxed);
}

/// Says why the command failed, however little it is to say.
pub(crate) fn fail(text: &str) {
    if INTO_LOG.load(Ordering::Relaxed) {
        return tracing::error!("{}", text.trim_start_matches("trunkline: "));
    }
    ask(text);
}

/// Says something to whoever runs the command; never fails.
pub(crate) fn talk(text: &str) {
    if INTO_LOG.load(Ordering::Relaxed) {
        return tracing::warn!("{}", text.trim_start_matches("trunkline: "));
    }
    ask(text);
}

/// The same to a person, who is there: never into the log.
pub(crate) fn ask(text: &str) {
    let text = escaped(text, false);
    let _ = progress::aside(|| writeln!(io::stderr().lock(), "{text}"));
}

/// A value in a table: text as it is, but on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => escaped(s, true).into_owned(),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Control characters as `\x1b`, so that foreign text cannot steer a terminal; newline and tab stay unless `all`.
pub(crate) fn escaped(text: &str, all: bool) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && (all || !matches!(c, '\n' | '\t'));
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' if all => out.push_str("\\n"),
            '\t' if all => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if bad(c) => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(escaped("a\u{1b}]0;x\u{7}\rb\tc\n", false), "a\\x1b]0;x\\x07\\rb\tc\n");
        assert_eq!(escaped("a\tb\n", true), "a\\tb\\n");
        assert_eq!(escaped("\u{9b}31m", false), "\\x9b31m");
        assert!(matches!(escaped("plain é", true), Cow::Borrowed(_)));
    }
}
