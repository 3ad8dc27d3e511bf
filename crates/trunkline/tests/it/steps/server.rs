//! Backends, the postmaster and the whole server as victims, with a request of each kind at each step at once.

use std::{pin::pin, process::Command};

use futures_util::future::join_all;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use trunkline::Trunkline;
use trunkline_embedded::Mode;

use super::scene::{Asked, Kind, Outcome, Responder, Scene, Step, all, ask, outcome, well};
use crate::support::{Cluster, Db, Raw, millis, secs, signal, until, within};

const STEPS: [Step; 7] =
    [Step::Write, Step::Waiting, Step::Take, Step::Handler, Step::Reply, Step::Fetch, Step::Cancel];

/// The kinds between which the others are.
const TWO: [Kind; 2] = [Kind::ALL[0], Kind::ALL[3]];

/// A request at its step, both of whose ends are here: only the server is hit.
struct Cell {
    scene: Scene,
    caller: Trunkline,
    ended: JoinHandle<Outcome>,
    responder: Option<Responder>,
    hider: Option<Raw>,
}

impl Cell {
    async fn at(db: Db, step: Step, kind: Kind, limit: u64) -> Self {
        let scene = Scene::new(db, kind, step).await;
        let caller = scene.db.client("caller").await;
        let go = !matches!(step, Step::Handler | Step::Cancel);
        let mut responder = match step {
            Step::Waiting => None,
            _ => Some(Responder::start(&scene.db, "responder", go).await),
        };
        match step {
            Step::Write => scene.gate("request", "after", "caller").await,
            Step::Take => scene.gate("take", "after", "responder").await,
            Step::Reply | Step::Fetch => scene.gate("ending", "after", "responder").await,
            Step::Cancel => scene.gate("ending", "after", "caller").await,
            _ => {}
        }
        let Asked { cancel, ended } = ask(&caller, kind.again, millis(limit), step == Step::Cancel);
        let mut hider = None;
        match (step, &mut responder) {
            (Step::Write, _) => scene.at_gate("caller").await,
            (Step::Take | Step::Reply, _) => scene.at_gate("responder").await,
            (Step::Handler, Some(r)) => r.took(&scene).await,
            (Step::Fetch, _) => {
                scene.at_gate("responder").await;
                hider = Some(scene.hide_endings("caller").await);
            }
            (Step::Cancel, Some(r)) => {
                r.took(&scene).await;
                drop(cancel);
                scene.at_gate("caller").await;
            }
            _ => scene.reaches("waiting").await,
        }
        Self { scene, caller, ended, responder, hider }
    }

    /// Lets everybody go on who can.
    async fn go(&mut self) {
        if let Some(responder) = &self.responder {
            responder.go.send_replace(true);
        } else {
            self.responder = Some(Responder::start(&self.scene.db, "responder", true).await);
        }
    }

    /// The same, and what is at the gate gets through.
    async fn release(&mut self) {
        self.scene.open().await;
        self.hider = None;
    }

    /// What holds after whatever happened: a new call is answered, and nothing ended twice.
    async fn is_well(&self) {
        well(&self.scene, &self.caller).await;
        self.scene.once().await;
    }
}

/// A server of its own, with a request of each kind at each step. It does not wait for the disk: what processes have written
/// outlives them.
async fn cells(kinds: &[Kind], limit: u64) -> (Cluster, Vec<Cell>) {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(false)).await.unwrap();
    cluster.database("template_own").await;
    let admin = Raw::open(&cluster.server.url()).await;
    let mut cells = Vec::new();
    for step in STEPS {
        for kind in kinds {
            let name = format!("own_{}", cells.len());
            admin.run(&format!("create database {name} template template_own")).await;
            let db = Db { url: cluster.server.url_for(&name), name, postmaster: cluster.server.pid() };
            cells.push(Cell::at(db, step, *kind, limit));
        }
    }
    let cells = join_all(cells).await;
    (cluster, cells)
}

/// Backends, by application.
async fn backends(cluster: &Cluster, applications: &str) -> Vec<i32> {
    let admin = Raw::open(&cluster.server.url()).await;
    let sql = format!("select pid from pg_stat_activity where application_name in ({applications})");
    admin.rows(&sql).await.iter().map(|pid| pid.parse().unwrap()).collect()
}

