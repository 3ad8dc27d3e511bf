//! What operators look at, and what is noted of what they do.

use trunkline::{
    jobs::{Job, NewJob, Outcome, Work},
    requests::Failure,
};

use crate::{
    roles::with_roles,
    support::{Db, Raw, secs, shared, within},
};

async fn one() -> (Db, Raw) {
    shared().await;
    let db = Db::new().await;
    let raw = db.raw().await;
    (db, raw)
}

/// Jobs of every state, in the rings and held.
async fn every_state(db: &Db, raw: &Raw) {
    raw.run("select trunkline.job_open('e', false)").await;
    let tl = db.client("mailer").await;
    for queue in ["q", "e"] {
        let all = ["done", "dead", "retry", "done"].map(|p| NewJob::new(p).kind(p));
        tl.jobs().push_all(queue, all).await.unwrap();
        tl.jobs().push(queue, NewJob::new("done").kind("done").key("k")).await.unwrap();
        let mut working = tl.jobs().work(Work::queue(queue).drain(), async |job: Job| {
            Ok::<_, Failure>(match job.kind.as_str() {
                "dead" => Outcome::Dead("it can never work".into()),
                "retry" => Outcome::Retry { after: secs(100), error: "not yet".into() },
                _ => Outcome::Done,
            })
        });
        within(20_000, "the queue to be drained", working.ended()).await.unwrap();
        raw.run(&format!("select trunkline.job_push('{queue}', '{{\"n\": ' || g || '}}', 'json') from generate_series(1, 30) g")).await;
        raw.run(&format!("select trunkline.job_push_json('{queue}', jsonb_build_object('n', g), 'json') from generate_series(1, 30) g")).await;
        raw.run(&format!(
            "select trunkline.job_push('{queue}', 'x', 'later', run_at => now() + interval '1 day')"
        ))
        .await;
        raw.run(&format!(
            "select trunkline.job_cancel(id) from trunkline.job_list('{queue}', 'waiting', max => 3)"
        ))
        .await;
        raw.run(&format!("select trunkline.job_cancel(id) from trunkline.job_list('{queue}', 'scheduled')"))
            .await;
        raw.run(&format!("select * from trunkline.job_take('{queue}', 2)")).await;
    }
    tl.close().await;
}

#[tokio::test]
async fn a_page_of_jobs_is_what_the_list_says() {
    let (db, raw) = one().await;
    every_state(&db, &raw).await;
    let states = raw.one("select string_agg(distinct job_state, ' ' order by job_state) from trunkline.job_list(max => 1000)").await;
    assert_eq!(states, "cancelled dead done retrying running waiting");
    let some = raw.one("select id from trunkline.job_list(max => 20) offset 12 limit 1").await;
    let mut filters = vec![
        String::new(),
        "queue => 'q'".into(),
        "queue => 'e'".into(),
        "kind => 'done'".into(),
        "key => 'k'".into(),
        format!("before => {some}"),
        "payload => '{\"n\": 7}'".into(),
        "queue => 'q', kind => 'json', max => 10".into(),
    ];
    for state in ["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"] {
        filters.push(format!("state => '{state}', max => 2"));
        filters.push(format!("state => '{state}', queue => 'e', max => 1000"));
    }
    for filter in filters {
        let bound = if filter.contains("max") {
            filter
        } else {
            format!("max => 50{}{filter}", if filter.is_empty() { "" } else { ", " })
        };
        let rows =
            async |function: &str| raw.rows(&format!("select * from trunkline.{function}({bound})")).await;
        assert_eq!(rows("job_page").await, rows("job_list").await, "{bound}");
    }
    let middle = raw.one(&format!("select pushed_at from trunkline.job_list() where id = {some}")).await;
    for (filter, as_rows) in [
        ("containing => '\"n\": 7'".to_owned(), "payload like '%\"n\": 7%'".to_owned()),
        ("containing => 'x', queue => 'e'".into(), "payload like '%x%' and queue = 'e'".into()),
        ("containing => '\"n\": 1', payload => '{\"n\": 1}'".into(), "json @> '{\"n\": 1}'".into()),
        ("containing => 'nowhere'".into(), "false".into()),
        (format!("since => '{middle}'"), format!("pushed_at >= '{middle}'")),
        (format!("until => '{middle}'"), format!("pushed_at < '{middle}'")),
        (format!("since => '{middle}', until => '{middle}'"), "false".into()),
        (
            format!("since => '{middle}', state => 'waiting'"),
            format!("pushed_at >= '{middle}' and state = 'waiting'"),
        ),
    ] {
        let paged =
            raw.rows(&format!("select id, job_state from trunkline.job_page({filter}, max => 1000)")).await;
        let viewed = format!("select id, state from trunkline.job where {as_rows} order by id desc");
        assert_eq!(paged, raw.rows(&viewed).await, "{filter}");
    }
    for (bad, code) in [
        ("max => 0", "22023"),
        ("max => 1001", "22023"),
        ("state => 'x'", "22023"),
        ("queue => 'none'", "42704"),
    ] {
        assert_eq!(raw.code(&format!("select * from trunkline.job_page({bad})")).await, code, "{bad}");
    }
}

