//! A dump of queues, restored into a younger cluster: after the repair each event comes once, in the batch it was in.

use std::process::{Command, Stdio};

use crate::{
    pgq_support::adapted,
    support::{Cluster, Db, Raw},
};

fn tool(db: &Db, name: &str) -> Command {
    let path = std::fs::read_link(format!("/proc/{}/exe", db.postmaster)).expect("the server runs");
    let mut command = Command::new(path.with_file_name(name));
    command.stdin(Stdio::null());
    command
}

/// The dump of one database, in another cluster.
async fn moved(db: &Db) -> (Cluster, Db) {
    let dump = tool(db, "pg_dump").arg(&db.url).output().expect("pg_dump");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.sql", db.name));
    std::fs::write(&file, &dump.stdout).unwrap();
    let (cluster, _) = Cluster::own().await;
    let elsewhere = cluster.empty("restored").await;
    let roles =
        ["trunkline_reader", "trunkline_writer", "trunkline_admin", "pgq_reader", "pgq_writer", "pgq_admin"];
    let raw = elsewhere.raw().await;
    for role in roles {
        raw.run(&format!(
            "do $$ begin create role {role}; exception when duplicate_object then null; end $$"
        ))
        .await;
    }
    let mut psql = tool(&elsewhere, "psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).arg(&elsewhere.url);
    assert!(psql.stdout(Stdio::null()).status().expect("psql").success());
    std::fs::remove_file(&file).unwrap();
    (cluster, elsewhere)
}

const SETTINGS: &str =
    "pgq.set_queue_config('q', 'ticker_max_lag', '0'), pgq.set_queue_config('q', 'ticker_idle_period', '0')";

/// Reads what a consumer has not had yet, batch by batch.
async fn drain(raw: &Raw, consumer: &str) -> Vec<String> {
    for _ in 0..3 {
        raw.run("select pgq.ticker(), pgq.maint_retry_events()").await;
    }
    raw.run("select pgq.ticker()").await;
    raw.run("create temp table if not exists got (nr serial, data text); truncate got").await;
    raw.run(&format!(
        "do $$ declare b bigint; begin loop b := pgq.next_batch('q', '{consumer}'); exit when b is null;
             insert into got (data) select ev_data from pgq.get_batch_events(b); perform pgq.finish_batch(b); commit; end loop; end $$"
    ))
    .await;
    raw.rows("select data from got order by nr").await
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

/// A queue with 400 ticks of one event each; a consumer at the start, one in a batch in the middle, one near the end.
async fn busy(raw: &Raw) -> String {
    raw.run(&format!("select pgq.create_queue('q'), {SETTINGS}; select pgq.register_consumer('q', 'first')"))
        .await;
    raw.run("select pgq.register_consumer('q', 'middle'); select pgq.register_consumer('q', 'last')").await;
    let writing = "do $$ begin for i in 0 .. 399 loop
        perform pgq.insert_event('q', 't', i::text); commit; perform pgq.ticker(); commit; end loop; end $$";
    raw.run(writing).await;
    raw.run("do $$ declare b bigint; begin
        perform pgq.register_consumer_at('q', 'middle', (select min(tick_id) + 200 from pgq.tick));
        perform pgq.register_consumer_at('q', 'last', (select max(tick_id) - 1 from pgq.tick));
        b := pgq.next_batch('q', 'last'); perform pgq.event_retry(b, ev_id, 0) from pgq.get_batch_events(b); perform pgq.finish_batch(b); end $$")
        .await;
    let open = "select string_agg(ev_data, ' ') from pgq.get_batch_events(pgq.next_batch('q', 'middle'))";
    let open = raw.one(open).await;
    raw.run("select pgq.insert_event('q', 't', (400 + i)::text) from generate_series(0, 9) i").await;
    open
}

#[tokio::test]
async fn a_dump_of_queues_restored_on_another_server_goes_on_after_a_repair() {
    let (source, db) = Cluster::own().await;
    let mut raw = db.raw().await;
    trunkline::schema::install_pgq(&mut raw.client).await.unwrap();
    raw.run("do $$ begin for i in 1 .. 9000 loop perform txid_current(); commit; end loop; end $$").await;
    let open = busy(&raw).await;
    let (_cluster, elsewhere) = moved(&db).await;
    drop(source);
    let raw = elsewhere.raw().await;
    let refused = raw.failure("select pgq.ticker('q')").await;
    assert!(
        refused.contains("Invalid PgQ state") && refused.contains("trunkline schema repair"),
        "{refused}"
    );
    raw.run("select pgq.ticker()").await;
    assert_eq!(raw.one("select trunkline.schema_repair()").await, "2");
    assert_eq!(raw.one("select pgq._repair()").await, "0", "a second repair does nothing");
    raw.run("select pgq.insert_event('q', 't', (410 + i)::text) from generate_series(0, 4) i").await;
    let same = "select string_agg(ev_data, ' ') from pgq.get_batch_events(pgq.next_batch('q', 'middle'))";
    assert_eq!(raw.one(same).await, open, "the open batch is the same");
    let middle = drain(&raw, "middle").await;
    let from = open.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(middle, numbers(from..415));
    assert_eq!(drain(&raw, "first").await, numbers(0..415));
    let mut last = drain(&raw, "last").await;
    last.sort_by_key(|n| n.parse::<usize>().unwrap());
    assert_eq!(last, numbers(399..415), "with the event that was put aside");
    raw.run("select pgq.create_queue('another'); select pgq.insert_event('another', 't', 'd')").await;
    assert_eq!(raw.one("select queue_id from pgq.queue where queue_name = 'another'").await, "2");
    raw.run("update pgq.queue set queue_rotation_period = '0'").await;
    for _ in 0..6 {
        raw.run("select pgq.maint_rotate_tables_step1('q')").await;
        raw.run("select pgq.maint_rotate_tables_step2()").await;
        for consumer in ["first", "middle", "last"] {
            drain(&raw, consumer).await;
        }
    }
    assert_ne!(raw.one("select rotations from pgq._guard where queue_id = 1").await, "0", "rotation goes on");
}

#[tokio::test]
async fn a_repair_where_nothing_changed_does_nothing() {
    let db = adapted().await;
    let raw = db.raw().await;
    raw.run(&format!("select pgq.create_queue('q'), {SETTINGS}; select pgq.register_consumer('q', 'c')"))
        .await;
    raw.run("select pgq.insert_event('q', 't', '0')").await;
    let all = "select md5(string_agg(t::text, ' ' order by t::text)) from (select t::text from pgq.tick t union all select e::text from pgq.event_1 e) t";
    let before = raw.one(all).await;
    raw.run("select setval('pgq.queue_queue_id_seq', 1, false)").await;
    assert_eq!(raw.one("select trunkline.schema_repair()").await, "1");
    assert_eq!(raw.one(all).await, before);
    assert_eq!(raw.one("select pgq.create_queue('r')").await, "1", "the sequence was put right");
    assert_eq!(drain(&raw, "c").await, ["0"]);
}

#[tokio::test]
async fn a_young_cluster_has_numbers_enough() {
    let (_cluster, db) = Cluster::own().await;
    let mut raw = db.raw().await;
    trunkline::schema::install_pgq(&mut raw.client).await.unwrap();
    raw.run("create temp table got as select row_number() over () as nr, n from unnest(pgq._past_numbers(5000)) n").await;
    let right = "select count(distinct n) = 5000 and bool_and(ok) from (select n, n > coalesce(lag(n) over (order by nr), 0) as ok from got) g";
    assert_eq!(raw.one(right).await, "t", "rising");
    assert_eq!(
        raw.one("select bool_and(txid_visible_in_snapshot(n, txid_current_snapshot())) from got").await,
        "t",
        "and past"
    );
}
