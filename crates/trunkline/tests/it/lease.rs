//! Leases: one holder, a fence that rises, and effects that a stale holder cannot commit.

use crate::support::{Db, Raw, within};

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
    assert_eq!(raw.code("select trunkline.lease_check('l', 1)").await, "00000");
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {A}, 1, '1 min')")).await, "t");
    raw.run(EXPIRE).await;
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {A}, 1, '1 min')")).await, "f", "expired");
    assert_eq!(raw.code("select trunkline.lease_check('l', 1)").await, "00000", "expired, and nobody came");
    raw.run(&acquire(B)).await;
    assert_eq!(raw.code("select trunkline.lease_check('l', 1)").await, "TL002");
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {A}, 1, '1 min')")).await, "f");
    assert_eq!(raw.one(&format!("select trunkline.lease_renew('l', {B}, 2, '1 min')")).await, "t");
    for fence in ["null", "3", "-1"] {
        assert_eq!(raw.code(&format!("select trunkline.lease_check('l', {fence})")).await, "TL002");
    }
    assert_eq!(raw.code("select trunkline.lease_check('nothing', 1)").await, "TL002");
}

#[tokio::test]
async fn a_guards_open_transaction_delays_the_hand_over_and_not_the_renewal() {
    let db = Db::new().await;
    let (holder, effect, other, admin) = (db.raw().await, db.raw().await, db.raw().await, db.raw().await);
    holder.run(&acquire(A)).await;
    effect.run("begin; select trunkline.lease_check('l', 1)").await;
    let renew = format!("select trunkline.lease_renew('l', {A}, 1, '1 min')");
    assert_eq!(within(300, "the renewal", holder.one(&renew)).await, "t");
    admin.run(EXPIRE).await;
    let pid = other.pid;
    let taking = tokio::spawn(async move { other.one(&acquire(B)).await });
    admin.blocked(pid).await;
    effect.run("commit").await;
    assert_eq!(taking.await.unwrap(), "2");
    assert_eq!(effect.code("select trunkline.lease_check('l', 1)").await, "TL002");
}

