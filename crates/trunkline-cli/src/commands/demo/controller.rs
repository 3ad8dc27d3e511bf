//! The controller: serves `hash`, and sends SHUTDOWN to the consumers it has met.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Args;
use md5::{Digest, Md5};
use tokio::{task::JoinSet, time::Instant};
use trunkline::{
    ErrorKind, Result,
    requests::{Failure, Request, Requests, Serve},
};

use super::{
    CHANNEL, FROM, HASH, LONGEST_WORK, SHUTDOWN, WORK,
    event::{Done, Event, Told, Voice},
    part::{self, Order},
};

/// Arguments of `trunkline demo controller`.
#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// How many requests it works on at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Speak JSON, and leave when stdin closes
    #[arg(long, hide = true)]
    events: bool,
}

/// What the handlers share.
#[derive(Debug)]
struct Desk {
    voice: Voice,
    callers: Mutex<BTreeSet<String>>,
    answered: AtomicU64,
}

/// Serves until it is told to leave.
pub(super) async fn run(url: &str, args: &ControllerArgs, json: bool) -> Result<()> {
    let mut orders = part::orders(args.events)?;
    let trunk = part::connect(url, "demo-controller").await?;
    let desk = Arc::new(Desk {
        voice: Voice::new(args.events || json),
        callers: Mutex::default(),
        answered: AtomicU64::new(0),
    });
    let serve = Serve::channel(CHANNEL).types([HASH]).concurrency(usize::from(args.concurrency));
    let handlers = desk.clone();
    let serving = trunk.requests().serve(serve, move |request| {
        let desk = handlers.clone();
        async move { desk.hash(request).await }
    });
    serving.ready().await?;
    desk.voice.say(&Event::Ready { address: part::address(&trunk) });
    desk.voice
        .tell("Serving HASH on the channel \"hash\". Ctrl-C leaves; \"shutdown\" and Enter sends SHUTDOWN.");
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            () = desk.voice.alone() => None,
        };
        match order {
            Some(Order::Shutdown) => desk.shut_down(&trunk.requests()).await,
            Some(Order::Burst(_)) => {}
            Some(Order::Leave) | None => break,
        }
    }
    let answered = async {
        serving.stop().await;
        part::close(trunk).await;
    };
    // A second Ctrl-C does not wait.
    tokio::select! {
        _ = tokio::time::timeout(Duration::from_secs(10), answered) => {}
        _ = orders.recv() => {}
    }
    let text = format!("left after {} answers", desk.answered.load(Ordering::Relaxed));
    desk.voice.say(&Event::Left { text });
    Ok(())
}

/// What a HASH request asks for, and a job.
pub(super) fn md5(number: &str) -> String {
    Md5::digest(number.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Desk {
    async fn hash(&self, request: Request) -> Result<String, Failure> {
        let from = request.headers.get(FROM).cloned().unwrap_or_default();
        let number = shown(&request);
        // Who gives no address is no consumer of the demo's: answered, and not in its books.
        let in_hand = (!from.is_empty()).then(|| {
            self.callers.lock().unwrap_or_else(PoisonError::into_inner).insert(from.clone());
            self.voice.say(&Event::Took { id: request.id, from, attempt: request.attempt });
            InHand { desk: self, id: request.id, deadline: request.deadline, number, text: None }
        });
        let work: u64 = request.headers.get(WORK).and_then(|ms| ms.parse().ok()).unwrap_or(0);
        if work > 0 {
            tokio::time::sleep(Duration::from_millis(work.min(LONGEST_WORK))).await;
        }
        let number = request.payload.text()?;
        let answer = if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            Ok(md5(number))
        } else {
            Err(Failure::new("not_a_number", "a HASH request carries a number"))
        };
        if let Some(mut in_hand) = in_hand {
            in_hand.text = Some(answer.as_ref().map_or_else(|e| e.message.clone(), String::clone));
        }
        answer
    }

    /// SHUTDOWN to everybody who has asked; waits until each has taken it, or for five seconds.
    async fn shut_down(&self, requests: &Requests) {
        let known = std::mem::take(&mut *self.callers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut sending = JoinSet::new();
        for address in known {
            let call = requests.send(address.as_str(), "").kind(SHUTDOWN).confirm();
            sending.spawn(async move { (address, call.timeout(Duration::from_secs(5)).await) });
        }
        while let Some(sent) = sending.join_next().await {
            let Ok((address, outcome)) = sent else { continue };
            let told = match outcome {
                Ok(_) => Told::Taken,
                Err(e)
                    if matches!(e.kind(), ErrorKind::NoResponder | ErrorKind::NotFound | ErrorKind::Lost) =>
                {
                    Told::Gone
                }
                Err(_) => Told::Unanswered,
            };
            self.voice.say(&Event::Told { address, told });
        }
    }
}

/// What was asked, for people: short, and nothing that could steer a terminal.
fn shown(request: &Request) -> String {
    request.payload.text().unwrap_or("?").chars().filter(|c| !c.is_control()).take(20).collect()
}

/// A request being worked on. Dropped with its handler, it tells why.
struct InHand<'a> {
    desk: &'a Desk,
    id: i64,
    deadline: Instant,
    number: String,
    /// What is answered, once that is known.
    text: Option<String>,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let done = if self.text.is_some() {
            self.desk.answered.fetch_add(1, Ordering::Relaxed);
            Done::Answered
        } else if Instant::now() >= self.deadline {
            Done::TooLate
        } else {
            Done::Ended
        };
        let (number, text) = (std::mem::take(&mut self.number), self.text.take().unwrap_or_default());
        self.desk.voice.say(&Event::Done { id: self.id, done, number, text });
    }
}
