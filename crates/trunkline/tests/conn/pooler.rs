//! Through a real pgbouncer.

use super::server::{Server, free_port, guarded, info, open, own_dir, shared, text, until, write};
use std::{future::IntoFuture as _, path::Path, process::Child, time::Duration};
use trunkline::{
    ErrorKind, Trunkline,
    connect::{Pool, PoolOptions, Purpose},
    conninfo::ConnInfo,
    jobs::{Missed, Schedule},
    requests::{Failure, Request, Serve},
};

pub(crate) struct Bouncer {
    port: u16,
    _keeper: Child,
}

impl Bouncer {
    pub(crate) async fn start(server: &Server, mode: &str, more: &str) -> Self {
        let (dir, port) = (own_dir(), free_port());
        let ini = format!(
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n\
             unix_socket_dir=\nauth_type=any\npool_mode={mode}\ndefault_pool_size=2\n{more}\n",
            server.dir.display(),
            server.port
        );
        let file = dir.join("pgbouncer.ini");
        write(&file, &ini);
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(Path::new).into_iter().find(|p| p.exists());
        let keeper =
            guarded(&dir, "TERM", program.expect("pgbouncer is not installed"), &[file.to_str().unwrap()]);
        until("pgbouncer listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Self { port, _keeper: keeper }
    }

    pub(crate) fn info(&self, more: &str) -> ConnInfo {
        info(&format!("host=127.0.0.1 port={} user=postgres dbname=postgres {more}", self.port))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_refuses_options_is_used_without_and_recognised() {
    let server = shared();
    let bouncer = Bouncer::start(server, "transaction", "").await;
    // An idle pool gives the same backend each time; the key tells nevertheless.
    for _ in 0..20 {
        let session = bouncer.info("").connect(Purpose::Work).await.unwrap();
        assert!(session.server.pooled && !session.server.settings_applied && !session.may_prepare);
        tokio::spawn(session.driver);
        assert_eq!(
            text(&session.client, "select pg_backend_pid()").await,
            session.server.backend_pid.to_string()
        );
    }
    assert!(!open(&server.tcp("")).await.1.pooled);
    let theirs = bouncer.info("options='-c search_path=x'").connect(Purpose::Work).await.unwrap_err();
    assert_eq!(theirs.kind(), ErrorKind::Unsupported);
    assert!(theirs.to_string().contains("`options`"), "{theirs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_drops_options_is_recognised_too() {
    let server = shared();
    let bouncer = Bouncer::start(server, "transaction", "ignore_startup_parameters=options").await;
    let (_, facts) = open(&bouncer.info("")).await;
    assert!(facts.pooled && !facts.settings_applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_counts_as_one() {
    let bouncer = Bouncer::start(shared(), "session", "").await;
    assert!(open(&bouncer.info("")).await.1.pooled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_leaves_nothing_behind_in_the_shared_backend() {
    let server = shared();
    let bouncer = Bouncer::start(server, "transaction", "").await;
    server.sql("create database behind_pooler");
    for _ in 0..5 {
        let (client, _) = open(&bouncer.info("dbname=behind_pooler")).await;
        for name in ["lock_timeout", "statement_timeout", "idle_session_timeout"] {
            assert_eq!(text(&client, &format!("show {name}")).await, "0");
        }
        assert_eq!(text(&client, "select count(*) from pg_prepared_statements").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pool_works_and_cancels_through_a_pooler() {
    let server = shared();
    let bouncer = Bouncer::start(server, "transaction", "").await;
    server.sql("create database pool_behind_pooler");
    let pool = Pool::new(bouncer.info("dbname=pool_behind_pooler"), PoolOptions::default()).unwrap();
    let busy = || async {
        let sql =
            "select count(*) from pg_stat_activity where datname = 'pool_behind_pooler' and state <> 'idle'";
        server.sql(sql)
    };
    for _ in 0..5 {
        let work = pool.transaction(async |tx| Ok(tx.batch_execute("select pg_sleep(600)").await?));
        tokio::select! {
            done = work => panic!("{done:?}"),
            () = until("it runs", || async { busy().await == "1" }) => {}
        }
        until("nothing runs", || async { busy().await == "0" }).await;
    }
    pool.transaction(async |tx| Ok(tx.batch_execute("create table t (n int)").await?)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_replies_go_through_a_pooler() {
    let server = shared();
    let bouncer = Bouncer::start(server, "transaction", "").await;
    server.sql("create database requests_behind_pooler");
    let (mut client, _) = open(&server.tcp("dbname=requests_behind_pooler")).await;
    trunkline::schema::install(&mut client).await.unwrap();
    let pooled = bouncer.info("dbname=requests_behind_pooler");
    let plain = server.tcp("dbname=requests_behind_pooler");
    let responder = Trunkline::with(pooled.clone()).await.unwrap();
    let echo = Serve::channel("echo").types(["echo"]);
    let _serving = responder.requests().serve(echo, |q: Request| async move {
        if q.payload.bytes() == b"fail" { Err(Failure::new("asked", "as you wish")) } else { Ok(q.payload) }
    });
    for info in [pooled.clone(), plain] {
        let caller = Trunkline::with(info).await.unwrap();
        let call = |text: &'static str| {
            caller
                .requests()
                .call("echo", text)
                .kind("echo")
                .wait_for_responder()
                .timeout(Duration::from_secs(10))
        };
        // Nobody is woken behind a pooler: each side looks once a second.
        let (one, two, bad) = tokio::join!(call("one"), call("two"), call("fail"));
        assert_eq!((one.unwrap().payload.bytes(), two.unwrap().payload.bytes()), (&b"one"[..], &b"two"[..]));
        assert_eq!(bad.unwrap_err().code(), Some("asked"));
        let odd = call("x").kind("odd").await.unwrap_err();
        assert_eq!((odd.kind(), odd.code()), (ErrorKind::Remote, Some("unsupported")));
        let none = caller.requests().call("nobody", "x").await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NoResponder);
        let late = call("x").timeout(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        caller.close().await;
    }
    // And the other way: a responder with a connection of its own, a caller behind the pooler.
    responder.close().await;
    let (caller, responder) =
        (Trunkline::with(pooled).await.unwrap(), server.tcp("dbname=requests_behind_pooler"));
    let responder = Trunkline::with(responder).await.unwrap();
    let mut inbox = responder.requests().inbox("later");
    let pending = caller.requests().call("later", "x").wait_for_responder().start().await.unwrap();
    inbox.next().await.unwrap().reply("y").await.unwrap();
    assert_eq!(pending.wait().await.unwrap().payload.bytes(), b"y");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_closes_in_the_midst_of_it_leaves_no_answer_to_the_next_client() {
    let server = shared();
    let bouncer = Bouncer::start(server, "transaction", "").await;
    server.sql("create database closed_behind_pooler");
    let (mut client, _) = open(&server.tcp("dbname=closed_behind_pooler")).await;
    trunkline::schema::install(&mut client).await.unwrap();
    let pooled = bouncer.info("dbname=closed_behind_pooler");
    let hasty = |pause: u64| {
        let pooled = pooled.clone();
        async move {
            let tl = Trunkline::with(pooled).await.unwrap();
            let call = || tokio::spawn(tl.requests().call("work", "x").wait_for_responder().into_future());
            let calls: Vec<_> = (0..8).map(|_| call()).collect();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            tl.close().await;
            for call in calls {
                assert!(call.await.unwrap().is_err());
            }
        }
    };
    for round in 0..5 {
        let all: Vec<_> = (0..12).map(|n| tokio::spawn(hasty(round + n))).collect();
        for one in all {
            one.await.unwrap();
        }
    }
    let locks = "select count(*) from pg_locks l join pg_database d on d.oid = l.database \
                 where locktype = 'advisory' and datname = 'closed_behind_pooler'";
    assert_eq!(server.sql(locks), "0", "what a session holds stays on the pooler's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_are_fired_through_a_pooler() {
    let server = shared();
    let bouncer = Bouncer::start(server, "transaction", "").await;
    server.sql("create database schedules_behind_pooler");
    let (mut client, _) = open(&server.tcp("dbname=schedules_behind_pooler")).await;
    trunkline::schema::install(&mut client).await.unwrap();
    let pooled = bouncer.info("dbname=schedules_behind_pooler");
    let clocks =
        [Trunkline::with(pooled.clone()).await.unwrap(), Trunkline::with(pooled.clone()).await.unwrap()];
    let second = Schedule::new("second", "work", "* * * * * *").missed(Missed::All);
    clocks[0].jobs().schedule(second).await.unwrap();
    for clock in &clocks {
        clock.maintain().await.unwrap();
    }
    until("it to be fired", || async {
        text(&client, "select fires >= 3 from trunkline.job_schedules()").await == "t"
    })
    .await;
    clocks[0].jobs().pause_schedule("second").await.unwrap();
    let once = "select count(*) = count(distinct headers) and count(*) = (select fires from trunkline.job_schedules())
        from trunkline.job_d0";
    assert_eq!(text(&client, once).await, "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_tells_of_it() {
    let bouncer = Bouncer::start(shared(), "transaction", "").await;
    for (info, pooled) in [(bouncer.info(""), true), (shared().tcp(""), false)] {
        let session = info.connect(Purpose::Work).await.unwrap();
        tokio::spawn(session.driver);
        let old = Duration::from_secs(300);
        let found = trunkline::doctor::examine(&session.client, &session.server, old).await.unwrap();
        assert_eq!(found.iter().any(|f| f.check == "pooler"), pooled, "{found:?}");
    }
}
