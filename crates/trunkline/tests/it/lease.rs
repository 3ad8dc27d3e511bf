//! Leases: one holder, a fence that rises, and effects that a stale holder cannot commit.

use crate::support::{Db, within};

const A: &str = "'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'";
const B: &str = "'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb'";

fn acquire(holder: &str) -> String {
    format!("select trunkline.lease_acquire('l', {holder}, '1 min')")
}

const EXPIRE: &str = "update trunkline.lease_expiry set expires_at = '-infinity'";

#[tokio::test]
async fn the_fence_rises_with_every_hand_over_and_never_within_one() {
    let db = Db::new().await;
    let raw = db.raw().await;
    assert_eq!(raw.one(&acquire(A)).await, "1");
    assert_eq!(raw.one(&acquire(A)).await, "1");
    assert_eq!(raw.one(&acquire(B)).await, "");
    raw.run(EXPIRE).await;
    assert_eq!(raw.one(&acquire(B)).await, "2");
    assert_eq!(raw.one(&format!("select trunkline.lease_release('l', {A}, 1)")).await, "f");
    assert_eq!(raw.one(&format!("select trunkline.lease_release('l', {B}, 1)")).await, "f");
    assert_eq!(raw.one(&format!("select trunkline.lease_release('l', {B}, 2)")).await, "t");
    assert_eq!(raw.one(&acquire(B)).await, "3");
    raw.run(EXPIRE).await;
    assert_eq!(raw.one(&acquire(B)).await, "4", "what expired is not continued");
}

#[tokio::test]
async fn a_stale_guard_is_refused_and_a_renewal_after_the_hand_over_too() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run(&acquire(A)).await;
    assert_eq!(raw.code("select trunkline.lease_guard('l', 1)").await, "00000");
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {A}, 1, '1 min')")).await, "t");
    raw.run(EXPIRE).await;
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {A}, 1, '1 min')")).await, "f", "expired");
    assert_eq!(raw.code("select trunkline.lease_guard('l', 1)").await, "00000", "expired, and nobody came");
    raw.run(&acquire(B)).await;
    assert_eq!(raw.code("select trunkline.lease_guard('l', 1)").await, "TL002");
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {A}, 1, '1 min')")).await, "f");
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {B}, 2, '1 min')")).await, "t");
    for fence in ["null", "3", "-1"] {
        assert_eq!(raw.code(&format!("select trunkline.lease_guard('l', {fence})")).await, "TL002");
    }
    assert_eq!(raw.code("select trunkline.lease_guard('nothing', 1)").await, "TL002");
}

#[tokio::test]
async fn a_guards_open_transaction_delays_the_hand_over_and_not_the_renewal() {
    let db = Db::new().await;
    let (holder, effect, other, admin) = (db.raw().await, db.raw().await, db.raw().await, db.raw().await);
    holder.run(&acquire(A)).await;
    effect.run("begin; select trunkline.lease_guard('l', 1)").await;
    let renew = format!("select trunkline.lease_renew('l', {A}, 1, '1 min')");
    assert_eq!(within(300, "the renewal", holder.one(&renew)).await, "t");
    admin.run(EXPIRE).await;
    let pid = other.pid;
    let taking = tokio::spawn(async move { other.one(&acquire(B)).await });
    admin.blocked(pid).await;
    effect.run("commit").await;
    assert_eq!(taking.await.unwrap(), "2");
    assert_eq!(effect.code("select trunkline.lease_guard('l', 1)").await, "TL002");
}

#[tokio::test]
async fn a_guard_that_waits_for_a_hand_over_sees_it() {
    let db = Db::new().await;
    let (effect, other, admin) = (db.raw().await, db.raw().await, db.raw().await);
    admin.run(&acquire(A)).await;
    admin.run(EXPIRE).await;
    other.run(&format!("begin; {}", acquire(B))).await;
    let pid = effect.pid;
    let guarding = tokio::spawn(async move { effect.code("select trunkline.lease_guard('l', 1)").await });
    admin.blocked(pid).await;
    other.run("commit").await;
    assert_eq!(guarding.await.unwrap(), "TL002");
}

#[tokio::test]
async fn of_twenty_who_ask_at_once_one_holds() {
    let db = Db::new().await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..20 {
        let raw = db.raw().await;
        asking.spawn(async move { raw.one(&acquire(&format!("'00000000-0000-4000-8000-{n:012}'"))).await });
    }
    let won: Vec<String> = asking.join_all().await.into_iter().filter(|f| !f.is_empty()).collect();
    assert_eq!(won, ["1"]);
}

#[tokio::test]
async fn a_lease_refuses_what_is_out_of_its_limits() {
    let db = Db::new().await;
    let raw = db.raw().await;
    for (ttl, code) in [("'0.9 s'", "22023"), ("'25 h'", "22023"), ("null", "22023"), ("'-1 s'", "22023")] {
        let sql = format!("select trunkline.lease_acquire('l', {A}, {ttl})");
        assert_eq!(raw.code(&sql).await, code, "{ttl}");
        raw.run(&acquire(A)).await;
        let sql = format!("select trunkline.lease_renew('l', {A}, 1, {ttl})");
        assert_eq!(raw.code(&sql).await, code, "renewal with {ttl}");
    }
    let e = "select trunkline.lease_acquire('l', null, '1 min')";
    assert_eq!(raw.code(e).await, "22004");
    raw.run("begin isolation level repeatable read").await;
    assert_eq!(raw.code(&acquire(A)).await, "25001");
}
