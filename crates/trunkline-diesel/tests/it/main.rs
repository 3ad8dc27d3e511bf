//! Requests and replies in the transactions of diesel-async, against a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

#[path = "../../../trunkline-sqlx/tests/it/world.rs"]
mod world;

use std::{error::Error as _, future::IntoFuture as _, time::Duration};

use diesel::result::Error as DieselError;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};
use trunkline::{
    ErrorKind,
    executor::{Executor, Param},
    leases::Lease,
    requests::{Call, Pending},
    topics::Event,
};
use trunkline_diesel::on;
use world::World;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// What a program's own error looks like.
#[derive(Debug)]
enum Failed {
    Diesel(DieselError),
    Trunkline(trunkline::Error),
}

impl From<DieselError> for Failed {
    fn from(e: DieselError) -> Self {
        Self::Diesel(e)
    }
}

impl From<trunkline::Error> for Failed {
    fn from(e: trunkline::Error) -> Self {
        Self::Trunkline(e)
    }
}

impl Failed {
    fn trunkline(self) -> trunkline::Error {
        match self {
            Self::Trunkline(e) => e,
            Self::Diesel(e) => panic!("{e:?}"),
        }
    }
}

async fn connect(world: &World) -> AsyncPgConnection {
    let settings = world::settings(&world.config) + " application_name=driver";
    AsyncPgConnection::establish(&settings).await.unwrap()
}

fn call(world: &World, payload: &str) -> Call {
    world.trunkline.requests().call("shop", payload).wait_for_responder()
}

async fn insert(connection: &mut AsyncPgConnection, item: &str) -> Result<(), DieselError> {
    let insert = diesel::sql_query("insert into orders values ($1)");
    insert.bind::<diesel::sql_types::Text, _>(item).execute(connection).await.map(drop)
}

/// Inserts the row and starts the call in one transaction.
async fn order(connection: &mut AsyncPgConnection, item: &str, call: Call) -> Result<Pending, Failed> {
    connection
        .transaction(async |c| {
            insert(c, item).await?;
            Ok(call.start_on(&mut on(c)).await?)
        })
        .await
}

#[tokio::test]
async fn a_request_goes_out_with_the_commit() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();

    let pending = connection
        .transaction(async |c| {
            insert(c, "tea").await?;
            let pending = call(&world, "tea").start_on(&mut on(c)).await?;
            assert_eq!(
                (world.orders().await.len(), world.requests().await),
                (0, 0),
                "nothing shows before the commit"
            );
            Ok::<_, Failed>(pending)
        })
        .await
        .unwrap();

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

    let late = connection
        .transaction(async |c| {
            let late = call(&world, "tea").start_on(&mut on(c)).await?;
            let early = world.ask("milk").await;
            shop.next().await.unwrap().reply("one milk").await?;
            assert_eq!(early.wait().await?.payload.bytes(), b"one milk");
            Ok::<_, Failed>(late)
        })
        .await
        .unwrap();

    let incoming = tokio::time::timeout(LONG, shop.next()).await.expect("it was taken").unwrap();
    incoming.reply("one tea").await.unwrap();
    assert_eq!(late.wait().await.unwrap().payload.bytes(), b"one tea");
}

#[tokio::test]
async fn a_request_is_gone_with_the_rollback() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();

    let mut gone = None;
    let rolled_back = connection
        .transaction(async |c| {
            insert(c, "tea").await?;
            let call = call(&world, "tea").timeout(Duration::from_millis(500));
            gone = Some(call.start_on(&mut on(c)).await?);
            Err::<(), Failed>(DieselError::RollbackTransaction.into())
        })
        .await;
    assert!(matches!(rolled_back, Err(Failed::Diesel(DieselError::RollbackTransaction))));
    let pending = order(&mut connection, "milk", call(&world, "milk")).await.unwrap();

    let incoming = shop.next().await.unwrap();
    assert_eq!(incoming.payload.bytes(), b"milk", "the first never left");
    incoming.reply("one milk").await.unwrap();
    assert_eq!(pending.wait().await.unwrap().payload.bytes(), b"one milk");
    assert_eq!(gone.unwrap().wait().await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!((world.orders().await, world.requests().await), (vec!["milk".to_owned()], 1));
}

#[tokio::test]
async fn a_reply_goes_out_with_the_row_of_its_handler() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();
    let pending = world.ask("tea").await;

    let incoming = shop.next().await.unwrap();
    connection
        .transaction(async |c| {
            insert(c, "tea").await?;
            incoming.reply_on(&mut on(c), "one tea").await?;
            assert_eq!(world.orders().await.len(), 0);
            Ok::<_, Failed>(())
        })
        .await
        .unwrap();

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
    let e = connection
        .transaction(async |c| {
            insert(c, "tea").await?;
            Ok::<_, Failed>(incoming.reply_on(&mut on(c), "one tea").await?)
        })
        .await
        .unwrap_err()
        .trunkline();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Stale, Some("TL001")));
    assert!(world.orders().await.is_empty());
}

