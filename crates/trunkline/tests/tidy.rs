//! The house rules that can be read off the sources, as tests; none of them needs a database.
//!
//! Each rule is a function from the sources to what it finds. It must find nothing in this repository, and exactly
//! what is wrong in the small bad examples below it, so that a rule that stopped looking is noticed.
//! What must be asked of a server (rights, search paths as installed, functions that compile) is in `.ci/sql-lint`.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/sql.rs"]
mod sql;

/// A source file: its path from the root of the repository, and its text.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(crate) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }

    pub(crate) fn stem(&self) -> String {
        Path::new(&self.path).file_stem().unwrap().to_string_lossy().into_owned()
    }

    pub(crate) fn folder(&self) -> String {
        Path::new(&self.path).parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned()
    }

    pub(crate) fn is_function(&self) -> bool {
        self.is("sql") && self.path.contains("/sql/functions/")
    }

    pub(crate) fn is_pgq_function(&self) -> bool {
        let path = self.path.rsplit_once("/sql/pgq/").map_or("", |(_, p)| p);
        self.is("sql") && path.contains('/')
    }

    pub(crate) fn is_structure(&self) -> bool {
        self.is("sql") && self.path.contains("/sql/structure/")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every Rust and SQL file of the repository.
fn sources() -> Vec<Source> {
    let (root, mut out) = (root(), Vec::new());
    for folder in ["crates", "bench"] {
        walk(&root, &root.join(folder), &mut out);
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(out.len() > 50, "the sources are not where they were: {}", root.display());
    out
}

fn walk(root: &Path, folder: &Path, out: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|e| e.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "node_modules" {
            walk(root, &path, out);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "sql") {
            let text = fs::read_to_string(&path).unwrap();
            out.push(Source::new(path.strip_prefix(root).unwrap().to_str().unwrap(), &text));
        }
    }
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The rule finds in these sources as many things as said, and speaks of each with these words.
fn finds(rule: impl Fn(&[Source]) -> Vec<String>, sources: &[(&str, &str)], words: &[&str]) {
    let sources: Vec<Source> = sources.iter().map(|(path, text)| Source::new(path, text)).collect();
    let found = rule(&sources);
    assert_eq!(found.len(), words.len(), "{found:?}");
    for (found, words) in found.iter().zip(words) {
        assert!(found.contains(words), "{found:?} does not say {words:?}");
    }
}

/// Files that may be longer than 500 lines: up to how many, and why. One that needs more is to be split.
const LONG_FILES: [(&str, usize, &str); 0] = [];

fn long_files(sources: &[Source]) -> Vec<String> {
    let limit = |path: &str| LONG_FILES.iter().find(|(p, ..)| *p == path).map_or(500, |(_, lines, _)| *lines);
    sources
        .iter()
        .map(|s| (&s.path, s.text.lines().count(), limit(&s.path)))
        .filter(|(_, lines, limit)| lines > limit)
        .map(|(path, lines, limit)| format!("{path}: {lines} lines, over {limit}"))
        .collect()
}

#[test]
fn no_file_is_over_500_lines() {
    none(long_files(&sources()));
    finds(long_files, &[("a.rs", &"\n".repeat(501)), ("b.sql", &"\n".repeat(500))], &["a.rs: 501"]);
    for (path, _, why) in LONG_FILES {
        assert!(sources().iter().any(|s| s.path == path), "{path} is gone, and with it that it is {why}");
    }
}

/// The codes of class TL in these texts, as `TL001`.
fn codes(texts: impl Iterator<Item = String>) -> BTreeSet<String> {
    let found = |text: &str| -> Vec<String> {
        lexer::words(text)
            .filter(|w| w.len() == 5 && w.starts_with("TL") && w[2..].parse::<u16>().is_ok())
            .collect()
    };
    texts.flat_map(|t| found(&t)).collect()
}

/// SQL speaks by SQLSTATE; `error.rs` says what each means, and knows none that nobody raises.
fn sqlstates(sources: &[Source]) -> Vec<String> {
    let errors = |s: &&Source| s.path.ends_with("trunkline/src/error.rs");
    let raising = |s: &&Source| (s.is_function() || s.path.contains("/src/")) && !errors(s);
    let known = codes(sources.iter().filter(errors).map(|s| lexer::rust(&s.text).strings));
    let raised = codes(
        sources
            .iter()
            .filter(raising)
            .map(|s| if s.is("sql") { lexer::sql(&s.text).strings } else { lexer::rust(&s.text).strings }),
    );
    let unknown = raised.difference(&known).map(|c| format!("{c} is raised, and unknown to error.rs"));
    let unused = known.difference(&raised).map(|c| format!("{c} is in error.rs, and nothing raises it"));
    unknown.chain(unused).collect()
}

#[test]
fn error_rs_knows_the_sqlstates_that_are_raised() {
    none(sqlstates(&sources()));
    finds(
        sqlstates,
        &[
            ("trunkline/src/error.rs", r#"match code { "TL001" | "TL007" | "TL013" => Stale }"#),
            ("x/sql/functions/a/b.sql", "raise exception 'x' using errcode = 'TL001'; -- 'TL005'"),
            ("x/sql/functions/a/c.sql", "raise exception 'x' using errcode = 'TL002';"),
            ("x/src/d.rs", r#"e.with_code("TL013")"#),
        ],
        &["TL002 is raised", "TL007 is in error.rs"],
    );
}
