//! The daemon is a clock: once a second, one round of every duty, for each database.
//!
//! It keeps no state and holds no lock: two of them at once are harmless, it may be killed at any moment, and cron with
//! `select trunkline.maintain()` or a task inside the application does the same. A database that is away is waited for;
//! one that fails stops no other.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};
use trunkline::{Trunkline, connect::Purpose, conninfo::ConnInfo};

use crate::{
    exit::Result,
    signals::stopped,
    source::{Database, Plain},
};

const BEAT: Duration = Duration::from_secs(1);
/// The longest pause between two tries to connect.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a round may take before it is reported; it goes on.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a round under way gets when it is time to stop.
const GRACE: Duration = Duration::from_secs(2);

type Stop = watch::Receiver<bool>;

/// Serves one database until it is time to stop; `first` is a handle that is connected already.
pub(crate) async fn keep(info: ConnInfo, first: Option<Trunkline>, stop: Stop) {
    let name = info.dbname().to_owned();
    let handle = match first {
        Some(handle) => handle,
        None => match connect(&info, &stop).await {
            Some(handle) => handle,
            None => return,
        },
    };
    info!(database = name, "serving");
    let mut trouble = Trouble::default();
    while !*stop.borrow() {
        // The handle reconnects by itself; a round waits for that.
        let round = timeout(PATIENCE, handle.maintain());
        tokio::select! {
            done = round => match done {
                Ok(Ok(())) => trouble.over(&name),
                Ok(Err(e)) => trouble.tell(&name, &e.to_string()),
                Err(_) => trouble.tell(&name, "the database does not answer"),
            },
            () = async { stopped(&stop).await; sleep(GRACE).await } => {}
        }
        tokio::select! {
            () = sleep(jittered(BEAT)) => {}
            () = stopped(&stop) => {}
        }
    }
    let _ = timeout(GRACE, handle.close()).await;
    info!(database = name, "stopped");
}

/// Connects, however long that takes; none when it is time to stop before.
async fn connect(info: &ConnInfo, stop: &Stop) -> Option<Trunkline> {
    let mut pause = Duration::from_millis(100);
    let mut trouble = Trouble::default();
    loop {
        tokio::select! {
            handle = Trunkline::with(info.clone()) => match handle {
                Ok(handle) => return Some(handle),
                Err(e) => trouble.tell(info.dbname(), &e.to_string()),
            },
            () = stopped(stop) => return None,
        }
        tokio::select! {
            () = sleep(jittered(pause)) => pause = (pause * 2).min(LONGEST),
            () = stopped(stop) => return None,
        }
    }
}

/// Serves every database of the server that has the schema, and looks for new ones every now and then.
pub(crate) async fn keep_all(database: Database, often: Duration, stop: Stop) {
    let mut served: HashMap<String, (watch::Sender<bool>, JoinHandle<()>)> = HashMap::new();
    let mut trouble = Trouble::default();
    while !*stop.borrow() {
        match names(&database).await {
            Ok(names) => {
                trouble.over("");
                for (gone, (end, _)) in served.iter().filter(|(name, _)| !names.contains(name)) {
                    debug!(database = gone, "no longer there");
                    end.send_replace(true);
                }
                for name in names {
                    look(&database, &name, &mut served).await;
                }
            }
            Err(e) => trouble.tell("", &e.to_string()),
        }
        served.retain(|_, (_, task)| !task.is_finished());
        let pause = if trouble.text.is_some() { LONGEST.min(often) } else { often };
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            () = stopped(&stop) => {}
        }
    }
    for (_, (end, task)) in served {
        end.send_replace(true);
        let _ = task.await;
    }
}

/// Begins to serve a database that has the schema, and ends it where the schema went away.
async fn look(
    database: &Database,
    name: &str,
    served: &mut HashMap<String, (watch::Sender<bool>, JoinHandle<()>)>,
) {
    let one = database.named(name);
    match (has_schema(&one).await, served.get(name)) {
        (Ok(true), None) => {
            let (end, ended) = watch::channel(false);
            served.insert(name.to_owned(), (end, tokio::spawn(keep(one.info, None, ended))));
        }
        (Ok(false), Some((end, _))) => {
            end.send_replace(true);
        }
        (Err(e), None) => warn!(database = name, error = %e, "cannot look into the database"),
        _ => {}
    }
}

/// Every database of the server that can be connected to.
pub(crate) async fn names(database: &Database) -> Result<Vec<String>> {
    const NAMES: &str =
        "select datname::text from pg_database where datallowconn and not datistemplate order by 1";
    let plain = database.plain(Purpose::Work).await?;
    let rows = plain.client.query_typed(NAMES, &[]).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<_, _>>()?)
}

/// Whether a database has our schema.
pub(crate) async fn has_schema(database: &Database) -> Result<bool> {
    const PRESENT: &str = "select to_regproc('trunkline._schema_version') is not null";
    let plain: Plain = database.plain(Purpose::Work).await?;
    let rows = plain.client.query_typed(PRESENT, &[]).await?;
    Ok(rows.first().map_or(Ok(false), |r| r.try_get(0))?)
}

/// Reports the same trouble once, not every second.
#[derive(Debug, Default)]
struct Trouble {
    text: Option<String>,
}

impl Trouble {
    fn tell(&mut self, database: &str, text: &str) {
        if self.text.as_deref() != Some(text) {
            warn!(database, error = text, "trying again");
            self.text = Some(text.to_owned());
        }
    }

    fn over(&mut self, database: &str) {
        if self.text.take().is_some() {
            info!(database, "all is well again");
        }
    }
}

/// Within a tenth of the pause, so that many daemons do not beat together.
fn jittered(pause: Duration) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    pause.mul_f64(0.9 + f64::from(now.subsec_nanos() % 1_000) / 5_000.0)
}
