//! Typed jobs: a type for each kind, a handler for each type, a layer around all of them; and one who waits for a result.
//!
//! `cargo run -p trunkline --example tasks -- [URL]`: without a URL it takes `DATABASE_URL`. The queues are made on their first use.

#![expect(clippy::print_stdout, reason = "what it prints is what it shows")]

use std::{error::Error, time::Duration};

use serde::{Deserialize, Serialize};
use trunkline::{
    Trunkline,
    jobs::{Job, NewJob, Outcome, Task, Tasks, Work},
    requests::{Failure, Payload},
};

#[derive(Serialize, Deserialize, Task)]
#[task(kind = "welcome", queue = "mail", max_attempts = 5)]
struct Welcome {
    to: String,
}

#[derive(Serialize, Deserialize, Task)]
#[task(kind = "thumb", queue = "pictures")]
struct Thumb {
    picture: String,
    width: u32,
}

async fn welcome(job: Job, task: Welcome) -> Result<(), Failure> {
    if job.attempt == 1 {
        return Err(Failure::new("busy", "the mail server is busy"));
    }
    println!("welcome, {}", task.to);
    Ok(())
}

async fn thumb(job: Job, task: Thumb) -> Result<Outcome, Failure> {
    if task.width == 0 {
        return Ok(Outcome::Dead("a picture must be wider than nothing".into()));
    }
    job.progress(50, "resizing").await?; // whoever looks sees it, through retries too
    Ok(Outcome::Result(Payload::json(&format!("{}-{}.png", task.picture, task.width))?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).map_or_else(|| std::env::var("DATABASE_URL"), Ok)?;
    let trunkline = Trunkline::connect(&url).await?;
    let jobs = trunkline.jobs();

    let tasks = Tasks::new().on(welcome).on(thumb);
    // A layer sees each job, and how its attempt ended: here what failed, elsewhere metrics, traces, a connection of a pool.
    let work = Work::queue("mail").and("pictures").wrap(|job, next| async move {
        let kind = job.kind.clone();
        let answer = next.run(job).await;
        if let Err(failure) = &answer {
            println!("{kind}: {}, it comes again", failure.message);
        }
        answer
    });

    // In a test of yours: what is due is run here, and the time until the next attempt passes at once.
    jobs.push_task(&Welcome { to: "ann".into() }).await?;
    let ran = jobs.run_due(work.clone(), tasks.clone().into_handler()).await?;
    println!("{} attempt, {} failed", ran.len(), ran.iter().filter(|r| r.answer.is_err()).count());
    jobs.forward(Duration::from_secs(60)).await?;
    jobs.run_due(work.clone(), tasks.clone().into_handler()).await?;

    // Elsewhere a worker, and here one who waits for what it yields: whichever process does it, and through its retries.
    let working = jobs.work_tasks(work, tasks);
    let most = Duration::from_secs(30);
    let job = NewJob::of(&Thumb { picture: "cat".into(), width: 200 })?;
    let result: String = jobs.push_and_wait("pictures", job, most).await?.parse()?;
    println!("the thumbnail: {result}");
    let job = NewJob::of(&Thumb { picture: "cat".into(), width: 0 })?;
    let mut pending = jobs.push_pending("pictures", job).await?;
    if let Err(e) = pending.wait(most).await {
        println!("{}", e.to_string().replace(&pending.id().to_string(), "N"));
    }
    working.stop().await?;
    trunkline.close().await;
    Ok(())
}
