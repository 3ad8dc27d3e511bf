//! What pages cost where there is much: how many rows each reads by sequential scans, and how long it takes.
//!
//! `TRUNKLINE_TEST_JOBS=1000000` for a million jobs in 500 queues, half of them done, a million that are scheduled, and 100,000 requests,
//! each page timed; else 30,000 in 50, 300, and 3,000. Of everything else there are some hundreds.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{PATIENCE, database, http::Served, sql, until};

/// Pages, parts of the API, and how often each may read all jobs by a sequential scan. `{waiting}` and such are ids.
const PAGES: [(&str, u64); 78] = [
    // Jobs are counted by reading the ring, once for all who look; where there are many, by the duties, and of the rest what came since.
    ("/", 1),
    ("/?range=60", 1),
    ("/jobs", 1),
    ("/schedules", 1),
    ("/streams", 1),
    ("/topics", 1),
    ("/leases", 1),
    ("/requests", 1),
    ("/processes", 1),
    ("/streams/orders/billing", 1),
    ("/metrics", 1),
    ("/live?page=overview", 1),
    ("/live?page=jobs", 1),
    ("/live?page=schedules", 1),
    ("/live?page=streams", 1),
    ("/live?page=topics", 1),
    ("/live?page=leases", 1),
    ("/live?page=requests", 1),
    ("/live?page=processes", 1),
    ("/live?page=job&id={waiting}", 1 + ONE),
    ("/live?page=request&id={request}", 1),
    ("/api/v1/overview", 1),
    ("/api/v1/queues", 1),
    ("/api/v1/schedules", 1),
    ("/api/v1/streams", 1),
    ("/api/v1/consumers", 1),
    ("/api/v1/channels", 1),
    ("/api/v1/topics", 1),
    ("/api/v1/subscriptions", 1),
    ("/api/v1/leases", 1),
    ("/api/v1/processes", 1),
    // The newest are read, by stretches, from the end; what is newer than `before`, or of another kind, is passed over.
    ("/jobs/list", NEWEST),
    ("/jobs/list?queue=q7", NEWEST),
    ("/jobs/list?queue=q7&state=waiting", NEWEST),
    ("/jobs/list?queue=q7&state=scheduled", 0),
    ("/jobs/list?state=dead", 0),
    // What has a key is held.
    ("/jobs/list?key=none", 0),
    ("/jobs/list?queue=q7&key=none", 0),
    ("/api/v1/jobs?key=none", 0),
    ("/jobs/list?before=20000", 1),
    ("/jobs/list?kind=seldom&queue=q7", 1),
    // Of which state they are is known by what was taken of each stretch: it is read twice.
    ("/jobs/list?state=done", 2),
    ("/jobs/list?queue=q7&state=done", 2),
    // What is in them is looked for as long as a page may take.
    ("/jobs/list?payload=nowhere", 1),
    ("/jobs/list?payload=%7B%22n%22%3A-1%7D", 1),
    ("/jobs/list?payload=%7B%22n%22%3A-1%7D&queue=q7&state=running", 2),
    ("/api/v1/jobs?text=nowhere&cursor=20000&limit=1000", 1),
    ("/jobs/list?since=1s&state=cancelled", 2),
    ("/jobs/list?until=24h", NEWEST),
    ("/api/v1/jobs?limit=1000", NEWEST),
    ("/jobs/dead", 0),
    ("/jobs/dead?queue=q7", 0),
    ("/api/v1/dead", 0),
    ("/jobs/{waiting}", ONE),
    ("/jobs/{done}", ONE),
    ("/jobs/{dead}", ONE),
    ("/jobs/{held}", ONE),
    ("/api/v1/jobs/{waiting}", ONE),
    ("/api/v1/jobs/{done}", ONE),
    ("/requests/list", 0),
    ("/requests/list?channel=hash", 0),
    ("/requests/list?channel=c7", 0),
    ("/requests/{request}", 0),
    ("/api/v1/requests?limit=1000", 0),
    ("/api/v1/requests/{request}", 0),
    ("/api/v1/streams/orders/consumers/billing/dead", 0),
    ("/api/v1/streams/orders/moves", 0),
    ("/actions", 0),
    ("/api/v1/actions?limit=1000", 0),
    ("/health", 0),
    ("/api/v1/findings", 0),
    ("/api/v1/topics/t7/messages", 0),
    ("/try", 0),
    ("/login", 0),
    ("/api/v1/openapi.json", 0),
    ("/livez", 0),
    ("/healthz", 0),
    ("/readyz", 0),
];

