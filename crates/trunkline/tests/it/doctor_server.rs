//! The doctor, asked of a whole server: who keeps its horizon, its WAL or its commits, and how old it is. A standby is played by hand.

use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixStream, process::CommandExt as _},
    time::Duration,
};

use tokio_postgres::{Row, types::Type};
use trunkline_embedded::Mode;

use crate::{
    doctor::{LATER, NOW, by, findings, mend, nothing, of, safe, set},
    restore::tool,
    support::{Cluster, Db, Raw, shared, until},
};

/// The server again, with these settings, after something was done while it was down.
async fn again(
    mut cluster: Cluster,
    settings: &[(&str, &str)],
    down: impl FnOnce(&Cluster) + Send + 'static,
) -> Cluster {
    for (name, value) in settings {
        cluster.settings = cluster.settings.clone().setting(*name, *value);
    }
    let again = tokio::task::spawn_blocking(move || {
        cluster.server.stop(Mode::Fast).unwrap();
        down(&cluster);
        cluster.restart();
        cluster
    });
    again.await.unwrap()
}

/// What a standby says to its server, said by hand: it follows from the end of the WAL. Without
/// a slot it has all that ever comes; a slot keeps what it has not.
struct Standby(UnixStream);

impl Standby {
    async fn start(cluster: &Cluster, raw: &Raw, name: &str, slot: &str) -> Self {
        let path = cluster.server.host().join(format!(".s.PGSQL.{}", cluster.server.port()));
        let mut standby = Self(UnixStream::connect(path).unwrap());
        let mut hello = 196_608_i32.to_be_bytes().to_vec();
        hello.extend(format!("user\0postgres\0replication\0true\0application_name\0{name}\0\0").bytes());
        standby.say(b"", &hello);
        standby.heard(b'Z');
        let end = raw.one("select pg_current_wal_flush_lsn()").await;
        let from = if slot.is_empty() { String::new() } else { format!("SLOT {slot}") };
        standby.say(b"Q", format!("START_REPLICATION {from} PHYSICAL {end}\0").as_bytes());
        standby.heard(b'W');
        if slot.is_empty() {
            standby.say(b"d", &[&b"r"[..], &[0x7f; 24], &[0; 9]].concat());
        }
        standby
    }

    /// Its feedback: which row versions its queries, and its logical slots, may still see.
    fn keeps(&mut self, xmin: u32, catalog_xmin: u32) {
        let (xmin, catalog) = (xmin.to_be_bytes(), catalog_xmin.to_be_bytes());
        self.say(b"d", &[&b"h"[..], &[0; 8], &xmin, &[0; 4], &catalog, &[0; 4]].concat());
    }

    fn say(&mut self, kind: &[u8], body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.0.write_all(&[kind, &length, body].concat()).unwrap();
    }

    fn heard(&mut self, kind: u8) {
        let mut head = [0; 5];
        while head[0] != kind {
            self.0.read_exact(&mut head).unwrap();
            let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
            self.0.read_exact(&mut body).unwrap();
            assert_ne!(head[0], b'E', "{}", String::from_utf8_lossy(&body));
        }
    }
}

/// The number that the next transaction gets.
async fn next_xid(raw: &Raw) -> u32 {
    raw.one("select pg_snapshot_xmax(pg_current_snapshot())").await.parse().unwrap()
}

