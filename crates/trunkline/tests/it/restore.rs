//! A real dump, restored elsewhere: what was promised of durable requests holds there, after a repair.

use std::process::{Command, Stdio};

use trunkline::{ErrorKind, Trunkline};

use crate::support::{Cluster, Db, Raw};

/// Durable requests as a restore finds them, by their ids: one in each state.
pub struct Kept {
    answered: String,
    again: String,
    once: String,
    queued: String,
}

impl Kept {
    fn send(text: &str, idempotent: bool) -> String {
        format!(
            "select trunkline.request_send('work', '{text}', timeout => '1 h', idempotent => {idempotent})"
        )
    }

    /// Sends them; this session serves them, too.
    pub async fn fill(raw: &Raw) -> Self {
        raw.run("select trunkline.request_open('work', durable => true), trunkline.request_serve('work')")
            .await;
        let answered = raw.one(&Self::send("answered", true)).await;
        let claim = raw.one("select claim from trunkline.request_take('work')").await;
        raw.run(&format!("select trunkline.request_reply('{claim}', 'kept')")).await;
        let again = raw.one(&Self::send("again", true)).await;
        let once = raw.one(&Self::send("once", false)).await;
        assert_eq!(raw.rows("select id from trunkline.request_take('work', 9)").await.len(), 2);
        let queued = raw.one(&Self::send("queued", false)).await;
        Self { answered, again, once, queued }
    }

    /// After the repair: nothing is lost or doubled, as this session, which serves them, finds.
    pub async fn holds(&self, raw: &Raw) {
        for (id, outcome) in [(&self.answered, "ok"), (&self.once, "lost")] {
            let sql = format!("select outcome from trunkline.request_await({id}, '0')");
            assert_eq!(raw.rows(&sql).await, [outcome]);
        }
        let fresh = raw.one(&Self::send("fresh", false)).await;
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.extend(raw.rows("select id, attempt from trunkline.request_take('work', 9)").await);
        }
        assert_eq!(taken, [format!("{}|2", self.again), format!("{}|1", self.queued), format!("{fresh}|1")]);
    }
}

/// The server's own tools stand beside it.
pub fn tool(db: &Db, name: &str) -> Command {
    let path = std::fs::read_link(format!("/proc/{}/exe", db.postmaster)).expect("the server runs");
    let mut command = Command::new(path.with_file_name(name));
    command.stdin(Stdio::null());
    command
}

/// A dump of a database, restored on a server of its own that is younger.
pub async fn restored(db: &Db) -> (Cluster, Db, Raw) {
    let dump = tool(db, "pg_dump").arg(&db.url).output().expect("pg_dump");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "{}-{}.sql",
        std::process::id(),
        db.name
    ));
    std::fs::write(&file, &dump.stdout).unwrap();

    let (cluster, _) = Cluster::own().await;
    let elsewhere = cluster.empty("restored").await;
    let admin = elsewhere.raw().await;
    for role in ["reader", "writer", "admin"] {
        admin
            .run(&format!(
                "do $$ begin create role trunkline_{role}; exception when duplicate_object then null; end $$"
            ))
            .await;
    }
    let restored = tool(&elsewhere, "psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .arg(&elsewhere.url)
        .stdout(Stdio::null())
        .status()
        .expect("psql");
    assert!(restored.success());
    std::fs::remove_file(&file).unwrap();
    (cluster, elsewhere, admin)
}

#[tokio::test]
async fn a_dump_restored_on_another_server_goes_on_after_a_repair() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let kept = Kept::fill(&raw).await;
    raw.run("select trunkline.topic_publish('t', 'here')").await;
    let place = raw.one("select next from trunkline.topic_read('{t}')").await;
    let (_cluster, elsewhere, admin) = restored(&db).await;
    let refused = Trunkline::with(elsewhere.info("early")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Epoch, Some("TL008")));
    assert_eq!(admin.one("select trunkline.schema_repair()").await, "2");
    let _tl = Trunkline::with(elsewhere.info("later")).await.unwrap();
    admin.run("select trunkline.request_serve('work')").await;
    kept.holds(&admin).await;
    // A place in the other one's ring: a gap, and none of its messages.
    let told = admin
        .rows(&format!("select gap_since is null, payload from trunkline.topic_read('{{t}}', '{place}')"))
        .await;
    assert_eq!(told, ["f|"]);
}
