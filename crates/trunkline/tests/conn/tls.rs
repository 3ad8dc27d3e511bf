//! The modes of TLS against certificates that are right, foreign, misnamed, expired or pinned.

use super::server::{Server, as_postgres, info, open, run, shared, text, until};
use std::path::Path;
use trunkline::{Error, ErrorKind, connect::Purpose};

/// Authorities `ca` and `foreign`; server certificates of `ca`; self-signed ones as `openssl req -x509` makes them;
/// a client certificate for `cert_user`.
pub(crate) fn make_certificates(dir: &Path) {
    let script = r#"set -e
        key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        for ca in ca foreign; do openssl req -x509 $key -keyout $ca.key -out $ca.crt -days 9 -subj /CN=$ca; done
        sign() { # name, subject, days, extension
            openssl req $key -keyout $1.key -out $1.csr -subj "$2"
            printf '%s\n' "$4" >$1.ext
            openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days $3 -extfile $1.ext -out $1.crt
        }
        sign server /CN=ignored 9 subjectAltName=DNS:localhost
        sign expired /CN=localhost -1 subjectAltName=DNS:localhost
        sign cn_only /CN=localhost 9 basicConstraints=CA:FALSE
        sign client /CN=cert_user 9 basicConstraints=CA:FALSE
        openssl req -x509 $key -keyout pinned.key -out pinned.crt -days 9 -subj /CN=localhost
        openssl req $key -keyout stale.key -out stale.csr -subj /CN=localhost
        echo basicConstraints=CA:TRUE >stale.ext
        openssl x509 -req -in stale.csr -signkey stale.key -days -1 -extfile stale.ext -out stale.crt
        chmod 600 *.key"#;
    run(as_postgres("/bin/sh").args(["-c", script]).current_dir(dir));
}

/// Makes the server show another certificate.
async fn show(server: &Server, name: &str) {
    let dir = server.dir.to_str().unwrap();
    server.sql(&format!("alter system set ssl_cert_file='{dir}/{name}.crt'"));
    server.sql(&format!("alter system set ssl_key_file='{dir}/{name}.key'"));
    server.sql("select pg_reload_conf()");
    let wanted = format!("{dir}/{name}.key");
    until("the new certificate is loaded", || async { server.sql("show ssl_key_file") == wanted }).await;
}

