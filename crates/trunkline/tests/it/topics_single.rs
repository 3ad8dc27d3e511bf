//! Of many that listen, one: who resigns, who stands by, and where the next one begins. When they die: `topics_deaths`.

use tokio::task::JoinHandle;
use trunkline::{
    Trunkline,
    topics::{Event, Kind, Subscribe, Subscription},
};

use crate::{
    support::{Cluster, Db, millis, signal, until, within},
    topics::{message, next, texts},
    wire::Wire,
};

const LEASE: &str = "trunkline/topics/work.*";

async fn stands(subscription: &mut Subscription) -> String {
    loop {
        match next(subscription).await {
            Event::Connected => {}
            Event::Active { fence, silent } => return format!("active {fence} {}", silent.is_some()),
            Event::Standby { reason } => return format!("standby {reason:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_resignation_hands_over_exactly() {
    let db = Db::new().await;
    let (a, b) = (db.client("a").await, db.client("b").await);
    let raw = db.raw().await;
    let single = || Subscribe::new(["work.*"]).single();
    let mut first = a.topics().subscribe(single()).await.unwrap();
    assert_eq!(stands(&mut first).await, "active 1 false");
    let mut second = b.topics().subscribe(single()).await.unwrap();
    assert_eq!(stands(&mut second).await, "standby None");
    let mut everybody = b.topics().subscribe("work.*").await.unwrap();
    let publish =
        "select trunkline.topic_publish_many('work.x', array(select n::text from generate_series(%) n))";
    raw.run(&publish.replace('%', "1, 50")).await;
    assert_eq!(texts(&mut first, 30).await, (1..=30).map(|n| n.to_string()).collect::<Vec<_>>());
    let standing = "select application, active, fence from trunkline.topic_subscriptions() where single";
    until("the one to be seen active", async || raw.rows(standing).await == ["a|t|1", "b|f|"]).await;
    first.close().await;
    assert_eq!(stands(&mut second).await, "active 2 true");
    let got = message(&mut second).await;
    let rest: Vec<String> = (1..=50).map(|n| n.to_string()).collect();
    // What is handled is noted for whole looks; one look brought all of these.
    let from: usize = got.text().unwrap().parse().unwrap();
    assert!(from <= 31, "begins with {from}");
    assert_eq!(texts(&mut second, 50 - from).await, rest[from..]);
    raw.run(&publish.replace('%', "51, 60")).await;
    assert_eq!(texts(&mut second, 10).await, (51..=60).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(texts(&mut everybody, 60).await.len(), 60, "and who is not single gets all");
    // All handled, and nothing again.
    let mut third = a.topics().subscribe(single()).await.unwrap();
    assert_eq!(stands(&mut third).await, "standby None");
    second.close().await;
    assert_eq!(stands(&mut third).await, "active 3 true");
    raw.run("select trunkline.topic_publish('work.x', 'end')").await;
    assert_eq!(texts(&mut third, 1).await, ["end"]);
}

#[tokio::test]
async fn who_is_asked_to_resign_stands_by() {
    let db = Db::new().await;
    let (a, b) = (db.client("a").await, db.client("b").await);
    let single = || Subscribe::new(["work.*"]).single();
    let mut first = a.topics().subscribe(single()).await.unwrap();
    assert_eq!(stands(&mut first).await, "active 1 false");
    let mut second = b.topics().subscribe(single()).await.unwrap();
    assert_eq!(stands(&mut second).await, "standby None");
    // It says so before it is in the queue; who resigns while nobody waits may have it again.
    let waits = format!("select waiting = 1 from trunkline.lease_list() where name = '{LEASE}'");
    db.raw().await.until("the second one to be in the queue", &waits).await;
    assert!(a.leases().resign(LEASE).await.unwrap());
    assert_eq!(stands(&mut first).await, "standby Some(Asked)");
    assert_eq!(stands(&mut second).await, "active 2 true");
    a.topics().publish("work.1", "x").await.unwrap();
    assert_eq!(texts(&mut second, 1).await, ["x"]);
}

#[tokio::test]
async fn a_durable_single_subscription_goes_on_where_the_one_before_was() {
    let db = Db::new().await;
    let (a, b) = (db.client("a").await, db.client("b").await);
    a.topics().create("bills", Kind::Durable).await.unwrap();
    let single = || Subscribe::new(["bills"]).name("books").single();
    let mut first = a.topics().subscribe(single()).await.unwrap();
    assert_eq!(stands(&mut first).await, "active 1 false");
    let mut second = b.topics().subscribe(single()).await.unwrap();
    assert_eq!(stands(&mut second).await, "standby None");
    a.topics().publish_all("bills", ["1", "2"]).await.unwrap();
    let got = message(&mut first).await;
    assert_eq!((got.text().unwrap(), got.fence()), ("1", Some(1)));
    drop(got);
    drop(first);
    assert_eq!(stands(&mut second).await, "active 2 true");
    let got = within(15_000, "the batch again", message(&mut second)).await;
    assert_eq!((got.text().unwrap(), got.fence()), ("1", Some(2)), "the batch was not finished");
    assert_eq!(texts(&mut second, 1).await, ["2"]);
}

#[tokio::test]
async fn a_single_listener_on_a_channel_loses_nothing_when_it_is_cut_off() {
    let (_cluster, db) = Cluster::own().await;
    let raw = db.raw().await;
    let (got, mut all) = tokio::sync::mpsc::unbounded_channel();
    let mut listeners = Vec::new();
    for name in ["a", "b"] {
        let (client, got) = (db.client(name).await, got.clone());
        let single = Subscribe::new(["c"]).kind(Kind::Channel).single();
        let mut subscription = client.topics().subscribe(single).await.unwrap();
        // The one is active before the other one asks.
        while !matches!(next(&mut subscription).await, Event::Active { .. } | Event::Standby { .. }) {}
        listeners.push(tokio::spawn(async move {
            while let Ok(Some(event)) = subscription.next().await {
                if let Event::Message(message) = event {
                    got.send((message.fence().unwrap(), message.text().unwrap().parse::<u32>().unwrap()))
                        .unwrap();
                }
            }
            drop(client);
        }));
    }
    let lease = "trunkline/topics/c";
    for n in 0..400 {
        raw.run(&format!("notify c, '{n}'")).await;
        if n % 100 == 50 {
            let active = format!(
                "select pg_terminate_backend(s.pid, 10000) from trunkline.session s join trunkline.topic_subscription t on t.session = s.id join trunkline.lease_expiry e on e.session = s.id where e.name = '{lease}'"
            );
            raw.run(&active).await;
        }
        tokio::time::sleep(millis(3)).await;
    }
    let (mut seen, mut fences, mut doubled) =
        (std::collections::BTreeSet::new(), std::collections::BTreeSet::new(), 0);
    while !seen.contains(&399) {
        let (fence, n) = within(15_000, "the last one", all.recv()).await.unwrap();
        fences.insert(fence);
        doubled += u32::from(!seen.insert(n));
    }
    println!(
        "400 notifications, {} hand-overs: {} lost, {doubled} doubled",
        fences.len() - 1,
        400 - seen.len()
    );
    assert!(fences.len() > 2 && seen.len() == 400, "{fences:?}: {} came", seen.len());
    listeners.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn what_a_single_listener_on_a_channel_had_not_handled_comes_to_the_next_however_long_it_had_it() {
    let db = Db::new().await;
    let (a, b, raw) = (db.client("a").await, db.client("b").await, db.raw().await);
    let single = || Subscribe::new(["c"]).kind(Kind::Channel).single();
    let mut first = a.topics().subscribe(single()).await.unwrap();
    while !matches!(next(&mut first).await, Event::Active { .. }) {}
    let mut second = b.topics().subscribe(single()).await.unwrap();
    while !matches!(next(&mut second).await, Event::Standby { .. }) {}
    raw.run("notify c, 'in hand'; notify c, 'in the buffer'").await;
    let in_hand = message(&mut first).await;
    assert_eq!(in_hand.text().unwrap(), "in hand");
    let seen = "select seen_at from trunkline.lease_list() where name = 'trunkline/topics/c'";
    for _ in 0..2 {
        let before = raw.one(seen).await;
        raw.until("a renewal", &format!("select ({seen}) <> '{before}'")).await;
    }
    let cut = async |name: &str| {
        let pid = db.backend(&raw, name).await;
        raw.run(&format!("select pg_terminate_backend({pid}, 10000)")).await;
    };
    cut("a").await;
    while !matches!(next(&mut second).await, Event::Active { .. }) {}
    assert_eq!(texts(&mut second, 1).await, ["in hand"]);
    // Of all that listen it alone is left, and the next one is itself.
    first.close().await;
    cut("b").await;
    let mut again = Vec::new();
    while again.last().is_none_or(|text| text != "in the buffer") {
        if let Event::Message(message) = next(&mut second).await {
            again.push(message.text().unwrap().to_owned());
        }
    }
    assert!(again.contains(&"in hand".to_owned()), "{again:?}");
}

/// The active one, cut off, and the one that stands by, both on the channel `c`.
async fn pair(db: &Db, wire: &Wire) -> [(Trunkline, Subscription); 2] {
    let single = || Subscribe::new(["c"]).kind(Kind::Channel).single();
    let (a, b) = (wire.client("a").await, db.client("b").await);
    let mut first = a.topics().subscribe(single()).await.unwrap();
    while !matches!(next(&mut first).await, Event::Active { .. }) {}
    let mut second = b.topics().subscribe(single()).await.unwrap();
    while !matches!(next(&mut second).await, Event::Standby { .. }) {}
    [(a, first), (b, second)]
}

#[tokio::test]
async fn on_a_channel_the_next_begins_behind_what_was_handled_and_forged_marks_lose_nothing() {
    let db = Db::new().await;
    let (raw, wire) = (db.raw().await, Wire::new(&db));
    let [(a, mut first), (_b, mut second)] = pair(&db, &wire).await;
    let mut at = 0;
    for turn in 0..5 {
        for _ in 0..5 {
            at += 1;
            raw.run(&format!("notify c, '{at}'")).await;
            assert_eq!(texts(&mut first, 1).await, [at.to_string()]);
            if turn > 1 {
                // What no lease is meant by, what is no mark, new ones, and one that was heard.
                for said in ["x", "2", "3 other", &format!("{at} trunkline/topics/c"), "1 trunkline/topics/c"]
                {
                    raw.run(&format!("notify trunkline_marks, '{said}'")).await;
                }
            }
        }
        at += 2;
        raw.run(&format!("notify c, '{}'; notify c, '{at}'", at - 1)).await;
        assert_eq!(
            texts(&mut first, 1).await,
            [(at - 1).to_string()],
            "the one is handled, and not the other"
        );
        first.close().await;
        first = second;
        while !matches!(next(&mut first).await, Event::Active { .. }) {}
        let mut came = vec![message(&mut first).await.text().unwrap().parse::<i32>().unwrap()];
        while came.last() != Some(&at) {
            came.push(message(&mut first).await.text().unwrap().parse().unwrap());
        }
        let from = if turn < 2 { at } else { came[0] };
        assert_eq!(came, (from..=at).collect::<Vec<_>>(), "turn {turn}");
        second = a.topics().subscribe(Subscribe::new(["c"]).kind(Kind::Channel).single()).await.unwrap();
        while !matches!(next(&mut second).await, Event::Standby { .. }) {}
    }
}

#[tokio::test]
async fn what_a_renewal_says_is_not_more_than_was_known_when_it_was_sent() {
    let (_cluster, db) = Cluster::own().await;
    let (raw, wire) = (db.raw().await, Wire::new(&db));
    let [_first, (_b, mut second)] = pair(&db, &wire).await;
    // Whoever serves it stands still, while it says with a renewal that all is handled.
    let server = db.backend(&raw, "a").await;
    signal(server, "-STOP");
    raw.run("notify c, 'published meanwhile'").await;
    tokio::time::sleep(millis(2000)).await; // a third of the lease's time, and more
    wire.silence();
    signal(server, "-CONT");
    while !matches!(next(&mut second).await, Event::Active { .. }) {}
    assert_eq!(texts(&mut second, 1).await, ["published meanwhile"]);
}

#[tokio::test]
async fn all_listen_and_one_executes_each_message_also_when_the_first_dies() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table done (id text, by_whom int)").await;
    let mut listeners = Vec::new();
    for n in 0..3 {
        let client = db.client(&format!("listener-{n}")).await;
        let subscription = client.topics().subscribe("work").await.unwrap();
        listeners.push((client, subscription, db.raw().await));
    }
    for (_, subscription, _) in &mut listeners {
        crate::topics::connected(subscription).await;
    }
    let publisher = db.client("publisher").await;
    for n in 0..20 {
        // Equal payloads are separate messages.
        let work = trunkline::topics::NewMessage::new("same").message_id(n.to_string());
        publisher.topics().publish("work", work).await.unwrap();
    }
    let mut working = tokio::task::JoinSet::new();
    for (n, (client, mut subscription, mut session)) in listeners.into_iter().enumerate() {
        working.spawn(async move {
            for _ in 0..20 {
                let message = message(&mut subscription).await;
                let tx = session.client.transaction().await.unwrap();
                if !message.claim(&mut &tx).await.unwrap() {
                    continue;
                }
                let n = i32::try_from(n).unwrap();
                tx.execute("insert into done values ($1, $2)", &[&message.message_id(), &n]).await.unwrap();
                if n == 0 {
                    tx.rollback().await.unwrap(); // as one who dies
                } else {
                    tx.commit().await.unwrap();
                }
            }
            client
        });
    }
    working.join_all().await;
    // What only the one who always dies was the last to claim is nobody's yet.
    let done = raw.one("select count(*) = count(distinct id) and bool_and(by_whom > 0) from done").await;
    assert_eq!(done, "t");
    let (first, second) = (db.raw().await, db.raw().await);
    first.run("begin; select trunkline.topic_claim('work', 'x')").await;
    let pid = second.pid;
    let waiting = tokio::spawn(async move { second.one("select trunkline.topic_claim('work', 'x')").await });
    raw.blocked(pid).await;
    raw.run(&format!("select pg_terminate_backend({}, 10000)", first.pid)).await;
    assert_eq!(waiting.await.unwrap(), "t", "the claim of the dead is another's");
    assert_eq!(raw.one("select trunkline.topic_claim('work', 'x')").await, "f");
}
