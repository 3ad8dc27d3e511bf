//! A storm of producers, tickers, turns of the ring and consumers that die, at every isolation level: each committed event
//! reaches each consumer in one finished batch, in order. `streams_history` compares, and `streams_sabotage`
//! shows that it would tell.
//!
//! Ten seconds, or `TRUNKLINE_STORM_SECONDS`; `TRUNKLINE_STORM_SEED` makes the dice fall the same way.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::{JoinSet, LocalSet};
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use crate::{
    streams_history::{Effect, Faults, IN_LANES, Times, check},
    support::{Db, millis, say, secs},
};

const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// How one kind of consumer goes about it.
struct Part {
    consumer: &'static str,
    /// Of the transaction that processes and finishes; every third time, where consumers take over.
    level: &'static str,
    mode: &'static str,
    members: u64,
    /// The batch is taken in a transaction of its own before.
    apart: bool,
    /// Every fifth event is to come again, once.
    retry: bool,
    /// Appends events of its own, before it takes and after.
    echo: bool,
}

const PLAIN: Part = Part {
    consumer: "",
    level: LEVELS[0],
    mode: "fail",
    members: 1,
    apart: false,
    retry: false,
    echo: false,
};
const PARTS: [Part; 9] = [
    Part { consumer: "committed", echo: true, ..PLAIN },
    Part { consumer: "repeatable", level: LEVELS[1], ..PLAIN },
    Part { consumer: "serializable", level: LEVELS[2], ..PLAIN },
    Part { consumer: "parts", apart: true, ..PLAIN },
    Part { consumer: "group", mode: "share", members: 3, apart: true, ..PLAIN },
    Part { consumer: "fight", level: LEVELS[2], mode: "take", members: 2, apart: true, ..PLAIN },
    Part { consumer: "old", level: LEVELS[1], mode: "take", members: 3, ..PLAIN },
    Part { consumer: "again", retry: true, mode: "share", members: 2, ..PLAIN },
    Part { consumer: IN_LANES, mode: "share", members: 3, apart: true, ..PLAIN },
];
/// Those whose batches are never parts, and whose events come once.
const WHOLE: [&str; 6] = ["committed", "repeatable", "serializable", "group", "fight", "old"];

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Lets others go on for up to so many milliseconds.
    async fn pause(&mut self, most: u64) {
        tokio::time::sleep(millis(self.below(most + 1))).await;
    }
}

