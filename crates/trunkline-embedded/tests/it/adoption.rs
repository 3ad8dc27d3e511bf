//! What happens when processes die, and when several start at once.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use trunkline_embedded::{Error, Mode, Server, Status};

use crate::roles::{report, starter};
use crate::world::{Place, ask, fails, gone, installed, is_root, kill_hard, start, wait};

#[test]
fn a_server_outlives_a_killed_starter_and_is_adopted() {
    let place = Place::new();
    let file = place.path().join("report");
    let mut child = starter(place.data(), &file, false);
    wait(|| report(&file).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let (pid, adopted) = report(&file).unwrap();
    assert!(!adopted);
    let server = start(&place.settings());
    assert!(server.adopted());
    assert_eq!(server.pid(), pid);
    assert_eq!(ask(&server, "select 'still here'"), "still here");
    server.stop(Mode::Fast).unwrap();
    assert!(gone(pid), "an adopted server can be stopped");
}

#[test]
fn ctrl_c_in_the_starters_terminal_does_not_reach_the_server() {
    let place = Place::new();
    let file = place.path().join("report");
    let mut child = starter(place.data(), &file, false);
    wait(|| report(&file).is_some());
    let (pid, _) = report(&file).unwrap();
    killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Running { pid });
    let output = Command::new("ps").args(["-o", "pgid=", "-p", &pid.to_string()]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        pid.to_string(),
        "it leads a group of its own"
    );
    assert_eq!(ask(&start(&place.settings()), "select 'up'"), "up");
}

#[test]
fn of_several_that_start_at_once_one_starts_and_the_others_adopt() {
    let place = Place::new();
    for round in 0..2 {
        let files: Vec<_> = (0..5).map(|n| place.path().join(format!("report-{round}-{n}"))).collect();
        let mut children: Vec<_> = files.iter().map(|file| starter(place.data(), file, true)).collect();
        for child in &mut children {
            drop(child.stdin.take());
        }
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        let reports: Vec<_> = files.iter().map(|file| report(file).unwrap()).collect();
        assert_eq!(reports.iter().filter(|(_, adopted)| !adopted).count(), 1, "{reports:?}");
        assert!(reports.iter().all(|(pid, _)| *pid == reports[0].0), "{reports:?}");
        start(&place.settings()).stop(Mode::Fast).unwrap();
    }
}

#[test]
fn a_starter_killed_during_initdb_leaves_nothing_half_made() {
    let place = Place::new();
    let half_made = || {
        let entries = fs::read_dir(place.data())
            .map(|entries| entries.flatten().collect::<Vec<_>>())
            .unwrap_or_default();
        entries.iter().any(|entry| entry.file_name().to_string_lossy().starts_with("db.new-"))
    };
    let mut child = starter(place.data(), &place.path().join("report"), false);
    wait(half_made);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(half_made());
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Absent);
    let server = start(&place.settings());
    assert_eq!(ask(&server, "select 'up'"), "up");
    assert!(!half_made());
}

#[test]
fn a_starter_killed_before_the_server_is_ready_leaves_one_to_adopt() {
    let place = Place::new();
    start(&place.settings()).stop(Mode::Fast).unwrap();
    let mut child = starter(place.data(), &place.path().join("report"), false);
    wait(|| place.data().join("db/postmaster.pid").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let server = start(&place.settings());
    assert!(server.adopted());
    assert_eq!(ask(&server, "select 'up'"), "up");
}

#[test]
fn the_pid_file_of_a_killed_server_does_not_count() {
    let place = Place::new();
    let server = start(&place.settings());
    let pid = server.pid();
    kill_hard(pid);
    wait(|| gone(pid));
    assert!(place.data().join("db/postmaster.pid").exists());
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Stopped);
    assert!(Server::attach(&place.settings()).unwrap().is_none());
    let again = start(&place.settings());
    assert!(!again.adopted());
    assert_eq!(ask(&again, "select 'recovered'"), "recovered");
}

