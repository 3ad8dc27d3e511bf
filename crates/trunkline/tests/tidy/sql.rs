//! Rules for SQL sources.

use std::collections::BTreeSet;

use crate::{Source, finds, lexer, none, sources};

/// Our tables, by the structure files; `%2$s` and `%3$s` stand for a ring and its segment there.
pub(crate) fn tables(sources: &[Source]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for source in sources.iter().filter(|s| s.is_structure()) {
        let code = lexer::sql(&source.text).code;
        for (_, rest) in code.match_indices(" table trunkline.").map(|(at, m)| (at, &code[at + m.len()..])) {
            let end = rest.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(rest.len());
            for ring in ["e", "d"] {
                for segment in ["0", "1"] {
                    out.insert(rest[..end].replace("%2$s", ring).replace("%3$s", segment));
                }
            }
        }
    }
    out
}

/// Our functions, by their files; one of the ephemeral ring has a durable twin.
pub(crate) fn function_names(sources: &[Source]) -> BTreeSet<String> {
    let names = sources.iter().filter(|s| s.is_function()).map(Source::stem);
    names.flat_map(|n| [n.strip_suffix("_e").map_or(n.clone(), |s| format!("{s}_d")), n]).collect()
}

/// What the functions of a folder begin with, where that is not the folder's name in the singular.
const PREFIXES: [(&str, &str); 3] = [("doorbell", "door"), ("presence", "session"), ("schema", "")];

/// One function for each file, which is named after it and lies in its word's folder.
fn misnamed(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is_function()) {
        let code = lexer::sql(&source.text).code;
        let made: Vec<&str> = ["function", "procedure"]
            .iter()
            .flat_map(|kind| {
                code.split(&format!("create or replace {kind} trunkline.")).skip(1).collect::<Vec<_>>()
            })
            .map(|rest| rest.split('(').next().unwrap_or_default())
            .collect();
        if made != [source.stem()] || code.matches("create ").count() != 1 {
            out.push(format!("{}: must make one function of this name, makes {made:?}", source.path));
        }
        let folder = source.folder();
        let prefix =
            PREFIXES.iter().find(|(f, _)| *f == folder).map_or(folder.trim_end_matches('s'), |(_, p)| *p);
        let name = source.stem();
        let checks_arguments = name.starts_with("_check_");
        if !checks_arguments && !name.trim_start_matches('_').starts_with(prefix) {
            out.push(format!("{}: a function in {folder}/ begins with {prefix}_ or _{prefix}_", source.path));
        }
    }
    out
}

#[test]
fn a_function_file_is_named_after_its_one_function() {
    none(misnamed(&sources()));
    let one = "create or replace function trunkline.job_a(x int) returns void";
    finds(
        misnamed,
        &[
            ("x/sql/functions/jobs/job_a.sql", one),
            ("x/sql/functions/jobs/job_b.sql", one),
            ("x/sql/functions/jobs/_job_c.sql", ""),
            ("x/sql/functions/topics/job_a.sql", one),
            ("x/sql/functions/jobs/job_d.sql", &one.repeat(2).replace("job_a", "job_d")),
        ],
        &["job_b.sql", "_job_c.sql", "begins with topic_", "job_d.sql"],
    );
}

/// Functions with PgQ's names: a file for each name, in a folder for what it is about; overloads share it.
fn misnamed_pgq(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is_pgq_function()) {
        let code = lexer::sql(&source.text).code;
        let made: Vec<&str> = code
            .split("create or replace function ")
            .skip(1)
            .map(|rest| rest.split('(').next().unwrap_or_default())
            .collect();
        let schema =
            if source.folder() == "coop" && !source.stem().starts_with('_') { "pgq_coop" } else { "pgq" };
        let name = format!("{schema}.{}", source.stem());
        if made.is_empty() || made.iter().any(|m| *m != name) || code.matches("create ").count() != made.len()
        {
            out.push(format!("{}: must make {name} and nothing else, makes {made:?}", source.path));
        }
    }
    out
}

