//! `trunkline top` at a terminal: keys lead into a queue and act, and what was done is noted.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use crate::{database, sql, until};

#[test]
fn keys_choose_look_into_and_act() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('alpha', 'x'), trunkline.job_push('mail', 'x', run_at => now() + interval '1 day')",
    );
    sql(&url, "select trunkline.stream_open('orders'), trunkline.stream_register('orders', 'billing')");
    let program = format!("{} top --sort name --every 100ms", env!("CARGO_BIN_EXE_trunkline"));
    // `script` is a terminal, as far as the program can tell.
    let mut terminal = Command::new("script")
        .args(["-qefc", &program, "/dev/null"])
        .env("DATABASE_URL", &url)
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let (mut out, told) = (terminal.stdout.take().unwrap(), seen.clone());
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = out.read(&mut bytes) {
            told.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    });
    let shows = |text: &str| {
        until(text, || {
            let all = seen.lock().unwrap();
            // The newest screen alone: each begins at home.
            let screens: Vec<&str> = all.split("\x1b[H").collect();
            screens.iter().rev().take(2).any(|s| s.contains(text))
        });
    };
    let mut stdin = terminal.stdin.take().unwrap();
    let mut press = |keys: &str| {
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    };
    shows(">  alpha");
    press("\x1b[B");
    shows(">  mail");
    press("p");
    shows("mail (paused)");
    press("\r");
    shows("the queue mail, its newest jobs");
    press("d");
    shows("it is scheduled");
    press("c");
    shows("y/n");
    press("n");
    shows("q back");
    press("c");
    shows("y/n");
    press("y");
    shows("job cancel done");
    shows("cancelled");
    press("q");
    shows("q end");
    press("\t");
    shows(">  orders/billing");
    press("\r");
    shows("the consumer billing of the stream orders, its dead letters");
    press("q");
    press("/alp");
    shows("only what has in its name: alp_");
    press("\r");
    until("the others to be gone", || {
        let all = seen.lock().unwrap();
        all.rsplit("\x1b[H")
            .nth(1)
            .is_some_and(|s| s.contains("alpha") && !s.contains("mail") && s.contains("q end"))
    });
    press("q");
    until("it to end", || terminal.try_wait().unwrap().is_some());
    assert!(terminal.wait().unwrap().success());
    let noted =
        "select string_agg(name, ' ' order by id) from trunkline.action where who like '% by trunkline top'";
    assert_eq!(sql(&url, noted).as_deref(), Some("job_pause job_cancel"));
}
