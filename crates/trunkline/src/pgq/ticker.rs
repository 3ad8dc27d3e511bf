//! The ticker of a database: ticks, retries, maintenance, on a clock.
//!
//! Guarantees: one ticker a database, whichever program it is in, as far as they take PgQ's key (ours and pgqueue's do, pgqd
//! does not); a queue that is broken stops no other of the maintenance. What if it dies here: the key is the session's, and
//! the next ticker gets it; rotation's second step is done by whoever comes first.

use std::time::Duration;

use tokio_postgres::Client;
use tracing::{debug, warn};

use super::value;
use crate::Result;

const ALONE: &str = "select pg_try_advisory_lock((select oid from pg_database where datname = current_database())::int, 'pgq'::regnamespace::oid::int)";
const MAINTENANCE: &str = "select func_name, func_arg from pgq.maint_operations()";
/// PgQ moves ten events a call.
const RETRY: &str = "select pgq.maint_retry_events()";

/// How often what is done.
#[derive(Debug, Clone)]
pub struct Ticker {
    /// From tick to tick; 1 s.
    pub every: Duration,
    /// From one round of maintenance to the next; 2 min.
    pub maintenance: Duration,
    /// How often events that come again are moved back; 30 s.
    pub retry: Duration,
}

impl Default for Ticker {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            maintenance: Duration::from_secs(120),
            retry: Duration::from_secs(30),
        }
    }
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Round {
    /// Queues looked at, by PgQ's count.
    pub ticks: i64,
    /// Operations of maintenance.
    pub maintenance: u32,
    /// Events moved back.
    pub retried: i64,
}

impl Ticker {
    /// Takes the key: false when another ticker of this database has it. It is the session's: keep the client.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`](crate::ErrorKind::Schema) when there is no PgQ.
    pub async fn alone(client: &Client) -> Result<bool> {
        value(client, ALONE, &[]).await
    }

    /// Ticks every queue that is due.
    ///
    /// # Errors
    /// What PgQ says.
    pub async fn tick(client: &Client) -> Result<i64> {
        Ok(value::<Option<i64>, _>(client, "select pgq.ticker()", &[]).await?.unwrap_or(0))
    }

    /// Moves back all events whose time to come again has come: how many.
    ///
    /// # Errors
    /// What PgQ says.
    pub async fn retry(client: &Client) -> Result<i64> {
        let mut moved = 0;
        loop {
            let some: i32 = value(client, RETRY, &[]).await?;
            moved += i64::from(some);
            if some == 0 {
                return Ok(moved);
            }
        }
    }

    /// One round of PgQ's maintenance, each operation in a transaction of its own and again while it asks for that; one
    /// that fails stops no other: how many were done.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`](crate::ErrorKind::Schema) when there is no PgQ.
    pub async fn maintain(client: &Client) -> Result<u32> {
        let mut done = 0;
        for row in client.query(MAINTENANCE, &[]).await? {
            let (function, argument): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            match operation(client, &function, argument.as_deref()).await {
                Ok(()) => done += 1,
                Err(e) => warn!(function, argument, error = %e, "maintenance failed"),
            }
        }
        Ok(done)
    }

    /// Ticks until `stop` completes: what was done. `said` gets each round that did more than look.
    ///
    /// # Errors
    /// What ends the session.
    pub async fn run(
        &self,
        client: &Client,
        stop: impl Future<Output = ()>,
        mut said: impl FnMut(Round),
    ) -> Result<Round> {
        let mut stop = std::pin::pin!(stop);
        let mut tick = tokio::time::interval(self.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut maintenance, mut retry) =
            (tokio::time::interval(self.maintenance), tokio::time::interval(self.retry));
        let mut all = Round::default();
        loop {
            let mut round = Round::default();
            tokio::select! {
                () = &mut stop => return Ok(all),
                _ = tick.tick() => round.ticks = Self::tick(client).await?,
                _ = maintenance.tick() => round.maintenance = Self::maintain(client).await?,
                _ = retry.tick() => round.retried = Self::retry(client).await?,
            }
            debug!(?round, "ticker");
            all.ticks += round.ticks;
            all.maintenance += round.maintenance;
            all.retried += round.retried;
            if round != Round::default() {
                said(round);
            }
        }
    }
}

/// A function that PgQ names, with its argument; `vacuum` is a statement. Names come from PgQ's own list, and are quoted.
async fn operation(client: &Client, function: &str, argument: Option<&str>) -> Result<()> {
    let quoted = |name: &str| {
        name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
    };
    if function == "vacuum" {
        return Ok(client.batch_execute(&format!("vacuum {}", quoted(argument.unwrap_or_default()))).await?);
    }
    let name = quoted(function);
    for _ in 0..100 {
        let again: Option<i32> = match argument {
            Some(argument) => value(client, &format!("select {name}($1::text)"), &[&argument]).await?,
            None => value(client, &format!("select {name}()"), &[]).await?,
        };
        if again.unwrap_or(0) == 0 {
            break;
        }
    }
    Ok(())
}
