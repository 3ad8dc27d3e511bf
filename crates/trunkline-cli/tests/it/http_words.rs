//! The words over HTTP, as a program of any language uses them: call, publish, hear, push, append, read batches and finish them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Instant,
};

use serde_json::Value;

use nix::sys::signal::Signal;

use crate::{
    PATIENCE, database,
    http::Served,
    http_login::{on_a_moved_clock, set},
    ok, responder, sql, temporary, until,
};

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
fn a_call_takes_headers_along_and_brings_those_of_its_reply() {
    let url = database();
    let told = "printf '%s %s' \"$TRUNKLINE_TYPE\" \"$TRUNKLINE_HEADER_X_COLOUR\"";
    let _serving = responder(&url, &["paint", "--exec", told]);
    let served = Served::start(&url, &[], &[]);
    let body = r#"{"channel": "paint", "payload": "x", "kind": "wall", "headers": {"x-colour": "dark red", "other": "é"}, "idempotent": true}"#;
    let (status, reply) = post(&served, "/api/v1/calls", body);
    assert_eq!((status, reply["payload"].as_str()), (200, Some("wall dark red")), "{reply}");
    let id = reply["id"].as_str().unwrap();
    let sent = served.get(&format!("/api/v1/requests/{id}")).json();
    assert_eq!((&sent["headers"]["other"], &sent["idempotent"]), (&"é".into(), &true.into()), "{sent}");
    // A reply by SQL has headers of its own; one that is no text comes as base64.
    sql(&url, "select trunkline.request_open('sql')");
    for (reply, payload) in [
        ("request_reply(claim, 'y', '{\"h\": \"v\"}')", ("payload", "y")),
        ("request_reply_bytes(claim, '\\xff00', '{\"h\": \"v\"}')", ("base64", "/wA=")),
    ] {
        let answers = format!(
            "do $$ begin
                perform trunkline.request_serve('sql');
                commit;
                for n in 1 .. 3000 loop
                    perform trunkline.{reply} from trunkline.request_take('sql');
                    exit when found;
                    commit;
                    perform pg_sleep(0.01);
                end loop;
            end $$"
        );
        let responders = "select responders::text from trunkline.request_channels() where channel = 'sql'";
        let came = std::thread::scope(|scope| {
            scope.spawn(|| sql(&url, &answers));
            until("the responder", || sql(&url, responders).as_deref() == Some("1"));
            post(&served, "/api/v1/calls", r#"{"channel": "sql", "payload": "x", "timeout_ms": 10000}"#)
        });
        let (status, told) = came;
        assert_eq!((status, &told["headers"]["h"]), (200, &"v".into()), "{told}");
        assert_eq!(told[payload.0], payload.1, "{told}");
        until("it to leave", || sql(&url, responders).as_deref() == Some("0"));
    }
}

/// A consumer with so many events, and where its batches are.
fn consumer(url: &str, served: &Served, events: u32) -> String {
    sql(url, "select trunkline.stream_open('orders')");
    let consumer = "/api/v1/streams/orders/consumers/billing";
    assert_eq!(post(served, consumer, r#"{"at": "beginning"}"#).0, 201);
    sql(
        url,
        &format!(
            "select count(trunkline.stream_append('orders', n::text)) from generate_series(1, {events}) n"
        ),
    );
    sql(url, "select trunkline.stream_tick('orders')");
    format!("{consumer}/batches")
}

/// Finishes a batch: the status and the code.
fn finish(served: &Served, batch: &Value, body: &str) -> (u16, String) {
    let path = format!("/api/v1/batches/{}/finish", batch["batch"].as_str().unwrap());
    let (status, said) = post(served, &path, body);
    (status, said["code"].as_str().unwrap_or_default().to_owned())
}

fn payloads(batch: &Value) -> Vec<&str> {
    let events = batch["events"].as_array().unwrap();
    events.iter().map(|e| e["payload"].as_str().unwrap()).collect()
}

#[test]
fn members_of_a_consumer_wait_share_or_take_over() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    let batches = consumer(&url, &served, 4);
    let next = |body: &str| post(&served, &batches, body);
    let (status, first) = next(r#"{"member": "a", "max": 2}"#);
    assert_eq!((status, payloads(&first)), (200, vec!["1", "2"]), "{first}");
    for body in [r#"{"member": "b"}"#, r#"{"member": "b", "mode": "fail"}"#, "{}"] {
        let (status, told) = next(body);
        assert_eq!((status, &told["code"]), (409, &"TL015".into()), "{body}: {told}");
    }
    // Beside it, what comes after; and each finishes its own.
    let (status, second) = next(r#"{"member": "b", "mode": "share", "max": 2}"#);
    assert_eq!((status, payloads(&second)), (200, vec!["3", "4"]), "{second}");
    assert_eq!(finish(&served, &second, "{}"), (200, String::new()));
    // Taken over, it is no longer its first holder's.
    let (status, taken) = next(r#"{"member": "b", "mode": "take"}"#);
    assert_eq!((status, payloads(&taken)), (200, vec!["1", "2"]), "{taken}");
    assert_eq!(finish(&served, &first, "{}"), (409, "TL001".to_owned()));
    assert_eq!(next(r#"{"member": "a"}"#).0, 409, "the other has it now");
    assert_eq!(finish(&served, &taken, "{}"), (200, String::new()));
    let (status, none) = next(r#"{"member": "a"}"#);
    assert!(status == 200 && none["batch"].is_null(), "all is done: {none}");
    let long = format!(r#"{{"member": "{}"}}"#, "x".repeat(101));
    assert_eq!(next(&long).0, 400);
}

#[test]
fn what_is_to_come_again_comes_after_its_time_and_not_before() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    let batches = consumer(&url, &served, 3);
    let batch = post(&served, &batches, "{}").1;
    let id = |n: usize| batch["events"][n]["id"].as_str().unwrap();
    let retry = format!(
        r#"{{"retry": [{{"id": "{}", "after_seconds": 0, "cause": "busy"}}, {{"id": "{}", "after_seconds": 3600}}]}}"#,
        id(0),
        id(2)
    );
    assert_eq!(finish(&served, &batch, &retry), (200, String::new()));
    let mut again = Value::Null;
    until("the first to come again", || {
        again = post(&served, &batches, "{}").1;
        again["batch"].is_string()
    });
    assert_eq!(payloads(&again), ["1"], "{again}");
    assert_eq!(
        (&again["events"][0]["id"], &again["events"][0]["attempt"]),
        (&batch["events"][0]["id"], &2.into())
    );
    assert_eq!(finish(&served, &again, "{}"), (200, String::new()));
    let due = "select count(*)::text from trunkline.stream_again
        where due_at between now() + interval '50 minutes' and now() + interval '1 hour'";
    assert_eq!(sql(&url, due).as_deref(), Some("1"), "the last one waits for its hour");
    assert!(post(&served, &batches, "{}").1["batch"].is_null());
    sql(&url, "update trunkline.stream_again set due_at = now()");
    until("the last to come again", || {
        again = post(&served, &batches, "{}").1;
        again["batch"].is_string()
    });
    assert_eq!(payloads(&again), ["3"], "{again}");
}

#[test]
fn when_its_daemon_dies_a_batch_goes_to_others() {
    let url = database();
    let (mut first, second) = (Served::start(&url, &[], &[]), Served::start(&url, &[], &[]));
    let batches = consumer(&url, &first, 3);
    let held = post(&first, &batches, "{}").1;
    assert_eq!(payloads(&held), ["1", "2", "3"], "{held}");
    let (status, told) = post(&second, &batches, "{}");
    assert_eq!((status, &told["code"]), (409, &"TL015".into()), "{told}");
    first.daemon.signal(Signal::SIGKILL);
    first.daemon.child.wait().unwrap();
    let mut taken = Value::Null;
    until("the other to have it", || {
        let (status, told) = post(&second, &batches, "{}");
        taken = told;
        status == 200
    });
    assert_eq!(taken["events"], held["events"], "the same once more");
    assert_ne!(taken["batch"], held["batch"]);
    assert_eq!(finish(&second, &held, "{}"), (409, "TL001".to_owned()), "what the dead one had");
    assert_eq!(finish(&second, &taken, "{}"), (200, String::new()));
}

/// Who hears: the lines of a stream of events.
fn hears(served: &Served, path: &str) -> (TcpStream, impl Iterator<Item = String> + use<>) {
    let stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(&stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    (stream, lines)
}

/// The data of the next event of this kind.
#[track_caller]
fn event(lines: &mut impl Iterator<Item = String>, kind: &str) -> Value {
    let (wanted, began) = (format!("event: {kind}"), Instant::now());
    // A line that says nothing comes each quarter of a minute, for an hour.
    let mut in_time = lines.take_while(|_| began.elapsed() < PATIENCE);
    in_time.find(|l| *l == wanted).unwrap_or_else(|| panic!("no {wanted}"));
    let data = lines.find(|l| l.starts_with("data: ")).unwrap();
    serde_json::from_str(data.trim_start_matches("data: ")).unwrap()
}

#[test]
fn who_hears_topics_is_told_of_what_was_lost_of_gaps_and_of_the_end() {
    let url = database();
    let dir = temporary();
    let clock = dir.path().join("clock");
    let served = on_a_moved_clock(&url, &clock, &[]);
    let (_stream, mut lines) = hears(&served, "/api/v1/topics/alarms/messages?kind=channel");
    event(&mut lines, "connected");
    sql(
        &url,
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    assert_eq!(event(&mut lines, "lost"), serde_json::json!({}));
    let gap = event(&mut lines, "gap");
    let (since, until_) = (gap["since"].as_str().unwrap(), gap["until"].as_str().unwrap());
    assert!(since.starts_with("20") && since < until_ && until_.ends_with('Z'), "{gap}");
    assert!(gap["missed"].is_null(), "a channel's messages are not counted: {gap}");
    event(&mut lines, "connected");
    sql(&url, "select trunkline.topic_publish('alarms', 'fire', kind => 'channel')");
    assert_eq!(event(&mut lines, "message")["payload"], "fire");
    // An hour later they are to come anew; whoever asks for anything wakes the timers.
    set(&clock, 3601);
    let end = std::thread::spawn(move || {
        let end = event(&mut lines, "end");
        (end, lines.any(|l| l.starts_with("event: ")))
    });
    until("the end", || served.get("/livez").status == 200 && end.is_finished());
    let (end, more) = end.join().unwrap();
    assert_eq!(end["reason"], "an hour is over");
    assert!(!more, "nothing comes after the end");
}

#[test]
fn beyond_64_who_hear_topics_the_answer_is_503_and_all_else_goes_on() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    let path = "/api/v1/topics/alarms/messages";
    let mut held: Vec<_> = (0..64).map(|_| hears(&served, path)).collect();
    for (n, (_, lines)) in held.iter_mut().enumerate() {
        let first = lines.next().unwrap_or_default();
        assert!(first.contains(" 200 "), "{n}: {first}");
        event(lines, "connected");
    }
    // Its head alone is read: what is not refused has no end.
    let (_stream, lines) = hears(&served, path);
    let head: Vec<String> = lines.take_while(|l| !l.is_empty()).map(|l| l.to_lowercase()).collect();
    assert!(head[0].contains(" 503 "), "{head:?}");
    for line in ["content-type: application/problem+json", "retry-after: 1"] {
        assert!(head.iter().any(|l| l == line), "{head:?}");
    }
    assert_eq!(served.get("/topics").status, 200);
    assert_eq!(post(&served, path, r#"{"payload": "fire"}"#).0, 201);
    for (_, lines) in &mut held {
        assert_eq!(event(lines, "message")["payload"], "fire");
    }
    held.pop();
    until("a place to be free", || {
        let (_stream, mut lines) = hears(&served, path);
        lines.next().is_some_and(|first| first.contains(" 200 "))
    });
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
