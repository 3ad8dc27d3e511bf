//! What every step needs: gates that hold a victim's statement, a responder that says what happens to it, and calls.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot, watch,
    },
    task::{JoinHandle, JoinSet, LocalSet},
    time::Instant,
};
use trunkline::{ErrorKind, Trunkline, requests::Serve};

use crate::support::{Db, Raw, late, millis, until, within};

/// How many milliseconds late a call may end on a busy machine, with dozens of processes beside it: as in the storm.
pub const GRACE: i64 = 500;

/// What the request is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub durable: bool,
    pub again: bool,
}

impl Kind {
    pub const ALL: [Self; 4] = [
        Self { durable: false, again: false },
        Self { durable: false, again: true },
        Self { durable: true, again: false },
        Self { durable: true, again: true },
    ];

    /// The ring, as it is in the names of tables.
    fn ring(self) -> char {
        if self.durable { 'd' } else { 'e' }
    }
}

/// Where a request is when something happens to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Before,
    Write,
    Waiting,
    Take,
    Handler,
    Reply,
    Replied,
    Fetch,
    Cancel,
    Expiry,
}

/// A database of one request, with a gate.
pub struct Scene {
    pub db: Db,
    pub raw: Raw,
    holder: Raw,
    pub kind: Kind,
    pub step: Step,
}

impl Scene {
    pub async fn new(db: Db, kind: Kind, step: Step) -> Self {
        let (raw, holder) = (db.raw().await, db.raw().await);
        raw.run(&format!("select trunkline.request_open('work', durable => {})", kind.durable)).await;
        raw.run(
            "create function public.gate() returns trigger language plpgsql as $$
             begin
                 while not pg_try_advisory_xact_lock_shared(77, 7) loop
                     perform pg_sleep(0.005);
                 end loop;
                 return new;
             end $$",
        )
        .await;
        holder.run("select pg_advisory_lock(77, 7)").await;
        Self { db, raw, holder, kind, step }
    }

    /// From now on inserts of an application wait `before` or `after` the row is there.
    pub async fn gate(&self, table: &str, when: &str, application: &str) {
        for segment in 0..2 {
            self.raw
                .run(&format!(
                    "create trigger gate {when} insert on trunkline.{table}_{}{segment} for each row
                     when (current_setting('application_name') = '{application}') execute function public.gate()",
                    self.kind.ring()
                ))
                .await;
        }
    }

    pub async fn at_gate(&self, application: &str) {
        let what = format!("{self} to be at the gate");
        self.raw
            .until(
                &what,
                &format!(
                    "select exists (select from pg_stat_activity where datname = current_database()
                        and application_name = '{application}' and wait_event = 'PgSleep')"
                ),
            )
            .await;
    }

    pub async fn open(&self) {
        self.holder.run("select pg_advisory_unlock(77, 7)").await;
    }

    /// Lets nobody read endings until the session given back ends its transaction; what is at the gate gets through.
    pub async fn hide_endings(&self, caller: &str) -> Raw {
        let hider = self.db.raw().await;
        let pid = hider.pid;
        let lock =
            format!("begin; lock table trunkline.ending_{}0 in access exclusive mode", self.kind.ring());
        let locking = tokio::spawn(async move {
            hider.run(&lock).await;
            hider
        });
        self.raw.blocked(pid).await;
        self.open().await;
        let hider = within(5_000, "the lock", locking).await.unwrap();
        self.raw
            .until(
                &format!("{self}: the fetch to wait"),
                &format!(
                    "select exists (select from pg_stat_activity where datname = current_database()
                        and application_name = '{caller}' and wait_event_type = 'Lock')"
                ),
            )
            .await;
        hider
    }

    /// Waits for a state of the request, the first there was.
    pub async fn reaches(&self, state: &str) {
        self.raw
            .until(
                &format!("{self} to be {state}"),
                &format!("select (select state from trunkline.request_list('work') order by id limit 1) is not distinct from '{state}'"),
            )
            .await;
    }

    /// Every state that the database has of the channel's requests.
    pub async fn states(&self) -> Vec<String> {
        self.raw.rows("select state from trunkline.request_list('work') order by id").await
    }

    /// No request of this database ended twice.
    pub async fn once(&self) {
        let twice = "select count(*) from (
            select id from (select id, part, status from trunkline.ending_e0 union all select id, part, status from trunkline.ending_e1
                  union all select id, part, status from trunkline.ending_d0 union all select id, part, status from trunkline.ending_d1) e
             where part = 0 and status not in (6, 7) group by id having count(*) > 1) t";
        assert_eq!(self.raw.one(twice).await, "0", "{self}: ended twice");
    }

    pub async fn buried(&self, application: &str) {
        let gone =
            format!("select not exists (select from trunkline.session where application = '{application}')");
        until(&format!("{self}: the session of {application} to be buried"), async || {
            self.raw.run("select trunkline._session_reap()").await;
            self.raw.one(&gone).await == "t"
        })
        .await;
    }

    /// New sessions, after the server lost the others.
    pub async fn reopen(&mut self) {
        let url = self.db.url.clone();
        // Before it has noticed, it lets everybody in.
        until("the server to end its sessions", async || self.raw.client.is_closed()).await;
        until("the server to be back", async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok()
        })
        .await;
        self.raw = self.db.raw().await;
    }
}

impl std::fmt::Display for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.step, self.kind)
    }
}

/// How a call ended, in the words of the database.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub word: String,
    /// Who answered: the name and the attempt.
    pub by: String,
    /// Milliseconds after the deadline, by a [`Stopwatch`](crate::support::Stopwatch); mostly negative.
    pub late: i64,
}

