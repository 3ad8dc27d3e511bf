//! The dashboard, by its pages as a browser without scripts uses them: what is shown, and what buttons do and note.

use crate::{database, http::Served, responder, sql};

fn action(served: &Served, fields: &str) -> (u16, String) {
    let answer = served.form("/act", &[], fields);
    (answer.status, answer.header("location").unwrap_or_default().to_owned() + &answer.body)
}

/// A form, where it leads, a statement, and what that says then.
const ACTS: [(&str, &str, &str, &str); 11] = [
    (
        "action=job_pause&queue=mail&back=/jobs",
        "/jobs?done=job_pause",
        "select (paused_at is not null)::text from trunkline.job_queue",
        "true",
    ),
    (
        "action=job_resume&queue=mail&back=/jobs",
        "/jobs?done=job_resume",
        "select (paused_at is null)::text from trunkline.job_queue",
        "true",
    ),
    ("action=job_resume&queue=mail&back=/jobs", "/jobs?done=nothing", "select 1", "1"),
    (
        "action=job_retry&id={id}&back=/jobs/{id}",
        "?done=job_retry",
        "select count(*)::text from trunkline.job_held where state = 0 and due_at <= now()",
        "1",
    ),
    (
        "action=job_copy&id={id}&back=//evil",
        "/?done=job_copy",
        "select count(*)::text from trunkline.job",
        "8",
    ),
    (
        "action=job_schedule_pause&schedule=nightly&back=/schedules",
        "/schedules?done=job_schedule_pause",
        "select (paused_at is not null)::text from trunkline.job_schedule",
        "true",
    ),
    (
        "action=job_schedule_run&schedule=nightly&back=/schedules",
        "/schedules?done=job_schedule_run",
        "select count(*)::text from trunkline.job",
        "9",
    ),
    (
        "action=job_retry_all&queue=mail&state=dead&kind=k&confirm=yes&back=/jobs/dead",
        "/jobs/dead?done=job_retry_all&n=4",
        "select count(*)::text from trunkline.job_held where state = 2",
        "0",
    ),
    (
        "action=stream_seek&stream=s&consumer=c&at=end&confirm=yes&back=/streams",
        "/streams?done=stream_seek",
        "select count(*)::text from trunkline.stream_move",
        "1",
    ),
    (
        "action=lease_resign&lease=nightly&confirm=yes&back=/leases",
        "/leases?done=lease_resign",
        "select resign_asked::text || ' ' || fence from trunkline.lease_list()",
        "true 1",
    ),
    (
        "action=lease_revoke&lease=nightly&confirm=yes&back=/leases",
        "/leases?done=lease_revoke",
        "select held_by is null and fence > 1 from trunkline.lease_list()",
        "t",
    ),
];

