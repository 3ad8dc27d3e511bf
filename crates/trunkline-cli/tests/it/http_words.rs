//! The words over HTTP, as a program of any language uses them: call, publish, hear, push, append, read batches and finish them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::{database, http::Served, ok, responder, sql, until};

/// Posts JSON: the status and what came back.
fn post(served: &Served, path: &str, body: &str) -> (u16, Value) {
    let answer = served.post_json(path, &[], body);
    (answer.status, answer.json())
}

#[test]
fn a_call_waits_for_its_reply_and_ends_with_one_outcome() {
    let url = database();
    let _upper = responder(&url, &["upper", "--exec", "tr a-z A-Z"]);
    let _slow = responder(&url, &["slow", "--exec", "sleep 30"]);
    let served = Served::start(&url, &[], &[]);
    let (status, reply) = post(&served, "/api/v1/calls", r#"{"channel": "upper", "payload": "hello"}"#);
    assert_eq!((status, reply["payload"].as_str()), (200, Some("HELLO")), "{reply}");
    assert!(reply["id"].is_string(), "{reply}");
    let (status, late) =
        post(&served, "/api/v1/calls", r#"{"channel": "slow", "payload": "x", "timeout_ms": 200}"#);
    assert!(status == 504 && late["request"].is_string(), "{status} {late}");
    let (status, nobody) = post(&served, "/api/v1/calls", r#"{"channel": "nobody", "payload": "x"}"#);
    assert_eq!(status, 504, "{nobody}");
    for body in [
        r#"{"channel": "upper", "payload": "x", "timeout_ms": 0}"#,
        r#"{"channel": "upper", "payload": "x", "timeout_ms": 10001}"#,
        r#"{"channel": "upper", "payload": "x", "headers": {"a": 1}}"#,
        r#"{"channel": "No Such Name", "payload": "x"}"#,
        r#"{"channel": "upper"}"#,
    ] {
        assert_eq!(post(&served, "/api/v1/calls", body).0, 400, "{body}");
    }
}

#[test]
fn a_client_that_goes_away_cancels_its_call() {
    let url = database();
    let _slow = responder(&url, &["slow", "--exec", "sleep 60"]);
    let served = Served::start(&url, &[], &[]);
    let body = r#"{"channel": "slow", "payload": "x", "timeout_ms": 10000}"#;
    let mut stream = TcpStream::connect(&served.address).unwrap();
    write!(
        stream,
        "POST /api/v1/calls HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let state = |state: &str| {
        let many = format!("select count(*) from trunkline.request_list() where state = '{state}'");
        sql(&url, &many).as_deref() == Some("1")
    };
    until("it to be taken", || state("taken"));
    drop(stream);
    until("it to be cancelled", || state("cancelled"));
}

#[test]
fn a_batch_is_read_and_finished_once_and_by_who_has_it() {
    let url = database();
    sql(&url, "select trunkline.stream_open('orders')");
    let served = Served::start(&url, &[], &[]);
    let consumer = "/api/v1/streams/orders/consumers/billing";
    assert_eq!(
        post(&served, consumer, r#"{"at": "beginning"}"#),
        (201, serde_json::json!({ "created": true }))
    );
    assert_eq!(post(&served, consumer, "{}").1["created"], false);
    let batches = format!("{consumer}/batches");
    let (status, none) = post(&served, &batches, "{}");
    assert!(status == 200 && none["batch"].is_null(), "{none}");
    for n in 1..=3 {
        let body = format!(r#"{{"payload": "{{\"n\": {n}}}", "kind": "made", "key": "k{n}"}}"#);
        assert_eq!(post(&served, "/api/v1/streams/orders/events", &body).0, 201);
    }
    let mut first = Value::Null;
    until("a batch to come", || {
        first = post(&served, &batches, "{}").1;
        first["batch"].is_string()
    });
    let events = first["events"].as_array().unwrap();
    assert_eq!(events.len(), 3, "{first}");
    assert!(
        events[0]["id"].is_string() && events[0]["type"] == "made" && events[0]["key"] == "k1",
        "{first}"
    );
    // It comes again, and then the first token is no good.
    let again = post(&served, &batches, "{}").1;
    assert_ne!(again["batch"], first["batch"]);
    let finish = |batch: &Value, body: &str| {
        let path = format!("/api/v1/batches/{}/finish", batch["batch"].as_str().unwrap());
        let (status, said) = post(&served, &path, body);
        (status, said["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(finish(&first, "{}"), (409, "TL001".to_owned()));
    let id = again["events"][1]["id"].as_str().unwrap();
    let retry = format!(r#"{{"retry": [{{"id": "{id}", "cause": "it can never work"}}]}}"#);
    assert_eq!(finish(&again, &retry), (200, String::new()));
    assert_eq!(finish(&again, "{}"), (409, "TL017".to_owned()));
    let dead = served.get(&format!("{consumer}/dead")).json();
    assert_eq!(dead["items"][0]["cause"], "it can never work", "{dead}");
    for (path, body, status) in [
        (batches.as_str(), r#"{"max": 0}"#, 400),
        (batches.as_str(), r#"{"mode": "steal"}"#, 400),
        ("/api/v1/streams/none/consumers/x/batches", "{}", 404),
        ("/api/v1/batches/nonsense/finish", "{}", 400),
        ("/api/v1/batches/1:1:1:1/finish", "{}", 409),
        ("/api/v1/batches/1:1:1:1/finish", r#"{"retry": [{"id": "1", "after_seconds": -1}]}"#, 409),
    ] {
        let answer = post(&served, path, body);
        assert_eq!(answer.0, status, "{path} {body}: {}", answer.1);
    }
}

#[test]
fn what_is_published_is_heard_by_server_sent_events() {
    let url = database();
    sql(&url, "select trunkline.topic_create('kept', 'durable')");
    let served = Served::start(&url, &[], &[]);
    let stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    write!(writer, "GET /api/v1/topics/orders.*/messages HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut heard = |text: &str| lines.find(|l| l.contains(text)).unwrap_or_else(|| panic!("no {text}"));
    assert!(heard("content-type").contains("text/event-stream"));
    heard("event: connected");
    let (status, sent) = post(
        &served,
        "/api/v1/topics/orders.new/messages",
        r#"{"payload": "one\ntwo", "headers": {"by": "me"}}"#,
    );
    assert!(status == 201 && sent["id"].is_string(), "{status} {sent}");
    heard("event: message");
    let data = heard("data: ");
    let message: Value = serde_json::from_str(data.trim_start_matches("data: ")).unwrap();
    assert_eq!(message["payload"], "one\ntwo");
    assert_eq!((&message["topic"], &message["headers"]["by"]), (&"orders.new".into(), &"me".into()));
    assert_eq!(message["id"], sent["id"]);
    let (status, sent) =
        post(&served, "/api/v1/topics/plain/messages", r#"{"payload": "x", "kind": "channel"}"#);
    assert!(status == 201 && sent["id"].is_null(), "a channel's have none: {sent}");
    for (path, status) in [
        ("/api/v1/topics/kept/messages", 400),
        ("/api/v1/topics/a/messages?kind=durable", 400),
        ("/api/v1/topics/a..b/messages", 400),
    ] {
        assert_eq!(served.get(path).status, status, "{path}");
    }
}

#[test]
fn the_page_of_the_api_is_what_the_program_writes() {
    let written = crate::trunkline(&["openapi", "--markdown"]).output().unwrap();
    assert_eq!(crate::code(&written), 0);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http-api.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &written.stdout).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(crate::stdout(&written) == known, "docs/http-api.md is old: run the tests once with BLESS=1");
}

/// What flows is counted from when it was looked at first.
#[test]
fn counters_count_what_flows() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    let counts = |line: &str| served.get("/metrics").body.lines().any(|l| l == line);
    assert!(counts("trunkline_jobs_pushed_total 0") && counts("# TYPE trunkline_jobs_pushed_total counter"));
    ok(&url, &["jobs", "push", "mail", "x"]);
    until("it to be counted", || counts("trunkline_jobs_pushed_total 1"));
    ok(&url, &["jobs", "work", "mail", "--drain", "--exec", "true"]);
    until("its end to be counted", || counts("trunkline_jobs_ended_total 1"));
    assert!(counts("trunkline_jobs_pushed_total 1"));
}
