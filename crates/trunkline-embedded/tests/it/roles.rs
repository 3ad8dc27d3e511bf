//! Other processes for the tests: this test binary again, playing the role named in its environment.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use trunkline_embedded::{Fetch, Server, Settings};

const DATA: &str = "TRUNKLINE_TEST_ROLE_DATA";
const REPORT: &str = "TRUNKLINE_TEST_ROLE_REPORT";

/// Starts a server in another process, in a process group of its own. The process waits for the end of its input
/// before (`gate`) or after.
pub(crate) fn starter(data: &Path, report: &Path, gate: bool) -> Child {
    // A shell starts what it puts into the background with SIGINT ignored, and children inherit that.
    let mut command = Command::new("env");
    if cfg!(target_os = "linux") {
        command.arg("--default-signal=INT");
    }
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "roles::a_process_that_starts_a_server", "--nocapture"])
        .env(DATA, data)
        .env(REPORT, report)
        .env("TRUNKLINE_TEST_ROLE_GATE", if gate { "before" } else { "after" })
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// What a starter reported: `(pid, adopted)`.
pub(crate) fn report(path: &Path) -> Option<(i32, bool)> {
    let text = fs::read_to_string(path).ok()?;
    let (pid, adopted) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((pid.parse().unwrap(), adopted.parse().unwrap()))
}

/// Does nothing unless this process was started by `starter`.
#[test]
fn a_process_that_starts_a_server() {
    let (Some(data), Some(report)) = (std::env::var_os(DATA), std::env::var_os(REPORT)) else {
        return;
    };
    let gate = std::env::var("TRUNKLINE_TEST_ROLE_GATE").unwrap() == "before";
    let wait_for_end_of_input = || std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    if gate {
        wait_for_end_of_input();
    }
    let settings = Settings::default().data_dir(data).fetch(Fetch::Forbidden);
    let server = Server::start(&settings, &mut |_| {}).unwrap();
    fs::write(report, format!("{} {}\n", server.pid(), server.adopted())).unwrap();
    if !gate {
        wait_for_end_of_input();
    }
}
