//! What pages cost where there is much: how many rows each reads by sequential scans, and how long it takes.
//!
//! `TRUNKLINE_TEST_JOBS=1000000` for a million jobs in 500 queues, each page timed; else 30,000 in 50.

use std::time::Instant;

use crate::{database, http::Served, sql, until};

/// Pages, parts of the API, and how often each may read all jobs by a sequential scan.
const PAGES: [(&str, u64); 25] = [
    // Jobs are counted by reading the ring, once for all who look; where there are many, by the duties, and of the rest what came since.
    ("/", 1),
    ("/jobs", 1),
    ("/topics", 1),
    ("/leases", 1),
    ("/metrics", 1),
    ("/api/v1/queues", 1),
    // The newest are read, by stretches, from the end; what is newer than `before`, or of another kind, is passed over.
    ("/jobs/list", NEWEST),
    ("/jobs/list?queue=q7", NEWEST),
    ("/jobs/list?queue=q7&state=waiting", NEWEST),
    ("/jobs/list?before=20000", 1),
    ("/jobs/list?kind=seldom&queue=q7", 1),
    // What is in them is looked for as long as a page may take.
    ("/jobs/list?payload=nowhere", 1),
    ("/jobs/list?payload=%7B%22n%22%3A-1%7D", 1),
    ("/jobs/list?payload=%7B%22n%22%3A-1%7D&queue=q7&state=running", 1),
    ("/api/v1/jobs?text=nowhere&cursor=20000&limit=1000", 1),
    ("/jobs/list?since=1s&state=cancelled", 1),
    ("/jobs/list?until=24h", NEWEST),
    ("/jobs/dead", 0),
    ("/requests/list", 0),
    ("/requests/list?channel=hash", 0),
    ("/actions", 0),
    ("/health", 0),
    ("/streams/orders/billing", 1),
    ("/api/v1/jobs?limit=1000", NEWEST),
    ("/api/v1/streams/orders/consumers/billing/dead", 0),
];

/// Three stretches at most, of 256, 512 and 1,024 pages: no more, however many jobs there are.
const NEWEST: u64 = u64::MAX;

#[test]
fn no_page_reads_all_rows_one_after_another_but_those_that_count_them() {
    let many: u64 = std::env::var("TRUNKLINE_TEST_JOBS").map_or(30_000, |v| v.parse().unwrap());
    let queues = if many >= 1_000_000 { 500 } else { 50 };
    let url = database();
    sql(
        &url,
        "select trunkline.stream_open('orders'), trunkline.stream_register('orders', 'billing'), trunkline.request_open('hash')",
    );
    sql(
        &url,
        &format!(
            "select count(trunkline.job_push('q' || n % {queues}, '{{\"n\": ' || n || '}}')) from generate_series(1, {many}) n"
        ),
    );
    sql(&url, "select count(trunkline.stream_append('orders', 'x')) from generate_series(1, 10000)");
    sql(&url, "select count(trunkline.topic_publish('t' || n % 50, 'x')) from generate_series(1, 10000) n");
    sql(
        &url,
        "select count(trunkline.request_send('hash', 'x', wait_for_responder => true, timeout => '1 hour')) from generate_series(1, 3000) n",
    );
    sql(&url, "select trunkline.maintain()");
    let served = Served::start(&url, &[], &[]);
    // What was read is counted at the latest when a session ends.
    let read = || -> u64 {
        sql(
            &url,
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        );
        until("the sessions to end", || {
            let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'active' and backend_start < now() - interval '1 second'";
            sql(&url, others).as_deref() == Some("0")
        });
        let counted =
            "select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables where schemaname = 'trunkline'";
        sql(&url, counted).unwrap().parse().unwrap()
    };
    for (path, scans) in PAGES {
        let before = read();
        let mut took = Instant::now();
        until("the page", || {
            took = Instant::now();
            served.get(path).status == 200
        });
        let took = took.elapsed();
        let rows = read() - before;
        // A tenth for small tables, and for the duties beside it.
        let most = match scans {
            NEWEST => 200_000,
            _ => scans * many + many / 10 + 30_000 * scans.min(1),
        };
        println!("{path}: {rows} rows, {took:.1?}");
        assert!(rows <= most, "{path} read {rows} rows by sequential scans; at most {most} are known");
        if many >= 1_000_000 {
            assert!(took.as_millis() < 200, "{path} took {took:?}");
        }
    }
}
