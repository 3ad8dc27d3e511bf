//! The doctor on a real server: each finding is made to appear, with the command that mends it, and a healthy server has none.
//! What the whole server is asked, and who is connected to it, is in `doctor_server`.

use std::time::Duration;

use trunkline::{
    connect::Purpose,
    conninfo::{ConnInfo, Env},
    doctor::{Finding, Level, examine},
};

use crate::support::{Cluster, Db, Raw, shared, until};

pub const NOW: Duration = Duration::ZERO;
pub const LATER: Duration = Duration::from_secs(300);
const LOGGED: &str =
    "warning log_parameter_max_length: log_parameter_max_length is unlimited while statements are logged > ";

pub async fn findings(url: &str, old: Duration) -> Vec<Finding> {
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

pub async fn nothing(db: &Db, check: &str, old: Duration) {
    assert_eq!(of(db, check, old).await, Vec::<String>::new(), "{check}");
}

/// The database as another role sees it.
pub fn by(db: &Db, role: &str) -> Db {
    Db { url: db.url.replace("user=postgres", &format!("user={role}")), ..db.clone() }
}

pub async fn safe() -> (Cluster, Db) {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(true)).await.unwrap();
    let db = cluster.database("healthy").await;
    (cluster, db)
}

/// Changes settings of the server, for each session from now on.
pub async fn set(raw: &Raw, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        raw.run(&format!("alter system set {name} = '{value}'")).await;
    }
    raw.run("select pg_reload_conf()").await;
    for (name, value) in settings {
        raw.until(name, &format!("select setting = '{value}' from pg_settings where name = '{name}'")).await;
    }
}

async fn reset(raw: &Raw) {
    raw.run("alter system reset all").await;
    raw.run("select pg_reload_conf()").await;
    let own = "select not exists (select from pg_settings where sourcefile like '%auto.conf')";
    raw.until("the settings to be as before", own).await;
}

#[tokio::test]
async fn a_healthy_server_has_no_findings_and_each_bad_setting_is_one() {
    let (_cluster, db) = safe().await;
    let raw = db.raw().await;
    assert_eq!(findings(&db.url, LATER).await, []);
    shared().await;
    let off = |name| {
        format!("critical {name}: {name} is off > alter system set {name} = on; select pg_reload_conf();")
    };
    let unsafe_one = of(&Db::new().await, "settings", LATER).await;
    assert_eq!(unsafe_one, [off("fsync"), off("full_page_writes")]);
    for (setting, level, value) in [
        ("zero_damaged_pages", "critical", "on"),
        ("ignore_checksum_failure", "critical", "on"),
        ("synchronous_commit", "warning", "off"),
        ("autovacuum", "warning", "off"),
        ("track_counts", "warning", "off"),
        ("log_statement", "warning", "mod"),
        ("log_statement", "warning", "all"),
    ] {
        set(&raw, &[(setting, value)]).await;
        let found = of(&db, "settings", LATER).await;
        let wanted = format!("{level} {setting}: {setting} is {value}");
        let logged = if setting == "log_statement" { 2 } else { 1 };
        assert!(found.len() == logged && found.iter().any(|f| f.starts_with(&wanted)), "{found:?}");
        assert_eq!(found.iter().any(|f| f.starts_with(LOGGED)), logged == 2, "{found:?}");
        if setting != "synchronous_commit" {
            mend(&db, "settings", LATER).await;
            until("all to be well again", async || findings(&db.url, LATER).await.is_empty()).await;
        }
        reset(&raw).await;
    }
    for harmless in [
        ("synchronous_commit", "local"),
        ("log_statement", "ddl"),
        ("log_min_duration_statement", "100"),
        ("log_parameter_max_length", "100"),
    ] {
        set(&raw, &[harmless]).await;
        assert_eq!(findings(&db.url, LATER).await, [], "{harmless:?}");
    }
    set(&raw, &[("log_min_duration_statement", "0")]).await;
    nothing(&db, "settings", LATER).await;
    set(&raw, &[("log_parameter_max_length", "-1")]).await;
    let found = of(&db, "settings", LATER).await;
    assert!(found.len() == 1 && found[0].starts_with(LOGGED), "{found:?}");
    mend(&db, "settings", LATER).await;
    until("all to be well again", async || findings(&db.url, LATER).await.is_empty()).await;
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
    let remedies: Vec<_> = found.iter().map(|f| f.split(" > ").nth(1).unwrap()).collect();
    assert!(remedies[0].starts_with("restore trunkline.job_held_due from a backup;"), "{remedies:?}");
    assert_eq!(remedies[1..3], ["reindex index trunkline.job_held_over;", "trunkline schema install"]);
    raw.run("create table trunkline.job_start (queue int, key text, at timestamptz, n int)").await;
    trunkline::schema::install(&mut raw.client).await.unwrap();
    assert_eq!(of(&db, "objects", LATER).await.len(), 2, "functions are mended by the installation");
    raw.run(remedies[1]).await;
    assert_eq!(of(&db, "objects", LATER).await.len(), 1, "and the index by its remedy");
    let empty = Db::empty().await;
    let found = findings(&empty.url, LATER).await;
    assert!(found[0].check == "schema" && found[0].level == Level::Critical, "{found:?}");
    assert!(found[0].remedy.starts_with("trunkline schema install"));
    assert!(!found.iter().any(|f| f.check == "objects"));
    let sessions = found.iter().find(|f| f.check == "sessions").unwrap();
    assert_eq!((sessions.level, &*sessions.remedy), (Level::Warning, "trunkline schema install"));
}

