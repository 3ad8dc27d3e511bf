//! A statement with named parameters: `:payload` becomes `$1`, and is bound.
//!
//! Names are found outside of strings, quoted names, dollar quotes and comments, and `::` is a cast. Each place is a
//! parameter of its own, so that one name can be of two types. Values are sent as text, which the server reads as the type
//! that it expects there; a payload for a `bytea` is sent as it is.

use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, private::BytesMut};
use trunkline::streams::Event;

use super::event;

/// What can stand in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Id,
    Type,
    Key,
    Payload,
    Headers,
    At,
    Attempt,
}

const NAMES: [(&str, Name); 7] = [
    ("id", Name::Id),
    ("type", Name::Type),
    ("key", Name::Key),
    ("payload", Name::Payload),
    ("headers", Name::Headers),
    ("at", Name::At),
    ("attempt", Name::Attempt),
];

/// Statements that would end the transaction, or begin one.
const OWN: [&str; 9] =
    ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare"];

/// A statement as the server takes it.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: String,
    names: Vec<Name>,
}

impl Statement {
    /// Reads it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut statement = Self { text: String::with_capacity(text.len()), names: Vec::new() };
        let (mut rest, mut code) = (text, String::new());
        while let Some(first) = rest.chars().next() {
            let before = text[..text.len() - rest.len()].chars().next_back();
            let skipped = match first {
                '\'' => quoted(rest, '\'', escapes(&text[..text.len() - rest.len()])),
                '"' => quoted(rest, '"', false),
                '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                '/' if rest.starts_with("/*") => comment(rest),
                '$' if !before.is_some_and(part) => dollar(rest)?,
                ':' if rest.starts_with("::") || rest.starts_with(":=") => 2,
                ':' => {
                    let word: String = rest[1..].chars().take_while(|c| part(*c)).collect();
                    statement.name(&word)?;
                    rest = &rest[1 + word.len()..];
                    continue;
                }
                c => c.len_utf8(),
            };
            if !rest.starts_with("--") && !rest.starts_with("/*") {
                code.push_str(&rest[..skipped]);
            }
            statement.text.push_str(&rest[..skipped]);
            rest = &rest[skipped..];
        }
        let word = code.trim_start().split(|c: char| !part(c)).next().unwrap_or_default();
        if OWN.contains(&word.to_ascii_lowercase().as_str()) {
            return Err(format!("{word} is not for you: each batch is one transaction already"));
        }
        Ok(statement)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What of an event stands where.
    pub(super) fn values<'a>(&'a self, event: &'a Event) -> impl ExactSizeIterator<Item = Value> + 'a {
        self.names.iter().map(|name| Value::of(*name, event))
    }

    /// Puts a parameter here.
    fn name(&mut self, word: &str) -> Result<(), String> {
        // The upper bound of a slice, `a[1:2]`, and the like.
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            self.text.push(':');
            self.text.push_str(word);
            return Ok(());
        }
        let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == word) else {
            let known: Vec<String> = NAMES.iter().map(|(known, _)| format!(":{known}")).collect();
            return Err(format!(":{word} is not known; there are {}", known.join(" ")));
        };
        self.names.push(*name);
        self.text.push_str(&format!("${}", self.names.len()));
        Ok(())
    }
}

/// Part of a word.
fn part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a string that begins here has backslashes as escapes: `E'…'`.
fn escapes(before: &str) -> bool {
    let mut last = before.chars().rev();
    last.next().is_some_and(|c| c.eq_ignore_ascii_case(&'e')) && !last.next().is_some_and(part)
}

/// How long a quoted text is; one that does not end is for the server to refuse.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// How long a comment is; they nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// How long a dollar-quoted text is; a `$` that begins none is one character long.
fn dollar(text: &str) -> Result<usize, String> {
    if text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return Err("give the values by their names, such as :payload, not as $1".to_owned());
    }
    let tag = text[1..].find(|c| !part(c)).map(|end| &text[..end + 2]).filter(|tag| tag.ends_with('$'));
    Ok(tag.map_or(1, |tag| text[tag.len()..].find(tag).map_or(text.len(), |at| at + 2 * tag.len())))
}

/// A value to be bound.
#[derive(Debug)]
pub(super) struct Value {
    bytes: Option<Vec<u8>>,
    payload: bool,
}

impl Value {
    fn of(name: Name, event: &Event) -> Self {
        let bytes = match name {
            Name::Id => Some(event.id.to_string().into_bytes()),
            Name::Type => Some(event.kind.clone().into_bytes()),
            Name::Key => event.key.clone().map(String::into_bytes),
            Name::Payload => Some(event.payload.bytes().to_vec()),
            Name::Headers => Some(serde_json::to_vec(&event.headers).unwrap_or_default()),
            Name::At => Some(event::time(event.at).into_bytes()),
            Name::Attempt => Some(event.attempt.to_string().into_bytes()),
        };
        Self { bytes, payload: name == Name::Payload }
    }
}

/// A `bytea`, or a domain over it.
fn is_bytea(ty: &Type) -> bool {
    match ty.kind() {
        Kind::Domain(of) => is_bytea(of),
        _ => *ty == Type::BYTEA,
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.bytes {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, ty: &Type) -> Format {
        if self.payload && is_bytea(ty) { Format::Binary } else { Format::Text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, usize) {
        let statement = Statement::read(text).unwrap();
        (statement.text, statement.names.len())
    }

    #[test]
    fn names_become_parameters_and_nothing_else_does() {
        assert_eq!(
            read("insert into t values (:id, :payload::jsonb)").0,
            "insert into t values ($1, $2::jsonb)"
        );
        for same in [
            "select ':id', \":id\", a[1:2], b::text -- :id",
            "select $x$ :id $x$, $$ :key $$ /* :id /* :id */ :id */",
            "select E'\\':id', 'it''s :id', 'é:id', x := 1",
            "select ':id",
        ] {
            assert_eq!(read(same), (same.to_owned(), 0));
        }
        assert_eq!(read("select 'e\\', :id").0, "select 'e\\', $1");
        assert_eq!(read("select (:id), :id").1, 2);
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        for (text, word) in [
            ("select :idd", ":idd is not known"),
            ("select :nothing", ":payload"),
            ("select $1", ":payload"),
            (" /* x */ -- y\n COMMIT", "transaction"),
            ("rollback to x", "transaction"),
        ] {
            assert!(Statement::read(text).unwrap_err().contains(word), "{text}");
        }
    }
}