async fn attempt(server: &Server, more: &str) -> Result<String, Error> {
    let more = more.replace("DIR", server.dir.to_str().unwrap());
    let host = if more.contains("host=") { "" } else { "host=localhost" };
    let settings = info(&format!("{host} hostaddr=127.0.0.1 port={} user=postgres {more}", server.port));
    let session = settings.connect(Purpose::Work).await?;
    tokio::spawn(session.driver);
    Ok(text(&session.client, "select version from pg_stat_ssl where pid = pg_backend_pid()").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_judged_as_libpq_does() {
    let server = Server::start();
    let full = "sslmode=verify-full sslrootcert=DIR/";
    let ca = "sslmode=verify-ca sslrootcert=DIR/";
    let bare = "sslmode=require".to_owned();
    let table: Vec<(&str, String, Result<(), &str>)> = vec![
        ("server", format!("{full}ca.crt"), Ok(())),
        ("server", format!("{full}foreign.crt"), Err("UnknownIssuer")),
        ("server", format!("{full}ca.crt host=wrong.example"), Err("not valid for name")),
        ("server", format!("{full}ca.crt host=127.0.0.1"), Err("not valid for name")),
        ("server", format!("{ca}ca.crt host=wrong.example"), Ok(())),
        ("server", format!("{ca}foreign.crt"), Err("UnknownIssuer")),
        ("server", "sslmode=require sslrootcert=DIR/foreign.crt".to_owned(), Err("UnknownIssuer")),
        ("server", bare.clone(), Ok(())),
        ("server", format!("{full}server.crt"), Ok(())),
        ("server", "sslmode=require ssl_min_protocol_version=TLSv1.3".to_owned(), Ok(())),
        ("expired", format!("{full}ca.crt"), Err("Expired")),
        ("expired", bare.clone(), Ok(())),
        ("cn_only", format!("{full}ca.crt"), Ok(())),
        ("cn_only", format!("{full}ca.crt host=wrong.example"), Err("not valid for name")),
        ("pinned", format!("{full}pinned.crt"), Ok(())),
        ("pinned", format!("{full}pinned.crt host=wrong.example"), Err("not valid for name")),
        ("pinned", format!("{ca}ca.crt"), Err("invalid peer certificate")),
        ("stale", format!("{full}stale.crt"), Err("Expired")),
        ("stale", bare, Ok(())),
    ];
    let mut shown = "server";
    for (certificate, settings, expected) in table {
        if certificate != shown {
            show(&server, certificate).await;
            shown = certificate;
        }
        match (attempt(&server, &settings).await, expected) {
            (Ok(version), Ok(())) => {
                assert!(version.starts_with("TLSv1."), "{certificate} {settings}: {version}")
            }
            (Err(e), Err(word)) => {
                assert!(e.to_string().contains(word), "{certificate} {settings}: {e}");
                assert_eq!(e.kind(), ErrorKind::Config, "{e:?}");
            }
            (got, _) => panic!("{certificate} {settings}: {got:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weak_modes_fall_back_in_their_own_direction() {
    let server = shared();
    server.sql("create role plain_only login; create role tls_only login");
    let table = [
        ("user=plain_only sslmode=prefer", Some("")),
        ("user=plain_only sslmode=allow", Some("")),
        ("user=plain_only sslmode=require", None),
        ("user=tls_only sslmode=prefer", Some("TLSv1.3")),
        ("user=tls_only sslmode=allow", Some("TLSv1.3")),
        ("user=tls_only sslmode=disable", None),
        ("user=postgres sslmode=allow", Some("")),
        ("user=postgres sslmode=prefer", Some("TLSv1.3")),
        // A certificate that does not convince: prefer goes on without TLS, as libpq does.
        ("user=postgres sslmode=prefer sslrootcert=DIR/foreign.crt", Some("")),
    ];
    for (settings, expected) in table {
        match (attempt(server, &format!("{settings} dbname=postgres")).await, expected) {
            (Ok(version), Some(wanted)) => assert_eq!(version, wanted, "{settings}"),
            (Err(e), None) => assert_eq!(e.kind(), ErrorKind::Denied, "{settings}: {e}"),
            (got, _) => panic!("{settings}: {got:?}"),
        }
    }
}

/// Only PostgreSQL 17 and later can answer; older ones must give an error and not a hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handshake_can_begin_at_once() {
    let server = shared();
    let version: u32 = server.sql("show server_version_num").parse().unwrap();
    let settings = "dbname=postgres sslmode=verify-full sslrootcert=DIR/ca.crt sslnegotiation=direct";
    match attempt(server, settings).await {
        Ok(tls) => assert_eq!((tls.as_str(), version >= 170_000), ("TLSv1.3", true)),
        Err(e) => assert!(version < 170_000, "{e}"),
    }
    if version >= 170_000 {
        let session =
            server.tcp("sslmode=require sslnegotiation=direct").connect(Purpose::Work).await.unwrap();
        tokio::spawn(session.driver);
        session.canceller.cancel().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_bound_to_the_channel() {
    let server = shared();
    server.sql("create role scram_user login password 'right'");
    let base = "user=scram_user dbname=postgres password=right";
    assert_eq!(
        attempt(server, &format!("{base} sslmode=require channel_binding=require")).await.unwrap(),
        "TLSv1.3"
    );
    assert_eq!(attempt(server, &format!("{base} sslmode=disable")).await.unwrap(), "");
    let unbound =
        attempt(server, &format!("{base} sslmode=disable channel_binding=require")).await.unwrap_err();
    assert!(unbound.to_string().contains("channel binding"), "{unbound}");
    let wrong = attempt(server, "user=scram_user dbname=postgres password=sesame").await.unwrap_err();
    assert_eq!((wrong.kind(), wrong.code()), (ErrorKind::Denied, Some("28P01")));
    assert!(!format!("{wrong} {wrong:?}").contains("sesame"));
    let none = attempt(server, "user=scram_user dbname=postgres").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Denied);
    assert!(none.to_string().contains("no password"), "{none}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_certificates_log_in() {
    let server = shared();
    server.sql("create role cert_user login");
    let base = "user=cert_user dbname=postgres sslmode=require";
    assert!(attempt(server, &format!("{base} sslcert=DIR/client.crt sslkey=DIR/client.key")).await.is_ok());
    let without = attempt(server, base).await.unwrap_err();
    assert_eq!(without.kind(), ErrorKind::Denied, "{without}");
    let missing =
        attempt(server, &format!("{base} sslcert=DIR/none.crt sslkey=DIR/client.key")).await.unwrap_err();
    assert!(missing.to_string().contains("sslcert: cannot read"), "{missing}");
    let open_key = server.dir.join("open.key");
    std::fs::copy(server.dir.join("client.key"), &open_key).unwrap();
    std::fs::set_permissions(&open_key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open =
        attempt(server, &format!("{base} sslcert=DIR/client.crt sslkey=DIR/open.key")).await.unwrap_err();
    assert!(open.to_string().contains("chmod 0600"), "{open}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_needs_no_tls_whatever_the_mode() {
    let server = shared();
    let dir = server.dir.to_str().unwrap();
    for mode in ["require".to_owned(), format!("verify-full sslrootcert={dir}/ca.crt")] {
        let settings = info(&format!("host={dir} port={} user=postgres sslmode={mode}", server.port));
        let (client, _) = open(&settings).await;
        assert_eq!(text(&client, "select inet_client_addr() is null").await, "t");
    }
}