#[tokio::test]
async fn what_lets_no_program_work_is_a_finding() {
    let cluster = shared().await;
    let db = Db::new().await;
    for (url, remedy) in [
        (by(&db, "it_unknown").url, "check the role and its password, and: select trunkline.grant_to("),
        (cluster.server.url_for("it_unknown"), "correct the settings of the connection"),
        (
            format!("{}&options=-c%20default_transaction_read_only%3Don", db.url),
            "connect to a writable primary of PostgreSQL 15 or later",
        ),
        ("host=/nowhere user=postgres".to_owned(), "start the server, and check host, port and network"),
    ] {
        let info = ConnInfo::from_str_with(&url, &Env::empty()).unwrap();
        let found = Finding::of_error(&info.connect(Purpose::Work).await.unwrap_err());
        assert_eq!((&*found.check, found.level), ("connection", Level::Critical), "{found:?}");
        assert!(found.remedy.starts_with(remedy), "{found:?}");
    }
    let raw = db.raw().await;
    raw.run("update trunkline.epoch set system_identifier = system_identifier + 1").await;
    let found = findings(&db.url, LATER).await;
    let schema: Vec<_> = found.iter().filter(|f| f.check == "schema").map(|f| &*f.remedy).collect();
    assert_eq!(schema, ["trunkline schema repair"], "{found:?}");
}

#[tokio::test]
async fn rights_that_are_too_wide_are_named() {
    let (db, raw) = crate::roles::with_roles().await;
    nothing(&db, "rights", LATER).await;
    raw.run("grant usage on schema trunkline to public; create schema mine; grant create on schema mine to public").await;
    raw.run("grant execute on function trunkline.job_list to it_nobody; grant create on schema trunkline to it_nobody").await;
    raw.run("create function trunkline._mine() returns int language sql return 1").await;
    raw.run("revoke execute on function trunkline._mine from public; grant select on trunkline.job_held to it_nobody").await;
    nothing(&db, "rights", LATER).await;
    for (given, object, may, remedy) in [
        (
            "execute on function trunkline.job_pause",
            "trunkline.job_pause(text)",
            "execute trunkline.job_pause(text)",
            "all on routine trunkline.job_pause(text)",
        ),
        (
            "select on trunkline.job_held",
            "trunkline.job_held",
            "select trunkline.job_held",
            "all on trunkline.job_held",
        ),
        (
            "update, insert on trunkline.job_held",
            "trunkline.job_held",
            "insert, update trunkline.job_held",
            "all on trunkline.job_held",
        ),
        (
            "select (payload), update (kind) on trunkline.job_held",
            "trunkline.job_held",
            "select, update trunkline.job_held",
            "all on trunkline.job_held",
        ),
        (
            "usage on sequence trunkline.session_id",
            "trunkline.session_id",
            "usage trunkline.session_id",
            "all on trunkline.session_id",
        ),
        (
            "create on schema trunkline",
            "schema trunkline",
            "create objects in the schema trunkline",
            "create on schema trunkline",
        ),
    ] {
        raw.run(&format!("grant {given} to public")).await;
        let wanted = format!("critical {object}: everybody may {may} > revoke {remedy} from public;");
        assert_eq!(of(&db, "rights", LATER).await, [wanted]);
        mend(&db, "rights", LATER).await;
        nothing(&db, "rights", LATER).await;
    }
    // Made without a word on who may call it; and a procedure.
    raw.run("create procedure trunkline._yours() language sql as ''").await;
    let found = of(&db, "rights", LATER).await;
    assert!(found.len() == 1 && found[0].contains("everybody may execute trunkline._yours()"), "{found:?}");
    mend(&db, "rights", LATER).await;
    nothing(&db, "rights", LATER).await;
}

