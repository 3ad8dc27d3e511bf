//! Listeners that read no more. Their backend waits to write to them, which no timeout ends, and keeps the server's queue of NOTIFY and the
//! horizon as they are. What is ours is ended; of others the doctor tells.

use trunkline::{
    Trunkline,
    topics::{Event, Kind, Subscribe},
};

use crate::{
    doctor::{NOW, mend, of},
    support::{Cluster, Process, millis, say, signal, until},
    topics::{connected, message},
};

/// The part of a process: says what it hears on a channel. One that is single has something in hand, and so a session of five seconds.
pub async fn listener(me: &Trunkline) {
    let options = Subscribe::new(["work"]).kind(Kind::Channel).single();
    let mut subscription = me.topics().subscribe(options).await.unwrap();
    say("ready");
    while let Some(event) = subscription.next().await.unwrap() {
        match event {
            Event::Message(message) => say(&format!("heard {}", message.payload().bytes().len())),
            Event::Active { .. } => say("active"),
            Event::Gap(_) => say("gap"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_listener_of_ours_that_reads_no_more_is_ended_and_no_other() {
    let (_cluster, db) = Cluster::own().await;
    let raw = db.raw().await;
    let mut frozen = Process::start("hearer", &db).await;
    frozen.line("active").await;
    let healthy = db.client("healthy").await;
    let channel = || Subscribe::new(["work"]).kind(Kind::Channel);
    let mut hearing = healthy.topics().subscribe(channel()).await.unwrap();
    connected(&mut hearing).await;
    // Of another program, which does not read its socket.
    let (theirs, mut connection) = tokio_postgres::connect(&db.url, tokio_postgres::NoTls).await.unwrap();
    tokio::select! {
        _ = &mut connection => panic!("it ended"),
        done = theirs.batch_execute("set application_name = 'theirs'; listen work") => done.unwrap(),
    }
    let ours = db.backend(&raw, "child-hearer").await;
    signal(frozen.pid(), "-STOP");
    let stuck = |name: &str| {
        format!(
            "select count(*) from pg_stat_activity where wait_event = 'ClientWrite' and application_name = '{name}'"
        )
    };
    until("both to wait for who does not read", async || {
        raw.run("do $$ begin for n in 1 .. 20 loop perform pg_notify('work', n || repeat('x', 7000)); end loop; end $$").await;
        for _ in 0..20 {
            assert!(message(&mut hearing).await.payload().bytes().len() > 7000, "others hear");
        }
        raw.one(&stuck("child-hearer")).await == "1" && raw.one(&stuck("theirs")).await == "1"
    })
    .await;
    assert_eq!(raw.one("select pg_notification_queue_usage() > 0").await, "t");
    let gone = format!("select not exists (select from pg_stat_activity where pid = {ours})");
    raw.until("ours to be ended, and its session over", &gone).await;
    assert_eq!(raw.one(&stuck("theirs")).await, "1", "another program's is not ours to end");
    let told = of(&db, "notify", NOW).await;
    assert!(
        told.len() == 1 && told[0].contains("theirs") && told[0].contains("has read nothing"),
        "{told:?}"
    );
    mend(&db, "notify", NOW).await;
    until("the queue to be emptied", async || {
        raw.run("notify work, 'after'").await;
        raw.one("select pg_notification_queue_usage() = 0").await == "t"
    })
    .await;
    signal(frozen.pid(), "-CONT");
    frozen.line("gap").await;
    until("it to hear again", async || {
        raw.run("notify work, 'again'").await;
        tokio::time::timeout(millis(200), frozen.line("heard 5")).await.is_ok()
    })
    .await;
    drop(connection);
}
