//! `docs/from`: everything that the pages show of our SQL and of the command line is run.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::{code, database, ok, stderr, trunkline};

/// What a page shows: the blocks in a language, and the words in backquotes outside of blocks.
fn shown(text: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (mut blocks, mut words) = (Vec::new(), Vec::new());
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 1 {
            let (language, block) = part.split_once('\n').unwrap();
            blocks.push((language.to_owned(), block.to_owned()));
        } else {
            let unwrapped = part.replace('\n', " ");
            words.extend(unwrapped.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    (blocks, words)
}

/// Runs it; what names job 42, which is not there, may say so.
fn runs_sql(url: &str, statement: &str) {
    let flags = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=sqlstate", "-c", statement, url];
    let psql = Command::new("psql").args(flags).output().unwrap();
    let said = stderr(&psql);
    assert!(psql.status.success() || said.contains("TL007"), "{statement}: {said}");
}

fn runs_command(url: &str, line: &str) {
    let folder = Path::new(env!("CARGO_BIN_EXE_trunkline")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    for (name, value) in trunkline(&[]).get_envs() {
        if value.is_none() {
            shell.env_remove(name);
        }
    }
    let work = tempfile::tempdir().unwrap();
    for name in ["job", "send-mail"] {
        let program = work.path().join(name);
        fs::write(&program, "#!/bin/sh\ncat\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    shell.current_dir(work.path()).args(["-c", line]).env("PATH", path).env("DATABASE_URL", url);
    let done = shell.output().unwrap();
    assert!(matches!(code(&done), 0 | 4), "{line}: exit status {}: {}", code(&done), stderr(&done));
    assert!(code(&done) == 0 || stderr(&done).contains("42"), "{line}: {}", stderr(&done));
}

#[test]
fn what_the_pages_for_people_from_elsewhere_show_can_be_run() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from");
    let mut ran = 0;
    for page in fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.lines().count() <= 90, "{}: a short page", page.display());
        let url = database();
        ok(&url, &["jobs", "push", "mail", "hello"]);
        let (blocks, words) = shown(&text);
        for (language, block) in blocks.iter().filter(|(_, block)| block.contains("trunkline")) {
            match language.as_str() {
                "sql" => runs_sql(&url, block),
                "sh" => runs_command(&url, block),
                _ => continue,
            }
            ran += 1;
        }
        for words in words {
            if words.starts_with("select ") && words.contains("trunkline.") {
                runs_sql(&url, &words);
            } else if words.starts_with("trunkline ") {
                runs_command(&url, &words);
            } else {
                continue;
            }
            ran += 1;
        }
    }
    assert!(ran > 25, "only {ran} of what the pages show was run");
}
