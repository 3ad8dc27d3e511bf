//! Volatile topics over the caller's own connection: `topic_read`, `topic_listen`, and `Cursor`.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use trunkline::topics::{Cursor, Event, Page};

use crate::{
    support::{Cluster, Db, Raw, within},
    topics_gaps::empty,
};

/// Messages as text, and `gap` for a gap.
fn texts(page: &Page) -> Vec<String> {
    let told = page.events().iter().map(|event| match event {
        Event::Message(message) => message.text().unwrap().to_owned(),
        Event::Gap(_) => "gap".to_owned(),
        other => panic!("{other:?}"),
    });
    told.collect()
}

/// What is there by now, page by page.
async fn all(raw: &Raw, cursor: &mut Cursor) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = cursor.read(&raw.client).await.unwrap();
        let texts = texts(&page);
        cursor.pass(page);
        if texts.is_empty() {
            return all;
        }
        all.extend(texts);
    }
}

/// What a session that LISTENs to `mark` has heard by now: all hear everything in the order of the commits.
async fn heard(listener: &mut Raw, other: &Raw) -> Vec<String> {
    other.run("notify mark").await;
    let mut heard = Vec::new();
    loop {
        match within(5_000, "the mark", listener.notes.recv()).await.unwrap() {
            channel if channel == "mark" => return heard,
            channel => heard.push(channel),
        }
    }
}

fn publish(topic: &str, text: &str) -> String {
    format!("select trunkline.topic_publish('{topic}', '{text}')")
}

#[tokio::test]
async fn plain_sql_reads_topics_in_order_and_keeps_its_place_with_its_effects() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    a.run(&publish("orders.eu", "before")).await;
    b.run("create table place (next text)").await;
    b.run("insert into place select next from trunkline.topic_read(array['orders.*', 'bills'])").await;
    a.run(
        "select trunkline.topic_publish('orders.eu', '1', '{\"h\": \"é\"}', 'm1');
         select trunkline.topic_publish('orders.eu.de', 'too deep');
         select trunkline.topic_publish_json('bills', '{\"n\": 2}');
         select trunkline.topic_publish('bills.x', 'another');
         select trunkline.topic_publish_bytes('orders.us', '\\x00ff')",
    )
    .await;
    let read = "select topic, payload, bytes, headers, message_id, content, gap_since
                  from place, trunkline.topic_read(array['orders.*', 'bills'], next)";
    let expected = [
        "orders.eu|1|\\x31|{\"h\": \"é\"}|m1|1|",
        "bills|{\"n\": 2}|\\x7b226e223a20327d|||2|",
        "orders.us||\\x00ff|||0|",
    ];
    assert_eq!(b.rows(read).await, expected);
    assert_eq!(b.rows(read).await, expected, "a place that was not kept is read again");
    let keep = "update place set next = (select r.next from trunkline.topic_read(array['orders.*', 'bills'], place.next) r limit 1)";
    b.run(&format!("begin; {keep}; rollback")).await;
    assert_eq!(b.rows(read).await, expected);
    b.run(keep).await;
    assert_eq!(b.rows(read).await, ["||||||"], "a row says that there is nothing");
    a.run(&publish("bills", "3")).await;
    assert_eq!(b.rows(read).await, ["bills|3|\\x33|||1|"]);
}

#[tokio::test]
async fn many_messages_come_page_by_page_each_once_also_to_who_goes_on_from_a_place() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    let mut cursor = Cursor::begin(&b.client, ["t"]).await.unwrap();
    a.run("select trunkline.topic_publish('t', n::text) from generate_series(1, 2300) n").await;
    let mut got = Vec::new();
    for n in 0..4 {
        let page = cursor.read(&b.client).await.unwrap();
        got.extend(texts(&page));
        // Published within a window: it is of the next one.
        a.run(&publish("t", &(2301 + n).to_string())).await;
        cursor = Cursor::at(["t"], page.position());
    }
    got.extend(all(&b, &mut cursor).await);
    assert_eq!(got, (1..=2304).map(|n| n.to_string()).collect::<Vec<_>>());

    // By their size.
    a.run("select trunkline.topic_publish_bytes('t', convert_to(repeat('x', 1000000), 'UTF8')) from generate_series(1, 9)")
        .await;
    let mut sizes = Vec::new();
    loop {
        let page = cursor.read(&b.client).await.unwrap();
        if page.events().is_empty() {
            break;
        }
        sizes.push(page.events().len());
        cursor.pass(page);
    }
    assert_eq!(sizes, [5, 4]);
}