fn signal_all(pids: &[i32], name: &str) {
    let done = Command::new("kill").arg(name).args(pids.iter().map(i32::to_string)).output().expect("kill");
    // A server's processes come and go, and after the first was killed the postmaster ends the others.
    let gone = || pids.iter().any(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(done.status.success() || gone(), "kill {name}");
}

/// After a crash: what is not durable is lost, unless it was in doubt whether it was written, and may run twice.
async fn crashed(mut cell: Cell) {
    cell.scene.reopen().await;
    if cell.scene.step != Step::Cancel {
        cell.go().await;
    }
    let Kind { durable, again } = cell.scene.kind;
    let ended =
        outcome(&cell.scene, std::mem::replace(&mut cell.ended, tokio::spawn(std::future::pending()))).await;
    let due: &[&str] = match cell.scene.step {
        Step::Write if again => &["ok"],
        Step::Write => &["lost"],
        // Who cancels waits for a second, which the server may take to come back.
        Step::Cancel if durable => &["cancelled", "timed out"],
        Step::Cancel => &["lost", "timed out"],
        _ if durable => &["ok"],
        _ => &["lost"],
    };
    assert!(due.contains(&ended.word.as_str()), "{}: {ended:?}, not {due:?}", cell.scene);
    match (cell.scene.step, ended.word.as_str()) {
        (Step::Cancel, _) if durable => cell.scene.reaches("cancelled").await,
        (_, "ok") => assert_eq!(cell.scene.states().await, ["ok"], "{}", cell.scene),
        _ => assert_eq!(cell.scene.states().await, Vec::<String>::new(), "{}", cell.scene),
    }
    cell.go().await;
    cell.is_well().await;
}

async fn crash(how: impl FnOnce(&mut Cluster) + Send + 'static) {
    let (mut cluster, cells) = cells(&TWO, 20_000).await;
    let cluster = tokio::task::spawn_blocking(move || {
        how(&mut cluster);
        cluster
    });
    let _cluster = cluster.await.unwrap();
    all(cells.into_iter().map(crashed)).await;
}

#[tokio::test]
async fn backends_killed_at_any_step_lose_what_is_not_durable_and_nothing_else() {
    let (cluster, cells) = cells(&Kind::ALL, 20_000).await;
    signal_all(&backends(&cluster, "'caller', 'responder'").await, "-KILL");
    all(cells.into_iter().map(crashed)).await;
}

#[tokio::test]
async fn a_postmaster_killed_at_any_step_loses_what_is_not_durable_and_nothing_else() {
    crash(|cluster| {
        signal(cluster.server.pid(), "-KILL");
        cluster.restart();
    })
    .await;
}

#[tokio::test]
async fn an_immediate_stop_at_any_step_loses_what_is_not_durable_and_nothing_else() {
    crash(|cluster| {
        cluster.server.stop(Mode::Immediate).unwrap();
        cluster.restart();
    })
    .await;
}

/// Backends of one side are frozen: calls end on time, and all goes on afterwards.
async fn frozen(side: &str, limit: u64) {
    let (cluster, cells) = cells(&TWO, limit).await;
    let victims = backends(&cluster, side).await;
    signal_all(&victims, "-STOP");
    let mut cells = pin!(join_all(cells.into_iter().map(|mut cell| async move {
        cell.release().await;
        let ended =
            outcome(&cell.scene, std::mem::replace(&mut cell.ended, tokio::spawn(std::future::pending())))
                .await;
        assert!(
            ["ok", "timed out", "lost", "cancelled"].contains(&ended.word.as_str()),
            "{}: {ended:?}",
            cell.scene
        );
        cell
    })));
    // One that was frozen with a lock of the server's own holds up everybody, also who opens the gates here: not for ever.
    let ended = timeout(millis(limit) + secs(5), &mut cells).await;
    signal_all(&victims, "-CONT");
    let cells = match ended {
        Ok(cells) => cells,
        Err(_) => cells.await,
    };
    all(cells.into_iter().map(|mut cell| async move {
        cell.go().await;
        cell.is_well().await;
    }))
    .await;
}

#[tokio::test]
async fn backends_frozen_at_any_step_end_calls_on_time_and_all_goes_on() {
    // One ends while the connection counts as alive, the other when it was given up.
    tokio::join!(frozen("'caller'", 2_000), frozen("'responder'", 7_000));
}

#[tokio::test]
async fn a_frozen_postmaster_holds_up_new_connections_only() {
    let (cluster, cells) = cells(&TWO, 20_000).await;
    let victim = cluster.server.pid();
    let away = &cells[0].scene;
    let pid = away.db.backend(&away.raw, "caller").await;
    signal(victim, "-STOP");
    let begun = Instant::now();
    away.raw.run(&format!("select pg_terminate_backend({pid})")).await;
    let newcomer = away.db.info("newcomer");
    let newcomer = tokio::spawn(async move { Trunkline::with(newcomer).await.unwrap() });
    let answered = join_all(cells.into_iter().skip(1).map(|mut cell| async move {
        if cell.scene.step == Step::Waiting {
            return; // its responder would be a new connection
        }
        cell.release().await;
        cell.go().await;
        let word = if cell.scene.step == Step::Cancel { "cancelled" } else { "ok" };
        let ended = outcome(&cell.scene, cell.ended).await;
        assert_eq!(ended.word, word, "{}", cell.scene);
        while begun.elapsed() < secs(3) {
            well(&cell.scene, &cell.caller).await;
        }
        cell.scene.once().await;
    }));
    answered.await;
    assert!(!newcomer.is_finished(), "nobody comes in");
    signal(victim, "-CONT");
    let newcomer = within(5_000, "the new connection", newcomer).await.unwrap();
    drop(newcomer);
}

#[tokio::test]
async fn a_frozen_server_ends_calls_on_time_and_all_goes_on_with_it() {
    let (cluster, mut cells) = cells(&TWO, 2_000).await;
    let postmaster = cluster.server.pid();
    for cell in &mut cells {
        cell.release().await;
    }
    let children = Command::new("pgrep").args(["-P", &postmaster.to_string()]).output().unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    let mut everybody: Vec<i32> = children.lines().map(|pid| pid.parse().unwrap()).collect();
    everybody.insert(0, postmaster);
    signal_all(&everybody, "-STOP");
    let cells = join_all(cells.into_iter().map(|mut cell| async move {
        let ended =
            outcome(&cell.scene, std::mem::replace(&mut cell.ended, tokio::spawn(std::future::pending())))
                .await;
        until(&format!("{}: the connection to be given up", cell.scene), async || {
            cell.caller.address().is_none()
        })
        .await;
        (cell, ended)
    }))
    .await;
    signal_all(&everybody, "-CONT");
    all(cells.into_iter().map(|(mut cell, _)| async move {
        cell.go().await;
        cell.is_well().await;
    }))
    .await;
}
