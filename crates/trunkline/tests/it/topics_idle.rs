//! What subscriptions cost while nothing is published, and a worker while nothing is pushed: statements of each process, as the
//! server's log tells them.
//!
//! `TRUNKLINE_IDLE_SECONDS` sets for how long they are counted.

use trunkline::{
    jobs::Job,
    requests::Failure,
    topics::{Event, Kind, Subscribe, Subscription},
};

use crate::support::{Cluster, Raw, secs, until, within};

/// The first minute of the first session is watched for what a crash may have left: let it be over.
const LONG_AGO: &str = "update trunkline.session set opened_at = opened_at - interval '2 minutes'";
/// All are at rest but one, who holds a lease.
const AT_REST: &str = "select count(*) filter (where rests and expires_at > clock_timestamp() + interval '10 s') = count(*) - 1 from trunkline.session";

/// All six sleep on the door of those who watch others, and are woken when anybody has something in hand.
const UNWATCHED: &str = "select count(*) = 6 from pg_locks where locktype = 'advisory' and classid = 1953656427 and objid::text = '4294967166' and granted
    and database = (select oid from pg_database where datname = current_database())";

/// How many statements a process has made since the log was so long.
fn statements(log: &std::path::Path, since: usize, process: &str) -> usize {
    let said = std::fs::read(log).unwrap();
    let said = String::from_utf8_lossy(&said[since..]);
    // Who stands by has a second connection, which tells of its turn.
    let its = [format!("{process}|"), format!("{process} vigil|")];
    let of = |line: &&str| {
        its.iter().any(|its| line.starts_with(its))
            && (line.contains("execute") || line.contains("statement:"))
    };
    said.lines().filter(of).count()
}

#[tokio::test]
async fn who_listens_and_hears_nothing_asks_ten_times_a_minute_at_most() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(false)).await.unwrap();
    let admin = Raw::open(&cluster.server.url()).await;
    admin.run("alter system set log_statement = 'all'").await;
    admin.run("alter system set log_line_prefix = '%a|'").await;
    admin.run("select pg_reload_conf()").await;
    let db = cluster.database("idle").await;
    let raw = db.raw().await;
    raw.run("select trunkline.topic_create('bills', 'durable')").await;
    let all = ["volatile", "channel", "durable", "active", "standby"];
    let mut processes = Vec::new();
    let mut subscriptions: Vec<Subscription> = Vec::new();
    for name in all {
        let process = db.client(name).await;
        let subscribe = match name {
            "volatile" => Subscribe::new(["a", "b"]),
            "channel" => Subscribe::new(["a"]).kind(Kind::Channel),
            "durable" => Subscribe::new(["bills"]).name("books"),
            _ => Subscribe::new(["one"]).single(),
        };
        subscriptions.push(process.topics().subscribe(subscribe).await.unwrap());
        processes.push(process);
        if name == "active" {
            let active = "select count(*) = 1 from trunkline.topic_subscriptions() where single and active";
            raw.until("the first to be active", active).await;
        }
    }
    let (worker, (worked, mut done)) = (db.client("worker").await, tokio::sync::mpsc::unbounded_channel());
    let _working = worker.jobs().work("q", move |job: Job| {
        let _ = worked.send(job.id);
        async { Ok::<_, Failure>(()) }
    });
    raw.run(LONG_AGO).await;
    raw.until("those who hold no lease to be at rest", AT_REST).await;
    raw.until("nobody to watch anybody", UNWATCHED).await;
    let seconds: u64 =
        std::env::var("TRUNKLINE_IDLE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(40);
    let log = cluster.server.log().to_owned();
    let since = std::fs::metadata(&log).unwrap().len() as usize;
    tokio::time::sleep(secs(seconds)).await;
    let minutes = seconds as f64 / 60.0;
    let all = [&all[..], &["worker"]].concat();
    let counted: Vec<usize> = all.iter().map(|name| statements(&log, since, name)).collect();
    let told = all.iter().zip(&counted).map(|(name, n)| format!("{name} {:.1}", *n as f64 / minutes));
    println!("statements a minute: {}", told.collect::<Vec<_>>().join(", "));
    for (name, n) in all.iter().zip(&counted).filter(|(name, _)| **name != "active") {
        // What comes twice a minute may fall into so short a time once more.
        assert!(*n as f64 <= 10.0 * minutes + 3.0, "{name}: {n} in {minutes:.2} minutes");
    }
    // Who is at rest hears at once all the same, and the log does tell of a process.
    let publisher = db.client("publisher").await;
    for (topic, heard) in [("a", 0), ("bills", 2)] {
        publisher.topics().publish(topic, "x").await.unwrap();
        let message =
            async { while !matches!(subscriptions[heard].next().await.unwrap(), Some(Event::Message(_))) {} };
        within(1000, "what is published", message).await;
    }
    publisher.jobs().push("q", "x").await.unwrap();
    within(1000, "what is pushed", done.recv()).await.unwrap();
    until("the log to tell of it", async || statements(&log, since, "publisher") > 0).await;
}