#[tokio::test]
async fn a_synchronous_standby_that_is_not_there_is_missed() {
    let (cluster, db) = safe().await;
    let raw = db.raw().await;
    raw.run("create role plain login noinherit in role pg_monitor").await;
    let plain = by(&db, "plain");
    assert_eq!(of(&plain, "hidden", LATER).await.len(), 1, "the role does not inherit");
    set(&raw, &[("synchronous_standby_names", "gone")]).await;
    let missed = async || {
        let found = of(&db, "wal", LATER).await;
        assert!(found.iter().all(|f| f.starts_with("critical synchronous_standby_names: commits wait")));
        found.len() == 1
    };
    assert!(missed().await);
    nothing(&plain, "wal", LATER).await;
    for (commit, hangs) in [("local", false), ("off", false), ("on", true)] {
        set(&raw, &[("synchronous_commit", commit)]).await;
        assert_eq!(missed().await, hangs, "{commit}");
    }
    let state = |name: &str, state: &str| {
        format!(
            "select exists (select from pg_stat_replication where application_name = '{name}'
               and state = 'streaming' and sync_state = '{state}')"
        )
    };
    let _other = Standby::start(&cluster, &raw, "other", "").await;
    raw.until("another standby", &state("other", "async")).await;
    assert!(missed().await, "another standby does not help");
    let _gone = Standby::start(&cluster, &raw, "gone", "").await;
    raw.until("the standby", &state("gone", "sync")).await;
    assert!(!missed().await);
    set(&raw, &[("synchronous_standby_names", "ANY 1 (gone)")]).await;
    raw.until("the quorum", &state("gone", "quorum")).await;
    assert!(!missed().await);
}

#[tokio::test]
async fn who_keeps_the_horizon_is_named_and_the_remedy_lets_go() {
    let (cluster, db) = safe().await;
    let (raw, idle) = (db.raw().await, db.raw().await);
    let other = cluster.empty("other").await;
    let (blank, reading, writing) = (db.raw().await, other.raw().await, other.raw().await);
    blank.run("begin; select 1").await;
    reading.run("begin isolation level repeatable read; select 1").await;
    nothing(&db, "horizon", NOW).await;
    writing.run("begin; select pg_current_xact_id()").await;
    let found = of(&db, "horizon", NOW).await;
    let named =
        format!("warning session {0}: session {0} (no name, postgres) keeps the horizon", writing.pid);
    assert!(found.len() == 1 && found[0].starts_with(&named), "{found:?}");
    writing.run("commit").await;

    idle.run("set application_name = 'nightly'; begin isolation level repeatable read; select 1").await;
    let found = of(&db, "horizon", NOW).await;
    let named = format!("session {} (nightly, postgres) keeps the horizon", idle.pid);
    assert!(found.len() == 1 && found[0].contains(&named), "{found:?}");
    assert!(found[0].contains("its last statement began 00:00:0"), "{found:?}");
    assert!(found[0].contains("idle in transaction"), "{found:?}");
    nothing(&db, "horizon", LATER).await;
    let old = format!(
        "select clock_timestamp() - xact_start > '1 s' from pg_stat_activity where pid = {}",
        idle.pid
    );
    raw.until("it to be open for a second", &old).await;
    idle.run("select 2").await;
    assert_eq!(
        of(&db, "horizon", Duration::from_secs(1)).await.len(),
        1,
        "its transaction is as old as it was"
    );
    mend(&db, "horizon", NOW).await;
    until("it to be over", async || of(&db, "horizon", NOW).await.is_empty()).await;

    raw.run("begin; select pg_current_xact_id(); prepare transaction 'lost''s one'").await;
    let found = of(&db, "horizon", NOW).await;
    assert!(found.len() == 1 && found[0].contains("rollback prepared 'lost''s one'"), "{found:?}");
    nothing(&db, "horizon", LATER).await;
    mend(&db, "horizon", NOW).await;
    nothing(&db, "horizon", NOW).await;
}

