//! The harness: one server for the run, a fresh database for each test, raw sessions, and waiting with a deadline.
//!
//! Guarantees: a server ends with the process that started it, however that ends, and its files are removed.

use std::{
    future::Future,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OnceCell, mpsc};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};
use trunkline::{
    Trunkline,
    conninfo::{ConnInfo, Env},
};
use trunkline_embedded::{Fetch, Server, Settings};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A server of this run, with the watcher that ends it when this process is gone.
pub struct Cluster {
    pub server: Server,
    pub settings: Settings,
    _watcher: Child,
}

impl Cluster {
    /// Starts one; `safe` writes to disk as a real one does, so that it may be killed.
    pub fn start(safe: bool) -> Self {
        Self::start_of(safe, std::env::var_os("TRUNKLINE_TEST_PG_BIN").map(PathBuf::from))
    }

    /// Starts one of the programs in this directory.
    pub fn start_of(safe: bool, bin: Option<PathBuf>) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let here = std::env::var_os("TRUNKLINE_TEST_DIR").filter(|_| !safe);
        let here = here.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let dir = PathBuf::from(here).join(format!("it-{}-{n}", std::process::id()));
        let onoff = if safe { "on" } else { "off" };
        let settings = Settings::default()
            .data_dir(&dir)
            .fetch(Fetch::Forbidden)
            .setting("max_prepared_transactions", "10")
            .setting("max_connections", "600")
            .setting("fsync", onoff)
            .setting("full_page_writes", onoff)
            .setting("track_activity_query_size", "16384");
        let settings = bin.into_iter().fold(settings, |s, bin| s.bin_dir(bin));
        let server = Server::start(&settings, &mut |_| {}).expect("a server");
        let watcher = watch(&dir);
        Self { server, settings, _watcher: watcher }
    }

    /// Starts it again after it was killed.
    pub fn restart(&mut self) {
        let gone = || !std::path::Path::new(&format!("/proc/{}", self.server.pid())).exists();
        while !gone() {
            std::thread::sleep(millis(5));
        }
        self.server = Server::start(&self.settings, &mut |_| {}).expect("the server again");
    }

    /// One for a test that stops or kills backends: a stopped one can hold the lock of NOTIFY, which is the server's.
    pub async fn own() -> (Self, Db) {
        let cluster = tokio::task::spawn_blocking(|| Self::start(false)).await.unwrap();
        let db = cluster.database("own").await;
        (cluster, db)
    }

    /// A database without the schema.
    pub async fn empty(&self, name: &str) -> Db {
        let admin = Raw::open(&self.server.url()).await;
        admin.run(&format!("create database {name}")).await;
        Db { url: self.server.url_for(name), name: name.to_owned(), postmaster: self.server.pid() }
    }

    pub async fn database(&self, name: &str) -> Db {
        let db = self.empty(name).await;
        let mut raw = db.raw().await;
        trunkline::schema::install(&mut raw.client).await.expect("installed");
        db
    }
}

