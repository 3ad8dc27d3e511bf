//! The task that keeps the connection, and the session on it.
//!
//! ```text
//!            connect, open or resume the session, LISTEN, hold the doors
//!   [down] ──────────────────────────────────────────────────────────────▶ [up] ── publish link, wake everybody
//!     ▲                                                                      │
//!     └── backoff with jitter ◀── connection ended, or a renewal failed ─────┘
//! ```
//! Guarantees: LISTEN comes before the first look, on every connection; after a reconnect everybody looks once.
//! A renewal is also the heartbeat, every second and a half or, at rest (`rest.rs`), every thirty: a half-open connection is
//! dropped when it does not answer within five seconds, or, where leases are held, when its session's time is over. Doors are held for as long as the connection lives, so every producer rings.
//!
//! What if it dies here: before LISTEN nobody rings, and nobody looked; after LISTEN and before the look, the look
//! follows; a session whose process is gone is buried by the next reaper, in any process.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, error::Elapsed, sleep, sleep_until, timeout},
};
use tokio_postgres::{AsyncMessage, types::Type};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    ANSWER, Args, LEASE, Link, Listener, Moment, Notification, Pace, Rest, lock, presence::Presence, turned,
};
use crate::{
    Error, ErrorKind, Result,
    connect::{Driver, Purpose},
    conninfo::ConnInfo,
};

const UNREAD: Duration = Duration::from_millis(100);

/// The rings are never analyzed, so the planner is told: plans of the engine's functions use their indexes, always.
pub(super) const PLANS: &str = "set search_path = pg_catalog, pg_temp; set enable_seqscan = off; set enable_bitmapscan = off; set plan_cache_mode = force_generic_plan; set jit = off; set idle_session_timeout = '100s'; set default_transaction_isolation = 'read committed'";
/// The role, if it has rights on the tables, as owners and admins do; `trunkline.direct = off` does without them.
/// A frozen process says nothing: its connection, and the keys that it holds, end after a while.
const DIRECT: &str = "select case when has_table_privilege('trunkline.take_e0', 'insert') and coalesce(current_setting('trunkline.direct', true), '') <> 'off' then coalesce(nullif(current_setting('role', true), 'none'), session_user) end";
const OPEN: &str =
    "select id, address from trunkline._session_open($1, $2, make_interval(secs => $3), $4, $5)";
const RESUME: &str = "select trunkline._session_resume($1, $2, $3, make_interval(secs => $4), $5)";
const RENEWAL: &str = "select trunkline._session_renew($1, make_interval(secs => $2), $3, $4, $5)";
const CLOSE: &str = "select trunkline._session_close($1)::text";
const HOLD: &str = "select trunkline._door_hold($1)";
const LEAVE: &str = "select trunkline._door_leave($1)";
const MARK: &str = "select trunkline._door_mark()::text";
const UNSETTLED: &str = "select trunkline._door_unsettled($1::text::xid8, $2::text[]::xid8[], $3)::text[]";

/// The task that keeps the connection.
pub(super) struct Keeper {
    pub(super) info: ConnInfo,
    pub(super) application: String,
    pub(super) listener: Arc<Listener>,
    pub(super) link: watch::Sender<Option<Arc<Link>>>,
    pub(super) session: Option<(i32, Uuid)>,
    pub(super) generation: u64,
}

impl Keeper {
    pub(super) async fn run(mut self, first: (Arc<Link>, Driving)) {
        let mut next = Some(first);
        let mut pause = Duration::from_millis(50);
        while !*self.listener.closing.borrow() {
            let connected = match next.take() {
                Some(c) => Ok(c),
                None => self.connect().await,
            };
            match connected {
                Ok((link, driving)) => {
                    pause = Duration::from_millis(50);
                    self.attend(&link, driving).await;
                    self.listener.presence.send_modify(Presence::cut);
                    self.link.send_replace(None);
                }
                Err(e) => {
                    debug!(error = %e, "cannot connect");
                    self.listener.failure.send_replace(Some(e.to_string()));
                    self.wait(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(3));
                }
            }
        }
        self.listener.rest.send_modify(Rest::ended);
    }

