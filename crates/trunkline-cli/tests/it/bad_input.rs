//! Bad input to the command line, by its number in the list of bad inputs: the right exit code, words that help, no
//! payload, no secret, no panic; what was there stays, and the next good command works.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::{
    Running, code, database, empty_database, ok, responder, run, run_with, sql, stderr, stdout, temporary,
    trunkline,
};

const NOWHERE: &str = "host=127.0.0.1 port=1 user=u dbname=d";
const SECRET: &str = "S3cret-";

/// It ended with this code, said all of these on stderr, shortly, and neither a secret nor a panic.
#[track_caller]
fn refused(row: &str, output: &Output, expected: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(code(output), expected, "{row}: {said}");
    assert!(words.iter().all(|w| said.contains(w)), "{row}: {words:?} in {said}");
    assert!(!said.contains(SECRET) && !said.contains("panicked"), "{row}: {said}");
    assert!(said.len() < 4_000 && output.stdout.is_empty(), "{row}: {}: {said:.1000}", stdout(output));
}

#[test]
fn row_81_what_is_no_command_is_usage_and_a_suggestion() {
    for (args, word) in [
        (&[][..], "Usage"),
        (&["requests"], "Usage"),
        (&["schema"], "Usage"),
        (&["swichover"], "unrecognized"),
        (&["reqests"], "requests"),
        (&["requests", "cal"], "call"),
        (&["requests", "respnders"], "responders"),
        (&["schema", "instal"], "install"),
        (&["db", "statsu"], "status"),
        (&["bench", "request"], "requests"),
        (&["demo", "controler"], "controller"),
        (&["schema", "check", "--jsno"], "--json"),
        (&["schema", "check", "extra"], "extra"),
        (&["schema", "check", "-q", "-v"], "cannot be used with"),
    ] {
        refused(&format!("row 81 {args:?}"), &run(NOWHERE, args), 2, &[word]);
    }
}

#[test]
fn row_82_payloads_that_cannot_be_read_are_refused_and_reading_stops_at_the_limit() {
    let dir = temporary();
    let (huge, broken) = (dir.path().join("huge"), dir.path().join("loop"));
    File::create(&huge).unwrap().set_len(2 << 30).unwrap();
    symlink(&broken, &broken).unwrap();
    for (file, words) in [
        ("@/proc/none", &["/proc/none", "No such file"][..]),
        ("@", &["cannot read"]),
        ("@/", &["directory"]),
        ("@/dev/zero", &["67108864", "/dev/zero"]),
        (&*format!("@{}", huge.display()), &["67108864", "huge"]),
        (&*format!("@{}", broken.display()), &["loop"]),
    ] {
        for verb in ["call", "send", "gather"] {
            refused(
                &format!("row 82 {verb} {file}"),
                &run(NOWHERE, &["requests", verb, "c", file]),
                2,
                words,
            );
        }
    }
    for bad in ["{\"S3cret-\"", "S3cret-", "{} S3cret-", ""] {
        let args = ["requests", "call", "c", bad, "--json-payload"];
        refused(&format!("row 82 {bad:?}"), &run(NOWHERE, &args), 2, &["JSON", "line"]);
    }
    let from = |stdin: Stdio| {
        trunkline(&["requests", "call", "c", "-"]).env("DATABASE_URL", NOWHERE).stdin(stdin).output()
    };
    refused("row 82 directory", &from(File::open("/").unwrap().into()).unwrap(), 2, &["stdin"]);
    refused(
        "row 82 endless",
        &from(File::open("/dev/zero").unwrap().into()).unwrap(),
        2,
        &["stdin", "67108864"],
    );
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" requests call c - <&- >&-"]).arg(env!("CARGO_BIN_EXE_trunkline"));
    // A closed stdin is an empty one: it goes on to connect.
    refused("row 82 closed", &closed.env("DATABASE_URL", NOWHERE).output().unwrap(), 3, &["127.0.0.1:1"]);
}

