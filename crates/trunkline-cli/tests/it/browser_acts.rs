//! Every action, pressed in a real Chromium; forms by keyboard; a login; and all of it but what is live with the script off.

use serde_json::json;

use crate::{
    browser::{Browser, full},
    http::{READER, Served, tokens},
    responder, sql, until,
};

/// What is pressed, and of which form; on which page; a statement, and what that says after. `chosen:` are the first two of a list.
const ACTS: [(&str, &str, &str, &str); 21] = [
    (
        "job_pause :has([value=mail])",
        "/jobs",
        "select count(*)::text from trunkline.job_queue where paused_at is not null",
        "1",
    ),
    (
        "job_resume :has([value=mail])",
        "/jobs",
        "select count(*)::text from trunkline.job_queue where paused_at is not null",
        "0",
    ),
    ("job_retry", "/jobs/900001", "select state from trunkline.job where id = 900001", "waiting"),
    ("job_cancel", "/jobs/900001", "select state from trunkline.job where id = 900001", "cancelled"),
    (
        "job_copy",
        "/jobs/900001",
        "select count(*)::text from trunkline.job where kind = '<script>alert(1)</script>'",
        "3",
    ),
    (
        "job_delete",
        "/jobs/900001",
        "select count(*)::text from trunkline.job where kind = '<script>alert(1)</script>'",
        "2",
    ),
    (
        "job_delete_all",
        "/jobs/list?queue=mail&state=dead&kind=javascript:alert(1)",
        "select count(*)::text from trunkline.job where state = 'dead'",
        "6",
    ),
    (
        "job_retry_all",
        "/jobs/list?queue=mail&state=dead",
        "select count(*)::text from trunkline.job where state = 'dead'",
        "0",
    ),
    (
        "job_cancel_all",
        "/jobs/list?queue=mail&state=waiting&kind=welcome",
        "select count(*)::text from trunkline.job where state = 'cancelled'",
        "40",
    ),
    (
        "chosen:job_cancel",
        "/jobs/list?queue=mail&state=waiting",
        "select count(*)::text from trunkline.job where state = 'cancelled'",
        "42",
    ),
    (
        "chosen:job_retry",
        "/jobs/list?queue=mail&state=cancelled",
        "select count(*)::text from trunkline.job where state = 'cancelled'",
        "40",
    ),
    (
        "job_schedule_run :has([value=nightly])",
        "/schedules",
        "select count(*)::text from trunkline.job where payload = '{}'",
        "1",
    ),
    (
        "job_schedule_pause :has([value=nightly])",
        "/schedules",
        "select (paused_at is not null)::text from trunkline.job_schedule where name = 'nightly'",
        "true",
    ),
    (
        "job_schedule_resume :has([value=nightly])",
        "/schedules",
        "select (paused_at is not null)::text from trunkline.job_schedule where name = 'nightly'",
        "false",
    ),
    (
        "request_cancel",
        "/requests/{request}",
        "select state from trunkline.request_list(max => 1)",
        "cancelled",
    ),
    (
        "lease_resign :has([value=planted-1])",
        "/leases",
        "select resign_asked::text from trunkline.lease_list() where name = 'planted-1'",
        "true",
    ),
    (
        "lease_revoke :has([value=planted-1])",
        "/leases",
        "select count(*)::text from trunkline.lease_list() where name = 'planted-1' and held_by is not null",
        "0",
    ),
    ("stream_replay :has([name=id])", "/streams/letters/reader", LETTERS, "7"),
    ("stream_purge :has([name=id])", "/streams/letters/reader", LETTERS, "6"),
    ("stream_replay :not(:has([name=id]))", "/streams/letters/reader", LETTERS, "0"),
    (
        "stream_purge :not(:has([name=id]))",
        "/streams/letters/other",
        "select count(*)::text from trunkline.stream_dead_letters('letters', 'other')",
        "0",
    ),
];
const LETTERS: &str = "select count(*)::text from trunkline.stream_dead_letters('letters', 'reader')";

