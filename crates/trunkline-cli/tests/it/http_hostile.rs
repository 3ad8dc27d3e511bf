//! Text that would run, or look like something else, wherever somebody has a text: in every page it is text.

use crate::{database, http::Served, sql};

/// Strings that would run, or look like something else, where somebody forgot that they are text.
pub(crate) const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"onmouseover=\"alert(1)",
    "'onfocus='alert(1)' autofocus='",
    "javascript:alert(1)",
    "</script><img src=x onerror=alert(1)>",
    "</title><svg onload=alert(1)>",
    "{{7*7}}${7*7}",
    "a\u{202e}b",
];

/// Plants them wherever a message, its error, a process, a schedule or who acts has text.
pub(crate) fn plant(url: &str) {
    plant_ends(url);
    sql(
        url,
        "select trunkline.stream_open('letters'), trunkline.stream_register('letters', 'reader'), trunkline.stream_register('letters', 'other')",
    );
    for (n, text) in HOSTILE.iter().enumerate() {
        let quoted = text.replace('\'', "''");
        sql(
            url,
            &format!(
                "select trunkline.job_push('mail', '{quoted}', '{quoted}', '{quoted}', unique_key => '{quoted}', headers => jsonb_build_object('h', '{quoted}'))"
            ),
        );
        sql(url, &format!("insert into trunkline.job_held (id, lane, state, due_at, attempt, max_attempts, ended_at, content, kind, payload, key, errors)
            select {}, 16 + 5, 2, now(), 1, 1, now(), 1, '{quoted}', convert_to('{quoted}', 'UTF8'), '{quoted}',
                   jsonb_build_array(jsonb_build_object('attempt', 1, 'at', now(), 'error', '{quoted}'))", n + 900_001));
        sql(
            url,
            &format!(
                "select trunkline.topic_create('{quoted}', 'channel'),
            trunkline.lease_acquire('planted-{n}', gen_random_uuid(), interval '1 hour', '{quoted}')"
            ),
        );
        sql(
            url,
            &format!("update trunkline.lease_expiry set progress = '{quoted}' where name = 'planted-{n}'"),
        );
        sql(
            url,
            &format!(
                "select trunkline._topic_subscribe(o.id, 1, array['{quoted}'], 'channel', '{quoted}', true)
            from trunkline._session_open('{quoted}', false, '1 hour') o"
            ),
        );
        sql(
            url,
            &format!(
                "select trunkline.request_send('hash', '{quoted}', '{quoted}', wait_for_responder => true),
                        trunkline.stream_append('letters', '{quoted}', '{quoted}', '{quoted}', jsonb_build_object('h', '{quoted}')),
                        trunkline.action_do('{quoted}', 'job_reveal', '{{\"id\": \"{}\"}}'),
                        trunkline.job_schedule('planted-{n}', 'mail', '0 3 * * *', '{quoted}', '{quoted}', zone => '{quoted}')",
                n + 900_001
            ),
        );
    }
    sql(url, "select trunkline.stream_tick('letters')");
    for consumer in ["reader", "other"] {
        let next = format!("select batch from trunkline.stream_next_batch('letters', '{consumer}')");
        let batch = sql(url, &next).unwrap();
        let dead = format!(
            "select count(trunkline.stream_retry('{batch}', array[id], null, payload)) from trunkline.stream_events('{batch}')"
        );
        sql(url, &dead);
        sql(url, &format!("select trunkline.stream_finish('{batch}')"));
    }
}

/// The same where a job, a request or a process has text only later: a result, a progress, a reply with its code, headers, and who works.
fn plant_ends(url: &str) {
    sql(url, "select trunkline.request_open('ended')");
    for (n, text) in HOSTILE.iter().enumerate() {
        let quoted = text.replace('\'', "''");
        let (done, running) = (n + 910_001, n + 920_001);
        for statement in [
            format!("insert into trunkline.job_held (id, lane, state, due_at, attempt, max_attempts, ended_at, content, kind, payload, result, result_content)
                     select {done}, 16 + 5, 4, now(), 1, 1, now(), 1, '', '', convert_to('{quoted}', 'UTF8'), 1"),
            format!("insert into trunkline.job_held (id, lane, state, due_at, attempt, max_attempts, begun_at, content, kind, payload, headers, token, session)
                     select {running}, 16 + 5, 1, now(), 1, 1, now(), 1, '', '', jsonb_build_object('h', '{quoted}'), 1, o.id
                       from trunkline._session_open('{quoted}', false, '1 hour') o"),
            format!("insert into trunkline.job_progress (id, percent, message) values ({running}, 50, '{quoted}')"),
            format!("do $$ begin
                perform trunkline.request_send('ended', 'x', headers => jsonb_build_object('h', '{quoted}'), wait_for_responder => true, timeout => '1 hour')
                  from generate_series(1, 2);
                perform trunkline.request_serve('ended');
                commit;
                perform trunkline.request_reply(claim, '{quoted}') from trunkline.request_take('ended', 1);
                commit;
                perform trunkline.request_fail(claim, '{quoted}', '{quoted}') from trunkline.request_take('ended', 1);
                commit;
            end $$"),
        ] {
            sql(url, &statement.replace("$$", if text.contains('$') { "$body$" } else { "$$" }));
        }
    }
}

/// Each string, as it is written where it is text.
fn as_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What was planted in a column of one, or of two, is there as text.
#[test]
fn hostile_text_that_comes_at_the_end_is_text() {
    let url = database();
    sql(&url, "select trunkline.job_open('mail'), trunkline.request_open('hash')");
    plant(&url);
    let served = Served::start(&url, &[], &[]);
    let ended =
        sql(&url, "select string_agg(id::text, ' ' order by id) from trunkline.request_list('ended')")
            .unwrap();
    let ended: Vec<&str> = ended.split(' ').collect();
    assert_eq!(ended.len(), 2 * HOSTILE.len());
    for (n, text) in HOSTILE.iter().enumerate() {
        let shown = as_text(text);
        // In headers it is a string of JSON first.
        let quoted = as_text(&text.replace('"', "\\\""));
        for (path, wanted) in [
            (
                format!("/jobs/{}", 910_001 + n),
                vec![format!("<pre class=\"payload\" tabindex=\"0\">{shown}</pre>")],
            ),
            (
                format!("/jobs/{}", 920_001 + n),
                vec![
                    format!("<dd>{shown}</dd>"),
                    format!("50 % {shown}"),
                    format!("&quot;h&quot;: &quot;{quoted}&quot;"),
                ],
            ),
            (
                format!("/requests/{}", ended[2 * n]),
                vec![format!("&quot;h&quot;: &quot;{quoted}&quot;"), format!(">{shown}</pre>")],
            ),
            (
                format!("/requests/{}", ended[2 * n + 1]),
                vec![format!("<dd>{shown}</dd>"), format!(">{shown}</pre>")],
            ),
            ("/leases".to_owned(), vec![format!("<td>{shown}</td>")]),
            ("/processes".to_owned(), vec![shown.clone()]),
        ] {
            let page = served.get(&path);
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            for part in wanted {
                assert!(page.body.contains(&part), "{path} has no {part}: {}", page.body);
            }
            let live = page.body.contains(text) && shown != *text;
            assert!(!live, "{path} has {text}");
        }
    }
}

#[test]
fn hostile_text_is_text_on_every_page() {
    let url = database();
    sql(&url, "select trunkline.request_open('hash')");
    plant(&url);
    let served = Served::start(&url, &[], &[]);
    let id = sql(&url, "select max(id)::text from trunkline.job_held where state <> 2").unwrap();
    let request = sql(&url, "select max(id)::text from trunkline.request_e0").unwrap();
    let mut seen = 0;
    for path in [
        "/",
        "/jobs",
        "/jobs/list",
        "/jobs/list?queue=mail",
        "/jobs/dead",
        "/topics",
        "/leases",
        "/processes",
        "/requests",
        "/requests/list",
        "/jobs/900001",
        "/jobs/900002",
        "/jobs/900005",
        "/jobs/910001",
        "/jobs/920001",
        "/requests/list?channel=ended",
        &format!("/jobs/{id}"),
        &format!("/requests/{request}"),
        "/streams",
        "/streams/letters/reader",
        "/schedules",
        "/actions",
        "/jobs/list?kind=%3Cscript%3Ealert(1)%3C/script%3E",
        "/jobs/list?queue=mail&state=dead&key=%22onmouseover=%22alert(1)",
    ] {
        let page = served.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        for live in [
            "<script>alert",
            "<img src=x",
            "<svg onload",
            "\"onmouseover=\"",
            "\" onfocus=",
            "href=\"javascript:",
        ] {
            assert!(!page.body.contains(live), "{path} has {live}");
        }
        seen += page.body.matches("&lt;script&gt;").count();
    }
    for path in ["/topics", "/leases", "/streams/letters/reader", "/actions"] {
        assert!(served.get(path).body.matches("&lt;script&gt;").count() > 0, "{path}");
    }
    assert!(seen > 12, "the strings are there, as text: {seen}");
}
