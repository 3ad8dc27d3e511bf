//! `trunkline demo`: all of it, as short as it goes.

use crate::{Running, browser::Browser, code, database, ok, run, sql, stderr, stdout, trunkline, until};

#[test]
fn the_demo_holds_its_promises_and_leaves_no_consumer_behind() {
    let url = database();
    let played = run(&url, &["demo", "--for", "4s", "--json"]);
    assert_eq!(code(&played), 0, "{}", stderr(&played));
    let told: serde_json::Value = serde_json::from_str(&stdout(&played)).unwrap();
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert!(told["ok"] == true && number("replied") > 0, "{told}");
    let events = number("events");
    // What a consumer that was killed had just been answered, it may not have appended.
    assert!(events > 0 && events <= number("replied") + number("unknown"), "{told}");
    assert_eq!((number("consumer_a"), number("consumer_b")), (events, events));
    let (published, heard) = (number("messages"), number("messages_heard"));
    assert!(published >= 20 && heard == published && number("takeover_ms") > 0, "{told}");
    let kept = "select (select count(*) from trunkline.stream_consumer) || ' ' || (select count(*) from trunkline.stream)";
    assert_eq!(sql(&url, kept).as_deref(), Some("0 1"));
}

#[test]
fn the_demo_kills_a_worker_and_every_job_is_done() {
    let url = database();
    let played = run(&url, &["demo", "--for", "3s"]);
    let text = stdout(&played);
    assert_eq!(code(&played), 0, "{text}{}", stderr(&played));
    let number = |words: &str| -> u64 {
        let before = text.split(words).next().filter(|before| *before != text);
        let number = before.and_then(|before| before.split_whitespace().last()?.parse().ok());
        number.unwrap_or_else(|| panic!("no number before {words:?} in {text}"))
    };
    let (in_hand, again) = (number(" jobs in its hands: "), number(" jobs came again, "));
    assert!(text.contains("worker 2 is killed (SIGKILL) with "), "{text}");
    assert!((1..=4).contains(&in_hand) && again >= 1, "{text}");
    assert!(
        text.contains("120 of 120 jobs are done: ") && text.contains("✓ each of 120 jobs was done"),
        "{text}"
    );
    assert!(
        text.contains("is killed (SIGKILL) after ") && text.contains(" s after the kill, with fence "),
        "{text}"
    );
    assert!(text.contains("messages was heard by the one listener that was active"), "{text}");
    // What it told is what the database has.
    let kept = "select concat_ws(' ', count(*), count(*) filter (where state = 'done'), count(*) filter (where attempt = 2),
                                 count(*) filter (where errors @> '[{\"attempt\": 1}]'), sum(attempt))
                  from trunkline.job where queue = 'demo'";
    assert_eq!(sql(&url, kept), Some(format!("120 120 {again} {again} {}", 120 + again)));
    let wrong =
        "select count(*) from trunkline.job where queue = 'demo' and md5(payload) <> result::json ->> 'md5'";
    assert_eq!(sql(&url, wrong).as_deref(), Some("0"));
}

#[test]
fn a_worker_of_the_demo_can_be_started_by_hand() {
    let url = database();
    let mut command = trunkline(&["demo", "worker", "--number", "7"]);
    command.env("DATABASE_URL", &url);
    let mut worker = Running::start(command);
    let result = ok(&url, &["jobs", "push", "demo", "41", "--wait", "--timeout", "20s"]);
    assert_eq!(result.trim(), "{\"md5\":\"3416a75f4cea9109507cacd8e2f2aefc\",\"worker\":7}");
    worker.signal(nix::sys::signal::Signal::SIGINT);
    let (code, said) = worker.end();
    assert!(code == 0 && said.contains("left after 1 jobs"), "{code} {said}");
}

/// Pages, and what each tells of the demo.
const PAGES: [(&str, &str); 20] = [
    ("/", "Needs somebody"),
    ("/jobs", "demo"),
    ("/jobs/list?queue=demo", "demo"),
    ("/jobs/{job}", "3416a75f4cea9109507cacd8e2f2aefc"),
    ("/jobs/dead", "No job is dead."),
    ("/schedules", "There is no schedule yet."),
    ("/streams", "answers"),
    ("/streams/answers/{consumer}", "finished up to tick"),
    ("/requests", "hash"),
    ("/requests/list", "HASH"),
    ("/requests/{request}", "HASH"),
    ("/topics", "demo.alarms"),
    ("/leases", "Leases"),
    ("/processes", "demo"),
    ("/health", "fsync is off"),
    ("/actions", "Actions"),
    ("/try", "Try it"),
    ("/login", "Token"),
    ("/?range=60", "sent"),
    ("/jobs/list?state=done", "demo"),
];

#[test]
fn every_page_opens_in_a_browser_while_the_demo_plays() {
    let url = database();
    let mut command = trunkline(&["demo", "--for", "10m", "--http", "127.0.0.1:0", "--rate", "5"]);
    command.env("DATABASE_URL", &url);
    let mut demo = Running::start(command);
    demo.wait_for("dashboard at ");
    let line = demo.seen.last().unwrap();
    let address = line[line.find("http://").unwrap()..].trim_end_matches('/').to_owned();
    // Those whose turn is at the end are started by hand.
    let part = |args: &[&str]| {
        let mut command = trunkline(&[&["demo"], args].concat());
        command.env("DATABASE_URL", &url);
        Running::start(command)
    };
    let (_worker, _listener) = (part(&["worker", "--number", "7"]), part(&["listener"]));
    ok(&url, &["jobs", "push", "demo", "41", "--wait", "--timeout", "20s"]);
    let one = |which: &str| sql(&url, which).filter(|found| !found.is_empty());
    let answered = "select max(id)::text from trunkline.request_list() where state = 'ok' and type = 'HASH'";
    until("an answer", || one(answered).is_some());
    until("a consumer", || one("select consumer from trunkline.stream_consumers()").is_some());
    until("a listener", || one("select session from trunkline.topic_subscriptions()").is_some());
    let browser = Browser::start(false);
    browser.size(1280, 900);
    for (path, told) in PAGES {
        let named =
            |name: &str, which: &str| path.contains(name).then(|| (name.to_owned(), one(which).unwrap()));
        let path = [
            named("{job}", "select max(id)::text from trunkline.job where queue = 'demo'"),
            named("{request}", answered),
            named("{consumer}", "select min(consumer) from trunkline.stream_consumers()"),
        ]
        .into_iter()
        .flatten()
        .fold(path.to_owned(), |path, (name, id)| path.replace(&name, &id));
        browser.open(&format!("{address}{path}"));
        for scheme in ["light", "dark"] {
            browser.scheme(scheme);
            let shown = browser
                .run("return document.body.innerText + matchMedia(`(prefers-color-scheme: dark)`).matches");
            let shown = shown.as_str().unwrap();
            assert!(shown.contains(told), "{path} says {told:?}: {shown}");
            assert!(shown.ends_with(&(scheme == "dark").to_string()), "{path} {scheme}: {shown}");
            browser.is_quiet(&path);
        }
    }
    // The first page again, until it was changed by what flows.
    browser.open(&format!("{address}/"));
    until("the page to be live", || {
        browser.run("return document.querySelector('[data-status]').dataset.status") == "live"
    });
    until("rates", || browser.run("return document.querySelector('.rates .big').textContent") != "0");
    browser.is_quiet("/");
    demo.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(demo.end().0, 130);
}