impl Outcome {
    pub fn line(&self) -> String {
        format!("{}|{}|{}", self.word, self.by, self.late)
    }

    pub fn parse(line: &str) -> Self {
        let mut fields = line.split('|').map(str::to_owned);
        let mut next = || fields.next().unwrap();
        Self { word: next(), by: next(), late: next().parse().unwrap() }
    }
}

/// A call under way; the sender cancels it.
pub struct Asked {
    pub cancel: oneshot::Sender<()>,
    pub ended: JoinHandle<Outcome>,
}

/// Calls, and waits for the outcome; or, where it is to be cancelled, for the word to do so.
pub fn ask(tl: &Trunkline, again: bool, limit: Duration, to_cancel: bool) -> Asked {
    let (cancel, cancelled) = oneshot::channel();
    let call = tl.requests().call("work", "x").wait_for_responder().timeout(limit);
    let call = if again { call.idempotent() } else { call };
    let ended = tokio::spawn(async move {
        let deadline = Instant::now() + limit;
        let (outcome, late) = late(limit, async {
            match call.start().await {
                Ok(pending) if to_cancel => {
                    let _ = cancelled.await;
                    pending.cancel().await
                }
                Ok(pending) => pending.wait().await,
                Err(e) => Err(e),
            }
        })
        .await;
        let early = deadline.saturating_duration_since(Instant::now());
        let late = late.as_millis() as i64 - early.as_millis() as i64;
        match outcome {
            Ok(reply) => Outcome { word: "ok".into(), by: reply.text().unwrap_or_default().into(), late },
            Err(e) => Outcome { word: e.kind().to_string(), by: String::new(), late },
        }
    });
    Asked { cancel, ended }
}

/// What a responder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A request came: its id and its attempt.
    Took(i64, i32),
    /// That there is no use in going on.
    Told(i64),
    /// Whether its answer was accepted.
    Answered(i64, Result<(), ErrorKind>),
}

/// A responder within this process: it answers once `go` is true, whatever it is told meanwhile.
pub struct Responder {
    pub tl: Trunkline,
    pub go: watch::Sender<bool>,
    pub said: UnboundedReceiver<Said>,
    pump: JoinHandle<()>,
}

impl Responder {
    pub async fn start(db: &Db, name: &'static str, go: bool) -> Self {
        let tl = db.client(name).await;
        let mut inbox = tl.requests().inbox(Serve::channel("work").concurrency(8));
        inbox.ready().await.unwrap();
        let (says, said) = mpsc::unbounded_channel();
        let go = watch::Sender::new(go);
        let waiting = go.clone();
        let pump = tokio::spawn(async move {
            while let Some(incoming) = inbox.next().await {
                tokio::spawn(answer(name, incoming, waiting.subscribe(), says.clone()));
            }
        });
        Self { tl, go, said, pump }
    }

    /// The next thing that it says.
    pub async fn says(&mut self, scene: &Scene) -> Said {
        within(10_000, &format!("{scene}: the responder to say something"), self.said.recv()).await.unwrap()
    }

    pub async fn took(&mut self, scene: &Scene) {
        let said = self.says(scene).await;
        assert!(matches!(said, Said::Took(..)), "{scene}: {said:?}");
    }

    /// What else it said.
    pub fn rest(&mut self) -> Vec<Said> {
        std::iter::from_fn(|| self.said.try_recv().ok()).collect()
    }

    pub async fn stop(self) {
        self.pump.abort();
        self.tl.close().await;
    }
}

async fn answer(
    name: &'static str,
    incoming: trunkline::requests::Incoming,
    mut go: watch::Receiver<bool>,
    says: UnboundedSender<Said>,
) {
    let id = incoming.id;
    let _ = says.send(Said::Took(id, incoming.attempt));
    tokio::select! {
        biased;
        _ = go.wait_for(|g| *g) => {}
        () = incoming.cancelled() => {
            let _ = says.send(Said::Told(id));
        }
    }
    let _ = go.wait_for(|g| *g).await;
    let text = format!("{name} {}", incoming.attempt);
    let answered = incoming.reply(text).await;
    let _ = says.send(Said::Answered(id, answered.map_err(|e| e.kind())));
}

/// Waits for an outcome that is due at some time.
pub async fn outcome(scene: &Scene, asked: JoinHandle<Outcome>) -> Outcome {
    let outcome = within(25_000, &format!("{scene}: an outcome"), asked).await.unwrap();
    assert!(outcome.late <= GRACE, "{scene}: {} ms late: {outcome:?}", outcome.late);
    outcome
}

/// A new call is answered: whoever was hit goes on.
pub async fn well(scene: &Scene, caller: &Trunkline) -> Outcome {
    let after = outcome(scene, ask(caller, false, millis(15_000), false).ended).await;
    assert_eq!(after.word, "ok", "{scene}: a call after it");
    after
}

/// How many cells run at once: each has three processes, and their limits are those of a machine that is not short of itself.
const AT_ONCE: usize = 8;

/// Runs cells beside one another, to the end of each, and fails with all that failed.
pub fn all<F: Future<Output = ()> + 'static>(cells: impl Iterator<Item = F>) -> impl Future<Output = ()> {
    let here = LocalSet::new();
    let mut running = JoinSet::new();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    cells.for_each(|cell| {
        let slot = slots.clone().acquire_owned();
        let cell = async move {
            let _slot = slot.await;
            cell.await;
        };
        drop(running.spawn_local_on(cell, &here));
    });
    async move {
        let ends = here.run_until(async {
            let mut failed = 0;
            while let Some(cell) = running.join_next().await {
                failed += i32::from(cell.is_err());
            }
            failed
        });
        assert_eq!(ends.await, 0, "cells that failed, see above");
    }
}
