//! The batches of a consumer, one after the other: how `read`, `copy`, `split` and `sql` get their events.
//!
//! It ends when there is nothing now, or waits for more with `--follow`; after `--max` events; and at a signal.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::{sync::watch, time::sleep};
use tracing::warn;
use trunkline::{
    Error, ErrorKind, Trunkline,
    streams::{Batch, Consumer, Mode, Position},
};

use super::position;
use crate::{exit::Result, signals};

/// How long to wait for a batch that another member holds, when not following: one that was killed a moment ago.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How long to go on, and from where a consumer that is new begins.
#[derive(Debug, Args)]
pub(super) struct Consuming {
    /// Where it begins if it is new: end, beginning, tick:N, like:CONSUMER, or a time
    #[arg(long, value_name = "POSITION", value_parser = position)]
    pub(super) at: Option<Position>,

    /// Wait for more when there is nothing left
    #[arg(short, long)]
    follow: bool,

    /// End after this many events
    ///
    /// A batch that was handed out before and not finished comes again as it was, and may be larger.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,

    /// Take over what another member has in hand: it can no longer finish that
    #[arg(long)]
    take: bool,
}

/// A consumer's batches.
pub(super) struct Batches {
    consumer: Option<Consumer>,
    mode: Mode,
    follow: bool,
    left: Option<u64>,
    /// Events in one batch, at most.
    most: Option<u64>,
    stop: watch::Receiver<bool>,
}

impl Batches {
    pub(super) fn new(
        trunkline: &Trunkline,
        (stream, consumer): (&str, &str),
        options: &Consuming,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let mode = if options.take { Mode::Take } else { Mode::Wait };
        let consumer = Some(trunkline.streams().consumer(stream, consumer).mode(mode));
        Self { consumer, mode, follow: options.follow, left: options.max, most: None, stop }
    }

    /// Shares the batches with the other members.
    pub(super) fn share(mut self) -> Self {
        self.mode = Mode::Share;
        self
    }

    /// So many events at most in one batch.
    pub(super) fn small(mut self, most: u64) -> Self {
        self.most = Some(most);
        self
    }

    /// The next batch; none when it is time to end.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>> {
        let stop = self.stop.clone();
        if *stop.borrow() || self.left == Some(0) {
            return Ok(None);
        }
        let Some(mut consumer) = self.consumer.take().map(|c| c.mode(self.mode)) else { return Ok(None) };
        if let Some(most) = self.most.into_iter().chain(self.left).min() {
            consumer = consumer.max_events(usize::try_from(most).unwrap_or(usize::MAX));
        }
        let batch = tokio::select! {
            () = signals::stopped(&stop) => Ok(None),
            batch = take(&mut consumer, self.follow) => batch,
        };
        self.consumer = Some(consumer);
        let batch = batch?;
        if let Some(batch) = &batch {
            self.left = self.left.map(|left| left.saturating_sub(batch.events().len() as u64));
        }
        // Only what was held when we came is taken over; who takes it over from us may keep it.
        if self.mode == Mode::Take {
            self.mode = Mode::Wait;
        }
        Ok(batch)
    }
}

async fn take(consumer: &mut Consumer, follow: bool) -> Result<Option<Batch>> {
    if follow {
        return Ok(Some(consumer.next().await?));
    }
    let since = Instant::now();
    loop {
        match consumer.try_next().await {
            Err(e) if e.kind() == ErrorKind::Conflict && since.elapsed() < PATIENCE => {}
            taken => return Ok(taken?),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a batch was finished: not when it was taken over meanwhile, which is for the other one to finish.
pub(super) fn finished(done: Result<(), Error>) -> Result<bool> {
    match done {
        Err(e) if e.kind() == ErrorKind::Stale => {
            warn!("another member took the batch over; what was done with it here is done there once more");
            Ok(false)
        }
        done => Ok(done.map(|()| true)?),
    }
}
