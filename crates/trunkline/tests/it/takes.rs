//! Takes beside what goes wrong: burials, registrations that were none, what cannot be passed on, answers that are lost.

use std::{sync::atomic::Ordering, time::Instant};

use tokio::task::JoinSet;
use trunkline::{ErrorKind, requests::Serve};

use crate::{
    cursors::{bury, send},
    requests::served,
    support::{Db, Process, Raw, millis, secs, within},
    wire::Wire,
};

#[tokio::test]
async fn a_registration_that_was_rolled_back_is_no_responder() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    a.run("select trunkline.request_open('work')").await;
    assert_eq!(b.code("select trunkline.request_send('work', 'x')").await, "TL012");
    a.run("begin; select trunkline.request_serve('work'); rollback").await;
    assert_eq!(b.code("select trunkline.request_send('work', 'x')").await, "TL012");
}

#[tokio::test]
async fn a_stranger_on_the_key_of_responders_is_no_responder() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    let lane = a.one("select trunkline.request_open('work')").await;
    a.run(&format!("select pg_advisory_lock_shared(1953656432, {lane})")).await;
    assert_eq!(b.code("select trunkline.request_send('work', 'x')").await, "TL012");
}

#[tokio::test]
async fn a_responder_buried_while_its_connection_lives_is_no_responder() {
    let db = Db::new().await;
    let (a, b) = (db.raw().await, db.raw().await);
    a.run("set application_name = 'gone'; select trunkline.request_serve('work')").await;
    bury(&b, "gone").await;
    assert_eq!(b.code("select trunkline.request_send('work', 'x')").await, "TL012");
}

