//! Programs that were written for PgQ, unchanged: pgqd as the ticker, pgqueue, consumers of python3-pgq.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    pgq_support::{adapted, missing},
    support::{Cluster, Db, until, within},
};

/// The connection as libpq's key=value settings, which these programs put others behind.
fn conninfo(db: &Db) -> String {
    let of = |key: &str| {
        let from = db.url.split(&format!("{key}=")).nth(1).unwrap_or_default();
        from.split('&').next().unwrap_or_default().replace("%2F", "/").replace("%2D", "-").replace("%2E", ".")
    };
    format!("host={} port={} user={}", of("host"), of("port"), of("user"))
}

/// Debian's Python, which has Debian's modules.
async fn python(script: &str, arguments: &[String], modules: Option<&Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pgq").join(script);
    let mut command = tokio::process::Command::new("/usr/bin/python3");
    command.arg(path).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(modules) = modules {
        command.env("PYTHONPATH", modules).env("PYTHONDONTWRITEBYTECODE", "1");
    }
    let done = within(90_000, script, command.output()).await.expect("python3");
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{script}: {text}");
    text
}

fn scratch(db: &Db) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pgq-{}-{}", std::process::id(), db.name));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[tokio::test]
async fn a_program_of_pgqueue_runs_unchanged() {
    let modules = std::env::var("TRUNKLINE_TEST_PGQUEUE");
    let modules = PathBuf::from(modules.unwrap_or_else(|_| "/var/cache/trunkline-ci/pgqueue".to_owned()));
    let psycopg = Path::new("/usr/lib/python3/dist-packages/psycopg2").exists();
    if missing("pgqueue, or python3-psycopg2", psycopg && modules.join("pgqueue.py").exists()) {
        return;
    }
    let db = adapted().await;
    let dsn = format!("{} dbname={}", conninfo(&db), db.name);
    let said = python("pgqueue_client.py", &[dsn], Some(&modules)).await;
    assert!(said.contains("done 40 4 3.5"), "{said}");
}

#[tokio::test]
async fn consumers_and_cooperative_consumers_of_python3_pgq_run_unchanged() {
    let there =
        ["pgq", "skytools"].iter().all(|m| Path::new("/usr/lib/python3/dist-packages").join(m).exists());
    if missing("python3-pgq, or python3-skytools", there) {
        return;
    }
    let db = adapted().await;
    let (dsn, dir) = (format!("{} dbname={}", conninfo(&db), db.name), scratch(&db));
    let said = python("skytools_client.py", &[dsn, dir.display().to_string()], None).await;
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(said.contains("done 60 "), "{said}");
    assert_eq!(db.raw().await.one("select string_agg(co_name, ' ') from pgq.consumer").await, "shared");
}

#[tokio::test]
async fn pgqd_ticks_retries_and_rotates() {
    if missing("pgqd", Path::new("/usr/bin/pgqd").exists()) {
        return;
    }
    let (_cluster, db) = Cluster::own().await;
    let (mut raw, dir) = (db.raw().await, scratch(&db));
    trunkline::schema::install_pgq(&mut raw.client).await.unwrap();
    raw.run("select pgq.create_queue('q'), pgq.set_queue_config('q', 'ticker_max_lag', '0'), pgq.set_queue_config('q', 'rotation_period', '0'),
             pgq.register_consumer('q', 'c'), pgq.insert_event('q', 't', 'one')").await;
    let ini = dir.join("pgqd.ini");
    let log = dir.join("pgqd.log");
    let settings = format!(
        "[pgqd]\nlogfile = {}\npidfile = {}\nbase_connstr = {}\ninitial_database = {name}\ndatabase_list = {name}\n\
         check_period = 1\nretry_period = 1\nmaint_period = 1\nticker_period = 0.05\nsyslog = 0\n",
        log.display(),
        dir.join("pid").display(),
        conninfo(&db),
        name = db.name
    );
    std::fs::write(&ini, settings).unwrap();
    let mut pgqd = tokio::process::Command::new("/usr/bin/pgqd")
        .arg("-q")
        .arg(&ini)
        .kill_on_drop(true)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgqd");
    raw.run("create temp table got (data text, retry int)").await;
    let read = "do $$ declare b bigint := pgq.next_batch('q', 'c'); begin
        if b is not null then
            insert into got select ev_data, ev_retry from pgq.get_batch_events(b);
            perform pgq.event_retry(b, ev_id, 0) from pgq.get_batch_events(b) where ev_data = 'one' and ev_retry is null;
            perform pgq.finish_batch(b);
        end if; end $$";
    until("the event, and again after its retry, and a rotation", async || {
        raw.run(read).await;
        raw.one("select (select string_agg(data || coalesce(retry, 0), ' ' order by retry nulls first) from got) = 'one0 one1'
                     and (select rotations > 0 from pgq._guard)").await == "t"
    })
    .await;
    pgqd.kill().await.unwrap();
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(!log.contains("ERROR") && !log.contains("WARN") && !log.contains("bad pgq"), "{log}");
    std::fs::remove_dir_all(&dir).unwrap();
}
