//! Leases from Rust: waiting in turn, renewing, resigning, losing, watching.

use std::{
    future::IntoFuture as _,
    time::{Duration, SystemTime},
};

use tokio_postgres::NoTls;
use trunkline::{
    ErrorKind, Trunkline,
    leases::{Lease, Loss},
};

use crate::support::{Db, Raw, millis, secs, within};

/// Begins to wait for the lease `l`, and is in its queue when this returns.
async fn queued(raw: &Raw, tl: &Trunkline, who: &str) -> tokio::task::JoinHandle<Lease> {
    let (leases, name) = (tl.leases(), who.to_owned());
    let waiting = tokio::spawn(async move { leases.acquire("l").held_by(name).await.unwrap() });
    let here = format!("select exists (select from trunkline.lease_waiters('l') where held_by = '{who}')");
    raw.until("the waiter to be in the queue", &here).await;
    waiting
}

#[tokio::test]
async fn a_lease_has_one_holder_and_the_next_one_has_a_higher_fence() {
    let db = Db::new().await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let lease = one.leases().try_acquire("l").await.unwrap().unwrap();
    assert_eq!((lease.fence(), lease.name(), lease.predecessor_silent()), (1, "l", None));
    assert!(lease.is_valid());
    assert!(one.leases().try_acquire("l").await.unwrap().is_none(), "not even the same process");
    assert!(two.leases().try_acquire("l").await.unwrap().is_none());
    lease.note("so far");
    lease.resign().await.unwrap();
    let lease = two.leases().acquire("l").await.unwrap();
    assert_eq!((lease.fence(), lease.predecessor_progress()), (2, Some("so far")));
    assert!(lease.predecessor_silent().unwrap() < secs(5));
}

#[tokio::test]
async fn what_one_before_noted_is_as_old_as_it_is_whoever_had_the_lease_since() {
    let db = Db::new().await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let lease = one.leases().acquire("l").await.unwrap();
    assert_eq!(lease.predecessor_noted_at(), None);
    lease.note("so far");
    lease.resign().await.unwrap();
    let noted = SystemTime::now();
    for tl in [&two, &one, &two] {
        let lease = tl.leases().acquire("l").await.unwrap();
        assert_eq!(lease.predecessor_progress(), Some("so far"));
        assert!(lease.predecessor_noted_at().unwrap() <= noted, "not when the lease was taken since");
        assert!(lease.predecessor_silent().unwrap() < secs(2));
        lease.resign().await.unwrap();
    }
}

#[tokio::test]
async fn who_waits_has_its_turn_and_a_release_is_heard_at_once() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let one = db.client("one").await;
    let lease = one.leases().acquire("l").await.unwrap();
    let mut waiting = Vec::new();
    let mut clients = Vec::new();
    for n in 0..5 {
        let tl = db.client(&format!("waiter-{n}")).await;
        waiting.push(queued(&raw, &tl, &format!("w{n}")).await);
        clients.push(tl);
    }
    assert_eq!(
        raw.rows("select held_by from trunkline.lease_waiters('l')").await,
        ["w0", "w1", "w2", "w3", "w4"]
    );
    assert!(one.leases().try_acquire("l").await.unwrap().is_none());
    lease.resign().await.unwrap();
    for (n, waiting) in waiting.into_iter().enumerate() {
        let lease = within(500, "the next one", waiting).await.unwrap();
        assert_eq!(lease.fence(), n as i64 + 2, "in turn");
        assert!(one.leases().try_acquire("l").await.unwrap().is_none(), "nobody overtakes");
        drop(lease);
    }
}