/// Leaves a data directory as a crash would, its files naming another process of the server's user.
fn crashed_and_pid_taken(place: &Place, mut program: Command) -> (Server, Child) {
    let server = start(&place.settings());
    kill_hard(server.pid());
    wait(|| gone(server.pid()));
    // As the user of the server: only then does postgres itself mistake it for a server.
    let owner = fs::metadata(place.data().join("db")).unwrap();
    if is_root() {
        program.uid(owner.uid()).gid(owner.gid());
    }
    let other = program.stdin(Stdio::piped()).spawn().unwrap();
    for file in [place.data().join("db/postmaster.pid"), server.host().join(".s.PGSQL.5432.lock")] {
        let text = fs::read_to_string(&file).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        fs::write(&file, format!("{}\n{rest}", other.id())).unwrap();
    }
    (server, other)
}

#[test]
fn a_pid_that_now_belongs_to_another_process_does_not_count_and_is_left_alone() {
    let place = Place::new();
    let (server, mut other) = crashed_and_pid_taken(&place, Command::new("cat"));
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Stopped);
    server.stop(Mode::Immediate).unwrap();
    let again = start(&place.settings());
    assert!(!again.adopted());
    assert_eq!(ask(&again, "select 'up'"), "up");
    assert!(other.try_wait().unwrap().is_none(), "it got no signal");
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn a_dead_server_that_nobody_collected_does_not_count() {
    let place = Place::new();
    let (_, mut other) = crashed_and_pid_taken(&place, Command::new("true"));
    wait(|| gone(i32::try_from(other.id()).unwrap()));
    assert_eq!(Server::status(&place.settings()).unwrap(), Status::Stopped);
    let again = start(&place.settings());
    assert!(!again.adopted());
    assert_eq!(ask(&again, "select 'up'"), "up");
    other.wait().unwrap();
}

#[test]
fn a_server_of_other_settings_is_not_taken_for_the_one_asked_for() {
    let place = Place::new();
    start(&place.settings());
    let error = fails(&place.settings().tcp(54_321));
    assert!(matches!(error, Error::Differs { .. }), "{error}");
    assert!(error.to_string().contains("54321") && error.to_string().contains("stop it first"), "{error}");
}

/// As two containers on one volume see each other: the socket answers, but not from the pid in the file.
#[test]
fn a_server_of_another_container_is_neither_adopted_nor_joined_by_a_second() {
    let place = Place::new();
    let server = start(&place.settings());
    let file = place.data().join("db/postmaster.pid");
    let text = fs::read_to_string(&file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    // What the pid of another container is here: somebody else's, or nobody's.
    for program in ["cat", "true"] {
        let mut other = Command::new(program).stdin(Stdio::piped()).spawn().unwrap();
        if program == "true" {
            other.wait().unwrap();
        }
        fs::write(&file, format!("{}\n{rest}", other.id())).unwrap();
        let error = fails(&place.settings());
        let looked = Server::status(&place.settings()).unwrap_err();
        fs::write(&file, &text).unwrap();
        other.wait().unwrap();
        assert!(matches!(error, Error::Occupied { .. }), "{program}: {error}");
        assert!(matches!(looked, Error::Occupied { .. }), "{program}: {looked}");
        assert_eq!(Server::status(&place.settings()).unwrap(), Status::Running { pid: server.pid() });
    }
}

#[test]
fn a_single_user_postgres_is_not_disturbed() {
    let place = Place::new();
    start(&place.settings()).stop(Mode::Fast).unwrap();
    let owner = fs::metadata(place.data().join("db")).unwrap();
    let mut command = Command::new(installed().join("postgres"));
    command.args(["--single", "-D"]).arg(place.data().join("db")).arg("postgres").current_dir("/");
    if is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut single =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let negative = format!("-{}\n", single.id());
    let file = place.data().join("db/postmaster.pid");
    wait(|| fs::read_to_string(&file).is_ok_and(|text| text.starts_with(&negative)));
    let error = fails(&place.settings());
    assert!(matches!(error, Error::Occupied { .. }), "{error}");
    assert!(error.to_string().contains("--single"), "{error}");
    drop(single.stdin.take());
    assert!(single.wait().unwrap().success(), "it was not disturbed");
    assert_eq!(ask(&start(&place.settings()), "select 'up'"), "up");
}

#[test]
fn a_starter_that_hangs_is_not_waited_for_without_end() {
    let place = Place::new();
    start(&place.settings()).stop(Mode::Fast).unwrap();
    let lock = fs::File::open(place.data().join("trunkline.lock")).unwrap();
    lock.lock().unwrap();
    let error = fails(&place.settings().timeout(Duration::from_millis(100)));
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("trunkline.lock"), "{error}");
    drop(lock);
    start(&place.settings());
}
