//! The configuration file: what it says counts after flags and variables, and what is wrong with it is said with its line.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use nix::sys::signal::Signal;

use crate::{Running, code, database, http::Served, ok, run, stderr, stdout, temporary, trunkline, until};

/// A file with this in it.
fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = temporary();
    let path = dir.path().join("trunkline.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn checked(text: impl AsRef<[u8]>) -> (i32, String) {
    let (_dir, path) = file(text);
    let output = trunkline(&["config", "check"]).arg(path).output().unwrap();
    (code(&output), stderr(&output))
}

#[test]
fn the_example_has_every_flag_and_is_right_where_it_gives_defaults() {
    let example = stdout(&trunkline(&["config", "print"]).output().unwrap());
    for line in [
        "#database_url = \"URL\"",
        "[serve]",
        "#http_name = [\"URL\"]",
        "[jobs.work]",
        "#json = false",
        "#every = \"1s\"",
    ] {
        assert!(example.lines().any(|l| l == line), "{line} in {example}");
    }
    assert_eq!(checked(&example).0, 0, "as it is printed");
    // With everything that has a default of its own uncommented it is still right.
    let named = |value: &str| {
        value.trim_matches(['[', ']', '"']).bytes().all(|b| b.is_ascii_uppercase() || b"_=<>.-".contains(&b))
    };
    let with: Vec<String> = example
        .lines()
        .filter_map(|l| match l.strip_prefix('#').filter(|l| !l.starts_with(' ')) {
            Some(key) => key.split_once(" = ").is_some_and(|(_, v)| !named(v)).then(|| key.to_owned()),
            None => Some(l.to_owned()),
        })
        .collect();
    assert!(with.iter().filter(|l| l.contains(" = ")).count() > 60, "{with:#?}");
    let (status, said) = checked(with.join("\n"));
    assert_eq!(status, 0, "{said}");
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_the_nearest_name() {
    for (text, wanted) in [
        (
            "json = true\n\n[serve]\nhttpp = \"x\"\n",
            "line 4: there is no key \"httpp\" in [serve]; is http meant?",
        ),
        ("[serv]\nhttp = \"127.0.0.1:1\"\n", "line 1: there is no key \"serv\" at the top; is serve meant?"),
        ("zzzzzzzzz = 1\n", "line 1: there is no key \"zzzzzzzzz\" at the top"),
        ("json = true\r\njson = false\r\n", "line 2"),
        ("[serve]\nhttp = \"nowhere\"\n", "line 2: invalid value 'nowhere' for http"),
        ("[serve]\nlook = 5\n", "line 2"),
        ("\nlog = [\"json\"]\n", "line 2: log: one value, not a list"),
        ("serve = 1\n", "line 1: serve is a table"),
        ("[json]\n", "line 1: json is a value"),
        ("json = \n", "line 1"),
        ("json = 5\n", "line 1: invalid value '5' for json"),
        ("json = 2026-01-01\n", "line 1"),
        ("config = \"x\"\n", "line 1: there is no key \"config\""),
    ] {
        let (status, said) = checked(text);
        assert!(status == 2 && said.contains(wanted), "{text:?}: {status} {said}");
    }
    assert_eq!(checked([0xff, 0xfe]).0, 2, "no UTF-8");
    assert_eq!(checked("#".repeat(2 * 1024 * 1024)).0, 2, "too large");
    assert_eq!(checked("\u{feff}json = true\r\n").0, 0, "with a mark, and with carriage returns");
    assert_eq!(code(&trunkline(&["config", "check", "/nowhere"]).output().unwrap()), 2);
    assert_eq!(code(&trunkline(&["--config", "/", "schema", "print"]).output().unwrap()), 2);
}

#[test]
fn a_file_with_a_password_is_for_its_owner_and_never_shown() {
    let (_dir, path) = file("database_url = \"postgresql://u:open-sesame@127.0.0.1:1/d\"\n");
    let with = || trunkline(&["--config"]).arg(&path).args(["schema", "check"]).output().unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let open = with();
    assert_eq!(code(&open), 8, "{}", stderr(&open));
    mode(0o600);
    let own = with();
    assert_eq!(code(&own), 3, "it is tried: {}", stderr(&own));
    assert!(!stderr(&own).contains("others can read"), "{}", stderr(&own));
    for output in [open, own] {
        assert!(!stderr(&output).contains("open-sesame"), "{}", stderr(&output));
    }
}

#[test]
fn a_flag_comes_before_a_variable_and_that_before_the_file() {
    let url = database();
    ok(&url, &["jobs", "push", "mail", "x"]);
    let (_dir, path) =
        file(format!("json = true\ndatabase_url = {url:?}\n[jobs.ls]\nqueue = \"none\"\n[req]\n"));
    assert_eq!(
        code(&run(&url, &["--config", path.to_str().unwrap(), "jobs", "queues"])),
        2,
        "[req] is no table"
    );
    let (_dir, path) =
        file(format!("json = true\ndatabase_url = {url:?}\n[top]\nfilter = \"none\"\nonce = true\n"));
    let with = |variables: &[(&str, &str)], args: &[&str]| {
        let output =
            trunkline(args).env("TRUNKLINE_CONFIG", &path).envs(variables.iter().copied()).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    };
    let shown = |text: &str| text.contains("mail");
    assert!(with(&[], &["jobs", "queues"]).contains("\"mail\""), "its database, as JSON");
    let plain = [("TRUNKLINE_JSON", "false")];
    assert!(!shown(&with(&plain, &["top"])), "the file's filter");
    let variable = [plain[0], ("TRUNKLINE_TOP_FILTER", "mai")];
    assert!(shown(&with(&variable, &["top"])), "the variable before the file");
    assert!(!shown(&with(&variable, &["top", "--filter", "other"])), "the flag before the variable");
    let elsewhere = [("DATABASE_URL", "host=127.0.0.1 port=1 user=u dbname=d")];
    let output =
        trunkline(&["jobs", "queues"]).env("TRUNKLINE_CONFIG", &path).envs(elsewhere).output().unwrap();
    assert_eq!(code(&output), 3, "DATABASE_URL is a variable too: {}", stderr(&output));
    // Where a flag and a key of the file exclude each other, the flag counts.
    let (_dir, path) = file(format!("database_url = {url:?}\n[serve]\nno_http = true\n"));
    let mut command = trunkline(&["serve", "--http", "127.0.0.1:0"]);
    command.env("TRUNKLINE_CONFIG", &path);
    Running::start(command).wait_for("dashboard at ");
}

#[test]
fn at_sighup_tokens_names_and_the_log_change_and_a_broken_file_changes_nothing() {
    let url = database();
    let dir = temporary();
    let (token, path) = (dir.path().join("token"), dir.path().join("trunkline.toml"));
    let old = "a-first-token-0123456789";
    let new = "a-second-token-0123456789";
    std::fs::write(&token, old).unwrap();
    std::fs::write(&path, format!("[serve]\nadmin_token_file = {token:?}\n")).unwrap();
    let mut served = Served::start(&url, &["--config", path.to_str().unwrap()], &[]);
    let admits = |served: &Served, token: &str| {
        served.ask("GET", "/metrics", &[("authorization", &format!("Bearer {token}"))], "").status == 200
    };
    assert!(admits(&served, old) && !admits(&served, new));
    assert_eq!(served.ask("GET", "/livez", &[("host", "ops.example.org")], "").status, 421);
    std::fs::write(&token, new).unwrap();
    std::fs::write(
        &path,
        format!(
            "verbose = 1\n[serve]\nadmin_token_file = {token:?}\nhttp_name = [\"https://ops.example.org\"]\n"
        ),
    )
    .unwrap();
    served.daemon.signal(Signal::SIGHUP);
    served.daemon.wait_for("were read again");
    assert!(admits(&served, new) && !admits(&served, old));
    assert_eq!(served.ask("GET", "/livez", &[("host", "ops.example.org")], "").status, 200);
    std::fs::write(&path, "[serve]\nadmin_tokn_file = \"x\"\n").unwrap();
    served.daemon.signal(Signal::SIGHUP);
    served.daemon.wait_for("nothing was changed");
    assert!(served.daemon.seen.last().unwrap().contains("line 2"), "{:?}", served.daemon.seen.last());
    std::fs::write(&token, "short").unwrap();
    std::fs::write(&path, format!("[serve]\nadmin_token_file = {token:?}\n")).unwrap();
    served.daemon.signal(Signal::SIGHUP);
    served.daemon.wait_for("nothing was changed");
    assert!(admits(&served, new), "what was good stays");
    served.daemon.signal(Signal::SIGTERM);
    until("it to end", || served.daemon.ended());
}