/// Three stretches at most, of 256, 512 and 1,024 pages: no more, however many jobs there are.
const NEWEST: u64 = u64::MAX;
/// One job is looked for in its segment, and of a small one among the ends too.
const ONE: u64 = 2;
/// A thousand in a transaction.
const PUSHED: &str = "do $$ begin
    for k in 1 .. {jobs} / 1000 loop
        perform trunkline.job_push('q' || n % {queues}, '{\"n\": ' || n || '}') from generate_series(k * 1000 - 999, k * 1000) n;
        commit;
    end loop;
end $$";
/// Half of the jobs are done: as workers do them, but in one of ten queues one by one, where a tenth of them is dead.
const DONE: &str = "do $$ declare d record; begin
    for q in 0 .. {queues} - 1 loop
        for n in 1 .. ceil({jobs} / {queues} / 2 / 900.0) loop
            select array_agg(split_part(claim, ':', 1)::int) as sources, array_agg(split_part(claim, ':', 2)::bigint) as numbers,
                   array_agg(split_part(claim, ':', 3)::bigint) as tokens, array_agg(split_part(claim, ':', 4)::int) as slots,
                   array_agg(case id / 40 % 10 when 0 then 2 else 4 end) as states, array_agg(0::bigint) as delays,
                   array_agg(true) as counted, array_agg(case id / 40 % 10 when 0 then 'no place ' || id end) as errors,
                   array_agg(null::int) as contents, array_agg(null::bytea) as results
              into d from trunkline.job_take('q' || q, least(900, {jobs} / {queues} / 2 - (n - 1) * 900)::int);
            if q % 10 = 7 then
                perform trunkline._job_end(d.sources, d.numbers, d.tokens, d.slots, d.states, d.delays, d.counted, d.errors, d.contents, d.results);
            else
                perform trunkline._job_done_d0(d.numbers[:1], d.tokens[:1], array[1], array[null::bytea], false);
            end if;
            commit;
        end loop;
    end loop;
end $$";
/// A fifth of the requests are answered.
const ANSWERED: &str = "do $$ begin
    perform trunkline.request_serve('hash');
    commit;
    for n in 1 .. {requests} / 5000 + 1 loop
        perform trunkline.request_reply(claim, 'y') from trunkline.request_take('hash', 1000);
        commit;
    end loop;
end $$";
const LETTERS: &str = "do $$ declare b text := (select batch from trunkline.stream_next_batch('orders', 'billing', max => 1000)); begin
    perform trunkline.stream_retry(b, (select array_agg(id) from trunkline.stream_events(b)), null, 'no');
    perform trunkline.stream_finish(b);
end $$";

fn fill(url: &str, jobs: u64, queues: u64) {
    let requests = if jobs >= 1_000_000 { 100_000 } else { 3000 };
    for statement in [
        "select trunkline.stream_open('orders'), trunkline.stream_register('orders', 'billing'), trunkline.request_open('hash')",
        PUSHED,
        DONE,
        "select count(trunkline.job_push('q' || case {held} when 300 then 7 else n % {queues} end, '{\"n\": 1}', run_at => now() + interval '1 day'))
           from generate_series(1, {held}) n",
        "select count(trunkline.job_schedule('s' || n, 'q7', '0 3 * * *')) from generate_series(1, 300) n",
        "select count(trunkline.lease_acquire('l' || n, gen_random_uuid(), '1 hour', 'x')) from generate_series(1, 300) n",
        "select count(trunkline.stream_open('s' || n)), count(trunkline.stream_register('s' || n, 'c')) from generate_series(1, 20) n",
        "select count(trunkline.stream_append('orders', 'x')) from generate_series(1, 10000)",
        LETTERS,
        "select count(trunkline.stream_seek('orders', 'billing', 'beginning')) from generate_series(1, 100)",
        "select count(trunkline.topic_publish('t' || n % 50, 'x')) from generate_series(1, 10000) n",
        "select count(trunkline.action_do('x', case n % 2 when 0 then 'job_resume' else 'job_pause' end, '{\"queue\": \"q8\"}'))
           from generate_series(1, 300) n",
        "select count(trunkline.request_open('c' || n)) from generate_series(1, 100) n",
        "select count(trunkline.request_send('hash', 'x', wait_for_responder => true, timeout => '1 hour'))
           from generate_series(1, {requests})",
        ANSWERED,
        "select trunkline.maintain()",
    ] {
        let held = if jobs >= 1_000_000 { jobs } else { 300 };
        let counts = [("{jobs}", jobs), ("{queues}", queues), ("{requests}", requests), ("{held}", held)];
        let filled = |text: String, (name, count): (&str, u64)| text.replace(name, &count.to_string());
        sql(url, &counts.into_iter().fold(statement.to_owned(), filled));
    }
}

