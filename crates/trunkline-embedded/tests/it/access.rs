//! Who can connect: the owner over the socket, and over TCP whoever has the password.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};

use postgres::error::SqlState;
use postgres::{Client, NoTls};
use trunkline_embedded::{Error, Mode};

use crate::world::{Place, ask, fails, start};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn without_being_asked_it_listens_on_no_tcp_port() {
    let place = Place::new();
    let server = start(&place.settings());
    assert_eq!(ask(&server, "select current_setting('listen_addresses')"), "");
    let pid_file = fs::read_to_string(place.data().join("db/postmaster.pid")).unwrap();
    assert_eq!(pid_file.lines().nth(5).unwrap(), "", "{pid_file}");
    assert!(server.tcp_url("postgres").is_none() && server.password().is_none());
}

#[test]
fn the_socket_is_for_the_owner_alone() {
    let place = Place::new();
    let server = start(&place.settings());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(server.host().to_owned()), 0o700);
    assert_eq!(mode(server.host().join(".s.PGSQL.5432")), 0o700);
    assert_eq!(mode(place.data().join("db")), 0o700);
    assert_eq!(mode(server.log().to_owned()), 0o600);
}

#[test]
fn tcp_takes_the_password_and_never_trusts() {
    let place = Place::new();
    start(&place.settings()).stop(Mode::Fast).unwrap();
    let port = free_port();
    let server = start(&place.settings().tcp(port));
    let mut client = Client::connect(&server.tcp_url("postgres").unwrap(), NoTls).unwrap();
    let over: String = client.query_one("select host(inet_server_addr())", &[]).unwrap().get(0);
    assert_eq!(over, "127.0.0.1");
    assert_eq!(ask(&server, "select current_setting('listen_addresses')"), "127.0.0.1");

    let error =
        Client::connect(&format!("postgresql://postgres@127.0.0.1:{port}/postgres"), NoTls).err().unwrap();
    assert!(format!("{error:?}").contains("password missing"), "the server asks for one: {error:?}");
    let wrong = format!("postgresql://postgres:wrong@127.0.0.1:{port}/postgres");
    let error = Client::connect(&wrong, NoTls).err().unwrap();
    assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD));

    let rules = "select coalesce(string_agg(distinct auth_method, ','), '') from pg_hba_file_rules where type <> 'local'";
    assert_eq!(ask(&server, rules), "scram-sha-256");
    let stored = ask(&server, "select rolpassword from pg_authid where rolname = 'postgres'");
    assert!(stored.starts_with("SCRAM-SHA-256$"));

    let file = place.data().join("password");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&file).unwrap(), server.password().unwrap());
    assert_eq!(server.password().unwrap().len(), 64);
}

#[test]
fn a_taken_port_is_said() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = fails(&place.settings().tcp(taken.local_addr().unwrap().port()));
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(error.to_string().contains("could not bind IPv4 address"), "{error}");
    assert!(matches!(fails(&place.settings().tcp(0)), Error::Setting { .. }));
}

#[test]
fn a_socket_directory_that_others_made_is_refused() {
    let place = Place::with_data(&"long/".repeat(40));
    let server = start(&place.settings());
    let dir = server.host().to_owned();
    assert!(!dir.starts_with(place.data()));
    server.destroy().unwrap();

    let lure = place.path().join("lure");
    fs::DirBuilder::new().mode(0o700).create(&lure).unwrap();
    symlink(&lure, &dir).unwrap();
    let linked = fails(&place.settings());
    fs::remove_file(&dir).unwrap();

    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let open = fails(&place.settings());
    fs::remove_dir(&dir).unwrap();

    for error in [linked, open] {
        assert!(matches!(error, Error::UnsafeSocketDir { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(&lure).unwrap().count(), 0);
}