#[tokio::test]
async fn a_refused_request_leaves_the_session_usable() {
    let world = World::new().await;
    world.client.batch_execute("select trunkline.request_open('shop', max_bytes => 4)").await.unwrap();
    let mut connection = connect(&world).await;
    let mut shop = world.shop();

    let e = order(&mut connection, "tea", call(&world, "teapot")).await.unwrap_err().trunkline();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Invalid, Some("TL004")));
    assert!(e.to_string().contains("at most 4 bytes, got 6"), "{e}");
    assert!(!format!("{e} {e:?}").contains("teapot"));

    let pending = order(&mut connection, "milk", call(&world, "milk")).await.unwrap();
    shop.next().await.unwrap().reply("one milk").await.unwrap();
    pending.wait().await.unwrap();
    assert_eq!(world.orders().await, ["milk"]);
}

#[tokio::test]
async fn nobody_who_serves_is_known_at_once() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let lonely = world.trunkline.requests().call("shop", "tea");
    connection
        .transaction(async |c| {
            let e = lonely.start_on(&mut on(c)).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::NoResponder);
            insert(c, "tea").await
        })
        .await
        .unwrap();
    assert_eq!(world.orders().await, ["tea"], "the transaction goes on");
}

#[tokio::test]
async fn no_transaction_and_a_savepoint_serve_too_and_tasks_can_hold_them() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let mut shop = world.shop();
    let (first, second, third) = (call(&world, "1"), call(&world, "2"), call(&world, "3"));
    let sent = tokio::spawn(async move {
        let first = first.start_on(&mut on(&mut connection)).await?;
        let (second, third) = connection
            .transaction(async move |c| {
                AnsiTransactionManager::begin_transaction(c).await?;
                let second = second.start_on(&mut on(c)).await?;
                AnsiTransactionManager::rollback_transaction(c).await?;
                Ok::<_, Failed>((second, third.start_on(&mut on(c)).await?))
            })
            .await?;
        Ok::<_, Failed>((first, second, third))
    });
    let _pending = sent.await.unwrap().unwrap();
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
async fn errors_show_no_rows_or_parameters() {
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
    assert_eq!((e.kind(), e.code()), (ErrorKind::Other, None));
    assert!(!format!("{e} {e:?}").contains("hush"), "{e:?}");

    connection.batch_execute("begin read only").await.unwrap();
    let e = on(&mut connection).scalar(SQL, &params).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Unsupported, Some("25006")));
    connection.batch_execute("rollback").await.unwrap();

    for sql in ["select trunkline.no_such_function()", "select 1::bigint / 0", "select 1::bigint where false"]
    {
        let e = on(&mut connection).scalar(sql, &[]).await.unwrap_err();
        assert_eq!((e.kind(), e.code()), (ErrorKind::Other, None), "{sql}: {e}");
    }
    assert_eq!(on(&mut connection).scalar("select 1::bigint", &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_broken_connection_is_unreachable() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let done = connection
        .transaction(async |c| {
            insert(c, "tea").await?;
            world.end_driver().await;
            for _ in 0..2 {
                let e = call(&world, "tea").start_on(&mut on(c)).await.unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Unreachable, "{e:?}");
            }
            Ok::<_, Failed>(())
        })
        .await;
    assert!(done.is_err());
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

/// Inserts the row under a lease.
async fn guarded(connection: &mut AsyncPgConnection, item: &str, lease: &Lease) -> Result<(), Failed> {
    connection
        .transaction(async |c| {
            insert(c, item).await?;
            Ok(lease.guard(&mut on(c)).await?)
        })
        .await
}

#[tokio::test]
async fn a_lease_guards_a_transaction_and_fails_that_of_a_stale_holder() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let leases = world.trunkline.leases();
    let lease = leases.acquire("shop").await.unwrap();
    guarded(&mut connection, "tea", &lease).await.unwrap();
    assert_eq!(world.orders().await, ["tea"]);

    leases.revoke("shop").await.unwrap();
    let stale = guarded(&mut connection, "milk", &lease).await.unwrap_err().trunkline();
    assert_eq!((stale.kind(), stale.code()), (ErrorKind::Stale, Some("TL002")), "{stale}");
    let next = tokio::time::timeout(LONG, leases.acquire("shop").into_future()).await.unwrap().unwrap();
    guarded(&mut connection, "juice", &next).await.unwrap();
    assert_eq!(world.orders().await, ["juice", "tea"]);
}

#[tokio::test]
async fn messages_go_out_with_the_commit_and_many_of_one_transaction_in_order() {
    let world = World::new().await;
    let mut connection = connect(&world).await;
    let topics = world.trunkline.topics();
    let mut subscription = topics.subscribe("shop.*").await.unwrap();
    let mut next = async || tokio::time::timeout(LONG, subscription.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(next().await, Event::Connected));

    let rolled_back = connection.transaction(async |c| {
        insert(c, "milk").await?;
        topics.publish_on(&mut on(c), "shop.a", "rolled back").await?;
        Err::<(), _>(Failed::Diesel(DieselError::RollbackTransaction))
    });
    assert!(rolled_back.await.is_err());
    let committed = connection.transaction(async |c| {
        insert(c, "tea").await?;
        for n in 1..=3 {
            topics.publish_on(&mut on(c), "shop.a", n.to_string()).await?;
        }
        topics.publish("shop.a", "committed before it").await?;
        let Event::Message(first) = next().await else { panic!("no message") };
        assert_eq!(first.text().unwrap(), "committed before it");
        Ok::<_, Failed>(())
    });
    committed.await.unwrap();
    for n in 1..=3 {
        let Event::Message(message) = next().await else { panic!("no message") };
        assert_eq!(message.text().unwrap(), n.to_string());
    }
    assert_eq!(world.orders().await, ["tea"]);
}
