//! `trunkline doctor` and `check`: what they print, and what their exit codes mean to a script and to a monitor.

use trunkline_embedded::{Fetch, Server, Settings};

use crate::{code, database, empty_database, ok, run, sql, stderr, stdout, temporary, trunkline};

#[test]
fn findings_are_printed_with_their_remedy_and_the_code_says_whether_there_are_any() {
    let url = database();
    // The server of the tests writes without fsync.
    let told = run(&url, &["doctor"]);
    assert_eq!(code(&told), 1, "{}", stdout(&told));
    let text = stdout(&told);
    let first: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(first[0], "critical  settings: fsync is off");
    assert!(
        first[1].contains("crash") && first[2].contains("> alter system set \"fsync\" = on;")
            || first[2].contains("fsync = on"),
        "{text}"
    );
    let lines = stdout(&run(&url, &["doctor", "--json"]));
    let finding: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((finding["check"].as_str(), finding["level"].as_str()), (Some("settings"), Some("critical")));
    let none = run(&empty_database(), &["doctor", "--json"]);
    assert!(stdout(&none).contains("there is no trunkline schema here"), "{}", stdout(&none));
    let away = run("host=127.0.0.1 port=1 user=u", &["doctor"]);
    assert_eq!(code(&away), 3);
    assert!(stdout(&away).starts_with("critical  connection: "), "{}", stdout(&away));
}

#[test]
fn a_clock_that_is_an_hour_off_is_told_and_moves_no_job() {
    let url = database();
    let skewed = |by: &str, args: &[&str]| {
        let program = trunkline(args);
        let mut command = std::process::Command::new("faketime");
        command.args(["-f", by]).arg(program.get_program()).args(program.get_args());
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        // The time of day alone is wrong, as it is on such machines.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DATABASE_URL", &url);
        let told = command.output().expect("faketime: apt-get install faketime");
        assert!(code(&told) < 2, "{args:?}: {}", stderr(&told));
        stdout(&told)
    };
    assert!(!stdout(&run(&url, &["doctor"])).contains("clock"));
    assert!(!skewed("+1", &["doctor"]).contains("clock"), "a second is nothing");
    assert!(skewed("-10", &["doctor"]).contains("warning   clock: "));
    for by in ["+3600", "-3600"] {
        let told = skewed(by, &["doctor"]);
        let (_, apart) =
            told.split_once("warning   clock: the server's clock and this machine's are ").expect(&told);
        let apart: f64 = apart.split(' ').next().and_then(|s| s.parse().ok()).expect(&told);
        assert!((3590.0..3610.0).contains(&apart), "{told}");
        assert!(told.contains("timedatectl set-ntp true"), "{told}");
        let id = skewed(by, &["jobs", "push", "mail", "x", "--delay", "30m"]);
        let due = "select due_at - at between interval '29 minutes' and interval '31 minutes' from trunkline.job_held where id =";
        assert_eq!(sql(&url, &format!("{due} {id}")).as_deref(), Some("t"));
        let id = skewed(by, &["jobs", "push", "mail", "x"]);
        skewed(by, &["jobs", "work", "mail", "--drain", "--exec", "true"]);
        assert_eq!(
            sql(&url, &format!("select state from trunkline.job_show({id})")).as_deref(),
            Some("done")
        );
    }
}

