//! The director: seven phases, from steady work over absent and dead parts to SHUTDOWN for everybody, a queue of jobs, and listeners of
//! which one is active.

use std::time::Duration;

use tokio::time::Instant;
use trunkline::{Error, ErrorKind, Result};

use super::{
    ALARMS, COUNTERS, LISTENERS, VICTIM, WORKERS,
    books::Books,
    counter,
    event::How,
    listener::Publisher,
    part::{self, Order},
    plan::Plan,
    queue::{JOBS, Queue, TAKES, listed},
    screen::{Screen, Tone},
    stage::{Role, Stage, State},
    summary::{self, Verdict},
};

/// How long a part may take to come, or to leave.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for the death of a session to be noticed: every process looks once a second.
const NOTICE: Duration = Duration::from_millis(2500);
/// How often the database is asked what became of the jobs.
const LOOK: Duration = Duration::from_millis(100);

/// Room for all that waits in a controller's hands at the highest rate, so that quick requests do not queue behind.
const CONTROLLER: [(&str, u128); 1] = [("--concurrency", 1000)];
/// How many jobs a worker does at once.
const HANDS: u8 = 4;

/// Runs the demo from beginning to end.
///
/// # Errors
/// As [`super::run`].
pub(super) async fn run(plan: Plan, url: String, json: bool) -> Result<()> {
    // What is wrong with the database is told here, once, and as what it is.
    let trunk = part::connect(&url, "demo").await?;
    counter::prepare(&trunk, COUNTERS).await?;
    part::close(trunk).await;
    let began = Instant::now();
    let mut stage = Stage::new(url.clone(), Screen::new(json, plan.length)?)?;
    let played = Box::pin(play(&plan, &mut stage, &url)).await;
    stage.clear().await;
    if let Ok(trunk) = part::connect(&url, "demo").await {
        let _ = counter::forget(&trunk, COUNTERS).await;
        part::close(trunk).await;
    }
    match played {
        Ok(()) => {}
        Err(_) if stage.screen.closed() => return Ok(()),
        Err(e) => return Err(e),
    }
    let verdict = Verdict::of(&mut stage).await;
    summary::print(&mut stage, &verdict, json, began.elapsed());
    match verdict.broken() {
        None => Ok(()),
        Some(promise) => {
            Err(Error::new(ErrorKind::Other, format!("the demo failed: it does not hold that {promise}")))
        }
    }
}

async fn play(plan: &Plan, stage: &mut Stage, url: &str) -> Result<()> {
    let mut show = Show { plan, stage, consumers: Vec::new(), counters: Vec::new() };
    let first = Box::pin(show.steady()).await?;
    Box::pin(show.without(first)).await?;
    let controllers = Box::pin(show.back()).await?;
    let last = Box::pin(show.kills(controllers)).await?;
    Box::pin(show.shutdown(last)).await?;
    Box::pin(show.jobs(url)).await?;
    Box::pin(show.listeners(url)).await
}

struct Show<'a> {
    plan: &'a Plan,
    stage: &'a mut Stage,
    consumers: Vec<usize>,
    /// Those of the stream.
    counters: Vec<usize>,
}

