//! Requests and replies in the transactions of sqlx, against a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod world;

use std::{error::Error as _, future::IntoFuture as _, time::Duration};

use sqlx::{
    Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use trunkline::{
    ErrorKind,
    executor::{Executor, Param},
    requests::Call,
    topics::Event,
};
use trunkline_sqlx::on;
use world::World;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn options(world: &World) -> PgConnectOptions {
    let c = &world.config;
    let options = PgConnectOptions::new_without_pgpass()
        .host(&world::host(c))
        .port(c.get_ports()[0])
        .username(c.get_user().unwrap())
        .database(c.get_dbname().unwrap())
        .application_name("driver");
    match c.get_password() {
        Some(password) => options.password(&String::from_utf8_lossy(password)),
        None => options,
    }
}

async fn connect(world: &World) -> PgConnection {
    PgConnection::connect_with(&options(world)).await.unwrap()
}

fn call(world: &World, payload: &str) -> Call {
    world.trunkline.requests().call("shop", payload).wait_for_responder()
}

async fn insert(connection: &mut PgConnection, item: &'static str) {
    sqlx::query("insert into orders values ($1)").bind(item).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_request_goes_out_with_the_commit() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();

    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    let pending = call(&world, "tea").start_on(&mut on(&mut tx)).await.unwrap();
    assert_eq!(
        (world.orders().await.len(), world.requests().await),
        (0, 0),
        "nothing shows before the commit"
    );
    tx.commit().await.unwrap();

    let incoming = shop.next().await.unwrap();
    assert_eq!(incoming.payload.bytes(), b"tea");
    incoming.reply("one tea").await.unwrap();
    assert_eq!(pending.wait().await.unwrap().payload.bytes(), b"one tea");
    assert_eq!(world.orders().await, ["tea"]);
}

#[tokio::test]
async fn a_request_that_commits_late_is_not_passed_over() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();

    let mut tx = connection.begin().await.unwrap();
    let late = call(&world, "tea").start_on(&mut on(&mut tx)).await.unwrap();
    let early = world.ask("milk").await;
    shop.next().await.unwrap().reply("one milk").await.unwrap();
    assert_eq!(early.wait().await.unwrap().payload.bytes(), b"one milk");
    tx.commit().await.unwrap();

    let incoming = tokio::time::timeout(LONG, shop.next()).await.expect("it was taken").unwrap();
    incoming.reply("one tea").await.unwrap();
    assert_eq!(late.wait().await.unwrap().payload.bytes(), b"one tea");
}

#[tokio::test]
async fn a_request_is_gone_with_the_rollback() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();

    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    let gone =
        call(&world, "tea").timeout(Duration::from_millis(500)).start_on(&mut on(&mut tx)).await.unwrap();
    tx.rollback().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "milk").await;
    let pending = call(&world, "milk").start_on(&mut on(&mut tx)).await.unwrap();
    tx.commit().await.unwrap();

    let incoming = shop.next().await.unwrap();
    assert_eq!(incoming.payload.bytes(), b"milk", "the first never left");
    incoming.reply("one milk").await.unwrap();
    assert_eq!(pending.wait().await.unwrap().payload.bytes(), b"one milk");
    assert_eq!(gone.wait().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!((world.orders().await, world.requests().await), (vec!["milk".to_owned()], 1));
}

#[tokio::test]
async fn a_reply_goes_out_with_the_row_of_its_handler() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();
    let pending = world.ask("tea").await;

    let incoming = shop.next().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    incoming.reply_on(&mut on(&mut tx), "one tea").await.unwrap();
    assert_eq!(world.orders().await.len(), 0);
    tx.commit().await.unwrap();

    assert_eq!(pending.wait().await.unwrap().payload.bytes(), b"one tea");
    assert_eq!(world.orders().await, ["tea"]);
}

