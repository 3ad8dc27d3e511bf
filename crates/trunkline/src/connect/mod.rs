//! Opening sessions: hosts in turn, TLS, our session settings, and a check of what answered.
//!
//! A [`Session`] that is handed out has reached a writable primary of PostgreSQL 15 or later. Guarantees: defaults of
//! the role or the database do not end it (`statement_timeout`, `idle_session_timeout`, `transaction_timeout`), a
//! vanished peer is noticed by both sides in about ten seconds, and [`Server::pooled`] tells whether a pooler is in
//! between, in which case none of that is promised and nothing is SET. It does not reconnect; a session that breaks
//! stays broken.

mod attempt;
mod cancel;
mod check;
mod driver;
mod pool;
mod tls;

pub use cancel::{CancelOnDrop, Canceller};
pub use check::Server;
pub use driver::Driver;
pub use pool::{Pool, PoolOptions};

use crate::{
    Error, ErrorKind, Result,
    conninfo::{ConnInfo, Endpoint, LoadBalance, Prepared, TargetSessionAttrs},
};
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a session is for; decides how long it waits for locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Statements of the words: 10 s.
    Work,
    /// The engine's one connection, for LISTEN and short statements: half a second, since everything of the process waits
    /// behind a statement that waits for somebody's open transaction.
    Listen,
    /// Installing and upgrading the schema: 60 s.
    Install,
}

impl Purpose {
    fn lock_timeout(self) -> &'static str {
        match self {
            Self::Work => "10s",
            Self::Listen => "500ms",
            Self::Install => "60s",
        }
    }
}

/// An open, checked session in its parts. [`Session::driver`] must be polled for anything to happen.
#[derive(Debug)]
#[non_exhaustive]
pub struct Session {
    /// Sends statements.
    pub client: Client,
    /// Does the input and output; gives notices and notifications.
    pub driver: Driver,
    /// Cancels statements.
    pub canceller: Canceller,
    /// What answered.
    pub server: Server,
    /// Statements may be prepared: the setting is `auto` and no pooler is in between.
    pub may_prepare: bool,
}

impl ConnInfo {
    /// Opens a session on the first host, in order or shuffled, that is a writable primary of version 15 or later.
    /// Each address of a host gets `connect_timeout` for everything, checks included. As with libpq, a refused login ends the search.
    /// `target_session_attrs` can only narrow this: `standby` and `read-only` can never be met.
    ///
    /// Cancel-safe: a connection that is under way is closed.
    ///
    /// # Errors
    /// Each host's reason in one message. [`ErrorKind::Unreachable`] if no host answered; else the first other kind:
    /// [`ErrorKind::Unsupported`] (standby, read-only, too old), [`ErrorKind::Denied`], [`ErrorKind::Config`] (a
    /// certificate that is not trusted, a missing file, an unknown database).
    pub async fn connect(&self, purpose: Purpose) -> Result<Session> {
        if matches!(self.target, TargetSessionAttrs::Standby | TargetSessionAttrs::ReadOnly) {
            let message =
                format!("target_session_attrs={}: only a writable primary will do", self.target.as_str());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut failures: Vec<(String, Error)> = Vec::new();
        for host in self.order() {
            match self.connect_host(host, purpose).await {
                Ok(session) => return Ok(session),
                Err(e) => {
                    let last = e.kind() == ErrorKind::Denied;
                    failures.push((host.label(), e));
                    if last {
                        break;
                    }
                }
            }
        }
        Err(combine(failures))
    }

    fn order(&self) -> Vec<&Endpoint> {
        let mut hosts: Vec<&Endpoint> = self.endpoints.iter().collect();
        if self.load_balance == LoadBalance::Random {
            shuffle(&mut hosts);
        }
        hosts
    }

    /// Tries each address of the host. Names are looked up here and not by the driver, so that a cancel request later
    /// goes to the same server.
    async fn connect_host(&self, host: &Endpoint, purpose: Purpose) -> Result<Session> {
        let connector = tls::connector(&self.tls)?;
        let addresses = self.in_time(resolve(host, self.load_balance)).await?;
        let mut outcome = Err(Error::new(ErrorKind::Unreachable, "the host name has no address"));
        for address in addresses {
            outcome = self.in_time(Box::pin(self.open_address(address, purpose, &connector))).await;
            if !outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unreachable) {
                break;
            }
        }
        outcome
    }

    async fn in_time<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        match self.connect_timeout {
            None => step.await,
            Some(limit) => tokio::time::timeout(limit, step).await.unwrap_or_else(|_| {
                let message = format!("no answer within connect_timeout ({} s)", limit.as_secs());
                Err(Error::new(ErrorKind::Unreachable, message))
            }),
        }
    }

    async fn open_address(
        &self,
        host: Endpoint,
        purpose: Purpose,
        tls: &MakeRustlsConnect,
    ) -> Result<Session> {
        let (client, connection, encrypted) = attempt::open(self, &host, purpose, tls).await?;
        let mut driver = Driver::new(connection);
        let key = driver::cancel_request(&client).await;
        let key = key.ok_or_else(|| Error::new(ErrorKind::Other, "the session has no key for cancelling"))?;
        let server = check::check(&client, &mut driver, &key).await?;
        let theirs = self.options.as_deref().is_some_and(|o| o.contains("transaction_timeout="));
        if server.version >= 170_000 && server.settings_applied && !server.pooled && !theirs {
            // Unknown to older servers, so it cannot be among the startup options.
            let set = async { Ok(client.batch_execute("set transaction_timeout = 0").await?) };
            driver.run(set).await?;
        }
        let may_prepare = self.prepared() == Prepared::Auto && !server.pooled;
        let canceller = Canceller::new(self, host, encrypted, tls.clone(), key);
        Ok(Session { client, driver, canceller, server, may_prepare })
    }
}

async fn resolve(host: &Endpoint, order: LoadBalance) -> Result<Vec<Endpoint>> {
    if host.addr.is_some() || host.is_unix() {
        return Ok(vec![host.clone()]);
    }
    let found = tokio::net::lookup_host((host.host.as_str(), host.port)).await.map_err(|e| {
        Error::new(ErrorKind::Unreachable, format!("the host name was not resolved: {e}")).with_source(e)
    })?;
    let mut all: Vec<Endpoint> = found.map(|a| Endpoint { addr: Some(a.ip()), ..host.clone() }).collect();
    if order == LoadBalance::Random {
        shuffle(&mut all);
    }
    Ok(all)
}

fn shuffle<T>(list: &mut [T]) {
    list.sort_by_cached_key(|_| uuid::Uuid::new_v4());
}

/// One error for all hosts; a single host's error keeps its code and its cause.
fn combine(mut failures: Vec<(String, Error)>) -> Error {
    let texts: Vec<String> = failures.iter().map(|(host, e)| format!("{host}: {e}")).collect();
    let telling = failures.iter().position(|(_, e)| e.kind() != ErrorKind::Unreachable).unwrap_or(0);
    if failures.is_empty() {
        return Error::new(ErrorKind::Config, "host: none given");
    }
    let cause = failures.swap_remove(telling).1;
    let error = Error::new(cause.kind(), texts.join("; "));
    match cause.code().map(str::to_owned) {
        Some(code) => error.with_code(code).with_source(cause),
        None => error.with_source(cause),
    }
}
