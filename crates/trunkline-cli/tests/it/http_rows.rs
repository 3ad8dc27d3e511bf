//! Requests that no browser sends: what is wrong with them is told, and the next one is answered.

use crate::{database, http::Served, sql};

const JSON: &str = "content-type: application/json\r\n";

/// A POST with this body.
fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{JSON}content-length: {length}\r\n\r\n{body}"
    )
}

/// A push with this body.
fn push(body: &str) -> String {
    post("/api/v1/jobs", body)
}

/// Arrays in arrays, so deep.
fn nested(deep: usize) -> String {
    "[".repeat(deep) + &"]".repeat(deep)
}

#[test]
fn rows_99_to_118_what_no_browser_sends_has_its_own_answer_and_the_next_is_answered() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    // A payload of 1 MiB, and 64 KiB for what is around it.
    let most = (1024 + 64) * 1024;
    let small = r#"{"queue": "q", "payload": "x"}"#;
    let sized = |bytes: usize| push(&(small.to_owned() + &" ".repeat(bytes - small.len())));
    let get =
        |more: &str| format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n");
    let other = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    };
    for (row, request, status) in [
        ("99 connect", other("CONNECT", "/api/v1/jobs"), 405),
        ("99 override", other("GET", "/act").replace("\r\n\r\n", "\r\nx-http-method-override: POST\r\n\r\n"), 405),
        ("102 the largest body", sized(most), 201),
        ("102 one byte over", sized(most + 1), 413),
        ("103 a payload that is deep is text", push(&format!(r#"{{"queue": "q", "payload": "{}"}}"#, nested(5000))), 201),
        ("103 trailing", push(r#"{"queue": "q", "payload": "x"} and more"#), 400),
        ("103 another type", push(r#"{"queue": 7, "payload": "x"}"#), 400),
        ("105 whose host others name", get("x-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\nforwarded: host=evil.example\r\n"), 200),
        ("111 two lengths", "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x".into(), 400),
        ("111 another version is closed", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 0),
        ("113 whatever is accepted", get("accept: application/x-nothing\r\n"), 200),
        ("114 a range", get("range: bytes=0-1\r\n"), 200),
        ("116 options", other("OPTIONS", "/api/v1/jobs").replace("\r\n\r\n", "\r\norigin: http://evil.example\r\n\r\n"), 405),
        ("118 a line of its own", get("user-agent: a\u{1b}[2Jb\r\n"), 400),
    ] {
        let answer = served.raw(request.as_bytes());
        assert_eq!(answer.status, status, "row {row}: {answer:?}");
        assert!(answer.header("access-control-allow-origin").is_none(), "row {row}: {answer:?}");
        assert_eq!(served.get("/livez").status, 200, "row {row}: the next one");
    }
    // Two at once are two answers, in order.
    let two = format!("{}{}", get("").replace("connection: close\r\n", ""), other("GET", "/nowhere"));
    let answer = served.raw(two.as_bytes());
    assert!(answer.status == 200 && answer.body.contains("HTTP/1.1 404"), "row 111 pipelined: {answer:?}");
    // A name that looks like a line of the log, or a command of a spreadsheet, is text in a page and a string in JSON.
    let planted = "=cmd()\\n{\\\"level\\\":\\\"ERROR\\\"}";
    assert_eq!(
        served
            .raw(push(&format!(r#"{{"queue": "q", "payload": "x", "kind": "{planted}"}}"#)).as_bytes())
            .status,
        201
    );
    let kind = "select replace(kind, E'\\n', '|') from trunkline.job where kind <> ''";
    assert_eq!(sql(&url, kind).as_deref(), Some("=cmd()|{\"level\":\"ERROR\"}"));
    let listed = served.get("/api/v1/jobs").json();
    assert!(
        listed["items"].as_array().unwrap().iter().any(|j| j["job_kind"] == "=cmd()\n{\"level\":\"ERROR\"}"),
        "{listed}"
    );
    assert!(served.get("/jobs/list").body.contains("{&quot;level&quot;:&quot;ERROR&quot;}"), "as text");
}

/// Where values of any shape are taken, those that are nested too deep are refused, and others are not.
#[test]
fn row_103_what_is_deep_is_refused_and_a_page_shows_it_as_it_is() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    let headers = |deep: usize| format!(r#"{{"payload": "x", "headers": {{"h": {}}}}}"#, nested(deep));
    let target = |deep: usize| {
        format!(r#"{{"action": "job_resume", "target": {{"queue": "q", "more": {}}}}}"#, nested(deep))
    };
    sql(&url, "select trunkline.job_open('q')");
    for (path, body, said) in [
        ("/api/v1/topics/news/messages", headers(5000), "recursion limit"),
        ("/api/v1/topics/news/messages", headers(200_000), "recursion limit"),
        ("/api/v1/actions", target(5000), "recursion limit"),
        ("/api/v1/actions", target(200_000), "recursion limit"),
        // What is read is refused by what it means.
        ("/api/v1/actions", target(100), "must be a text"),
        (
            "/api/v1/calls",
            format!(r#"{{"channel": "c", "payload": "x", "headers": {{"h": {}}}}}"#, nested(5000)),
            "recursion limit",
        ),
    ] {
        let answer = served.raw(post(path, &body).as_bytes());
        assert!(
            answer.status == 400 && answer.body.contains(said),
            "{path} {} bytes: {answer:?}",
            body.len()
        );
        assert_eq!(served.get("/livez").status, 200, "{path}: the next one");
    }
    // As a payload it is text, which a page shows as it is.
    let deep = nested(5000);
    let pushed = served.raw(push(&format!(r#"{{"queue": "q", "payload": "{deep}"}}"#)).as_bytes()).json();
    let page = served.get(&format!("/jobs/{}", pushed["id"].as_str().unwrap()));
    assert!(page.status == 200 && page.body.contains(&deep), "{}", page.status);
    let filter = format!("/api/v1/jobs?payload={}", nested(3000).replace('[', "%5B").replace(']', "%5D"));
    assert_eq!(served.get(&filter).status, 200, "what is looked for may be deep too");
}

/// Ids that a double does not hold: beside each is the one that it would be rounded to.
#[test]
fn row_103_a_large_id_is_that_id_as_a_string_and_as_a_number() {
    let url = database();
    sql(&url, "select trunkline.job_open('mail')");
    let dead = "insert into trunkline.job_held (id, lane, state, due_at, max_attempts, ended_at, content, kind, payload)
        select id, 16 + 5, 2, now(), 1, now(), 1, '', convert_to('of ' || id, 'UTF8')
          from generate_series(9007199254740992, 9007199254740999) id";
    sql(&url, dead);
    let served = Served::start(&url, &[], &[]);
    let shown = served.get("/api/v1/jobs/9007199254740993").json();
    assert_eq!(
        (&shown["job_id"], &shown["payload"]),
        (&"9007199254740993".into(), &"of 9007199254740993".into()),
        "{shown}"
    );
    assert!(served.get("/jobs/9007199254740993").body.contains("of 9007199254740993"));
    let listed = served.get("/api/v1/jobs?cursor=9007199254740994&limit=1").json();
    assert_eq!(
        (&listed["items"][0]["id"], &listed["next"]),
        (&"9007199254740993".into(), &"9007199254740993".into())
    );
    let left = "select string_agg(right(id::text, 1), '' order by id) from trunkline.job_held";
    for (id, after) in [("\"9007199254740993\"", "2456789"), ("9007199254740995", "246789")] {
        let body = format!(r#"{{"action": "job_delete", "target": {{"id": {id}}}}}"#);
        let answer = served.raw(post("/api/v1/actions", &body).as_bytes());
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        assert_eq!(sql(&url, left).as_deref(), Some(after), "{id}");
    }
    let noted = "select string_agg(target ->> 'id', ' ' order by id) from trunkline.action";
    assert_eq!(sql(&url, noted).as_deref(), Some("9007199254740993 9007199254740995"));
    let form = served.form("/act", &[], "action=job_delete&id=9007199254740997&confirm=yes&back=/jobs/list");
    assert_eq!((form.status, sql(&url, left).as_deref()), (303, Some("24689")), "{form:?}");
    for (id, status) in [
        ("9007199254740993.0", 400),
        ("9.007199254740993e15", 400),
        ("9223372036854775808", 400),
        ("\"9223372036854775808\"", 400),
    ] {
        let body = format!(r#"{{"action": "job_delete", "target": {{"id": {id}}}}}"#);
        let answer = served.raw(post("/api/v1/actions", &body).as_bytes());
        assert_eq!((answer.status, sql(&url, left).as_deref()), (status, Some("24689")), "{id}: {answer:?}");
    }
    // Of an event it is a string.
    for (id, status) in [("9007199254740993", 400), ("\"9007199254740993\"", 409)] {
        let body = format!(r#"{{"retry": [{{"id": {id}}}]}}"#);
        assert_eq!(
            served.raw(post("/api/v1/batches/1:1:1:1/finish", &body).as_bytes()).status,
            status,
            "{id}"
        );
    }
}

/// A body in pieces that never ends is too large at last, however much of it comes.
#[test]
fn row_102_a_body_in_pieces_that_has_no_end_is_refused() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
        )
    };
    let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for path in ["/api/v1/jobs", "/api/v1/calls", "/api/v1/actions", "/api/v1/topics/news/messages"] {
        let answer = served.raw((head(path) + &piece.repeat(18)).as_bytes());
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (413, Some("application/problem+json")),
            "{path}: {answer:?}"
        );
        assert_eq!(served.get("/livez").status, 200, "{path}: the next one");
    }
    // One that ends is a body as any other; pieces that are none are refused.
    let body = r#"{"queue": "q", "payload": "x"}"#;
    let whole = format!("{}{:x}\r\n{body}\r\n0\r\n\r\n", head("/api/v1/jobs"), body.len());
    assert_eq!(served.raw(whole.as_bytes()).status, 201);
    let none = format!("{}nonsense\r\n{body}\r\n0\r\n\r\n", head("/api/v1/jobs"));
    assert_eq!(served.raw(none.as_bytes()).status, 400);
    assert_eq!(sql(&url, "select count(*)::text from trunkline.job").as_deref(), Some("1"));
}