#[tokio::test]
async fn who_gives_up_leaves_the_queue_and_what_it_got_meanwhile_is_free() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let lease = one.leases().acquire("l").await.unwrap();
    let e = two.leases().acquire("l").within(millis(100)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::TimedOut);
    raw.until("the queue to be empty", "select not exists (select from trunkline.lease_waiters('l'))").await;
    drop(lease);
    for _ in 0..30 {
        let leases = two.leases();
        let asking = tokio::spawn(async move { leases.acquire("l").await.map(drop) });
        tokio::task::yield_now().await;
        asking.abort();
        let _ = asking.await;
        let lease = within(2000, "the lease", one.leases().acquire("l").into_future()).await.unwrap();
        drop(lease);
    }
}

#[tokio::test]
async fn a_lease_is_renewed_by_itself() {
    let db = Db::new().await;
    let (raw, one) = (db.raw().await, db.client("one").await);
    let lease = one.leases().acquire("l").ttl(secs(1)).await.unwrap();
    let until = "select expires_at::text from trunkline.lease_list()";
    let first = raw.one(until).await;
    raw.until(
        "five renewals",
        &format!("select expires_at > timestamptz '{first}' + interval '2 s' from trunkline.lease_list()"),
    )
    .await;
    assert!(lease.is_valid());
    assert_eq!(lease.fence(), 1);
}

#[tokio::test]
async fn a_holder_is_told_when_its_connection_ends_and_when_another_has_it() {
    let db = Db::new().await;
    let (raw, one) = (db.raw().await, db.client("one").await);
    let lease = one.leases().acquire("l").await.unwrap();
    let pid = db.backend(&raw, "one").await;
    raw.run(&format!("select pg_terminate_backend({pid})")).await;
    assert_eq!(within(500, "the loss", lease.lost()).await, Loss::Silent);
    assert!(!lease.is_valid());
    let lease = within(2000, "the lease again", one.leases().acquire("l").into_future()).await.unwrap();
    assert!(lease.fence() > 1);
    raw.run("select trunkline.lease_resign('l', true)").await;
    assert_eq!(within(1000, "the loss", lease.lost()).await, Loss::Taken);
}