/// A shell that outlives us for a moment: when our end of its pipe closes it stops the server and removes its files.
fn watch(dir: &std::path::Path) -> Child {
    let script = r#"read -r _; pid=$(head -1 "$1/db/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"
        while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done; rm -rf "$1""#;
    let mut command = Command::new("/bin/sh");
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
        .args(["-c", script, "sh"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("a shell")
}

static SHARED: OnceLock<Cluster> = OnceLock::new();
static TEMPLATE: OnceCell<()> = OnceCell::const_new();

/// The server that tests share; they change nothing outside their own database.
pub async fn shared() -> &'static Cluster {
    static WATCHDOG: std::sync::Once = std::sync::Once::new();
    WATCHDOG.call_once(|| {
        std::thread::spawn(|| {
            let storm =
                std::env::var("TRUNKLINE_STORM_SECONDS").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
            std::thread::sleep(secs(1200 + storm));
            say("the tests hang: twenty minutes have passed");
            std::process::exit(101);
        });
    });
    let cluster = tokio::task::spawn_blocking(|| SHARED.get_or_init(|| Cluster::start(false))).await.unwrap();
    TEMPLATE
        .get_or_init(|| async {
            cluster.database("template_trunkline").await;
        })
        .await;
    cluster
}

/// A database of one test, with the schema.
#[derive(Clone, Debug)]
pub struct Db {
    pub name: String,
    pub url: String,
    pub postmaster: i32,
}

/// With `TRUNKLINE_TEST_DIRECT=off` every engine calls functions, as one without rights on the tables does.
pub fn functions_only() -> bool {
    std::env::var("TRUNKLINE_TEST_DIRECT").is_ok_and(|v| v == "off")
}

impl Db {
    pub async fn new() -> Self {
        Self::made("template template_trunkline").await
    }

    /// Without the schema.
    pub async fn empty() -> Self {
        Self::made("").await
    }

    async fn made(how: &str) -> Self {
        let cluster = shared().await;
        let name = format!("it_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = Raw::open(&cluster.server.url()).await;
        until("the template to be free", async || {
            admin.client.batch_execute(&format!("create database {name} {how}")).await.is_ok()
        })
        .await;
        Self { url: cluster.server.url_for(&name), name, postmaster: cluster.server.pid() }
    }

    pub async fn raw(&self) -> Raw {
        Raw::open(&self.url).await
    }

    /// A raw session as one of the roles.
    pub async fn raw_as(&self, role: &str) -> Raw {
        Raw::open(&self.url.replace("user=postgres", &format!("user={role}"))).await
    }

    /// A process of the library's kind.
    pub async fn client(&self, application: &str) -> Trunkline {
        Trunkline::with(self.info(application)).await.expect("connected")
    }

    pub fn info(&self, application: &str) -> ConnInfo {
        let direct = if functions_only() { "&options=-c%20trunkline.direct%3Doff" } else { "" };
        let text = format!("{}&application_name={application}{direct}", self.url);
        ConnInfo::from_str_with(&text, &Env::empty()).expect("settings")
    }

    /// The backend of a client, by its application name.
    pub async fn backend(&self, raw: &Raw, application: &str) -> i32 {
        raw.one(&format!("select pid::text from pg_stat_activity where datname = current_database() and application_name = '{application}'"))
            .await
            .parse()
            .expect("one backend")
    }
}

/// A plain session: what a person with psql, or a step of a race, does.
pub struct Raw {
    pub client: Client,
    pub pid: i32,
    pub notes: mpsc::UnboundedReceiver<String>,
}

impl Raw {
    pub async fn open(url: &str) -> Self {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.expect("a session");
        let (tx, notes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(n) = message {
                    let _ = tx.send(n.channel().to_owned());
                }
            }
        });
        let mut raw = Self { client, pid: 0, notes };
        raw.pid = raw.one("select pg_backend_pid()").await.parse().unwrap();
        raw
    }

    pub async fn run(&self, sql: &str) {
        if let Err(e) = self.client.batch_execute(sql).await {
            panic!("{}: {:?}", sql.chars().take(200).collect::<String>(), e.as_db_error());
        }
    }

    /// The SQLSTATE that a statement fails with, `00000` if it does not.
    pub async fn code(&self, sql: &str) -> String {
        match self.client.simple_query(sql).await {
            Ok(_) => "00000".into(),
            Err(e) => e.code().map_or_else(|| e.to_string(), |c| c.code().to_owned()),
        }
    }

    /// The message a statement fails with, with everything else that the server says about it.
    pub async fn failure(&self, sql: &str) -> String {
        match self.client.simple_query(sql).await {
            Ok(_) => String::new(),
            Err(e) => format!("{:?}", e.as_db_error()),
        }
    }

    /// Rows as text, columns joined by `|`, null as empty.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let rows = match self.client.simple_query(sql).await {
            Ok(rows) => rows,
            Err(e) => panic!("{}: {:?}", sql.chars().take(200).collect::<String>(), e.as_db_error()),
        };
        rows.iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(r) => {
                    Some((0..r.len()).map(|i| r.get(i).unwrap_or("")).collect::<Vec<_>>().join("|"))
                }
                _ => None,
            })
            .collect()
    }

    /// The only row.
    pub async fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.into_iter().next().unwrap()
    }

    /// Waits until this session, doing something in another task, is blocked by a lock.
    pub async fn blocked(&self, pid: i32) {
        until("the session to wait for a lock", async || {
            self.one(&format!(
                "select count(*) from pg_stat_activity where pid = {pid} and wait_event_type = 'Lock'"
            ))
            .await
                == "1"
        })
        .await;
    }

    /// Waits for a query to say `t`.
    pub async fn until(&self, what: &str, sql: &str) {
        until(what, async || self.one(sql).await == "t").await;
    }
}

