//! The doctor on a real server: each finding is made to appear, with the command that mends it, and a healthy server has none.

use std::time::Duration;

use trunkline::{
    connect::Purpose,
    conninfo::{ConnInfo, Env},
    doctor::{Finding, Level, examine},
};

use trunkline_embedded::Mode;

use crate::support::{Cluster, Db, shared, until};

pub const NOW: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_secs(300);

async fn findings(url: &str, old: Duration) -> Vec<Finding> {
    let info = ConnInfo::from_str_with(url, &Env::empty()).unwrap();
    let session = info.connect(Purpose::Work).await.unwrap();
    let driver = tokio::spawn(session.driver);
    let found = examine(&session.client, &session.server, old).await.unwrap();
    drop(session.client);
    let _ = driver.await;
    found
}

/// The findings of one check, as `level object: finding > remedy`.
pub async fn of(db: &Db, check: &str, old: Duration) -> Vec<String> {
    let found = findings(&db.url, old).await;
    let said = |f: &Finding| {
        format!("{} {}: {} > {}", f.level, f.object.as_deref().unwrap_or("-"), f.finding, f.remedy)
    };
    found.iter().filter(|f| f.check == check).map(said).collect()
}

/// What the remedy says, run as it stands.
pub async fn mend(db: &Db, check: &str, old: Duration) {
    let found = findings(&db.url, old).await;
    let raw = db.raw().await;
    for f in found.iter().filter(|f| f.check == check) {
        for statement in f.remedy.split_inclusive(';') {
            raw.run(statement).await;
        }
    }
}

async fn safe() -> (Cluster, Db) {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(true)).await.unwrap();
    let db = cluster.database("healthy").await;
    (cluster, db)
}

#[tokio::test]
async fn a_healthy_server_has_no_findings_and_each_bad_setting_is_one() {
    let (_cluster, db) = safe().await;
    let raw = db.raw().await;
    assert_eq!(findings(&db.url, LATER).await, []);
    shared().await;
    let unsafe_one = of(&Db::new().await, "settings", LATER).await;
    assert!(
        unsafe_one.len() == 2 && unsafe_one[0].starts_with("critical fsync: fsync is off"),
        "{unsafe_one:?}"
    );
    for (setting, level, value) in [
        ("zero_damaged_pages", "critical", "on"),
        ("synchronous_commit", "warning", "off"),
        ("autovacuum", "warning", "off"),
        ("log_statement", "warning", "all"),
    ] {
        raw.run(&format!("alter system set {setting} = '{value}'")).await;
        raw.run("select pg_reload_conf()").await;
        let seen = async || !of(&db, "settings", LATER).await.is_empty();
        until(setting, seen).await;
        let found = of(&db, "settings", LATER).await;
        let wanted = format!("{level} {setting}: {setting} is {value}");
        assert!(found.iter().any(|f| f.starts_with(&wanted)), "{found:?}");
        raw.run(&format!("alter system reset {setting}")).await;
        raw.run("select pg_reload_conf()").await;
        until("all to be well again", async || findings(&db.url, LATER).await.is_empty()).await;
    }
    raw.run("alter system set synchronous_standby_names = 'gone'").await;
    raw.run("select pg_reload_conf()").await;
    until("the standby to be missed", async || !of(&db, "wal", LATER).await.is_empty()).await;
    assert!(of(&db, "wal", LATER).await[0].starts_with("critical synchronous_standby_names"));
}

#[tokio::test]
async fn who_keeps_the_horizon_is_named_and_the_remedy_lets_go() {
    let (_cluster, db) = safe().await;
    let (raw, idle) = (db.raw().await, db.raw().await);
    idle.run("begin isolation level repeatable read; select 1").await;
    let found = of(&db, "horizon", NOW).await;
    assert!(found.len() == 1 && found[0].contains(&format!("session {} ", idle.pid)), "{found:?}");
    assert!(found[0].contains("idle in transaction"), "{found:?}");
    assert_eq!(of(&db, "horizon", LATER).await.len(), 0, "not yet for so long");
    mend(&db, "horizon", NOW).await;
    until("it to be over", async || of(&db, "horizon", NOW).await.is_empty()).await;

    raw.run("begin; select pg_current_xact_id(); prepare transaction 'lost one'").await;
    let found = of(&db, "horizon", NOW).await;
    assert!(found.len() == 1 && found[0].contains("rollback prepared 'lost one'"), "{found:?}");
    mend(&db, "horizon", NOW).await;

    assert_eq!(of(&db, "horizon", NOW).await.len(), 0);
}

#[tokio::test]
async fn a_slot_that_nobody_uses_is_named() {
    let (mut cluster, db) = safe().await;
    cluster.settings = cluster.settings.clone().setting("wal_level", "logical");
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.server.stop(Mode::Fast).unwrap();
        cluster.restart();
        cluster
    });
    let _cluster = cluster.await.unwrap();
    let raw = db.raw().await;
    raw.run("select pg_create_physical_replication_slot('bare')").await;
    assert_eq!(findings(&db.url, LATER).await, [], "a slot that keeps nothing");
    raw.run("select pg_create_logical_replication_slot('gone', 'test_decoding')").await;
    let found = of(&db, "horizon", LATER).await;
    assert!(found.len() == 1 && found[0].contains("pg_drop_replication_slot('gone')"), "{found:?}");
    mend(&db, "horizon", LATER).await;
    assert_eq!(findings(&db.url, LATER).await, []);
}