#[test]
fn rows_2_to_14_24_and_67_are_refused_by_the_database_and_nothing_is_written() {
    let url = database();
    let _echo = responder(&url, &["echo", "--echo"]);
    let (long, big) = ("x".repeat(49), temporary());
    let file = big.path().join("big");
    fs::write(&file, SECRET.repeat(1 << 18)).unwrap();
    let file = format!("@{}", file.display());
    let wide = format!("k={}", SECRET.repeat(1_200));
    for (row, args, words) in [
        ("row 2", &["call", "", SECRET][..], &["name"][..]),
        ("row 3", &["call", &long, SECRET], &["48", "49"]),
        ("row 5", &["send", "Robert'); DROP TABLE x;--", SECRET], &["name"]),
        ("row 13", &["gather", "Work", SECRET], &["name"]),
        ("row 14", &["call", "pg_x", SECRET], &["reserved"]),
        ("row 12", &["call", "@x", SECRET], &["address"]),
        ("row 13 serve", &["serve", "Work", "--echo"], &["name"]),
        ("row 14 serve", &["serve", "pg_x", "--echo"], &["reserved"]),
        ("row 61 serve", &["serve", "work", "--echo", "--type", "a\tb"], &["type"]),
        ("row 24", &["call", "echo", &file], &["1048576", "1835008"]),
        ("row 24 gather", &["gather", "echo", &file], &["1048576", "1835008"]),
        ("row 61", &["call", "echo", SECRET, "-H", &wide], &["8192"]),
        ("row 61 break", &["call", "echo", SECRET, "-H", "k=a\r\nb"], &["\"k\"", "line breaks"]),
        ("row 61 type", &["call", "echo", SECRET, "-t", &"t".repeat(101)], &["100", "101"]),
        ("row 67 zero", &["call", "echo", SECRET, "--timeout", "0s"], &["1 ms", "7 days"]),
        ("row 67 long", &["send", "echo", SECRET, "--timeout", "8days"], &["1 ms", "7 days"]),
        ("row 67 gather", &["gather", "echo", SECRET, "--within", "0s"], &["1 ms", "7 days"]),
    ] {
        let args = [&["-q", "requests"], args].concat();
        refused(row, &run(&url, &args), 2, words);
    }
    let lines =
        run_with(&url, &["-q", "requests", "call", "echo", "--lines", "--json-payload"], b"1\nS3cret-\n3\n");
    assert_eq!((code(&lines), stdout(&lines).as_str()), (2, "1\n\n3\n"), "row 82: {}", stderr(&lines));
    assert!(
        stderr(&lines).contains("line 2") && !stderr(&lines).contains(SECRET),
        "row 82: {}",
        stderr(&lines)
    );
    let gone = run(&url, &["-q", "requests", "call", "@00000000-0000-4000-8000-000000000000", SECRET]);
    refused("row 14 nobody", &gone, 5, &["00000000"]);
    refused("row 15", &run(&url, &["-q", "requests", "show", "1"]), 4, &["1"]);
    refused("row 15", &run(&url, &["-q", "requests", "cancel", "1"]), 4, &["1"]);
    let kept = "select count(*) || ' ' || (select count(*) from trunkline.request_channel) from trunkline.request_list()";
    assert_eq!(sql(&url, kept).as_deref(), Some("2 1"), "only the good lines were written");
    assert_eq!(ok(&url, &["requests", "call", "echo", "good"]), "good");
}

