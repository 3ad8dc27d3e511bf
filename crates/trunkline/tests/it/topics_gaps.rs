//! Topics when something breaks: what was missed is told, and what can be read again is no gap.

use std::time::SystemTime;

use tokio::task::JoinSet;
use trunkline::{
    Trunkline,
    topics::{Event, Gap, Kind, NewMessage, OnFull, Subscribe, Subscription},
};

use crate::{
    support::{Cluster, Db, Raw, millis, signal, until},
    topics::{connected, message, next, texts},
};

/// Lets the ring turn, and empties what it may, however young: `turned`, `sealed`, `emptied`, `busy` or nothing.
async fn turn(raw: &Raw, keep: &str, most_bytes: u64) -> String {
    raw.one(&format!("select trunkline._topic_turn(0, '{keep}', {most_bytes})")).await
}

/// Empties all that is in the ring, whoever has read it.
pub async fn empty(raw: &Raw) {
    until("the ring to be empty", async || {
        turn(raw, "1 hour", 0).await;
        raw.one("select count(*) from trunkline.topic_message").await == "0"
    })
    .await;
}

/// Ends the connection of a client, and waits until it is gone.
async fn cut(db: &Db, raw: &Raw, application: &str) {
    let pid = db.backend(raw, application).await;
    raw.run(&format!("select pg_terminate_backend({pid}, 10000)")).await;
}

async fn one() -> (Db, Trunkline, Raw) {
    let db = Db::new().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    (db, tl, raw)
}

/// What comes until a message: the events before it, and the message.
async fn until_message(subscription: &mut Subscription) -> (Vec<Event>, String) {
    let mut before = Vec::new();
    loop {
        match next(subscription).await {
            Event::Message(message) => return (before, message.text().unwrap().to_owned()),
            event => before.push(event),
        }
    }
}

#[tokio::test]
async fn a_reconnect_is_no_gap_while_the_ring_has_what_was_missed() {
    let (db, tl, raw) = one().await;
    let mut subscription = tl.topics().subscribe("a").await.unwrap();
    connected(&mut subscription).await;
    for round in 0..10 {
        // Published in the moment of the cut, and while nobody is there.
        let (other, backend) = (db.raw().await, db.backend(&raw, "topics").await);
        other
            .run(&format!(
                "begin; select trunkline.topic_publish('a', '{round} 1'), pg_terminate_backend({backend}, 10000); commit;
                 select trunkline.topic_publish('a', '{round} 2')"
            ))
            .await;
        let (before, first) = until_message(&mut subscription).await;
        assert!(matches!(&before[..], [Event::Lost] | [Event::Lost, Event::Connected] | []), "{before:?}");
        let mut rest = Vec::new();
        if before.len() < 2 {
            let mut told = before.len();
            while told < 2 || rest.is_empty() {
                match next(&mut subscription).await {
                    Event::Message(m) => rest.push(m.text().unwrap().to_owned()),
                    Event::Lost | Event::Connected => told += 1,
                    other => panic!("{other:?}"),
                }
            }
        } else {
            rest = texts(&mut subscription, 1).await;
        }
        assert_eq!((first, rest), (format!("{round} 1"), vec![format!("{round} 2")]));
    }
}

#[tokio::test]
async fn who_read_by_himself_when_the_connection_was_lost_is_told_so_too() {
    let (db, tl, raw) = one().await;
    let slow = Subscribe::new(["a"]).buffer(5).on_full(OnFull::Wait);
    let mut slow = tl.topics().subscribe(slow).await.unwrap();
    let mut fast = tl.topics().subscribe("a").await.unwrap();
    connected(&mut slow).await;
    connected(&mut fast).await;
    let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    tl.topics().publish_all("a", all.iter().map(String::as_str)).await.unwrap();
    assert_eq!(texts(&mut fast, 100).await, all);
    tl.topics().publish("a", "mark").await.unwrap(); // its look comes after that of the others has ended
    assert_eq!(texts(&mut fast, 1).await, ["mark"]);
    cut(&db, &raw, "topics").await;
    assert!(matches!(next(&mut fast).await, Event::Lost));
    assert!(matches!(next(&mut fast).await, Event::Connected));
    let (mut got, mut told) = (0, Vec::new());
    while got < 101 || told.len() < 2 {
        match next(&mut slow).await {
            Event::Message(_) => got += 1,
            event => told.push(event),
        }
    }
    assert!(matches!(told[..], [Event::Lost, Event::Connected]), "{told:?}");
}