#[test]
fn each_button_does_what_it_says_and_is_noted() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('mail', 'x', run_at => now() + interval '1 day') from generate_series(1, 3)",
    );
    sql(
        &url,
        "select trunkline.job_schedule('nightly', 'mail', '0 3 * * *', 'x'), trunkline.stream_open('s'), trunkline.stream_register('s', 'c')",
    );
    sql(&url, "insert into trunkline.job_held (id, lane, state, due_at, max_attempts, ended_at, content, kind, payload, errors)
        select g, 16 + 5, 2, now(), 1, now(), 1, 'k', 'p', '[{\"at\": \"2026-01-01T00:00:00\", \"attempt\": 1, \"error\": \"no route 17\"}]'
          from generate_series(1, 4) g");
    sql(
        &url,
        "select trunkline.lease_acquire('nightly', gen_random_uuid(), interval '1 hour', 'one of two')",
    );
    let served = Served::start(&url, &[], &[]);
    let id = sql(&url, "select max(id)::text from trunkline.job_held").unwrap();
    let one = |statement: &str| sql(&url, statement).unwrap();
    for (fields, location, state, wanted) in ACTS {
        let fields = fields.replace("{id}", &id);
        let (status, said) = action(&served, &fields);
        assert!(status == 303 && said.contains(location), "{fields}: {status} {said}");
        assert_eq!(one(state), wanted, "{fields}");
    }
    assert_eq!(one("select count(*)::text from trunkline.action"), "11", "each is noted");
    let moves = served.get("/api/v1/streams/s/moves").json();
    assert!(moves["items"][0]["consumer"] == "c" && moves["items"].as_array().unwrap().len() == 1, "{moves}");
    let noted = "select (before ->> 'held_by') || ' ' || (after ->> 'resign_asked') from trunkline.action where name = 'lease_resign'";
    assert_eq!(one(noted), "one of two true");
    let (status, said) = action(&served, "action=lease_resign&lease=nightly&confirm=yes&back=/leases");
    assert!(status == 303 && said.contains("done=nothing"), "nobody holds it: {status} {said}");
    let (status, said) = action(&served, "action=lease_revoke&lease=nightly&back=/leases");
    assert!(status == 200 && said.contains("Do you mean to take the lease away"), "{said}");
    assert_eq!(action(&served, "action=lease_resign&lease=unknown&confirm=yes&back=/").0, 404);
    let (status, said) = action(&served, &format!("action=job_cancel&id={id}&back=/jobs/{id}"));
    assert!(status == 200 && said.contains("Do you mean to cancel the job"), "{said}");
    let (status, said) = action(&served, "action=job_cancel_all&queue=mail&state=scheduled&back=/jobs");
    assert!(status == 200 && said.contains("2 jobs"), "with the number first: {said}");
    assert_eq!(one("select count(*)::text from trunkline.action"), "12", "asking is not acting");
    assert_eq!(action(&served, "action=drop_everything&back=/").0, 400);
    assert_eq!(action(&served, "action=job_retry&id=12345&back=/").0, 404);
    let page = served.get("/actions").body;
    assert!(
        page.contains("local at 127.0.0.1") && page.contains("job schedule run") && page.contains("nightly"),
        "{page}"
    );
}

#[test]
fn jobs_that_are_chosen_in_the_list_are_acted_on_together() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('mail', 'x', run_at => now() + interval '1 day') from generate_series(1, 4)",
    );
    let served = Served::start(&url, &[], &[]);
    let page = served.get("/jobs/list").body;
    assert_eq!(page.matches("type=\"checkbox\"").count(), 4, "{page}");
    let ids: Vec<String> = page
        .split("type=\"checkbox\" name=\"id\" value=\"")
        .skip(1)
        .map(|s| s.split('"').next().unwrap().to_owned())
        .collect();
    let chosen = format!("chosen=yes&id={}&id={}&id=987654&back=/jobs/list", ids[0], ids[1]);
    let (status, said) = action(&served, &format!("action=job_cancel&{chosen}"));
    assert!(status == 200 && said.contains("Do you mean to cancel 3 jobs"), "{said}");
    let (status, said) = action(&served, &format!("action=job_cancel&confirm=yes&{chosen}"));
    assert!(status == 303 && said.contains("done=job_cancel_all&n=2"), "one is not there: {said}");
    let left = "select count(*)::text from trunkline.job_list(state => 'scheduled')";
    assert_eq!(sql(&url, left).as_deref(), Some("2"));
    assert_eq!(
        sql(&url, "select count(*)::text from trunkline.action").as_deref(),
        Some("2"),
        "each is noted"
    );
    assert_eq!(action(&served, &format!("action=stream_purge&confirm=yes&{chosen}")).0, 400);
    let (status, said) = action(&served, "action=job_cancel&chosen=yes&back=/jobs/list");
    assert!(status == 303 && said.contains("n=0"), "none was chosen: {said}");
}