#[tokio::test]
async fn many_testers_at_once_agree_on_whether_somebody_serves() {
    let db = Db::new().await;
    let admin = db.raw().await;
    admin.run("select trunkline.request_open('work')").await;
    for serving in [false, true, false] {
        let responder = db.client("responder").await;
        let inbox = serving.then(|| responder.requests().inbox("work"));
        if serving {
            served(&db, "work", 1).await;
        }
        let mut testers = JoinSet::new();
        for _ in 0..8 {
            let raw = db.raw().await;
            testers.spawn(async move {
                let mut codes = Vec::new();
                for _ in 0..60 {
                    codes.push(raw.code("select trunkline.request_send('work', 'x', one_way => true)").await);
                }
                codes
            });
        }
        let wanted = if serving { "00000" } else { "TL012" };
        let codes = testers.join_all().await;
        let wrong = codes.iter().flatten().filter(|c| *c != wanted).count();
        assert_eq!(wrong, 0, "with a responder: {serving}");
        if serving {
            // Its own process asks as well.
            responder.requests().send("work", "own").await.unwrap();
        }
        drop(inbox);
        drop(responder);
        admin
            .until(
                "nobody",
                "select not exists (select from trunkline.session where application = 'responder')",
            )
            .await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_passed_on_just_now_takes_no_other_with_it() {
    let db = Db::new().await;
    let (admin, open) = (db.raw().await, db.raw().await);
    let ours = admin.one(&send(", type => 'a'")).await;
    let other = admin.one(&send(", type => 'b'")).await;
    open.run(&format!("begin; select trunkline.request_cancel({other})")).await;
    let engine = db.client("engine").await;
    let mut inbox = engine.requests().inbox(Serve::channel("work").types(["a"]).concurrency(8));
    admin.until("the take", "select exists (select from trunkline.take_e0)").await;
    tokio::time::sleep(millis(700)).await;
    open.run("rollback").await;
    let got = within(4_000, "what is ours", inbox.next()).await.unwrap();
    assert_eq!(got.id.to_string(), ours);
    let ended = format!("select exists (select from trunkline.ending_e0 where id = {other} and status = 2)");
    admin.until("the other one's end, once it can be passed on", &ended).await;
}

/// A trigger that holds up the insert of a take row, as a stopped backend does.
async fn slow_takes(admin: &Raw, seconds: f64) {
    admin
        .run(&format!(
            "create function public.slow() returns trigger language plpgsql as $$
             begin perform pg_sleep({seconds}); return new; end $$;
             create trigger slow before insert on trunkline.take_e0 for each row execute function public.slow()"
        ))
        .await;
}

#[tokio::test]
async fn a_burial_waits_for_a_take_in_flight_or_the_take_takes_nothing() {
    let db = Db::new().await;
    let admin = db.raw().await;
    let mut holder = Process::start("holder", &db).await;
    for _ in 0..2 {
        admin.run(&send(", idempotent => true")).await;
        holder.line("took").await;
    }
    slow_takes(&admin, 1.5).await;
    admin.run(&send(", idempotent => true")).await;
    admin
        .until(
            "the take in flight",
            "select exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database())",
        )
        .await;
    bury(&admin, "child-holder").await;
    admin
        .until("its end", "select not exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database())")
        .await;
    holder.child.kill().await.unwrap();
    admin.run("drop trigger slow on trunkline.take_e0").await;
    let other = db.raw().await;
    other.run("select trunkline.request_serve('work')").await;
    let mut got = Vec::new();
    let end = Instant::now() + secs(15);
    while got.len() < 3 && Instant::now() < end {
        admin.run("select trunkline._session_reap()").await;
        got.extend(other.rows("select id from trunkline.request_take('work', 9)").await);
        tokio::time::sleep(millis(50)).await;
    }
    assert_eq!(got.len(), 3, "those that the dead one held");
}

#[tokio::test]
async fn a_burial_that_began_first_lets_no_short_take_through() {
    let db = Db::new().await;
    let (admin, grave) = (db.raw().await, db.raw().await);
    let mut holder = Process::start("holder", &db).await;
    for _ in 0..2 {
        admin.run(&send(", idempotent => true")).await;
        holder.line("took").await;
    }
    admin
        .until(
            "a renewal, so that the next is a while off",
            "select expires_at > clock_timestamp() + interval '4.9 s' from trunkline.session where application = 'child-holder'",
        )
        .await;
    grave.run("begin; select trunkline._session_bury(id) from trunkline.session where application = 'child-holder'").await;
    let third = admin.one(&send(", idempotent => true")).await;
    tokio::time::sleep(millis(300)).await;
    grave.run("commit").await;
    holder.child.kill().await.unwrap();
    let other = db.raw().await;
    other.run("select trunkline.request_serve('work')").await;
    let mut got = Vec::new();
    let end = Instant::now() + secs(6);
    while got.len() < 3 && Instant::now() < end {
        admin.run("select trunkline._session_reap()").await;
        got.extend(other.rows("select id from trunkline.request_take('work', 9)").await);
        tokio::time::sleep(millis(50)).await;
    }
    assert!(got.contains(&third) && got.len() == 3, "{got:?} without {third}");
}

#[tokio::test]
async fn what_a_buried_responder_passes_on_late_is_not_handed_out_beside_its_next_attempt() {
    let db = Db::new().await;
    let (admin, a, b, c) = (db.raw().await, db.raw().await, db.raw().await, db.raw().await);
    a.run("set application_name = 'a'; select trunkline.request_serve('work', array['a'])").await;
    b.run("select trunkline.request_serve('work', array['b'])").await;
    c.run("select trunkline.request_serve('work', array['b'])").await;
    admin.run(&send(", type => 'b', idempotent => true")).await;
    let row = a
        .one("select t.take, t.claim from trunkline.session s cross join trunkline.request_channel c
              cross join lateral trunkline._request_take_e0(s.id, c.id, 9, true, true, 42) t where s.application = 'a'")
        .await;
    let (take, token) = row.split_once('|').unwrap();
    bury(&admin, "a").await;
    assert_eq!(b.one("select attempt from trunkline.request_take('work')").await, "2");
    a.run(&format!("select trunkline._request_pass_e0({take}, {token}, array[1], array['a'])")).await;
    assert_eq!(c.rows("select id, attempt from trunkline.request_take('work')").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_taken_in_a_statement_whose_answer_was_lost_is_not_lost() {
    let db = Db::new().await;
    let admin = db.raw().await;
    let wire = Wire::new(&db);
    let engine = wire.client("engine").await;
    let mut inbox = engine.requests().inbox(Serve::channel("work").concurrency(8));
    served(&db, "work", 1).await;
    for _ in 0..4 {
        admin.run(&send("")).await;
        within(3_000, "the first", inbox.next()).await.unwrap().reply("").await.unwrap();
    }
    // Its next take commits, and it never learns what it took.
    slow_takes(&admin, 0.7).await;
    let id = admin.one(&send(", idempotent => true, timeout => '30 s'")).await;
    admin
        .until(
            "the take in flight",
            "select exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database())",
        )
        .await;
    wire.deaf.store(true, Ordering::Relaxed);
    admin
        .until("the take", &format!("select exists (select from trunkline.take_e0 where {id} = any (ids))"))
        .await;
    admin.run("drop trigger slow on trunkline.take_e0").await;
    wire.cut();
    let got = within(9_000, "it to come to somebody", inbox.next()).await.unwrap();
    assert_eq!(got.id.to_string(), id);
}

#[tokio::test]
async fn an_idempotent_request_outlives_every_responder_that_dies_with_it() {
    let db = Db::new().await;
    let admin = db.raw().await;
    admin.run(&send(", idempotent => true")).await;
    for attempt in 1..=4 {
        let next = db.raw().await;
        next.run(&format!("set application_name = 'r{attempt}'; select trunkline.request_serve('work')"))
            .await;
        let taken = next.one("select attempt from trunkline.request_take('work')").await;
        assert_eq!(taken, attempt.to_string());
        bury(&admin, &format!("r{attempt}")).await;
    }
}

#[tokio::test]
async fn a_reply_whose_answer_was_lost_counts_as_accepted_where_it_was() {
    let db = Db::new().await;
    let admin = db.raw().await;
    let wire = Wire::new(&db);
    let engine = wire.client("engine").await;
    let mut inbox = engine.requests().inbox(Serve::channel("work").concurrency(8));
    served(&db, "work", 1).await;
    admin.run(&send("")).await;
    within(3_000, "the first", inbox.next()).await.unwrap().reply("").await.unwrap();
    for (answered, wanted) in [("ok", Ok(())), ("cancelled", Err(ErrorKind::Stale))] {
        let id = admin.one(&send(", timeout => '30 s'")).await;
        let held = within(3_000, "the request", inbox.next()).await.unwrap();
        wire.deaf.store(true, Ordering::Relaxed);
        if answered == "cancelled" {
            admin.run(&format!("select trunkline.request_cancel({id})")).await;
        }
        let reply = tokio::spawn(held.reply("y"));
        let ended = format!("select state = '{answered}' from trunkline.request_show({id})");
        admin.until("its end", &ended).await;
        wire.cut();
        let verdict = within(9_000, "the verdict", reply).await.unwrap();
        assert_eq!(verdict.map_err(|e| e.kind()), wanted, "{answered}");
    }
}

/// One slice of the work of burying the dead: whether there was any.
async fn slice(raw: &Raw) -> bool {
    raw.one("select more from trunkline._session_reap()").await == "t"
}

#[tokio::test]
async fn a_busy_sessions_burial_goes_slice_by_slice_and_loses_and_doubles_nothing() {
    const ALL: usize = 5_000;
    let db = Db::new().await;
    let (admin, busy, dying) = (db.raw().await, db.raw().await, db.raw().await);
    busy.run("set application_name = 'busy'; select trunkline.request_serve('work')").await;
    admin.run(&format!("select trunkline.request_send('work', n::text, timeout => '10 min', idempotent => n % 2 = 0) from generate_series(1, {ALL}) n")).await;
    while busy.one("select count(*) from trunkline.request_take('work', 128)").await != "0" {}
    // Of ten it answered two, idempotent or not.
    busy.run(
        "select trunkline._request_reply_e(t.id, t.token, u.slot::int, 0, 0, 1, null, 'done', null)
           from trunkline.take_e0 t, unnest(t.ids) with ordinality u(id, slot) where u.slot % 10 in (1, 2)",
    )
    .await;
    let ended = "select count(*) from trunkline.ending_e0 where status in (5, 6)";
    let answered = admin.one("select count(*) from trunkline.ending_e0").await;
    bury(&admin, "busy").await;
    let begun: usize = admin.one(ended).await.parse().unwrap();
    assert!(0 < begun && begun < ALL / 2, "a part of it, and not all: {begun}");
    assert_eq!(admin.one("select count(*) from trunkline.session where application = 'busy'").await, "0");
    // One who dies between two slices, or within one, has done nothing.
    dying.run("begin; select trunkline._session_reap()").await;
    assert!(dying.one(ended).await.parse::<usize>().unwrap() > begun);
    within(1_000, "others not to wait", admin.run("select trunkline._session_reap()")).await;
    admin.run(&format!("select pg_terminate_backend({})", dying.pid)).await;
    admin
        .until("its end", &format!("select count(*) = 0 from pg_stat_activity where pid = {}", dying.pid))
        .await;
    assert_eq!(admin.one(ended).await, begun.to_string());
    // Two at once go on; what the dead one answers late, while they do, is its caller's and nobody else's.
    let late = "select t.id || ':' || t.token || ':' || 5 from trunkline.take_e0 t order by t.id desc limit 1 offset 1";
    let late = admin.one(late).await;
    busy.run(&format!("select trunkline.request_reply('{late}', 'late')")).await;
    let other = db.raw().await;
    let both = async |raw: &Raw| while slice(raw).await {};
    tokio::join!(both(&admin), both(&other));
    let missing = "select count(*) from trunkline.request_e0 r where not exists (select from trunkline.ending_e0 e where e.id = r.id)";
    assert_eq!(admin.one(missing).await, "0", "nothing was passed over");
    let twice = "select count(*) from (select id from trunkline.ending_e0 group by id having count(*) > 1) x";
    assert_eq!(admin.one(twice).await, "0");
    let kept = admin.one("select count(*) from trunkline.ending_e0 where status = 0").await;
    assert_eq!(kept.parse::<usize>().unwrap(), answered.parse::<usize>().unwrap() + 1);
    let again = "select (select count(*) from trunkline.again_e), (select count(*) from trunkline.ending_e0 where status = 6)";
    let (out, of) = {
        let row = admin.one(again).await;
        let (a, b) = row.split_once('|').unwrap();
        (a.to_owned(), b.to_owned())
    };
    assert!(out == of && out != "0", "{out} go out again, of {of}");
    let odd = "select count(*) from trunkline.ending_e0 e join trunkline.request_e0 r on r.id = e.id where e.status = 5 and r.flags & 4 = 4 or e.status = 6 and r.flags & 4 = 0";
    assert_eq!(admin.one(odd).await, "0");
    other.run("select trunkline.request_serve('work')").await;
    let mut taken = std::collections::HashSet::new();
    loop {
        let rows = other.rows("select id, attempt from trunkline.request_take('work', 128)").await;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            assert!(row.ends_with("|2") && taken.insert(row.clone()), "{row}");
        }
    }
    assert_eq!(taken.len().to_string(), out, "each goes out once more, and once");
    assert_eq!(admin.one("select count(*) from trunkline.buried").await, "1", "late takes are looked for");
    admin.run("update trunkline.buried set buried_at = now() - interval '121 s'").await;
    assert!(!slice(&admin).await);
    assert_eq!(admin.one("select count(*) from trunkline.buried").await, "0");
}