#[tokio::test]
async fn what_was_emptied_before_it_was_read_is_a_gap() {
    // Of its own: what others have in progress meanwhile may have been in what is emptied, for all that anybody knows.
    let (_cluster, db) = Cluster::own().await;
    let (tl, raw) = (db.client("topics").await, db.raw().await);
    let slow = Subscribe::new(["a"]).buffer(5).on_full(OnFull::Wait);
    let mut slow = tl.topics().subscribe(slow).await.unwrap();
    let mut fast = tl.topics().subscribe("a").await.unwrap();
    connected(&mut slow).await;
    connected(&mut fast).await;
    let began = SystemTime::now();
    let all: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
    tl.topics().publish_all("a", all.iter().map(String::as_str)).await.unwrap();
    assert_eq!(texts(&mut fast, 3000).await, all);
    tl.topics().publish("a", "mark").await.unwrap(); // its look comes after that of the others has ended
    assert_eq!(texts(&mut fast, 1).await, ["mark"]);
    empty(&raw).await;
    tl.topics().publish("a", "after").await.unwrap();
    assert_eq!(texts(&mut fast, 1).await, ["after"], "who has read it misses nothing");
    let mut got = Vec::new();
    let gap = loop {
        match next(&mut slow).await {
            Event::Message(message) => got.push(message.text().unwrap().to_owned()),
            Event::Gap(gap) => break gap,
            other => panic!("{other:?}"),
        }
    };
    assert!(got.len() < 3000 && got[..] == all[..got.len()], "{} came", got.len());
    let Gap { since, until, missed, .. } = gap;
    assert!(since < until && until > began && missed.is_none(), "{gap:?}");
    assert_eq!(texts(&mut slow, 1).await, ["after"]);
    tl.topics().publish("a", "end").await.unwrap();
    assert_eq!(texts(&mut slow, 1).await, ["end"], "one gap, told once");
}

#[tokio::test]
async fn a_channel_has_a_gap_after_each_reconnect_and_everything_is_heard_again() {
    let (db, tl, raw) = one().await;
    let channel = |name: &str| Subscribe::new([name.to_owned(), "shared".to_owned()]).kind(Kind::Channel);
    let mut subscriptions = Vec::new();
    for n in 0..5 {
        subscriptions.push(tl.topics().subscribe(channel(&format!("c{n}"))).await.unwrap());
        connected(&mut subscriptions[n]).await;
    }
    for round in 0..5 {
        let before = SystemTime::now();
        cut(&db, &raw, "topics").await;
        raw.run("notify shared, 'who is not back does not hear it'").await;
        for (n, subscription) in subscriptions.iter_mut().enumerate() {
            assert!(matches!(next(subscription).await, Event::Lost));
            let Event::Gap(Gap { since, until, missed: None, .. }) = next(subscription).await else {
                panic!("no gap")
            };
            assert!(since <= before + millis(1) && until >= before && since < until);
            connected(subscription).await;
            raw.run(&format!("notify c{n}, '{round}'")).await;
            let mut heard = message(subscription).await;
            if heard.topic() == "shared" {
                heard = message(subscription).await; // it was back before that
            }
            assert_eq!(heard.text().unwrap(), round.to_string());
        }
    }
}

