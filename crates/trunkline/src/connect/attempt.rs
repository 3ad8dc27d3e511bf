//! Opening one session on one server, with the second tries that libpq makes and one that poolers need.
//!
//! * `allow`: plain, then TLS if the server refused the plain one. `prefer`: TLS, then plain if the handshake failed or
//!   `pg_hba.conf` has no line for TLS. A wrong password is not tried twice.
//! * Our session settings travel in the startup parameter `options`. A pooler that refuses it is asked again without,
//!   unless the user gave `options` too: those are not dropped in silence. A server too old for one of ours is asked
//!   again with the user's alone, so that the version check can say so.

use super::{Purpose, driver::RawConnection};
use crate::{
    Error, ErrorKind,
    conninfo::{ChannelBinding, ConnInfo, Endpoint, SslMode, SslNegotiation},
};
use std::error::Error as StdError;
use tokio_postgres::{Client, Config, config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Role and database defaults must not end our sessions, and a dead peer must be noticed by the server in seconds.
/// `trunkline.settings` shows that the whole line arrived.
const SETTINGS: &str = "-c trunkline.settings=on -c tcp_user_timeout=10s -c tcp_keepalives_idle=5 \
    -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c idle_in_transaction_session_timeout=30s \
    -c statement_timeout=0 -c default_transaction_isolation=read\\ committed -c idle_session_timeout=0 -c plan_cache_mode=force_generic_plan -c jit=off";

/// How a connection was asked to be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    IfOffered,
    Must,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Options {
    Ours,
    TheirsAlone,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    tls: Tls,
    options: Options,
}

/// Opens a connection, falling back where the settings allow it. Of several failures the first is reported.
pub(super) async fn open(
    info: &ConnInfo,
    host: &Endpoint,
    purpose: Purpose,
    tls: &MakeRustlsConnect,
) -> Result<(Client, RawConnection, Tls), Error> {
    let first = match info.tls.mode {
        _ if host.is_unix() => Tls::Off,
        SslMode::Disable | SslMode::Allow => Tls::Off,
        SslMode::Prefer => Tls::IfOffered,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Tls::Must,
    };
    let mut attempt = Attempt { tls: first, options: Options::Ours };
    let mut reported = None;
    loop {
        let failure = match config(info, host, purpose, attempt).connect(tls.clone()).await {
            Ok((client, connection)) => return Ok((client, connection, attempt.tls)),
            Err(e) => e,
        };
        let again = next(info, host, attempt, &failure);
        // A refusal of our own options is not what the user needs to hear, if anything follows.
        let about_options = again.is_some_and(|n| n.options != attempt.options);
        if reported.is_none() && !about_options {
            reported = Some(describe(failure, info));
        }
        match (again, reported) {
            (Some(n), kept) => (attempt, reported) = (n, kept),
            (None, Some(error)) => return Err(error),
            (None, None) => return Err(Error::new(ErrorKind::Other, "the connection failed")),
        }
    }
}

fn next(info: &ConnInfo, host: &Endpoint, now: Attempt, failure: &tokio_postgres::Error) -> Option<Attempt> {
    let code = failure.code().map(|c| c.code());
    let refused_parameter = code == Some("08P01") && message(failure).contains("startup parameter");
    let unknown_setting = matches!(code, Some("42704" | "22023"));
    if now.options == Options::Ours && (unknown_setting || (refused_parameter && info.options.is_none())) {
        return Some(Attempt { options: Options::TheirsAlone, ..now });
    }
    let no_hba_line = code == Some("28000");
    match (info.tls.mode, now.tls) {
        _ if host.is_unix() => None,
        (SslMode::Allow, Tls::Off) if no_hba_line => Some(Attempt { tls: Tls::Must, ..now }),
        (SslMode::Prefer, Tls::IfOffered) if no_hba_line || is_tls(failure) => {
            Some(Attempt { tls: Tls::Off, ..now })
        }
        _ => None,
    }
}

fn config(info: &ConnInfo, host: &Endpoint, purpose: Purpose, attempt: Attempt) -> Config {
    let mut c = Config::new();
    c.user(&info.user).dbname(&info.dbname).application_name(info.application_name());
    c.host(&host.host).port(host.port);
    if let Some(addr) = host.addr {
        c.hostaddr(addr);
    }
    if let Some(password) = &host.password {
        c.password(password.reveal());
    }
    let theirs = info.options.as_deref().unwrap_or_default();
    match attempt.options {
        // Later ones win: the user's word is the last.
        Options::Ours => {
            c.options(format!("{SETTINGS} -c lock_timeout={} {theirs}", purpose.lock_timeout()).trim_end())
        }
        Options::TheirsAlone if theirs.is_empty() => &mut c,
        Options::TheirsAlone => c.options(theirs),
    };
    c.ssl_mode(match attempt.tls {
        Tls::Off => config::SslMode::Disable,
        Tls::IfOffered => config::SslMode::Prefer,
        Tls::Must => config::SslMode::Require,
    });
    c.ssl_negotiation(match info.tls.negotiation {
        SslNegotiation::Postgres => config::SslNegotiation::Postgres,
        SslNegotiation::Direct => config::SslNegotiation::Direct,
    });
    c.channel_binding(match info.channel_binding {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    });
    c.keepalives(info.keepalive.is_some());
    if let Some(k) = &info.keepalive {
        c.keepalives_idle(k.idle).keepalives_interval(k.interval).keepalives_retries(k.count);
    }
    if let Some(t) = info.tcp_user_timeout {
        c.tcp_user_timeout(t);
    }
    c
}

fn message(e: &tokio_postgres::Error) -> &str {
    e.as_db_error().map_or("", |d| d.message())
}

/// The driver does not expose the kind of its errors other than in words.
fn is_tls(e: &tokio_postgres::Error) -> bool {
    e.to_string().starts_with("error performing TLS handshake")
}

/// Says what went wrong, down to the cause.
fn describe(e: tokio_postgres::Error, info: &ConnInfo) -> Error {
    if message(&e).contains("startup parameter") && info.options.is_some() {
        let text = "the pooler does not take the setting `options`; remove it or connect directly";
        return Error::new(ErrorKind::Unsupported, text).with_source(e);
    }
    if e.as_db_error().is_some() {
        return e.into();
    }
    let mut causes = Vec::new();
    let mut cause = e.source();
    while let Some(c) = cause {
        causes.push(c.to_string());
        cause = match c.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()) {
            Some(inner) if inner.to_string() != c.to_string() => Some(inner),
            _ => c.source(),
        };
    }
    let causes = causes.join(": ");
    let (kind, text) = match e.to_string() {
        _ if causes == "password missing" => {
            (ErrorKind::Denied, format!("no password for user {}", info.user))
        }
        _ if is_tls(&e) => (ErrorKind::Config, format!("TLS: {causes}")),
        // In "authentication error: …" the driver's own text already holds the cause.
        t if t.starts_with("authentication error") => {
            (ErrorKind::Denied, format!("authentication: {causes}"))
        }
        _ if e.is_closed() => (ErrorKind::Unreachable, "the server closed the connection".to_owned()),
        t if causes.is_empty() => (ErrorKind::Unreachable, t),
        _ => (ErrorKind::Unreachable, causes),
    };
    Error::new(kind, text).with_source(e)
}
