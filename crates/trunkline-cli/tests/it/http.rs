//! HTTP as hostile and careless clients meet it: who may come in, what is refused and how, and what stays up while others do not.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;
use trunkline_embedded::Mode;

use crate::{Running, code, database, ok, sql, start, stderr, temporary, trunkline, until};

pub(crate) const ADMIN: &str = "an-admin-token-0123456789";
pub(crate) const READER: &str = "a-reader-token-0123456789";

/// A daemon with its address.
pub(crate) struct Served {
    pub(crate) daemon: Running,
    pub(crate) address: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|l| l.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Served {
    pub(crate) fn start(url: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = trunkline(&["serve", "--http", "127.0.0.1:0"]);
        command.args(args).env("DATABASE_URL", url).envs(env.iter().copied());
        let mut daemon = Running::start(command);
        daemon.wait_for("dashboard at ");
        let line = daemon.seen.last().unwrap();
        let address = line.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned();
        Self { daemon, address }
    }

    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        raw(&self.address, bytes)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(n, _)| *n == "host") {
            text += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("content-length: {}\r\n", body.len());
        }
        self.raw(format!("{text}\r\n{body}").as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub(crate) fn post_json(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.ask("POST", path, &[&[("content-type", "application/json")], headers].concat(), body)
    }

    /// Posts a form with the secret of this page.
    pub(crate) fn form(&self, path: &str, headers: &[(&str, &str)], fields: &str) -> Answer {
        let page = self.ask("GET", "/try", headers, "");
        let secret =
            page.body.split("name=\"csrf\" value=\"").nth(1).unwrap_or("").split('"').next().unwrap();
        let body = format!("csrf={secret}&{fields}");
        let kind = ("content-type", "application/x-www-form-urlencoded");
        self.ask("POST", path, &[&[kind], headers].concat(), &body)
    }
}

/// Sends these bytes as they are, and reads until the end.
fn raw(address: &str, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(25))).unwrap();
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: unchunked(head, body) }
}

fn unchunked(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut out, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        if size == 0 || after.len() < size {
            break;
        }
        out += &after[..size];
        rest = after[size..].trim_start_matches("\r\n");
    }
    out
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) fn tokens() -> [(&'static str, &'static str); 2] {
    [("TRUNKLINE_ADMIN_TOKEN", ADMIN), ("TRUNKLINE_READER_TOKEN", READER)]
}