#[tokio::test]
async fn a_database_crash_is_a_gap() {
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(true)).await.unwrap();
    let db = cluster.database("crash").await;
    let tl = db.client("topics").await;
    let mut subscription = tl.topics().subscribe("a").await.unwrap();
    connected(&mut subscription).await;
    let first = tl.topics().publish("a", "before").await.unwrap();
    assert_eq!(texts(&mut subscription, 1).await, ["before"]);
    signal(cluster.server.pid(), "-KILL");
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.restart();
        cluster
    })
    .await
    .unwrap();
    assert!(matches!(next(&mut subscription).await, Event::Lost));
    let Event::Gap(Gap { since, until, .. }) = next(&mut subscription).await else { panic!("no gap") };
    assert!(since < until);
    connected(&mut subscription).await;
    let raw = db.raw().await;
    raw.run("select trunkline.topic_publish('a', 'after')").await;
    let after = message(&mut subscription).await;
    assert_eq!(after.text().unwrap(), "after");
    assert!(after.id() > first, "ids go on");
    assert_eq!(raw.rows("select topics from trunkline.topic_subscriptions()").await, ["{a}"], "said again");
    drop(cluster);
}

#[tokio::test]
async fn a_clean_restart_is_no_gap() {
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(true)).await.unwrap();
    let db = cluster.database("restart").await;
    let tl = db.client("topics").await;
    let mut subscription = tl.topics().subscribe("a").await.unwrap();
    connected(&mut subscription).await;
    let raw = db.raw().await;
    raw.run("begin; select trunkline.topic_publish('a', '1'); commit").await;
    assert_eq!(texts(&mut subscription, 1).await, ["1"]);
    signal(cluster.server.pid(), "-INT"); // the fast way
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.restart();
        cluster
    })
    .await
    .unwrap();
    db.raw().await.run("select trunkline.topic_publish('a', '2')").await;
    let (before, text) = until_message(&mut subscription).await;
    assert!(!before.iter().any(|e| matches!(e, Event::Gap(_))), "{before:?}");
    assert_eq!(text, "2");
    drop(cluster);
}