#[tokio::test]
async fn what_was_open_for_long_comes_once_and_own_messages_come_after_their_commit() {
    let db = Db::new().await;
    let (a, b, mut c) = (db.raw().await, db.raw().await, db.raw().await);
    let mut cursor = Cursor::begin(&c.client, ["t"]).await.unwrap();
    a.run(&format!("begin; {}", publish("t", "late"))).await;
    b.run(&publish("t", "early")).await;
    assert_eq!(all(&c, &mut cursor).await, ["early"]);
    a.run("commit").await;
    assert_eq!(all(&c, &mut cursor).await, ["late"]);

    for end in ["commit", "rollback"] {
        let tx = c.client.transaction().await.unwrap();
        tx.batch_execute(&publish("t", "own")).await.unwrap();
        b.run(&publish("t", "other")).await; // has a later number, and is done
        let page = cursor.read(&tx).await.unwrap();
        assert_eq!(texts(&page), ["other"]);
        cursor.pass(page);
        tx.batch_execute(&publish("t", "own too")).await.unwrap();
        let page = cursor.read(&tx).await.unwrap();
        assert!(texts(&page).is_empty());
        cursor.pass(page);
        if end == "commit" {
            tx.commit().await.unwrap();
            assert_eq!(all(&c, &mut cursor).await, ["own", "own too"]);
        } else {
            tx.rollback().await.unwrap();
            assert!(all(&c, &mut cursor).await.is_empty());
        }
    }
}

#[tokio::test]
async fn each_message_of_many_publishers_is_read_once_by_pages_of_any_size() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table published (id bigint)").await;
    let mut next = raw.one("select next from trunkline.topic_read('{t.*}')").await;
    let mut publishers = JoinSet::new();
    for n in 0..6 {
        let db = db.raw().await;
        publishers.spawn(async move {
            for round in 0..120 {
                let end = if (round + n) % 7 == 0 { "rollback" } else { "commit" };
                let many = 1 + (round * 5 + n) % 9;
                let write = format!(
                    "insert into published select trunkline.topic_publish('t.{n}', '{n}') from generate_series(1, {many})"
                );
                db.run(&format!("begin; {write}; {write}; select pg_sleep({});", f64::from(round % 4) / 500.0)).await;
                db.run(end).await;
            }
        });
    }
    let mut got = Vec::new();
    let mut more = true;
    while more {
        // Looks once more when all is published.
        more = !publishers.is_empty();
        while publishers.try_join_next().is_some() {}
        loop {
            let max = 1 + got.len() % 40;
            let rows = raw
                .rows(&format!(
                    "select next, id, gap_since from trunkline.topic_read('{{t.*}}', '{next}', {max})"
                ))
                .await;
            next = rows[0].split('|').next().unwrap().to_owned();
            let ids: Vec<String> = rows
                .iter()
                .filter_map(|r| r.split('|').nth(1))
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect();
            assert!(rows.iter().all(|r| r.ends_with('|')), "nothing is missed");
            if ids.is_empty() {
                break;
            }
            got.extend(ids);
        }
    }
    let published = raw.rows("select id from published").await;
    assert!(published.len() > 4000, "{}", published.len());
    let once: BTreeSet<&String> = got.iter().collect();
    assert_eq!((got.len(), once), (published.len(), published.iter().collect()));
}

#[tokio::test]
async fn what_was_emptied_before_it_was_read_is_told_once() {
    // Of its own: what others have in progress meanwhile may have been in what is emptied, for all that anybody knows.
    let (_cluster, db) = Cluster::own().await;
    let (a, b) = (db.raw().await, db.raw().await);
    let mut cursor = Cursor::begin(&b.client, ["t"]).await.unwrap();
    a.run(&publish("t", "read")).await;
    assert_eq!(all(&b, &mut cursor).await, ["read"]);
    empty(&a).await;
    assert!(all(&b, &mut cursor).await.is_empty(), "what was read is not missed");

    a.run(&publish("t", "gone")).await;
    let behind = cursor.clone();
    empty(&a).await;
    a.run(&publish("t", "here")).await;
    let page = cursor.read(&b.client).await.unwrap();
    assert_eq!(texts(&page), ["gap", "here"]);
    let Event::Gap(gap) = &page.events()[0] else { unreachable!() };
    let now = a.one("select extract(epoch from clock_timestamp())::bigint").await.parse::<u64>().unwrap();
    let until = gap.until.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(gap.since < gap.until && now.abs_diff(until) < 60, "{gap:?}");
    cursor.pass(page);
    assert!(all(&b, &mut cursor).await.is_empty());
    assert_eq!(
        texts(&behind.read(&b.client).await.unwrap()),
        ["gap", "here"],
        "a place that was not kept tells again"
    );

    // Emptied in the middle of a window.
    a.run("select trunkline.topic_publish('t', n::text) from generate_series(1, 1500) n").await;
    let page = cursor.read(&b.client).await.unwrap();
    assert_eq!(page.events().len(), 1000);
    cursor.pass(page);
    empty(&a).await;
    a.run(&publish("t", "next window")).await;
    assert_eq!(all(&b, &mut cursor).await, ["gap", "next window"]);
}