/// Presses it, says yes if asked, and waits until it is said to be done.
fn press(
    browser: &Browser,
    served: &Served,
    (name, path, state, wanted): (&str, &str, &str, &str),
    url: &str,
) {
    browser.open(&format!("http://{}{path}", served.address));
    if let Some(action) = name.strip_prefix("chosen:") {
        browser.click("tr:nth-child(1) input[type=checkbox]");
        browser.click("tr:nth-child(2) input[type=checkbox]");
        browser.click(&format!("button[value={action}]"));
    } else {
        let (action, of) = name.split_once(' ').unwrap_or((name, ""));
        browser.click(&format!("form.act:has(input[value={action}]){of} button"));
    }
    let says = |text: &str| browser.source().contains(text);
    until("an answer", || says("class=\"done\"") || says("Do you mean to"));
    if says("Do you mean to") {
        browser.is_quiet(name);
        browser.click("button.strong");
    }
    until(&format!("{name} to be said to be done"), || says("class=\"done\""));
    browser.is_quiet(name);
    assert_eq!(sql(url, state).as_deref(), Some(wanted), "{name}");
}

fn all_acts(script: bool) {
    let url = full();
    let served = Served::start(&url, &[], &[]);
    let browser = if script { Browser::start(false) } else { Browser::without_script() };
    browser.size(1280, 900);
    let request = sql(&url, "select max(id)::text from trunkline.request_list()").unwrap();
    for (name, path, state, wanted) in ACTS {
        press(&browser, &served, (name, &path.replace("{request}", &request), state, wanted), &url);
    }
    browser.open(&format!("http://{}/streams/orders/billing", served.address));
    browser.type_into("input[name=at]", "end");
    browser.click("form.filters button.danger");
    until("the question", || browser.source().contains("Do you mean to"));
    browser.click("button.strong");
    until("it to be moved", || browser.source().contains("class=\"done\""));
    assert!(browser.source().contains("The consumer was moved."), "{}", browser.source());
    assert_eq!(sql(&url, "select count(*)::text from trunkline.stream_move").as_deref(), Some("1"));
    let noted = "select string_agg(distinct name, ' ' order by name) from trunkline.action where who like 'local at %'";
    assert_eq!(
        sql(&url, noted).as_deref(),
        Some(
            "job_cancel job_cancel_all job_copy job_delete job_delete_all job_pause job_resume job_retry job_retry_all job_schedule_pause \
             job_schedule_resume job_schedule_run lease_resign lease_revoke request_cancel stream_purge stream_replay stream_seek"
        ),
        "all but what is revealed"
    );
}

#[test]
fn every_action_is_pressed_and_does_what_it_says() {
    all_acts(true);
}

#[test]
fn every_action_is_pressed_with_the_script_off() {
    all_acts(false);
}

#[test]
fn what_is_tried_is_typed_and_seen_with_the_script_off() {
    let url = full();
    let _serving = responder(&url, &["hash", "--echo"]);
    let served = Served::start(&url, &[], &[]);
    let browser = Browser::without_script();
    for (word, to, there, seen) in [
        ("job", "mail", "/jobs/", "Job "),
        ("event", "orders", "/try?word=event", "Event "),
        ("request", "hash", "/requests/", "Request "),
        ("message", "news.today", "/try?word=message", "Message "),
    ] {
        browser.open(&format!("http://{}/try", served.address));
        let form = format!("form:has(input[value={word}])");
        browser.type_into(&format!("{form} input[name=to]"), to);
        browser.type_into(&format!("{form} textarea"), " ");
        browser.click(&format!("{form} button"));
        until(word, || browser.at().contains(there) && browser.source().contains(seen));
        if there.starts_with("/try") {
            browser.click(".done button");
            until("what is there", || browser.source().contains("class=\"payload\""));
        }
        browser.is_quiet(word);
    }
}