/// A stream, and what its consumers do in one session.
pub struct Stream<'a> {
    pub raw: &'a Raw,
    pub name: &'static str,
}

impl<'a> Stream<'a> {
    /// Made here, with these consumers at its end.
    pub async fn new(raw: &'a Raw, name: &'static str, consumers: &[&str]) -> Self {
        raw.run(&format!("select trunkline.stream_open('{name}')")).await;
        for consumer in consumers {
            raw.run(&format!("select trunkline.stream_register('{name}', '{consumer}')")).await;
        }
        Self { raw, name }
    }

    /// Of another session.
    pub fn of<'b>(&self, raw: &'b Raw) -> Stream<'b> {
        Stream { raw, name: self.name }
    }

    pub async fn append(&self, payload: &str) -> String {
        self.raw.one(&format!("select trunkline.stream_append('{}', '{payload}')", self.name)).await
    }

    pub async fn set(&self, setting: &str, value: &str) {
        self.raw.run(&format!("select trunkline.stream_set('{}', '{setting}', '{value}')", self.name)).await;
    }

    pub async fn consumer_set(&self, consumer: &str, setting: &str, value: &str) {
        let call = format!("'{}', '{consumer}', '{setting}', '{value}'", self.name);
        self.raw.run(&format!("select trunkline.stream_consumer_set({call})")).await;
    }

    /// The next batch, or the one in hand; empty when there is nothing.
    pub async fn batch(&self, consumer: &str) -> String {
        let sql = format!("select batch from trunkline.stream_next_batch('{}', '{consumer}')", self.name);
        self.raw.rows(&sql).await.pop().unwrap_or_default()
    }

    /// Payload and attempt of each event of a batch.
    pub async fn read(&self, batch: &str) -> Vec<String> {
        let sql = format!(
            "select concat_ws(' ', payload, case when attempt > 1 then attempt end) from trunkline.stream_events('{batch}')"
        );
        self.raw.rows(&sql).await
    }

    pub async fn finish(&self, batch: &str) -> String {
        self.raw.code(&format!("select trunkline.stream_finish('{batch}')")).await
    }

    /// Tags every event of a batch, and finishes it.
    pub async fn retry(&self, batch: &str, delay: &str) {
        let ids = format!("array(select id from trunkline.stream_events('{batch}'))");
        self.raw.run(&format!("select trunkline.stream_retry('{batch}', {ids}, {delay}, 'because')")).await;
        assert_eq!(self.finish(batch).await, "00000");
    }

    /// All there is to read now, batch after batch, finished.
    pub async fn drain(&self, consumer: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let batch = self.batch(consumer).await;
            if batch.is_empty() {
                return all;
            }
            all.extend(self.read(&batch).await);
            assert_eq!(self.finish(&batch).await, "00000");
        }
    }

    /// A column of `stream_consumers` for a consumer.
    pub async fn of_consumer(&self, consumer: &str, column: &str) -> String {
        let sql = format!(
            "select {column} from trunkline.stream_consumers('{}') where consumer = '{consumer}'",
            self.name
        );
        self.raw.one(&sql).await
    }
}

