//! Which topics a subscription is about: names, and wildcards over the words between the dots.
//!
//! `*` stands for one word, `>` at the end for one or more: `orders.*` matches `orders.eu` and not `orders.eu.de`, which
//! `orders.>` does. The database filters by what is sent to it, roughly; what matches is decided here.

use crate::{Error, ErrorKind, Result};

/// Whether what was read as a pattern is a wildcard.
pub(super) fn is_wild(text: &str) -> bool {
    text.split('.').any(|word| matches!(word, "*" | ">"))
}

/// A topic, or a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern(String);

impl Pattern {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |what: String| Err(Error::new(ErrorKind::Invalid, what));
        if text.is_empty() || text.len() > 200 {
            return invalid(format!("a topic to subscribe to must be 1 to 200 bytes, got {}", text.len()));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_:/-".contains(c);
        let mut words = text.split('.').peekable();
        while let Some(word) = words.next() {
            let good = match word {
                "*" => true,
                ">" => words.peek().is_none(),
                _ => !word.is_empty() && word.chars().all(plain),
            };
            if !good {
                return invalid(
                    "a topic to subscribe to is words of a-z, A-Z, 0-9, \"_\", \"-\", \":\", \"/\" with a dot between them; \
                     \"*\" stands for a word, \">\" at the end for one or more"
                        .into(),
                );
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The topic, where it is no wildcard.
    pub(super) fn plain(&self) -> Option<&str> {
        (!is_wild(&self.0)).then_some(&self.0)
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        let mut words = topic.split('.');
        for wanted in self.0.split('.') {
            match (wanted, words.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(word)) if wanted == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }

    /// As a regular expression of PostgreSQL's. Nothing of what a name may hold means anything in one.
    fn expression(&self) -> String {
        let words = self.0.split('.').map(|word| match word {
            "*" => "[^.]+",
            ">" => ".+",
            word => word,
        });
        words.collect::<Vec<_>>().join("[.]")
    }
}

/// What is asked of the database: so few names that comparing with each is cheap, and one expression for the wildcards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// None is all topics.
    pub(super) names: Option<Vec<String>>,
    pub(super) expression: Option<String>,
}

impl Wanted {
    /// More of either, and everything is read.
    const NAMES: usize = 64;
    const WILDCARDS: usize = 16;

    pub(super) fn of<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let (mut names, mut wildcards) = (Vec::new(), Vec::new());
        for pattern in patterns {
            match pattern.plain() {
                Some(name) => names.push(name.to_owned()),
                None => wildcards.push(pattern.expression()),
            }
            if names.len() > Self::NAMES || wildcards.len() > Self::WILDCARDS {
                return Self::default();
            }
        }
        let expression = (!wildcards.is_empty()).then(|| format!("^({})$", wildcards.join("|")));
        Self { names: Some(names), expression }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_words() {
        let matches = |pattern: &str, topic| Pattern::parse(pattern).unwrap().matches(topic);
        for (pattern, yes, no) in [
            ("orders", vec!["orders"], vec!["orders.eu", "order", "orders2"]),
            ("orders.*", vec!["orders.eu", "orders.x"], vec!["orders", "orders.eu.de", "x.eu"]),
            ("orders.>", vec!["orders.eu", "orders.eu.de.x"], vec!["orders", "orders2.eu"]),
            ("*.eu", vec!["orders.eu"], vec!["eu", "orders.us", "a.b.eu"]),
            (">", vec!["a", "a.b.c"], vec![]),
            ("*", vec!["a"], vec!["a.b"]),
            ("a.*.c.>", vec!["a.b.c.d", "a.b.c.d.e"], vec!["a.b.c", "a.b.x.d"]),
        ] {
            for topic in yes {
                assert!(matches(pattern, topic), "{pattern} {topic}");
            }
            for topic in no {
                assert!(!matches(pattern, topic), "{pattern} {topic}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in
            ["", ".", "a.", ".a", "a..b", "a.>.b", "a*", "a.b>", "a b", "a'b", "a(b", "é", "a\0", "a\n"]
        {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
        assert!(Pattern::parse(&"a".repeat(201)).is_err());
        assert!(Pattern::parse(&"a".repeat(200)).is_ok());
    }

    #[test]
    fn the_database_is_asked_for_few_names_or_for_all() {
        let wanted = |texts: &[&str]| {
            let patterns: Vec<_> = texts.iter().map(|t| Pattern::parse(t).unwrap()).collect();
            Wanted::of(patterns.iter())
        };
        let some = wanted(&["a", "b.c", "x.*", "y.*.z.>"]);
        assert_eq!(some.names.as_deref(), Some(&["a".to_owned(), "b.c".to_owned()][..]));
        assert_eq!(some.expression.as_deref(), Some("^(x[.][^.]+|y[.][^.]+[.]z[.].+)$"));
        assert_eq!(wanted(&["a"; 65]), Wanted::default());
        assert_eq!(wanted(&["a.*"; 17]), Wanted::default());
        assert_eq!(wanted(&[]).names, Some(vec![]));
    }
}