#[tokio::test]
async fn a_guard_that_waits_for_a_hand_over_sees_it() {
    let db = Db::new().await;
    let (effect, other, admin) = (db.raw().await, db.raw().await, db.raw().await);
    admin.run(&acquire(A)).await;
    admin.run(EXPIRE).await;
    other.run(&format!("begin; {}", acquire(B))).await;
    let pid = effect.pid;
    let guarding = tokio::spawn(async move { effect.code("select trunkline.lease_check('l', 1)").await });
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

/// A session of an engine, without the engine: its number, its door, and what it asks.
struct Waiter {
    raw: Raw,
    session: i32,
    holder: String,
}

impl Waiter {
    /// Present, and asleep on its door.
    async fn new(db: &Db, n: usize) -> Self {
        let raw = db.raw().await;
        let open = "select id from trunkline._session_open('w', true, '1 min')";
        let session: i32 = raw.one(open).await.parse().unwrap();
        let door = -130 - session;
        raw.run(&format!("listen \"trunkline_{door}\"")).await;
        assert_eq!(raw.one(&format!("select trunkline._door_hold({door})")).await, "t");
        Self { raw, session, holder: format!("00000000-0000-4000-8000-{n:012}") }
    }

    /// Fence, or when to look again.
    async fn look(&self, waits: bool) -> String {
        let (session, holder) = (self.session, &self.holder);
        let args = format!("{session}, '{{l}}', '{{{holder}}}', '{{me}}', '{{60000}}', '{{{waits}}}'");
        self.raw.one(&format!("select fence, again_ms from trunkline._lease_look({args})")).await
    }

    async fn release(&self) -> String {
        self.raw
            .one(&format!("select trunkline._lease_release('{{l}}', '{{{}}}', '{{null}}')", self.holder))
            .await
    }

    /// How often it was rung since the last time.
    async fn rings(&mut self) -> usize {
        self.raw.one("select 1").await;
        std::iter::from_fn(|| self.raw.notes.try_recv().ok()).count()
    }
}

#[tokio::test]
async fn of_twenty_who_wait_one_is_rung_for_a_release_and_one_for_being_first() {
    let db = Db::new().await;
    let holder = Waiter::new(&db, 99).await;
    assert_eq!(holder.look(false).await, "1|");
    let mut waiters = Vec::new();
    for n in 0..20 {
        let waiter = Waiter::new(&db, n).await;
        let again = ["|400", "|2000", "|15000"][n.min(2)];
        assert_eq!(waiter.look(true).await, again, "the first looks often, the others seldom");
        waiters.push(waiter);
    }
    let mut last = holder;
    for n in 0..20 {
        last.release().await;
        for (m, waiter) in waiters.iter_mut().enumerate() {
            assert_eq!(waiter.rings().await, usize::from(m == 0), "hand-over {n}: the release");
        }
        assert_eq!(waiters[0].look(true).await, format!("{}|", n + 2));
        for (m, waiter) in waiters.iter_mut().enumerate() {
            assert_eq!(waiter.rings().await, usize::from(m == 1), "hand-over {n}: who is first now");
        }
        last = waiters.remove(0);
    }
}

#[tokio::test]
async fn nobody_overtakes_a_first_one_that_comes_and_one_that_does_not_stops_nobody() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let [holder, first, second] =
        [Waiter::new(&db, 0).await, Waiter::new(&db, 1).await, Waiter::new(&db, 2).await];
    holder.look(false).await;
    assert_eq!((first.look(true).await, second.look(true).await), ("|400".into(), "|2000".into()));
    holder.release().await;
    let again = second.look(true).await;
    let ms: i32 = again.split('|').nth(1).unwrap().parse().unwrap();
    assert!((1..=1000).contains(&ms), "not before the first one had a second: {again}");
    assert_eq!(raw.one(&acquire(A)).await, "", "in plain SQL either");
    let free =
        |s: i32| format!("update trunkline.lease_expiry set seen_at = clock_timestamp() - interval '{s} s'");
    raw.run(&free(1)).await;
    assert_eq!(raw.one(&acquire(A)).await, "", "two are before it");
    assert_eq!(second.look(true).await, "2|");
    second.release().await;
    // The first one's process is gone; who asks from outside waits for nobody.
    drop(first);
    let gone = "select count(*) = 2 from trunkline.session s where trunkline._session_here(s.id, s.pid, s.watched, s.expires_at)";
    raw.until("the session to be gone", gone).await;
    assert_eq!(raw.one(&acquire(A)).await, "3");
}

#[tokio::test]
async fn a_holder_whose_process_is_gone_has_a_quarter_of_a_second_more() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (holder, other) = (Waiter::new(&db, 0).await, Waiter::new(&db, 1).await);
    assert_eq!(holder.look(false).await, "1|");
    raw.run(&format!("select pg_terminate_backend({})", holder.raw.pid)).await;
    let here = "select count(*) = 1 from trunkline.session s where trunkline._session_here(s.id, s.pid, s.watched, s.expires_at)";
    raw.until("the holder to be gone", here).await;
    assert_eq!(other.look(true).await, "|251", "seen, and not taken");
    let left = "select expires_at - clock_timestamp() between '0' and '250 ms' from trunkline.lease_expiry";
    assert_eq!(raw.one(left).await, "t");
    raw.run("select trunkline._session_reap()").await;
    raw.until("its time to be over", "select expires_at <= clock_timestamp() from trunkline.lease_expiry")
        .await;
    assert_eq!(other.look(true).await, "2|");
}

