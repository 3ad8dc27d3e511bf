//! Worker processes that are killed, frozen and cut off all the time, at whatever step they are, while calls go on.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use trunkline::{ErrorKind, Trunkline, requests::Serve};

use crate::support::{Db, Process, Raw, late, millis, say, secs, signal};

/// The part of a worker: `once` and `again` write and then answer; `both` does the two in one transaction.
pub async fn worker(me: &Trunkline, db: &Db) {
    let mut inboxes = JoinSet::new();
    for channel in ["once", "again", "both"] {
        let mut inbox = me.requests().inbox(Serve::channel(channel).concurrency(4));
        inbox.ready().await.unwrap();
        let mut raw = db.raw().await;
        inboxes.spawn(async move {
            while let Some(incoming) = inbox.next().await {
                let number = incoming.payload.text().unwrap().to_owned();
                let sql = format!("insert into public.done values ('{channel}', {number})");
                let pause = millis(number.parse::<u64>().unwrap() % 13);
                if channel == "both" {
                    let tx = raw.client.transaction().await.unwrap();
                    tx.batch_execute(&sql).await.unwrap();
                    tokio::time::sleep(pause).await;
                    if incoming.reply_on(&mut &tx, "done").await.is_ok() {
                        let _ = tx.commit().await;
                    }
                } else {
                    raw.run(&sql).await;
                    tokio::time::sleep(pause).await;
                    let _ = incoming.reply("done").await;
                }
            }
        });
    }
    say("ready");
    inboxes.join_all().await;
}

/// How many seconds it lasts: `TRUNKLINE_STORM_SECONDS`, or 9.
fn length() -> u64 {
    std::env::var("TRUNKLINE_STORM_SECONDS").map_or(9, |s| s.parse().expect("seconds"))
}

/// One call, and what became of it: its channel, its number, the error if it had one, and how late it ended.
async fn ask(
    tl: Trunkline,
    channel: &'static str,
    number: u64,
) -> (&'static str, u64, Option<ErrorKind>, Duration) {
    let limit = secs(7);
    let call = tl.requests().call(channel, number.to_string()).wait_for_responder().timeout(limit);
    let call = if channel == "again" { call.idempotent() } else { call };
    let (outcome, late) = late(limit, call.into_future()).await;
    (channel, number, outcome.err().map(|e| e.kind()), late)
}

/// Kills, freezes or cuts off one of the workers, and sees that there are three.
async fn disturb(
    step: u64,
    workers: &mut [Process],
    frozen: &mut Vec<(Process, Instant)>,
    db: &Db,
    raw: &Raw,
) {
    let at = usize::try_from(step % 3).unwrap();
    match step % 5 {
        0 | 1 => workers[at].child.kill().await.unwrap(),
        2 => {
            raw.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name in ('child-worker', 'caller') and datname = current_database() order by random() limit 1").await;
            return;
        }
        3 => {
            signal(workers[at].pid(), "-STOP");
            let worker = std::mem::replace(&mut workers[at], Process::start("worker", db).await);
            frozen.push((worker, Instant::now()));
            return;
        }
        _ => return,
    }
    workers[at] = Process::start("worker", db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_step_workers_die_at_every_call_ends_once_on_time_and_agrees_with_what_was_done() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table public.done (channel text, number bigint)").await;
    raw.run("select trunkline.request_open('again', durable => true), trunkline.request_open('both', durable => true)").await;
    let holder = db.raw().await; // somebody's snapshot, held all the while
    holder.run("begin isolation level repeatable read; select count(*) from public.done").await;
    let caller = db.client("caller").await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Process::start("worker", &db).await);
    }
    let mut frozen = Vec::new();
    let mut calls = JoinSet::new();
    let mut number = 0;
    let end = Instant::now() + secs(length());
    for step in 0.. {
        if Instant::now() > end {
            break;
        }
        for channel in ["once", "again", "both"] {
            for _ in 0..6 {
                number += 1;
                calls.spawn(ask(caller.clone(), channel, number));
            }
        }
        tokio::time::sleep(millis(20 + 17 * (step % 7))).await;
        disturb(step, &mut workers, &mut frozen, &db, &raw).await;
        // The frozen go on after their lease, and find that they are too late.
        for (worker, _) in frozen.iter().filter(|(_, since)| since.elapsed() > secs(6)) {
            signal(worker.pid(), "-CONT");
        }
    }
    frozen.iter().for_each(|(worker, _)| signal(worker.pid(), "-CONT"));
    let outcomes = calls.join_all().await;
    let done = raw.rows("select channel, number, count(*) from public.done group by 1, 2").await;
    let done: HashMap<(String, u64), u64> = done
        .iter()
        .map(|row| {
            let mut fields = row.split('|');
            let mut next = || fields.next().unwrap().to_owned();
            ((next(), next().parse().unwrap()), next().parse().unwrap())
        })
        .collect();
    let mut counted: HashMap<(&str, Option<ErrorKind>), u64> = HashMap::new();
    for (channel, number, error, late) in outcomes {
        let times = done.get(&(channel.to_owned(), number)).copied().unwrap_or(0);
        let said = format!("{channel} {number} ended {error:?}, was done {times} times");
        *counted.entry((channel, error)).or_default() += 1;
        assert!(late < millis(500), "{said}, {late:?} late");
        match (channel, error) {
            ("again", None) => assert!(times >= 1, "{said}"),
            (_, None) => assert_eq!(times, 1, "{said}"),
            ("both", Some(ErrorKind::Lost)) => assert_eq!(times, 0, "{said}"),
            ("again", Some(ErrorKind::TimedOut)) => {}
            (_, Some(ErrorKind::Lost | ErrorKind::TimedOut)) => assert!(times <= 1, "{said}"),
            _ => panic!("{said}"),
        }
    }
    let ok: u64 = counted.iter().filter(|((_, e), _)| e.is_none()).map(|(_, n)| n).sum();
    assert!(ok > number / 2, "most are answered all the same: {counted:?}");
    say(&format!("{counted:?}"));
}
