//! Service file and password file.

use trunkline::conninfo::{ConnInfo, Env};

fn env() -> Env {
    Env::empty().with_user("ann").with_home("/home/ann")
}

/// Whether a password is found for each host of `text`.
fn found(text: &str, mode: u32, file: &str) -> (Vec<bool>, Vec<String>) {
    let env = env().with_file("/home/ann/.pgpass", mode, file);
    let c = ConnInfo::from_str_with(text, &env).unwrap();
    (c.hosts().map(|h| h.2).collect(), c.warnings().to_vec())
}

#[test]
fn password_lines_match_by_all_four_fields() {
    let url = "host=h,other port=1,2 dbname=d user=u";
    let table = [
        ("h:1:d:u:x", [true, false]),
        ("*:*:*:*:x", [true, true]),
        ("*:2:*:*:x", [false, true]),
        ("h:1:d:v:x", [false, false]),
        ("h:1:e:u:x", [false, false]),
        ("#h:1:d:u:x", [false, false]),
        ("h:1:d:u", [false, false]),
        ("h:1:d:u:", [false, false]),
        ("\n\nrubbish\nh:1:d:u:x\n", [true, false]),
        ("h:1:d:\\u:x", [true, false]),
    ];
    for (file, expected) in table {
        assert_eq!(found(url, 0o600, file).0, expected, "{file:?}");
    }
    assert_eq!(found("host=h dbname=a:b user=c\\\\\\\\d", 0o600, "h:5432:a\\:b:c\\\\\\\\d:x").0, [true]);
}

#[test]
fn a_password_file_that_others_can_read_is_not_used() {
    for mode in [0o644, 0o640, 0o602, 0o660] {
        let (passwords, warnings) = found("host=h", mode, "*:*:*:*:x");
        assert_eq!(passwords, [false]);
        assert!(warnings[0].contains("chmod 0600"), "{warnings:?}");
    }
    assert_eq!(found("host=h", 0o400, "*:*:*:*:x"), (vec![true], vec![]));
}

#[test]
fn localhost_stands_for_the_usual_socket_directories_only() {
    for (host, expected) in [("/var/run/postgresql", true), ("/tmp", true), ("/srv/pg", false)] {
        assert_eq!(found(&format!("host={host}"), 0o600, "localhost:*:*:*:x").0, [expected], "{host}");
    }
    assert_eq!(found("host=/srv/pg", 0o600, "/srv/pg:*:*:*:x").0, [true]);
    assert_eq!(found("hostaddr=10.1.1.1", 0o600, "10.1.1.1:*:*:*:x").0, [true]);
    assert_eq!(found("host=h hostaddr=10.1.1.1", 0o600, "10.1.1.1:*:*:*:x").0, [false]);
}

#[test]
fn another_password_file_can_be_named_and_a_given_password_wins() {
    let env = env().with_file("/p", 0o600, "*:*:*:*:x");
    let has = |c: ConnInfo| c.hosts().all(|h| h.2);
    assert!(has(ConnInfo::from_str_with("passfile=/p", &env).unwrap()));
    assert!(has(ConnInfo::from_str_with("", &env.clone().with_var("PGPASSFILE", "/p")).unwrap()));
    assert!(!has(ConnInfo::from_str_with("", &env).unwrap()));
    assert!(has(ConnInfo::from_str_with("password=y passfile=/none", &env).unwrap()));
}

const SERVICES: &str =
    "# ours\n[one]\nhost=h1\nport=7\nuser=u1\n\n[two]\nhost=h2\ndbname=d2\nsslmode=disable\n";

#[test]
fn a_service_fills_between_text_and_variables() {
    let env = env().with_file("/home/ann/.pg_service.conf", 0o644, SERVICES).with_var("PGUSER", "from_env");
    let url = |text: &str, env: &Env| ConnInfo::from_str_with(text, env).unwrap().display_url();
    assert_eq!(url("service=one", &env), "postgresql://u1@h1:7/u1?sslmode=prefer");
    assert_eq!(url("service=one port=9", &env), "postgresql://u1@h1:9/u1?sslmode=prefer");
    assert_eq!(url("postgres:///?service=two", &env), "postgresql://from_env@h2:5432/d2?sslmode=disable");
    assert_eq!(
        url("", &env.clone().with_var("PGSERVICE", "two")),
        "postgresql://from_env@h2:5432/d2?sslmode=disable"
    );
}

#[test]
fn the_users_service_file_comes_before_the_systems() {
    let system = "[one]\nhost=system\n[three]\nhost=h3\n";
    let env = env().with_file("/home/ann/.pg_service.conf", 0o644, SERVICES);
    let url = |name: &str, env: &Env| {
        ConnInfo::from_str_with(&format!("service={name}"), env)
            .map(|c| c.hosts().next().unwrap().0.to_owned())
    };
    let both = env.clone().with_var("PGSYSCONFDIR", "/sys").with_file("/sys/pg_service.conf", 0o644, system);
    assert_eq!(url("one", &both).unwrap(), "h1");
    assert_eq!(url("three", &both).unwrap(), "h3");
    let other =
        both.with_var("PGSERVICEFILE", "/elsewhere").with_file("/elsewhere", 0o644, "[one]\nhost=named\n");
    assert_eq!(url("one", &other).unwrap(), "named");
    assert_eq!(url("three", &other).unwrap(), "h3");
    assert!(url("two", &other).is_err());
}

#[test]
fn a_broken_service_file_is_refused_with_its_line() {
    for (body, expected) in [
        ("host", "no key=value in /f, line 2"),
        ("host = h", "blank before = in /f, line 2"),
        ("service=x", "cannot name another one, in /f, line 2"),
        ("port=x", "port: must be"),
    ] {
        let env = env().with_var("PGSERVICEFILE", "/f").with_file("/f", 0o644, format!("[s]\n{body}\n"));
        let error = ConnInfo::from_str_with("service=s", &env).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