/// What a terminal would get: stdout and stderr of a command, run in one.
fn in_a_terminal(url: &str, arguments: &str) -> String {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_trunkline"));
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("DATABASE_URL", url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    stdout(&output)
}

#[test]
fn row_83_escapes_in_foreign_text_do_not_steer_the_terminal() {
    let url = database();
    let _echo = responder(&url, &["echo", "--echo"]);
    let _bad = responder(&url, &["bad", "--exec", "printf '\\033]0;x\\007\\r' >&2; exit 1"]);
    let dir = temporary();
    let file = dir.path().join("payload");
    fs::write(&file, "\u{1b}]0;x\u{7}\r\u{9b}31m").unwrap();
    let named = format!("@{}", file.display());
    let shown = in_a_terminal(&url, &format!("-q requests call echo {named}"));
    assert!(shown.contains("\\x1b]0;x\\x07\\r\\x9b31m"), "row 83: {shown:?}");
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{9b}'), "row 83: {shown:?}");
    let raw = in_a_terminal(&url, &format!("-q requests call echo {named} --raw"));
    assert!(raw.contains("\u{1b}]0;x\u{7}"), "row 83: {raw:?}");
    assert_eq!(
        run(&url, &["requests", "call", "echo", &named]).stdout,
        fs::read(&file).unwrap(),
        "row 83: to a pipe"
    );
    let id = ok(&url, &["requests", "ls", "echo", "--limit", "1"]).split('\t').next().unwrap().to_owned();
    let show = in_a_terminal(&url, &format!("-q requests show {id} --payload"));
    assert!(show.contains("\\x1b]0;x") && !show.contains('\u{1b}'), "row 83: {show:?}");
    for args in [&["requests", "call", "bad", "x"][..], &["requests", "gather", "bad", "x", "--within", "5s"]]
    {
        let failed = run(&url, args);
        assert_eq!(code(&failed), 1, "row 83: {}", stderr(&failed));
        assert!(stderr(&failed).contains("\\x1b]0;x\\x07"), "row 83: {}", stderr(&failed));
        assert!(!stderr(&failed).contains('\u{1b}'), "row 83: {:?}", stderr(&failed));
    }
}

#[test]
fn row_84_a_reader_that_leaves_early_is_no_failure() {
    let url = database();
    sql(
        &url,
        "select trunkline.request_send('c', repeat('x', 10), wait_for_responder => true) from generate_series(1, 3000)",
    );
    for args in [
        &["-q", "--json", "requests", "ls", "--limit", "3000"][..],
        &["-q", "requests", "ls", "--limit", "3000"],
    ] {
        let mut command = trunkline(args);
        command.env("DATABASE_URL", &url).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(!line.is_empty(), "row 84 {args:?}");
        assert_eq!((code(&ended), stderr(&ended).as_str()), (0, ""), "row 84 {args:?}");
    }
}

#[test]
fn row_85_a_password_among_the_arguments_is_warned_of_and_never_shown() {
    for url in [
        "postgresql://u:S3cret-@127.0.0.1:1/d",
        "postgresql://u@127.0.0.1:1/d?password=S3cret-",
        "postgresql://u@127.0.0.1:1/d?pass%77ord=S3cret-",
        "host=127.0.0.1 port=1 user=u password  =  S3cret-",
    ] {
        let given = trunkline(&["-vvv", "schema", "check", "--database-url", url]).output().unwrap();
        refused(&format!("row 85 {url}"), &given, 3, &["others can read the password", "PGPASSFILE"]);
        let quiet = run(url, &["-vvv", "schema", "check"]);
        refused(&format!("row 85 {url}"), &quiet, 3, &["127.0.0.1"]);
        assert!(!stderr(&quiet).contains("others can read"), "row 85 {url}");
    }
    let wrong =
        trunkline(&["schema", "check", "--database-url", "postgresql://u:S3cret-@h:x/d"]).output().unwrap();
    refused("row 85 refused", &wrong, 2, &["others can read the password", "port"]);
    let open = trunkline(&["schema", "check", "--database-url", NOWHERE]).output().unwrap();
    assert!(!stderr(&open).contains("others can read"), "row 85: {}", stderr(&open));
}

#[test]
fn row_63_settings_that_are_wrong_are_usage_and_lead_to_no_other_database() {
    for (url, word) in [
        ("postgres://u:S3cret-@h:99999/d", "port"),
        ("mysql://u:S3cret-@h/d", "postgresql://"),
        ("host=h password='S3cret-", "quote"),
        ("S3cret-", "key=value"),
        ("host=h sslmode=S3cret-", "sslmode"),
    ] {
        refused(&format!("row 63 {word}"), &run(url, &["schema", "check"]), 2, &[word]);
    }
    // Below a file no private server can begin.
    let dir = temporary();
    fs::write(dir.path().join("file"), "").unwrap();
    let data = dir.path().join("file/pg");
    for name in ["DATABASE_URL", "TRUNKLINE_DATABASE_URL", "PGHOST", "PGSERVICE"] {
        let mut command = trunkline(&["--no-fetch", "schema", "check", "--data-dir"]);
        let output = command.arg(&data).env(name, OsStr::from_bytes(b"host=\xff")).output().unwrap();
        assert_eq!(code(&output), 2, "row 63 {name}: {}", stderr(&output));
        assert!(stderr(&output).contains("UTF-8"), "row 63 {name}: {}", stderr(&output));
    }
    let none = trunkline(&["--no-fetch", "schema", "check", "--data-dir"]).arg(&data).output().unwrap();
    assert!(
        code(&none) != 0 && stderr(&none).contains("TRUNKLINE_DATABASE_URL"),
        "no database: {}",
        stderr(&none)
    );
    let odd = run("host=127.0.0.1 port=1 user=u conect_timeout=3", &["schema", "check"]);
    refused("row 63 unknown", &odd, 3, &["conect_timeout", "connect_timeout"]);
}

#[test]
fn row_86_service_and_password_files_that_are_wrong_are_told_with_their_line() {
    let dir = temporary();
    let path = |name: &str| dir.path().join(name);
    let check = |file: &Path| {
        let mut command = trunkline(&["schema", "check"]);
        command
            .env("PGSERVICE", "s")
            .env("PGSERVICEFILE", file)
            .env("PGSYSCONFDIR", "/proc/none")
            .output()
            .unwrap()
    };
    symlink(path("loop"), path("loop")).unwrap();
    File::create(path("large")).unwrap().set_len(100 << 20).unwrap();
    let good = "host=127.0.0.1\nport=1\nuser=u\npassword=S3cret-\n";
    for (name, text, expected, words) in [
        ("good", format!("[s]\n{good}"), 3, &["127.0.0.1:1"][..]),
        ("crlf", format!("[s]\n{good}").replace('\n', "\r\n"), 3, &["127.0.0.1:1"]),
        ("twice", format!("[s]\nhost=S3cret-\n{good}"), 3, &["127.0.0.1:1"]),
        ("unknown", format!("[s]\n{good}hots=h\n"), 3, &["hots", "host"]),
        ("broken", format!("[s]\n{good}S3cret-\n"), 2, &["broken", "line 6"]),
        ("blank", "[s]\nhost = S3cret-\n".to_owned(), 2, &["blank", "line 2"]),
        ("other", format!("[t]\n{good}"), 2, &["\"s\""]),
        ("bom", format!("\u{feff}[s]\n{good}"), 2, &["\"s\""]),
    ] {
        fs::write(path(name), text).unwrap();
        refused(&format!("row 86 {name}"), &check(&path(name)), expected, words);
    }
    fs::write(path("bytes"), b"[s]\nhost=\xff\n").unwrap();
    for (file, word) in
        [("loop", "cannot read"), ("large", "\"s\""), (".", "cannot read"), ("bytes", "cannot read")]
    {
        refused(&format!("row 86 {file}"), &check(&path(file)), 2, &[word]);
    }
    refused("row 86 endless", &check(Path::new("/dev/zero")), 2, &["cannot read"]);
    fs::write(path("pass"), "*:*:*:*:S3cret-\n").unwrap();
    fs::set_permissions(path("pass"), Permissions::from_mode(0o644)).unwrap();
    let mut command = trunkline(&["schema", "check"]);
    let open = command.env("DATABASE_URL", NOWHERE).env("PGPASSFILE", path("pass")).output().unwrap();
    refused("row 86 permissions", &open, 3, &["passfile", "not used", "0600"]);
}

#[test]
fn rows_87_and_91_a_schema_is_neither_destroyed_nor_built_over_by_accident() {
    let url = database();
    for input in [&b"yes\n"[..], b""] {
        let unasked = run_with(&url, &["schema", "uninstall"], input);
        refused("row 87", &unasked, 8, &["--yes", "all its messages"]);
    }
    ok(&url, &["schema", "check"]);
    assert_eq!(ok(&url, &["schema", "install"]), "from\t9\nto\t9\n", "row 91: twice");
    sql(&url, "do $$ begin create role row_91 login; exception when duplicate_object then end $$");
    let theirs = url.replace("user=postgres", "user=row_91");
    for args in [
        &["schema", "install"][..],
        &["schema", "uninstall", "--yes"],
        &["schema", "repair"],
        &["serve", "--once"],
    ] {
        refused(&format!("row 91 {args:?}"), &run(&theirs, args), 7, &["permission denied"]);
    }
    refused("row 91 serve", &run(&theirs, &["requests", "serve", "x", "--echo"]), 7, &["permission denied"]);
    sql(&url, "update trunkline.schema_info set version = 1000");
    for args in [&["schema", "install"][..], &["serve", "--once", "--install"], &["requests", "ls"]] {
        refused(&format!("row 91 downgrade {args:?}"), &run(&url, args), 4, &["1000", "upgrade the program"]);
    }
    assert_eq!(sql(&url, "select version from trunkline.schema_info").as_deref(), Some("1000"), "row 91");

    let foreign = empty_database();
    sql(&foreign, "create schema trunkline; create table trunkline.precious as select 1 as one");
    for args in [&["schema", "install"][..], &["schema", "upgrade"], &["schema", "uninstall", "--yes"]] {
        refused(&format!("row 91 foreign {args:?}"), &run(&foreign, args), 6, &["not ours"]);
    }
    assert_eq!(sql(&foreign, "select one from trunkline.precious").as_deref(), Some("1"), "row 91");
}

#[test]
fn row_88_a_data_directory_that_will_not_do_is_refused_and_left_as_it_was() {
    let dir = temporary();
    let (file, other) = (dir.path().join("file"), dir.path().join("other"));
    fs::write(&file, "mine").unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "mine").unwrap();
    for (data, codes) in [(&*file, [2, 3, 7, 8]), (&*other, [8; 4]), (Path::new("/proc/none"), [2, 3, 7, 8])]
    {
        let start = trunkline(&["--no-fetch", "db", "start", "--data-dir"]).arg(data).output().unwrap();
        let said = stderr(&start);
        assert!(codes.contains(&code(&start)), "row 88 {}: {}: {said}", data.display(), code(&start));
        assert!(said.contains(data.to_str().unwrap()) && !said.contains("panicked"), "row 88: {said}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine", "row 88");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1, "row 88");
}

