//! `trunkline demo`: all of it, as short as it goes.

use crate::{Running, code, database, ok, run, sql, stderr, stdout, trunkline};

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
