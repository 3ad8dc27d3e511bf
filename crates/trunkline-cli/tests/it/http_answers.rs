//! What the API answers is what its document says, field by field; and what the dashboard shows is in it.

use serde_json::Value;

use crate::{
    database,
    http::{ADMIN, READER, Served, bearer, tokens},
    ok, responder, sql, until,
};

/// What is wrong with a value, by its schema; a field that the schema does not tell of is wrong too.
fn wrong(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(to) = schema["$ref"].as_str() {
        return wrong(document, document.pointer(to.trim_start_matches('#')).unwrap(), value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let each = any.iter().map(|s| wrong(document, s, value, at));
        return each.min_by_key(Vec::len).unwrap();
    }
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("{at}: {kind}"),
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|k| is(k)) {
        return vec![format!("{at} is no {kinds:?}: {value}")];
    }
    let mut found = Vec::new();
    let digits = |text: &str| (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(text) = value.as_str() {
        let fits = match (schema["pattern"].as_str(), schema["format"].as_str()) {
            (Some("^[0-9]{1,18}$"), _) => digits(text),
            (Some("^[0-9]{1,18}-[0-9]{1,18}$"), _) => {
                text.split_once('-').is_some_and(|(a, b)| digits(a) && digits(b))
            }
            (Some(pattern), _) => panic!("{at}: {pattern}"),
            (None, Some("date-time")) => text.get(10..11) == Some("T"),
            _ => true,
        };
        found.extend((!fits).then(|| format!("{at} does not fit: {value}")));
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(wrong(document, &schema["items"], item, &format!("{at}[{n}]")));
    }
    if let Some(fields) = schema["properties"].as_object() {
        let must = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(must.filter(|f| value.get(*f).is_none()).map(|f| format!("{at}.{f} is missing")));
        for (name, field) in value.as_object().into_iter().flatten() {
            match fields.get(name) {
                Some(schema) => found.extend(wrong(document, schema, field, &format!("{at}.{name}"))),
                None => found.push(format!("{at}.{name} is not told of")),
            }
        }
    }
    found
}

/// A program that asks, and holds each answer against the document.
struct Reader {
    served: Served,
    document: Value,
}

impl Reader {
    /// The answer of a path of the document, asked for at this address.
    #[track_caller]
    fn fits(&self, path: &str, method: &str, at: &str, body: &str) -> Value {
        let answer = match method {
            "get" => self.served.get(at),
            _ => self.served.post_json(at, &[], body),
        };
        let told = &self.document["paths"][path][method]["responses"][answer.status.to_string()];
        let schema = &told["content"]["application/json"]["schema"];
        assert!(answer.status < 300 && schema.is_object(), "{method} {at}: {answer:?}");
        let value = answer.json();
        let found = wrong(&self.document, schema, &value, "");
        assert!(found.is_empty(), "{method} {at}: {found:#?}\n{value}");
        value
    }
}

/// Something of everything, so that no list is empty.
fn fill(url: &str) {
    crate::http_hostile::plant(url);
    for statement in [
        "select trunkline.request_open('hash')",
        "select trunkline.request_send('hash', 'x', wait_for_responder => true, timeout => '1 hour')",
        "select trunkline.job_push('limited', 'x')",
        "select trunkline.topic_publish('news', 'x')",
        "select trunkline.topic_create('kept', 'durable')",
        "select trunkline.stream_seek('letters', 'other', 'end')",
        "select trunkline.lease_acquire('nightly', gen_random_uuid(), interval '1 hour', 'somebody')",
        "select trunkline.action_do('somebody', 'job_pause', '{\"queue\": \"limited\"}')",
    ] {
        sql(url, statement);
    }
    ok(url, &["jobs", "cron", "add", "sometimes", "limited", "0 3 * * *", "x"]);
}

#[test]
fn every_answer_is_as_the_document_says() {
    let url = database();
    fill(&url);
    let _upper = responder(&url, &["upper", "--exec", "tr a-z A-Z"]);
    let served = Served::start(&url, &[], &[]);
    let document = served.get("/api/v1/openapi.json").json();
    let reader = Reader { served, document };
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let fits = |path: &str, at: &str, body: &str| reader.fits(path, "post", at, body);
    let job = id(&fits("/api/v1/jobs", "/api/v1/jobs", r#"{"queue": "mail", "payload": "x"}"#));
    let request = r#"{"channel": "upper", "payload": "x"}"#;
    let request = id(&fits("/api/v1/requests", "/api/v1/requests", request));
    fits("/api/v1/calls", "/api/v1/calls", r#"{"channel": "upper", "payload": "x"}"#);
    fits("/api/v1/actions", "/api/v1/actions", r#"{"action": "job_resume", "target": {"queue": "limited"}}"#);
    let message = "/api/v1/topics/{topic}/messages";
    fits(message, "/api/v1/topics/news/messages", r#"{"payload": "x"}"#);
    fits(message, "/api/v1/topics/plain/messages", r#"{"payload": "x", "kind": "channel"}"#);
    let consumer = "/api/v1/streams/{stream}/consumers/{consumer}";
    let mine = "/api/v1/streams/letters/consumers/mine";
    fits(consumer, mine, "{}");
    let (batches, there) = (format!("{consumer}/batches"), format!("{mine}/batches"));
    fits(&batches, &there, "{}");
    fits("/api/v1/streams/{stream}/events", "/api/v1/streams/letters/events", r#"{"payload": "x"}"#);
    let mut batch = Value::Null;
    until("a batch", || {
        batch = fits(&batches, &there, "{}");
        batch["batch"].is_string()
    });
    let finish = format!("/api/v1/batches/{}/finish", batch["batch"].as_str().unwrap());
    fits("/api/v1/batches/{batch}/finish", &finish, "{}");
    let hear = reader.served.address.clone();
    let hearing = std::net::TcpStream::connect(hear).unwrap();
    std::io::Write::write_all(
        &mut &hearing,
        b"GET /api/v1/topics/news/messages HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )
    .unwrap();
    until("somebody to listen", || {
        !reader.served.get("/api/v1/subscriptions").json()["items"].as_array().unwrap().is_empty()
    });
    let mut asked = 0;
    for (path, methods) in reader.document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path == message {
            continue;
        }
        let thing = if path.contains("/jobs/") { &job } else { &request };
        let at = path.replace("{id}", thing).replace("{stream}", "letters").replace("{consumer}", "reader");
        let at = if path.ends_with("overview") { format!("{at}?points=900") } else { at };
        let value = reader.fits(path, "get", &at, "");
        let many = value["items"].as_array().map(Vec::len);
        assert!(many != Some(0), "{path}: of nothing nothing is seen");
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
    // A cursor is what its parameter says, wherever there is one.
    for path in ["/api/v1/jobs", "/api/v1/dead", "/api/v1/requests", "/api/v1/actions"] {
        let parameters = &reader.document["paths"][path]["get"]["parameters"];
        let cursor = parameters.as_array().unwrap().iter().find(|p| p["name"] == "cursor").unwrap();
        let next = reader.served.get(&format!("{path}?limit=1")).json()["next"].clone();
        assert!(next.is_string(), "{path}");
        assert_eq!(wrong(&reader.document, &cursor["schema"], &next, path), Vec::<String>::new());
    }
}

#[test]
fn what_a_chart_shows_is_in_the_overview_and_what_flows_in_each_queue() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    assert!(served.get("/api/v1/queues").json()["items"].as_array().unwrap().is_empty());
    let mut queue = Value::Null;
    until("it to flow", || {
        sql(&url, "select trunkline.job_push('mail', 'x') from generate_series(1, 50)");
        queue = served.get("/api/v1/queues").json()["items"][0].clone();
        queue["pushed_per_second"].as_f64() > Some(0.0)
    });
    assert_eq!(queue["ended_per_second"], 0.0, "{queue}");
    let overview = served.get("/api/v1/overview?points=900").json();
    let points = overview["points"].as_array().unwrap();
    assert_eq!(points.last(), Some(&overview["per_second"]), "{overview}");
    assert!(points.iter().any(|p| p["pushed"].as_f64() > Some(0.0)), "{points:?}");
    assert!(points.is_sorted_by_key(|p| p["at"].as_f64()), "{points:?}");
    assert!(overview["queues"][0]["pushed_per_second"].is_number(), "{overview}");
    assert_eq!(served.get("/api/v1/overview").json()["points"], serde_json::json!([]));
    for bad in ["points=901", "points=-1", "points=x", "range=1"] {
        assert_eq!(served.get(&format!("/api/v1/overview?{bad}")).status, 400, "{bad}");
    }
}

/// Two dead letters of a consumer, with a secret in each.
fn letters(url: &str) {
    sql(url, "select trunkline.stream_open('s'), trunkline.stream_register('s', 'c')");
    sql(
        url,
        "select trunkline.stream_append('s', 'S3cret', headers => '{\"h\": \"S3cret\"}') from generate_series(1, 2)",
    );
    sql(url, "select trunkline.stream_tick('s')");
    let batch = sql(url, "select batch from trunkline.stream_next_batch('s', 'c')").unwrap();
    let ids = format!("array(select id from trunkline.stream_events('{batch}'))");
    sql(url, &format!("select trunkline.stream_retry('{batch}', {ids}, null, 'no route')"));
    sql(url, &format!("select trunkline.stream_finish('{batch}')"));
}

#[test]
fn a_reader_is_told_why_letters_are_dead_and_not_what_is_in_them() {
    let url = database();
    letters(&url);
    let served = Served::start(&url, &[], &tokens());
    let seen = |token: &str| {
        let by = bearer(token);
        served.ask("GET", "/api/v1/streams/s/consumers/c/dead", &[("authorization", &by)], "")
    };
    let (reader, admin) = (seen(READER), seen(ADMIN));
    assert!(reader.status == 200 && !reader.body.contains("S3cret"), "{reader:?}");
    assert_eq!(reader.json()["items"][1]["cause"], "no route");
    assert_eq!(admin.json()["items"][1]["payload"], "S3cret");
}

#[test]
fn who_replays_or_deletes_all_letters_is_told_how_many_there_are() {
    let url = database();
    letters(&url);
    let served = Served::start(&url, &[], &[]);
    let asked = |action: &str, more: &str| {
        let page = served.form("/act", &[], &format!("action={action}&stream=s&consumer=c&back=/{more}"));
        assert_eq!(page.status, 200, "{page:?}");
        page.body
    };
    let replay = asked("stream_replay", "");
    assert!(replay.contains("Do you mean to replay 2 dead letters?"), "{replay}");
    let letter = sql(&url, "select min(id)::text from trunkline.stream_dead_letters('s', 'c')").unwrap();
    let one = asked("stream_purge", &format!("&id={letter}"));
    assert!(one.contains("Do you mean to delete 1 dead letter?"), "{one}");
    let done = served.form(
        "/act",
        &[],
        &format!("action=stream_purge&stream=s&consumer=c&id={letter}&confirm=yes&back=/"),
    );
    assert_eq!(done.status, 303, "{done:?}");
    let purge = asked("stream_purge", "");
    assert!(purge.contains("Do you mean to delete 1 dead letter?"), "{purge}");
}

#[test]
fn what_is_tried_is_looked_at_where_it_went() {
    let url = database();
    sql(&url, "select trunkline.stream_open('orders'), trunkline.topic_create('kept', 'durable')");
    let served = Served::start(&url, &[], &[]);
    for (word, to, action, target) in [
        ("event", "orders", "stream_peek", "stream"),
        ("message", "news.today", "topic_peek", "topic"),
        ("message", "kept", "stream_peek", "stream"),
    ] {
        let sent = served.form("/try", &[], &format!("word={word}&to={to}&payload=what+I+wrote"));
        let there = sent.header("location").unwrap_or_else(|| panic!("{sent:?}")).to_owned();
        let id = there.rsplit('=').next().unwrap();
        let page = served.get(&there).body;
        assert!(page.contains(&format!("{id} is in <strong>{to}</strong>")), "{there}: {page}");
        assert!(page.contains(&format!("value=\"{action}\"")), "{there}: {page}");
        assert!(page.contains(&format!("name=\"{target}\" value=\"{to}\"")), "{there}: {page}");
        let seen = served.form("/act", &[], &format!("action={action}&{target}={to}")).body;
        assert!(seen.contains(&format!("<strong>{id}</strong>")) && seen.contains("what I wrote"), "{seen}");
    }
    for said in
        ["/try?word=event&to=Your+account+is+closed&id=7", "/try?word=job&to=x&id=7", "/try?word=event"]
    {
        assert!(!served.get(said).body.contains("is in <strong>"), "{said}");
    }
}

#[test]
fn the_overview_tells_what_the_doctor_says() {
    let url = database();
    let served = Served::start(&url, &[], &[]);
    let found = served.get("/api/v1/findings").json();
    // The server of the tests runs without fsync.
    let many = format!("critical</span> {} to mend", found["items"].as_array().unwrap().len());
    until("the doctor to say so", || served.get("/").body.contains(&many));
    // He is not asked again within a minute.
    sql(&url, "drop function trunkline.stream_peek(text, int)");
    let now = served.get("/api/v1/findings").json();
    assert!(now["items"].as_array().unwrap().len() > found["items"].as_array().unwrap().len(), "{now}");
    for n in 1..=3 {
        sql(&url, "select trunkline.job_push('mail', 'x')");
        let newer = format!("<dt>waiting</dt><dd class=\"\">{n}</dd>");
        let mut page = String::new();
        until("a newer snapshot", || {
            page = served.get("/").body;
            page.contains(&newer)
        });
        assert!(page.contains(&many), "{page}");
    }
}

#[test]
fn all_that_fit_are_those_that_the_list_shows_and_a_group_of_the_dead_is_only_that_group() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('mail', p, max_attempts => 1) from unnest(array['one', 'two', 'three', 'four']) p",
    );
    sql(
        &url,
        "select trunkline.job_fail(claim, case when payload in ('one', 'two') then 'no route to 10.0.0.' || slot else 'quota' end)
           from (select *, row_number() over () as slot from trunkline.job_take('mail', 3)) t",
    );
    let served = Served::start(&url, &[], &[]);
    // The fields of the form whose button says so, as a browser sends them.
    let form = |path: &str, after: &str, button: &str| -> Option<String> {
        let page = served.get(path).body;
        let (_, page) = page.split_once(after)?;
        let (form, _) = page.split_once(&format!(">{button}</button>"))?;
        let (_, form) = form.rsplit_once("<form ")?;
        let fields = form.split("<input ").skip(1).filter_map(|input| {
            let of =
                |name: &str| Some(input.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned());
            Some((of("name")?, of("value")?))
        });
        let encoded = |text: String| -> String {
            text.replace("&amp;", "&").bytes().map(|b| format!("%{b:02x}")).collect()
        };
        let fields = fields
            .filter(|(name, _)| name != "csrf")
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        Some(fields.collect::<Vec<_>>().join("&"))
    };
    for (query, button, fit) in [
        ("", "Delete", None),
        ("queue=mail", "Delete", None),
        ("queue=mail&state=dead", "Delete", Some(3)),
        ("queue=mail&state=dead&payload=on", "Delete", Some(1)),
        ("queue=mail&state=dead&payload=o&since=1h", "Retry", Some(2)),
        ("queue=mail&state=dead&until=2100-01-01", "Delete", Some(3)),
        ("queue=mail&state=waiting&since=1h", "Cancel", Some(1)),
    ] {
        let path = format!("/jobs/list?{query}");
        let form = form(&path, "All that fit:", button);
        assert_eq!(form.is_some(), fit.is_some(), "{query}");
        assert_eq!(
            served.get(&path).body.contains("To do something to all that fit"),
            fit.is_none(),
            "{query}"
        );
        let (Some(form), Some(fit)) = (form, fit) else { continue };
        let asked = served.form("/act", &[], &form).body;
        let jobs = if fit == 1 { "job" } else { "jobs" };
        assert!(asked.contains(&format!("{} {fit} {jobs}?", button.to_lowercase())), "{query}: {asked}");
    }
    let group = form("/jobs/dead", "no route to #.#.#.#", "Delete these").unwrap();
    let done = served.form("/act", &[], &format!("{group}&confirm=yes"));
    assert_eq!(done.header("location"), Some("/jobs/dead?done=job_delete_all&n=2"), "{done:?}");
    assert_eq!(
        sql(&url, "select cause || ' ' || many from trunkline.job_dead()").as_deref(),
        Some("quota 1")
    );
}

#[test]
fn what_a_word_can_do_it_can_do_over_http() {
    let url = database();
    sql(
        &url,
        "select trunkline.stream_open('s'), trunkline.stream_register('s', 'c'), trunkline.request_open('r')",
    );
    let served = Served::start(&url, &[], &[]);
    let post = |path: &str, body: &str| served.post_json(path, &[], body);
    let job = r#"{"queue": "q", "payload": "x", "kind": "k", "key": "a", "unique_key": "u", "priority": 2, "max_attempts": 3,
        "headers": {"h": "1"}, "delay_seconds": 3600, "options": {"on_conflict": "replace"}}"#;
    let first = post("/api/v1/jobs", job);
    assert_eq!(first.status, 201, "{first:?}");
    let second = post("/api/v1/jobs", &job.replace("\"x\"", "\"y\""));
    assert_eq!(first.json(), second.json(), "the payload of the one that waits is replaced");
    let told = "select concat_ws(' ', kind, key, unique_key, priority, max_attempts, headers ->> 'h', payload, state, \
        due_at between now() + interval '59 min' and now() + interval '61 min') from trunkline.job_show((select max(id) from trunkline.job))";
    assert_eq!(sql(&url, told).as_deref(), Some("k a u 2 3 1 y scheduled t"));
    let at = r#"{"queue": "q", "payload": "x", "run_at": "2030-01-01T00:00:00+02:00"}"#;
    assert_eq!(post("/api/v1/jobs", at).status, 201);
    assert_eq!(
        sql(&url, "select count(*) from trunkline.job_held where due_at = '2029-12-31T22:00Z'").as_deref(),
        Some("1")
    );
    for (path, body, said) in [
        ("/api/v1/jobs", r#"{"queue": "q", "payload": "x", "run_at": "soon"}"#, "soon"),
        (
            "/api/v1/jobs",
            r#"{"queue": "q", "payload": "x", "run_at": "2100-01-01T00:00:00Z", "delay_seconds": 1}"#,
            "not both",
        ),
        ("/api/v1/jobs", r#"{"queue": "q", "payload": "x", "delay_seconds": -1}"#, "delay_seconds"),
        ("/api/v1/jobs", r#"{"queue": "q", "payload": "x", "delay_seconds": 1e300}"#, "delay_seconds"),
        ("/api/v1/jobs", r#"{"queue": "q", "payload": "x", "priority": 10}"#, "priority"),
        ("/api/v1/jobs", r#"{"queue": "q", "payload": "x", "headers": {"h": 1}}"#, "header values"),
        ("/api/v1/jobs", r#"{"queue": "q", "payload": "x", "options": {"colour": "red"}}"#, "colour"),
        ("/api/v1/jobs", r#"{"channel": "q", "payload": "x"}"#, "channel"),
        ("/api/v1/streams/s/events", r#"{"payload": "x", "priority": 1}"#, "priority"),
        ("/api/v1/requests", r#"{"channel": "r", "payload": "x", "timeout_ms": 604800001}"#, "timeout"),
    ] {
        let answer = post(path, body);
        assert!(answer.status == 400 && answer.body.contains(said), "{path} {body}: {answer:?}");
    }
    let event = post(
        "/api/v1/streams/s/events",
        r#"{"payload": "x", "kind": "k", "key": "a", "headers": {"h": "1"}}"#,
    );
    assert_eq!(event.status, 201, "{event:?}");
    let batch = "select concat_ws(' ', e.type, e.key, e.headers ->> 'h') from trunkline.stream_peek('s') e";
    assert_eq!(sql(&url, batch).as_deref(), Some("k a 1"));
    let _serving = responder(&url, &["r", "--echo"]);
    let request = r#"{"channel": "r", "payload": "x", "kind": "k", "headers": {"h": "1"}, "timeout_ms": 5000, "idempotent": true}"#;
    let sent = post("/api/v1/requests", request);
    assert_eq!(sent.status, 201, "{sent:?}");
    let told = "select concat_ws(' ', s.type, s.headers ->> 'h', s.idempotent, s.expires_at - s.sent_at between interval '4 s' and interval '6 s')
        from trunkline.request_list() l cross join lateral trunkline.request_show(l.id) s";
    assert_eq!(sql(&url, told).as_deref(), Some("k 1 t t"));
}
