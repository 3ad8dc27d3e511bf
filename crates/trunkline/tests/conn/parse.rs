//! The written forms, the variables and the defaults; no server needed.

use trunkline::{
    ErrorKind,
    conninfo::{ConnInfo, Env, Prepared, SslMode},
};

fn env() -> Env {
    Env::empty().with_user("ann").with_home("/home/ann")
}

fn parse(text: &str) -> ConnInfo {
    ConnInfo::from_str_with(text, &env()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refusal(text: &str) -> String {
    match ConnInfo::from_str_with(text, &env()) {
        Ok(c) => panic!("{text} was accepted: {c:?}"),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Config, "{text}");
            e.to_string()
        }
    }
}

#[test]
fn a_text_leads_where_psql_would_go() {
    let table = [
        ("", "postgresql://ann@localhost:5432/ann?sslmode=prefer"),
        ("postgres://", "postgresql://ann@localhost:5432/ann?sslmode=prefer"),
        ("postgresql:///db", "postgresql://ann@localhost:5432/db?sslmode=prefer"),
        ("postgres://u@h", "postgresql://u@h:5432/u?sslmode=prefer"),
        ("postgres://u:p@h:6000/d", "postgresql://u@h:6000/d?sslmode=prefer"),
        ("postgres://a,b:1,[::1]:2/d", "postgresql://ann@a:5432,b:1,[::1]:2/d?sslmode=prefer"),
        ("postgres://a,b/d?port=7", "postgresql://ann@a:7,b:7/d?sslmode=prefer"),
        ("postgres://%2Frun%2Fpg:5/d", "postgresql://ann@%2Frun%2Fpg:5/d?sslmode=prefer"),
        ("postgres:///d?host=/run/pg", "postgresql://ann@%2Frun%2Fpg:5432/d?sslmode=prefer"),
        ("postgres://u%40x:p%3a@h/d%20e?ssl=true", "postgresql://u%40x@h:5432/d%20e?sslmode=require"),
        ("postgres://u:p?#&@h/d", "postgresql://u@h:5432/d?sslmode=prefer"),
        ("postgres://h?user=b&dbname=c", "postgresql://b@h:5432/c?sslmode=prefer"),
        ("host=h port=1 user=u dbname=d", "postgresql://u@h:1/d?sslmode=prefer"),
        ("  host = 'h' user='o\\'neil' dbname=a\\ b ", "postgresql://o%27neil@h:5432/a%20b?sslmode=prefer"),
        ("host=a host=b user=''", "postgresql://ann@b:5432/ann?sslmode=prefer"),
        ("host=a,b port=1,2 sslmode=disable", "postgresql://ann@a:1,b:2/ann?sslmode=disable"),
        ("hostaddr=10.0.0.1", "postgresql://ann@10.0.0.1:5432/ann?sslmode=prefer"),
        ("sslrootcert=system host=h", "postgresql://ann@h:5432/ann?sslmode=verify-full&sslrootcert=system"),
    ];
    for (text, url) in table {
        assert_eq!(parse(text).display_url(), url, "{text}");
        assert_eq!(parse(url).display_url(), url, "again {text}");
    }
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let table = [
        ("postgres://h:99999/d", "port:"),
        ("postgres://h:0", "port:"),
        ("postgres://h:x", "port:"),
        ("postgres://[::1", "host:"),
        ("postgres://[::1]5", "host:"),
        ("postgres://h%2", "host:"),
        ("postgres://h/%zz", "dbname:"),
        ("postgres://u:%00@h", "password:"),
        ("postgres://u:%ff@h", "password:"),
        ("postgres://h?sslmode", "URL:"),
        ("postgres://h?sslmode=a=b", "URL:"),
        ("mysql://h/d", "connection text:"),
        ("justaword", "connection text:"),
        ("host='h", "connection text:"),
        ("=x", "connection text:"),
        ("host=h\0", "connection text:"),
        ("port=1,2 host=a", "port:"),
        ("host=a,b hostaddr=1.1.1.1", "hostaddr:"),
        ("hostaddr=example.org", "hostaddr:"),
        ("host=@abstract", "host:"),
        ("sslmode=on", "sslmode:"),
        ("sslmode=verify-full", "sslrootcert:"),
        ("sslmode=require sslrootcert=system", "sslmode:"),
        ("sslmode=verify-full sslrootcert=/ca hostaddr=1.1.1.1", "sslmode:"),
        ("sslnegotiation=direct", "sslnegotiation:"),
        ("sslcert=/x", "sslkey:"),
        ("channel_binding=maybe", "channel_binding:"),
        ("target_session_attrs=leader", "target_session_attrs:"),
        ("connect_timeout=soon", "connect_timeout:"),
        ("keepalives=2", "keepalives:"),
        ("keepalives_idle=-1", "keepalives_idle:"),
        ("tcp_user_timeout=99999999999", "tcp_user_timeout:"),
        ("load_balance_hosts=yes", "load_balance_hosts:"),
        ("prepared=sometimes", "prepared:"),
        ("gssencmode=require", "gssencmode:"),
        ("requirepeer=postgres", "requirepeer:"),
        ("require_auth=scram-sha-256", "require_auth:"),
        ("sslcrl=/crl", "sslcrl:"),
        ("service=none", "service:"),
    ];
    for (text, start) in table {
        let message = refusal(text);
        assert!(message.starts_with(start), "{text:?}: {message}");
    }
    let nobody = ConnInfo::from_str_with("", &Env::empty()).unwrap_err();
    assert!(nobody.to_string().starts_with("user:"), "{nobody}");
}

