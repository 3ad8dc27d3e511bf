//! What controllers and consumers have in common: connecting, and the orders that come in through stdin.
//!
//! Guarantees that a part which the director started leaves when the director is gone: its stdin is closed then.

use std::{io::BufRead, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::Instant,
};
use trunkline::{
    Result, Trunkline,
    conninfo::{ConnInfo, Env},
};

/// What a part is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Finish what was begun, and leave.
    Leave,
    /// Send SHUTDOWN to every consumer that has asked (controllers).
    Shutdown,
    /// Send this many requests that take time, all at once (consumers).
    Burst(usize),
}

impl Order {
    pub(super) fn line(self) -> String {
        match self {
            Self::Leave => "leave\n".to_owned(),
            Self::Shutdown => "shutdown\n".to_owned(),
            Self::Burst(n) => format!("burst {n}\n"),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match word {
            "leave" | "quit" => Some(Self::Leave),
            "shutdown" | "SHUTDOWN" => Some(Self::Shutdown),
            "burst" => rest.parse().ok().map(Self::Burst),
            _ => None,
        }
    }
}

/// Orders from stdin and from signals. The end of stdin is an order to leave for parts of a director.
pub(super) fn orders(of_director: bool) -> Result<mpsc::UnboundedReceiver<Order>> {
    let (tx, rx) = mpsc::unbounded_channel();
    let from_stdin = tx.clone();
    // A plain thread: a runtime would wait for its blocking tasks, and this one never ends.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if Order::read(&line).is_some_and(|order| from_stdin.send(order).is_err()) {
                return;
            }
        }
        if of_director {
            let _ = from_stdin.send(Order::Leave);
        }
    });
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if tx.send(Order::Leave).is_err() {
                return;
            }
        }
    });
    Ok(rx)
}

/// Connects under a name that `pg_stat_activity` shows; returns once peers can send to it.
pub(super) async fn connect(url: &str, program: &str) -> Result<Trunkline> {
    let trunk = Trunkline::with(ConnInfo::from_str_with(url, &Env::process())?.with_program(program)).await?;
    let end = Instant::now() + Duration::from_secs(5);
    while trunk.address().is_none() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(trunk)
}

/// The address of this process as a destination, empty while it has none.
pub(super) fn address(trunk: &Trunkline) -> String {
    trunk.address().map(|a| format!("@{a}")).unwrap_or_default()
}

/// Closes, but does not wait for a database that does not answer.
pub(super) async fn close(trunk: Trunkline) {
    let _ = tokio::time::timeout(Duration::from_secs(1), trunk.close()).await;
}

/// An error of the operating system.
pub(super) fn system(e: std::io::Error) -> trunkline::Error {
    trunkline::Error::new(trunkline::ErrorKind::Other, e.to_string()).with_source(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        for order in [Order::Leave, Order::Shutdown, Order::Burst(4)] {
            assert_eq!(Order::read(&order.line()), Some(order));
        }
        assert_eq!(Order::read("burst many"), None);
        assert_eq!(Order::read(""), None);
    }
}
