//! What is seen once it was noted who looks, and lists that are read page by page.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    database,
    http::{ADMIN, READER, Served, bearer, tokens},
    sql,
};

/// A message by each word, with a secret in it, and of a thousand characters more than is shown of it.
fn planted(url: &str) -> (String, String) {
    sql(url, "select trunkline.stream_open('s'), trunkline.stream_register('s', 'c')");
    sql(url, "select trunkline.stream_append('s', 'S3cret letter', headers => '{\"h\": \"S3cret header\"}')");
    sql(url, "select trunkline.stream_tick('s')");
    let batch = sql(url, "select batch from trunkline.stream_next_batch('s', 'c')").unwrap();
    sql(
        url,
        &format!(
            "select trunkline.stream_retry('{batch}', array(select id from trunkline.stream_events('{batch}')), null, 'no route')"
        ),
    );
    sql(url, &format!("select trunkline.stream_finish('{batch}')"));
    sql(url, "select trunkline.topic_publish('news', 'S3cret news')");
    let request = sql(
        url,
        "select trunkline.request_send('hash', 'S3cret request', wait_for_responder => true, timeout => '1 hour')::text",
    );
    let letter = sql(url, "select id::text from trunkline.stream_dead_letters('s', 'c')");
    (request.unwrap(), letter.unwrap())
}

#[test]
fn a_reader_sees_what_he_reveals_or_peeks_at_and_that_is_noted_without_it() {
    let url = database();
    let (request, letter) = planted(&url);
    let served = Served::start(&url, &[], &tokens());
    let (admin, reader) = (bearer(ADMIN), bearer(READER));
    let (admin, reader) = ([("authorization", admin.as_str())], [("authorization", reader.as_str())]);
    for (page, action) in [
        (format!("/requests/{request}"), "request_reveal"),
        ("/streams/s/c".to_owned(), "stream_reveal"),
        ("/streams".to_owned(), "stream_peek"),
        ("/topics".to_owned(), "topic_peek"),
    ] {
        let hidden = served.ask("GET", &page, &reader, "");
        assert!(hidden.status == 200 && !hidden.body.contains("S3cret"), "{page}: {hidden:?}");
        assert!(hidden.body.contains(&format!("value=\"{action}\"")), "{page} offers {action}");
        assert!(!hidden.body.contains("value=\"stream_purge\""), "{page}");
        let shown = served.ask("GET", &page, &admin, "");
        assert_eq!(shown.body.contains("S3cret"), !action.ends_with("peek"), "{page}: {shown:?}");
    }
    let api = served.ask("GET", &format!("/api/v1/requests/{request}"), &reader, "").json();
    assert!(api["payload"].is_null() && api["headers"].is_null() && api["bytes"] == 14, "{api}");
    let api = served.ask("GET", &format!("/api/v1/requests/{request}"), &admin, "").json();
    assert_eq!(api["payload"], "S3cret request", "{api}");
    for (action, target, secret) in [
        ("request_reveal", format!("request={request}"), "S3cret request"),
        ("stream_reveal", format!("stream=s&consumer=c&id={letter}"), "S3cret header"),
        ("stream_peek", "stream=s".to_owned(), "S3cret letter"),
        ("topic_peek", "topic=news".to_owned(), "S3cret news"),
    ] {
        let shown = served.form("/act", &reader, &format!("action={action}&{target}"));
        assert!(shown.status == 200 && shown.body.contains(secret), "{action}: {shown:?}");
        let fields: Vec<String> = target
            .split('&')
            .filter_map(|f| f.split_once('='))
            .map(|(name, value)| format!("\"{name}\": \"{value}\""))
            .collect();
        let body = format!(r#"{{"action": "{action}", "target": {{{}}}}}"#, fields.join(", "));
        let told = served.post_json("/api/v1/actions", &reader, &body);
        assert!(told.status == 200 && told.body.contains(secret), "{action}: {told:?}");
    }
    let gone = served.form("/act", &reader, "action=stream_reveal&stream=s&consumer=c&id=999&back=/streams");
    assert!(gone.header("location").is_some_and(|to| to.contains("done=nothing")), "{gone:?}");
    for (fields, status) in [
        ("action=request_reveal&request=999", 404),
        ("action=request_reveal&request=x", 400),
        ("action=stream_peek&stream=nowhere", 404),
        ("action=stream_purge&stream=s&consumer=c", 403),
    ] {
        assert_eq!(served.form("/act", &reader, fields).status, status, "{fields}");
    }
    let noted = "select string_agg(n, ' ' order by n) from (select name || ':' || count(*) n from trunkline.action where who like 'reader%' group by name) x";
    assert_eq!(
        sql(&url, noted).as_deref(),
        Some("request_reveal:2 stream_peek:2 stream_reveal:3 topic_peek:2")
    );
    let kept = "select count(*)::text from trunkline.action a where a::text like '%S3cret%'";
    assert_eq!(sql(&url, kept).as_deref(), Some("0"), "no payload in the note");
    let moved = "select count(*)::text from trunkline.action where state_before is distinct from state_after";
    let moved = moved.replace("state_before", "before").replace("state_after", "after");
    assert_eq!(sql(&url, &moved).as_deref(), Some("0"), "looking changes nothing");
}

/// Every row of a list, read page by page.
fn all(served: &Served, path: &str, limit: usize, id: &str) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let sign = if path.contains('?') { '&' } else { '?' };
        let page = served.get(&format!("{path}{sign}limit={limit}{cursor}"));
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let page = page.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit, "{path}");
        rows.extend(items.iter().cloned());
        let Some(next) = page["next"].as_str() else { break };
        assert!(rows.len() < 10_000, "{path} has no end");
        cursor = format!("&cursor={next}");
    }
    let ids: BTreeSet<&str> = rows.iter().map(|r| r[id].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rows.len(), "{path}: each once");
    rows
}