#[tokio::test]
async fn a_slot_that_nobody_uses_is_named() {
    let (cluster, db) = safe().await;
    let cluster = again(cluster, &[("wal_level", "logical"), ("wal_init_zero", "off")], |_| {}).await;
    let raw = db.raw().await;
    raw.run("select pg_create_physical_replication_slot('bare')").await;
    assert_eq!(findings(&db.url, LATER).await, [], "a slot that keeps nothing");
    raw.run("select pg_create_logical_replication_slot('gone', 'test_decoding')").await;
    let found = of(&db, "horizon", LATER).await;
    assert!(found.len() == 1 && found[0].contains("pg_drop_replication_slot('gone')"), "{found:?}");
    mend(&db, "horizon", LATER).await;
    assert_eq!(findings(&db.url, LATER).await, []);

    raw.run("select pg_create_physical_replication_slot('far', true)").await;
    let wal = async |segments: u32| {
        raw.run(&format!(
            "do $$ begin for n in 1 .. {segments} loop
                perform pg_logical_emit_message(false, '', 'x'), pg_switch_wal(); end loop; end $$"
        ))
        .await;
    };
    let slot = |name: &str, what: &str| {
        format!("select {what} from pg_replication_slots where slot_name = '{name}'")
    };
    let xid = next_xid(&raw).await;
    let mut used = Vec::new();
    for (name, catalog, kept) in
        [("bare", 0, "xmin is not null"), ("far", xid - 500, "catalog_xmin is not null")]
    {
        let mut standby = Standby::start(&cluster, &raw, name, name).await;
        standby.keeps(xid - 10, catalog);
        raw.until("it to keep the horizon", &slot(name, kept)).await;
        used.push(standby);
    }
    wal(10).await;
    assert_eq!(findings(&db.url, LATER).await, [], "slots in use");
    drop(used);
    for name in ["bare", "far"] {
        raw.until("it to be left", &slot(name, "not active")).await;
    }
    nothing(&db, "wal", LATER).await;
    let found = of(&db, "horizon", LATER).await;
    let back = |n: usize| {
        let (_, back) = found[n].split_once("is not used, and keeps the horizon ").expect(&found[n]);
        back.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert!(found.len() == 2 && (10..500).contains(&back(0)) && back(1) >= 500, "{found:?}");

    wal(60).await;
    let found = of(&db, "wal", LATER).await;
    assert!(found.len() == 1 && found[0].contains("slot far is not used, and keeps 1"), "{found:?}");
    let standby = Standby::start(&cluster, &raw, "far", "far").await;
    nothing(&db, "wal", LATER).await;
    drop(standby);
    raw.until("it to be left", &slot("far", "not active")).await;
    mend(&db, "wal", LATER).await;
    mend(&db, "horizon", LATER).await;
    assert_eq!(findings(&db.url, LATER).await, []);
}

#[tokio::test]
async fn a_database_near_the_end_of_its_numbers_is_told_and_a_standby_that_is_far_behind() {
    let (mut cluster, db) = Cluster::own().await;
    let ages =
        [("autovacuum_freeze_max_age", "2000000000"), ("autovacuum_multixact_freeze_max_age", "2000000000")];
    let xids = |millions: u32| millions << 20;
    for (millions, level) in [(100, None), (600, Some("warning")), (1500, Some("critical"))] {
        let db = Db { postmaster: cluster.server.pid(), ..db.clone() };
        let mut jump = tool(&db, "pg_resetwal");
        let multixacts = xids(millions + 50);
        jump.args(["-x", &xids(millions).to_string(), "-m", &format!("{multixacts},1")]);
        cluster = again(cluster, &ages, move |cluster| {
            let dir = cluster.server.data_dir().join("db");
            let owner = std::fs::metadata(&dir).unwrap();
            let done = jump.arg(&dir).uid(owner.uid()).gid(owner.gid()).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        })
        .await;
        let found = of(&db, "wraparound", LATER).await;
        let Some(level) = level else {
            assert!(found.is_empty(), "{found:?}");
            continue;
        };
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with(&format!(
                "{level} multixact: the oldest multixact number of this database is {} old",
                multixacts - 1
            )),
            "{found:?}"
        );
        assert!(
            found[1].starts_with(&format!(
                "{level} transaction: the oldest transaction number of this database is "
            )),
            "{found:?}"
        );
    }
    let raw = db.raw().await;
    raw.run("select pg_create_physical_replication_slot('own')").await;
    // Who has a slot keeps the horizon by it, and is not seen to do so himself.
    for (name, slot, where_seen) in [
        ("far", "", "pg_stat_replication where backend_xmin"),
        ("near", "own", "pg_replication_slots where slot_name = 'own' and xmin"),
    ] {
        let mut standby = Standby::start(&cluster, &raw, name, slot).await;
        let xid = next_xid(&raw).await;
        for (back, told) in [(5_000_000, true), (500_000, false)] {
            standby.keeps(xid - back, 0);
            let said = format!("select exists (select from {where_seen} = '{}')", xid - back);
            raw.until("the standby to be heard", &said).await;
            for old in [NOW, LATER] {
                let found = of(&db, "horizon", old).await;
                let one = match slot {
                    "" => format!("warning standby {name}: "),
                    _ => format!("warning slot {slot}: the physical replication slot {slot} is used by pid "),
                };
                assert_eq!(found.iter().any(|f| f.starts_with(&one)), told, "{found:?}");
            }
        }
    }
}

