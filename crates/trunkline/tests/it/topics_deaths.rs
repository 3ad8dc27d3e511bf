//! Of many that listen, one, for each kind of topic: it is killed, frozen or cut off, its backend or its server ends, while messages are
//! published without a pause. What is lost and doubled is counted by kind, and effects of those who are stale are tried.
//!
//! What is lost must have been told as a gap, which only a crash of the server may do here: it takes the ring, and a channel keeps
//! nothing. `TRUNKLINE_TAKEOVERS` sets how many faults.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error, NoTls};
use trunkline::{
    Trunkline,
    topics::{Event, Kind, Subscribe},
};

use crate::{
    support::{Cluster, Db, Process, Raw, Stopwatch, millis, say, secs, signal, until},
    wire::Wire,
};

/// A kind of topic, how it is published, and the lease of those who listen.
struct Line {
    kind: Kind,
    publish: &'static str,
    lease: &'static str,
}

const LINES: [Line; 3] = [
    Line {
        kind: Kind::Volatile,
        publish: "select trunkline.topic_publish('work.a', $1)",
        lease: "trunkline/topics/work.*",
    },
    Line { kind: Kind::Channel, publish: "select pg_notify('work', $1)", lease: "trunkline/topics/work" },
    Line {
        kind: Kind::Durable,
        publish: "select trunkline.topic_publish('bills', $1)",
        lease: "trunkline/topics/books",
    },
];

const TABLES: &str = "
    create table effect (id bigint generated always as identity, kind text, n bigint, fence bigint, process int);
    create index on effect (kind, n);
    create table stale (kind text);
    create table gap (kind text, since timestamptz, until timestamptz);
    select trunkline.topic_create('bills', 'durable')";

/// The part of a process: listens to each kind as one of many, and writes what it gets, guarded, with its fence.
pub async fn listener(me: &Trunkline, db: &Db) {
    let options = [
        Subscribe::new(["work.*"]),
        Subscribe::new(["work"]).kind(Kind::Channel),
        Subscribe::new(["bills"]).name("books"),
    ];
    let mut listening = Vec::new();
    for (line, options) in LINES.iter().zip(options) {
        listening.push((line, me.topics().subscribe(options.single()).await.unwrap()));
    }
    say("ready");
    let mut tasks = tokio::task::JoinSet::new();
    for (line, mut subscription) in listening {
        let mut writer = Writer { url: db.url.clone(), line, session: None };
        tasks.spawn(async move {
            let mut fence = None;
            while let Some(event) = subscription.next().await.unwrap() {
                match event {
                    Event::Message(message) => {
                        fence = message.fence();
                        let n = message.text().unwrap().parse().unwrap();
                        if !writer.effect(n, fence.unwrap()).await {
                            message.fail("stale");
                        }
                    }
                    Event::Gap(gap) => writer.gap(gap.since, gap.until).await,
                    // Its turn is over: it acts all the same.
                    Event::Standby { .. } => {
                        if let Some(fence) = fence.take() {
                            writer.effect(-1, fence).await;
                        }
                    }
                    _ => {}
                }
            }
        });
    }
    tasks.join_all().await;
}

/// The session for effects, a new one where the old one is gone.
struct Writer {
    url: String,
    line: &'static Line,
    session: Option<Client>,
}

impl Writer {
    /// Writes an effect, guarded; false when the fence is stale, and that is noted.
    async fn effect(&mut self, n: i64, fence: i64) -> bool {
        let line = self.line;
        loop {
            let done = async {
                let session = self.session().await?;
                let tx = session.transaction().await?;
                let insert = "insert into effect (kind, n, fence, process) values ($1, $2, $3, $4)";
                let me = i32::try_from(std::process::id()).unwrap();
                tx.execute(insert, &[&line.kind.word(), &n, &fence, &me]).await?;
                let check = "select trunkline.lease_check($1, $2)";
                match tx.execute(check, &[&line.lease, &fence]).await {
                    Err(e) if e.code().is_some_and(|c| matches!(c.code(), "TL002" | "40001")) => {
                        tx.rollback().await?;
                        session.execute("insert into stale values ($1)", &[&line.kind.word()]).await?;
                        Ok(false)
                    }
                    other => {
                        other?;
                        tx.commit().await.map(|()| true)
                    }
                }
            };
            match done.await {
                Ok(done) => return done,
                Err::<_, Error>(_) => self.again().await,
            }
        }
    }

