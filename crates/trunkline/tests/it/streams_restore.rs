//! A real dump, restored on a younger server: after the repair every consumer gets there what it would have got here.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    restore::restored,
    support::{Db, Raw, Stream, until},
};

/// Everything that a consumer has before it, with attempts of what comes again, in the order of the payloads. What is held
/// is taken over.
async fn rest(raw: &Raw, consumer: &str) -> Vec<String> {
    let s = Stream { raw, name: "s" };
    let mut all = Vec::new();
    loop {
        let sql = format!("select batch from trunkline.stream_next_batch('s', '{consumer}', 'take')");
        let Some(batch) = raw.rows(&sql).await.pop() else { break };
        all.extend(s.read(&batch).await);
        assert_eq!(s.finish(&batch).await, "00000");
    }
    all.sort();
    all
}

/// Consumers in every state: far behind, holding one batch, sharing several, in the midst of a window in parts, with events
/// that come again, and with dead letters; events of a transaction that many ticks went by; and some that no tick covers.
async fn busy(db: &Db, raw: &Raw) {
    let s = Stream::new(raw, "s", &["behind", "holds", "shares", "parts", "again"]).await;
    s.consumer_set("parts", "max_events", "3").await;
    s.consumer_set("shares", "max_events", "2").await;
    let long = db.raw().await;
    long.run("begin; select trunkline.stream_append('s', 'long')").await;
    for n in 0..5 {
        raw.run(&format!(
            "select trunkline.stream_append_many('s', '{{{n}a,{n}b}}'); select trunkline.stream_tick('s')"
        ))
        .await;
    }
    let batch = s.batch("again").await;
    s.retry(&batch, "'0'").await;
    let batch = s.batch("again").await;
    raw.run(&format!("select trunkline.stream_retry('{batch}', array[min(id)], null) from trunkline.stream_events('{batch}')")).await;
    let late = format!(
        "select trunkline.stream_retry('{batch}', array[max(id)], '1 h') from trunkline.stream_events('{batch}')"
    );
    raw.run(&late).await;
    s.finish(&batch).await;
    long.run("commit").await;
    raw.run("select trunkline.stream_append_many('s', '{5a,5b,5c,5d,5e,5f,5g,5h}'); select trunkline.stream_tick('s')").await;
    s.batch("holds").await;
    let (one, two, three) = (db.raw().await, db.raw().await, db.raw().await);
    let mut shared = Vec::new();
    for who in [&one, &two, &three] {
        shared.push(who.one("select batch from trunkline.stream_next_batch('s', 'shares', 'share')").await);
    }
    s.of(&two).finish(&shared[1]).await;
    for _ in 0..6 {
        let batch = s.batch("parts").await;
        s.finish(&batch).await;
    }
    s.batch("parts").await;
    raw.run("do $$ begin for i in 1..4000 loop
        perform trunkline.stream_append('s', 'm' || i); perform trunkline.stream_tick('s'); commit; end loop; end $$").await;
    raw.run("select trunkline.stream_append_many('s', '{u,v}')").await;
    assert_eq!(
        raw.one("select uncovered from trunkline.stream_list()").await,
        "3",
        "and the last of the loop"
    );
}

#[tokio::test]
async fn a_restored_stream_loses_and_doubles_nothing() {
    let db = Db::new().await;
    let raw = db.raw().await;
    busy(&db, &raw).await;
    let (_cluster, _elsewhere, copy) = restored(&db).await;
    let (here, there): (i64, i64) = (xid(&raw).await, xid(&copy).await);
    assert!(there < here - 1000, "{there} is younger than {here}");
    assert!(
        copy.one("select count(*) from trunkline.stream_tick").await.parse::<i64>().unwrap() > there,
        "more ticks than xids"
    );
    for call in ["stream_append('s', 'x')", "stream_append_many('s', '{x}')", "stream_tick('s')"] {
        assert_eq!(copy.code(&format!("select trunkline.{call}")).await, "TL008", "{call}");
    }
    assert_eq!(copy.one("select trunkline.schema_repair()").await, "2");
    for place in [&raw, &copy] {
        place.run("select trunkline.stream_append('s', 'w'), trunkline.stream_register('s', 'new', 'beginning')").await;
    }
    for place in [&raw, &copy] {
        for consumer in ["shares", "parts"] {
            Stream { raw: place, name: "s" }.consumer_set(consumer, "max_events", "500").await;
        }
    }
    let backlog = "select consumer, backlog, coming_again, dead from trunkline.stream_consumers()";
    assert_eq!(copy.rows(backlog).await, raw.rows(backlog).await);
    for (consumer, least) in
        [("behind", 4022), ("holds", 4022), ("shares", 4020), ("parts", 4005), ("again", 4010), ("new", 4022)]
    {
        let (mut original, restored) = (rest(&raw, consumer).await, rest(&copy, consumer).await);
        assert_eq!(original, restored, "{consumer}");
        assert!(original.len() >= least, "{consumer}: {}", original.len());
        original.dedup();
        assert_eq!(original.len(), restored.len(), "{consumer}: none twice");
    }
    let dead = "select payload from trunkline.stream_dead_letters('s', 'again')";
    assert_eq!(copy.rows(dead).await, raw.rows(dead).await);
    let later = "select payload, attempt from trunkline.stream_retries('s', 'again')";
    assert_eq!(copy.rows(later).await.len(), 1);
    assert_eq!(copy.rows(later).await, raw.rows(later).await);
    copy.run("select trunkline.stream_seek('s', 'behind', 'beginning'), trunkline.stream_append('s', 'y')")
        .await;
    assert_eq!(rest(&copy, "behind").await.len(), 4023, "and the past can be read again");
    let before =
        copy.one("select md5(string_agg(e::text, '' order by id)) from trunkline.stream_event e").await;
    assert_eq!(copy.one("select trunkline.schema_repair()").await, "2");
    copy.run("update trunkline.epoch set system_identifier = 1 where epoch = 2").await;
    assert_eq!(copy.one("select trunkline.schema_repair()").await, "3");
    assert_eq!(
        copy.one("select md5(string_agg(e::text, '' order by id)) from trunkline.stream_event e").await,
        before,
        "nothing to do twice"
    );
}

async fn xid(raw: &Raw) -> i64 {
    raw.one("select pg_snapshot_xmax(pg_current_snapshot())").await.parse().unwrap()
}

/// Appends until told to end, now and then by a transaction that stays open for a while.
async fn produce(raw: Raw, n: usize, ended: Arc<AtomicBool>) {
    for i in 0.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let append = format!("select trunkline.stream_append('s', '{n}-{i}')");
        match i % 20 {
            7 => raw.run(&format!("begin; {append}; select pg_sleep(0.05); {append}; commit")).await,
            11 => raw.run(&format!("begin; {append}; rollback")).await,
            13 => raw.run(&format!("begin; savepoint a; {append}; rollback to a; {append}; commit")).await,
            _ => raw.run(&append).await,
        }
    }
}

