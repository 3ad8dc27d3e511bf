//! One item for each input line: an event, a job.
//!
//! Lines are read while the ones before are written, as many in a statement as were there. Memory: two pieces of the
//! input, of some hundred KiB each or one line. Guarantees: in the order of the lines, and a prefix of them when one is
//! refused.

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _},
    sync::mpsc,
    task::JoinHandle,
};
use trunkline::{Error, ErrorKind};

use crate::{
    exit::{Failure, Result},
    input,
};

/// The most that is written by one statement.
pub(crate) const ITEMS: usize = 5000;
const BYTES: usize = 1 << 20;

type Input = Box<dyn AsyncBufRead + Unpin + Send>;

/// The input, piece by piece.
pub(crate) struct Pieces {
    come: mpsc::Receiver<Result<Vec<Vec<u8>>>>,
    reading: JoinHandle<()>,
}

impl Pieces {
    /// Begins to read.
    pub(crate) fn of(from: Input) -> Self {
        let (pieces, come) = mpsc::channel(1);
        Self { come, reading: tokio::spawn(read(from, pieces)) }
    }

    /// The next lines; an error is the last there is.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<Vec<u8>>>> {
        self.come.recv().await
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Reads lines, and hands on those that are there. An error is the last thing it hands on.
async fn read(mut from: Input, to: mpsc::Sender<Result<Vec<Vec<u8>>>>) {
    let (mut number, mut failed) = (1, None);
    while failed.is_none() {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < ITEMS && bytes < BYTES {
            match input::next_line(&mut from, number).await {
                Ok(Some(line)) => {
                    bytes += line.len();
                    lines.push(line);
                    number += 1;
                }
                Ok(None) if lines.is_empty() => return,
                Ok(None) => break,
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
            if !another(&mut from) {
                break;
            }
        }
        if to.send(Ok(lines)).await.is_err() {
            return;
        }
    }
    if let Some(e) = failed {
        let _ = to.send(Err(e)).await;
    }
}

/// Whether a whole line has been read ahead.
fn another(from: &mut Input) -> bool {
    let ahead = from.fill_buf().now_or_never();
    ahead.is_some_and(|read| read.is_ok_and(|bytes| bytes.contains(&b'\n')))
}

/// Where lines go.
pub(crate) trait Target {
    type Item: Clone;

    /// What a line becomes.
    fn item(&self, line: Vec<u8>) -> Result<Self::Item>;

    /// Writes some in one statement: all of them, or none.
    async fn write(&self, items: Vec<Self::Item>) -> trunkline::Result<()>;
}

/// Writes an item for each line; `wrote` is told how many lines have been, and how many bytes more. How many lines were
/// written, and what ended it before the end of the input.
pub(crate) async fn write(
    from: Input,
    to: &impl Target,
    mut wrote: impl FnMut(u64, u64),
) -> (u64, Option<Failure>) {
    let (mut pieces, mut count) = (Pieces::of(from), 0);
    while let Some(lines) = pieces.next().await {
        let lines = match lines {
            Ok(lines) => lines,
            Err(e) => return (count, Some(e)),
        };
        let bytes = lines.iter().map(|line| line.len() as u64 + 1).sum();
        let (mut items, mut bad) = (Vec::with_capacity(lines.len()), None);
        for (n, line) in (count + 1..).zip(lines) {
            match to.item(line) {
                Ok(item) => items.push(item),
                Err(e) => {
                    bad = Some(of_line(n, &e));
                    break;
                }
            }
        }
        let written = piece(to, items, &mut count).await;
        if let Some(failure) = written.err().or(bad) {
            return (count, Some(failure));
        }
        wrote(count, bytes);
    }
    (count, None)
}

/// All of them; when they are refused together, one by one up to the one that is to blame.
async fn piece<T: Target>(to: &T, items: Vec<T::Item>, count: &mut u64) -> Result<()> {
    let many = items.len() as u64;
    match to.write(items.clone()).await {
        Ok(()) => *count += many,
        Err(e) if e.kind() == ErrorKind::Unreachable => {
            let text = format!("{e}; of lines {} to {} it is not known", *count + 1, *count + many);
            return Err(Error::new(ErrorKind::Unreachable, text).into());
        }
        Err(e) if e.kind() == ErrorKind::Invalid => {
            for item in items {
                match to.write(vec![item]).await {
                    Ok(()) => *count += 1,
                    Err(e) => return Err(of_line(*count + 1, &e.into())),
                }
            }
        }
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

/// What was wrong with a line.
pub(crate) fn of_line(number: u64, failure: &Failure) -> Failure {
    let said = failure.to_string();
    let alone = ["event 1: ", "job 1: ", "message 1: "].iter().find_map(|p| said.strip_prefix(p));
    let text = format!("line {number}: {}", alone.unwrap_or(&said));
    match failure {
        Failure::Library(e) => Error::new(e.kind(), text).into(),
        _ => Failure::Usage(text),
    }
}