#[tokio::test]
async fn who_asks_again_because_an_answer_got_lost_has_its_whole_time() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let [holder, other] = [Waiter::new(&db, 0).await, Waiter::new(&db, 1).await];
    assert_eq!(holder.look(true).await, "1|");
    // Meanwhile its connection was found ended, so another may have it in a moment.
    raw.run("update trunkline.lease_expiry set session = null, expires_at = clock_timestamp() + '250 ms'")
        .await;
    assert_eq!(holder.look(true).await, "1|", "the same answer");
    let whole =
        "select session is not null and expires_at > clock_timestamp() + '50 s' from trunkline.lease_expiry";
    assert_eq!(raw.one(whole).await, "t", "it counts from this look on, and so does the holder");
    assert!(!other.look(false).await.starts_with('2'));
    raw.run(EXPIRE).await;
    assert_eq!(holder.look(true).await, "2|", "what is over is not continued");
}

#[tokio::test]
async fn a_burial_ends_what_a_session_held_and_waited_for() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (holder, first, mut second) =
        (Waiter::new(&db, 0).await, Waiter::new(&db, 1).await, Waiter::new(&db, 2).await);
    holder.look(false).await;
    first.look(true).await;
    second.look(true).await;
    for gone in [&holder, &first] {
        raw.run(&format!("select pg_terminate_backend({})", gone.raw.pid)).await;
    }
    raw.until("both to be buried", "select count(*) = 1 from trunkline.session, trunkline._session_reap()")
        .await;
    assert_eq!(raw.one("select count(*) from trunkline.lease_waiters('l')").await, "1");
    assert!(second.rings().await > 0, "it is the first one now");
    assert_eq!(
        raw.one(
            "select session is null and expires_at < clock_timestamp() + '1 s' from trunkline.lease_expiry"
        )
        .await,
        "t"
    );
}

#[tokio::test]
async fn a_check_refuses_what_is_stale_at_every_isolation_level_and_is_waited_for() {
    let db = Db::new().await;
    let (raw, effect) = (db.raw().await, db.raw().await);
    let mut fence = 0;
    for level in ["read committed", "repeatable read", "serializable"] {
        raw.run("select trunkline.lease_resign('l', true) where exists (select from trunkline.lease)").await;
        fence = raw.one(&acquire(A)).await.parse::<i64>().unwrap().max(fence + 1);
        // Its snapshot is older than the hand-over.
        effect.run(&format!("begin isolation level {level}; select count(*) from pg_class")).await;
        raw.run("select trunkline.lease_resign('l', true)").await;
        assert_eq!(raw.one(&acquire(B)).await, (fence + 2).to_string());
        let code = effect.code(&format!("select trunkline.lease_check('l', {fence})")).await;
        assert_eq!(code, if level == "read committed" { "TL002" } else { "40001" }, "{level}");
        effect.run("rollback").await;
        // A hand-over waits for a check that holds.
        effect
            .run(&format!("begin isolation level {level}; select trunkline.lease_check('l', {})", fence + 2))
            .await;
        let (taker, admin) = (db.raw().await, db.raw().await);
        let pid = taker.pid;
        let taking =
            tokio::spawn(async move { taker.code("select trunkline.lease_resign('l', true)").await });
        admin.blocked(pid).await;
        effect.run("commit").await;
        assert_eq!(taking.await.unwrap(), "00000");
        fence += 3;
    }
}

#[tokio::test]
async fn who_asks_in_a_transaction_that_stays_open_costs_the_holder_nothing() {
    let db = Db::new().await;
    let (raw, asker) = (db.raw().await, db.raw().await);
    raw.run(&acquire(A)).await;
    asker.run(&format!("begin; {}", acquire(B))).await;
    let renew = format!("select trunkline.lease_renew('l', {A}, 1, '1 min')");
    assert_eq!(within(300, "a renewal", raw.one(&renew)).await, "t");
    assert_eq!(raw.one("select held, resign from trunkline._lease_renew(1, '{l}', '{aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa}', '{p}')").await, "t|f");
    assert_eq!(raw.one("select progress from trunkline.lease_list()").await, "p");
}
