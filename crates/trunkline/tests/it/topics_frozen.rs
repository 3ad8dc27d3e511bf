//! Listeners that read no more. Their backend waits to write to them, which no timeout ends, and keeps the server's queue of NOTIFY and the
//! horizon as they are. What is ours is ended; of others the doctor tells.

use trunkline::{
    Trunkline,
    topics::{Event, Kind, Subscribe},
};

use crate::{
    doctor::{LATER, NOW, mend, nothing, of},
    support::{Cluster, Process, say, signal, until},
    topics::{connected, message},
};

/// The part of a process: says what it hears on a channel. One that is single has something in hand, and so a session of five seconds;
/// the other one is at rest, and its session good for 100.
pub async fn listener(me: &Trunkline, single: bool) {
    let options = Subscribe::new(["work"]).kind(Kind::Channel);
    let options = if single { options.single() } else { options };
    let mut subscription = me.topics().subscribe(options).await.unwrap();
    say("ready");
    while let Some(event) = subscription.next().await.unwrap() {
        match event {
            Event::Message(message) => say(&format!("heard {}", message.payload().bytes().len())),
            Event::Active { .. } => say("active"),
            Event::Connected => say("connected"),
            Event::Gap(_) => say("gap"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_listener_of_ours_that_reads_no_more_is_ended_and_no_other() {
    let (_cluster, db) = Cluster::own().await;
    let raw = db.raw().await;
    let mut busy = Process::start("hearer", &db).await;
    busy.line("active").await;
    let mut resting = Process::start("rester", &db).await;
    resting.line("connected").await;
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
    let ours = [db.backend(&raw, "child-hearer").await, db.backend(&raw, "child-rester").await];
    signal(busy.pid(), "-STOP");
    signal(resting.pid(), "-STOP");
    let stuck = |names: &str| {
        format!(
            "select count(*) from pg_stat_activity where wait_event = 'ClientWrite' and application_name ~ '{names}'"
        )
    };
    until("all to wait for who does not read", async || {
        raw.run("do $$ begin for n in 1 .. 20 loop perform pg_notify('work', n || repeat('x', 7000)); end loop; end $$").await;
        for _ in 0..20 {
            assert!(message(&mut hearing).await.payload().bytes().len() > 7000, "others hear");
        }
        raw.one(&stuck("child|theirs")).await == "3"
    })
    .await;
    assert_eq!(raw.one("select pg_notification_queue_usage() > 0").await, "t");
    for pid in ours {
        // Whoever is there looks, once a second while any is busy; seldom else.
        let gone = format!("select not exists (select from pg_stat_activity where pid = {pid})");
        until("ours to be ended", async || {
            raw.run("select trunkline.maintain()").await;
            raw.one(&gone).await == "t"
        })
        .await;
    }
    assert_eq!(raw.one(&stuck("theirs")).await, "1", "another program's is not ours to end");
    nothing(&db, "notify", LATER).await;
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
    for frozen in [&mut busy, &mut resting] {
        signal(frozen.pid(), "-CONT");
        frozen.line("gap").await;
        frozen.line("connected").await;
    }
    raw.run("notify work, 'again'").await;
    resting.line("heard 5").await;
    drop(connection);
}