#[tokio::test]
async fn a_stale_reply_is_refused_and_its_row_rolled_back() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();
    let pending = world.ask("tea").await;

    let incoming = shop.next().await.unwrap();
    assert_eq!(pending.cancel().await.unwrap_err().kind(), ErrorKind::Cancelled);
    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    let e = incoming.reply_on(&mut on(&mut tx), "one tea").await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Stale, Some("TL001")));
    tx.rollback().await.unwrap();

    assert!(world.orders().await.is_empty());
}

#[tokio::test]
async fn a_refused_request_leaves_the_session_usable() {
    let world = World::new().await;
    world.client.batch_execute("select trunkline.request_open('shop', max_bytes => 4)").await.unwrap();
    let mut connection = connect(&world).await;
    let mut shop = world.shop();

    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    let e = call(&world, "teapot").start_on(&mut on(&mut tx)).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Invalid, Some("TL004")));
    assert!(e.to_string().contains("at most 4 bytes, got 6"), "{e}");
    assert!(!format!("{e} {e:?}").contains("teapot"));
    tx.rollback().await.unwrap();

    let mut tx = connection.begin().await.unwrap();
    let pending = call(&world, "milk").start_on(&mut on(&mut tx)).await.unwrap();
    tx.commit().await.unwrap();
    shop.next().await.unwrap().reply("one milk").await.unwrap();
    pending.wait().await.unwrap();
    assert!(world.orders().await.is_empty());
}

#[tokio::test]
async fn nobody_who_serves_is_known_at_once() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut tx = connection.begin().await.unwrap();
    let lonely = world.trunkline.requests().call("shop", "tea");
    let e = lonely.start_on(&mut on(&mut tx)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NoResponder);
    insert(&mut tx, "tea").await;
    tx.commit().await.unwrap();
    assert_eq!(world.orders().await, ["tea"], "the transaction goes on");
}

#[tokio::test]
async fn a_pooled_connection_and_a_savepoint_serve_too_and_tasks_can_hold_them() {
    let world = World::new().await;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options(&world)).await.unwrap();
    let mut shop = world.shop();
    let (first, second, third) = (call(&world, "1"), call(&world, "2"), call(&world, "3"));
    let sent = tokio::spawn(async move {
        let mut pooled = pool.acquire().await.unwrap();
        let first = first.start_on(&mut on(&mut pooled)).await.unwrap();
        let mut tx = pooled.begin().await.unwrap();
        let mut savepoint = tx.begin().await.unwrap();
        let second = second.start_on(&mut on(&mut savepoint)).await.unwrap();
        savepoint.rollback().await.unwrap();
        let third = third.start_on(&mut on(&mut tx)).await.unwrap();
        tx.commit().await.unwrap();
        (first, second, third)
    });
    let _pending = sent.await.unwrap();
    assert_eq!(shop.next().await.unwrap().payload.bytes(), b"1");
    assert_eq!(shop.next().await.unwrap().payload.bytes(), b"3");
}

#[tokio::test]
async fn every_kind_of_parameter_arrives() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    const SQL: &str = "select $1::bigint + $2::int + length($3::text) + length($4::bytea)
        + case when $5::text is null and $6::bytea is null then 1000 else 0 end";
    let params = [
        Param::I64(1 << 40),
        Param::I32(-7),
        Param::Text(Some("täe")),
        Param::Bytes(Some(&[0, 255])),
        Param::Text(None),
        Param::Bytes(None),
    ];
    for _ in 0..2 {
        let sum = on(&mut connection).scalar(SQL, &params).await.unwrap();
        assert_eq!(sum, (1 << 40) - 7 + 3 + 2 + 1000);
    }
}