    async fn gap(&mut self, since: SystemTime, until: SystemTime) {
        let kind = self.line.kind.word();
        loop {
            let told = async {
                let session = self.session().await?;
                session.execute("insert into gap values ($1, $2, $3)", &[&kind, &since, &until]).await
            };
            match told.await {
                Ok(_) => return,
                Err(_) => self.again().await,
            }
        }
    }

    async fn session(&mut self) -> Result<&mut Client, Error> {
        let session = match self.session.take() {
            Some(session) => session,
            None => open(&self.url).await?,
        };
        Ok(self.session.insert(session))
    }

    async fn again(&mut self) {
        self.session = None;
        tokio::time::sleep(millis(20)).await;
    }
}

/// Who is frozen in the midst of a guarded transaction would keep the next one from the lease.
async fn open(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("set idle_in_transaction_session_timeout = '1s'").await?;
    Ok(client)
}

/// What was published of a kind: each number whose commit was told, and when that was begun and told.
type Sent = Vec<(i64, SystemTime, SystemTime)>;

/// Publishes numbers without a pause worth the name, until it is told to end.
struct Publisher {
    newest: Arc<AtomicI64>,
    done: Arc<AtomicBool>,
    task: JoinHandle<Sent>,
}

impl Publisher {
    fn start(line: &'static Line, db: &Db) -> Self {
        let (newest, done) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let (url, counter, end) = (db.url.clone(), newest.clone(), done.clone());
        let task = tokio::spawn(async move {
            let (mut sent, mut session) = (Sent::new(), None);
            while !end.load(Ordering::Relaxed) {
                if session.is_none() {
                    session = open(&url).await.ok();
                }
                if let Some(client) = &session {
                    let (n, began) = (counter.fetch_add(1, Ordering::Relaxed) + 1, SystemTime::now());
                    match client.execute(line.publish, &[&n.to_string()]).await {
                        Ok(_) => sent.push((n, began, SystemTime::now())),
                        Err(_) => session = None,
                    }
                }
                tokio::time::sleep(millis(20)).await;
            }
            sent
        });
        Self { newest, done, task }
    }

