//! As root the server runs as another user; as another user it runs as that one.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use nix::unistd::geteuid;
use trunkline_embedded::{Environment, Error, Server};

use crate::world::{Place, fails, is_root, script, start};

fn uid_of(pid: i32) -> u32 {
    let output = Command::new("ps").args(["-o", "uid=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn the_server_never_runs_as_root() {
    let place = Place::new();
    let server = start(&place.settings());
    let uid = uid_of(server.pid());
    assert_ne!(uid, 0);
    assert!(is_root() || uid == geteuid().as_raw());
    let data = fs::metadata(place.data().join("db")).unwrap();
    assert_eq!((data.uid(), data.permissions().mode() & 0o777), (uid, 0o700));
    assert_eq!(fs::metadata(server.host()).unwrap().uid(), uid);
    assert_eq!(fs::metadata(place.data()).unwrap().uid(), geteuid().as_raw(), "the rest stays the caller's");
    #[cfg(target_os = "linux")]
    if is_root() {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        assert_eq!(groups.trim(), "", "no groups of root's");
    }
}

#[test]
fn what_is_in_our_environment_stays_with_us() {
    let place = Place::new();
    let bin = place.path().join("bin");
    script(&bin.join("postgres"), "echo 'postgres (PostgreSQL) 17.1'");
    script(&bin.join("initdb"), "env >&2; exit 1");
    assert!(std::env::vars_os().count() > 5, "there is something to keep");
    let environment =
        Environment::current().var("DATABASE_URL", "postgresql://u:secret@h/d").var("PGPORT", "1");
    let Error::Initdb { output, .. } = fails(&place.settings().environment(environment).bin_dir(&bin)) else {
        panic!("initdb fails here");
    };
    // The shell that runs the script adds the second line.
    let expected =
        ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"];
    for line in output.lines() {
        let name = line.split('=').next().unwrap();
        assert!(expected.contains(&name), "{name} got through: {output}");
    }
    assert!(output.contains("LC_ALL=C"), "{output}");
}

#[test]
fn a_user_that_cannot_be_is_said() {
    let place = Place::new();
    let error = fails(&place.settings().run_as("no-such-user"));
    if is_root() {
        assert!(matches!(error, Error::NoUser { .. }), "{error}");
        assert!(error.to_string().contains("useradd --system") || cfg!(target_os = "macos"), "{error}");
        let nobody = start(&place.settings().run_as("nobody"));
        let uid = uid_of(nobody.pid());
        assert_ne!(uid, 0);
        nobody.stop(trunkline_embedded::Mode::Fast).unwrap();
        let again = start(&place.settings());
        assert_eq!(uid_of(again.pid()), uid, "the owner of existing data stays");
    } else {
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}

#[test]
fn a_directory_closed_to_the_servers_user_is_named() {
    let place = Place::with_data("closed/data");
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    if !is_root() {
        start(&place.settings());
        return;
    }
    match fails(&place.settings()) {
        Error::Unreachable { blocked, .. } => assert_eq!(blocked, closed),
        error => panic!("{error}"),
    }
    assert!(Server::attach(&place.settings()).unwrap().is_none());
}

#[test]
fn an_empty_private_directory_of_the_callers_will_do() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();
    start(&place.settings());
}