/// Writes down each event of each batch in the transaction that finishes it.
async fn consume(raw: Raw, consumer: &str, ended: Arc<AtomicBool>) {
    let s = Stream { raw: &raw, name: "s" };
    loop {
        let last = ended.load(Ordering::Relaxed);
        let sql = format!("select batch from trunkline.stream_next_batch('s', '{consumer}', 'take')");
        if let Some(batch) = s.raw.rows(&sql).await.pop() {
            raw.run(&format!(
                "begin; insert into done select '{consumer}', id from trunkline.stream_events('{batch}');
                select trunkline.stream_finish('{batch}'); commit"
            ))
            .await;
        } else if last {
            return;
        }
    }
}

#[tokio::test]
async fn a_dump_under_load_goes_on_exactly_once() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table done (consumer text, id bigint)").await;
    Stream::new(&raw, "s", &["a", "b"]).await;
    raw.run("do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$").await;
    let ended = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..2 {
        tasks.spawn(produce(db.raw().await, n, ended.clone()));
    }
    for consumer in ["a", "b"] {
        let (session, ended) = (db.raw().await, ended.clone());
        tasks.spawn(async move { consume(session, consumer, ended).await });
    }
    until("some work to be done", async || raw.one("select count(*) > 300 from done").await == "t").await;
    let (_cluster, elsewhere, copy) = restored(&db).await;
    ended.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    assert!(xid(&copy).await < xid(&raw).await, "it is younger");
    let done: i64 = copy.one("select count(*) from done").await.parse().unwrap();
    assert!(done > 300 && copy.one("select trunkline.schema_repair()").await == "2");
    copy.run(
        "select trunkline.stream_append('s', 'after'), trunkline.stream_register('s', 'all', 'beginning')",
    )
    .await;
    for (place, at) in [(&raw, &db), (&copy, &elsewhere)] {
        for consumer in ["a", "b"] {
            consume(at.raw().await, consumer, ended.clone()).await;
        }
        let written = place.one("select count(*) from trunkline.stream_event").await;
        let each = "select consumer, count(*), count(distinct id) from done group by 1 order by 1";
        assert_eq!(
            place.rows(each).await,
            [format!("a|{written}|{written}"), format!("b|{written}|{written}")]
        );
    }
    let (all, kept) =
        (rest(&copy, "all").await.len(), copy.one("select count(*) from trunkline.stream_event").await);
    assert_eq!(all.to_string(), kept);
}