#[tokio::test]
async fn publishers_notify_who_sleeps_and_nobody_who_is_awake() {
    let db = Db::new().await;
    let (a, mut b) = (db.raw().await, db.raw().await);
    b.run("listen mark").await;
    for topics in ["{t,u}", "{t.*,t}"] {
        let mut next = b.one(&format!("select next from trunkline.topic_read('{topics}')")).await;
        b.run(&format!("select trunkline.topic_listen('{topics}')")).await;
        let read =
            |next: &str| format!("select next, payload from trunkline.topic_read('{topics}', '{next}', 1)");
        a.run(&publish("t", "awake")).await; // it has not slept yet
        for round in 0..3 {
            let row = b.one(&read(&next)).await;
            assert!(row.ends_with("|awake"), "{round}: {row}");
            // What is done is rolled back: it is awake all the same, and falls asleep as ever.
            b.run(&format!("begin; {}; rollback", read(&next))).await;
            next = row.split('|').next().unwrap().to_owned();
            assert!(b.one(&read(&next)).await.ends_with('|'));
            assert!(heard(&mut b, &a).await.is_empty(), "nobody slept when it was published");
            a.run(&publish("t", "asleep")).await;
            let bell = within(5_000, "the bell", b.notes.recv()).await.unwrap();
            assert!(bell.starts_with("trunkline_-2147483"), "{bell}");
            let row = b.one(&read(&next)).await;
            assert!(row.ends_with("|asleep"), "{row}");
            next = row.split('|').next().unwrap().to_owned();
            heard(&mut b, &a).await;
            a.run(&publish("t", "awake")).await;
            a.run(&publish("u", "heard by nobody, or with the others")).await;
            assert!(heard(&mut b, &a).await.is_empty(), "it is awake");
            if topics == "{t,u}" {
                let rows = b.rows(&read(&next).replace("', 1)", "', 9)")).await;
                next = rows[0].split('|').next().unwrap().to_owned();
                assert_eq!(rows.len(), 2);
                a.run(&publish("t", "awake")).await;
            }
        }
        assert_eq!(b.one("select trunkline.topic_unlisten()").await, "t");
        assert_eq!(b.one("select trunkline.topic_unlisten()").await, "f");
        let held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
        assert_eq!(b.one(held).await, "0");
        a.run(&publish("t", "unheard")).await;
        assert!(heard(&mut b, &a).await.is_empty(), "it does not listen");
        assert_eq!(b.one("select pg_listening_channels()").await, "mark");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_reason() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.topic_create('bills', 'durable'), trunkline.topic_create('alarms', 'channel')")
        .await;
    let next = raw.one("select next from trunkline.topic_read('{t}')").await;
    let long = "t".repeat(201);
    for (args, code) in [
        ("null", "22023"),
        ("'{}'", "22023"),
        ("'{null}'", "22004"),
        ("'{t,null}'", "22004"),
        ("array[repeat('t', 201)]", "54000"),
        ("array[repeat('t', 200) || '.*']", "22023"),
        ("array['']", "54000"),
        ("'{a.>.b}'", "22023"),
        ("'{a*}'", "22023"),
        ("'{*'')|(.*}'", "22023"),
        ("'{a b}'", "22023"),
        ("'{bills}'", "TL015"),
        ("'{alarms}'", "TL015"),
        ("array_fill('t'::text, array[1001])", "22023"),
        ("array_fill('t.*'::text, array[65])", "22023"),
        ("'{t}', ''", "22023"),
        ("'{t}', '1 2 3'", "22023"),
        ("'{t}', '1 2 3 4'", "22023"),
        ("'{t}', 'x 2 3 1:1:'", "22023"),
        ("'{t}', '99999999999999999999 2 3 1:1:'", "22023"),
        ("'{t}', '1 2 9223372036854775807 1:1:'", "22023"),
        ("'{t}', '1 2 3 5:4:'", "22023"),
        ("'{t}', '1 2 3 1:1: 3 1:1: x 1'", "22023"),
        ("'{t}', '1 2 3 1:1: 3 1:1: 1'", "22023"),
        ("'{t}', repeat('9', 1000000)", "22023"),
        ("'{t}', null, 0", "22023"),
        ("'{t}', null, 10001", "22023"),
        ("'{t}', null, null", "22023"),
    ] {
        let sql = format!("select trunkline.topic_read({args})");
        assert_eq!(raw.code(&sql).await, code, "{args}");
        let said = raw.failure(&sql).await;
        assert!(!said.contains(&long) && !said.contains("99999"), "{said}");
        assert_eq!(raw.one("select 1").await, "1");
    }
    raw.run("begin isolation level repeatable read").await;
    assert_eq!(raw.code(&format!("select trunkline.topic_read('{{t}}', '{next}')")).await, "25001");
    raw.run("rollback").await;
    // A place of another cluster, or a forged one: a gap, and on from here.
    let ring = next.rsplit_once(' ').unwrap().0;
    for strange in [
        "1 0 3 99999999999:99999999999:",
        &format!("{ring} 18446744073709551614:18446744073709551614:"),
        &format!("{next} 3 99999999999:99999999999: 1 1"),
    ] {
        let rows = raw
            .rows(&format!("select next, gap_since is null from trunkline.topic_read('{{t}}', '{strange}')"))
            .await;
        let (next, told) = rows[0].split_once('|').unwrap();
        assert_eq!((rows.len(), told), (1, "f"), "{strange}");
        raw.run(&publish("t", "on")).await;
        assert_eq!(
            raw.one(&format!("select payload from trunkline.topic_read('{{t}}', '{next}')")).await,
            "on"
        );
    }
}

#[tokio::test]
async fn what_two_emptyings_took_is_told_also_when_the_second_took_older_transactions() {
    // Of its own: what others have in progress meanwhile may have been in what is emptied, for all that anybody knows.
    let (_cluster, db) = Cluster::own().await;
    let (old, lost, raw) = (db.raw().await, db.raw().await, db.raw().await);
    raw.run("select trunkline._topic_begin()").await;
    old.run("begin; select pg_current_xact_id()").await;
    lost.run(&format!("begin; {}", publish("t", "lost"))).await;
    assert_eq!(raw.one("select trunkline._topic_turn(0, '1 hour', 1::bigint << 40)").await, "turned");
    old.run(&format!("{}; commit", publish("t", "old"))).await;
    let cursor = Cursor::begin(&raw.client, ["t"]).await.unwrap();
    lost.run("commit").await;
    empty(&raw).await;
    raw.run(&publish("t", "after")).await;
    assert_eq!(texts(&cursor.read(&raw.client).await.unwrap()), ["gap", "after"]);
}

#[tokio::test]
async fn what_is_rolled_back_leaves_nobody_asleep_and_who_tests_a_door_is_waited_for() {
    let db = Db::new().await;
    let (a, mut b) = (db.raw().await, db.raw().await);
    let held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    let next = b.one("select next from trunkline.topic_read('{t}')").await;
    let read = format!("select id from trunkline.topic_read('{{t}}', '{next}')");
    // Who rolled back that it listens, and slept: nothing is left once it says so.
    b.run(&format!("begin; select trunkline.topic_listen('{{t}}'); {read}; rollback")).await;
    assert_eq!(b.one(held).await, "1");
    assert_eq!(b.one("select trunkline.topic_unlisten()").await, "f");
    assert_eq!(b.one(held).await, "0");
    // Who rolled back that it found nothing is awake once it finds something.
    b.run("select trunkline.topic_listen('{t}')").await;
    b.run(&format!("begin; {read}; rollback")).await;
    a.run(&publish("t", "x")).await;
    assert_ne!(b.one(&read).await, "");
    assert_eq!(b.one(held).await, "0");
    // LISTEN is said again, whatever was unlistened meanwhile.
    b.run("unlisten *").await;
    b.run("select trunkline.topic_listen('{t}')").await;
    assert_eq!(b.one("select count(*) from pg_listening_channels()").await, "1");
    // A producer is testing the door just now.
    let next = b.one(&format!("select next from trunkline.topic_read('{{t}}', '{next}')")).await;
    let door = a.one("select trunkline._topic_door('t')").await;
    let lock = |what: &str| format!("select pg_advisory_{what}(1953656427, {door})");
    a.run(&lock("lock")).await;
    let read = format!("select id from trunkline.topic_read('{{t}}', '{next}')");
    let leaves = async {
        a.blocked(b.pid).await;
        a.run(&lock("unlock")).await;
    };
    assert_eq!(tokio::join!(b.one(&read), leaves).0, "");
    b.run("listen mark").await;
    heard(&mut b, &a).await;
    a.run(&publish("t", "y")).await;
    assert_eq!(heard(&mut b, &a).await.len(), 1, "it sleeps since then");
}