#[test]
fn every_page_and_every_part_of_the_api_answers_and_is_dressed() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('mail', 'x'), trunkline.stream_open('s'), trunkline.stream_register('s', 'c'),
                trunkline.lease_acquire('nightly', gen_random_uuid(), interval '1 hour', 'somebody')",
    );
    let served = Served::start(&url, &[], &[]);
    for path in [
        "/",
        "/?range=60",
        "/jobs",
        "/jobs/list",
        "/jobs/list?queue=mail&state=waiting",
        "/jobs/dead",
        "/schedules",
        "/streams",
        "/streams/s/c",
        "/requests",
        "/requests/list",
        "/topics",
        "/leases",
        "/processes",
        "/health",
        "/actions",
        "/try",
        "/login",
    ] {
        let page = served.get(path);
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        for inline in ["<style", " style=", " onclick=", "<script>", "javascript:"] {
            assert!(!page.body.contains(inline), "{path} has {inline}");
        }
    }
    let document = served.get("/api/v1/openapi.json").json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_some() && !path.contains('{') {
            let answer = served.get(path);
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json")),
                "{path}"
            );
        }
    }
    let style = served
        .get("/")
        .body
        .split("href=\"")
        .find(|s| s.starts_with("/assets") && s.contains(".css"))
        .unwrap()
        .to_owned();
    let sheet = served.get(style.split('"').next().unwrap());
    assert!(sheet.status == 200 && sheet.header("cache-control").unwrap().contains("immutable"));
    let metrics = served.get("/metrics").body;
    for line in [
        "trunkline_up 1",
        "trunkline_jobs{queue=\"mail\",state=\"waiting\"} 1",
        "trunkline_stream_consumer_lag_seconds{stream=\"s\",consumer=\"c\"} 0",
        "trunkline_topic_subscriptions{state=\"standby\"} 0",
        "trunkline_lease_held{lease=\"nightly\"} 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in {metrics}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_own_status() {
    let served = Served::start(&database(), &[], &[]);
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let long = format!("/{}", "x".repeat(10_000));
    let many: String = (0..200).map(|n| format!("h{n}: x\r\n")).collect();
    for (method, path, headers, body, status) in [
        ("GET", "/", &[("host", "evil.example")][..], "", 421),
        ("GET", "/nowhere", &[], "", 404),
        ("GET", "/jobs/%2e%2e%2fx", &[], "", 404),
        ("GET", "/jobs/%00", &[], "", 404),
        ("GET", "/jobs/%ff", &[], "", 400),
        ("GET", "/api/v1/jobs/%ff", &[], "", 400),
        ("GET", "/jobs/99999999999999999999", &[], "", 404),
        ("GET", "/jobs/7", &[], "", 404),
        ("GET", "/streams/'onmouseover='/x", &[], "", 404),
        ("GET", long.as_str(), &[], "", 404),
        ("GET", "/act", &[], "", 405),
        ("TRACE", "/", &[], "", 405),
        ("DELETE", "/api/v1/jobs", &[json], "{}", 405),
        ("POST", "/", &[form], "csrf=x", 403),
        ("POST", "/act", &[form], "action=job_pause&queue=q", 403),
        ("POST", "/act", &[("content-type", "text/plain")], "action=job_pause", 415),
        ("POST", "/api/v1/actions", &[("content-type", "text/plain")], "{}", 415),
        ("POST", "/api/v1/actions", &[json, ("content-encoding", "gzip")], "{}", 415),
        ("POST", "/api/v1/actions", &[json, ("origin", "http://evil.example")], "{}", 403),
        ("POST", "/api/v1/actions", &[json, ("sec-fetch-site", "cross-site")], "{}", 403),
        ("POST", "/api/v1/actions", &[json], "{\"action\": \"x\"}", 400),
        ("POST", "/api/v1/actions", &[json], "{\"action\": \"x\", \"target\": {}, \"more\": 1}", 400),
        ("POST", "/api/v1/actions", &[json], "{\"action\": \"x\", \"action\": \"y\", \"target\": {}}", 400),
        ("POST", "/api/v1/actions", &[json], "{\"action\": \"drop\", \"target\": {}}", 400),
        ("POST", "/api/v1/actions", &[json], "{\"action\": \"job_retry\", \"target\": {\"id\": \"x\"}}", 400),
        (
            "POST",
            "/api/v1/actions",
            &[json],
            "{\"action\": \"job_retry\", \"target\": {\"id\": \"9007199254740993\"}}",
            404,
        ),
        ("POST", "/api/v1/actions", &[json], "{\"action\": NaN, \"target\": {}}", 400),
        ("POST", "/api/v1/jobs", &[json], "{\"payload\": \"x\"}", 400),
        ("POST", "/api/v1/jobs", &[json], "{\"queue\": \"No Such Name\", \"payload\": \"x\"}", 400),
        ("POST", "/api/v1/jobs", &[json], "{\"queue\": \"q\", \"payload\": \"\\u0000\"}", 400),
        ("GET", "/api/v1/jobs?limit=-1", &[], "", 400),
        ("GET", "/api/v1/jobs?limit=1000000000", &[], "", 400),
        ("GET", "/api/v1/jobs?cursor=tampered", &[], "", 400),
        ("GET", "/api/v1/jobs?sort=;drop", &[], "", 400),
        ("GET", "/api/v1/jobs?state=none", &[], "", 400),
        ("GET", "/api/v1/jobs?payload={", &[], "", 400),
        ("GET", "/api/v1/jobs?since=yesterday", &[], "", 400),
        ("GET", "/api/v1/jobs?until=99999999999d", &[], "", 400),
        ("GET", "/api/v1/jobs?text=%00", &[], "", 400),
        ("GET", "/jobs/list?before=x", &[], "", 400),
        ("GET", "/jobs/list?since=-1", &[], "", 400),
    ] {
        let answer = served.ask(method, path, headers, body);
        assert_eq!(answer.status, status, "{method} {} {body}: {answer:?}", &path[..path.len().min(60)]);
        if path.starts_with("/api/") && status != 405 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path} {answer:?}");
            assert_eq!(answer.json()["status"], status);
        }
    }
    let heads = served.raw(format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").as_bytes());
    assert_eq!(heads.status, 431, "{heads:?}");
    let large = "x".repeat(2 * 1024 * 1024);
    assert_eq!(served.post_json("/api/v1/jobs", &[], &large).status, 413);
    let both = "POST /act HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!([400, 403, 415].contains(&served.raw(both.as_bytes()).status));
}