#[test]
fn an_unknown_setting_is_a_warning_that_names_the_nearest() {
    let near = parse("postgres://h?sslmod=require&conect_timeout=3&wholly_else=1&aplication_name=x");
    assert_eq!(
        near.warnings(),
        [
            "unknown setting sslmod was ignored; did you mean sslmode?",
            "unknown setting conect_timeout was ignored; did you mean connect_timeout?",
            "unknown setting wholly_else was ignored",
            "unknown setting aplication_name was ignored; did you mean application_name?",
        ]
    );
    assert!(parse("host=h krbsrvname=x sslsni=1 client_encoding=UTF8").warnings().is_empty());
    assert_eq!(parse("client_encoding=latin1").warnings().len(), 1);
}

#[test]
fn no_password_is_ever_shown() {
    let secret = "hunter2";
    for text in [
        "postgres://u:hunter2@h/d",
        "postgres://u:hunter2@h:99999/d",
        "postgres://u:hunter2@h/%zz",
        "postgres://u:hunter2%@h/d",
        "postgres://u:hunter2/x@h/d",
        "postgres://u:1/hunter2@h/d",
        "postgres://u:x@hunter2@h/d",
        "postgres://u:#hunter2@h/d",
        "postgres://u:?hunter2@h/d",
        "postgres://h/d?password=hunter2&port=0",
        "postgres://h/d?password=hunter2=x",
        "postgresql:u:hunter2@h/d",
        "http://u:hunter2@h/d",
        "host=h password=hunter2 port=x",
        "host=h password='hunter2",
        "host=h password=a hunter2",
        "host=h password=a hunter2! = 5",
        "password=hunter2 sslmode=hunter2",
    ] {
        let seen = match ConnInfo::from_str_with(text, &env()) {
            Ok(c) => format!("{c:?} {} {:?}", c.display_url(), c.warnings()),
            Err(e) => format!("{e} {e:?}"),
        };
        assert!(!seen.contains(secret), "{text}: {seen}");
    }
    let env = env().with_var("PGPASSWORD", secret).with_file("/home/ann/.pgpass", 0o600, "*:*:*:*:hunter2");
    let c = ConnInfo::from_str_with("", &env).unwrap();
    assert!(c.hosts().all(|h| h.2));
    assert!(!format!("{env:?} {c:?}").contains(secret));
}

