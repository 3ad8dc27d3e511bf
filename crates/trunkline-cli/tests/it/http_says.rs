//! What pages say of what there is: a table of pages, rows, columns and words.

use crate::{database, http::Served, jobs::worker, ok, responder, sql, temporary, trunkline, until};

/// What people read of a part of a page: without tags, and with a blank between parts.
fn read(html: &str) -> String {
    let words = html.split('<').enumerate().map(|(n, part)| match n {
        0 => part,
        _ => part.split_once('>').map_or("", |(_, text)| text),
    });
    let text = words.collect::<Vec<_>>().join(" ");
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<String> {
    let ends = line.replace("</th>", "\u{0}").replace("</td>", "\u{0}");
    let mut cells: Vec<String> = ends.split('\u{0}').map(read).collect();
    cells.pop();
    cells
}

/// What is in the column of this name, of the row that begins so.
fn cell(page: &str, row: &str, column: &str) -> Option<String> {
    page.split("<table").skip(1).find_map(|table| {
        let (head, body) = table.split_once("</thead>")?;
        let at = cells(head.split_once("<tr>")?.1).iter().position(|name| name == column)?;
        let rows = body.split("</table>").next()?.split("</tr>").map(cells);
        rows.filter(|cells| cells.first().is_some_and(|first| first.starts_with(row)))
            .find_map(|cells| cells.get(at).cloned())
    })
}

/// A page, the beginning of a row and a column of its table, or neither; and what is there, all of it or, of a page, a part.
type Said<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Looks until all of it is said: what is shown is at most some seconds old.
#[track_caller]
fn says(served: &Served, all: &[Said<'_>]) {
    for (path, row, column, text) in all {
        until(&format!("{path} {row} {column} to say {text:?}"), || {
            let page = served.get(path);
            assert_eq!(page.status, 200, "{path}: {page:?}");
            match row.is_empty() {
                true => read(&page.body).contains(text),
                false => cell(&page.body, row, column).is_some_and(|told| told == *text),
            }
        });
    }
}

#[test]
fn queues_and_schedules_are_told_with_their_limits_and_times() {
    let url = database();
    sql(&url, "select trunkline.job_open('mail'), trunkline.job_open('plain'), trunkline.job_open('busy')");
    for (setting, value) in [
        ("max_running", "7"),
        ("rate_limit", "40"),
        ("rate_period", "1 minute"),
        ("max_length", "1000"),
        ("key_max_running", "2"),
        ("key_rate_limit", "5"),
    ] {
        sql(&url, &format!("select trunkline.job_set('mail', '{setting}', '{value}')"));
    }
    sql(
        &url,
        "select count(trunkline.job_push('busy', 'x', run_at => now() + interval '1 day')) from generate_series(1, 3)",
    );
    sql(
        &url,
        "update trunkline.job_held set due_at = now() - interval '90 minutes' where id = (select min(id) from trunkline.job_held)",
    );
    sql(
        &url,
        "select trunkline.job_schedule('nightly', 'mail', '30 4 1 1 *', 'x', zone => 'UTC'), trunkline.job_schedule('never', 'mail', '30 4 1 1 *', 'x')",
    );
    sql(
        &url,
        "update trunkline.job_schedule set last_at = '2026-01-01 04:30:00+00', last_job = 987, fires = 1234 where name = 'nightly'",
    );
    sql(
        &url,
        "update trunkline.job_schedule set error = 'no such queue', next_at = '2100-01-01' where name = 'never'",
    );
    let next = "select to_char(date_trunc('year', now() at time zone 'UTC' + interval '1 year' - interval '270 minutes'), 'YYYY-MM-DD') || ' 04:30:00'";
    let next = sql(&url, next).unwrap();
    let served = Served::start(&url, &[], &[]);
    says(
        &served,
        &[
            (
                "/jobs",
                "mail",
                "Queue",
                "mail at most 7 at once, 40 in 1 m, 1\u{202f}000 wait, 2 of a key at once, 5 in 1.0 s of a key",
            ),
            ("/jobs", "plain", "Queue", "plain"),
            ("/jobs", "busy", "waiting", "1"),
            ("/jobs", "busy", "scheduled", "2"),
            ("/jobs", "busy", "dead", "–"),
            ("/schedules", "nightly", "Times", "30 4 1 1 * UTC"),
            ("/schedules", "nightly", "Next", &next),
            ("/schedules", "nightly", "Last", "2026-01-01 04:30:00"),
            ("/schedules", "nightly", "Fired", "1\u{202f}234"),
            ("/schedules", "never", "Schedule", "never no such queue"),
            ("/schedules", "never", "Last", "–"),
        ],
    );
}

#[test]
fn leases_are_told_with_who_holds_them_and_who_waits_in_turn() {
    let (url, dir) = (database(), temporary());
    sql(
        &url,
        "select trunkline.lease_acquire('report', gen_random_uuid(), '1 hour', 'host-a'), trunkline.lease_acquire('old', gen_random_uuid(), '1 hour', 'x')",
    );
    sql(
        &url,
        "update trunkline.lease_expiry set since = '2026-01-02 03:04:05+00', fence = 41, progress = 'page 7 of 9', expires_at = '2100-01-02 03:04:05+00' where name = 'report'",
    );
    sql(
        &url,
        "update trunkline.lease_expiry set expires_at = now() - interval '1 second' where name = 'old'",
    );
    let _waiting: Vec<crate::Running> = (1..=2)
        .map(|n| {
            let mut command =
                trunkline(&["leases", "run", "report", "--held-by", &format!("host-{n}"), "--", "true"]);
            command.current_dir(dir.path()).env("DATABASE_URL", &url);
            let running = crate::Running::start(command);
            let waits = "select waiting::text from trunkline.lease_list() where name = 'report'";
            until("it to wait", || sql(&url, waits) == Some(n.to_string()));
            running
        })
        .collect();
    let served = Served::start(&url, &[], &[]);
    says(
        &served,
        &[
            ("/leases", "report", "State", "held"),
            ("/leases", "report", "Held by", "host-a since 2026-01-02 03:04:05"),
            ("/leases", "report", "Fence", "41"),
            ("/leases", "report", "Noted", "page 7 of 9"),
            ("/leases", "old", "State", "free"),
            ("/leases", "old", "Held by", "nobody"),
            ("/leases", "old", "Who waits", "–"),
            ("/", "", "", "Leases held 1 wait 2 asked to hand over 0"),
        ],
    );
    let waits = cell(&served.get("/leases").body, "report", "Who waits").unwrap();
    let (first, second) = waits.split_once(" host-2 since ").expect(&waits);
    assert!(first.starts_with("host-1 since 20") && second.starts_with("20"), "in turn: {waits}");
    let until = cell(&served.get("/leases").body, "report", "Good until").unwrap();
    assert!(until.starts_with("2100-01-02 03:04:05 last sign of life "), "{until}");
    ok(&url, &["leases", "resign", "report", "--yes"]);
    says(
        &served,
        &[("/leases", "report", "State", "asked to hand over"), ("/", "", "", "asked to hand over 1")],
    );
}

#[test]
fn streams_are_told_with_their_segments_and_who_holds_them_up() {
    let url = database();
    sql(
        &url,
        "select trunkline.stream_open('orders'), trunkline.stream_open('calm'), trunkline.stream_register('orders', 'search'), trunkline.stream_register('orders', 'billing')",
    );
    sql(&url, "select count(trunkline.stream_append('orders', 'e' || n)) from generate_series(1, 1200) n");
    sql(&url, "select trunkline.stream_tick('orders')");
    let batch = sql(&url, "select batch from trunkline.stream_next_batch('orders', 'billing')").unwrap();
    let first = format!(
        "(select array_agg(id) from (select id from trunkline.stream_events('{batch}') order by id limit 2) e)"
    );
    sql(&url, &format!("select trunkline.stream_retry('{batch}', {first}, null, 'no route')"));
    sql(&url, &format!("select trunkline.stream_finish('{batch}')"));
    sql(&url, "select trunkline.stream_seek('orders', 'billing', 'end')");
    sql(&url, "update trunkline.stream_tick set at = now() - interval '25 hours'");
    sql(
        &url,
        "select trunkline.stream_set('orders', 'slow_after', '1 hour'), trunkline.stream_set('orders', 'slow_rule', 'limit')",
    );
    let served = Served::start(&url, &[], &[]);
    says(
        &served,
        &[
            ("/streams", "", "", "orders takes no more until search has caught up"),
            ("/streams", "", "", "events 1\u{202f}200 not ticked 0 ticks/s 0.0 last tick 1 d 1 h ago mode "),
            ("/streams", "", "", "kept for search, 1 d 1 h behind segments "),
            ("/streams", "search warning", "Lag", "1 d 1 h"),
            ("/streams", "search", "Events", "1\u{202f}200"),
            ("/streams", "billing", "Lag", "0 ms"),
            ("/streams", "billing", "Dead", "2"),
            ("/streams", "", "", "No consumer is registered: events are kept as long as keep_for says."),
            ("/streams/orders/billing", "", "", "events 0 finished up to tick "),
            ("/streams/orders/billing", "", "", "no route"),
            ("/", "", "", "the consumer search of orders is 1 d 1 h behind"),
            ("/", "", "", "2 dead letters of the consumer billing of orders"),
        ],
    );
    // The size of each of the three segments, the one that is filled marked.
    let page = served.get("/streams").body;
    let orders = page.split("<h2>orders</h2>").nth(1).unwrap().split("<h2>").next().unwrap();
    let segments: Vec<&str> =
        orders.split("<span class=\"segment").skip(1).map(|s| s.split('<').next().unwrap()).collect();
    let sizes = "select string_agg(b::text, ' ') from trunkline.stream_list() s, unnest(s.segment_bytes) b where stream = 'orders'";
    let sizes = sql(&url, sizes).unwrap();
    let shown = sizes.split(' ').map(|b| match b.parse::<u32>().unwrap() {
        0 => "0 B".to_owned(),
        b if b < 10 * 1024 => format!("{:.1} KiB", f64::from(b) / 1024.0),
        b => format!("{} KiB", b / 1024),
    });
    let shown: Vec<String> = shown.collect();
    assert_eq!(segments.iter().map(|s| s.split_once('>').unwrap().1).collect::<Vec<_>>(), shown);
    assert_eq!(segments.iter().filter(|s| s.starts_with(" filled")).count(), 1, "{segments:?}");
}

#[test]
fn who_listens_is_told_with_which_is_active_and_since_when() {
    let url = database();
    let listens = |application: &str, single: bool, more: &str| {
        let listens = format!(
            "select trunkline._topic_subscribe(o.id, 1, array['alarms', 'orders.>'], 'volatile', 'guard', {single})
               from trunkline._session_open('{application}', false, '1 hour') o"
        );
        sql(&url, &listens);
        let of = format!("session = (select id from trunkline.session where application = '{application}')");
        sql(&url, &format!("update trunkline.topic_subscription set {more} where {of}"));
    };
    listens("first", true, "active = true, fence = 7, since = '2026-01-02 03:04:05+00'");
    listens("second", true, "since = '2026-01-02 04:00:00+00'");
    listens("third", false, "since = '2026-01-02 05:00:00+00', gaps = 3, gap_at = '2026-01-03 03:04:05+00'");
    sql(
        &url,
        "select trunkline.topic_create('kept', 'durable'), count(trunkline.topic_publish('news', 'x')) from generate_series(1, 3)",
    );
    let served = Served::start(&url, &[], &[]);
    says(
        &served,
        &[
            ("/topics", "news", "Messages kept", "3"),
            ("/topics", "kept", "Messages kept", "its stream"),
            ("/", "", "", "listen 3 active 1 stand by 1 gaps 3"),
        ],
    );
    // Of each who listens: the rows differ by their application.
    let page = served.get("/topics").body;
    let rows: Vec<Vec<String>> = page.split("</tr>").map(cells).filter(|c| c.len() == 10).collect();
    let of = |application: &str| {
        let row = rows.iter().find(|row| row[5] == application).expect(application);
        [&row[..5], &row[8..]].concat().join(" | ")
    };
    assert_eq!(of("first"), "alarms, orders.> | guard | active | 2026-01-02 03:04:05 | 7 | – | –");
    assert_eq!(of("second"), "alarms, orders.> | guard | standby | 2026-01-02 04:00:00 | – | – | –");
    assert_eq!(
        of("third"),
        "alarms, orders.> | guard | gets all | 2026-01-02 05:00:00 | – | 3 | 2026-01-03 03:04:05"
    );
}

/// A request for each hundredth of a second from 0 to a second, and one for each outcome.
const REQUESTS: &str = "do $$ begin
    perform trunkline.request_send('hash', 'x', timeout => '1 hour', wait_for_responder => true) from generate_series(1, 101);
    perform trunkline.request_serve('hash');
    commit;
    perform trunkline.request_reply(claim, 'y') from trunkline.request_take('hash', 101);
    commit;
    update trunkline.ending_e0 e set ended_at = r.sent_at + r.n * interval '10 ms'
      from (select id, sent_at, row_number() over (order by id) - 1 as n from trunkline.request_e0) r where r.id = e.id;
    commit;
    perform trunkline.request_send('mixed', 'x', timeout => '1 hour', wait_for_responder => true) from generate_series(1, 5);
    perform trunkline.request_serve('mixed');
    commit;
    perform trunkline.request_fail(claim, 'E7', 'no') from trunkline.request_take('mixed', 2);
    commit;
    perform trunkline.request_reply(claim, 'y') from trunkline.request_take('mixed', 1);
    commit;
    perform from trunkline.request_take('mixed', 1);
    commit;
end $$";

#[test]
fn requests_and_processes_are_told_with_their_times_outcomes_and_what_runs() {
    let url = database();
    sql(&url, "select trunkline.request_open('hash'), trunkline.request_open('mixed')");
    sql(&url, REQUESTS);
    let lost = "select count(*)::text from trunkline.request_list('mixed') where state = 'lost'";
    sql(
        &url,
        "select trunkline.request_cancel(id) from trunkline.request_list('mixed') where state = 'waiting'",
    );
    sql(&url, "select trunkline.request_send('mixed', 'x', timeout => '1 ms', wait_for_responder => true)");
    sql(&url, "select trunkline.request_send('mixed', 'x', timeout => '1 hour', wait_for_responder => true)");
    let _serving = responder(&url, &["hash", "--echo"]);
    sql(&url, "select trunkline.job_open('mail'), trunkline.job_push('mail', 'x')");
    let named = format!("{url}{}application_name=worker-7", if url.contains('?') { '&' } else { '?' });
    let _working = worker(&named, &["mail", "--exec", "sleep 60"]);
    let served = Served::start(&url, &[], &[]);
    until("who died to be buried", || sql(&url, lost).as_deref() == Some("1"));
    until("the job to run", || {
        sql(&url, "select jobs::text from trunkline.session_list() where application = 'worker-7'").as_deref()
            == Some("1")
    });
    let version = env!("CARGO_PKG_VERSION");
    says(
        &served,
        &[
            ("/requests", "hash", "Responders", "1"),
            ("/requests", "hash", "ok", "101"),
            ("/requests", "hash", "p50", "500 ms"),
            ("/requests", "hash", "p95", "950 ms"),
            ("/requests", "hash", "p99", "990 ms"),
            ("/requests", "hash", "failed", "–"),
            ("/requests", "mixed", "Responders", "–"),
            ("/requests", "mixed", "ok", "1"),
            ("/requests", "mixed", "failed", "2"),
            ("/requests", "mixed", "timed out", "1"),
            ("/requests", "mixed", "cancelled", "1"),
            ("/requests", "mixed", "lost", "1"),
            ("/requests", "mixed", "waiting", "1"),
            ("/", "", "", "nobody serves the channel mixed, and requests wait"),
            ("/processes", "worker-7", "State", "alive"),
            ("/processes", "worker-7", "Version", version),
            ("/processes", "worker-7", "Host", "local"),
            ("/processes", "worker-7", "Works on", "mail"),
            ("/processes", "worker-7", "Jobs", "1"),
            ("/processes", "worker-7", "Serves", ""),
            ("/processes", "trunkline/cli", "Serves", "hash"),
            ("/jobs", "mail", "running", "1"),
        ],
    );
    let role = sql(&url, "select current_user").unwrap();
    let pid =
        sql(&url, "select pid::text from trunkline.session_list() where application = 'worker-7'").unwrap();
    says(&served, &[("/processes", "worker-7", "Role", &role), ("/processes", "worker-7", "Backend", &pid)]);
    let job = sql(&url, "select max(id)::text from trunkline.job").unwrap();
    says(&served, &[(&format!("/jobs/{job}"), "", "", "worker worker-7")]);
}

#[test]
fn what_needs_somebody_and_what_endangers_messages_is_said_with_what_mends_it() {
    let url = database();
    sql(&url, "select trunkline.job_open(q) from unnest(array['late', 'off', 'sick']) q");
    let served = Served::start(&url, &[], &[]);
    says(&served, &[("/", "", "", "Needs somebody nothing does")]);
    sql(
        &url,
        "select trunkline.job_push('late', 'x', run_at => now() + interval '1 day'), trunkline.job_push('off', 'x', run_at => now() + interval '1 day')",
    );
    sql(&url, "update trunkline.job_held set due_at = now() - interval '25 hours'");
    sql(&url, "select trunkline.job_pause('off')");
    sql(&url, "select count(trunkline.job_push('sick', 'x')) from generate_series(1, 2)");
    sql(
        &url,
        "select count(trunkline.job_fail(claim, 'no', dead => true)) from trunkline.job_take('sick', 2)",
    );
    sql(&url, "select trunkline.job_schedule('never', 'late', '0 3 1 1 *', 'x')");
    sql(&url, "update trunkline.job_schedule set error = 'no', next_at = '2100-01-01'");
    says(
        &served,
        &[
            ("/", "", "", "Needs somebody 2 dead jobs in the queue sick the schedule never cannot be fired"),
            ("/", "", "", "a job of the queue late has waited 1 d 1 h"),
            ("/", "", "", "the queue off is paused"),
            // The server of the tests writes without fsync.
            ("/health", "", "", "critical fsync is off"),
        ],
    );
    assert!(!read(&served.get("/").body).contains("queue off has waited"), "who paused it knows");
    let findings = served.get("/api/v1/findings").json();
    let told: Vec<serde_json::Value> = serde_json::from_str(&format!(
        "[{}]",
        crate::stdout(&crate::run(&url, &["doctor", "--json"])).lines().collect::<Vec<_>>().join(",")
    ))
    .unwrap();
    let fsync = |all: &[serde_json::Value]| {
        all.iter().find(|f| f["finding"] == "fsync is off").cloned().expect("fsync")
    };
    let found = fsync(findings["items"].as_array().unwrap());
    assert_eq!(found, fsync(&told), "as the doctor says");
    assert_eq!((&found["check"], &found["level"]), (&"settings".into(), &"critical".into()));
    let page = read(&served.get("/health").body);
    for part in ["consequence", "remedy"] {
        assert!(page.contains(&read(found[part].as_str().unwrap())), "{part}: {page}");
    }
}