#[tokio::test]
async fn errors_keep_their_code_and_show_no_rows_or_parameters() {
    let world = World::new().await;
    world.client.batch_execute("alter table orders add unique (item)").await.unwrap();
    let mut connection = connect(&world).await;
    const SQL: &str = "with o as (insert into orders values ($1::text) returning 1::bigint) select * from o";
    let params = [Param::Text(Some("hush"))];
    on(&mut connection).scalar(SQL, &params).await.unwrap();
    let e = on(&mut connection).scalar(SQL, &params).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Other, Some("23505")));
    assert!(!format!("{e} {e:?} {e:#?}").contains("hush"), "{e:?}");
    assert!(e.source().is_none());
    let e =
        on(&mut connection).scalar("select length($1::text::json::text)::bigint", &params).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Invalid, Some("22P02")));
    assert!(!format!("{e} {e:?}").contains("hush"), "{e:?}");

    for (sql, kind, code) in [
        ("select trunkline.no_such_function()", ErrorKind::Schema, "42883"),
        ("select nowhere.f()", ErrorKind::Schema, "3F000"),
        ("select 1::bigint / 0", ErrorKind::Invalid, "22012"),
    ] {
        let e = on(&mut connection).scalar(sql, &[]).await.unwrap_err();
        assert_eq!((e.kind(), e.code()), (kind, Some(code)), "{sql}: {e}");
    }
    let e = on(&mut connection).scalar("select 1::bigint where false", &[]).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Other, None));
    let one: i64 = sqlx::query("select 1::bigint").fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(one, 1);
}

#[tokio::test]
async fn a_broken_connection_is_unreachable() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    world.end_driver().await;
    for _ in 0..2 {
        let e = call(&world, "tea").start_on(&mut on(&mut tx)).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unreachable, "{e:?}");
    }
    assert_eq!((world.orders().await.len(), world.requests().await), (0, 0));
}

#[tokio::test]
async fn a_connection_that_breaks_meanwhile_is_unreachable() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    const END: &str =
        "select (pg_terminate_backend(pg_backend_pid())::int + length(pg_sleep(20)::text))::bigint";
    let e = on(&mut connection).scalar(END, &[]).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unreachable, "{e:?}");
}

#[tokio::test]
async fn a_lease_guards_a_transaction_and_fails_that_of_a_stale_holder() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let leases = world.trunkline.leases();
    let lease = leases.acquire("shop").await.unwrap();

    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    lease.guard(&mut on(&mut tx)).await.unwrap();
    // The next holder waits for the transaction.
    drop(lease);
    let next = leases.acquire("shop").within(Duration::from_millis(200)).await;
    assert_eq!(next.unwrap_err().kind(), ErrorKind::TimedOut);
    tx.commit().await.unwrap();
    let next = tokio::time::timeout(LONG, leases.acquire("shop").into_future()).await.unwrap().unwrap();
    assert_eq!(world.orders().await, ["tea"]);

    leases.revoke("shop").await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "milk").await;
    let stale = next.guard(&mut on(&mut tx)).await.unwrap_err();
    assert_eq!((stale.kind(), stale.code()), (ErrorKind::Stale, Some("TL002")), "{stale}");
    assert!(sqlx::query("insert into orders values ('milk')").execute(&mut *tx).await.is_err(), "it failed");
    tx.rollback().await.unwrap();
    assert_eq!(world.orders().await, ["tea"]);
}

#[tokio::test]
async fn messages_go_out_with_the_commit_and_many_of_one_transaction_in_order() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let topics = world.trunkline.topics();
    let mut subscription = topics.subscribe("shop.*").await.unwrap();
    let mut next = async || tokio::time::timeout(LONG, subscription.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(next().await, Event::Connected));

    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "milk").await;
    topics.publish_on(&mut on(&mut tx), "shop.a", "rolled back").await.unwrap();
    tx.rollback().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    insert(&mut tx, "tea").await;
    for n in 1..=3 {
        topics.publish_on(&mut on(&mut tx), "shop.a", n.to_string()).await.unwrap();
    }
    topics.publish("shop.a", "committed before it").await.unwrap();
    let Event::Message(first) = next().await else { panic!("no message") };
    assert_eq!(first.text().unwrap(), "committed before it");
    tx.commit().await.unwrap();
    for n in 1..=3 {
        let Event::Message(message) = next().await else { panic!("no message") };
        assert_eq!(message.text().unwrap(), n.to_string());
    }
    assert_eq!(world.orders().await, ["tea"]);
}
