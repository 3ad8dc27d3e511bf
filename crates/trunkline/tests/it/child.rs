//! Parts that this binary plays as a process of its own, to be stopped and killed.

use trunkline::requests::{Failure, Request};

use crate::support::{Db, say, secs};

#[tokio::test]
#[ignore = "played by other tests in a process of its own"]
async fn part() {
    let (Ok(part), Ok(url)) = (std::env::var("TRUNKLINE_IT_PART"), std::env::var("TRUNKLINE_IT_URL")) else {
        return;
    };
    let db = Db { name: String::new(), url, postmaster: 0 };
    let me = db.client(&format!("child-{part}")).await;
    match part.as_str() {
        // Takes requests and never answers them.
        "holder" => {
            let _serving = me.requests().serve("work", |request: Request| async move {
                say(&format!("took {}", request.id));
                std::future::pending::<Result<String, Failure>>().await
            });
            here(&db).await;
            std::future::pending::<()>().await;
        }
        // Takes one, and answers it when a line comes on its input.
        "late" => {
            let mut inbox = me.requests().inbox("work");
            here(&db).await;
            let incoming = inbox.next().await.unwrap();
            say(&format!("took {}", incoming.id));
            // Stopped here by SIGSTOP; goes on after SIGCONT.
            incoming_wait(&db, incoming.id).await;
            let verdict = incoming.reply("late").await;
            say(&format!("answered {:?}", verdict.map_err(|e| e.kind())));
        }
        // Does what it is asked to, until it is killed.
        "worker" => crate::storm::worker(&me, &db).await,
        // Takes a batch and never finishes it.
        "consumer" => {
            say("ready");
            let batch = me.streams().consumer("orders", "c").next().await.unwrap();
            say(&format!("took {}", batch.token()));
            std::future::pending::<()>().await;
        }
        // Take jobs, and die or are late.
        "jobber" => crate::jobs_deaths::holder(&me).await,
        "single" => crate::topics_deaths::listener(&me, &db).await,
        "hearer" => crate::topics_frozen::listener(&me, true).await,
        "rester" => crate::topics_frozen::listener(&me, false).await,
        "clock" => crate::jobs_cron::clock(&me).await,
        "lease-holder" => crate::leases_deaths::holder(&me).await,
        "late-jobber" => crate::jobs_deaths::late(&me, &db).await,
        "job-worker" => crate::jobs_steps::worker(&me, &db).await,
        "job-counter" => crate::jobs_steps::counter(&me, &db).await,
        // Buries the dead, and does nothing else.
        "rescuer" => say("ready"),
        // Do what they are told, line by line.
        "caller" => crate::steps::caller(&me).await,
        "responder" => crate::steps::responder(&me).await,
        // Asks and waits.
        "asker" => {
            say("ready");
            let call = me.requests().call("work", "from a child").wait_for_responder().timeout(secs(60));
            let pending = call.start().await.unwrap();
            say("asked");
            let _ = pending.wait().await;
        }
        other => panic!("no part {other}"),
    }
    std::future::pending::<()>().await;
}

/// Says that it serves, once the database shows it.
async fn here(db: &Db) {
    let raw = db.raw().await;
    let me = std::env::var("TRUNKLINE_IT_PART").unwrap();
    raw.until(
        "the child to serve",
        &format!(
            "select exists (select from trunkline.request_responders() where application = 'child-{me}')"
        ),
    )
    .await;
    say("ready");
}

/// Waits until a flag for the request is set in the database, so that the parent decides when to go on.
async fn incoming_wait(db: &Db, id: i64) {
    let raw = db.raw().await;
    raw.until("the flag", &format!("select exists (select from public.go where id = {id})")).await;
}
