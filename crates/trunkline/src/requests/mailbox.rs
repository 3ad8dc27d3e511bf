//! A mailbox: the outcomes of many calls, taken one by one.

use std::collections::{BTreeMap, VecDeque};

use tokio::task::JoinSet;

use super::{Call, Reply};
use crate::Result;

/// How one of a mailbox's calls ended: with a reply, or with what it had instead, the passing of its deadline included.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The number that [`Mailbox::send`] gave it.
    pub number: u64,
    /// The destination: a channel, or `@` and an address.
    pub destination: String,
    /// The request's type.
    pub kind: String,
    /// The reply, or the error that a call would have returned.
    pub result: Result<Reply>,
}

/// The outcomes of many calls, as events or to be polled. Dropping it cancels the calls that are still open.
///
/// Each call leaves by one [`Outcome`], at its deadline plus 100 ms at the latest. Holds as many as were sent and not taken.
#[derive(Debug, Default)]
pub struct Mailbox {
    open: JoinSet<(u64, Result<Reply>)>,
    about: BTreeMap<u64, (String, String)>,
    arrived: VecDeque<(u64, Result<Reply>)>,
    sent: u64,
}

impl Mailbox {
    /// Sends a call; its number, which its outcome carries.
    ///
    /// # Errors
    /// As [`Call::start`].
    pub async fn send(&mut self, call: Call) -> Result<u64> {
        let about = call.about();
        let pending = call.start().await?;
        self.sent += 1;
        let number = self.sent;
        self.about.insert(number, about);
        self.open.spawn(async move { (number, pending.wait().await) });
        Ok(number)
    }

    /// The numbers of the calls that have no outcome yet, in the order of sending.
    pub fn awaiting(&mut self) -> Vec<u64> {
        self.arrive();
        let arrived: Vec<u64> = self.arrived.iter().map(|a| a.0).collect();
        self.about.keys().copied().filter(|n| !arrived.contains(n)).collect()
    }

    /// The numbers of the calls whose outcome is here and was not taken yet, in the order of arrival.
    pub fn replies(&mut self) -> Vec<u64> {
        self.arrive();
        self.arrived.iter().map(|a| a.0).collect()
    }

    /// Takes the next outcome if one is here now.
    pub fn try_next(&mut self) -> Option<Outcome> {
        self.arrive();
        let (number, result) = self.arrived.pop_front()?;
        Some(self.outcome(number, result))
    }

    /// Takes the next outcome, waiting for it; none when every call had its own. Cancel-safe.
    pub async fn next(&mut self) -> Option<Outcome> {
        while self.arrived.is_empty() {
            if let Ok(arrived) = self.open.join_next().await? {
                self.arrived.push_back(arrived);
            }
        }
        self.try_next()
    }

    /// Takes the outcome of one call if it is here now, past those before it.
    pub fn take(&mut self, number: u64) -> Option<Outcome> {
        self.arrive();
        let at = self.arrived.iter().position(|a| a.0 == number)?;
        let (number, result) = self.arrived.remove(at)?;
        Some(self.outcome(number, result))
    }

    fn arrive(&mut self) {
        while let Some(done) = self.open.try_join_next() {
            self.arrived.extend(done);
        }
    }

    fn outcome(&mut self, number: u64, result: Result<Reply>) -> Outcome {
        let (destination, kind) = self.about.remove(&number).unwrap_or_default();
        Outcome { number, destination, kind, result }
    }
}