#[test]
fn a_head_is_a_get_without_its_body() {
    let served = Served::start(&database(), &[], &[]);
    let head = served.ask("HEAD", "/", &[], "");
    assert!(head.status == 200 && head.body.is_empty());
}

#[test]
fn a_slow_client_is_given_up_and_holds_nobody_up() {
    let served = Served::start(&database(), &[], &[]);
    let address = served.address.clone();
    let halves: [&[u8]; 2] = [
        b"POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{",
        b"GET / HTTP/1.1\r\nhost: loc",
    ];
    let slow: Vec<_> = (0..200).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let told = halves.map(|half| {
        let address = address.clone();
        std::thread::spawn(move || raw(&address, half).status)
    });
    assert_eq!(served.get("/livez").status, 200, "with {} that say nothing", slow.len());
    let told = told.map(|t| t.join().unwrap());
    assert_eq!(told[0], 408);
    assert!([0, 408].contains(&told[1]), "closed, or told: {told:?}");
}

#[test]
fn beyond_the_slots_the_answer_is_503_and_the_daemon_goes_on() {
    let url = database();
    let mut served = Served::start(&url, &[], &[]);
    let held: Vec<TcpStream> = (0..512).map(|_| TcpStream::connect(&served.address).unwrap()).collect();
    until("all slots to be taken", || served.get("/livez").status == 503);
    drop(held);
    until("a slot to be free", || served.get("/livez").status == 200);
    served.daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(served.daemon.end().0, 0);
}

