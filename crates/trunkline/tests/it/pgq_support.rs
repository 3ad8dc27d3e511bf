//! For tests of the adapter: a database with it, the real PgQ on a server of its own, and the same statement in both.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use tokio_postgres::SimpleQueryMessage;

use crate::support::{Cluster, Db, Raw, until};

/// A database with the adapter.
pub async fn adapted() -> Db {
    let db = Db::empty().await;
    let mut raw = db.raw().await;
    trunkline::schema::install_pgq(&mut raw.client).await.expect("installed");
    db
}

/// The programs of a server that has the extension: Debian's `postgresql-15-pgq3`.
fn real_bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let control = |v: &Path| {
        Path::new("/usr/share/postgresql").join(v.file_name().unwrap()).join("extension/pgq.control")
    };
    versions.map(|v| v.path()).find(|v| control(v).exists()).map(|v| v.join("bin"))
}

/// Whether something of PgQ that a test needs is missing here; in continuous integration it must not be.
pub fn missing(what: &str, there: bool) -> bool {
    assert!(there || std::env::var_os("CI").is_none(), "{what} is not installed");
    if !there {
        eprintln!("not compared: {what} is not installed");
    }
    !there
}

static REAL: OnceLock<Option<Cluster>> = OnceLock::new();

/// A database with the real PgQ; `None` where it is not installed.
pub async fn real(name: &str) -> Option<Db> {
    let cluster = tokio::task::spawn_blocking(|| {
        REAL.get_or_init(|| real_bin().map(|bin| Cluster::start_of(false, Some(bin))))
    });
    let cluster = cluster.await.unwrap().as_ref();
    if missing("postgresql-15-pgq3", cluster.is_some()) {
        return None;
    }
    let db = cluster?.empty(name).await;
    let raw = db.raw().await;
    until("the roles to be there", async || raw.client.batch_execute("create extension pgq").await.is_ok())
        .await;
    Some(db)
}

/// The same calls on ours and on the real one.
pub struct Pair {
    pub ours: Raw,
    pub real: Raw,
    pub differences: Vec<String>,
    _own: Option<Cluster>,
}

impl Pair {
    pub async fn new(name: &str) -> Option<Self> {
        let real = real(name).await?.raw().await;
        Some(Self { ours: adapted().await.raw().await, real, differences: Vec::new(), _own: None })
    }

    /// With ours on a server of its own: what waits for the oldest transaction of a server waits for no other test's.
    pub async fn alone(name: &str) -> Option<Self> {
        let real = real(name).await?.raw().await;
        let (own, db) = Cluster::own().await;
        let mut ours = db.raw().await;
        trunkline::schema::install_pgq(&mut ours.client).await.expect("installed");
        Some(Self { ours, real, differences: Vec::new(), _own: Some(own) })
    }

    /// On both.
    pub async fn run(&self, sql: &str) {
        self.ours.run(sql).await;
        self.real.run(sql).await;
    }

    /// On both; what they answer, or say is wrong, is compared.
    pub async fn same(&mut self, sql: &str) {
        let (ours, real) = (answer(&self.ours, sql).await, answer(&self.real, sql).await);
        if ours != real {
            self.differences.push(format!("{sql}\n  ours: {ours}\n  real: {real}"));
        }
    }

    /// Nothing has differed.
    pub fn equal(self) {
        let found = self.differences;
        assert!(
            found.is_empty(),
            "{} differences:\n{}",
            found.len(),
            found.iter().take(20).map(|d| d.chars().take(900).collect()).collect::<Vec<String>>().join("\n")
        );
    }
}

/// The rows of a statement, or its error with the code.
async fn answer(raw: &Raw, sql: &str) -> String {
    match raw.client.simple_query(sql).await {
        Ok(rows) => rows
            .iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(r) => Some(
                    (0..r.len())
                        .map(|i| r.get(i).map_or("NULL".to_owned(), |v| format!("[{v}]")))
                        .collect::<Vec<_>>()
                        .join("|"),
                ),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Err(e) => {
            let e = e.as_db_error().expect("an error of the server");
            format!("{}: {}", e.code().code(), e.message())
        }
    }
}
