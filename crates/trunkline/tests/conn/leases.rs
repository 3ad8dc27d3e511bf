//! Leases across standbys, fail-over, poolers and cut cables.

use std::{
    future::IntoFuture as _,
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::NoTls;
use trunkline::{
    ErrorKind, Trunkline,
    conninfo::ConnInfo,
    leases::{Lease, Loss},
};

use super::{
    cable::{Cable, Passes},
    pooler::Bouncer,
    server::{Server, info, open, shared, text, until},
};

const LONG: Duration = Duration::from_secs(15);

/// A database of this server with the schema.
async fn schema(server: &Server, name: &str) -> tokio_postgres::Client {
    server.sql(&format!("create database {name}"));
    let (mut client, _) = open(&server.tcp(&format!("dbname={name}"))).await;
    trunkline::schema::install(&mut client).await.unwrap();
    client
}

async fn trunkline(info: ConnInfo) -> Trunkline {
    Trunkline::with(info).await.unwrap()
}

/// Begins to wait for the lease `l`, and is in its queue when this returns; then: when it had it.
async fn queued(raw: &tokio_postgres::Client, tl: &Trunkline) -> JoinHandle<(Lease, Instant)> {
    let leases = tl.leases();
    let waiting = tokio::spawn(async move { (leases.acquire("l").await.unwrap(), Instant::now()) });
    let queue = "select count(*) from trunkline.lease_waiters('l')";
    until("it to wait", || async { text(raw, queue).await == "1" }).await;
    waiting
}

/// SQLSTATE of a statement.
async fn code(client: &tokio_postgres::Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(_) => "00000".into(),
        Err(e) => e.code().map_or_else(|| e.to_string(), |c| c.code().to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_leads_on_a_standby() {
    let primary = Server::start();
    let raw = schema(&primary, "leases").await;
    let id = "00000000-0000-4000-8000-000000000001";
    let calls = [
        format!("select trunkline.lease_acquire('l', '{id}', '1 min')"),
        format!("select trunkline.lease_renew('l', '{id}', 1, '1 min')"),
        "select trunkline.lease_check('l', 1)".to_owned(),
        "select trunkline.lease_resign('l')".to_owned(),
        format!("select trunkline.lease_release('l', '{id}', 1)"),
    ];
    assert_eq!(text(&raw, &calls[0]).await, "1");
    let standby = primary.standby();
    let url = format!("host=127.0.0.1 port={} user=postgres dbname=leases", standby.port);
    let (there, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    for call in &calls {
        assert_eq!(code(&there, call).await, "25006", "{call}");
    }
    let refused = Trunkline::with(standby.tcp("dbname=leases")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("is a standby"), "{refused}");

    standby.sql("select pg_promote()");
    assert_eq!(code(&there, &calls[0]).await, "00000", "it is this holder's still");
    raw.batch_execute("select trunkline.lease_resign('l', true)").await.unwrap();
    there.batch_execute("select trunkline.schema_repair()").await.unwrap();
    assert_eq!(code(&there, &calls[2]).await, "TL002", "of another history");
    let tl = trunkline(standby.tcp("dbname=leases")).await;
    let lease = timeout(LONG, tl.leases().acquire("l").into_future()).await.unwrap().unwrap();
    assert!(lease.fence() >= 1 << 40, "{}", lease.fence());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_the_fence_is_above_all_that_were_ever_handed_out() {
    let primary = Server::start();
    let raw = schema(&primary, "leases").await;
    let standby = primary.standby();
    // One is cut off together with the old primary; the other finds its way to the new one.
    let cable = Cable::to(primary.port).await;
    let cut =
        trunkline(info(&format!("host=127.0.0.1 port={} user=postgres dbname=leases", cable.port))).await;
    let hosts = format!(
        "host=127.0.0.1,127.0.0.1 port={},{} user=postgres dbname=leases",
        primary.port, standby.port
    );
    let free = trunkline(info(&hosts)).await;
    drop(cut.leases().acquire("l").await.unwrap());
    let caught_up =
        "select pg_last_wal_replay_lsn() is not null and (select count(*) from trunkline.lease) > 0";
    let url = format!("host=127.0.0.1 port={} user=postgres dbname=leases", standby.port);
    let (there, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    until("the standby to follow", || async { text(&there, caught_up).await == "t" }).await;
    // What happens from here on the standby never hears of.
    standby.sql("alter system set primary_conninfo = ''");
    standby.sql("select pg_reload_conf()");
    let alone = "select count(*) from pg_stat_wal_receiver";
    until("the standby to be alone", || async { text(&there, alone).await == "0" }).await;
    for _ in 0..3 {
        cut.leases().acquire("l").await.unwrap().resign().await.unwrap();
    }
    let lease = cut.leases().acquire("l").await.unwrap();
    let known: i64 = text(&there, "select fence from trunkline.lease").await.parse().unwrap();
    assert!(lease.fence() > known, "{} was not replicated", lease.fence());
    let waiting = queued(&raw, &free).await;

    cable.passes(Passes::Nothing);
    drop(raw);
    drop(primary);
    standby.sql("select pg_promote()");
    there.batch_execute("select trunkline.schema_repair()").await.unwrap();
    let until_when = lease.valid_until().unwrap();
    let loss = timeout(LONG, lease.lost()).await.unwrap();
    let lost = Instant::now();
    assert_eq!(loss, Loss::Silent);
    assert!(lost < until_when + Duration::from_millis(500), "{:?} late", lost - until_when);
    assert!(!lease.is_valid());
    let (taken, _) = timeout(LONG, waiting).await.unwrap().unwrap();
    assert!(taken.fence() > lease.fence(), "{} after {}", taken.fence(), lease.fence());
    let (mut client, _) = open(&standby.tcp("dbname=leases")).await;
    let tx = client.transaction().await.unwrap();
    assert_eq!(lease.guard(&mut &tx).await.unwrap_err().kind(), ErrorKind::Stale);
    tx.rollback().await.unwrap();
    let tx = client.transaction().await.unwrap();
    taken.guard(&mut &tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_stops_before_the_next_one_starts_whichever_way_is_cut() {
    let server = shared();
    let raw = schema(server, "leases_cut").await;
    let free = trunkline(server.tcp("dbname=leases_cut")).await;
    for what in [Passes::Nothing, Passes::Answers, Passes::Questions] {
        let cable = Cable::to(server.port).await;
        let url = format!("host=127.0.0.1 port={} user=postgres dbname=leases_cut", cable.port);
        let cut = trunkline(info(&url)).await;
        let lease = timeout(LONG, cut.leases().acquire("l").into_future()).await.unwrap().unwrap();
        let waiting = queued(&raw, &free).await;
        let since = Instant::now();
        cable.passes(what);
        assert_eq!(timeout(LONG, lease.lost()).await.unwrap(), Loss::Silent, "{what:?}");
        let lost = Instant::now();
        let (next, taken) = timeout(LONG, waiting).await.unwrap().unwrap();
        println!(
            "only {what:?} passes: stopped after {:?}, the next one has it after {:?}",
            lost - since,
            taken - since
        );
        assert!(lost < taken, "{what:?}: it stops before the next one starts");
        assert!(taken - since < Duration::from_secs(6), "{what:?}: {:?}", taken - since);
        assert!(next.fence() > lease.fence());
        let (mut client, _) = open(&server.tcp("dbname=leases_cut")).await;
        let tx = client.transaction().await.unwrap();
        assert_eq!(lease.guard(&mut &tx).await.unwrap_err().kind(), ErrorKind::Stale);
        drop(tx);
        // The cable is mended: what was said too late changes nothing.
        cable.passes(Passes::All);
        assert!(!lease.is_valid());
        drop(lease);
        let again = timeout(LONG, cut.leases().try_acquire("l")).await.unwrap().unwrap();
        assert!(again.is_none() || !next.is_valid(), "{what:?}: two have it");
        next.resign().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_held_behind_a_pooler_of_either_kind() {
    let server = shared();
    for mode in ["transaction", "session"] {
        let name = format!("leases_behind_{mode}");
        let raw = schema(server, &name).await;
        let bouncer = Bouncer::start(server, mode, "default_pool_size=6").await;
        let pooled = || bouncer.info(&format!("dbname={name}"));
        let (one, two) = (trunkline(pooled()).await, trunkline(pooled()).await);
        let lease = one.leases().acquire("l").await.unwrap();
        assert!(two.leases().try_acquire("l").await.unwrap().is_none(), "{mode}");
        let waiting = queued(&raw, &two).await;
        // A guard in a transaction of the application's, through the pooler as well.
        let (mut client, _) = open(&pooled()).await;
        let tx = client.transaction().await.unwrap();
        lease.guard(&mut &tx).await.unwrap();
        tx.commit().await.unwrap();
        let resigned = Instant::now();
        lease.resign().await.unwrap();
        let (next, taken) = timeout(LONG, waiting).await.unwrap().unwrap();
        println!("{mode} pooling: had it {:?} after the release", taken - resigned);
        assert!(taken - resigned < Duration::from_millis(2500), "{mode}: who hears no ring looks");
        assert_eq!(next.fence(), 2);
        // Plain SQL, which keeps nothing between its statements.
        let id = "00000000-0000-4000-8000-000000000001";
        let acquire = format!("select trunkline.lease_acquire('m', '{id}', '1 min')");
        assert_eq!(text(&client, &acquire).await, "1");
        assert_eq!(
            text(&client, &format!("select trunkline.lease_renew('m', '{id}', 1, '1 min')")).await,
            "t"
        );
        two.leases().revoke("l").await.unwrap();
        assert_eq!(timeout(LONG, next.lost()).await.unwrap(), Loss::Taken, "{mode}");
        // Nothing of theirs stays on the pooler's sessions, which others get.
        let vigils = format!(
            "select count(*) from pg_stat_activity where datname = '{name}' and application_name like '%vigil'"
        );
        assert_eq!(server.sql(&vigils), "0", "{mode}");
        one.close().await;
        two.close().await;
        let keys = format!(
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database
              where locktype = 'advisory' and datname = '{name}'"
        );
        assert_eq!(server.sql(&keys), "0", "{mode}");
    }
}