    /// Ends, once something was published from now on.
    async fn end(self) -> Sent {
        let now = self.newest.load(Ordering::Relaxed);
        until("the publisher to go on", async || self.newest.load(Ordering::Relaxed) > now + 5).await;
        self.done.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// What is done to the active one, or to all.
const FAULTS: [&str; 6] =
    ["killed", "cut off", "server restarted", "stopped", "its backend ended", "server crashed"];

struct Scene {
    /// None while it starts.
    cluster: Option<Cluster>,
    db: Db,
    raw: Raw,
    /// Each with a wire of its own.
    processes: BTreeMap<i32, (Process, Wire)>,
    publishers: Vec<Publisher>,
    started: usize,
    /// How many of a kind's turns were ended by a fault.
    taken: BTreeMap<&'static str, usize>,
}

impl Scene {
    async fn new() -> Self {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(true)).await.unwrap();
        let db = cluster.database("takeovers").await;
        let raw = db.raw().await;
        raw.run(TABLES).await;
        let mut scene = Self {
            cluster: Some(cluster),
            db,
            raw,
            processes: BTreeMap::new(),
            publishers: Vec::new(),
            started: 0,
            taken: LINES.iter().map(|line| (line.kind.word(), 0)).collect(),
        };
        for _ in 0..3 {
            scene.join().await;
        }
        // What is published before anybody listens is nobody's.
        scene.publishers = LINES.iter().map(|line| Publisher::start(line, &scene.db)).collect();
        scene
    }

    async fn join(&mut self) {
        self.started += 1;
        let wire = Wire::new(&Db { name: format!("takeovers-{}", self.started), ..self.db.clone() });
        let process = Process::start("single", &wire.db(&self.db)).await;
        self.processes.insert(process.pid(), (process, wire));
    }

    /// The process that is active, and its fence.
    async fn active(&self, line: &Line) -> Option<(i32, i64)> {
        let holder = format!(
            "select split_part(held_by, ':', 2), fence from trunkline.lease_list() where name = '{}' and held_by is not null",
            line.lease
        );
        let row = self.raw.rows(&holder).await.pop()?;
        let (pid, fence) = row.split_once('|')?;
        Some((pid.parse().ok()?, fence.parse().ok()?))
    }

    /// Waits until what is published from now on is handled, by one with at least this fence.
    async fn goes_on(&self, line: &Line, publisher: &Publisher, fence: i64) {
        let handled = format!(
            "select exists (select from effect where kind = '{}' and n > {} and fence >= {fence})",
            line.kind.word(),
            publisher.newest.load(Ordering::Relaxed) + 1
        );
        // A lease's time, and what waits by then.
        let watch = Stopwatch::start();
        while self.raw.one(&handled).await != "t" {
            let state = self.raw.rows("select name, held_by, fence from trunkline.lease_list()").await;
            assert!(watch.elapsed() < secs(30), "{} does not go on: {state:?}", line.kind.word());
            tokio::time::sleep(millis(10)).await;
        }
    }

    async fn all_go_on(&self) {
        for (line, publisher) in LINES.iter().zip(&self.publishers) {
            self.goes_on(line, publisher, 0).await;
        }
    }

    /// One fault, of this kind's active one; how long until another one acts, or all go on.
    async fn fault(&mut self, how: &str, which: usize) -> Duration {
        let line = &LINES[which];
        let mut found = None;
        until("somebody to be active", async || {
            found = self.active(line).await;
            found.is_some()
        })
        .await;
        let (pid, fence) = found.unwrap();
        let watch = Stopwatch::start();
        match how {
            "killed" => signal(pid, "-KILL"),
            "stopped" => signal(pid, "-STOP"),
            "cut off" => self.processes[&pid].1.silence(),
            "its backend ended" => {
                let of = "select pg_terminate_backend(s.pid, 10000) from trunkline.session s join trunkline.lease_expiry e on e.session = s.id";
                self.raw.run(&format!("{of} where e.name = '{}'", line.lease)).await;
            }
            "server restarted" => self.restart("-INT").await,
            _ => self.restart("-QUIT").await,
        }
        // Who is back within a lease's time after a restart has its turn still.
        let ends = !how.starts_with("server");
        *self.taken.get_mut(line.kind.word()).unwrap() += usize::from(ends);
        self.goes_on(line, &self.publishers[which], fence + i64::from(ends)).await;
        let took = watch.passed();
        match how {
            "killed" => {
                self.processes.remove(&pid);
                self.join().await;
            }
            "stopped" => signal(pid, "-CONT"),
            "cut off" => self.processes[&pid].1.cut(),
            _ => {}
        }
        self.all_go_on().await;
        self.raw.run("select trunkline.maintain()").await;
        took
    }

    /// Ends the server in this way, and starts it again.
    async fn restart(&mut self, how: &'static str) {
        let mut cluster = self.cluster.take().unwrap();
        let restarted = tokio::task::spawn_blocking(move || {
            signal(cluster.server.pid(), how);
            cluster.restart();
            cluster
        });
        self.cluster = Some(restarted.await.unwrap());
        self.raw = self.db.raw().await;
    }

    /// Ends the publishers: what was published of each kind, once all of it that will be is handled.
    async fn end(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        for (line, publisher) in LINES.iter().zip(std::mem::take(&mut self.publishers)) {
            let sent = publisher.end().await;
            let handled = format!(
                "select exists (select from effect where kind = '{}' and n = {})",
                line.kind.word(),
                sent[sent.len() - 1].0
            );
            self.raw.until("the last one to be handled", &handled).await;
            all.push(sent);
        }
        all
    }

    /// Counts what was lost, doubled and stale of a kind: lost and told, lost and not told, stale effects. Of the turns that had effects each
    /// is one process's, and there are more than `taken`, the hand-overs that were forced.
    async fn count(&self, line: &Line, sent: &Sent, taken: usize) -> (usize, usize, String) {
        let kind = line.kind.word();
        let one = async |sql: &str| self.raw.one(&sql.replace('$', kind)).await;
        let got = self
            .raw
            .rows(&format!("select distinct n from effect where kind = '{kind}'"))
            .await
            .into_iter()
            .map(|n| n.parse::<i64>().unwrap())
            .collect::<std::collections::BTreeSet<_>>();
        let lost: Vec<_> = sent.iter().filter(|(n, ..)| !got.contains(n)).collect();
        let mut told = 0;
        for (n, began, until) in &lost {
            let gap = "select exists (select from gap where kind = $1 and since <= $3 and until >= $2)";
            let row = self.raw.client.query_one(gap, &[&kind, began, until]).await.unwrap();
            if row.get(0) {
                told += 1;
                continue;
            }
            let near = "select since, until from gap where kind = $1 order by abs(extract(epoch from since - $2)) limit 3";
            let gaps = self.raw.client.query(near, &[&kind, began]).await.unwrap();
            let gaps: Vec<(SystemTime, SystemTime)> = gaps.iter().map(|r| (r.get(0), r.get(1))).collect();
            say(&format!("{kind} {n}, published {began:?} to {until:?}, is untold; near it {gaps:?}"));
        }
        let untold = lost.len() - told;
        let doubled = one("select count(*) - count(distinct n) from effect where kind = '$' and n > 0").await;
        let tried = one("select count(*) from stale where kind = '$'").await;
        let gaps = one("select count(*) from gap where kind = '$'").await;
        let stale = "select count(*) from (select fence < max(fence) over (order by id) as late from effect where kind = '$') e where late";
        let stale = one(stale).await;
        let fences: usize =
            one("select count(distinct fence) from effect where kind = '$'").await.parse().unwrap();
        assert!(fences > taken, "{kind}: {fences} turns, and {taken} faults that end one");
        let shared = "select count(*) from (select from effect where kind = '$' group by fence having count(distinct process) > 1) f";
        assert_eq!(one(shared).await, "0", "{kind}: two processes had one fence");
        say(&format!(
            "{kind}: {} messages, {fences} turns; lost {told} told as {gaps} gaps, and {untold} untold; {doubled} doubled; {tried} stale effects tried, {stale} committed",
            sent.len()
        ));
        (told, untold, stale)
    }
}

/// `TRUNKLINE_TAKEOVERS` sets how many faults.
#[tokio::test]
async fn whatever_ends_the_active_one_the_next_goes_on_and_what_is_lost_is_told() {
    let faults = std::env::var("TRUNKLINE_TAKEOVERS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let mut scene = Scene::new().await;
    scene.all_go_on().await;
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for n in 0..faults {
        let how = FAULTS[n % FAULTS.len()];
        let which = (n + n / FAULTS.len()) % LINES.len();
        times.entry(how).or_default().push(scene.fault(how, which).await);
    }
    let sent = scene.end().await;
    for (how, mut took) in times {
        took.sort_unstable();
        let (least, middle, most) = (took[0], took[took.len() / 2], took[took.len() - 1]);
        say(&format!("{how}, {} times: {least:.1?} to {most:.1?}, median {middle:.1?}", took.len()));
    }
    let mut counts = Vec::new();
    for (line, sent) in LINES.iter().zip(&sent) {
        counts.push((line.kind, scene.count(line, sent, scene.taken[line.kind.word()]).await));
    }
    for (kind, (told, untold, stale)) in counts {
        assert_eq!((untold, stale.as_str()), (0, "0"), "{}", kind.word());
        assert!(told == 0 || kind != Kind::Durable, "a durable topic has no gaps");
    }
}