#[tokio::test]
async fn few_are_found_at_once_below_many_that_are_held() {
    let (_db, raw) = one().await;
    raw.run("select trunkline.job_open('q'), trunkline.job_open('other')").await;
    let insert = async |ids: &str, state: &str, more: &str| {
        raw.run(&format!(
            "insert into trunkline.job_held (id, lane, state, due_at, attempt, key, ended_at, max_attempts, content, kind, payload)
             select n * 4, (select id * 16 + 5 from trunkline.job_queue where name = case n % 2 when 0 then 'q' else 'other' end), {state}, {more},
                    20, 1, '', 'x' from generate_series({ids}) n"
        ))
        .await;
    };
    let future = "now() + interval '1 day'";
    for (ids, state, more) in [
        ("1, 10", "4", "now(), 1, null, now()"),
        ("11, 30", "3", "now(), 0, null, now()"),
        ("31, 60", "2", "now(), 20, null, now()"),
        ("61, 75", "1", "now(), 1, null, null"),
        ("76, 90", "0", "now(), 0, null, null"),
        ("91, 94", "0", "now(), 0, 'k' || n, null"),
        ("95, 99", "5", "now(), 0, 'k', null"),
        ("101, 40000", "0", &format!("{future}, 0, null, null")),
    ] {
        insert(ids, state, more).await;
    }
    for (state, fit) in
        [("waiting", 24), ("running", 15), ("done", 10), ("dead", 30), ("cancelled", 20), ("scheduled", 50)]
    {
        for of in ["", ", queue => 'other'"] {
            let page = raw
                .rows(&format!(
                    "select id, job_state from trunkline.job_page(state => '{state}', within => '0'{of})"
                ))
                .await;
            let queue = if of.is_empty() { "true" } else { "queue = 'other'" };
            let viewed = format!(
                "select id, state from trunkline.job where state = '{state}' and {queue} order by id desc limit 50"
            );
            assert_eq!(page, raw.rows(&viewed).await, "{state}{of}");
            assert!(!of.is_empty() || page.len() == fit, "{state}: {}", page.len());
        }
    }
    // Too many to be asked for by their own index: as all others.
    insert("50000, 71000", "0", "now(), 0, null, null").await;
    let due =
        "select id, job_state from trunkline.job_page(state => 'waiting', max => 1000, within => '1 s')";
    let viewed = "select id, state from trunkline.job where state = 'waiting' order by id desc limit 1000";
    assert_eq!(raw.rows(due).await, raw.rows(viewed).await);
}

