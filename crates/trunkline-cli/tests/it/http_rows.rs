//! Requests that no browser sends: what is wrong with them is told, and the next one is answered.

use crate::{database, http::Served, sql};

const JSON: &str = "content-type: application/json\r\n";

/// A push with this body.
fn push(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{JSON}content-length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn rows_99_to_118_what_no_browser_sends_has_its_own_answer_and_the_next_is_answered() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    // A payload of 1 MiB, and 64 KiB for what is around it.
    let most = (1024 + 64) * 1024;
    let small = r#"{"queue": "q", "payload": "x"}"#;
    let sized = |bytes: usize| push(&(small.to_owned() + &" ".repeat(bytes - small.len())));
    let deep =
        format!(r#"{{"queue": "q", "payload": "x", "headers": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
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
        ("103 deep", push(&deep), 400),
        ("103 trailing", push(r#"{"queue": "q", "payload": "x"} and more"#), 400),
        ("103 another type", push(r#"{"queue": 7, "payload": "x"}"#), 400),
        ("103 a large id", push(r#"{"queue": "q", "payload": 9007199254740993}"#), 400),
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