#[test]
fn what_is_about_many_does_what_it_says_to_all_or_to_the_one() {
    let url = database();
    sql(
        &url,
        "select trunkline.stream_open('s'), trunkline.stream_register('s', 'c'), trunkline.job_open('q')",
    );
    sql(
        &url,
        "select trunkline.job_set('q', 'max_running', '7'), trunkline.job_set('q', 'rate_limit', '40'), trunkline.job_push('q', 'x', run_at => now() + interval '1 day')",
    );
    sql(&url, "select trunkline.job_schedule('nightly', 'q', '0 3 * * *', 'x')");
    sql(&url, "select trunkline.stream_append('s', 'e' || g) from generate_series(1, 4) g");
    sql(&url, "select trunkline.stream_tick('s')");
    sql(&url, "select trunkline.job_schedule_pause('nightly')");
    let batch = sql(&url, "select batch from trunkline.stream_next_batch('s', 'c')").unwrap();
    sql(
        &url,
        &format!(
            "select trunkline.stream_retry('{batch}', array(select id from trunkline.stream_events('{batch}')), null, 'no route')"
        ),
    );
    sql(&url, &format!("select trunkline.stream_finish('{batch}')"));
    let request =
        sql(&url, "select trunkline.request_send('hash', 'x', wait_for_responder => true)::text").unwrap();
    let letter = sql(&url, "select min(id)::text from trunkline.stream_dead_letters('s', 'c')").unwrap();
    let served = Served::start(&url, &[], &[]);
    assert!(served.get("/jobs").body.contains("at most 7 at once, 40 in 1.0 s"));
    let one = |statement: &str| sql(&url, statement).unwrap();
    let left = "select count(*)::text from trunkline.stream_dead_letters('s', 'c')";
    for (fields, location, state, wanted) in [
        (format!("stream_replay&stream=s&consumer=c&id={letter}"), "done=stream_replay&n=1", left, "3"),
        ("stream_purge&stream=s&consumer=c&id={next}&confirm=yes".into(), "done=stream_purge&n=1", left, "2"),
        ("stream_replay&stream=s&consumer=c&confirm=yes".into(), "done=stream_replay&n=2", left, "0"),
        ("stream_purge&stream=s&consumer=c&confirm=yes".into(), "done=stream_purge&n=0", left, "0"),
        (
            "job_schedule_resume&schedule=nightly".into(),
            "done=job_schedule_resume",
            "select (paused_at is null)::text from trunkline.job_schedule",
            "true",
        ),
        (
            format!("request_cancel&request={request}&confirm=yes"),
            "done=request_cancel",
            "select state from trunkline.request_list()",
            "cancelled",
        ),
        (
            "job_cancel_all&queue=q&state=scheduled&confirm=yes".into(),
            "done=job_cancel_all&n=1",
            "select state from trunkline.job",
            "cancelled",
        ),
        (
            "job_delete_all&queue=q&state=cancelled&confirm=yes".into(),
            "done=job_delete_all&n=1",
            "select count(*)::text from trunkline.job",
            "0",
        ),
    ] {
        let next = sql(&url, "select min(id)::text from trunkline.stream_dead_letters('s', 'c')")
            .unwrap_or_default();
        let (status, said) = action(&served, &format!("action={}&back=/", fields.replace("{next}", &next)));
        assert!(status == 303 && said.contains(location), "{fields}: {status} {said}");
        assert_eq!(one(state), wanted, "{fields}");
    }
    assert_eq!(one("select count(*)::text from trunkline.action"), "8", "each is noted");
}

#[test]
fn what_is_tried_in_a_form_travels() {
    let url = database();
    sql(&url, "select trunkline.stream_open('orders')");
    let _serving = responder(&url, &["hash", "--echo"]);
    let served = Served::start(&url, &[], &[]);
    let tried = |fields: &str| {
        let page = served.get("/try").body;
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form = ("content-type", "application/x-www-form-urlencoded");
        served.ask("POST", "/try", &[form], &format!("csrf={csrf}&{fields}"))
    };
    let seen = "select (select count(*) from trunkline.job where queue = 'mail' and kind = 'k' and payload = 'hello') || ' ' ||
                (select events from trunkline.stream_list()) || ' ' || (select count(*) from trunkline.request_list('hash')) || ' ' ||
                (select messages from trunkline.topic_list() where topic = 'news')";
    for (fields, status, to) in [
        ("word=job&to=mail&kind=k&payload=hello", 303, "/jobs/"),
        ("word=event&to=orders&payload=hello", 303, "/try?word=event"),
        ("word=request&to=hash&payload=hello", 303, "/requests/"),
        ("word=message&to=news&payload=hello", 303, "/try?word=message"),
        ("word=other&to=news&payload=hello", 400, ""),
        ("word=message&to=Not%20a%20topic!&payload=hello", 400, ""),
    ] {
        let answer = tried(fields);
        assert_eq!(answer.status, status, "{fields}: {answer:?}");
        assert!(answer.header("location").unwrap_or_default().starts_with(to), "{fields}: {answer:?}");
        if let Some(there) = answer.header("location") {
            assert_eq!(served.get(there).status, 200, "{fields}");
        }
    }
    assert_eq!(sql(&url, seen).as_deref(), Some("1 1 1 1"));
}