#[tokio::test]
async fn who_has_no_time_looks_at_a_part_and_is_told_where_to_go_on() {
    let (db, raw) = one().await;
    raw.run("select trunkline.job_open('durable', true), trunkline.job_open('e', false)").await;
    every_state(&db, &raw).await;
    for (n, queue) in ["durable", "e", "q"].iter().enumerate() {
        raw.run(&format!("select count(trunkline.job_push('{queue}', '{{\"n\": ' || g || '}}', case g % 2 when 0 then 'even' else 'odd' end)) from generate_series(1, 30000) g")).await;
        raw.run(&format!("insert into trunkline.job_held (id, lane, state, due_at, max_attempts, content, kind, payload)
            select 1000000 + g * 3 + {n}, (select id * 16 + 5 from trunkline.job_queue where name = '{queue}'), 0, now(), 1, 2, 'odd',
                   convert_to('{{\"n\": ' || g || '}}', 'UTF8') from generate_series(1, 3000) g")).await;
    }
    let parts = |filter: String| {
        let raw = &raw;
        async move {
            let (mut found, mut looks, mut before) = (Vec::new(), 0, i64::MAX);
            loop {
                let page = format!(
                    "select id, job_state from trunkline.job_page({filter}, max => 500, before => {before}, within => '0')"
                );
                let mut rows = raw.rows(&page).await;
                looks += 1;
                let ended = rows.last().is_some_and(|last| last.ends_with('|'));
                let next = rows.last().map(|last| last.split('|').next().unwrap().parse().unwrap());
                if ended {
                    rows.pop();
                }
                let full = rows.len() == 500;
                found.extend(rows);
                let Some(next) = next.filter(|_| ended || full) else { return (found, looks) };
                assert!(next < before, "{filter}: {next} is not before {before}");
                before = next;
            }
        }
    };
    for (filter, viewed) in [
        ("containing => '\"n\": 77'", "payload like '%\"n\": 77%'"),
        ("payload => '{\"n\": 2999}'", "json @> '{\"n\": 2999}'"),
        ("kind => 'even', queue => 'durable'", "kind = 'even' and queue = 'durable'"),
        (
            "kind => 'odd', state => 'waiting', containing => '8}'",
            "kind = 'odd' and state = 'waiting' and payload like '%8}%'",
        ),
        ("containing => 'nowhere'", "false"),
    ] {
        let (found, looks) = parts(filter.to_owned()).await;
        let all = format!("select id, state from trunkline.job where {viewed} order by id desc");
        assert_eq!(found, raw.rows(&all).await, "{filter}");
        assert!(looks > 3, "{filter} was looked for in {looks} parts");
    }
}

#[tokio::test]
async fn dead_jobs_are_grouped_by_what_they_died_of() {
    let (_db, raw) = one().await;
    raw.run("select trunkline.job_open('q')").await;
    raw.run("insert into trunkline.job_held (id, lane, state, due_at, max_attempts, ended_at, content, kind, payload, errors)
        select g, 21, 2, now(), 1, now(), 1, 'k', 'p', jsonb_build_array(jsonb_build_object('error', case when g < 4
               then 'no route to host 10.0.0.' || g || E'\\nand more' else 'other' end)) from generate_series(1, 5) g").await;
    let groups = raw.rows("select cause, many, last_id, error from trunkline.job_dead('q')").await;
    assert_eq!(
        groups,
        ["no route to host #.#.#.#|3|3|no route to host 10.0.0.3\nand more", "other|2|5|other"]
    );
    assert_eq!(raw.code("select * from trunkline.job_dead('none')").await, "42704");
}

#[tokio::test]
async fn channels_tell_what_became_of_the_newest_requests() {
    let (db, raw) = one().await;
    raw.run("select trunkline.request_open('durable', true), trunkline.request_open('nobody')").await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _serving = crate::requests::echo(&responder, "echo");
    crate::requests::served(&db, "echo", 1).await;
    for _ in 0..4 {
        caller.requests().call("echo", "x").await.unwrap();
    }
    raw.run("select trunkline.request_send('nobody', 'x', wait_for_responder => true), trunkline.request_send('durable', 'x', wait_for_responder => true)").await;
    let told = "select channel, durable, responders, waiting, ok, p50 is not null and p50 <= p99, oldest is not null, sent_per_second
                  from trunkline.request_channels()";
    assert_eq!(
        raw.rows(told).await,
        ["durable|t|0|1|0|f|t|0.1", "echo|f|1|0|4|t|f|0.4", "nobody|f|0|1|0|f|t|0.1"]
    );
    assert_eq!(
        raw.one("select sum(ok) from trunkline.request_channels(2)").await,
        "0",
        "of the newest alone"
    );
    for bad in ["0", "null", "100001"] {
        assert_eq!(
            raw.code(&format!("select * from trunkline.request_channels({bad})")).await,
            "22023",
            "{bad}"
        );
    }
    let here =
        "select application, alive, serves, version from trunkline.session_list() order by application";
    assert_eq!(
        raw.rows(here).await,
        [
            format!("caller|t|{{}}|{}", env!("CARGO_PKG_VERSION")),
            format!("responder|t|{{echo}}|{}", env!("CARGO_PKG_VERSION"))
        ]
    );
    let rings = raw.rows("select ring, count(*), count(*) filter (where filled), bool_and(cardinality(tables) in (3, 4)) from trunkline.log_rings() group by 1 order by 1").await;
    assert_eq!(rings, ["job_d|2|1|t", "job_e|2|1|t", "request_d|2|1|t", "request_e|2|1|t"]);
}

#[tokio::test]
async fn an_action_and_its_note_are_one() {
    let (db, raw) = with_roles().await;
    raw.run("select trunkline.job_push('q', 'S3cret', run_at => now() + interval '1 day')").await;
    let id = raw.one("select max(id) from trunkline.job_held").await;
    let act =
        |action: &str, target: &str| format!("select trunkline.action_do('ann', '{action}', '{target}')");
    let admin = db.raw_as("it_admin").await;
    assert_eq!(admin.one(&act("job_retry", &format!("{{\"id\": {id}}}"))).await, "true");
    let note = "select who, role, action, target, state_before ->> 'state', state_after ->> 'state', result from trunkline.action_list()";
    assert_eq!(
        raw.one(note).await,
        format!("ann|it_admin|job_retry|{{\"id\": {id}}}|scheduled|waiting|true")
    );
    // What fails is not noted, and what is rolled back neither.
    for (action, target, code) in [
        ("job_retry", "{\"id\": 1}", "TL007"),
        ("job_pause", "{\"queue\": \"none\"}", "42704"),
        ("job_retry", "{}", "22004"),
        ("drop", "{}", "22023"),
        ("job_pause", "[]", "22004"),
        // What no reader of JSON can hold would be in the list of what was done.
        ("job_pause", "{\"queue\": \"q\", \"n\": 1e400}", "22023"),
        // What is not noted must change nothing, and show nothing.
        ("job_reveal", &format!("{{\"id\": {id}, \"dry_run\": true}}"), "22023"),
        ("job_pause", "{\"queue\": \"q\", \"dry_run\": true}", "22023"),
        ("job_pause", "{\"queue\": \"q\", \"dry_run\": \"yes\"}", "22023"),
        ("job_pause", "{\"queue\": \"q\", \"n\": 1234567890123456789}", "22023"),
        ("job_pause", "{\"queue\": \"q\", \"n\": [[[]]]}", "22023"),
        ("job_retry", "{\"id\": \"x\"}", "22P02"),
    ] {
        assert_eq!(admin.code(&act(action, target)).await, code, "{action} {target}");
    }
    assert_eq!(admin.code("select trunkline.action_do(repeat('x', 201), 'job_pause', '{}')").await, "22023");
    admin.run(&format!("begin; {}; rollback", act("job_pause", "{\"queue\": \"q\"}"))).await;
    assert_eq!(raw.one("select count(*) from trunkline.action").await, "1");
    assert_eq!(raw.one("select count(*) from trunkline.job_queue where paused_at is not null").await, "0");
    assert_eq!(
        admin
            .one(&act("job_cancel_all", "{\"queue\": \"q\", \"state\": \"waiting\", \"dry_run\": true}"))
            .await,
        "1"
    );
    assert_eq!(raw.one("select count(*) from trunkline.action").await, "1", "counting is not acting");
    let copied = admin.one(&act("job_copy", &format!("{{\"id\": {id}}}"))).await;
    assert_eq!(raw.one(&format!("select payload from trunkline.job_show({copied})")).await, "S3cret");
    assert!(admin.one(&act("job_reveal", &format!("{{\"id\": {id}}}"))).await.contains("S3cret"));
    assert_eq!(raw.one("select count(*) from trunkline.action a where a::text like '%S3cret%'").await, "0");
    assert_eq!(
        raw.one("select string_agg(action, ' ') from trunkline.action_list(2)").await,
        "job_reveal job_copy"
    );
    let writer = db.raw_as("it_writer").await;
    assert_eq!(writer.code(&act("job_pause", "{\"queue\": \"q\"}")).await, "42501");
    assert_eq!(db.raw_as("it_reader").await.rows("select * from trunkline.action_list()").await.len(), 3);
    for sql in
        ["delete from trunkline.action", "update trunkline.action set who = 'x'", "truncate trunkline.action"]
    {
        assert_eq!(admin.code(sql).await, "42501", "{sql}");
    }
}

#[tokio::test]
async fn what_it_was_about_is_noted_with_an_action_also_of_many_jobs_and_of_a_request() {
    let (db, raw) = with_roles().await;
    raw.run(
        "select trunkline.job_push_many('q', array['1', '2', '3']), trunkline.job_push('q', '4', key => 'k')",
    )
    .await;
    raw.run("select trunkline.request_open('c')").await;
    let admin = db.raw_as("it_admin").await;
    let request = admin
        .one("select trunkline.request_send('c', 'x', wait_for_responder => true, timeout => '1 hour')")
        .await;
    for (action, target, noted) in [
        ("job_cancel_all", r#"{"queue": "q", "state": "waiting"}"#, r#"{"jobs": 4}|{"jobs": 0}|4"#),
        (
            "job_delete_all",
            r#"{"queue": "q", "state": "cancelled", "key": "k"}"#,
            r#"{"jobs": 1}|{"jobs": 0}|1"#,
        ),
        (
            "request_cancel",
            &format!(r#"{{"request": "{request}"}}"#),
            r#"{"state": "waiting", "attempt": 0}|{"state": "cancelled", "attempt": 0}|true"#,
        ),
    ] {
        admin.run(&format!("select trunkline.action_do('ann', '{action}', '{target}')")).await;
        let note = "select state_before, state_after, result from trunkline.action_list(1)";
        assert_eq!(raw.one(note).await, noted, "{action}");
    }
}

#[tokio::test]
async fn what_each_process_runs_is_seen_also_of_jobs_that_stay_in_the_ring() {
    let (db, raw) = one().await;
    let tl = db.client("worker").await;
    let (gate, open) = tokio::sync::watch::channel(false);
    let working = tl.jobs().work(Work::queue("b").and("a").concurrency(3), move |_: Job| {
        let mut open = open.clone();
        async move {
            let _ = open.wait_for(|open| *open).await;
            Ok::<_, Failure>(())
        }
    });
    let _also = tl.jobs().work("c", async |_: Job| Ok::<_, Failure>(()));
    let listens = tl.topics().subscribe("news").await.unwrap();
    let told = "select queues::text || ' ' || jobs || ' ' || listens::text from trunkline.session_list() where application = 'worker'";
    raw.until("who begins to be seen", &format!("select ({told}) = '{{a,b,c}} 0 {{news}}'")).await;
    raw.run("select trunkline.job_push_many('a', array['1', '2', '3', '4'])").await;
    raw.until("what is in hand to be seen", &format!("select ({told}) = '{{a,b,c}} 3 {{news}}'")).await;
    assert_eq!(raw.one("select count(*) from trunkline.job_held").await, "0", "they are in the ring");
    gate.send(true).unwrap();
    raw.until("all to be done", "select count(*) = 4 from trunkline.job where state = 'done'").await;
    drop((working, listens));
    raw.until("the end of it to be seen", &format!("select ({told}) = '{{c}} 0 {{}}'")).await;
}
