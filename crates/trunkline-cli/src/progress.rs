//! A progress bar on stderr, where that is a terminal and somebody wants to hear; elsewhere nothing.
//!
//! Whatever else goes to stderr meanwhile, talk and log, comes above it: see [`aside`].

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Global;

/// The bar that is shown now.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Whether a bar would be seen.
pub(crate) fn seen(global: &Global) -> bool {
    !global.quiet && io::stderr().is_terminal()
}

/// A bar, until it is dropped.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Bytes of so many, if that is known.
    pub(crate) fn bytes(global: &Global, of: Option<u64>) -> Self {
        Self::new(global, of, "{wide_bar} {bytes}/{total_bytes} {msg}")
    }

    /// Things of so many, if that is known.
    pub(crate) fn count(global: &Global, of: Option<u64>) -> Self {
        Self::new(global, of, "{wide_bar} {pos}/{len} {msg}")
    }

    /// None to be seen.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    fn new(global: &Global, of: Option<u64>, template: &str) -> Self {
        let style = ProgressStyle::with_template(if of.is_some() { template } else { "{spinner} {msg}" });
        let (true, Ok(style)) = (seen(global), style) else { return Self::none() };
        let bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr()).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        *shown() = Some(bar.clone());
        Self(Some(bar))
    }

    /// So much more is through, and what to say about it.
    pub(crate) fn add(&self, more: u64, said: String) {
        if let Some(bar) = &self.0 {
            // What comes later makes the whole larger.
            if bar.length().is_some_and(|length| bar.position() + more > length) {
                bar.inc_length(more);
            }
            bar.inc(more);
            bar.set_message(said);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            *shown() = None;
            bar.finish_and_clear();
        }
    }
}

/// Writes something to stderr while the bar is out of the way.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let bar = shown().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Stderr for the log.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        aside(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