#[test]
fn a_monitor_is_told_by_code_and_line() {
    let url = database();
    let told = |args: &[&str]| {
        let told = run(&url, &[&["check", "--no-doctor"], args].concat());
        (code(&told), stdout(&told))
    };
    let (state, line) = told(&[]);
    assert_eq!((state, line.as_str()), (0, "TRUNKLINE OK - messages flow | dead_jobs=0;1;1000\n"));
    sql(&url, "select trunkline.job_open('mail')");
    sql(&url, "insert into trunkline.job_held (id, lane, state, due_at, max_attempts, ended_at, content, kind, payload)
        select g, 16 + 5, 2, now(), 1, now(), 1, '', '' from generate_series(1, 3) g");
    let (state, line) = told(&[]);
    assert!(state == 1 && line.contains("3 jobs are dead") && line.contains("dead_jobs=3;1;1000"), "{line}");
    assert_eq!(told(&["--dead-critical", "3"]).0, 2);
    assert_eq!(told(&["--dead-warning", "4"]).0, 0);
    assert_eq!(code(&run(&url, &["check"])), 2, "fsync is off here");
    let away = run("host=127.0.0.1 port=1 user=u", &["check"]);
    assert_eq!(code(&away), 2);
    assert!(stdout(&away).starts_with("TRUNKLINE CRITICAL - "), "{}", stdout(&away));
}

#[test]
fn a_monitor_is_told_what_waits_too_long_and_who_is_behind() {
    let url = database();
    let told = |args: &[&str]| {
        let told = run(&url, &[&["check", "--no-doctor"], args].concat());
        (code(&told), stdout(&told))
    };
    sql(&url, "select trunkline.job_push('mail', 'x', run_at => now() + interval '1 hour')");
    assert_eq!(told(&[]).0, 0, "what is scheduled does not wait");
    sql(&url, "update trunkline.job_held set due_at = now() - interval '10 minutes'");
    let (state, line) = told(&[]);
    assert!(
        state == 1
            && line.starts_with("TRUNKLINE WARNING - a job of the queue mail has waited 6")
            && line.contains(" | 'mail waiting'=6")
            && line.contains("s;300;1800 dead_jobs=0;1;1000"),
        "{state} {line}"
    );
    let (state, line) = told(&["--waiting-critical", "10m"]);
    assert!(state == 2 && line.starts_with("TRUNKLINE CRITICAL - a job of"), "{state} {line}");
    assert_eq!(told(&["--waiting-warning", "1h"]).0, 0);
    sql(&url, "select trunkline.job_pause('mail')");
    assert_eq!(told(&["--waiting-critical", "10m"]).0, 0, "a paused queue waits for its operator");

    sql(&url, "select trunkline.stream_open('orders'), trunkline.stream_register('orders', 'billing')");
    sql(&url, "select trunkline.stream_append('orders', 'x')");
    sql(&url, "select trunkline.stream_tick('orders')");
    let (state, line) = told(&[]);
    assert!(state == 0 && line.contains("'orders/billing lag'="), "{state} {line}");
    sql(&url, "update trunkline.stream_tick set at = now() - interval '10 minutes'");
    let (state, line) = told(&[]);
    assert!(
        state == 1
            && line.contains("WARNING - the consumer orders/billing is 6")
            && line.contains("'orders/billing lag'=6")
            && line.contains("s;300;1800 "),
        "{state} {line}"
    );
    assert_eq!(told(&["--lag-critical", "10m"]).0, 2);
    assert_eq!(told(&["--lag-warning", "1h"]).0, 0);
}

/// What was asked for makes no sense: that says nothing of the database.
#[test]
fn a_monitor_that_asks_for_nonsense_is_told_that_nothing_is_known() {
    for url in ["postgresql://h/db?sslmode=nonsense", "host=127.0.0.1 port=many"] {
        let told = run(url, &["check"]);
        assert_eq!(code(&told), 3, "{url}: {}", stdout(&told));
        assert!(stdout(&told).starts_with("TRUNKLINE UNKNOWN - "), "{}", stdout(&told));
        assert_eq!(stdout(&told).lines().count(), 1, "{}", stdout(&told));
    }
}

#[test]
fn with_nothing_to_mend_the_code_is_0_and_that_is_said() {
    let dir = temporary();
    // As it comes: it waits for what it writes.
    let settings = Settings::default().data_dir(dir.path().join("pg")).fetch(Fetch::Forbidden);
    let server = Server::start(&settings, &mut |_| {}).unwrap().stop_on_drop();
    sql(&server.url(), "create database healthy");
    let url = server.url_for("healthy");
    ok(&url, &["-q", "schema", "install"]);
    assert_eq!(ok(&url, &["doctor"]), "nothing to mend\n");
    assert_eq!(ok(&url, &["doctor", "--json"]), "");
    assert_eq!(ok(&url, &["check"]), "TRUNKLINE OK - messages flow | dead_jobs=0;1;1000\n");
    // What the doctor finds is told, as bad as it is.
    sql(&url, "alter system set autovacuum = off");
    sql(&url, "select pg_reload_conf()");
    let off = || sql(&url, "show autovacuum").as_deref() == Some("off");
    crate::until("the setting to be read", off);
    let told = run(&url, &["doctor"]);
    assert!(code(&told) == 1 && stdout(&told).contains("autovacuum"), "{}", stdout(&told));
    let told = run(&url, &["check"]);
    assert!(code(&told) > 0 && stdout(&told).contains("autovacuum"), "{}", stdout(&told));
    assert_eq!(code(&run(&url, &["check", "--no-doctor"])), 0);
}

#[test]
fn top_shows_what_waits_sorted_and_filtered() {
    let url = database();
    sql(&url, "select trunkline.job_push('mail', 'x') from generate_series(1, 3)");
    sql(
        &url,
        "select trunkline.job_push('reports', 'x') from generate_series(1, 7); select trunkline.job_pause('mail')",
    );
    sql(&url, "select trunkline.stream_open('orders'), trunkline.stream_register('orders', 'billing')");
    let told = |args: &[&str]| ok(&url, &[&["-q", "top", "--once"], args].concat());
    let squeezed = |text: &str| {
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let lines = squeezed(&told(&[]));
    assert!(
        lines[0].contains("PostgreSQL") && lines[0].ends_with("0 processes NOTIFY queue 0 %"),
        "{lines:?}"
    );
    assert_eq!(lines[2], "QUEUE IN/S OUT/S WAITING SCHEDULED RUNNING RETRYING DEAD OLDEST");
    assert!(
        lines[3].starts_with("reports 0 0 7 0 0 0 0 ")
            && lines[4].starts_with("mail (paused) 0 0 3 0 0 0 0 "),
        "{lines:?}"
    );
    assert_eq!(lines[6], "CONSUMER LAG EVENTS IN HAND AGAIN DEAD");
    assert_eq!(lines[7], "orders/billing 0 ms 0 0 0 0");
    let few = squeezed(&told(&["--sort", "name", "--rows", "1"]));
    assert!(few[3].starts_with("mail (paused)") && few[4] == "and 1 more", "{few:?}");
    assert!(!told(&["--filter", "mail"]).contains("reports"));
    assert!(told(&["--json"]).starts_with("{\"at\":"), "{}", told(&["--json"]));
}
