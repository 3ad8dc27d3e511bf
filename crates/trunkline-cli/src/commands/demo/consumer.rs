//! The consumer: sends HASH requests of every kind, checks the replies, and leaves when SHUTDOWN comes.
//!
//! Every request is announced before it is sent, and its end is told when it is known, whatever that is.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use clap::Args;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use trunkline::{
    Error, ErrorKind, Result, Trunkline,
    requests::{Failure, Reply, Request, Serve},
    streams::NewEvent,
};

use super::{
    ANSWERS, CHANNEL, FROM, HASH, SHUTDOWN, WORK, controller,
    event::{Event, How, Voice},
    part::{self, Order},
};

/// Arguments of `trunkline demo consumer`.
#[derive(Debug, Args)]
pub(super) struct ConsumerArgs {
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// The most requests that await their reply at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    in_flight: u16,
    /// The deadline of a request, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    deadline: u32,
    /// How long requests that take time are worked on, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(10..=60_000))]
    work: u32,
    /// Append what was answered to the stream "answers", which must be there
    #[arg(long)]
    append: bool,
    /// Speak JSON, and leave when stdin closes
    #[arg(long, hide = true)]
    events: bool,
}

/// One request to be made.
#[derive(Debug, Clone, Copy)]
struct Ask {
    n: u64,
    /// It may run twice.
    idempotent: bool,
    /// It waits for a responder, instead of failing at once where there is none.
    patient: bool,
    work: Duration,
    deadline: Duration,
    /// Cancelled after this time.
    cancel: Option<Duration>,
    /// Not a number: the controller refuses it.
    odd: bool,
}

impl Ask {
    /// Most requests are quick, every tenth takes time; a few are cancelled, and a few no controller can answer.
    fn of(n: u64, args: &ConsumerArgs) -> Self {
        let deadline = Duration::from_millis(args.deadline.into());
        let work = Duration::from_millis(args.work.into());
        let quick = Self {
            n,
            idempotent: n.is_multiple_of(2),
            patient: n % 10 == 7,
            work: Duration::ZERO,
            deadline,
            cancel: None,
            odd: n % 40 == 15,
        };
        match n % 40 {
            25 => Self { work, deadline: work * 4, cancel: Some(work / 4), ..quick },
            k if k % 10 == 3 => Self { work: work / 2, deadline: work * 4, ..quick },
            _ => quick,
        }
    }

    /// A request that is long in the controller's hands; every other one may run twice.
    fn long(n: u64, args: &ConsumerArgs) -> Self {
        let work = Duration::from_millis(args.work.into());
        Self {
            n,
            idempotent: n.is_multiple_of(2),
            patient: false,
            work,
            deadline: work * 4 + Duration::from_secs(2),
            cancel: None,
            odd: false,
        }
    }

    /// Scattered, but the same for the same request.
    fn number(&self) -> String {
        let scattered = ((u64::from(std::process::id()) << 32) + self.n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if self.odd { "seven".to_owned() } else { (scattered >> 34).to_string() }
    }
}

/// A consumer at work.
struct Consumer<'a> {
    trunk: &'a Trunkline,
    args: &'a ConsumerArgs,
    voice: Arc<Voice>,
    asking: JoinSet<()>,
    room: Arc<Semaphore>,
    next: u64,
}

/// Sends requests until it is told to leave, or is sent SHUTDOWN.
pub(super) async fn run(url: &str, args: &ConsumerArgs, json: bool) -> Result<()> {
    let mut orders = part::orders(args.events)?;
    let trunk = part::connect(url, "demo-consumer").await?;
    let voice = Arc::new(Voice::new(args.events || json));
    let (told, shutdown) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (flag, bell, herald) = (told.clone(), shutdown.clone(), voice.clone());
    let serving = trunk.requests().serve(Serve::own_address().types([SHUTDOWN]), move |_: Request| {
        if !flag.swap(true, Ordering::Relaxed) {
            herald.say(&Event::Shutdown);
            bell.notify_one();
        }
        async { Ok::<_, Failure>("") }
    });
    serving.ready().await?;
    voice.say(&Event::Ready { address: part::address(&trunk) });
    voice.tell("Sending HASH requests to the channel \"hash\". Ctrl-C leaves.");
    let room = Arc::new(Semaphore::new(usize::from(args.in_flight)));
    let mut consumer =
        Consumer { trunk: &trunk, args, voice: voice.clone(), asking: JoinSet::new(), room, next: 1 };
    let mut tick = interval(Duration::from_secs(1) / args.rate);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.notified() => break,
            order = orders.recv() => match order {
                Some(Order::Burst(most)) => consumer.burst(most),
                Some(Order::Shutdown) => {}
                Some(Order::Leave) | None => break,
            },
            _ = consumer.asking.join_next(), if !consumer.asking.is_empty() => {}
            _ = tick.tick() => consumer.tick(),
            () = voice.alone() => break,
        }
    }
    let asked = consumer.next - 1;
    consumer.finish().await;
    let _ = timeout(Duration::from_secs(2), serving.stop()).await;
    part::close(trunk).await;
    let why = if told.load(Ordering::Relaxed) { "SHUTDOWN obeyed" } else { "left" };
    voice.say(&Event::Left { text: format!("{why} after {asked} requests") });
    Ok(())
}