/// The path, with the id of such a job or request.
fn named(url: &str, path: &str) -> String {
    let ids = [
        ("{waiting}", "select max(id) from trunkline.job_page(state => 'waiting', max => 1)"),
        (
            "{done}",
            "select ids[1] from trunkline.job_slice_d0 where taken_at = (select max(taken_at) from trunkline.job_slice_d0)",
        ),
        ("{dead}", "select last_id from trunkline.job_dead(max => 1)"),
        ("{held}", "select max(id) from trunkline.job_page(state => 'scheduled', max => 1)"),
        ("{request}", "select max(id) from trunkline.request_list(max => 1)"),
    ];
    let known = ids.into_iter().find(|(name, _)| path.contains(name));
    known.map_or(path.to_owned(), |(name, which)| path.replace(name, &sql(url, which).unwrap()))
}

/// Whether the page is there; of what never ends, whether its first event came.
fn there(served: &Served, path: &str) -> bool {
    if !path.starts_with("/live?") && !path.ends_with("/messages") {
        return served.get(path).status == 200;
    }
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let (mut heard, mut bytes) = (String::new(), [0; 65536]);
    while !heard.contains("event: ") {
        let got = stream.read(&mut bytes).unwrap();
        if got == 0 {
            return false;
        }
        heard += &String::from_utf8_lossy(&bytes[..got]);
    }
    !heard.contains("event: away")
}

/// Asks for it, so that nobody is shown what was read before: an action is followed by a snapshot. How long it took.
fn asked(served: &Served, path: &str) -> Duration {
    let act = r#"{"action": "job_resume", "target": {"queue": "q8"}}"#;
    until("the action", || served.post_json("/api/v1/actions", &[], act).status == 200);
    let mut began = Instant::now();
    until("the page", || {
        began = Instant::now();
        there(served, path)
    });
    began.elapsed()
}

#[test]
fn no_page_reads_all_rows_one_after_another_but_those_that_count_them() {
    let many: u64 = std::env::var("TRUNKLINE_TEST_JOBS").map_or(30_000, |v| v.parse().unwrap());
    let url = database();
    fill(&url, many, if many >= 1_000_000 { 500 } else { 50 });
    let served = Served::start(&url, &[], &[]);
    let document = served.get("/api/v1/openapi.json").json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let same = |page: &str| {
            let (page, path) = (page.split('?').next().unwrap().split('/'), path.split('/'));
            page.clone().count() == path.clone().count()
                && page.zip(path).all(|(p, d)| p == d || d.starts_with('{'))
        };
        let measured = methods.get("get").is_none() || PAGES.iter().any(|(page, _)| same(page));
        assert!(measured, "{path} is not measured");
    }
    let paths = PAGES.map(|(path, scans)| (named(&url, path), scans));
    if many >= 1_000_000 {
        // A session that is new plans what it is asked; what else the machine does is no page's doing: the shortest of five.
        for (path, _) in &paths {
            asked(&served, path);
        }
        let mut slow = Vec::new();
        for (path, _) in &paths {
            // Who watches is told with the next snapshot, a second after the one before.
            let longest = Duration::from_millis(if path.starts_with("/live") { 1400 } else { 200 });
            let mut took = asked(&served, path);
            for _ in 1..5 {
                took = if took < longest { took } else { took.min(asked(&served, path)) };
            }
            println!("{path}: {took:.1?}");
            if took >= longest {
                slow.push(format!("{path} {took:.1?}"));
            }
        }
        assert!(slow.is_empty(), "{slow:#?}");
    }
    for (path, scans) in paths {
        // A fifth for small tables, and for the duties beside it.
        let most = match scans {
            NEWEST => 200_000,
            _ => scans * many + many / 5 + 30_000 * scans.min(1),
        };
        let reads = || {
            let before = read(&url);
            asked(&served, &path);
            read(&url) - before
        };
        // A snapshot for somebody else, or a duty, may come just then: once, and not each time.
        let mut rows = reads();
        for _ in 1..3 {
            rows = if rows <= most { rows } else { rows.min(reads()) };
        }
        println!("{path}: {rows} rows");
        assert!(rows <= most, "{path} read {rows} rows by sequential scans; at most {most} are known");
    }
}

/// How many rows were read by sequential scans. What was read is counted at the latest when a session ends.
fn read(url: &str) -> u64 {
    sql(
        url,
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    until("the sessions to end", || {
        let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'active' and backend_start < now() - interval '1 second'";
        sql(url, others).as_deref() == Some("0")
    });
    let counted =
        "select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables where schemaname = 'trunkline'";
    sql(url, counted).unwrap().parse().unwrap()
}
