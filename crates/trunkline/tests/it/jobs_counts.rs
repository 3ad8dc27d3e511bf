//! How many jobs there are, told from what the duties counted and what came since.

use crate::support::{Db, Raw, until};

const COUNTED: &str = "select count(*) from trunkline.job_counted where segment = 'job_d0'
    and filenode = pg_relation_filenode('trunkline.job_d0')";
/// Of each lane: told from what was counted, and read.
const SINCE: &str = "select trunkline._job_since_d0()";
const READ: &str = "select jsonb_object_agg(lane, n) from (select lane, count(*) as n from trunkline.job_d0 group by lane) c";
const WAITING: &str = "select coalesce(sum(waiting), 0) from trunkline.job_queues()";

/// A few more than 16 MiB of jobs, some of them in a transaction that is open while they are counted, and one that is rolled back.
async fn counted(db: &Db, raw: &Raw) -> Raw {
    let (open, gone) = (db.raw().await, db.raw().await);
    raw.run("select trunkline.job_open('q'), trunkline.job_open('p')").await;
    open.run("begin; select trunkline.job_push('q', 'open'), trunkline.job_push('p', 'open')").await;
    gone.run("begin; select trunkline.job_push('q', 'gone')").await;
    let many = |queue: &str, n: u32| {
        format!("select count(trunkline.job_push('{queue}', repeat('x', 1900))) from generate_series(1, {n})")
    };
    assert_eq!(raw.one(COUNTED).await, "0");
    raw.run(&many("q", 9000)).await;
    raw.run(&many("p", 1000)).await;
    raw.run("select trunkline.maintain()").await;
    assert_eq!(raw.one(COUNTED).await, "1", "the duties have counted them");
    gone.run("rollback").await;
    open
}

#[tokio::test]
async fn what_is_told_from_what_was_counted_is_what_there_is() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let old = db.raw().await;
    old.run("begin isolation level repeatable read; select 1").await;
    let open = counted(&db, &raw).await;
    assert_eq!(raw.one(WAITING).await, "10000");
    assert_eq!(raw.one(SINCE).await, raw.one(READ).await);
    assert_eq!(old.one(WAITING).await, "0", "who looks at an older state sees that");
    // Of what was open then, of what came since, and of queues that nobody knew of.
    raw.run("select trunkline.job_push('q', 'later')").await;
    open.run("commit").await;
    raw.run("select trunkline.job_push('new', 'x'), trunkline.job_push('q', 'urgent', priority => 1)").await;
    assert_eq!(raw.one(WAITING).await, "10005");
    assert_eq!(raw.one(SINCE).await, raw.one(READ).await);
    assert_eq!(open.one("select count(*) from trunkline.job_take('q', 100)").await, "100");
    assert_eq!(raw.one(WAITING).await, "9905");
    // Nothing is counted anew for so little.
    let seen = "select seen from trunkline.job_counted";
    let before = raw.one(seen).await;
    raw.run("select trunkline.maintain()").await;
    assert_eq!(raw.one(seen).await, before);
}

#[tokio::test]
async fn of_a_segment_that_is_emptied_nothing_counted_is_told() {
    let db = Db::new().await;
    let (raw, emptier) = (db.raw().await, db.raw().await);
    let open = counted(&db, &raw).await;
    open.run("rollback").await;
    // As `_job_empty_d0` does it; who looks meanwhile waits for it, with a snapshot of before.
    emptier.run("begin; truncate trunkline.job_d0, trunkline.job_slice_d0, trunkline.job_done_d0, trunkline.job_end_d0").await;
    let pid = raw.one("select pg_backend_pid()").await.parse().unwrap();
    let looked = tokio::spawn(async move { (raw.one(WAITING).await, raw) });
    emptier.blocked(pid).await;
    emptier.run("commit").await;
    let (waiting, raw) = looked.await.unwrap();
    assert_eq!(waiting, "0");
    assert_eq!(
        raw.one("select count(*) from trunkline.job_counted").await,
        "1",
        "it is there, and in force no more"
    );
    raw.run("select trunkline.job_push('q', 'after')").await;
    until("it to be told", async || raw.one(WAITING).await == "1").await;
    raw.run("select trunkline._job_rebase_d()").await; // as a repair after a restore does
    assert_eq!(
        raw.one("select count(*) from trunkline.job_counted").await,
        "0",
        "of another cluster's nothing is kept"
    );
}

#[tokio::test]
async fn what_is_held_is_told_as_the_duties_counted_it_where_it_is_much_and_that_it_is() {
    const TOLD: &str =
        "select concat_ws(' ', scheduled, dead, case when held_counted_at is null then 'now' else 'then' end)
        from trunkline.job_queues()";
    let db = Db::new().await;
    let raw = db.raw().await;
    let at = "select at from trunkline.job_held_counted";
    let earlier = async |by: &str| {
        raw.run(&format!("update trunkline.job_held_counted set at = at - interval '{by}', took = '1 second'; select pg_stat_force_next_flush()"))
            .await;
    };
    let push = "select trunkline.job_push('q', 'x', run_at => now() + interval '1 hour')";
    raw.run("select count(trunkline.job_push('q', repeat('x', 1500), run_at => now() + interval '1 hour')) from generate_series(1, 24000)").await;
    assert_eq!(raw.one(TOLD).await, "24000 0 now", "nobody has counted");
    raw.run("select trunkline.maintain()").await;
    let first = raw.one(at).await;
    raw.run(push).await;
    assert_eq!(raw.one(TOLD).await, "24000 0 then");
    earlier("19 seconds").await;
    let before = raw.one(at).await;
    raw.run("select trunkline.maintain()").await;
    assert_eq!(raw.one(at).await, before, "it counts for a twentieth of the time at most");
    earlier("2 seconds").await;
    raw.run("select trunkline.maintain()").await;
    assert_eq!(raw.one(TOLD).await, "24001 0 then");
    assert!(raw.one(at).await > first);
    // Nothing was written since: only the time goes on.
    earlier("30 seconds").await;
    let before = raw.one(at).await;
    raw.run("select trunkline.maintain()").await;
    assert_eq!(raw.one(at).await, before, "nothing has changed");
    earlier("31 seconds").await;
    raw.run("select trunkline.maintain()").await;
    assert!(raw.one(at).await > before, "but what is due has, after a minute");
    // Without duties, whoever asks counts; and where it is little, always.
    raw.run(push).await;
    assert_eq!(raw.one(TOLD).await, "24001 0 then");
    earlier("3 minutes").await;
    assert_eq!(raw.one(TOLD).await, "24002 0 now");
    raw.run("delete from trunkline.job_held where id > (select min(id) from trunkline.job_held)").await;
    raw.run("vacuum full trunkline.job_held").await;
    raw.run("update trunkline.job_held_counted set at = clock_timestamp()").await;
    assert_eq!(raw.one(TOLD).await, "1 0 now");
}