#[test]
fn who_logs_in_reads_and_reveals_and_that_is_noted() {
    let url = full();
    let served = Served::start(&url, &[], &tokens());
    let browser = Browser::start(true);
    browser.open(&format!("http://{}/jobs/900001", served.address));
    assert!(browser.at().ends_with("/login"), "{}", browser.at());
    browser.shot("login");
    browser.type_into("input[name=token]", "<script>alert(1)</script>");
    browser.press("\u{e007}");
    until("it to be refused", || browser.source().contains("This token is not known."));
    browser.log();
    browser.type_into("input[name=token]", READER);
    browser.press("\u{e007}");
    until("the overview", || browser.source().contains("<h1>Overview"));
    browser.open(&format!("http://{}/jobs/900001", served.address));
    let page = browser.source();
    assert!(page.contains("Who reveals it is noted") && !page.contains("job_retry"), "{page}");
    // What comes by itself shows a reader no more than the page did.
    until("the page to be live", || {
        browser.run("return document.querySelector('[data-status]').dataset.status") == "live"
    });
    assert!(browser.source().contains("Who reveals it is noted"));
    browser.click("form.act:has(input[value=job_reveal]) button");
    until("the payload", || !browser.source().contains("Who reveals it is noted"));
    assert!(browser.source().contains("Payload"));
    browser.is_quiet("what was revealed");
    let noted = "select count(*)::text from trunkline.action where name = 'job_reveal' and who like 'reader%' and target ->> 'id' = '900001'";
    assert_eq!(sql(&url, noted).as_deref(), Some("1"));
    let request = sql(&url, "select max(id)::text from trunkline.request_list()").unwrap();
    sql(&url, "select trunkline.topic_publish('news', '<img src=x onerror=alert(1)>')");
    for (action, path) in [
        ("request_reveal", format!("/requests/{request}")),
        ("stream_reveal", "/streams/letters/reader".to_owned()),
        ("stream_peek", "/streams".to_owned()),
        ("topic_peek", "/topics".to_owned()),
    ] {
        browser.open(&format!("http://{}{path}", served.address));
        browser.click(&format!("form.act:has(input[value={action}]) button"));
        let noted = format!("select count(*)::text from trunkline.action where name = '{action}'");
        until(action, || sql(&url, &noted).as_deref() == Some("1") && browser.at().ends_with("/act"));
        until("the payloads", || browser.source().contains("class=\"payload\""));
        browser.is_quiet(action);
    }
    browser.click("form[action='/logout'] button");
    until("the form", || browser.at().ends_with("/login"));
    browser.open(&format!("http://{}/jobs", served.address));
    assert!(browser.at().ends_with("/login"), "{}", browser.at());
}

/// From the top of a page: what has the focus is seen, and Enter presses it.
#[test]
fn a_queue_is_paused_by_keyboard_alone() {
    let url = full();
    let served = Served::start(&url, &[], &[]);
    let browser = Browser::start(false);
    browser.size(1280, 900);
    browser.open(&format!("http://{}/jobs", served.address));
    let focus = "const e = document.activeElement, s = getComputedStyle(e);
        return [e.textContent.trim(), e.closest('tr')?.textContent.includes('mail') ?? false, s.outlineStyle !== 'none' || s.boxShadow !== 'none']";
    let mut reached = Vec::new();
    for _ in 0..60 {
        browser.press("\u{e004}");
        let at = browser.run(focus);
        assert_eq!(at[2], true, "what has the focus is not seen: {at}");
        reached.push(at[0].as_str().unwrap_or_default().to_owned());
        if at[0] == "Pause" && at[1] == true {
            browser.press("\u{e007}");
            until("it to be paused", || {
                sql(&url, "select count(*)::text from trunkline.job_queue where paused_at is not null")
                    .as_deref()
                    == Some("1")
            });
            assert!(reached[0] == "To the content", "the first thing leads past the navigation: {reached:?}");
            return;
        }
    }
    panic!("the button is not reached: {}", json!(reached));
}