#[tokio::test]
async fn rights_that_are_too_narrow_are_named() {
    let (db, raw) = crate::roles::with_roles().await;
    for (functions, from, many) in [
        ("trunkline.job_list, trunkline.job_queues", "reader", 2),
        ("trunkline.job_list, trunkline.job_pause", "writer", 2),
        ("trunkline.job_list, trunkline.job_pause, trunkline.job_set", "admin", 3),
    ] {
        raw.run(&format!("revoke execute on function {functions} from trunkline_{from}")).await;
        let wanted = format!(
            "warning trunkline_{from}: the role trunkline_{from} may not call {many} of our functions > \
             select trunkline.grant_to('trunkline_{from}', '{from}');"
        );
        assert_eq!(of(&db, "rights", LATER).await, [wanted]);
        mend(&db, "rights", LATER).await;
        nothing(&db, "rights", LATER).await;
    }
}

#[tokio::test]
async fn what_a_role_may_not_see_is_named() {
    let (db, _raw) = crate::roles::with_roles().await;
    let reader = by(&db, "it_reader");
    let found = of(&reader, "hidden", LATER).await;
    assert!(found.len() == 1 && found[0].contains("grant pg_monitor to it_reader;"), "{found:?}");
    assert!(found[0].starts_with("note it_reader"), "{found:?}");
    let others = findings(&reader.url, LATER).await;
    assert!(
        !others.iter().any(|f| f.finding.contains("could not be looked")),
        "a reader may look: {others:?}"
    );
    let found = findings(&by(&db, "it_nobody").url, LATER).await;
    assert!(found.iter().any(|f| f.check == "sessions" && f.remedy.contains("grant_to")), "{found:?}");
}

#[tokio::test]
async fn what_nobody_does_is_named() {
    shared().await;
    let db = Db::new().await;
    let raw = db.raw().await;
    for check in ["sessions", "schedules", "streams", "rings", "bloat"] {
        nothing(&db, check, NOW).await;
    }
    raw.run("select trunkline._session_open('just', false, '-1 minute')").await;
    nothing(&db, "sessions", LATER).await;
    raw.run("select trunkline._session_open('gone', false, '-10 minutes')").await;
    let found = of(&db, "sessions", LATER).await;
    assert!(found.len() == 1 && found[0].contains("of gone is over since"), "{found:?}");
    raw.run("select trunkline.maintain()").await;
    nothing(&db, "sessions", NOW).await;

    raw.run("select trunkline.job_open('q'), trunkline.job_schedule('nightly', 'q', '0 3 * * *', 'x')").await;
    raw.run("update trunkline.job_schedule set next_at = now() - interval '1 minute'").await;
    nothing(&db, "schedules", LATER).await;
    raw.run("update trunkline.job_schedule set next_at = now() - interval '10 minutes'").await;
    let found = of(&db, "schedules", LATER).await;
    assert!(found.len() == 1 && found[0].starts_with("critical schedule nightly"), "{found:?}");
    assert!(found[0].ends_with("> trunkline serve"), "{found:?}");
    raw.run("update trunkline.job_schedule set next_at = null, error = 'no such queue'").await;
    let found = of(&db, "schedules", LATER).await;
    assert!(found[0].starts_with("warning schedule nightly: ") && found[0].contains("cron ls"), "{found:?}");
    assert!(found[0].contains("could not be fired: no such queue"), "{found:?}");
    raw.run("select trunkline.job_schedule_pause('nightly')").await;
    nothing(&db, "schedules", NOW).await;
}