#[tokio::test]
async fn a_transaction_that_was_open_over_many_turns_is_read_by_all() {
    let (db, tl, raw) = one().await;
    let mut subscription = tl.topics().subscribe("a").await.unwrap();
    connected(&mut subscription).await;
    let (open, turner) = (db.raw().await, db.raw().await);
    open.run("begin; select trunkline.topic_publish('a', 'late')").await;
    for n in 0..20 {
        raw.run(&format!("select trunkline.topic_publish('a', '{n}')")).await;
        turn(&turner, "0", 1 << 40).await;
    }
    assert_eq!(texts(&mut subscription, 20).await, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    // What is committed just before it would be emptied was to be read for as long as everything else.
    assert_eq!(turn(&turner, "1 hour", 1 << 40).await, "");
    open.run("commit").await;
    assert_eq!(texts(&mut subscription, 1).await, ["late"]);
}

/// Four who publish in transactions short and long, some of which roll back, while the ring turns as fast as it may: what was
/// committed comes once, and in the order of each, or is in a gap.
#[tokio::test]
async fn nothing_is_lost_while_the_ring_turns() {
    let (db, tl, raw) = one().await;
    let mut subscription = tl.topics().subscribe(Subscribe::new(["t.>"]).buffer(100_000)).await.unwrap();
    connected(&mut subscription).await;
    let done = tokio::sync::watch::Sender::new(false);
    let turner = {
        let (raw, done) = (db.raw().await, done.clone());
        tokio::spawn(async move {
            let mut turns = 0;
            while !*done.borrow() {
                turns += u32::from(turn(&raw, "200 ms", 1 << 40).await == "emptied");
                tokio::time::sleep(millis(2)).await;
            }
            turns
        })
    };
    let mut publishers = JoinSet::new();
    for p in 0..4_u32 {
        let raw = db.raw().await;
        publishers.spawn(async move {
            let mut sent = Vec::new();
            for n in 0..400_u32 {
                let (end, pause) = (n % 7 == 3, if n % 11 == p { 20 } else { 0 });
                raw.run("begin").await;
                for part in 0..3 {
                    raw.run(&format!("select trunkline.topic_publish('t.{p}', '{n} {part}')")).await;
                    tokio::time::sleep(millis(pause)).await;
                }
                raw.run(if end { "rollback" } else { "commit" }).await;
                if !end {
                    sent.extend((0..3).map(|part| format!("{n} {part}")));
                }
            }
            (p, sent)
        });
    }
    let sent: Vec<_> = publishers.join_all().await;
    done.send_replace(true);
    let turns = turner.await.unwrap();
    raw.run("select trunkline.topic_publish('t.end', 'end')").await;
    let (mut got, mut gaps) = (vec![Vec::new(); 4], 0);
    loop {
        match next(&mut subscription).await {
            Event::Message(m) if m.topic() == "t.end" => break,
            Event::Message(m) => {
                let p: usize = m.topic()[2..].parse().unwrap();
                got[p].push(m.text().unwrap().to_owned());
            }
            Event::Gap(_) => gaps += 1,
            other => panic!("{other:?}"),
        }
    }
    let total: usize = got.iter().map(Vec::len).sum();
    println!("{total} messages of four publishers, {turns} segments emptied meanwhile, {gaps} gaps");
    assert!(turns > 0, "the ring turned");
    for (p, sent) in sent {
        let got = &got[p as usize];
        if gaps == 0 {
            assert_eq!(*got, sent, "publisher {p}");
        } else {
            let mut rest = sent.iter();
            assert!(got.iter().all(|g| rest.any(|s| s == g)), "in order, and once");
        }
    }
}

#[tokio::test]
async fn how_many_gaps_each_was_told_of_is_seen() {
    let (db, tl, raw) = one().await;
    let full = Subscribe::new(["a"]).buffer(5).on_full(OnFull::DropOldest);
    let mut full = tl.topics().subscribe(full).await.unwrap();
    let mut fast = tl.topics().subscribe(Subscribe::new(["a"])).await.unwrap();
    let mut channel = tl.topics().subscribe(Subscribe::new(["c"]).kind(Kind::Channel)).await.unwrap();
    for subscription in [&mut full, &mut fast, &mut channel] {
        connected(subscription).await;
    }
    let gaps = "select string_agg(gaps::text, ' ' order by kind, gaps) from trunkline.subscription";
    assert_eq!(raw.one(gaps).await, "0 0 0");
    tl.topics().publish_all("a", ["x"; 100]).await.unwrap();
    assert_eq!(texts(&mut fast, 100).await.len(), 100);
    until("one gap, however many messages it is", async || raw.one(gaps).await == "0 0 1").await;
    cut(&db, &raw, "topics").await;
    until("the channel's", async || raw.one(gaps).await == "1 0 1").await;
    let seen = tl.topics().subscriptions().await.unwrap();
    assert!(seen.iter().all(|s| s.gap_at.is_some() == (s.gaps > 0)), "{seen:?}");
}

#[tokio::test]
async fn forged_notifications_change_nothing() {
    let (db, tl, raw) = one().await;
    let mut volatile = tl.topics().subscribe("a").await.unwrap();
    let mut channel = tl.topics().subscribe(Subscribe::new(["c"]).kind(Kind::Channel)).await.unwrap();
    connected(&mut volatile).await;
    connected(&mut channel).await;
    let forger = db.raw().await;
    for door in ["-2147483648", "-2147483584", "0", "x", "99999999999999"] {
        forger
            .run(&format!(
                "select pg_notify('trunkline_{door}', 'forged ' || n) from generate_series(1, 2000) n"
            ))
            .await;
    }
    let lane = raw.one("select trunkline._topic_door('a')").await;
    forger
        .run(&format!("select pg_notify('trunkline_{lane}', n::text) from generate_series(1, 2000) n"))
        .await;
    tl.topics().publish("a", "true").await.unwrap();
    tl.topics().publish("c", NewMessage::new("true").kind(Kind::Channel)).await.unwrap();
    assert_eq!(texts(&mut volatile, 1).await, ["true"]);
    assert_eq!(texts(&mut channel, 1).await, ["true"]);
}

#[tokio::test]
async fn ten_thousand_topics_and_a_thousand_subscriptions_use_one_connection() {
    let (db, tl, raw) = one().await;
    let publisher = db.client("publisher").await;
    let mut subscriptions = Vec::new();
    for n in 0..1000 {
        subscriptions.push(tl.topics().subscribe(format!("t.{}", n * 10)).await.unwrap());
    }
    let mut all = tl.topics().subscribe(Subscribe::new(["t.*"]).buffer(20_000)).await.unwrap();
    for subscription in subscriptions.iter_mut().chain([&mut all]) {
        connected(subscription).await;
    }
    let topics = publisher.topics();
    let mut sending = JoinSet::new();
    for n in 0..10_000 {
        let topics = topics.clone();
        sending.spawn(async move { topics.publish(&format!("t.{n}"), n.to_string()).await });
    }
    assert!(sending.join_all().await.iter().all(Result::is_ok));
    for (n, subscription) in subscriptions.iter_mut().enumerate() {
        assert_eq!(texts(subscription, 1).await, [(n * 10).to_string()]);
    }
    assert_eq!(texts(&mut all, 10_000).await.len(), 10_000);
    let connections = raw
        .one("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'topics'")
        .await;
    assert_eq!(connections, "1");
}

#[tokio::test]
async fn a_look_reads_what_is_new_and_no_more_however_full_the_ring_is() {
    let (_db, _tl, raw) = one().await;
    raw.run("set enable_seqscan = off; select trunkline.topic_publish_many('a', array(select n::text from generate_series(1, 20000) n))")
        .await;
    let seen = raw.one("select seen from trunkline._topic_look(null, null, '0', 0, null, null, 1000)").await;
    let read = "select pg_stat_force_next_flush(), sum(idx_tup_read) from pg_stat_user_indexes where relname like 'topic\\_message\\__'";
    raw.run("select pg_stat_force_next_flush()").await;
    let before = raw.one(read).await;
    for n in 0..20 {
        raw.run(&format!("select trunkline.topic_publish('a', '{n}')")).await;
        let look = format!(
            "select count(id) from trunkline._topic_look('{seen}', null, '0', 0, array['a'], null, 1000)"
        );
        assert_eq!(raw.one(&look).await, (n + 1).to_string());
    }
    raw.run("select pg_stat_force_next_flush()").await;
    let number = |row: String| row.trim_start_matches('|').parse::<i64>().unwrap();
    let read = number(raw.one(read).await) - number(before);
    assert!(read < 2000, "{read} entries for 20 looks");
}

/// An engine's own look, as a table.
fn direct(since: &str) -> String {
    let look = include_str!("../../sql/direct/topic_look.sql")
        .replace("$2", "pg_snapshot_xmin($1)")
        .replace("$1", &format!("'{since}'::pg_snapshot"))
        .replace("$3", "-1::bigint")
        .replace("$4", "null::text[]")
        .replace("$5", "null::text")
        .replace("$6", "1000");
    format!("({look}) look")
}

#[tokio::test]
async fn a_look_that_waits_for_a_segment_to_be_emptied_says_what_it_missed() {
    let (_cluster, db) = Cluster::own().await;
    let (raw, looker) = (db.raw().await, db.raw().await);
    raw.run("select trunkline.topic_publish('a', 'before')").await;
    assert_eq!(raw.one(&format!("select count(*) from {}", direct("1:1:"))).await, "0", "no ring, no rows");
    turn(&raw, "1 hour", 1 << 40).await; // there is one from now on
    let since = raw.one("select pg_current_snapshot()").await;
    let look = format!("select bool_or(missed) || ' ' || count(id) from {}", direct(&since));
    let look = looker.client.prepare(&look).await.unwrap();
    raw.run("select trunkline.topic_publish('a', 'one'), trunkline.topic_publish('a', 'two')").await;
    for _ in 0..7 {
        let read: String = looker.client.query_one(&look, &[]).await.unwrap().get(0);
        assert_eq!(read, "false 2", "its plan is made once, and kept");
    }
    loop {
        raw.run("begin").await;
        if turn(&raw, "1 hour", 0).await == "emptied" {
            break;
        }
        raw.run("commit").await;
    }
    let pid = looker.pid;
    let waiting = tokio::spawn(async move {
        let read: String = looker.client.query_one(&look, &[]).await.unwrap().get(0);
        read
    });
    raw.blocked(pid).await;
    raw.run("commit").await;
    assert_eq!(waiting.await.unwrap(), "true 0");
}
