//! The worker: does the jobs of the queue "demo", and tells which it has in hand.
//!
//! A job carries a number, and may ask for some time of pretended work; its result is the number's MD5, and who made it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};
use trunkline::{
    Result,
    jobs::{Job, Work},
    requests::{Failure, Payload},
};

use super::{
    LONGEST_WORK, QUEUE, WORK, controller,
    event::{Event, Voice},
    part::{self, Order},
};

/// Arguments of `trunkline demo worker`.
#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    /// Which worker it is
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    number: u8,
    /// How many jobs it does at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Speak JSON, and leave when stdin closes
    #[arg(long, hide = true)]
    events: bool,
}

/// What a job yields.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) md5: String,
    pub(super) worker: u8,
}

/// Works until it is told to leave.
pub(super) async fn run(url: &str, args: &WorkerArgs, json: bool) -> Result<()> {
    let mut orders = part::orders(args.events)?;
    let trunk = part::connect(url, "demo-worker").await?;
    let bench = Arc::new(Bench {
        voice: Voice::new(args.events || json),
        number: args.number,
        done: AtomicU64::new(0),
    });
    let work = Work::queue(QUEUE).concurrency(usize::from(args.concurrency)).grace(Duration::from_secs(5));
    let handlers = bench.clone();
    let mut working = trunk.jobs().work(work, move |job| {
        let bench = handlers.clone();
        async move { bench.sum(job).await }
    });
    bench.voice.say(&Event::Ready { address: part::address(&trunk) });
    bench.voice.tell("Doing the jobs of the queue \"demo\". Ctrl-C leaves.");
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Leave) | None => break,
                Some(_) => {}
            },
            ended = working.ended() => return ended,
            () = bench.voice.alone() => break,
        }
    }
    working.stop().await?;
    part::close(trunk).await;
    let text = format!("left after {} jobs", bench.done.load(Ordering::Relaxed));
    bench.voice.say(&Event::Left { text });
    Ok(())
}

/// What the handlers share.
#[derive(Debug)]
struct Bench {
    voice: Voice,
    number: u8,
    done: AtomicU64,
}

impl Bench {
    async fn sum(&self, job: Job) -> Result<Payload, Failure> {
        self.voice.say(&Event::Began { id: job.id, attempt: job.attempt });
        let work: u64 = job.headers.get(WORK).and_then(|ms| ms.parse().ok()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(work.min(LONGEST_WORK))).await;
        let number = job.payload.text()?;
        let sum = Sum { md5: controller::md5(number), worker: self.number };
        self.done.fetch_add(1, Ordering::Relaxed);
        self.voice.say(&Event::Finished { id: job.id, text: sum.md5.clone() });
        Ok(Payload::json(&sum)?)
    }
}
