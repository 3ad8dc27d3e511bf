//! The listeners: of all that listen to the topic "demo.alarms" one is active and tells what it hears; what is published, and who heard it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{task::JoinHandle, time::sleep};
use trunkline::{
    Error, ErrorKind, Result,
    topics::{self, Subscribe},
};

use super::{
    ALARMS,
    event::{Event, Voice},
    part::{self, Order},
};

/// Arguments of `trunkline demo listener`.
#[derive(Debug, Args)]
pub(super) struct ListenerArgs {
    /// Speak JSON, and leave when stdin closes
    #[arg(long, hide = true)]
    events: bool,
}

/// Listens until it is told to leave.
pub(super) async fn run(url: &str, args: &ListenerArgs, json: bool) -> Result<()> {
    let mut orders = part::orders(args.events)?;
    let trunk = part::connect(url, "demo-listener").await?;
    let voice = Voice::new(args.events || json);
    let mut subscription = trunk.topics().subscribe(Subscribe::new([ALARMS]).single()).await?;
    voice.say(&Event::Ready { address: part::address(&trunk) });
    voice.tell("Listening to the topic \"demo.alarms\", as one of all who do. Ctrl-C leaves.");
    let mut heard = 0;
    loop {
        tokio::select! {
            event = subscription.next() => match event? {
                Some(topics::Event::Message(message)) => {
                    heard += 1;
                    let text = message.text().unwrap_or_default();
                    voice.say(&Event::Heard { n: text.parse().unwrap_or(0), text: text.to_owned() });
                }
                Some(topics::Event::Active { fence, .. }) => voice.say(&Event::Active { fence }),
                Some(topics::Event::Standby { .. }) => voice.say(&Event::Standby),
                Some(_) => {}
                None => break,
            },
            order = orders.recv() => match order {
                Some(Order::Leave) | None => break,
                Some(_) => {}
            },
            () = voice.alone() => break,
        }
    }
    subscription.close().await;
    part::close(trunk).await;
    voice.say(&Event::Left { text: format!("left after {heard} messages") });
    Ok(())
}

/// Publishes 1, 2, 3 … until it is told to end.
pub(super) struct Publisher {
    published: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    task: JoinHandle<Result<()>>,
}

impl Publisher {
    pub(super) fn start(url: &str) -> Self {
        let (published, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (url, count, end) = (url.to_owned(), published.clone(), done.clone());
        let task = tokio::spawn(async move {
            let trunk = part::connect(&url, "demo").await?;
            while !end.load(Ordering::Relaxed) {
                let n = count.load(Ordering::Relaxed) + 1;
                trunk.topics().publish(ALARMS, n.to_string()).await?;
                count.store(n, Ordering::Relaxed);
                sleep(Duration::from_millis(10)).await;
            }
            part::close(trunk).await;
            Ok(())
        });
        Self { published, done, task }
    }

    /// Ends: how many were published.
    pub(super) async fn end(self) -> Result<u64> {
        self.done.store(true, Ordering::Relaxed);
        self.task.await.map_err(|e| Error::new(ErrorKind::Other, e.to_string()))??;
        Ok(self.published.load(Ordering::Relaxed))
    }
}

/// What was published, and what the listeners say of it.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// Known once publishing has ended.
    pub(super) published: u64,
    heard: HashSet<u64>,
    /// How many were heard once more.
    pub(super) again: u64,
    by: HashMap<usize, u64>,
    /// Who was active, one after the other, and with which fence.
    turns: Vec<(usize, i64)>,
    standing_by: HashSet<usize>,
    killed: Option<Instant>,
    /// From the kill to the next one's turn.
    pub(super) took_over: Option<Duration>,
}

impl Alarms {
    pub(super) fn active(&mut self, part: usize, fence: i64) {
        self.standing_by.remove(&part);
        self.turns.push((part, fence));
        self.took_over = self.took_over.or(self.killed.map(|at| at.elapsed()));
    }

    pub(super) fn standby(&mut self, part: usize) {
        self.standing_by.insert(part);
    }

    pub(super) fn hear(&mut self, part: usize, n: u64) {
        self.again += u64::from(!self.heard.insert(n));
        *self.by.entry(part).or_default() += 1;
    }

    /// The active one is about to be killed.
    pub(super) fn kill(&mut self) {
        self.killed = Some(Instant::now());
    }

    /// Who is active, and its fence.
    pub(super) fn turn(&self) -> Option<(usize, i64)> {
        self.turns.last().copied()
    }

    /// One is active, and so many stand by.
    pub(super) fn settled(&self, standing_by: usize) -> bool {
        !self.turns.is_empty() && self.standing_by.len() == standing_by
    }

    pub(super) fn of(&self, part: usize) -> u64 {
        self.by.get(&part).copied().unwrap_or(0)
    }

    /// How many were heard, each once.
    pub(super) fn heard(&self) -> u64 {
        self.heard.len() as u64
    }

    /// All that was published was heard.
    pub(super) fn complete(&self) -> bool {
        (1..=self.published).all(|n| self.heard.contains(&n))
    }

    /// All was heard, by two who were active one after the other, with rising fences.
    pub(super) fn hold(&self) -> bool {
        let rise = self.turns.windows(2).all(|w| w[0].1 < w[1].1 && w[0].0 != w[1].0);
        self.published > 0 && self.complete() && self.turns.len() > 1 && rise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_heard_or_by_two_at_once_is_found() {
        let mut alarms = Alarms { published: 3, ..Alarms::default() };
        alarms.active(1, 7);
        alarms.standby(2);
        assert!(alarms.settled(1) && !alarms.hold());
        for n in [1, 2] {
            alarms.hear(1, n);
        }
        alarms.kill();
        alarms.active(2, 8);
        alarms.hear(2, 2);
        assert!(!alarms.hold(), "3 was not heard");
        alarms.hear(2, 3);
        assert!(alarms.hold() && alarms.took_over.is_some());
        assert_eq!((alarms.heard(), alarms.again, alarms.of(2), alarms.turn()), (3, 1, 2, Some((2, 8))));
        alarms.active(1, 8);
        assert!(!alarms.hold(), "its fence is stale");
    }
}
