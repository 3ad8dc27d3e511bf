//! What is in force in a session, which servers are refused, several hosts, messages, cancelling.

use super::server::{free_port, info, open, shared, text, until};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_postgres::AsyncMessage;
use trunkline::{ErrorKind, connect::Purpose};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_of_the_role_do_not_reach_our_sessions() {
    let server = shared();
    server.sql("create role hurried login");
    for set in ["statement_timeout='1ms'", "idle_session_timeout='1ms'", "lock_timeout='1h'", "jit=on"] {
        server.sql(&format!("alter role hurried set {set}"));
    }
    if server.sql("show server_version_num").as_str() >= "170000" {
        server.sql("alter role hurried set transaction_timeout='1h'");
    }
    let (client, facts) = open(&server.tcp("user=hurried").with_program("test")).await;
    assert!(facts.settings_applied && !facts.pooled);
    for (name, value) in [
        ("statement_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("tcp_user_timeout", "10000"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("plan_cache_mode", "force_generic_plan"),
        ("jit", "off"),
        ("application_name", "trunkline/test"),
    ] {
        let shown = text(&client, &format!("show {name}")).await;
        assert_eq!(shown, value, "{name}");
    }
    if facts.version >= 170_000 {
        assert_eq!(text(&client, "show transaction_timeout").await, "0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_own_options_are_kept_and_win() {
    let server = shared();
    let (client, _) =
        open(&server.tcp("options='-c lock_timeout=7s -c my.note=a\\\\ b' application_name=mine")).await;
    assert_eq!(text(&client, "show lock_timeout").await, "7s");
    assert_eq!(text(&client, "show my.note").await, "a b");
    assert_eq!(text(&client, "show jit").await, "off");
    assert_eq!(text(&client, "show application_name").await, "mine");
    let wrong = server.tcp("options='-c no_such_thing=1'").connect(Purpose::Work).await.unwrap_err();
    assert!(wrong.to_string().contains("no_such_thing"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_facts_are_those_of_the_server() {
    let server = shared();
    let (client, facts) = open(&server.tcp("")).await;
    assert_eq!(facts.system.to_string(), server.sql("select system_identifier from pg_control_system()"));
    assert_eq!(facts.timeline, 1);
    assert_eq!(facts.backend_pid.to_string(), text(&client, "select pg_backend_pid()").await);
    assert_eq!(facts.version.to_string(), server.sql("show server_version_num"));
    // Nothing here needs more than the right to connect.
    server.sql("create role nobody_special login");
    open(&server.tcp("user=nobody_special")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standbys_and_read_only_sessions_are_refused_and_passed_over() {
    let primary = super::server::Server::start();
    let standby = primary.standby();
    let refused = standby.tcp("").connect(Purpose::Listen).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("is a standby"), "{refused}");
    primary.sql("create role reader login; alter role reader set default_transaction_read_only = on");
    let refused = primary.tcp("user=reader").connect(Purpose::Work).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("read-only"), "{refused}");

    let both = format!("host=localhost,localhost port={},{} user=postgres", standby.port, primary.port);
    for attrs in ["any", "read-write", "primary", "prefer-standby"] {
        let (client, _) = open(&info(&format!("{both} target_session_attrs={attrs}"))).await;
        assert_eq!(text(&client, "select inet_server_port()").await, primary.port.to_string());
    }
    for attrs in ["standby", "read-only"] {
        let settings = info(&format!("{both} target_session_attrs={attrs}"));
        assert_eq!(settings.connect(Purpose::Work).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    // The error of several hosts names each of them.
    let dead = free_port();
    let none = info(&format!("host=127.0.0.1,127.0.0.1 port={dead},{} user=postgres", standby.port));
    let error = none.connect(Purpose::Work).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains(&format!("127.0.0.1:{dead}: ")), "{error}");
    assert!(error.to_string().contains("is a standby"), "{error}");

    standby.sql("select pg_promote()");
    let (_, facts) = open(&standby.tcp("")).await;
    assert_eq!(facts.timeline, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_and_mute_hosts_are_passed_over_in_time() {
    let server = shared();
    // Accepts and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dead, mute_port) = (free_port(), mute.local_addr().unwrap().port());
    let hosts =
        format!("host=127.0.0.1,127.0.0.1,localhost port={dead},{mute_port},{} user=postgres", server.port);
    let start = Instant::now();
    let (client, _) = open(&info(&format!("{hosts} connect_timeout=1"))).await;
    assert_eq!(text(&client, "select inet_server_port()").await, server.port.to_string());
    assert!((1..6).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let (client, _) = open(&info(&format!("{hosts} connect_timeout=1 load_balance_hosts=random"))).await;
    assert_eq!(text(&client, "select 1").await, "1");
    let error =
        info(&format!("host=127.0.0.1 port={dead} user=postgres")).connect(Purpose::Work).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("refused"), "{error}");
    let error = server.tcp("dbname=no_such_database").connect(Purpose::Work).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("no_such_database"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_the_driver_sees_every_notification() {
    let server = shared();
    let mut session = server.tcp("").connect(Purpose::Listen).await.unwrap();
    assert!(session.may_prepare);
    let sender = open(&server.tcp("")).await.0;
    {
        let mut listening = std::pin::pin!(session.client.batch_execute("listen wake"));
        tokio::select! {
            done = &mut listening => done.unwrap(),
            message = session.driver.message() => panic!("{message:?}"),
        }
    }
    sender.batch_execute("notify wake, '1'; notify wake, '2'").await.unwrap();
    for payload in ["1", "2"] {
        match session.driver.message().await {
            Some(Ok(AsyncMessage::Notification(n))) => assert_eq!(n.payload(), payload),
            other => panic!("{other:?}"),
        }
    }
    drop(session.client);
    assert!(session.driver.message().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_guard_stops_its_statement() {
    let server = shared();
    for mode in ["disable", "require"] {
        let session = server
            .tcp(&format!("sslmode={mode} application_name=guarded_{mode}"))
            .connect(Purpose::Work)
            .await
            .unwrap();
        tokio::spawn(session.driver);
        let (client, guard) = (session.client, session.canceller.on_drop());
        let running = || async {
            let count = "select count(*) from pg_stat_activity where state = 'active' and application_name =";
            server.sql(&format!("{count} 'guarded_{mode}'")) == "1"
        };
        let statement = tokio::spawn(async move { client.batch_execute("select pg_sleep(600)").await });
        until("the statement runs", running).await;
        let start = Instant::now();
        drop(guard);
        let error = statement.await.unwrap().unwrap_err();
        assert_eq!(trunkline::Error::from(error).kind(), ErrorKind::Cancelled);
        assert!(start.elapsed() < Duration::from_secs(10));
        let disarmed = session.canceller.on_drop();
        disarmed.disarm();
    }
}