#[tokio::test]
async fn who_does_not_read_a_result_is_no_listener() {
    shared().await;
    let db = Db::new().await;
    let (raw, reader) = (db.raw().await, db.raw().await);
    let much = "select repeat('x', 1000000) from generate_series(1, 100)";
    let _unread = reader.client.simple_query_raw(much).await.unwrap();
    let stuck = format!("select wait_event = 'ClientWrite' from pg_stat_activity where pid = {}", reader.pid);
    raw.until("the server to wait for the reader", &stuck).await;
    let found = of(&db, "notify", NOW).await;
    assert!(!found.iter().any(|f| f.contains(&format!("session {} ", reader.pid))), "{found:?}");
}

/// What a check says if the server told something else: an expression of its query is replaced, for want of such a server.
async fn supposed(raw: &Raw, sql: &str, asked: &str, told: &str) -> Vec<String> {
    assert!(sql.contains(asked), "{asked}");
    let rows = raw.client.query_typed(&sql.replace(asked, told), &[(&300.0, Type::FLOAT8)]).await.unwrap();
    let text = |row: &Row, column| row.get::<_, String>(column);
    rows.iter().map(|r| ["level", "finding", "consequence"].map(|c| text(r, c)).join(": ")).collect()
}

#[tokio::test]
async fn a_server_below_the_floor_of_its_major_version_is_told() {
    shared().await;
    let raw = Db::new().await.raw().await;
    let (sql, asked) =
        (include_str!("../../sql/doctor/version.sql"), "current_setting('server_version_num')::int");
    for (number, told) in [(140_000, 0), (150_000, 1), (159_999, 0), (160_000, 1), (180_000, 1), (189_999, 0)]
    {
        let found = supposed(&raw, sql, asked, &number.to_string()).await;
        assert_eq!(found.len(), told, "{number}");
        let mended = format!("are mended in {}.", number / 10_000);
        assert!(found.iter().all(|f| f.starts_with("warning") && f.contains(&mended)), "{found:?}");
    }
}

#[tokio::test]
async fn a_queue_of_notify_that_fills_up_is_told() {
    shared().await;
    let raw = Db::new().await.raw().await;
    let (sql, asked) =
        (include_str!("../../sql/doctor/notify.sql"), "pg_catalog.pg_notification_queue_usage()");
    for (used, level) in [("0.09", ""), ("0.1", "warning"), ("0.49", "warning"), ("0.5", "critical")] {
        let found = supposed(&raw, sql, asked, used).await;
        let found: Vec<_> = found.iter().filter_map(|f| f.split_once(": the queue of NOTIFY is ")).collect();
        assert_eq!(found.first().map_or("", |(level, _)| level), level, "{used}: {found:?}");
    }
}