#[test]
fn row_90_a_database_that_is_away_at_the_start_is_waited_for_and_once_is_not() {
    refused("row 90", &run(NOWHERE, &["serve", "--once"]), 3, &["127.0.0.1:1"]);
    refused("row 90", &run(NOWHERE, &["requests", "serve", "x", "--echo"]), 3, &["127.0.0.1:1"]);
    for args in [&["serve"][..], &["serve", "--all-databases"]] {
        let mut command = trunkline(args);
        command.env("DATABASE_URL", NOWHERE);
        let mut waiting = Running::start(command);
        waiting.wait_for(if args.len() == 1 { "waiting for it" } else { "trying again" });
        waiting.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(waiting.end().0, 0, "row 90 {args:?}");
    }
}

#[test]
fn row_94_numbers_and_times_out_of_their_limits_are_usage() {
    for (args, word) in [
        (&["requests", "ls", "--limit", "-1"][..], "--limit"),
        (&["requests", "ls", "--limit", "0"], "--limit"),
        (&["requests", "ls", "--limit", "99999999999"], "--limit"),
        (&["requests", "show", "abc"], "abc"),
        (&["requests", "show", "99999999999999999999"], "99999999999999999999"),
        (&["requests", "cancel", "1.5"], "1.5"),
        (&["requests", "call", "c", "x", "--timeout", "tomorrow"], "--timeout"),
        (&["requests", "call", "c", "x", "--timeout", "-1s"], "-1"),
        (&["requests", "call", "c", "x", "--timeout", "99999999999999999999y"], "--timeout"),
        (&["requests", "call", "c", "x", "--timeout", ""], "--timeout"),
        (&["requests", "call", "c", "--lines", "--in-flight", "0"], "--in-flight"),
        (&["requests", "call", "c", "--lines", "--in-flight", "4097"], "--in-flight"),
        (&["requests", "call", "c", "x", "-H", "=v"], "name=value"),
        (&["requests", "gather", "c", "x", "--most", "0"], "--most"),
        (&["requests", "serve", "c", "--echo", "--concurrency", "0"], "--concurrency"),
        (&["requests", "serve", "c", "--echo", "--concurrency", "10001"], "--concurrency"),
        (&["requests", "serve", "c", "--echo", "--count", "0"], "--count"),
        (&["serve", "--all-databases", "--look", "0s"], "100ms"),
        (&["serve", "--look", "1m"], "--all-databases"),
        (&["serve", "--all-databases", "--install"], "--install"),
        (&["serve", "--log", "xml"], "--log"),
        (&["demo", "--for", "1s"], "3 seconds"),
        (&["demo", "--consumers", "0"], "--consumers"),
        (&["demo", "--rate", "1001"], "--rate"),
        (&["demo", "--for", "5s", "controller"], "--for before the part"),
        (&["demo", "--rate", "5", "consumer"], "--rate before the part"),
        (&["demo", "controller", "--for", "5s"], "--for"),
        (&["bench", "requests", "--rounds", "0"], "--rounds"),
        (&["db", "stop", "--mode", "never"], "--mode"),
        (&["completions", "cmd"], "cmd"),
    ] {
        refused(&format!("row 94 {args:?}"), &run(NOWHERE, args), 2, &[word]);
    }
    let mut command = trunkline(&["requests", "call", "c"]);
    let bytes = command.arg(OsStr::from_bytes(b"\xff")).env("DATABASE_URL", NOWHERE).output().unwrap();
    refused("row 94 bytes", &bytes, 2, &["UTF-8"]);
    let mut command = trunkline(&["schema", "check"]);
    let nobody =
        command.env("DATABASE_URL", "postgresql://127.0.0.1:1/d").env("PGUSER", OsStr::from_bytes(b"\xff"));
    refused("row 94 variable", &nobody.output().unwrap(), 2, &["PGUSER", "UTF-8"]);
}

#[test]
fn row_94_odd_surroundings_change_no_output() {
    let url = database();
    let _echo = responder(&url, &["echo", "--echo"]);
    let sent = "é\u{1F600}I";
    for (name, value) in [
        ("LC_ALL", "C"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LC_ALL", "no_SUCH"),
        ("TZ", "Nowhere/At_All"),
        ("TZ", ":/dev/null"),
        ("COLUMNS", "1"),
        ("TERM", ""),
        ("PGTZ", "Nowhere/At_All"),
        ("PGDATESTYLE", "German"),
        ("HOME", "/proc/none"),
        ("RUST_LOG", "trace"),
    ] {
        let with =
            |args: &[&str]| trunkline(args).env("DATABASE_URL", &url).env(name, value).output().unwrap();
        let called = with(&["-q", "requests", "call", "echo", sent]);
        assert_eq!((stdout(&called).as_str(), stderr(&called).as_str()), (sent, ""), "row 94 {name}={value}");
        assert_eq!(code(&with(&["-q", "requests", "ls"])), 0, "row 94 {name}={value}");
        assert_eq!(code(&with(&["--help"])), 0, "row 94 {name}={value}");
    }
}
