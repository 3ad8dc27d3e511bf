//! `trunkline top` at a terminal: keys lead into rows and act, and what was done is noted.

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
};

use crate::{Running, database, ok, sql, trunkline, until};

/// `top`, at what is a terminal as far as it can tell: `script` is one.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(url: &str) -> Self {
        let program = format!("{} top --sort name --every 100ms", env!("CARGO_BIN_EXE_trunkline"));
        let mut child = Command::new("script")
            .args(["-qefc", &program, "/dev/null"])
            .env("DATABASE_URL", url)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut out, told) = (child.stdout.take().unwrap(), seen.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                told.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { keys: child.stdin.take().unwrap(), child, seen }
    }

    /// Waits until one of the newest two screens is like this: the newest may be half painted. Each begins at home.
    #[track_caller]
    fn shows(&self, what: &str, fits: impl Fn(&str) -> bool) {
        until(what, || self.seen.lock().unwrap().rsplit("\x1b[H").take(2).any(&fits));
    }

    #[track_caller]
    fn says(&self, text: &str) {
        self.shows(text, |screen| screen.contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }
}

#[test]
fn keys_choose_look_into_and_act() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('alpha', 'x'), trunkline.job_push('mail', 'x', run_at => now() + interval '1 day')",
    );
    sql(&url, "select trunkline.stream_open('orders'), trunkline.stream_register('orders', 'billing')");
    let mut top = Terminal::start(&url);
    top.says(">  alpha");
    for (keys, says) in [
        ("\x1b[B", ">  mail"),
        ("p", "mail (paused)"),
        ("\r", "the queue mail, its newest jobs"),
        ("d", "it is scheduled"),
        ("c", "y/n"),
        ("n", "q back"),
        ("c", "y/n"),
        ("y", "job cancel done"),
        ("", "cancelled"),
        ("q", "q end"),
        ("\t", ">  orders/billing"),
        ("\r", "the consumer billing of the stream orders, its dead letters"),
    ] {
        top.press(keys);
        top.says(says);
    }
    sql(&url, "select trunkline.stream_unregister('orders', 'billing')");
    top.shows("the way back from what is gone", |screen| {
        screen.contains("QUEUE") && screen.contains("has no consumer")
    });
    top.press("/alp");
    top.says("only what has in its name: alp_");
    top.press("\r");
    top.shows("the others to be gone", |screen| {
        screen.contains("alpha") && !screen.contains("mail") && screen.contains("only what has \"alp\"")
    });
    top.press("q");
    until("it to end", || top.child.try_wait().unwrap().is_some());
    assert!(top.child.wait().unwrap().success());
    let noted =
        "select string_agg(name, ' ' order by id) from trunkline.action where who like '% by trunkline top'";
    assert_eq!(sql(&url, noted).as_deref(), Some("job_pause job_cancel"));
}

#[test]
fn once_is_two_looks_and_tells_what_flows_between_them() {
    let url = database();
    sql(&url, "select trunkline.job_push('mail', 'x')");
    let mut top = Running::start({
        let mut top = trunkline(&["top", "--once", "--every", "2s"]);
        top.env("DATABASE_URL", &url);
        top
    });
    until("it to end", || {
        sql(&url, "select trunkline.job_push('mail', 'x') from generate_series(1, 100)");
        top.ended()
    });
    let (code, printed) = top.end();
    let row = printed.lines().find(|l| l.contains("mail")).unwrap_or_else(|| panic!("{printed}"));
    let pushed: f64 = row.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(code == 0 && pushed > 0.0, "{printed}");
    let at_once = ok(&url, &["top", "--once", "--every", "100ms"]);
    assert!(at_once.lines().any(|l| l.split_whitespace().take(2).eq(["mail", "0"])), "{at_once}");
}