    /// Waits between half and the whole of `pause`, unless we are closing.
    async fn wait(&self, pause: Duration) {
        let jitter = pause.mul_f64(0.5 + f64::from(Uuid::new_v4().as_bytes()[0]) / 512.0);
        let mut closing = self.listener.closing();
        tokio::select! {
            () = sleep(jitter) => {}
            () = turned(&mut closing) => {}
        }
    }

    pub(super) async fn connect(&mut self) -> Result<(Arc<Link>, Driving)> {
        let session = self.info.connect(Purpose::Listen).await?;
        let driving = drive(session.driver, self.listener.clone());
        let pooled = session.server.pooled;
        self.generation += 1;
        let mut link = Link {
            client: session.client,
            session: 0,
            address: Uuid::nil(),
            generation: self.generation,
            resumed: false,
            segments: AtomicI32::new(0),
            well_at: Mutex::new(SystemTime::now()),
            direct: None,
            pooled,
            gate: Semaphore::new(Link::GATE as usize),
            may_prepare: session.may_prepare,
            statements: Mutex::default(),
        };
        let asked = Moment::now();
        let setup = async {
            crate::schema::check(&link.client).await?;
            if !pooled {
                link.client.batch_execute(PLANS).await?;
                if link.may_prepare {
                    link.direct = link.value(DIRECT, &[]).await?;
                }
            }
            self.present(&mut link, !pooled).await
        };
        timeout(ANSWER * 2, setup)
            .await
            .map_err(|_| Error::new(ErrorKind::Unreachable, "the database did not answer within 10 s"))??;
        if pooled {
            warn!(
                "behind a transaction pooler: no wake-ups, looking once a second; give a direct URL to be fast"
            );
        }
        self.listener.presence.send_modify(|p| p.renewed(asked, Moment::now()));
        info!(session = link.session, resumed = link.resumed, "connected");
        Ok((Arc::new(link), driving))
    }