/// Looks again until something holds; fails after 15 s.
pub async fn until(what: &str, mut state: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !state().await {
        assert!(Instant::now() < end, "not reached in 15 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What must come within a time, by a [`Stopwatch`].
pub async fn within<T>(limit: u64, what: &str, future: impl Future<Output = T>) -> T {
    let (limit, watch) = (Duration::from_millis(limit), Stopwatch::start());
    let mut future = std::pin::pin!(future);
    loop {
        let left = limit.saturating_sub(watch.elapsed());
        if let Ok(value) = tokio::time::timeout(left, &mut future).await {
            return value;
        }
        assert!(watch.elapsed() < limit, "not within {limit:?}: {what}");
    }
}

/// A clock for limits that the code must keep, whatever else the machine does: of the time in which something waited for
/// a processor, for the disk or for memory (Linux tells under /proc/pressure) at most three quarters are not counted.
#[derive(Clone, Copy)]
pub struct Stopwatch {
    began: Instant,
    starved: Duration,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { began: Instant::now(), starved: starved() }
    }

    /// By the clock on the wall.
    pub fn passed(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn elapsed(&self) -> Duration {
        let passed = self.passed();
        passed - starved().saturating_sub(self.starved).min(passed * 3 / 4)
    }
}

/// What comes of something, and how much later than a limit it came, by a [`Stopwatch`] from there on.
pub async fn late<T>(limit: Duration, future: impl Future<Output = T>) -> (T, Duration) {
    let mut future = std::pin::pin!(future);
    match tokio::time::timeout(limit, &mut future).await {
        Ok(value) => (value, Duration::ZERO),
        Err(_) => {
            let watch = Stopwatch::start();
            (future.await, watch.elapsed())
        }
    }
}

/// For how long something had to wait for the machine, since it was started; nothing where the kernel does not tell.
fn starved() -> Duration {
    let waited = |what: &str| {
        let told = std::fs::read_to_string(format!("/proc/pressure/{what}")).ok()?;
        let total = told.lines().next()?.rsplit_once("total=")?.1;
        total.parse().ok().map(Duration::from_micros)
    };
    ["cpu", "io", "memory"].into_iter().filter_map(waited).sum()
}

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn signal(pid: i32, name: &str) {
    let done = Command::new("kill").args([name, &pid.to_string()]).status().expect("kill");
    assert!(done.success(), "kill {name} {pid}");
}

/// This test binary again, as a process of its own that plays a part (see `child`).
pub struct Process {
    pub child: tokio::process::Child,
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
    input: tokio::process::ChildStdin,
}

impl Process {
    pub async fn start(part: &str, db: &Db) -> Self {
        use tokio::io::AsyncBufReadExt as _;
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::part", "--ignored", "--nocapture"])
            .env("TRUNKLINE_IT_PART", part)
            .env("TRUNKLINE_IT_URL", &db.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a child");
        let lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take().unwrap();
        let mut process = Self { child, lines, input };
        process.line("ready").await;
        process
    }

    /// Waits for a line that begins so, and returns the rest of it.
    pub async fn line(&mut self, begins: &str) -> String {
        let marker = format!("@@{begins}");
        within(15_000, &format!("the child to say {begins}"), async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the child ended");
                if let Some(at) = line.find(&marker) {
                    return line[at + marker.len()..].trim().to_owned();
                }
            }
        })
        .await
    }

    /// Gives it a line to read.
    pub async fn tell(&mut self, line: &str) {
        use tokio::io::AsyncWriteExt as _;
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("it runs")).unwrap()
    }
}

/// What a child says to its parent.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "@@{line}");
    let _ = out.flush();
}
