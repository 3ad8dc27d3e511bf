//! The closed sets of values that settings take, and the numbers.
//!
//! Errors name the setting and what is allowed, and do not repeat what was given.

use super::text::config;
use crate::Result;
use std::time::Duration;

macro_rules! keyword {
    ($(#[$meta:meta])* $name:ident, $key:literal, $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            pub(super) fn parse(text: &str) -> Result<Self> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(config(concat!($key, ": must be one of" $(, " ", $text)+))),
                }
            }

            /// The word used in connection texts.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

keyword! {
    /// How much TLS, as libpq means it.
    SslMode, "sslmode",
    /// Never.
    Disable = "disable",
    /// Plain first, TLS if the server insists.
    Allow = "allow",
    /// TLS first, plain if the server does not want it: no protection against an active attacker.
    Prefer = "prefer",
    /// TLS or nothing; the certificate is checked only if `sslrootcert` is there.
    Require = "require",
    /// TLS with a certificate of a known authority.
    VerifyCa = "verify-ca",
    /// TLS with a certificate of a known authority for this host.
    VerifyFull = "verify-full",
}

keyword! {
    /// Whether TLS is asked for first or begins at once.
    SslNegotiation, "sslnegotiation",
    /// Ask the server first.
    Postgres = "postgres",
    /// Begin with the handshake; PostgreSQL 17 and later.
    Direct = "direct",
}

keyword! {
    /// Whether the password exchange is tied to the TLS certificate.
    ChannelBinding, "channel_binding",
    /// No.
    Disable = "disable",
    /// If the server offers it.
    Prefer = "prefer",
    /// Or nothing.
    Require = "require",
}

keyword! {
    /// Which server will do, out of several; see [`ConnInfo::connect`](super::ConnInfo::connect) for what is accepted.
    TargetSessionAttrs, "target_session_attrs",
    /// Any.
    Any = "any",
    /// One that takes writes.
    ReadWrite = "read-write",
    /// One that does not; no server satisfies both this and us.
    ReadOnly = "read-only",
    /// One that is not in recovery.
    Primary = "primary",
    /// One in recovery; no server satisfies both this and us.
    Standby = "standby",
    /// One in recovery, else any.
    PreferStandby = "prefer-standby",
}

keyword! {
    /// Whether statements may be prepared.
    Prepared, "prepared",
    /// Unless a pooler is in between.
    Auto = "auto",
    /// Never.
    Never = "never",
}

keyword! {
    /// The order in which hosts are tried.
    LoadBalance, "load_balance_hosts",
    /// As written.
    Disable = "disable",
    /// Shuffled.
    Random = "random",
}

/// An unsigned number in `min..=max`.
pub(super) fn number(key: &str, text: &str, min: u32, max: u32) -> Result<u32> {
    let value = text.trim().parse::<u32>().ok().filter(|n| (min..=max).contains(n));
    value.ok_or_else(|| config(format!("{key}: must be a whole number from {min} to {max}")))
}

pub(super) fn port(text: &str) -> Result<u16> {
    let value = text.trim().parse::<u16>().ok().filter(|p| *p > 0);
    value.ok_or_else(|| config("port: must be a whole number from 1 to 65535"))
}

/// Seconds; `None` for "no limit" (0 or negative, as libpq takes it).
pub(super) fn timeout(key: &str, text: &str) -> Result<Option<Duration>> {
    let value = text
        .trim()
        .parse::<i32>()
        .map_err(|_| config(format!("{key}: must be a whole number of seconds")))?;
    Ok(u64::try_from(value).ok().filter(|s| *s > 0).map(Duration::from_secs))
}