    /// Opens a session, or takes up the one we had.
    async fn present(&mut self, link: &mut Link, watched: bool) -> Result<()> {
        let mut pace = Pace::Work;
        self.listener.rest.send_modify(|r| pace = r.begin(link.pooled));
        let (lease, rests) = (pace.lease(), pace.unwatched());
        if let Some((id, address)) = self.session {
            let args: &Args<'_> = &[
                (&id, Type::INT4),
                (&address, Type::UUID),
                (&watched, Type::BOOL),
                (&lease, Type::FLOAT8),
                (&rests, Type::BOOL),
            ];
            if link.value::<bool>(RESUME, args).await? {
                (link.session, link.address, link.resumed) = (id, address, true);
                return Ok(());
            }
        }
        let args: &Args<'_> = &[
            (&self.application.as_str(), Type::TEXT),
            (&watched, Type::BOOL),
            (&lease, Type::FLOAT8),
            (&rests, Type::BOOL),
            (&env!("CARGO_PKG_VERSION"), Type::TEXT),
        ];
        let rows = link.query(OPEN, args).await?;
        let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Other, "no session was opened"))?;
        (link.session, link.address) = (row.try_get(0)?, row.try_get(1)?);
        self.session = Some((link.session, link.address));
        Ok(())
    }

    /// Serves one connection until it ends.
    async fn attend(&mut self, link: &Arc<Link>, mut driving: Driving) {
        let mut wanted = self.listener.wanted.subscribe();
        let mut channels = self.listener.channels.subscribe();
        let mut closing = self.listener.closing();
        let (mut heard, mut listened) = (BTreeSet::new(), BTreeSet::new());
        let mut rest = self.listener.rest.subscribe();
        let mut renewal = Instant::now();
        wanted.mark_changed();
        channels.mark_changed();
        let mut published = false;
        loop {
            let step = tokio::select! {
                _ = &mut driving.0 => break,
                () = turned(&mut closing) => {
                    let _ = timeout(ANSWER, link.drained(CLOSE, &[(&link.session, Type::INT4)])).await;
                    break;
                }
                Ok(()) = wanted.changed() => {
                    let doors = wanted.borrow_and_update().clone();
                    answered(ANSWER, self.hear(link, &mut heard, doors)).await
                }
                Ok(()) = channels.changed() => {
                    let names = channels.borrow_and_update().keys().cloned().collect();
                    answered(ANSWER, self.listen(link, &mut listened, names)).await
                }
                () = async { _ = rest.wait_for(Rest::changes).await } => self.renewed(link, &mut renewal).await,
                () = sleep_until(renewal) => self.renewed(link, &mut renewal).await,
            };
            match step {
                Ok(Ok(())) => {}
                Ok(Err(e)) => {
                    warn!(error = %e, "connection given up");
                    break;
                }
                Err(_) => {
                    warn!("no answer in time, connection given up");
                    break;
                }
            }
            if !published {
                published = true;
                self.link.send_replace(Some(link.clone()));
                self.listener.ring_all();
            }
        }
        driving.0.abort();
    }

    /// Says "still here". Whoever holds leases, and is not answered, ends its connection when its session's time is over, so that the
    /// server knows as well, which may still hear it.
    async fn renewed(&mut self, link: &Link, next: &mut Instant) -> Result<Result<()>, Elapsed> {
        let holds = self.listener.rest.borrow().holds();
        let patience = if holds { LEASE - Pace::Hold.renewal() } else { ANSWER };
        answered(patience, self.renew(link, next)).await
    }

    /// Says "still here", and whether anything is in hand; `next` becomes when to say so again.
    async fn renew(&mut self, link: &Link, next: &mut Instant) -> Result<()> {
        let (asked, begun, sent) = (Moment::now(), SystemTime::now(), Instant::now());
        let mut pace = Pace::Work;
        if !link.pooled {
            self.listener.rest.send_modify(|r| pace = r.decide());
        }
        *next = sent + pace.renewal();
        let (queues, jobs) = self.listener.told();
        let args: &Args<'_> = &[
            (&link.session, Type::INT4),
            (&pace.lease(), Type::FLOAT8),
            (&pace.unwatched(), Type::BOOL),
            (&queues, Type::TEXT_ARRAY),
            (&jobs, Type::INT4),
        ];
        let segments: Option<i32> = link.value(RENEWAL, args).await?;
        let Some(segments) = segments else {
            self.session = None;
            return Err(Error::new(ErrorKind::Stale, "the session was buried meanwhile"));
        };
        self.listener.presence.send_modify(|p| p.renewed(asked, Moment::now()));
        link.segments.store(segments, Ordering::Relaxed);
        *lock(&link.well_at) = begun;
        self.listener.rest.send_modify(|r| r.answered(pace));
        debug!(took = ?sent.elapsed(), ?pace, "renewed");
        Ok(())
    }

    /// Listens to these channels of other people's and to no more, and says so.
    async fn listen(
        &self,
        link: &Link,
        listened: &mut BTreeSet<String>,
        names: BTreeSet<String>,
    ) -> Result<()> {
        if link.pooled {
            if !names.is_empty() {
                warn!("behind a transaction pooler nobody else's notifications are heard");
            }
            return Ok(());
        }
        let sql: String = commands("listen", names.difference(listened))
            .chain(commands("unlisten", listened.difference(&names)))
            .collect();
        if !sql.is_empty() {
            link.client.batch_execute(&sql).await?;
        }
        listened.clone_from(&names);
        self.listener.listening.send_replace((link.generation, names));
        Ok(())
    }

    /// LISTEN first, then hold the door, then whoever waits looks; and again when the door has settled.
    async fn hear(&self, link: &Arc<Link>, heard: &mut BTreeSet<i32>, doors: BTreeSet<i32>) -> Result<()> {
        if link.pooled {
            // LISTEN and a key would stay on the pooler's session, for whoever gets it next.
            return Ok(());
        }
        for door in heard.difference(&doors) {
            link.client.batch_execute(&format!("unlisten \"trunkline_{door}\"")).await?;
            link.query(LEAVE, &[(door, Type::INT4)]).await?;
        }
        heard.retain(|door| doors.contains(door));
        let fresh: Vec<i32> = doors.difference(heard).copied().collect();
        for door in &fresh {
            link.client.batch_execute(&format!("listen \"trunkline_{door}\"")).await?;
        }
        for door in &fresh {
            let mut held: bool = link.value(HOLD, &[(door, Type::INT4)]).await?;
            let mut pause = Duration::from_millis(1);
            while !held && pause < Duration::from_millis(100) {
                sleep(pause).await;
                held = link.value(HOLD, &[(door, Type::INT4)]).await?;
                pause *= 2;
            }
            if !held {
                warn!(door, "the door's key is held by somebody else; looking once a second instead");
            }
            heard.insert(*door);
            self.listener.ring(*door);
        }
        if !fresh.is_empty() {
            tokio::spawn(settle(link.clone(), self.listener.clone(), fresh));
        }
        Ok(())
    }
}