impl Show<'_> {
    /// 1: steady work, until the controller stands still for a moment.
    async fn steady(&mut self) -> Result<usize> {
        self.phase(1, "steady work");
        let controller = self.controllers(&["A"]).await?[0];
        self.counters = self.start_counters().await?;
        self.consumers = self.start_consumers().await?;
        self.say(&format!(
            "controller A serves \"hash\", {} consumers send it {} HASH requests a second each",
            self.plan.consumers, self.plan.rate
        ));
        self.say("what is answered they append to the stream \"answers\", and counters a and b consume it");
        self.stage.screen.begin();
        self.stage.books.calm(true);
        self.stage.play(self.plan.share(24)).await?;
        self.stage.books.calm(false);
        let before = self.count(How::TimedOut);
        self.stage.freeze(controller, true)?;
        self.act("controller A", "stands still (SIGSTOP): what it took or is sent runs into its deadline");
        self.stage.play(self.plan.freeze()).await?;
        self.stage.freeze(controller, false)?;
        let late = self.count(How::TimedOut) - before;
        self.act("controller A", &format!("goes on (SIGCONT); {late} requests timed out meanwhile"));
        self.stage.play(self.plan.share(8)).await?;
        Ok(controller)
    }

    /// 2: nobody serves the channel.
    async fn without(&mut self, controller: usize) -> Result<()> {
        self.phase(2, "no controller");
        let (none, late) = (self.count(How::NoResponder), self.count(How::TimedOut));
        self.stage.order(controller, Order::Leave).await;
        self.act("controller A", "is told to leave: takes no more, answers what it has");
        self.stage.play(self.plan.share(18)).await?;
        let (none, late) = (self.count(How::NoResponder) - none, self.count(How::TimedOut) - late);
        self.say(&format!(
            "{none} requests failed at once, nobody there; {late} waited for somebody in vain"
        ));
        self.stage.settled(&[controller], &[State::Left], PATIENCE).await
    }

    /// 3: two controllers share the work.
    async fn back(&mut self) -> Result<Vec<usize>> {
        self.phase(3, "two controllers");
        let controllers = self.controllers(&["B", "C"]).await?;
        self.say("controllers B and C are here and share the work");
        self.stage.play(self.plan.share(2)).await?;
        self.stage.books.calm(true);
        self.stage.play(self.plan.share(14)).await?;
        self.stage.books.calm(false);
        Ok(controllers)
    }

    /// 4: a consumer and a controller are killed in the middle of their work. Returns the other controller.
    async fn kills(&mut self, controllers: Vec<usize>) -> Result<usize> {
        self.phase(4, "sudden deaths");
        if self.consumers.len() > 1
            && let Some(victim) = self.consumers.pop()
        {
            self.kill_consumer(victim).await?;
        }
        self.stage.play(self.plan.share(6)).await?;
        let (victim, heir) = self.kill_controller(&controllers).await?;
        let victim = self.name(victim);
        self.say(&format!("{} goes on alone after {victim}", self.name(heir)));
        self.stage.play(self.plan.share(4)).await?;
        Ok(heir)
    }

    async fn kill_consumer(&mut self, victim: usize) -> Result<()> {
        let name = self.name(victim);
        let held = |books: &Books| books.desks.values().map(|d| d.in_hand.len()).sum::<usize>();
        let before = held(&self.stage.books);
        self.stage.order(victim, Order::Burst(4)).await;
        self.stage.until(Instant::now() + NOTICE, |s| held(&s.books) >= before + 3).await?;
        let dropped = self.stage.books.handlers_given_up();
        self.stage.kill(victim).await?;
        let open = self.stage.books.accounts.get(&victim).map_or(0, |a| a.in_flight());
        self.act(&name, &format!("is killed (SIGKILL) with {open} requests in flight"));
        let end = Instant::now() + NOTICE.min(self.plan.work() + Duration::from_millis(500));
        self.stage.until(end, |s| s.books.handlers_given_up() >= dropped + 4).await?;
        let dropped = self.stage.books.handlers_given_up() - dropped;
        self.say(&format!("the controllers gave up {dropped} handlers whose caller no longer waits"));
        Ok(())
    }

    async fn kill_controller(&mut self, controllers: &[usize]) -> Result<(usize, usize)> {
        for consumer in self.consumers.clone() {
            self.stage.order(consumer, Order::Burst(4)).await;
        }
        let wanted = self.consumers.len() * 4;
        let held = |s: &Stage, id: &usize| s.books.desks.get(id).map_or(0, |d| d.in_hand.len());
        let end = Instant::now() + Duration::from_millis(500);
        self.stage.until(end, |s| controllers.iter().map(|c| held(s, c)).sum::<usize>() >= wanted).await?;
        let busiest = controllers.iter().copied().max_by_key(|c| held(self.stage, c));
        let heir = controllers.iter().copied().find(|c| Some(*c) != busiest);
        let (Some(victim), Some(heir)) = (busiest, heir) else {
            return Err(Error::new(ErrorKind::Other, "the demo has no two controllers"));
        };
        let (lost, again) = (self.count(How::Lost), self.stage.books.second_hand());
        self.stage.kill(victim).await?;
        let held = held(self.stage, &victim);
        self.act(&self.name(victim), &format!("is killed (SIGKILL) with {held} requests in its hands"));
        let end = Instant::now() + NOTICE;
        self.stage
            .until(end, |s| {
                let noticed = s.books.ended(How::Lost) - lost + s.books.second_hand() - again;
                usize::try_from(noticed).is_ok_and(|n| n >= held)
            })
            .await?;
        self.stage.play(self.plan.share(4)).await?;
        let (lost, again) = (self.count(How::Lost) - lost, self.stage.books.second_hand() - again);
        let heir_name = self.name(heir);
        self.say(&format!("{again} idempotent requests went to {heir_name}; {lost} others ended as lost"));
        Ok((victim, heir))
    }

    /// 5: SHUTDOWN to every consumer's own address.
    async fn shutdown(&mut self, controller: usize) -> Result<()> {
        self.phase(5, "SHUTDOWN");
        self.act(&self.name(controller), "sends SHUTDOWN, one-way, to every consumer that has asked");
        self.stage.order(controller, Order::Shutdown).await;
        let consumers = self.consumers.clone();
        // A consumer that does not obey is found by the verdict; the others are not to be killed for it.
        let gone = self.stage.settled(&consumers, &[State::Left], PATIENCE).await;
        if let Err(e) = gone
            && e.kind() != ErrorKind::TimedOut
        {
            return Err(e);
        }
        let addresses: Vec<String> =
            consumers.iter().map(|id| self.stage.parts[*id].address.clone()).collect();
        let end = Instant::now() + Duration::from_secs(3);
        self.stage.until(end, |s| addresses.iter().all(|a| s.books.told.contains_key(a))).await?;
        self.stage.order(controller, Order::Leave).await;
        self.stage.settled(&[controller], &[State::Left], PATIENCE).await?;
        self.counted().await
    }

    /// The counters leave once they have seen everything. What they did not see is found by the verdict.
    async fn counted(&mut self) -> Result<()> {
        let counters = self.counters.clone();
        let end = Instant::now() + PATIENCE;
        self.stage.until(end, |s| s.books.tally.complete(counters.len())).await?;
        for counter in &counters {
            self.stage.order(*counter, Order::Leave).await;
        }
        self.stage.settled(&counters, &[State::Left], PATIENCE).await
    }

    /// 6: workers share a queue, and one of them is killed.
    async fn jobs(&mut self, url: &str) -> Result<()> {
        self.phase(6, "jobs");
        let mut workers = Vec::new();
        for number in 1..=WORKERS {
            let options = [("--number", u128::from(number)), ("--concurrency", u128::from(HANDS))];
            workers.push(self.stage.start(Role::Worker, format!("worker {number}"), &options)?);
        }
        self.ready(&workers).await?;
        let mut queue = Queue::push(url).await?;
        let worked = Box::pin(self.work_off(&mut queue, &workers)).await;
        queue.close().await;
        worked?;
        let left = workers.into_iter().filter(|id| !self.stage.parts[*id].ended()).collect::<Vec<_>>();
        for worker in &left {
            self.stage.order(*worker, Order::Leave).await;
        }
        self.stage.settled(&left, &[State::Left], PATIENCE).await
    }

    async fn work_off(&mut self, queue: &mut Queue, workers: &[usize]) -> Result<()> {
        self.say(&format!(
            "{JOBS} jobs of {} ms each are in the queue \"demo\"; workers 1 to {WORKERS} do {HANDS} at once each",
            TAKES.as_millis()
        ));
        let end = Instant::now() + PATIENCE;
        self.stage.books.jobs = queue.look().await?;
        let victim = workers[usize::from(VICTIM) - 1];
        self.kill_worker(queue, victim).await?;
        loop {
            self.stage.books.jobs = queue.look().await?;
            if self.stage.books.jobs.complete() || Instant::now() >= end {
                break;
            }
            self.stage.play(LOOK).await?;
        }
        let jobs = &self.stage.books.jobs;
        let told = [jobs.came_again(), jobs.were_done(VICTIM)];
        told.iter().for_each(|text| self.say(text));
        Ok(())
    }

    /// A quarter of the jobs is done, and the victim has just begun with some.
    async fn kill_worker(&mut self, queue: &mut Queue, victim: usize) -> Result<()> {
        let quarter = JOBS as u64 / 4;
        self.stage.until(Instant::now() + PATIENCE, |s| s.books.finished() >= quarter).await?;
        let began = |s: &Stage| s.books.benches.get(&victim).map_or(0, |b| b.began);
        let fresh = began(self.stage) + u64::from(HANDS);
        let busy = |s: &Stage| began(s) >= fresh && s.books.in_hand(victim).len() == usize::from(HANDS);
        self.stage.until(Instant::now() + NOTICE, busy).await?;
        queue.condemn(VICTIM).await?;
        self.stage.kill(victim).await?;
        let held = queue.estate(&self.stage.books.in_hand(victim)).await?.to_vec();
        let text = format!("is killed (SIGKILL) with {} jobs in its hands: {}", held.len(), listed(&held));
        self.act(&self.name(victim), &text);
        Ok(())
    }

    /// 7: of three that listen one is active, and is killed.
    async fn listeners(&mut self, url: &str) -> Result<()> {
        self.phase(7, "one listener");
        let mut listeners = Vec::new();
        for number in 1..=LISTENERS {
            listeners.push(self.stage.start(Role::Listener, format!("listener {number}"), &[])?);
        }
        self.ready(&listeners).await?;
        let settled = |s: &Stage| s.books.alarms.settled(LISTENERS - 1);
        self.stage.until(Instant::now() + PATIENCE, settled).await?;
        let publisher = Publisher::start(url);
        let heard = Box::pin(self.kill_listener()).await;
        self.stage.books.alarms.published = publisher.end().await?;
        heard?;
        self.stage.until(Instant::now() + PATIENCE, |s| s.books.alarms.complete()).await?;
        listeners.retain(|id| !self.stage.parts[*id].ended());
        for listener in &listeners {
            self.stage.order(*listener, Order::Leave).await;
        }
        self.stage.settled(&listeners, &[State::Left], PATIENCE).await
    }

    async fn kill_listener(&mut self) -> Result<()> {
        let Some((victim, _)) = self.stage.books.alarms.turn() else {
            return Err(Error::new(ErrorKind::Other, "no listener became active"));
        };
        let name = self.name(victim);
        self.say(&format!("{LISTENERS} listen to \"{ALARMS}\": {name} is active, the others stand by"));
        self.stage.until(Instant::now() + PATIENCE, |s| s.books.alarms.of(victim) >= 30).await?;
        self.stage.books.alarms.kill();
        self.stage.kill(victim).await?;
        let heard = self.stage.books.alarms.of(victim);
        self.act(&name, &format!("is killed (SIGKILL) after {heard} messages; publishing goes on"));
        let other = |s: &Stage| s.books.alarms.turn().filter(|(id, _)| *id != victim);
        let goes_on = |s: &Stage| other(s).is_some_and(|(id, _)| s.books.alarms.of(id) >= 30);
        self.stage.until(Instant::now() + PATIENCE, goes_on).await?;
        if let (Some((id, fence)), Some(took)) = (other(self.stage), self.stage.books.alarms.took_over) {
            let name = self.name(id);
            self.say(&format!(
                "{name} is active {:.2} s after the kill, with fence {fence}",
                took.as_secs_f64()
            ));
        }
        Ok(())
    }

    async fn start_counters(&mut self) -> Result<Vec<usize>> {
        let mut ids = Vec::new();
        for (number, letter) in (1..=COUNTERS).zip('a'..) {
            let options = [("--number", u128::from(number))];
            ids.push(self.stage.start(Role::Counter, format!("counter {letter}"), &options)?);
        }
        self.ready(&ids).await?;
        Ok(ids)
    }

    async fn controllers(&mut self, letters: &[&str]) -> Result<Vec<usize>> {
        let mut ids = Vec::new();
        for letter in letters {
            ids.push(self.stage.start(Role::Controller, format!("controller {letter}"), &CONTROLLER)?);
        }
        self.ready(&ids).await?;
        Ok(ids)
    }

    async fn start_consumers(&mut self) -> Result<Vec<usize>> {
        let options = [
            ("--rate", u128::from(self.plan.rate)),
            ("--in-flight", u128::from(self.plan.rate.clamp(8, 64))),
            ("--deadline", self.plan.deadline().as_millis()),
            ("--work", self.plan.work().as_millis()),
        ];
        let mut ids = Vec::new();
        for n in 1..=self.plan.consumers {
            ids.push(self.stage.start(Role::Consumer, format!("consumer {n}"), &options)?);
        }
        self.ready(&ids).await?;
        Ok(ids)
    }

    async fn ready(&mut self, ids: &[usize]) -> Result<()> {
        self.stage.settled(ids, &[State::Working], PATIENCE).await?;
        match ids.iter().find(|id| self.stage.parts[**id].ended()) {
            None => Ok(()),
            Some(id) => {
                let text = format!("{} did not start", self.stage.parts[*id].name);
                Err(Error::new(ErrorKind::Other, text))
            }
        }
    }

    fn count(&self, how: How) -> u64 {
        self.stage.books.ended(how)
    }

    fn name(&self, id: usize) -> String {
        self.stage.parts[id].name.clone()
    }

    fn phase(&mut self, number: u8, title: &str) {
        self.stage.phase = format!("{number}/7 {title}");
        self.stage.screen.phase(&self.stage.phase);
    }

    fn say(&mut self, text: &str) {
        self.stage.screen.note("", text, Tone::Plain);
    }

    fn act(&mut self, who: &str, text: &str) {
        self.stage.screen.note(who, text, Tone::Bad);
    }
}
