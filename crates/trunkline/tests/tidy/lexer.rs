//! Tells code, strings and comments apart, in Rust and in SQL.
//!
//! Good enough for house rules, not a compiler: it knows every form of literal and comment that hides a word, and
//! nothing of grammar. Each view has the length and the lines of the text it comes from.

/// A text three times: what is not code, or not in a string, is blank.
pub(crate) struct Views {
    /// Outside strings and comments.
    pub(crate) code: String,
    /// Inside strings, without their quotes.
    pub(crate) strings: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    String,
    Hidden,
}

struct Split<'a> {
    rest: &'a str,
    views: Views,
}

impl<'a> Split<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, views: Views { code: String::new(), strings: String::new() } }
    }

    /// Moves the next `bytes` into the views.
    fn take(&mut self, bytes: usize, kind: Kind) {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        for c in taken.chars() {
            let shown = |yes: bool| if yes || c == '\n' { c } else { ' ' };
            self.views.code.push(shown(kind == Kind::Code));
            self.views.strings.push(shown(kind == Kind::String));
        }
        self.rest = rest;
    }

    /// Moves everything up to `end`, and `end` itself.
    fn take_to(&mut self, end: &str, kind: Kind) {
        let bytes = self.rest.find(end).unwrap_or(self.rest.len());
        self.take(bytes, kind);
        self.take(end.len(), Kind::Hidden);
    }

    /// Moves a quoted part: `skip` tells how many bytes belong to an escape.
    fn take_quoted(&mut self, quote: char, kind: Kind, skip: impl Fn(&str) -> usize) {
        self.take(1, Kind::Hidden);
        while let Some(c) = self.rest.chars().next() {
            match skip(self.rest) {
                0 if c == quote => return self.take(1, Kind::Hidden),
                0 => self.take(c.len_utf8(), kind),
                escape => self.take(escape, kind),
            }
        }
    }

    fn take_char(&mut self) {
        let bytes = self.rest.chars().next().map_or(0, char::len_utf8);
        self.take(bytes, Kind::Code);
    }

    fn take_word(&mut self) {
        let end = self.rest.find(|c: char| !part(c)).unwrap_or(self.rest.len());
        self.take(end, Kind::Code);
    }
}

fn part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn rust(text: &str) -> Views {
    let mut s = Split::new(text);
    while let Some(c) = s.rest.chars().next() {
        if s.rest.starts_with("//") {
            s.take_to("\n", Kind::Hidden);
        } else if s.rest.starts_with("/*") {
            s.take_to("*/", Kind::Hidden);
        } else if let Some(hashes) = raw_string(s.rest) {
            let open = s.rest.find('"').unwrap_or(0) + 1;
            s.take(open, Kind::Hidden);
            s.take_to(&format!("\"{}", "#".repeat(hashes)), Kind::String);
        } else if c == '"' {
            s.take_quoted('"', Kind::String, rust_escape);
        } else if c == '\'' && char_literal(s.rest) {
            s.take_quoted('\'', Kind::Hidden, rust_escape);
        } else if part(c) {
            s.take_word();
        } else {
            s.take_char();
        }
    }
    s.views
}

fn rust_escape(rest: &str) -> usize {
    let mut chars = rest.chars();
    if chars.next() == Some('\\') { 1 + chars.next().map_or(0, char::len_utf8) } else { 0 }
}

/// How many hashes a raw string that begins here has.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Whether the quote begins a character; else it is a lifetime.
fn char_literal(rest: &str) -> bool {
    let mut chars = rest[1..].chars();
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// Bodies in dollar quotes are code.
pub(crate) fn sql(text: &str) -> Views {
    let mut s = Split::new(text);
    while let Some(c) = s.rest.chars().next() {
        if s.rest.starts_with("--") {
            s.take_to("\n", Kind::Hidden);
        } else if s.rest.starts_with("/*") {
            s.take_to("*/", Kind::Hidden);
        } else if c == '\'' {
            s.take_quoted('\'', Kind::String, |rest| if rest.starts_with("''") { 2 } else { 0 });
        } else if c == '"' {
            s.take_quoted('"', Kind::Hidden, |_| 0);
        } else if part(c) {
            s.take_word();
        } else {
            s.take_char();
        }
    }
    s.views
}

/// The words of a text: letters, digits and `_`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !part(c)).filter(|w| !w.is_empty()).map(str::to_owned)
}

#[test]
fn literals_and_comments_are_told_apart() {
    let text = "a(\"b\\\"b\", 'c', 'x: 'd, r#\"e\"e\"#, '\"') // f\n/* g */ h";
    let views = rust(text);
    assert_eq!(words(&views.code).collect::<Vec<_>>(), ["a", "x", "d", "h"]);
    assert_eq!(words(&views.strings).collect::<Vec<_>>(), ["b", "b", "e", "e"]);
    assert_eq!(views.code.lines().count(), 2);
    let views = sql("a 'b''b' -- c\n\"D\" $$ e 'f' $$ /* g */");
    assert_eq!(words(&views.code).collect::<Vec<_>>(), ["a", "e"]);
    assert_eq!(words(&views.strings).collect::<Vec<_>>(), ["b", "b", "f"]);
}