struct Storm {
    db: Db,
    end: Instant,
    seed: u64,
    clock: AtomicU64,
    times: Mutex<Times>,
    /// What was done and what failed, how often.
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Storm {
    fn dice(&self, me: u64) -> Dice {
        Dice((self.seed + me + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn stamp(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn count(&self, what: &str) {
        *self.counts.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    /// A session that may be cut off at any time, this moment included.
    async fn open(&self, name: &str) -> Client {
        loop {
            let url = format!("{}&application_name={name}", self.db.url);
            if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                tokio::spawn(connection);
                return client;
            }
        }
    }

    /// Does something again and again until the time is over; after an error in a new transaction, or session.
    async fn repeat(
        self: Arc<Self>,
        name: &'static str,
        mut act: impl AsyncFnMut(&Client) -> Result<(), Error>,
    ) {
        let mut client = self.open(name).await;
        while Instant::now() < self.end {
            match act(&client).await {
                Ok(()) => self.count(name),
                Err(e) => {
                    self.count(&format!("{name} {}", e.code().map_or("cut off", |c| c.code())));
                    if client.batch_execute("rollback").await.is_err() {
                        client = self.open(name).await;
                    }
                }
            }
        }
    }
}

/// Rows as text, columns joined by `|`.
async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, Error> {
    let rows = client.simple_query(sql).await?;
    let text = |m: &SimpleQueryMessage| match m {
        SimpleQueryMessage::Row(r) => {
            Some((0..r.len()).map(|i| r.get(i).unwrap_or("")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    Ok(rows.iter().filter_map(text).collect())
}

/// Appends events, and notes them in the same transaction.
async fn send(client: &Client, name: &str, from: u64, to: u64) -> Result<(), Error> {
    let sql = format!(
        "with s as (insert into public.sent select '{name}/' || i from generate_series({from}, {to}) i returning payload)
         select trunkline.stream_append('s', payload) from s"
    );
    client.batch_execute(&sql).await
}

/// One event, of a transaction of any name.
const ONE: &str = "with s as (insert into public.sent select pg_current_xact_id() || '/' || gen_random_uuid() returning payload)
    select trunkline.stream_append('s', payload) from s";
const APPEND: &str = "select trunkline.stream_append('s', payload) from s";

/// One transaction of a producer, at any level, with savepoints, slow or prepared, committed or not.
async fn produce(client: &Client, dice: &mut Dice, name: &str, gid: &str) -> Result<(), Error> {
    let level = LEVELS[dice.below(3) as usize];
    client.batch_execute(&format!("begin isolation level {level}; set local trunkline.ring = off")).await?;
    if dice.one_in(2) {
        client.batch_execute("select from public.sent limit 1").await?;
        dice.pause(60).await;
    }
    let many = if dice.one_in(50) { 200 } else { 1 + dice.below(4) };
    send(client, name, 1, many).await?;
    if dice.one_in(4) {
        client.batch_execute("savepoint s").await?;
        send(client, name, many + 1, many + 2).await?;
        client.batch_execute(if dice.one_in(2) { "rollback to s" } else { "release s" }).await?;
    }
    if dice.one_in(3) {
        dice.pause(50).await;
    }
    match dice.below(10) {
        0 => client.batch_execute("rollback").await,
        1 => {
            client.batch_execute(&format!("prepare transaction '{gid}'")).await?;
            dice.pause(60).await;
            let word = if dice.one_in(3) { "rollback" } else { "commit" };
            client.batch_execute(&format!("{word} prepared '{gid}'")).await
        }
        _ => client.batch_execute("commit").await,
    }
}

async fn producer(storm: Arc<Storm>, me: u64) {
    let mut dice = storm.dice(me);
    let mut n = 0;
    let own = storm.clone();
    storm
        .repeat("producer", async |client| {
            n += 1;
            let name = format!("p{me}-{n}");
            let began = own.stamp();
            own.times.lock().unwrap().insert(name.clone(), (began, u64::MAX));
            produce(client, &mut dice, &name, &format!("{}-{name}", own.db.name)).await?;
            own.times.lock().unwrap().insert(name, (began, own.stamp()));
            Ok(())
        })
        .await;
}

/// Takes a batch, processes and finishes it: false when there was none.
async fn consume(
    client: &Client,
    part: &Part,
    member: u64,
    echo: &str,
    dice: &mut Dice,
) -> Result<bool, Error> {
    let next = format!(
        "select batch from trunkline.stream_next_batch('s', '{}', '{}', '{member}')",
        part.consumer, part.mode
    );
    let level = if part.mode == "take" && !dice.one_in(3) { LEVELS[0] } else { part.level };
    let mut batch = None;
    if part.apart {
        batch = rows(client, &next).await?.pop();
    }
    client.batch_execute(&format!("begin isolation level {level}")).await?;
    if level != LEVELS[0] && dice.one_in(2) {
        client.batch_execute("select from public.sent limit 1").await?;
        dice.pause(if part.apart { 60 } else { 150 }).await;
    }
    if part.echo && dice.one_in(8) {
        send(client, &format!("{echo}a"), 1, 1).await?;
    }
    if !part.apart {
        batch = rows(client, &next).await?.pop();
    }
    if part.echo && dice.one_in(8) {
        send(client, &format!("{echo}a"), 2, 2).await?;
    }
    let Some(batch) = batch else {
        client.batch_execute("commit").await?;
        return Ok(false);
    };
    let again = if part.retry { "attempt = 1 and id % 5 = 0" } else { "false" };
    let turn = batch.split(':').nth(1).unwrap();
    client
        .batch_execute(&format!(
            "insert into public.effect select '{}', {turn}, row_number() over (), id, payload, attempt
               from trunkline.stream_events('{batch}') where not ({again})",
            part.consumer
        ))
        .await?;
    if part.retry {
        let ids = format!("array(select id from trunkline.stream_events('{batch}') where {again})");
        client.batch_execute(&format!("select trunkline.stream_retry('{batch}', {ids}, '0')")).await?;
    }
    if dice.one_in(3) {
        dice.pause(30).await;
    }
    client.batch_execute(&format!("select trunkline.stream_finish('{batch}')")).await?;
    if dice.one_in(12) {
        client.batch_execute(&format!("prepare transaction '{batch}'")).await?;
        client.batch_execute(&format!("commit prepared '{batch}'")).await?;
    } else {
        client.batch_execute("commit").await?;
    }
    Ok(true)
}

async fn consumer(storm: Arc<Storm>, part: &'static Part, member: u64) {
    let mut dice = storm.dice(100 + member);
    let mut n = 0;
    let own = storm.clone();
    storm
        .repeat("consumer", async |client| {
            n += 1;
            if !consume(client, part, member, &format!("e{n}"), &mut dice).await? {
                own.count("consumer in vain");
                dice.pause(10).await;
            }
            Ok(())
        })
        .await;
}

/// Those that keep the stream going, and those that disturb it.
fn others(storm: &Arc<Storm>, tasks: &mut JoinSet<()>) {
    let mut every = |name: &'static str, sql: fn(&mut Dice) -> String, pause: u64| {
        let mut dice = storm.dice(200 + tasks.len() as u64);
        let storm = storm.clone();
        tasks.spawn_local(async move {
            storm
                .repeat(name, async |client| {
                    client.batch_execute(&sql(&mut dice)).await?;
                    dice.pause(pause).await;
                    client.batch_execute(if dice.one_in(4) { "rollback" } else { "commit" }).await
                })
                .await;
        });
    };
    every("turner", |_| "select trunkline.stream_maintain()".into(), 50);
    every("ticker", |_| "select trunkline.stream_tick('s')".into(), 20);
    every(
        "slow ticker",
        |_| format!("begin; {ONE}; select pg_sleep(0.01), trunkline.stream_tick('s'); {ONE}"),
        40,
    );
    for _ in 0..2 {
        every(
            "late",
            |_| {
                format!(
                    "begin isolation level repeatable read; select from public.sent limit 1; select pg_sleep(random()); {ONE}"
                )
            },
            5,
        );
    }
    every(
        "copier",
        |dice| {
            format!("begin; {}", ONE.replace(APPEND, &format!(
        "insert into trunkline.stream_event (segment, payload) select {}, convert_to(payload, 'UTF8') from s", 4 + dice.below(3)
    )))
        },
        1500,
    );
    every(
        "locker",
        |dice| format!("begin; lock table trunkline.stream_event_{} in share mode", 4 + dice.below(3)),
        30,
    );
    every(
        "killer",
        |_| {
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'consumer' and datname = current_database() order by random() limit 1".into()
        },
        150,
    );
}

/// What is left is consumed in peace; an error, or no end, is a fault as well.
async fn drain(storm: &Storm) -> Result<(), String> {
    let client = storm.open("drain").await;
    let end = Instant::now() + secs(30);
    let mut dice = Dice(1);
    for part in &PARTS {
        let part = Part { level: LEVELS[0], mode: "take", apart: false, echo: false, ..*part };
        let mut quiet = 0;
        while quiet < 2 {
            let found = consume(&client, &part, 0, "", &mut dice).await;
            quiet = if found.map_err(|e| format!("{}: {e:?}", part.consumer))? { 0 } else { quiet + 1 };
            if Instant::now() > end {
                return Err(format!("{} comes to no end", part.consumer));
            }
        }
    }
    Ok(())
}

/// Makes the stream and its consumers, lets the storm loose for a time, and compares.
pub async fn storm(db: Db, time: Duration, seed: u64) -> (Faults, Result<(), String>, String) {
    let raw = db.raw().await;
    raw.run("create table public.sent (payload text); create table public.effect (consumer text, turn bigint, place bigint, id bigint, payload text, attempt int)").await;
    raw.run("select trunkline.stream_open('s')").await;
    raw.run("update trunkline.stream set turn_bytes = 1, free_after = '0'").await;
    for part in &PARTS {
        raw.run(&format!("select trunkline.stream_register('s', '{}')", part.consumer)).await;
    }
    raw.run("update trunkline.stream_consumer set max_events = 40 where name in ('parts', 'again', 'lanes')")
        .await;
    raw.run("update trunkline.stream_consumer set lanes = 4 where name = 'lanes'").await;
    // What is meant for millions comes with hundreds here.
    for (function, from, to) in [("_stream_measure", "20000;", "60;"), ("_stream_mark", "500;", "10;")] {
        let sql = raw.one(&format!("select pg_get_functiondef('trunkline.{function}'::regproc)")).await;
        assert!(sql.contains(from), "{sql}");
        raw.run(&sql.replace(from, to)).await;
    }
    let storm = Arc::new(Storm {
        db,
        end: Instant::now() + time,
        seed,
        clock: AtomicU64::new(1),
        times: Mutex::default(),
        counts: Mutex::default(),
    });
    LocalSet::new().run_until(rage(&storm)).await;
    let gids = raw.rows("select gid from pg_prepared_xacts where database = current_database()").await;
    for gid in gids {
        raw.run(&format!("commit prepared '{gid}'")).await;
    }
    let drained = drain(&storm).await;
    let sent = raw.rows("select payload from public.sent").await;
    let effects =
        raw.rows("select * from public.effect").await.iter().map(|row| effect(row)).collect::<Vec<_>>();
    let consumers: Vec<&str> = PARTS.iter().map(|part| part.consumer).collect();
    let faults = check(&sent, &effects, &consumers, &WHOLE, &storm.times.lock().unwrap());
    let books = raw
        .one("select concat('tick ', (select max(id) from trunkline.stream_tick), ', first ', first_tick, ', ') from trunkline.stream")
        .await;
    let counts = format!(
        "seed {seed}: {} events, {} effects, {books}, {:?}",
        sent.len(),
        effects.len(),
        storm.counts.lock().unwrap()
    );
    (faults, drained, counts)
}

/// Everybody at once, until the time is over.
async fn rage(storm: &Arc<Storm>) {
    let mut tasks = JoinSet::new();
    others(storm, &mut tasks);
    for me in 0..6 {
        tasks.spawn_local(producer(storm.clone(), me));
    }
    let mut member = 0;
    for part in &PARTS {
        for _ in 0..part.members {
            member += 1;
            tasks.spawn_local(consumer(storm.clone(), part, member));
        }
    }
    tokio::select! {
        () = forsaken(storm, "clock_timestamp() - interval '300 ms'") => {}
        _ = tasks.join_all() => {}
    }
}

/// Commits, for ever, what was prepared before a time and whose owner was cut off.
async fn forsaken(storm: &Storm, before: &str) {
    let client = storm.open("forsaken").await;
    let list = format!(
        "select gid from pg_prepared_xacts where database = current_database() and prepared < {before}"
    );
    loop {
        for gid in rows(&client, &list).await.unwrap() {
            let _ = client.batch_execute(&format!("commit prepared '{gid}'")).await;
        }
        tokio::time::sleep(millis(50)).await;
    }
}

fn effect(row: &str) -> Effect {
    let mut fields = row.split('|');
    let mut next = || fields.next().unwrap().to_owned();
    Effect {
        consumer: next(),
        turn: next().parse().unwrap(),
        place: next().parse().unwrap(),
        id: next().parse().unwrap(),
        payload: next(),
        attempt: next().parse().unwrap(),
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

pub fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    setting("TRUNKLINE_STORM_SEED", u64::from(now.subsec_micros()))
}

#[tokio::test]
async fn each_committed_event_reaches_each_consumer_once_and_in_order_in_a_storm() {
    let (faults, drained, counts) =
        storm(Db::new().await, secs(setting("TRUNKLINE_STORM_SECONDS", 10)), seed()).await;
    say(&counts);
    for strange in ["TL007", "TL015", "TL017", "40P01", "55P03", "XX000", "23505"] {
        assert!(!counts.contains(strange), "{strange}: {counts}");
    }
    assert!(!faults.any() && drained.is_ok(), "{faults:?}, {drained:?}; {counts}");
}