#[tokio::test]
async fn who_is_asked_to_resign_hears_it_and_keeps_the_lease_until_it_does() {
    let db = Db::new().await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let lease = one.leases().acquire("l").await.unwrap();
    assert!(two.leases().resign("l").await.unwrap());
    assert_eq!(within(500, "the wish", lease.lost()).await, Loss::Asked);
    assert!(lease.is_valid());
    assert!(two.leases().show("l").await.unwrap().unwrap().resign_asked);
    assert!(two.leases().try_acquire("l").await.unwrap().is_none());
    drop(lease);
    let lease = within(1000, "the lease", two.leases().acquire("l").into_future()).await.unwrap();
    assert!(!two.leases().show("l").await.unwrap().unwrap().resign_asked);
    assert!(two.leases().resign("l").await.unwrap());
    assert_eq!(within(500, "its own wish", lease.lost()).await, Loss::Asked);
    assert_eq!(two.leases().resign("nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_stale_holders_transaction_fails() {
    let db = Db::new().await;
    let (raw, one) = (db.raw().await, db.client("one").await);
    let lease = one.leases().acquire("l").await.unwrap();
    let (mut client, connection) = tokio_postgres::connect(&db.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let tx = client.transaction().await.unwrap();
    lease.guard(&mut &tx).await.unwrap();
    tx.commit().await.unwrap();
    raw.run("select trunkline.lease_resign('l', true)").await;
    let tx = client.transaction().await.unwrap();
    let e = lease.guard(&mut &tx).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Stale, Some("TL002")));
}

#[tokio::test]
async fn a_guards_open_transaction_keeps_the_next_holder_waiting_and_not_its_connection() {
    let db = Db::new().await;
    let (raw, one, two) = (db.raw().await, db.client("one").await, db.client("two").await);
    let lease = one.leases().acquire("l").await.unwrap();
    let guarding = db.raw().await;
    guarding.run(&format!("begin; select trunkline.lease_check('l', {})", lease.fence())).await;
    let waiting = queued(&raw, &two, "two").await;
    lease.resign().await.unwrap();
    for _ in 0..20 {
        within(500, "another statement of the same connection", two.leases().list()).await.unwrap();
        assert!(!waiting.is_finished());
    }
    guarding.run("commit").await;
    let _lease = within(500, "the lease", waiting).await.unwrap();
}

#[tokio::test]
async fn a_watch_tells_each_change() {
    let db = Db::new().await;
    let (one, two) = (db.client("one").await, db.client("two").await);
    let mut watch = two.leases().watch("l");
    let first = within(1000, "the first look", watch.next()).await.unwrap();
    assert_eq!((first.fence, first.held_by), (0, None));
    let lease = one.leases().acquire("l").held_by("me").await.unwrap();
    let held = within(500, "a holder", watch.next()).await.unwrap();
    assert_eq!((held.fence, held.held_by.as_deref()), (1, Some("me")));
    lease.resign().await.unwrap();
    let free = within(500, "the release", watch.next()).await.unwrap();
    assert_eq!((free.fence, free.held_by), (1, None));
    let mut second = two.leases().watch("l");
    assert_eq!(within(500, "what is known", second.next()).await.unwrap().fence, 1);
}

#[tokio::test]
async fn a_process_that_closes_releases_what_it_holds_and_leaves_its_queues() {
    let db = Db::new().await;
    let (raw, one, two) = (db.raw().await, db.client("one").await, db.client("two").await);
    let lease = one.leases().acquire("l").await.unwrap();
    let _other = two.leases().acquire("m").await.unwrap();
    let leases = one.leases();
    let waiting = tokio::spawn(async move { leases.acquire("m").await });
    raw.until("the waiter", "select exists (select from trunkline.lease_waiters('m'))").await;
    one.close().await;
    assert_eq!(lease.lost().await, Loss::Closed);
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(raw.rows("select from trunkline.lease_waiters('m')").await.len(), 0);
    assert_eq!(within(500, "a lease", two.leases().try_acquire("l")).await.unwrap().unwrap().fence(), 2);
}

#[tokio::test]
async fn bad_input_is_refused_and_stops_nobody_else() {
    let db = Db::new().await;
    let one = db.client("one").await;
    let long = "x".repeat(49);
    for name in ["", "A", "a b", "pg_x", "trunkline/x\0", long.as_str()] {
        let e = one.leases().try_acquire(name).await.unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::Invalid | ErrorKind::Other), "{name}: {e}");
    }
    for ttl in [Duration::ZERO, millis(999), secs(86_401), Duration::MAX] {
        let e = one.leases().acquire("l").ttl(ttl).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{ttl:?}: {e}");
        let e = one.leases().acquire("l").ttl(ttl).now().await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Invalid, "{ttl:?}: {e}");
    }
    one.leases().acquire("l").held_by("x".repeat(10_000)).await.unwrap().note("y\0".repeat(10_000));
    let noted = one.leases().acquire("l").await.unwrap().predecessor_progress().map(str::len);
    assert_eq!(noted, Some(1000));
}

#[tokio::test]
async fn who_rests_is_heard_of_again_before_it_holds() {
    let db = Db::new().await;
    let (raw, one, two) = (db.raw().await, db.client("one").await, db.client("two").await);
    raw.until("both to rest", "select count(*) = 2 from trunkline.session where rests").await;
    let often =
        "select count(*) from trunkline.session where expires_at < clock_timestamp() + interval '6 s'";
    assert_eq!(raw.one(often).await, "0");
    let lease = one.leases().acquire("l").await.unwrap();
    assert!(lease.is_valid());
    assert_eq!(raw.one(often).await, "1", "found out within seconds, if it dies now");
    assert_eq!(raw.one("select count(*) from trunkline.session where rests").await, "2", "by who waits");
    let _waiting = queued(&raw, &two, "two").await;
    assert_eq!(raw.one(often).await, "2");
}
