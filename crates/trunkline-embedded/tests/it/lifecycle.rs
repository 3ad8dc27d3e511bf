//! Start, stop, start again; the data and the settings.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use postgres::NoTls;
use trunkline_embedded::{Error, Mode, Server, Status};

use crate::world::{Place, ask, connect, fails, gone, installed, start};

#[test]
fn a_cold_start_takes_less_than_two_seconds_and_a_warm_one_far_less() {
    let place = Place::new();
    let began = Instant::now();
    let server = start(&place.settings());
    let cold = began.elapsed();
    server.stop(Mode::Fast).unwrap();
    let began = Instant::now();
    let server = start(&place.settings());
    let warm = began.elapsed();
    assert_eq!(ask(&server, "select 'up'"), "up");
    eprintln!("cold start {cold:?}, warm start {warm:?}");
    // A loaded machine gets more than is promised for an idle one.
    assert!(cold < Duration::from_secs(10) && warm < Duration::from_secs(5), "cold {cold:?}, warm {warm:?}");
}

#[test]
fn data_outlive_a_restart_and_each_way_to_stop() {
    let place = Place::new();
    for (number, mode) in [Mode::Smart, Mode::Fast, Mode::Immediate].into_iter().enumerate() {
        let server = start(&place.settings());
        assert!(!server.adopted());
        let mut client = connect(&server);
        client.batch_execute("create table if not exists t (); insert into t default values").unwrap();
        let rows: i64 = client.query_one("select count(*) from t", &[]).unwrap().get(0);
        assert_eq!(rows, i64::try_from(number).unwrap() + 1);
        drop(client);
        server.stop(mode).unwrap();
        assert!(gone(server.pid()), "{mode:?}");
        assert_eq!(Server::status(&place.settings()).unwrap(), Status::Stopped);
        server.stop(mode).expect("to stop one that is gone is no error");
    }
}

#[test]
fn the_status_says_how_things_stand() {
    let place = Place::new();
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Absent);
    assert!(Server::attach(&place.settings()).unwrap().is_none());
    assert!(!place.data().exists(), "looking leaves nothing behind");
    let server = start(&place.settings());
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Running { pid: server.pid() });
    let attached = Server::attach(&place.settings()).unwrap().unwrap();
    assert_eq!((attached.pid(), attached.url()), (server.pid(), server.url()));
    assert!(attached.adopted());
}

#[test]
fn every_commit_is_written_to_disk() {
    let place = Place::new();
    let server = start(&place.settings());
    for name in ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"] {
        assert_eq!(ask(&server, &format!("select current_setting('{name}')")), "on", "{name}");
    }
}

#[test]
fn text_is_utf8_and_sorts_by_its_bytes() {
    let place = Place::new();
    let server = start(&place.settings());
    assert_eq!(ask(&server, "select current_setting('server_encoding')"), "UTF8");
    assert_eq!(
        ask(&server, "select string_agg(x, '' order by x) from unnest('{a,B,é,z}'::text[]) x"),
        "Bazé"
    );
    assert_eq!(ask(&server, "select current_setting('max_connections')"), "200");
}

#[test]
fn dropping_the_handle_leaves_the_server_unless_told_otherwise() {
    let place = Place::new();
    let pid = start(&place.settings()).pid();
    let server = Server::attach(&place.settings()).unwrap().expect("it goes on");
    assert_eq!(server.pid(), pid);
    drop(server.stop_on_drop());
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Stopped);
    assert!(gone(pid));
}

#[test]
fn a_smart_stop_waits_for_sessions_and_gives_up_in_time() {
    let place = Place::new();
    start(&place.settings());
    let server = Server::attach(&place.settings().timeout(Duration::from_millis(200))).unwrap().unwrap();
    let client = connect(&server);
    let error = server.stop(Mode::Smart).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Stopping { pid: server.pid() });
    assert!(!gone(server.pid()), "giving up kills nothing");
    drop(client);
    let again = start(&place.settings());
    assert_ne!(again.pid(), server.pid(), "a start waits for the old one to end");
    assert!(!again.adopted());
}

#[test]
fn destroy_leaves_nothing() {
    let place = Place::with_data(&"long/".repeat(50));
    let server = start(&place.settings());
    let (socket_dir, pid) = (server.host().to_owned(), server.pid());
    assert!(socket_dir.exists() && place.data().exists());
    server.destroy().unwrap();
    assert!(!socket_dir.exists() && !place.data().exists() && gone(pid));
}

#[test]
fn further_settings_hold_and_dangerous_ones_are_refused() {
    let place = Place::new();
    for name in ["hba_file", "listen_addresses", "Port", "unix_socket_directories", "a b", ""] {
        let error = fails(&place.settings().setting(name, "x"));
        assert!(matches!(&error, Error::Setting { name: named, .. } if named == name), "{error}");
    }
    let server = start(&place.settings().setting("work_mem", "7MB").setting("fsync", "off"));
    assert_eq!(ask(&server, "select current_setting('work_mem')"), "7MB");
    assert_eq!(ask(&server, "select current_setting('fsync')"), "off");
}

#[test]
fn a_start_that_fails_shows_the_end_of_the_log() {
    let place = Place::new();
    start(&place.settings()).stop(Mode::Fast).unwrap();
    let error = fails(&place.settings().setting("shared_buffers", "nonsense"));
    let Error::Start { tail, log, .. } = &error else { panic!("{error}") };
    assert!(
        tail.contains("shared_buffers") && !tail.contains("shut down"),
        "only what this start wrote: {tail}"
    );
    assert!(log.starts_with(place.data()) && log.is_file());
    assert!(error.to_string().contains("nonsense"), "{error}");
    start(&place.settings());
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::write(place.data().join("letter.txt"), "dear").unwrap();
    let error = fails(&place.settings());
    assert!(matches!(error, Error::NotOurs { .. }), "{error}");
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1);
}

#[test]
fn odd_and_long_paths_work_and_psql_takes_the_url() {
    let long = "a-directory-with-a-long-name/".repeat(9);
    for data in ["with space", "comma,quote\"'%and=é", long.trim_end_matches('/')] {
        let place = Place::with_data(data);
        assert!(!data.starts_with("a-dir") || place.data().as_os_str().len() > 200);
        let server = start(&place.settings());
        assert!(server.host().as_os_str().len() < 90, "{}", server.host().display());
        for url in [server.url(), server.url_for("template1")] {
            let output = Command::new(installed().join("psql"))
                .args(["-XAtc", "select 'here'", &url])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "here\n", "{url} {output:?}");
            postgres::Client::connect(&url, NoTls).unwrap();
        }
    }
}