#[test]
fn a_function_file_of_the_adapter_for_pgq_is_named_after_its_function() {
    none(misnamed_pgq(&sources()));
    let one = "create or replace function pgq.a(x int) returns void";
    finds(
        misnamed_pgq,
        &[
            ("x/sql/pgq/batch/a.sql", &one.repeat(2)),
            ("x/sql/pgq/batch/b.sql", one),
            ("x/sql/pgq/coop/a.sql", one),
            ("x/sql/pgq/batch/c.sql", ""),
            ("x/sql/pgq/structure.sql", "create table pgq.a ()"),
        ],
        &["b.sql", "pgq_coop.a", "c.sql"],
    );
}

/// A header: one to ten lines of sentences.
fn headerless(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is("sql") && !s.path.contains("snapshot")) {
        let header: Vec<&str> = source.text.lines().map_while(|l| l.strip_prefix("--")).collect();
        let (first, last) = (header.first().unwrap_or(&"").trim(), header.last().unwrap_or(&"").trim());
        let wrong = if header.is_empty() {
            "has no header"
        } else if header.len() > 10 {
            "has a header of more than ten lines"
        } else if !first.starts_with(char::is_uppercase) {
            "has a header that does not begin with a capital letter"
        } else if !last.ends_with('.') {
            "has a header that does not end its sentence"
        } else {
            continue;
        };
        out.push(format!("{}: {wrong}", source.path));
    }
    out
}

#[test]
fn every_sql_file_has_a_header() {
    none(headerless(&sources()));
    let (long, good) = ("-- A.\n".repeat(11), "-- A b\n-- c.\nselect");
    let bad = [("a.sql", "select"), ("b.sql", &long), ("c.sql", "-- a."), ("d.sql", "-- A"), ("e.sql", good)];
    let words = ["has no header", "more than ten", "capital", "end its sentence"];
    finds(headerless, &bad, &words);
}

/// SQL is written in lower case; what must be told apart by case is quoted.
fn upper_case(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is("sql") && !s.path.contains("snapshot")) {
        for (at, line) in lexer::sql(&source.text).code.lines().enumerate() {
            for word in lexer::words(line).filter(|w| w.contains(char::is_uppercase)) {
                out.push(format!("{}:{}: {word} in capitals", source.path, at + 1));
            }
        }
    }
    out
}

#[test]
fn sql_is_in_lower_case() {
    none(upper_case(&sources()));
    let sql = "select 'A' -- B\nfrom \"C\"\n$$ Begin SELECT 1 $$";
    finds(upper_case, &[("a.sql", sql)], &["a.sql:3: Begin", "a.sql:3: SELECT"]);
}

/// A line can be read beside another one, in a difference of two versions too.
fn wide(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is("sql") && !s.path.contains("snapshot")) {
        for (at, line) in source.text.lines().enumerate().filter(|(_, l)| l.chars().count() > 140) {
            out.push(format!("{}:{}: {} columns, over 140", source.path, at + 1, line.chars().count()));
        }
    }
    out
}

#[test]
fn no_line_of_sql_is_over_140_columns() {
    none(wide(&sources()));
    let (good, bad) = ("x".repeat(140), format!("\n{}", "x".repeat(141)));
    finds(wide, &[("a.sql", &good), ("b.sql", &bad)], &["b.sql:2: 141 columns"]);
}

const PINNED: &str = "set search_path = pg_catalog, trunkline, pg_temp";

/// Runs for each event, and a path costs it more than finding its stream; pgspot sees that every name in it is qualified.
const UNPINNED: [&str; 2] = ["stream_append", "topic_publish"];