#[tokio::test]
async fn missing_and_changed_objects_are_named() {
    shared().await;
    let db = Db::new().await;
    let mut raw = db.raw().await;
    assert_eq!(of(&db, "objects", LATER).await.len(), 0);
    raw.run("drop function trunkline.job_pause; drop index trunkline.job_held_due; drop table trunkline.job_start").await;
    raw.run("create or replace function trunkline._epoch() returns int language plpgsql stable as 'begin return 1; end'").await;
    raw.run("update pg_index set indisvalid = false where indexrelid = 'trunkline.job_held_over'::regclass")
        .await;
    let found = of(&db, "objects", LATER).await;
    let seen: Vec<_> = found.iter().map(|f| f.split(" > ").next().unwrap()).collect();
    assert_eq!(
        seen,
        [
            "critical job_held_due: the table or index job_held_due is missing",
            "critical job_held_over: the index job_held_over is not valid",
            "critical job_pause: the function job_pause is missing",
            "critical job_start: the table or index job_start is missing",
            "warning _epoch: the function _epoch is not the one of this version",
        ]
    );
    raw.run("create table trunkline.job_start (queue int, key text, at timestamptz, n int)").await;
    trunkline::schema::install(&mut raw.client).await.unwrap();
    assert_eq!(of(&db, "objects", LATER).await.len(), 2, "functions are mended by the installation");
    let empty = Db::empty().await;
    let found = findings(&empty.url, LATER).await;
    assert!(found[0].check == "schema" && found[0].level == Level::Critical, "{found:?}");
    assert!(found[0].remedy.starts_with("trunkline schema install"));
    assert!(!found.iter().any(|f| f.check == "objects"));
}

#[tokio::test]
async fn rights_that_are_too_wide_or_too_narrow_are_named() {
    let (db, raw) = crate::roles::with_roles().await;
    assert_eq!(of(&db, "rights", LATER).await.len(), 0);
    raw.run("grant execute on function trunkline.job_pause to public; grant select on trunkline.job_held to public").await;
    raw.run("grant create on schema trunkline to public; revoke execute on function trunkline.job_list from trunkline_reader").await;
    let found = of(&db, "rights", LATER).await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[3].starts_with("warning trunkline_reader"), "{found:?}");
    mend(&db, "rights", LATER).await;
    assert_eq!(of(&db, "rights", LATER).await.len(), 0);

    let reader = Db { url: db.url.replace("user=postgres", "user=it_reader"), ..db.clone() };
    let found = of(&reader, "hidden", LATER).await;
    assert!(found.len() == 1 && found[0].contains("grant pg_monitor to it_reader;"), "{found:?}");
    let others = findings(&reader.url, LATER).await;
    assert!(
        !others.iter().any(|f| f.finding.contains("could not be looked")),
        "a reader may look: {others:?}"
    );
    let nobody = Db { url: db.url.replace("user=postgres", "user=it_nobody"), ..db.clone() };
    let found = findings(&nobody.url, LATER).await;
    assert!(found.iter().any(|f| f.check == "sessions" && f.remedy.contains("grant_to")), "{found:?}");
}

#[tokio::test]
async fn what_nobody_does_is_named() {
    shared().await;
    let db = Db::new().await;
    let raw = db.raw().await;
    let all = ["sessions", "schedules", "streams", "rings", "bloat"];
    for check in all {
        assert_eq!(of(&db, check, NOW).await.len(), 0, "{check}");
    }
    raw.run("select trunkline._session_open('gone', false, '-1 hour')").await;
    let found = of(&db, "sessions", LATER).await;
    assert!(found.len() == 1 && found[0].contains("of gone is over since"), "{found:?}");
    raw.run("select trunkline.maintain()").await;
    assert_eq!(of(&db, "sessions", LATER).await.len(), 0);

    raw.run("select trunkline.job_open('q'), trunkline.job_schedule('nightly', 'q', '0 3 * * *', 'x')").await;
    raw.run("update trunkline.job_schedule set next_at = now() - interval '1 hour'").await;
    let found = of(&db, "schedules", LATER).await;
    assert!(found.len() == 1 && found[0].starts_with("critical schedule nightly"), "{found:?}");
    raw.run("update trunkline.job_schedule set next_at = null, error = 'no such queue'").await;
    assert!(of(&db, "schedules", LATER).await[0].contains("could not be fired: no such queue"));

    raw.run("select trunkline.stream_open('s'), trunkline.stream_register('s', 'late')").await;
    raw.run("update trunkline.stream set limited_by = 'late'").await;
    let found = of(&db, "streams", LATER).await;
    assert!(
        found.len() == 1 && found[0].starts_with("critical stream s: the stream s takes no more"),
        "{found:?}"
    );

    raw.run(
        "select trunkline.job_push('q', 'x'); update trunkline.ring set current = 1 where name = 'job_d'",
    )
    .await;
    let holder = db.raw().await;
    holder.run("begin; select count(*) from trunkline.job_d0").await;
    let found = of(&db, "rings", NOW).await;
    assert!(
        found.len() == 1 && found[0].contains(&format!("pg_terminate_backend({});", holder.pid)),
        "{found:?}"
    );

    raw.run("insert into trunkline.job_unique select 1, g::text, g, now() from generate_series(1, 20000) g")
        .await;
    raw.run("delete from trunkline.job_unique").await;
    let seen = async || !of(&db, "bloat", LATER).await.is_empty();
    until("the dead rows to be counted", seen).await;
    assert!(
        of(&db, "bloat", LATER).await[0].starts_with("warning job_unique: job_unique has 20000 dead rows")
    );
}