#[tokio::test]
async fn a_consumer_that_holds_its_stream_up_is_named() {
    shared().await;
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.stream_open('s'), trunkline.stream_register('s', 'late')").await;
    raw.run("update trunkline.stream set limited_by = 'late'").await;
    let remedy = " > trunkline streams consumers s  -- start the consumer, or give it up: trunkline streams unregister s late";
    let said = async |level: &str, what: &str| {
        let found = of(&db, "streams", NOW).await;
        let begin = format!("{level} stream s: {what}");
        assert!(found.len() == 1 && found[0].starts_with(&begin) && found[0].ends_with(remedy), "{found:?}");
    };
    said("critical", "the stream s takes no more: its consumer late is too slow > ").await;
    raw.run("update trunkline.stream set limited_by = null; update trunkline.stream_consumer set slow_since = now()").await;
    said("warning", "consumers of the stream s are slow: late > ").await;
    raw.run("update trunkline.stream_consumer set slow_since = null").await;
    nothing(&db, "streams", NOW).await;

    raw.run("select trunkline.stream_append('s', 'x')").await;
    raw.run("select trunkline.stream_tick('s', true)").await;
    raw.run("update trunkline.stream_tick set at = at - interval '5 minutes'").await;
    nothing(&db, "streams", NOW).await;
    raw.run("update trunkline.stream_tick set at = at - interval '8 minutes'").await;
    nothing(&db, "streams", LATER).await;
    said("warning", "the consumer late is 00:13:0").await;
    let all = findings(&db.url, NOW).await;
    let kept = all.iter().find(|f| f.check == "streams").unwrap();
    assert!(kept.consequence.ends_with("until it has read them: 8192 bytes by now"), "{kept:?}");
}

#[tokio::test]
async fn a_ring_that_is_not_emptied_is_named_and_who_holds_it() {
    shared().await;
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.job_open('q'), trunkline.job_push('q', 'x')").await;
    raw.run("update trunkline.ring set current = 1 where name = 'job_d'").await;
    raw.run("select trunkline.job_push('q', 'x')").await;
    assert_eq!(raw.one("select count(*) from trunkline.job_d1").await, "1");
    let turned = async |ago: &str| {
        raw.run(&format!("update trunkline.ring set turned_at = now() - interval '{ago}'")).await;
    };
    turned("2 minutes").await;
    nothing(&db, "rings", NOW).await;
    turned("4 minutes").await;
    nothing(&db, "rings", LATER).await;
    let found = of(&db, "rings", NOW).await;
    let begin = "warning ring job_d: segment 0 of the ring job_d (8192 bytes) is not emptied for 00:04:";
    assert!(
        found.len() == 1 && found[0].starts_with(begin) && found[0].contains(" > trunkline serve"),
        "{found:?}"
    );

    // The same table of a copy of the database has the same number.
    let (twin, number) = (Db::new().await.raw().await, "select 'trunkline.job_d0'::regclass::oid");
    assert_eq!(twin.one(number).await, raw.one(number).await);
    twin.run("begin; lock table trunkline.job_d0 in share mode").await;
    let (holder, waiter) = (db.raw().await, db.raw().await);
    holder.run("begin; lock table trunkline.job_d0 in share mode").await;
    let lock = waiter.run("begin; lock table trunkline.job_d0 in row exclusive mode");
    let look = async {
        raw.blocked(waiter.pid).await;
        turned("0").await;
        nothing(&db, "rings", LATER).await;
        let found = of(&db, "rings", NOW).await;
        let held = format!("; it is locked by session {0} > select pg_terminate_backend({0});", holder.pid);
        assert!(found.len() == 1 && found[0].ends_with(&held), "{found:?}");
        mend(&db, "rings", NOW).await;
    };
    tokio::join!(lock, look);
}

#[tokio::test]
async fn dead_rows_are_named_where_they_are_many() {
    shared().await;
    let db = Db::new().await;
    let raw = db.raw().await;
    let made = async |table: &str, all: u32, dead: u32| {
        raw.run(&format!("create table {table} (n int) with (autovacuum_enabled = false)")).await;
        raw.run(&format!("insert into {table} select generate_series(1, {all})")).await;
        raw.run(&format!("delete from {table} where n <= {dead}")).await;
    };
    made("trunkline.few", 5000, 5000).await;
    made("trunkline.part", 50000, 20000).await;
    made("public.theirs", 20000, 20000).await;
    made("trunkline.mine", 20000, 20000).await;
    raw.until("the rows to be counted", "select count(*) = 4 from pg_stat_user_tables where n_tup_del > 0")
        .await;
    let found = of(&db, "bloat", LATER).await;
    let begin = "warning mine: mine has 20000 dead rows and 0 live ones > vacuum trunkline.mine;";
    assert!(found.len() == 1 && found[0].starts_with(begin), "{found:?}");
    mend(&db, "bloat", LATER).await;
    until("it to be empty", async || of(&db, "bloat", LATER).await.is_empty()).await;
}