#[test]
fn every_list_is_read_page_by_page_to_its_end() {
    let url = database();
    sql(&url, "select trunkline.stream_open('s'), trunkline.stream_register('s', 'c')");
    sql(
        &url,
        "select count(trunkline.request_send(case n % 3 when 0 then 'other' else 'hash' end, 'x', wait_for_responder => true, timeout => '1 hour'))
           from generate_series(1, 330) n",
    );
    sql(&url, "select count(trunkline.stream_append('s', 'e' || n)) from generate_series(1, 130) n");
    sql(&url, "select trunkline.stream_tick('s')");
    let batch = sql(&url, "select batch from trunkline.stream_next_batch('s', 'c')").unwrap();
    sql(
        &url,
        &format!(
            "select trunkline.stream_retry('{batch}', array(select id from trunkline.stream_events('{batch}')), null, 'no')"
        ),
    );
    sql(&url, &format!("select trunkline.stream_finish('{batch}')"));
    sql(&url, "select count(trunkline.stream_seek('s', 'c', 'end')) from generate_series(1, 30)");
    // 120 kinds die of their own causes, the first ten twice.
    sql(
        &url,
        "select count(trunkline.job_push('q', 'x', 'k' || n)) from generate_series(1, 130) g cross join lateral (select g % 120 as n) x",
    );
    sql(
        &url,
        "select count(trunkline.job_fail(claim, 'no', dead => true)) from trunkline.job_take('q', 130)",
    );
    let served = Served::start(&url, &[], &[]);
    assert_eq!(all(&served, "/api/v1/requests", 100, "id").len(), 330);
    assert_eq!(all(&served, "/api/v1/requests?channel=hash", 50, "id").len(), 220);
    assert_eq!(all(&served, "/api/v1/requests?channel=none", 50, "id").len(), 0);
    assert_eq!(all(&served, "/api/v1/streams/s/consumers/c/dead", 40, "id").len(), 130);
    assert_eq!(all(&served, "/api/v1/streams/s/moves", 7, "id").len(), 30);
    let groups = all(&served, "/api/v1/dead", 25, "last_id");
    let many: Vec<i64> = groups.iter().map(|g| g["many"].as_i64().unwrap()).collect();
    assert_eq!((many.len(), many.iter().sum::<i64>()), (120, 130));
    assert!(many.is_sorted_by(|a, b| a >= b), "the largest first: {many:?}");
    for (path, more) in
        [("/requests/list?channel=hash", "before="), ("/streams/s/c", "after="), ("/jobs/dead", "cursor=")]
    {
        let first = served.get(path).body;
        let link = first.split("<p class=\"more\"><a href=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(link.contains(more), "{link}");
        let second = served.get(&link.replace("&amp;", "&"));
        assert!(second.status == 200 && second.body != first, "{link}");
    }
    for bad in [
        "/api/v1/requests?cursor=x",
        "/api/v1/dead?cursor=7",
        "/api/v1/dead?cursor=a-b",
        "/api/v1/streams/s/moves?limit=0",
        "/api/v1/streams/s/consumers/c/dead?cursor=-1",
        "/api/v1/streams/s/consumers/c/dead?queue=x",
    ] {
        assert_eq!(served.get(bad).status, 400, "{bad}");
    }
}