impl Consumer<'_> {
    /// The next request, if there is room for it.
    fn tick(&mut self) {
        if let Ok(place) = self.room.clone().try_acquire_owned() {
            self.ask(Ask::of(self.next, self.args), Some(place));
        }
    }

    fn burst(&mut self, most: usize) {
        for _ in 0..most {
            self.ask(Ask::long(self.next, self.args), None);
        }
    }

    fn ask(&mut self, ask: Ask, place: Option<OwnedSemaphorePermit>) {
        self.next += 1;
        let flight = Flight::begin(ask, self.voice.clone());
        let (trunk, logs) = (self.trunk.clone(), self.args.append || self.args.events);
        self.asking.spawn(async move {
            let outcome = send(&trunk, &flight).await;
            drop(place);
            let (number, voice) = (flight.number.clone(), flight.voice.clone());
            let answer = outcome.as_ref().ok().map(|reply| reply.payload.clone());
            flight.end(outcome);
            if let Some(answer) = answer.filter(|_| logs) {
                log(&trunk, &voice, NewEvent::new(answer).kind(HASH).key(number)).await;
            }
        });
    }

    /// Waits a moment for what is in flight, and cancels the rest.
    async fn finish(&mut self) {
        let all = async { while self.asking.join_next().await.is_some() {} };
        if timeout(Duration::from_millis(1500), all).await.is_err() {
            self.asking.shutdown().await;
        }
    }
}

/// Appends to the stream, and tells when that is committed.
async fn log(trunk: &Trunkline, voice: &Voice, event: NewEvent) {
    match trunk.streams().append(ANSWERS, event).await {
        Ok(id) => voice.say(&Event::Logged { id }),
        Err(e) => crate::out::talk(&format!("an answer was not logged: {e}")),
    }
}

async fn send(trunk: &Trunkline, flight: &Flight) -> Result<Reply> {
    let ask = flight.ask;
    let mut call = trunk
        .requests()
        .call(CHANNEL, flight.number.as_str())
        .kind(HASH)
        .timeout(ask.deadline)
        .header(FROM, part::address(trunk));
    if ask.idempotent {
        call = call.idempotent();
    }
    if ask.patient {
        call = call.wait_for_responder();
    }
    if ask.work > Duration::ZERO {
        call = call.header(WORK, ask.work.as_millis().to_string());
    }
    let pending = call.start().await?;
    match ask.cancel {
        None => pending.wait().await,
        Some(after) => {
            tokio::time::sleep(after).await;
            pending.cancel().await
        }
    }
}

/// A request between its announcement and its end. Dropped on the way, it was cancelled.
struct Flight {
    ask: Ask,
    number: String,
    voice: Arc<Voice>,
    began: Instant,
    ended: bool,
}

impl Flight {
    fn begin(ask: Ask, voice: Arc<Voice>) -> Self {
        let number = ask.number();
        let quick = ask.work.is_zero() && ask.cancel.is_none() && !ask.odd;
        voice.say(&Event::Sent { n: ask.n, number: number.clone(), quick });
        Self { ask, number, voice, began: Instant::now(), ended: false }
    }

    fn end(mut self, outcome: Result<Reply>) {
        match outcome {
            Ok(reply) => {
                let text = reply.text().unwrap_or_default();
                let correct = !self.ask.odd && text == controller::md5(&self.number);
                self.tell(How::Replied, correct, text);
            }
            Err(e) => {
                let how = meaning(&e);
                // A refusal is the right answer to what is not a number, and to nothing else.
                let refused = how == How::RemoteError && e.code() == Some("not_a_number");
                self.tell(how, how != How::RemoteError || (refused && self.ask.odd), &e.to_string());
            }
        }
    }

    fn tell(&mut self, how: How, correct: bool, text: &str) {
        self.ended = true;
        let us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let number = self.number.clone();
        self.voice.say(&Event::Ended { n: self.ask.n, number, how, us, correct, text: text.to_owned() });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(How::Cancelled, true, "still in flight when the consumer left");
        }
    }
}

fn meaning(e: &Error) -> How {
    match e.kind() {
        ErrorKind::TimedOut => How::TimedOut,
        ErrorKind::NoResponder => How::NoResponder,
        ErrorKind::Lost => How::Lost,
        ErrorKind::Remote => How::RemoteError,
        ErrorKind::Cancelled => How::Cancelled,
        _ => How::Failed,
    }
}