#[test]
fn beyond_those_who_may_watch_the_answer_is_503_and_who_never_reads_is_no_burden() {
    let url = database();
    sql(
        &url,
        "select count(trunkline.job_open('queue-of-a-long-name-' || n)) from generate_series(1, 200) n",
    );
    let served = Served::start(&url, &[], &[]);
    let watch = || {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
        write!(stream, "GET /live?page=jobs HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, String::from_utf8_lossy(&status[9..]).into_owned())
    };
    // They read the status, and never anything more.
    let held: Vec<_> = (0..256).map(|_| watch()).collect();
    assert!(held.iter().all(|(_, status)| status == "200"));
    assert_eq!(watch().1, "503");
    assert_eq!(served.get("/jobs").status, 200);
    drop(held);
    until("a place to be free", || watch().1 == "200");
}

#[test]
fn another_address_needs_a_token_and_a_token_is_a_role() {
    let url = database();
    let refused = crate::run(&url, &["serve", "--http", "0.0.0.0:0"]);
    assert_eq!(code(&refused), 8, "{}", stderr(&refused));
    let mut short = trunkline(&["serve", "--http", "127.0.0.1:0"]);
    let short = short.env("DATABASE_URL", &url).env("TRUNKLINE_ADMIN_TOKEN", "short").output().unwrap();
    assert!(code(&short) == 2 && !stderr(&short).contains("short\""), "{}", stderr(&short));

    let served = Served::start(&url, &[], &tokens());
    let (admin, reader) = (bearer(ADMIN), bearer(READER));
    sql(&url, "select trunkline.job_push('mail', 'S3cret')");
    assert_eq!(served.get("/").status, 303, "to the login form");
    for path in ["/metrics", "/api/v1/jobs", "/live?page=overview"] {
        assert_eq!(served.get(path).status, 401, "{path}");
    }
    for path in ["/livez", "/readyz", "/login"] {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    let jobs = served.ask("GET", "/api/v1/jobs", &[("authorization", &reader)], "");
    let id = jobs.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let as_reader = served.ask("GET", &format!("/api/v1/jobs/{id}"), &[("authorization", &reader)], "");
    assert!(as_reader.status == 200 && !as_reader.body.contains("S3cret"), "{as_reader:?}");
    for path in [
        "/api/v1/jobs?payload=%7B%7D",
        "/api/v1/jobs?text=x",
        "/jobs/list?payload=%7B%7D",
        "/jobs/list?payload=x",
    ] {
        assert_eq!(served.ask("GET", path, &[("authorization", &reader)], "").status, 403, "{path}");
        assert_eq!(served.ask("GET", path, &[("authorization", &admin)], "").status, 200, "{path}");
    }
    let pause = r#"{"action": "job_pause", "target": {"queue": "mail"}}"#;
    assert_eq!(served.post_json("/api/v1/actions", &[("authorization", &reader)], pause).status, 403);
    assert_eq!(
        served
            .post_json("/api/v1/jobs", &[("authorization", &reader)], r#"{"queue": "q", "payload": "x"}"#)
            .status,
        403
    );
    let done = served.post_json("/api/v1/actions", &[("authorization", &admin)], pause);
    assert!(done.status == 200 && done.json()["result"] == true, "{done:?}");
    let reveal = format!(r#"{{"action": "job_reveal", "target": {{"id": "{id}"}}}}"#);
    let revealed = served.post_json("/api/v1/actions", &[("authorization", &reader)], &reveal);
    assert!(revealed.body.contains("S3cret"), "{revealed:?}");
    let noted = "select string_agg(concat_ws(' ', who, name, before ->> 'paused_at' is null, after ->> 'paused_at' is not null), ', ' order by id) from trunkline.action";
    assert_eq!(
        sql(&url, noted).as_deref(),
        Some("admin at 127.0.0.1 job_pause t t, reader at 127.0.0.1 job_reveal t f")
    );
    let kept = sql(&url, "select count(*) from trunkline.action where action::text like '%S3cret%'");
    assert_eq!(kept.as_deref(), Some("0"), "no payload in the note");
    for _ in 0..19 {
        assert_eq!(served.ask("GET", "/metrics", &[("authorization", &bearer("wrong"))], "").status, 401);
    }
    assert_eq!(served.ask("GET", "/metrics", &[("authorization", "Basic eDp5")], "").status, 401);
    assert_eq!(served.ask("GET", "/metrics", &[("authorization", &bearer("wrong"))], "").status, 429);
    assert!(!served.daemon.seen.iter().any(|l| l.contains(ADMIN)));
}

#[test]
fn the_login_form_gives_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let url = database();
    sql(&url, "select trunkline.job_push('mail', 'S3cret')");
    let served = Served::start(&url, &["--http-name", "https://ops.example.org"], &tokens());
    let form = ("content-type", "application/x-www-form-urlencoded");
    let wrong = served.ask("POST", "/login", &[form], "token=wrong");
    assert!(wrong.status == 401 && wrong.body.contains("not known"), "{wrong:?}");
    assert_eq!(
        served.ask("POST", "/login", &[form, ("origin", "https://evil.example")], "token=x").status,
        403
    );
    let logged = served.ask("POST", "/login", &[form], &format!("token={READER}"));
    let cookie = logged.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with = [("cookie", cookie.as_str())];
    assert_eq!(served.ask("GET", "/", &with, "").status, 200);
    let id =
        served.ask("GET", "/api/v1/jobs", &with, "").json()["items"][0]["id"].as_str().unwrap().to_owned();
    let page = served.ask("GET", &format!("/jobs/{id}"), &with, "");
    assert!(
        page.body.contains("Reveal") && !page.body.contains("S3cret") && !page.body.contains("Cancel"),
        "{page:?}"
    );
    let shown = served.form("/act", &with, &format!("action=job_reveal&id={id}"));
    assert!(shown.status == 200 && shown.body.contains("S3cret"), "{shown:?}");
    for fields in [format!("action=job_cancel&id={id}"), "action=job_pause&queue=mail".to_owned()] {
        assert_eq!(served.form("/act", &with, &fields).status, 403);
    }
    assert_eq!(served.ask("POST", "/act", &[form, with[0]], "csrf=x&action=job_reveal&id=1").status, 403);
    assert_eq!(served.ask("GET", "/", &[with[0], ("host", "ops.example.org")], "").status, 200);
    served.form("/logout", &with, "");
    assert_eq!(served.ask("GET", "/", &with, "").status, 303, "logged out");
}

#[test]
fn while_the_database_is_away_it_lives_and_says_503() {
    let dir = temporary();
    let first = start(&dir.path().join("pg"));
    let url = first.url();
    ok(&url, &["-q", "schema", "install"]);
    let served = Served::start(&url, &[], &[]);
    assert_eq!(served.get("/readyz").status, 200);
    first.stop(Mode::Immediate).unwrap();
    for path in ["/", "/jobs/list", "/health", "/api/v1/queues", "/readyz"] {
        assert_eq!(served.get(path).status, 503, "{path}");
    }
    assert_eq!(served.get("/livez").status, 200);
    assert!(served.get("/metrics").body.contains("trunkline_up 0"));
    let _second = start(&dir.path().join("pg")).stop_on_drop();
    until("it to be back", || served.get("/").status == 200 && served.get("/readyz").status == 200);
}

#[test]
fn one_snapshot_a_second_serves_all_who_watch_and_none_is_taken_while_nobody_does() {
    let url = database();
    let name = sql(&url, "select current_database()").unwrap();
    sql(&url, &format!("alter database {name} set track_functions = 'pl'"));
    let calls = || -> u64 {
        let counted =
            "select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname = 'job_queues'";
        sql(&url, counted).unwrap().parse().unwrap()
    };
    let served = Served::start(&url, &[], &[]);
    let began = std::time::Instant::now();
    let watch = || {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
        write!(stream, "GET /live?page=jobs HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        stream
    };
    let mut watchers: Vec<TcpStream> = (0..20).map(|_| watch()).collect();
    for n in 0..4 {
        sql(&url, &format!("select trunkline.job_push('seen-live-{n}', 'x')"));
        for stream in &mut watchers {
            let mut heard = String::new();
            while !heard.contains(&format!("seen-live-{n}")) {
                let mut bytes = [0; 4096];
                let got = stream.read(&mut bytes).unwrap();
                assert!(got > 0, "it ended: {heard}");
                heard += &String::from_utf8_lossy(&bytes[..got]);
            }
        }
    }
    for _ in 0..50 {
        assert_eq!(served.get("/jobs").status, 200);
    }
    until("the calls to be counted", || calls() >= 3);
    // They are counted when their session rests, a second or so later; by then a snapshot for each page would be too.
    sql(&url, "select pg_sleep(1.5)");
    let (seen, most) = (calls(), began.elapsed().as_secs() + 2);
    assert!(seen <= most, "{seen} snapshots for 20 who watched for {:?}", began.elapsed());
    drop(watchers);
    until("it to rest", || {
        let before = calls();
        sql(&url, "select pg_sleep(2.5)");
        calls() == before
    });
}