/// LISTEN or UNLISTEN for each of these channels.
fn commands<'a>(
    verb: &'a str,
    names: impl Iterator<Item = &'a String> + 'a,
) -> impl Iterator<Item = String> + 'a {
    names.map(move |name| format!("{verb} \"{}\";", name.replace('"', "\"\"")))
}

/// Waits for an answer for so long, and a moment more: what came while this process was frozen has yet to be read.
async fn answered<T>(patience: Duration, statement: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut statement = pin!(statement);
    match timeout(patience, &mut statement).await {
        Err(_) => timeout(UNREAD, statement).await,
        answered => answered,
    }
}

/// The hand-over from awake to asleep: who tested a door before it was held commits silently. They are among the
/// transactions in progress below a mark drawn now; until all have ended we look from time to time, and once after.
pub(super) async fn settle(link: Arc<Link>, listener: Arc<Listener>, doors: Vec<i32>) {
    let settled = async {
        let mark: String = link.value(MARK, &[]).await?;
        let mut waiting: Option<Vec<String>> = None;
        let mut pause = Duration::from_millis(2);
        loop {
            let late = pause > Duration::from_millis(100);
            let args: &Args<'_> = &[(&mark, Type::TEXT), (&waiting, Type::TEXT_ARRAY), (&late, Type::BOOL)];
            let left: Vec<String> = link.value(UNSETTLED, args).await?;
            doors.iter().for_each(|d| listener.ring(*d));
            if left.is_empty() {
                return Ok::<(), Error>(());
            }
            waiting = Some(left);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    };
    if let Err(e) = settled.await {
        debug!(error = %e, "doors not settled; the poll covers them");
    }
}

/// The task that reads the socket; it ends when the connection does.
pub(super) struct Driving(tokio::task::JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn drive(mut driver: Driver, listener: Arc<Listener>) -> Driving {
    Driving(tokio::spawn(async move {
        while let Some(message) = driver.message().await {
            match message {
                Ok(AsyncMessage::Notification(n)) => {
                    match n.channel().strip_prefix("trunkline_").and_then(|d| d.parse().ok()) {
                        Some(door) => listener.ring(door),
                        None => {
                            let _ = listener.foreign.send(Notification {
                                channel: n.channel().to_owned(),
                                payload: n.payload().to_owned(),
                                pid: n.process_id(),
                            });
                        }
                    }
                }
                Ok(_) => {}
                Err(e) => {
                    debug!(error = %e, "connection ended");
                    break;
                }
            }
        }
        listener.presence.send_modify(Presence::cut);
    }))
}