/// What ended before it is watched is told once, with its end; who has that asks in vain.
#[test]
fn what_has_ended_is_told_once_and_watched_no_more() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    sql(&url, "select trunkline.request_open('hash')");
    let request =
        sql(&url, "select trunkline.request_send('hash', 'x', wait_for_responder => true)::text").unwrap();
    sql(&url, &format!("select trunkline.request_cancel({request})"));
    crate::ok(&url, &["jobs", "push", "mail", "x"]);
    crate::ok(&url, &["jobs", "work", "mail", "--drain", "--exec", "true"]);
    let job = sql(&url, "select id::text from trunkline.job where state = 'done'").unwrap();
    for (path, says) in [
        (format!("page=job&id={job}"), "state good"),
        (format!("page=request&id={request}"), "cancelled"),
        ("page=job&id=987654321".to_owned(), "It is no longer here."),
    ] {
        let told = served.get(&format!("/live?{path}"));
        assert!(told.status == 200 && told.body.contains(says), "{path}: {told:?}");
        assert!(
            told.body.starts_with("id: over\n") && told.body.matches("event: page").count() == 1,
            "{path}: {told:?}"
        );
        let again = served.ask("GET", &format!("/live?{path}"), &[("last-event-id", "over")], "");
        assert_eq!(again.status, 204, "{path}: {again:?}");
    }
}

#[test]
fn the_list_is_filtered_by_time_and_text() {
    let url = database();
    sql(&url, "select trunkline.job_push('mail', 'to bob ' || g) from generate_series(1, 8) g");
    sql(&url, "select trunkline.job_push_json('mail', '{\"to\": \"ann\"}')");
    let served = Served::start(&url, &[], &[]);
    let many = |query: &str| {
        let page = served.get(&format!("/jobs/list?{query}"));
        assert_eq!(page.status, 200, "{query}: {page:?}");
        (page.body.matches("type=\"checkbox\"").count(), page.body.contains("job_cancel_all"))
    };
    for (query, found) in [
        ("payload=bob", (8, false)),
        ("payload=%7B%22to%22", (1, false)),
        ("payload=%7B%22to%22%3A%22ann%22%7D", (1, false)),
        ("queue=mail&state=waiting", (9, true)),
        ("queue=mail&state=waiting&payload=bob", (8, true)),
        ("queue=mail&state=waiting&payload=%7B%22to%22%3A%22ann%22%7D", (1, true)),
        ("since=1h", (9, false)),
        ("until=1h", (0, false)),
        ("queue=mail&state=waiting&since=1h", (9, true)),
        ("payload=b%6Fb&since=1h&until=2100-01-01", (8, false)),
    ] {
        assert_eq!(many(query), found, "{query}");
    }
    let listed = served.get("/api/v1/jobs?text=bob&limit=5").json();
    assert!(listed["items"].as_array().unwrap().len() == 5 && listed["looked_back_to"].is_null(), "{listed}");
    let next = listed["next"].as_str().unwrap();
    let rest = served.get(&format!("/api/v1/jobs?text=bob&limit=5&cursor={next}")).json();
    assert!(rest["items"].as_array().unwrap().len() == 3 && rest["next"].is_null(), "{rest}");
}
