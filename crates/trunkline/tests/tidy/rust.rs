//! Rules for Rust sources.

use crate::{Source, finds, lexer, none, sources, sql};

/// Functions that may be longer than 70 lines: file, name and why.
const LONG_FUNCTIONS: [(&str, &str, &str); 1] = [(
    "crates/trunkline/tests/it/input.rs",
    "times_sizes_headers_and_claims_out_of_their_limits_are_refused",
    "a list of bad inputs",
)];

fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is("rs")) {
        for (name, lines) in functions(&lexer::rust(&source.text).code) {
            let listed = LONG_FUNCTIONS.iter().any(|(p, f, _)| *p == source.path && *f == name);
            if lines > 70 && !listed {
                out.push(format!("{}: fn {name} has {lines} lines, over 70", source.path));
            }
        }
    }
    out
}

/// Every function with a body, and how many lines it has from `fn` to its last brace.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut out = Vec::new();
    let part = |c: char| c.is_alphanumeric() || c == '_';
    for (at, _) in code.match_indices("fn ") {
        let (before, after) = (&code[..at], &code[at + 3..]);
        let name: String = after.chars().take_while(|c| part(*c)).collect();
        if before.ends_with(part) || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(after) {
            out.push((name, after[..end].lines().count()));
        }
    }
    out
}

/// The end of the body of a function that begins here, if it has one.
fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    let mut nested = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' if depth == 0 => nested += 1,
            ')' | ']' if depth == 0 => nested -= 1,
            ';' if depth == 0 && nested == 0 => return None,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => continue,
        }
        if c == '}' && depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[test]
fn no_function_is_over_70_lines() {
    none(long_functions(&sources()));
    let body = "    a();\n".repeat(70);
    let long =
        format!("pub async fn long(a: [u8; 3]) -> X {{ /* {{ */\n{body}}}\nfn short();\nfn f() {{}}\n");
    finds(long_functions, &[("a.rs", &long)], &["fn long has 72 lines"]);
    finds(long_functions, &[("a.rs", &long.replace("    a();\n    a();\n", "    a();\n"))], &[]);
}

/// Every file is a module and says what it is for.
fn silent_modules(sources: &[Source]) -> Vec<String> {
    let silent =
        |s: &&Source| !s.text.lines().find(|l| !l.trim().is_empty()).is_some_and(|l| l.starts_with("//!"));
    sources
        .iter()
        .filter(|s| s.is("rs"))
        .filter(silent)
        .map(|s| format!("{}: does not begin with //!", s.path))
        .collect()
}

#[test]
fn every_module_says_what_it_is_for() {
    none(silent_modules(&sources()));
    finds(
        silent_modules,
        &[("a.rs", "\n//! A.\n"), ("b.rs", "// b\n//! B.\n"), ("c.rs", "")],
        &["b.rs", "c.rs"],
    );
}

/// Words for what is not done yet.
const UNDONE: [&str; 2] = ["todo!", "unimplemented!"];

fn undone(sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is("rs")) {
        let code = lexer::rust(&source.text).code;
        for (at, line) in code.lines().enumerate() {
            for word in UNDONE.iter().filter(|w| line.contains(**w)) {
                out.push(format!("{}:{}: {word}", source.path, at + 1));
            }
        }
    }
    out
}

#[test]
fn nothing_is_left_undone() {
    none(undone(&sources()));
    finds(undone, &[("a.rs", "fn a() { todo!() }\n// todo!\nfn b() { \"todo!\" }")], &["a.rs:1: todo!"]);
}

/// Where Rust may name tables: what installs them, and tests.
fn may_name_tables(path: &str) -> bool {
    path.ends_with("trunkline/src/schema.rs") || !path.contains("/src/")
}

/// Rust calls functions and names no table. A setting `trunkline.session` is none, and what is called neither.
fn named_tables(sources: &[Source]) -> Vec<String> {
    let tables = sql::tables(sources);
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is("rs") && !may_name_tables(&s.path)) {
        for (at, line) in lexer::rust(&source.text).strings.lines().enumerate() {
            for (name, after) in ours(line) {
                let no_table = after.starts_with(['=', '\'', '(']);
                if tables.contains(&name) && !no_table {
                    out.push(format!("{}:{}: names the table trunkline.{name}", source.path, at + 1));
                }
            }
        }
    }
    out
}

/// What a text names in our schema, and what follows each name.
fn ours(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.match_indices("trunkline.").map(|(at, prefix)| {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (rest[..end].to_owned(), &rest[end..])
    })
}

#[test]
fn rust_names_no_table() {
    none(named_tables(&sources()));
    let structure = "create unlogged table trunkline.session (id int);
        create %1$s table trunkline.lane_%2$s (id int); create %1$s table trunkline.take_%2$s%3$s (id int);";
    let code = "const A: &str = \"select from trunkline.session where\";\nconst B: &str = \"-c trunkline.session=on\";\n\
        const C: &str = \"trunkline.lane_d\";\nconst D: &str = \"trunkline.take_e1\"; // trunkline.session\n";
    let sources = [("x/sql/structure/1.sql", structure), ("x/src/a.rs", code), ("x/tests/a.rs", code)];
    finds(named_tables, &sources, &["a.rs:1: names the table trunkline.session", "lane_d", "take_e1"]);
}

/// Every function that Rust calls is there. That the statements as a whole are right, a server must say.
fn unknown_functions(sources: &[Source]) -> Vec<String> {
    let known = sql::function_names(sources);
    let mut out = Vec::new();
    for source in sources.iter().filter(|s| s.is("rs") && s.path.contains("/src/")) {
        for (at, line) in lexer::rust(&source.text).strings.lines().enumerate() {
            for (name, after) in ours(line) {
                if after.starts_with('(') && !known.contains(&name) {
                    out.push(format!("{}:{}: there is no function trunkline.{name}", source.path, at + 1));
                }
            }
        }
    }
    out
}

#[test]
fn rust_calls_functions_that_exist() {
    none(unknown_functions(&sources()));
    let code = "const A: &str = \"select trunkline.a_b(1), trunkline._take_d(2)\";\nconst B: &str = \"trunkline.gone(1)\";";
    let functions =
        [("x/sql/functions/a/a_b.sql", ""), ("x/sql/functions/a/_take_e.sql", ""), ("x/src/a.rs", code)];
    finds(unknown_functions, &functions, &["a.rs:2: there is no function trunkline.gone"]);
}