#[test]
fn variables_fill_what_the_text_leaves_open() {
    let env = env()
        .with_var("PGHOST", "a,b")
        .with_var("PGPORT", "1,2")
        .with_var("PGUSER", "bob")
        .with_var("PGDATABASE", "")
        .with_var("PGSSLMODE", "disable")
        .with_var("PGAPPNAME", "named");
    let c = ConnInfo::from_str_with("", &env).unwrap();
    assert_eq!(c.display_url(), "postgresql://bob@a:1,b:2/bob?sslmode=disable");
    assert_eq!(c.clone().with_program("cli").application_name(), "named");
    let c = ConnInfo::from_str_with("postgres://h:3/d?sslmode=require", &env).unwrap();
    assert_eq!(c.display_url(), "postgresql://bob@h:3/d?sslmode=require");
    let bad = ConnInfo::from_str_with("", &env.with_var("PGSSLMODE", "nonsense")).unwrap_err();
    assert!(bad.to_string().starts_with("sslmode:"), "{bad}");
}

#[test]
fn a_variable_that_is_no_text_is_refused_by_name_unless_the_text_says_it() {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = || std::ffi::OsString::from_vec(b"S3cret-\xff".to_vec());
    for (name, setting) in [
        ("PGHOST", "host=h"),
        ("PGPORT", "port=1"),
        ("PGDATABASE", "dbname=d"),
        ("PGUSER", "user=u"),
        ("PGPASSWORD", "password=p"),
        ("PGOPTIONS", "options='-c a=b'"),
        ("PGSSLMODE", "sslmode=disable"),
        ("PGSERVICE", ""),
    ] {
        let env = env().with_var(name, bytes());
        let bad = ConnInfo::from_str_with("connect_timeout=3", &env).unwrap_err();
        assert_eq!(bad.kind(), trunkline::ErrorKind::Config, "{name}");
        assert_eq!(bad.to_string(), format!("{name}: its value is not UTF-8"));
        assert!(setting.is_empty() || ConnInfo::from_str_with(setting, &env).is_ok(), "{name}");
    }
}

#[test]
fn the_default_host_is_the_first_directory_with_a_socket() {
    let host = |env: &Env, text: &str| {
        let c = ConnInfo::from_str_with(text, env).unwrap();
        c.hosts().map(|h| h.0.to_owned()).collect::<Vec<_>>()
    };
    let tmp = env().with_file("/tmp/.s.PGSQL.5432", 0o777, "");
    assert_eq!(host(&tmp, ""), ["/tmp"]);
    assert_eq!(host(&tmp, "port=5433"), ["localhost"]);
    assert_eq!(
        host(&tmp.clone().with_file("/var/run/postgresql/.s.PGSQL.5432", 0o777, ""), ""),
        ["/var/run/postgresql"]
    );
    assert_eq!(host(&tmp, "host=a,,b"), ["a", "/tmp", "b"]);
}

#[test]
fn names_and_modes_can_be_chosen() {
    assert_eq!(parse("").application_name(), "trunkline");
    assert_eq!(parse("").with_program("shop").application_name(), "trunkline/shop");
    assert_eq!(parse("fallback_application_name=f").application_name(), "f");
    assert_eq!(
        parse("application_name=x fallback_application_name=f").with_program("p").application_name(),
        "x"
    );
    assert_eq!(parse("postgres://h?prepared=never").prepared(), Prepared::Never);
    assert_eq!(parse("").prepared(), Prepared::Auto);
    let home = env().with_file("/home/ann/.postgresql/root.crt", 0o644, "");
    let c = ConnInfo::from_str_with("sslmode=verify-ca host=h", &home).unwrap();
    assert_eq!(c.sslmode(), SslMode::VerifyCa);
}

#[test]
fn any_bytes_are_parsed_or_refused_without_a_panic() {
    let alphabet: Vec<char> = "postgres://=&?@:/[],%'\\ 0a9\u{e9}\u{0}#".chars().collect();
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..50_000 {
        let mut text = if state.is_multiple_of(3) { "postgres://".to_owned() } else { String::new() };
        for _ in 0..state % 17 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let n = usize::try_from(state % 1000).unwrap();
            text.push(alphabet[n % alphabet.len()]);
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if let Ok(c) = ConnInfo::from_str_with(&text, &env()) {
            let url = c.display_url();
            assert_eq!(parse(&url).display_url(), url, "{text:?}");
        }
    }
}
