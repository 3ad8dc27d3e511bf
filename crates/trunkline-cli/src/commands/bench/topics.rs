//! The figures of topics: publishing and receiving against a bare NOTIFY, what a slow subscriber costs, hand-overs, idle cost.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::Client;
use trunkline::{
    Error, ErrorKind, Result, Trunkline,
    topics::{Event, OnFull, Subscribe},
};

use super::{
    Figure, connect,
    measure::{count, load, median, session},
    streams::single,
};

const PUBLISHERS: usize = 16;
const SUBSCRIBERS: usize = 4;
/// How often in each round it is compared what those who do not read cost.
const PAIRS: usize = 4;
const NOTIFY: &str = "select pg_notify('trunkline-bench', $1)";
const PUBLISH: &str = "select trunkline.topic_publish('bench.t', $1)";
/// Of who listens as one of many, as `topics sub --single` has it.
const LEASE: Duration = Duration::from_secs(5);

/// Rounds of every measurement, interleaved.
pub(super) async fn run(
    url: &str,
    rounds: u32,
    seconds: f64,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Figure>> {
    let mut found = Found::default();
    if rounds > 1 {
        // Before anything else, so that nobody's session is still about. It takes its time: not for a first look.
        found.idle = Some(idle(url, say).await?);
    }
    for round in 1..=rounds {
        found.round(url, seconds, &mut |line| say(&format!("round {round}  {line}"))).await?;
    }
    let takeovers = if rounds > 1 { 20 * rounds } else { 10 };
    for n in 0..takeovers {
        found.resigned.push(resigned(url).await?);
        found.killed.push(taken_over(url, "-KILL").await?);
        if n < takeovers / 10 {
            found.stopped.push(taken_over(url, "-STOP").await? - LEASE.as_secs_f64() * 1000.0);
        }
    }
    say(&format!(
        "hand-overs: {takeovers} resigned and killed, {} stopped; p99 {:.0}, {:.0}, {:.0} ms (over the lease)",
        found.stopped.len(),
        p99(&found.resigned),
        p99(&found.killed),
        p99(&found.stopped)
    ));
    Ok(found.figures())
}

/// What each round found, one value for each.
#[derive(Default)]
struct Found {
    over_notify: Vec<f64>,
    engine: Vec<f64>,
    receive: Vec<f64>,
    slow: Vec<f64>,
    killed: Vec<f64>,
    resigned: Vec<f64>,
    stopped: Vec<f64>,
    idle: Option<f64>,
}

impl Found {
    async fn round(&mut self, url: &str, seconds: f64, say: &mut dyn FnMut(&str)) -> Result<()> {
        let notify = notify(url, seconds).await?;
        let (publish, engine) = publish(url, seconds).await?;
        say(&format!(
            "{PUBLISHERS} publishers, {SUBSCRIBERS} subscribers: NOTIFY {notify:>7.0}/s, topic_publish {publish:>7.0}/s, one process's tasks {engine:>7.0}/s"
        ));
        self.over_notify.push(publish / notify);
        self.engine.push(engine / notify);
        let (raw, ours) = (receive_raw(url, seconds).await?, receive(url, seconds).await?);
        say(&format!("publish to receive, 50 a second, p50: NOTIFY {raw:.2} ms, volatile {ours:.2} ms"));
        self.receive.push(ours / raw);
        // Pairs, each in the other order: what else the machine does falls on both.
        for pair in 0..PAIRS {
            let (mut rates, first) = ([0.0; 2], pair % 2);
            for slow in [first == 1, first == 0] {
                rates[usize::from(slow)] = received(url, seconds / 2.0, slow).await?;
            }
            let [alone, beside] = rates;
            say(&format!(
                "received: {alone:.0}/s, and {beside:.0}/s beside one who never reads and one who is stopped"
            ));
            self.slow.push((1.0 - beside / alone) * 100.0);
        }
        Ok(())
    }

    fn figures(self) -> Vec<Figure> {
        let figure = |name, value, unit, wanted| Figure { name, value, unit, wanted };
        let mut figures = vec![
            figure("volatile_publish_over_notify", median(self.over_notify), "x", ">= 5"),
            figure("volatile_publish_of_tasks_over_notify", median(self.engine), "x", ">= 5"),
            figure("receive_p50_over_notify", median(self.receive), "x", "<= 2"),
            figure("slow_subscriber_cost_percent", median(self.slow), "%", "0"),
            figure("takeover_kill_p99_ms", p99(&self.killed), "ms", "<= 1000"),
            figure("takeover_resign_p99_ms", p99(&self.resigned), "ms", "<= 100"),
            figure("takeover_stop_p99_ms_over_lease", p99(&self.stopped), "ms", "<= 1000"),
        ];
        figures.extend(self.idle.map(|idle| figure("idle_queries_per_minute", idle, "", "<= 10")));
        figures
    }
}

fn p99(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get((values.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Notifications a second, of many sessions, with four others that listen and read.
async fn notify(url: &str, seconds: f64) -> Result<f64> {
    let mut listeners = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let (client, mut notes) = session(url).await?;
        client.batch_execute("listen \"trunkline-bench\"").await?;
        tokio::spawn(async move { while notes.recv().await.is_some() {} });
        listeners.push(client);
    }
    Ok(single(url, NOTIFY, PUBLISHERS, seconds).await?.rate())
}

/// Messages a second until all subscribers have them: of many sessions, and of many tasks of one process.
async fn publish(url: &str, seconds: f64) -> Result<(f64, f64)> {
    let subscribers = Counting::start(url, SUBSCRIBERS).await?;
    let begin = Instant::now();
    let run = single(url, PUBLISH, PUBLISHERS, seconds).await?;
    let sent = run.len();
    subscribers.all_have(sent).await?;
    let sessions = count(sent) / begin.elapsed().as_secs_f64();
    subscribers.end().await;
    let subscribers = Counting::start(url, SUBSCRIBERS).await?;
    let publisher = connect(url).await?;
    let (topics, payload) = (publisher.topics(), "p".repeat(100));
    let begin = Instant::now();
    let run = load(PUBLISHERS, seconds, None, move |_| {
        let (topics, payload) = (topics.clone(), payload.clone());
        async move { topics.publish("bench.t", payload).await.map(drop) }
    })
    .await?;
    subscribers.all_have(run.len()).await?;
    let tasks = count(run.len()) / begin.elapsed().as_secs_f64();
    subscribers.end().await;
    publisher.close().await;
    Ok((sessions, tasks))
}

/// Processes that listen, each with a connection of its own, and count.
struct Counting {
    processes: Vec<Trunkline>,
    counted: Vec<Arc<AtomicU64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Counting {
    async fn start(url: &str, many: usize) -> Result<Self> {
        let mut all = Self { processes: Vec::new(), counted: Vec::new(), tasks: Vec::new() };
        for _ in 0..many {
            let process = connect(url).await?;
            let mut subscription = process.topics().subscribe("bench.t").await?;
            connected(subscription.next().await?)?;
            let counter = Arc::new(AtomicU64::new(0));
            all.counted.push(counter.clone());
            all.tasks.push(tokio::spawn(async move {
                while let Ok(Some(event)) = subscription.next().await {
                    counter.fetch_add(u64::from(matches!(event, Event::Message(_))), Ordering::Relaxed);
                }
            }));
            all.processes.push(process);
        }
        Ok(all)
    }

    async fn all_have(&self, sent: usize) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while self.counted.iter().any(|c| c.load(Ordering::Relaxed) < sent as u64) {
            if Instant::now() > end {
                return Err(Error::new(ErrorKind::Other, "messages are missing"));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn end(self) {
        for task in self.tasks {
            task.abort();
        }
        for process in self.processes {
            process.close().await;
        }
    }
}

fn connected(event: Option<Event>) -> Result<()> {
    match event {
        Some(Event::Connected) => Ok(()),
        other => Err(Error::new(ErrorKind::Other, format!("not connected: {other:?}"))),
    }
}

/// From NOTIFY to the listener, in ms.
async fn receive_raw(url: &str, seconds: f64) -> Result<f64> {
    let (publisher, _rx) = session(url).await?;
    let (listener, notes) = session(url).await?;
    listener.batch_execute("listen \"trunkline-bench\"").await?;
    let statement = publisher.prepare(NOTIFY).await?;
    let ends = Arc::new(tokio::sync::Mutex::new(notes));
    let publisher = Arc::new(publisher);
    let run = load(1, seconds, Some(Duration::from_millis(20)), move |_| {
        let (publisher, statement, ends) = (publisher.clone(), statement.clone(), ends.clone());
        async move {
            publisher.execute(&statement, &[&"x"]).await?;
            ends.lock().await.recv().await;
            Ok(())
        }
    })
    .await?;
    drop(listener);
    Ok(run.percentile(50) / 1000.0)
}

/// From `topic_publish` to the subscriber, in ms.
async fn receive(url: &str, seconds: f64) -> Result<f64> {
    let (publisher, _rx) = session(url).await?;
    let process = connect(url).await?;
    let mut subscription = process.topics().subscribe("bench.t").await?;
    connected(subscription.next().await?)?;
    asleep(url).await?;
    let statement = publisher.prepare(PUBLISH).await?;
    let subscription = Arc::new(tokio::sync::Mutex::new(subscription));
    let publisher = Arc::new(publisher);
    let run = load(1, seconds, Some(Duration::from_millis(20)), move |_| {
        let (publisher, statement, subscription) =
            (publisher.clone(), statement.clone(), subscription.clone());
        async move {
            publisher.execute(&statement, &[&"x"]).await?;
            subscription.lock().await.next().await.map(drop)
        }
    })
    .await?;
    process.close().await;
    Ok(run.percentile(50) / 1000.0)
}

/// Until somebody sleeps on the door of a topic.
async fn asleep(url: &str) -> Result<()> {
    const ASLEEP: &str = "select exists (select from pg_locks where locktype = 'advisory' and classid = 1953656427 and granted
        and objid::text::bigint between 2147483648 and 2147483712 and database = (select oid from pg_database where datname = current_database()))";
    let (client, _rx) = session(url).await?;
    while !client.query_one(ASLEEP, &[]).await?.try_get::<_, bool>(0)? {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Messages a second that a subscriber gets: alone, or beside one in the same process who never reads and a process that is stopped.
async fn received(url: &str, seconds: f64, slow: bool) -> Result<f64> {
    let counting = Counting::start(url, 1).await?;
    let beside = match (slow, counting.processes.first()) {
        (true, Some(process)) => {
            let never = Subscribe::new(["bench.t"]).buffer(100).on_full(OnFull::Wait);
            let never = process.topics().subscribe(never).await?;
            let mut stopped = Listening::start(url, "bench.t", "--all")?;
            stopped.says("connected").await?;
            stopped.signal("-STOP");
            Some((never, stopped))
        }
        _ => None,
    };
    let begin = Instant::now();
    let sent = single(url, PUBLISH, PUBLISHERS, seconds).await?.len();
    counting.all_have(sent).await?;
    let rate = count(sent) / begin.elapsed().as_secs_f64();
    drop(beside);
    counting.end().await;
    Ok(rate)
}

/// From a resignation to the next one's turn, in ms.
async fn resigned(url: &str) -> Result<f64> {
    let (a, b) = (connect(url).await?, connect(url).await?);
    let single = || Subscribe::new(["bench.one"]).single();
    let mut first = a.topics().subscribe(single()).await?;
    while !matches!(first.next().await?, Some(Event::Active { .. })) {}
    let mut second = b.topics().subscribe(single()).await?;
    while !matches!(second.next().await?, Some(Event::Standby { .. })) {}
    sleep(Duration::from_millis(100)).await; // it waits in turn by then
    let begin = Instant::now();
    first.close().await;
    while !matches!(second.next().await?, Some(Event::Active { .. })) {}
    let took = begin.elapsed().as_secs_f64() * 1000.0;
    second.close().await;
    a.close().await;
    b.close().await;
    Ok(took)
}

/// `topics sub` as a process of its own.
struct Listening {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    fn start(url: &str, topic: &str, how: &str) -> Result<Self> {
        let failed = |e| Error::new(ErrorKind::Other, format!("cannot start a process: {e}"));
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["--json", "topics", "sub", topic, how])
            .env("TRUNKLINE_DATABASE_URL", url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| Error::new(ErrorKind::Other, "a process has no stdout"))?;
        Ok(Self { child, said: BufReader::new(stdout).lines() })
    }

    async fn says(&mut self, event: &str) -> Result<()> {
        let wanted = format!("\"event\":\"{event}\"");
        let line = async {
            while let Ok(Some(line)) = self.said.next_line().await {
                if line.contains(&wanted) {
                    return Ok(());
                }
            }
            Err(Error::new(ErrorKind::Other, "a process ended"))
        };
        let late = Error::new(ErrorKind::Other, format!("a process is not {event} within 30 s"));
        timeout(Duration::from_secs(30), line).await.map_err(|_| late)?
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().map(|p| p.to_string()).unwrap_or_default();
        let _ = std::process::Command::new("kill").args([signal, &pid]).status();
    }
}

/// From the active process's end, or its stop, to the next one's turn, in ms.
async fn taken_over(url: &str, signal: &str) -> Result<f64> {
    let mut first = Listening::start(url, "bench.one", "--single")?;
    first.says("active").await?;
    let mut second = Listening::start(url, "bench.one", "--single")?;
    second.says("standby").await?;
    sleep(Duration::from_millis(700)).await; // it waits in turn by then, and has looked
    let begin = Instant::now();
    first.signal(signal);
    second.says("active").await?;
    Ok(begin.elapsed().as_secs_f64() * 1000.0)
}

/// Transactions a minute that a process makes which listens to two topics on which nothing comes: its connection's too.
async fn idle(url: &str, say: &mut dyn FnMut(&str)) -> Result<f64> {
    /// For so long the first session is watched for what a crash may have left.
    const FIRST: Duration = Duration::from_secs(65);
    let (admin, _rx) = session(url).await?;
    let nobody = a_minute(&admin).await?;
    let process = connect(url).await?;
    let mut subscription = process.topics().subscribe(Subscribe::new(["bench.a", "bench.b"])).await?;
    connected(subscription.next().await?)?;
    sleep(FIRST).await;
    let with = a_minute(&admin).await?;
    process.close().await;
    say(&format!("idle: {with:.0} transactions a minute, and {nobody:.0} while nobody is connected"));
    Ok(with - nobody)
}

async fn a_minute(admin: &Client) -> Result<f64> {
    const COUNT: &str = "select xact_commit::float8 from pg_stat_database where datname = current_database()";
    let before: f64 = admin.query_one(COUNT, &[]).await?.try_get(0)?;
    sleep(Duration::from_secs(60)).await;
    let after: f64 = admin.query_one(COUNT, &[]).await?.try_get(0)?;
    Ok(after - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever compares runs goes by the names.
    #[test]
    fn the_figures_have_the_names_that_are_documented() {
        let figures = Found { idle: Some(0.0), ..Found::default() }.figures();
        let names: Vec<&str> = figures.iter().map(|f| f.name).collect();
        let documented = include_str!("../../../../../docs/benchmarks.md");
        assert!(names.iter().all(|name| documented.contains(&format!("`{name}`"))), "{names:?}");
        for name in [
            "volatile_publish_over_notify",
            "receive_p50_over_notify",
            "slow_subscriber_cost_percent",
            "takeover_kill_p99_ms",
            "takeover_resign_p99_ms",
            "takeover_stop_p99_ms_over_lease",
            "idle_queries_per_minute",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn of_few_the_p99_is_the_last() {
        let values: Vec<f64> = (1..=60).rev().map(f64::from).collect();
        assert_eq!((p99(&values), p99(&values[..1])), (60.0, 60.0));
        assert_eq!(p99(&(1..=200).map(f64::from).collect::<Vec<_>>()), 198.0);
    }
}
