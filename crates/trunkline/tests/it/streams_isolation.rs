//! Producers and consumers in two-phase commit, with savepoints, and at every isolation level.

use crate::support::{Db, Raw, Stream};

async fn tick(raw: &Raw) {
    raw.run("select trunkline.stream_tick('s', true)").await;
}

#[tokio::test]
async fn what_is_prepared_comes_when_it_is_committed() {
    let db = Db::new().await;
    let (raw, producer, sleeper) = (db.raw().await, db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c"]).await;
    let door = raw.one("select -1 - (id & 63) from trunkline.stream").await;
    sleeper.run(&format!("select pg_advisory_lock_shared(1953656427, {door})")).await;
    let p = s.of(&producer);
    producer.run("begin").await;
    p.append("loud").await;
    assert_eq!(producer.code("prepare transaction 'it_loud'").await, "0A000", "a bell cannot be prepared");
    producer.run("set trunkline.ring = off").await;
    for name in ["kept", "gone"] {
        producer.run("begin").await;
        p.append(name).await;
        producer.run(&format!("savepoint a; select trunkline.stream_append('s', 'no'); rollback to a; prepare transaction 'it_{name}_{}'", db.name)).await;
    }
    for n in 0..3 {
        s.append(&format!("{n}")).await;
        tick(&raw).await;
    }
    assert_eq!(s.drain("c").await, ["0", "1", "2"]);
    raw.run(&format!("commit prepared 'it_kept_{}'", db.name)).await;
    assert_eq!(s.drain("c").await, ["kept"]);
    raw.run(&format!("rollback prepared 'it_gone_{}'", db.name)).await;
    tick(&raw).await;
    assert!(s.drain("c").await.is_empty());
    raw.run("select trunkline.stream_register('s', 'all', 'beginning')").await;
    assert_eq!(s.drain("all").await, ["kept", "0", "1", "2"]);
}

#[tokio::test]
async fn a_batch_finished_in_a_prepared_transaction_is_done_when_that_is_committed() {
    let db = Db::new().await;
    let (raw, consumer, other) = (db.raw().await, db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c"]).await;
    raw.run("create table done (payload text)").await;
    for (end, again) in [("rollback", true), ("commit", false)] {
        s.append(end).await;
        let batch = s.of(&consumer).batch("c").await;
        consumer
            .run(&format!(
                "begin; insert into done select payload from trunkline.stream_events('{batch}');
            select trunkline.stream_finish('{batch}'); prepare transaction 'it_f_{}'",
                db.name
            ))
            .await;
        let taking = other.rows("select batch from trunkline.stream_next_batch('s', 'c', 'take')");
        let ending = async {
            raw.blocked(other.pid).await;
            raw.run(&format!("{end} prepared 'it_f_{}'", db.name)).await;
        };
        let (taken, ()) = tokio::join!(taking, ending);
        assert_eq!(taken.len(), usize::from(again), "{end}");
        for batch in taken {
            other
                .run(&format!("insert into done select payload from trunkline.stream_events('{batch}')"))
                .await;
            assert_eq!(s.of(&other).finish(&batch).await, "00000");
        }
    }
    assert_eq!(raw.rows("select payload from done").await, ["rollback", "commit"], "each once");
}

#[tokio::test]
async fn savepoints_keep_what_they_keep() {
    let db = Db::new().await;
    let (raw, producer) = (db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c"]).await;
    let p = s.of(&producer);
    producer.run("begin; savepoint a").await;
    p.append("released").await;
    producer.run("release a; savepoint b; savepoint c").await;
    p.append("inner").await;
    producer.run("rollback to c").await;
    p.append("outer").await;
    s.append("before").await;
    tick(&raw).await;
    producer.run("release b; savepoint d").await;
    p.append("late").await;
    s.append("between").await;
    tick(&raw).await;
    producer.run("commit").await;
    assert_eq!(s.drain("c").await, ["before", "between", "released", "outer", "late"]);
    s.append("e").await;
    s.append("f").await;
    let batch = s.batch("c").await;
    let retry = format!(
        "select trunkline.stream_retry('{batch}', array(select id from trunkline.stream_events('{batch}')), '0')"
    );
    raw.run(&format!("begin; savepoint a; {retry}; rollback to a; savepoint b; select trunkline.stream_finish('{batch}'); rollback to b; commit")).await;
    let batch = s.batch("c").await;
    assert_eq!(s.read(&batch).await, ["e", "f"], "neither tagged nor finished");
    raw.run(&format!("begin; savepoint a; select trunkline.stream_retry('{batch}', array[max(id)], '0') from trunkline.stream_events('{batch}');
        release a; select trunkline.stream_finish('{batch}'); commit")).await;
    assert_eq!(s.drain("c").await, ["f 2"]);
}

#[tokio::test]
async fn a_producer_with_an_old_snapshot_loses_nothing_when_the_ring_turns() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.set("turn_bytes", "8192").await;
    s.set("free_after", "0").await;
    for level in ["repeatable read", "serializable"] {
        let producer = db.raw().await;
        let mut filled = Vec::new();
        producer.run(&format!("begin isolation level {level}; select segment from trunkline.stream")).await;
        for n in 0..4 {
            s.append(&format!("{n}")).await;
            assert_eq!(s.drain("c").await, [format!("{n}")]);
            raw.run("select trunkline.stream_maintain()").await;
            filled.push(raw.one("select segment from trunkline.stream").await);
        }
        filled.dedup();
        assert!(filled.len() > 2, "the ring turned: {filled:?}");
        s.of(&producer).append(level).await;
        raw.run("select trunkline.stream_maintain()").await;
        s.append("last").await;
        assert_eq!(s.drain("c").await, ["last"]);
        raw.run("select trunkline.stream_maintain()").await;
        producer.run("commit").await;
        for _ in 0..3 {
            raw.run("select trunkline.stream_maintain()").await;
        }
        assert_eq!(s.drain("c").await, [level]);
        assert!(s.drain("c").await.is_empty());
    }
}

#[tokio::test]
async fn a_consumer_works_at_every_isolation_level() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    raw.run("create table done (payload text)").await;
    for level in ["read committed", "repeatable read", "serializable"] {
        s.append(level).await;
        tick(&raw).await;
        let consumer = db.raw().await;
        consumer.run(&format!("begin isolation level {level}")).await;
        let batch = s.of(&consumer).batch("c").await;
        consumer.run(&format!("insert into done select payload from trunkline.stream_events('{batch}'); select trunkline.stream_finish('{batch}'); rollback")).await;
        consumer.run(&format!("begin isolation level {level}")).await;
        let batch = s.of(&consumer).batch("c").await;
        consumer.run(&format!("insert into done select payload from trunkline.stream_events('{batch}'); select trunkline.stream_finish('{batch}'); commit")).await;
        assert!(s.drain("c").await.is_empty(), "{level}");
    }
    assert_eq!(
        raw.rows("select payload from done").await,
        ["read committed", "repeatable read", "serializable"]
    );
}

#[tokio::test]
async fn two_takers_with_old_snapshots_do_not_both_get_a_batch() {
    let db = Db::new().await;
    let (raw, a, b) = (db.raw().await, db.raw().await, db.raw().await);
    let s = Stream::new(&raw, "s", &["c"]).await;
    for level in ["repeatable read", "serializable"] {
        s.append(level).await;
        tick(&raw).await;
        for who in [&a, &b] {
            who.run("select trunkline.session_address()").await;
            who.run(&format!("begin isolation level {level}; select count(*) from trunkline.stream_take"))
                .await;
        }
        let first = s.of(&a).batch("c").await;
        let take = "select * from trunkline.stream_next_batch('s', 'c')";
        let ending = async {
            raw.blocked(b.pid).await;
            a.run("commit").await;
        };
        let (second, ()) = tokio::join!(b.code(take), ending);
        assert_eq!(second, "40001", "{level}");
        b.run("rollback").await;
        assert_eq!(b.code(take).await, "TL015", "{level}");
        a.run(&format!("begin isolation level {level}; select count(*) from trunkline.stream_take")).await;
        let taken = b.one("select batch from trunkline.stream_next_batch('s', 'c', 'take')").await;
        let late = s.of(&a).finish(&first).await;
        assert_eq!(late, "40001", "{level}: its snapshot does not know that the batch was taken over");
        a.run("rollback").await;
        assert_eq!(s.of(&a).finish(&first).await, "TL001", "{level}");
        assert_eq!(s.of(&b).finish(&taken).await, "00000");
        assert!(s.drain("c").await.is_empty());
    }
}
