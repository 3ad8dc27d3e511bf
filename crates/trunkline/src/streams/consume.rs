//! A handler for each event of a consumer.
//!
//! Guarantee: a batch is finished when each of its events was handled, or tagged to come again; until then it comes again
//! as a whole. What if it dies here: handled events of a batch that was not finished are handled once more.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream};
use tracing::{Instrument as _, debug, warn};

use super::{Batch, Consumer, Event, Mode, backoff};
use crate::{
    ErrorKind, Result,
    listener::{Listener, turned},
    requests::Failure,
    running::Running,
    trace,
};

/// What happens with an event whose handler failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// It comes again later, and holds up nothing: after 1, 2, 4 … seconds, ten minutes at most.
    #[default]
    Retry,
    /// Its batch comes again as a whole, after a second, and nothing goes past it.
    Hold,
}

/// What to consume, and how.
#[derive(Debug, Clone)]
pub struct Consume {
    stream: String,
    consumer: String,
    mode: Mode,
    concurrency: usize,
    on_failure: OnFailure,
}

impl Consume {
    /// A consumer of a stream, which is registered already.
    pub fn new(stream: impl Into<String>, consumer: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            consumer: consumer.into(),
            mode: Mode::default(),
            concurrency: 1,
            on_failure: OnFailure::default(),
        }
    }

    /// What to do while another member holds the batch.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How many events of a batch are handled at once, 1 to 1,000: above 1, not in order.
    #[must_use]
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = most.clamp(1, 1000);
        self
    }

    /// What happens with an event whose handler failed.
    #[must_use]
    pub fn on_failure(mut self, what: OnFailure) -> Self {
        self.on_failure = what;
        self
    }
}

/// A handler at work. Dropping it stops it at its next `.await`; what it held comes again.
#[derive(Debug)]
pub struct Consuming(Running<bool>);

impl Consuming {
    /// Stops after the batch in hand, and waits for that.
    ///
    /// # Errors
    /// What ended it before: see [`Consuming::ended`].
    pub async fn stop(mut self) -> Result<()> {
        self.0.tell(true);
        self.0.ended().await
    }

    /// Completes when it goes on no longer. Cancel-safe.
    ///
    /// # Errors
    /// What ended it: [`ErrorKind::NotFound`] for a stream or consumer that is not there, [`ErrorKind::Denied`],
    /// [`ErrorKind::Epoch`]; told once.
    pub async fn ended(&mut self) -> Result<()> {
        self.0.ended().await
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn start<H, F>(listener: Arc<Listener>, options: Consume, handler: H) -> Consuming
where
    H: Fn(Event) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<(), Failure>> + Send + 'static,
{
    Consuming(Running::start(false, |mut stopped| async move {
        let consumer = Consumer::new(listener, options.stream.clone(), options.consumer.clone());
        let mut consumer = consumer.mode(options.mode);
        loop {
            let batch = tokio::select! {
                biased;
                () = turned(&mut stopped) => return Ok(()),
                batch = consumer.next() => batch,
            };
            let pause = match batch {
                Ok(batch) => match handle(batch, &options, &handler).await {
                    Ok(true) => continue,
                    Ok(false) => HELD,
                    Err(e) => {
                        debug!(error = %e, "a batch was not finished; it comes again");
                        RETRIED
                    }
                },
                Err(e) if ends(e.kind()) => return Err(e),
                Err(e) => {
                    warn!(stream = options.stream, error = %e, "cannot take a batch; trying again");
                    HELD
                }
            };
            let _ = tokio::time::timeout(pause, turned(&mut stopped)).await;
        }
    }))
}

const HELD: Duration = Duration::from_secs(1);
const RETRIED: Duration = Duration::from_millis(50);

/// Errors that no later try heals.
fn ends(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Epoch | ErrorKind::Invalid | ErrorKind::Schema
    )
}

/// Handles a batch and finishes it; false when it is held back because one of its events failed.
async fn handle<H, F>(mut batch: Batch, options: &Consume, handler: &H) -> Result<bool>
where
    H: Fn(Event) -> F,
    F: Future<Output = std::result::Result<(), Failure>>,
{
    let events = batch.take_events();
    let one = |event: Event| async move {
        let (id, attempt) = (event.id, event.attempt);
        let span = trace::processing(&options.stream, Some(&options.consumer), id, &event.headers);
        let handled = async { handler(event).await }.instrument(span.clone());
        let outcome = AssertUnwindSafe(handled).catch_unwind().await;
        let failure = match outcome {
            Ok(Ok(())) => return None,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new("panic", "the handler panicked"),
        };
        trace::failed(&span, &failure.code);
        Some((id, attempt, format!("{}: {}", failure.code, failure.message)))
    };
    let mut outcomes = stream::iter(events).map(one).buffered(options.concurrency);
    while let Some(outcome) = outcomes.next().await {
        let Some((id, attempt, cause)) = outcome else { continue };
        if options.on_failure == OnFailure::Hold {
            warn!(id, cause, "a handler failed; its batch is held and comes again");
            return Ok(false);
        }
        batch.retry(&[id], backoff(attempt), Some(&cause)).await?;
    }
    drop(outcomes);
    batch.finish().await?;
    Ok(true)
}