/// Whoever runs with another's rights, or without a path of its own, finds names where we put them. A function in SQL
/// that the planner reads into its callers can have no path; pgspot sees that every name in it is qualified.
fn unpinned(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is_function()) {
        let code = lexer::sql(&source.text).code;
        if code.contains(PINNED) || UNPINNED.contains(&source.stem().as_str()) {
            continue;
        } else if code.contains("security definer") {
            out.push(format!("{}: security definer without {PINNED}", source.path));
        } else if code.contains("create or replace function") && !code.contains("language sql") {
            out.push(format!("{}: without {PINNED}", source.path));
        }
    }
    out
}

#[test]
fn every_function_pins_its_search_path() {
    none(unpinned(&sources()));
    let head = "create or replace function trunkline.a()";
    let texts =
        [format!("{head} security definer"), format!("{head} security definer {PINNED}"), head.to_owned()];
    let [a, b, c] = &texts;
    let files = [
        ("x/sql/functions/a/a.sql", a.as_str()),
        ("x/sql/functions/a/b.sql", b),
        ("x/sql/functions/a/c.sql", c),
        ("x/sql/functions/a/d.sql", "create or replace function trunkline.d() language sql"),
        ("x/sql/functions/a/e.sql", "create or replace function trunkline.e() language sql security definer"),
    ];
    finds(
        unpinned,
        &files,
        &["a.sql: security definer without", "c.sql: without", "e.sql: security definer without"],
    );
}

const PINNED_PGQ: &str = "set search_path = pg_catalog, pgq, pg_temp";
/// Functions of the adapter for PgQ that run what their caller gave, in the caller's path, or too often to set one; every
/// name in them is qualified.
const UNPINNED_PGQ: [&str; 2] = ["_urlencode", "get_batch_cursor"];

fn unpinned_pgq(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is_pgq_function()) {
        for function in lexer::sql(&source.text).code.split("create or replace function ").skip(1) {
            let definer = function.contains("security definer");
            let listed = UNPINNED_PGQ.contains(&source.stem().as_str()) || function.contains("language sql");
            if !function.contains(PINNED_PGQ) && (definer || !listed) {
                out.push(format!("{}: without {PINNED_PGQ}", source.path));
            }
        }
    }
    out
}

#[test]
fn every_function_of_the_adapter_for_pgq_pins_its_search_path() {
    none(unpinned_pgq(&sources()));
    let head = "create or replace function pgq.a()";
    let texts = [head.to_owned(), format!("{head} {PINNED_PGQ} {head}"), format!("{head} security definer")];
    let [a, b, c] = &texts;
    let files = [
        ("x/sql/pgq/a/a.sql", a.as_str()),
        ("x/sql/pgq/a/b.sql", b),
        ("x/sql/pgq/a/_urlencode.sql", c),
        ("x/sql/pgq/a/get_batch_cursor.sql", a),
    ];
    finds(unpinned_pgq, &files, &["a.sql", "b.sql", "_urlencode.sql"]);
}

/// Structure is versioned and behaviour is replaced, so no step may need a function that a later version changes.
fn calling_structure(sources: &[Source]) -> Vec<String> {
    let (functions, tables) = (function_names(sources), tables(sources));
    let called = |w: &String| functions.contains(w) && !tables.contains(w);
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is_structure()) {
        for (at, line) in lexer::sql(&source.text).code.lines().enumerate() {
            for word in lexer::words(line).filter(called) {
                out.push(format!("{}:{}: calls {word}", source.path, at + 1));
            }
        }
    }
    out
}

#[test]
fn structure_calls_no_function_of_ours() {
    none(calling_structure(&sources()));
    let structure = "create table a (\nb int default trunkline._epoch()); -- _epoch\ncreate index on a (trunkline._x_d(b));";
    let files = [
        ("x/sql/functions/schema/_epoch.sql", ""),
        ("x/sql/functions/schema/_x_e.sql", ""),
        ("x/sql/structure/0001_a.sql", structure),
    ];
    finds(calling_structure, &files, &["0001_a.sql:2: calls _epoch", "0001_a.sql:3: calls _x_d"]);
}
