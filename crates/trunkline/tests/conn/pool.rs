//! The pool: its bounds, and that nothing dirty is ever lent.

use super::server::{Server, shared, text, until};
use std::time::Duration;
use trunkline::{
    Error, ErrorKind,
    connect::{Pool, PoolOptions},
};

fn pool(server: &Server, name: &str, options: PoolOptions) -> Pool {
    Pool::new(server.tcp(&format!("application_name={name}")), options).unwrap()
}

fn sessions(server: &Server, name: &str, condition: &str) -> usize {
    let sql =
        format!("select count(*) from pg_stat_activity where application_name = '{name}' and {condition}");
    server.sql(&sql).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_lazily_never_exceeds_its_size_and_closes_what_is_idle() {
    let server = shared();
    let options =
        PoolOptions { max_size: 3, idle_timeout: Duration::from_millis(600), ..PoolOptions::default() };
    let pool = pool(server, "bounds", options);
    assert_eq!(sessions(server, "bounds", "true"), 0);
    // Only three at once pass.
    let gate = tokio::sync::Barrier::new(3);
    let work = (0..30).map(|_| {
        pool.with(async |client| {
            gate.wait().await;
            let seen = "select count(*) from pg_stat_activity where application_name = 'bounds'";
            Ok(text(client, seen).await)
        })
    });
    let all = tokio::time::timeout(Duration::from_secs(30), futures_util::future::try_join_all(work));
    let seen = all.await.expect("three sessions at once").unwrap();
    assert!(seen.iter().all(|n| n == "3"), "{seen:?}");
    until("idle sessions are closed", || async { sessions(server, "bounds", "true") == 0 }).await;
    assert_eq!(pool.with(async |c| Ok(text(c, "select 7").await)).await.unwrap(), "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_session_ends() {
    let server = shared();
    let options =
        PoolOptions { max_size: 1, wait_timeout: Duration::from_millis(50), ..PoolOptions::default() };
    let pool = pool(server, "waiting", options);
    let error = pool.with(async |_| pool.with(async |_| Ok(())).await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    pool.with(async |_| Ok(())).await.unwrap();
    for wrong in [
        PoolOptions { max_size: 0, ..PoolOptions::default() },
        PoolOptions { wait_timeout: Duration::ZERO, ..PoolOptions::default() },
    ] {
        assert_eq!(Pool::new(server.tcp(""), wrong).unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_commits_on_ok_and_only_then() {
    let server = shared();
    server.sql("create table outcome (n int)");
    let pool = pool(server, "outcome", PoolOptions { max_size: 1, ..PoolOptions::default() });
    let insert = "insert into outcome values (1)";
    pool.transaction(async |tx| Ok(tx.batch_execute(insert).await?)).await.unwrap();
    let kept = pool.transaction(async |tx| {
        tx.batch_execute(insert).await?;
        Err::<(), _>(Error::new(ErrorKind::Invalid, "changed my mind"))
    });
    assert_eq!(kept.await.unwrap_err().kind(), ErrorKind::Invalid);
    // An error swallowed inside: COMMIT would be answered without one.
    let broken = pool.transaction(async |tx| {
        tx.batch_execute(insert).await?;
        assert!(tx.batch_execute("select 1/0").await.is_err());
        Ok(())
    });
    assert_eq!(broken.await.unwrap_err().code(), Some("25P02"));
    assert_eq!(server.sql("select count(*) from outcome"), "1");
    pool.transaction(async |tx| Ok(tx.batch_execute(insert).await?)).await.unwrap();
    assert_eq!(server.sql("select count(*) from outcome"), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_left_open_by_hand_is_not_lent_again() {
    let server = shared();
    server.sql("create table left_open (n int)");
    let pool = pool(server, "left_open", PoolOptions { max_size: 1, ..PoolOptions::default() });
    for junk in ["begin; insert into left_open values (1)", "begin; select 1/0"] {
        let _ = pool.with(async |c| Ok(c.batch_execute(junk).await?)).await;
        pool.with(async |c| Ok(c.batch_execute("insert into left_open values (2)").await?)).await.unwrap();
    }
    assert_eq!(server.sql("select string_agg(n::text, ',') from left_open"), "2,2");
    until("no transaction is open", || async {
        sessions(server, "left_open", "state like 'idle in %'") == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_ended_is_replaced() {
    let server = shared();
    let pool = pool(server, "ended", PoolOptions { max_size: 1, ..PoolOptions::default() });
    for _ in 0..5 {
        let pid = pool.with(async |c| Ok(text(c, "select pg_backend_pid()").await)).await.unwrap();
        server.sql(&format!("select pg_terminate_backend({pid}, 5000)"));
        assert_ne!(pool.with(async |c| Ok(text(c, "select pg_backend_pid()").await)).await.unwrap(), pid);
    }
}

/// Cuts work off after a random time, many times, and then looks for what is left: a running statement, an open
/// transaction, a row that should not be there, a slot that did not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_cut_off_anywhere_leaves_nothing_behind() {
    let server = shared();
    server.sql("create table cut (n int)");
    let pool = pool(server, "cut", PoolOptions { max_size: 2, ..PoolOptions::default() });
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut cut_off = 0;
    for round in 0..150 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let limit = Duration::from_micros(if round % 3 == 0 { seed % 30_000 } else { seed % 3_000 });
        let pool = pool.clone();
        let work = tokio::spawn(async move {
            pool.transaction(async |tx| {
                tx.batch_execute("insert into cut values (1)").await?;
                tx.batch_execute("select pg_sleep(0.005)").await?;
                tx.batch_execute("insert into cut values (2)").await?;
                Ok(tx.batch_execute("select pg_sleep(600)").await?)
            })
            .await
        });
        tokio::time::sleep(limit).await;
        work.abort();
        cut_off += usize::from(work.await.is_err_and(|e| e.is_cancelled()));
    }
    assert_eq!(cut_off, 150);
    until("nothing runs", || async { sessions(server, "cut", "state <> 'idle'") == 0 }).await;
    assert_eq!(server.sql("select count(*) from cut"), "0");
    let both = futures_util::future::try_join(
        pool.with(async |c| Ok(text(c, "select 1").await)),
        pool.transaction(async |tx| Ok(tx.batch_execute("select 2").await?)),
    );
    both.await.unwrap();
    assert!(sessions(server, "cut", "true") <= 2);
}

/// A statement that takes several cancel requests to end keeps its slot until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_being_cancelled_still_counts() {
    let server = shared();
    let pool = pool(server, "stubborn", PoolOptions { max_size: 1, ..PoolOptions::default() });
    let stubborn = "do $$ begin for i in 1..6 loop begin perform pg_sleep(600); \
        exception when query_canceled then null; end; end loop; end $$";
    tokio::select! {
        done = pool.with(async |c| Ok(c.batch_execute(stubborn).await?)) => panic!("{done:?}"),
        () = until("it runs", || async { sessions(server, "stubborn", "state = 'active'") == 1 }) => {}
    }
    let active =
        "select count(*) from pg_stat_activity where application_name = 'stubborn' and state = 'active'";
    assert_eq!(pool.with(async |c| Ok(text(c, active).await)).await.unwrap(), "1");
}
