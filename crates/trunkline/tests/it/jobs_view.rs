//! Every job in one view, wherever it is: its states, what it is found by, and who may look.

use trunkline::jobs::{Job, NewJob, Outcome, Work};
use trunkline::requests::Failure;

use crate::{
    roles::with_roles,
    support::{Db, Raw, secs, within},
};

async fn one() -> (Db, Raw) {
    let db = Db::new().await;
    let raw = db.raw().await;
    (db, raw)
}

#[tokio::test]
async fn every_job_is_in_one_view_with_its_state_wherever_it_is() {
    let (db, raw) = one().await;
    let tl = db.client("mailer").await;
    tl.jobs().push_all("q", ["done", "dead", "retry"].map(|p| NewJob::new(p).kind(p))).await.unwrap();
    tl.jobs().push("q", NewJob::new("done").kind("held").key("k")).await.unwrap();
    let mut working = tl.jobs().work(Work::queue("q").drain(), async |job: Job| {
        Ok::<_, Failure>(match job.kind.as_str() {
            "dead" => Outcome::Dead("it can never work".into()),
            "retry" => Outcome::Retry { after: secs(100), error: "not yet".into() },
            "held" => Outcome::Result("yielded".into()),
            _ => Outcome::Done,
        })
    });
    within(20_000, "the queue to be drained", working.ended()).await.unwrap();
    let running = tl.jobs().work("r", async |job: Job| {
        job.cancelled().await;
        Ok::<_, Failure>(())
    });
    tl.jobs()
        .push_all("r", [NewJob::new("ring").kind("runs"), NewJob::new("held").kind("runs").key("k")])
        .await
        .unwrap();
    raw.until("both to run", "select count(*) = 2 from trunkline.job where state = 'running'").await;
    tl.jobs()
        .push_all("w", [NewJob::new("x").kind("waits"), NewJob::new("x").kind("waits").unique("u")])
        .await
        .unwrap();
    tl.jobs().push("w", NewJob::new("x").kind("waits").delay(secs(100)).priority(2)).await.unwrap();
    for job in [NewJob::new("x").kind("gone"), NewJob::new("x").kind("gone").key("k")] {
        let id = tl.jobs().push("w", job).await.unwrap();
        assert!(tl.jobs().cancel(id).await.unwrap());
    }
    let all =
        "select kind || ': ' || string_agg(concat_ws(' ', state, status, attempt, error), ', ' order by id)
               from trunkline.job group by kind order by kind";
    assert_eq!(
        raw.rows(all).await,
        [
            "dead: dead error 1 it can never work",
            "done: done success 1",
            "gone: cancelled error 0, cancelled error 0",
            "held: done success 1",
            "retry: retrying new 1 not yet",
            "runs: running running 1, running running 1",
            "waits: waiting new 0, waiting new 0, scheduled new 0",
        ]
    );
    let who = "select bool_and(worker = 'mailer' and worker_pid is not null and begun_at >= pushed_at) from trunkline.job where state = 'running'";
    assert_eq!(raw.one(who).await, "t");
    // The view, and the functions, say the same of each.
    let differ = "select count(*) from trunkline.job j full join trunkline.job_list(max => 1000) l on l.id = j.id
                   where (j.queue, j.kind, j.state, j.priority, j.attempt, j.max_attempts, j.pushed_at, j.due_at) is distinct from
                         (l.queue_name, l.job_kind, l.job_state, l.priority, l.attempt, l.max_attempts, l.pushed_at, l.due_at)
                      or (j.key, j.begun_at, j.ended_at, j.worker, j.error) is distinct from
                         (l.job_key, l.begun_at, l.ended_at, l.worker, l.error)";
    assert_eq!(raw.one(differ).await, "0");
    let shown = "select count(*) from trunkline.job j, trunkline.job_show(j.id) s
                  where (j.payload, j.bytes, j.headers, j.errors, j.result, j.result_bytes, j.unique_key) is distinct from
                        (s.payload, s.bytes, s.headers, s.errors, s.result, s.result_bytes, s.unique_key)";
    assert_eq!(raw.one(shown).await, "0");
    assert_eq!(raw.one("select result from trunkline.job where kind = 'held'").await, "yielded");
    raw.run("select trunkline.job_cancel_all('r', 'running')").await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn jobs_are_found_by_what_their_payload_contains() {
    let (_db, raw) = one().await;
    raw.run(
        "select trunkline.job_push_json('q', jsonb_build_object('to', 'a' || n % 3, 'n', n), key => case when n > 6 then 'k' end)
           from generate_series(1, 9) n;
         select trunkline.job_push('q', '{\"to\": \"a1\"}'), trunkline.job_push_bytes('q', '\\xff00')",
    )
    .await;
    assert_eq!(raw.one("select string_agg(json ->> 'n', ',' order by id) from trunkline.job where json @> '{\"to\": \"a1\"}'").await, "1,4,7");
    assert_eq!(
        raw.one("select sum((json ->> 'n')::int) from trunkline.job where json ->> 'to' = 'a2'").await,
        "15"
    );
    assert_eq!(
        raw.one("select count(*) from trunkline.job where payload is null and bytes = '\\xff00'").await,
        "1"
    );
    let listed = "select count(*) from trunkline.job_list('q', payload => '{\"to\": \"a1\"}')";
    assert_eq!(raw.one(listed).await, "3");
    // Payloads that no jsonb can hold break no query of others.
    raw.run(
        "insert into trunkline.job_held (id, lane, due_at, max_attempts, content, kind, payload)
             values (4, 21, now(), 1, 2, '', '\"\\\\u0000\"'), (8, 21, now(), 1, 1, '', '\\x00ff')",
    )
    .await;
    assert_eq!(raw.one("select count(json) || ' ' || count(payload) from trunkline.job").await, "9 11");
}

#[tokio::test]
async fn a_list_goes_on_from_an_id_in_both_directions() {
    let (_db, raw) = one().await;
    raw.run("select trunkline.job_push('q', n::text, key => case when n % 2 = 0 then 'k' end) from generate_series(1, 10) n").await;
    for (cursor, order) in [("before", "desc"), ("after", "asc")] {
        let mut seen = Vec::new();
        let mut from = if cursor == "before" { i64::MAX } else { 0 }.to_string();
        for _ in 0..10 {
            let page = raw
                .rows(&format!("select id from trunkline.job_list('q', max => 3, {cursor} => {from})"))
                .await;
            let Some(last) = page.last() else { break };
            from.clone_from(last);
            seen.extend(page);
        }
        assert_eq!(
            seen,
            raw.rows(&format!("select id from trunkline.job order by id {order}")).await,
            "{cursor}"
        );
    }
}

#[tokio::test]
async fn who_may_see_payloads_may_look_and_nobody_else() {
    let (db, raw) = with_roles().await;
    raw.run("select trunkline.job_push_json('q', '{\"a\": 1}', key => 'k')").await;
    for (role, code) in
        [("it_nobody", "42501"), ("it_reader", "42501"), ("it_writer", "00000"), ("it_admin", "00000")]
    {
        let session = db.raw_as(role).await;
        assert_eq!(
            session.code("select payload, json, headers, result from trunkline.job").await,
            code,
            "{role}"
        );
        assert_eq!(session.code("select * from trunkline._job_seen_d0").await, "42501", "{role}");
        assert_ne!(session.code("delete from trunkline.job").await, "00000", "{role}");
    }
}

#[tokio::test]
async fn one_job_among_many_is_found_without_reading_those_that_are_held() {
    let (_db, raw) = one().await;
    raw.run(
        "select trunkline.job_open('q');
         insert into trunkline.job_held (id, lane, state, due_at, max_attempts, content, kind, payload, ended_at)
         select n * 4 + 2, 21, 2, now(), 1, 1, '', 'x', now() from generate_series(1, 50000) n;
         analyze trunkline.job_held",
    )
    .await;
    let plan = raw
        .rows("explain (analyze, costs off, timing off) select * from trunkline.job where id = 40002")
        .await
        .join("\n");
    assert!(
        plan.contains("Index Scan using job_held_pkey") && !plan.contains("Seq Scan on job_held"),
        "{plan}"
    );
    assert_eq!(raw.one("select state from trunkline.job where id = 40002").await, "dead");
}
