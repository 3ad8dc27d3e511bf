//! The names of the settings: libpq's, their `PG*` variables, and the few that are ours.
//!
//! A name that nobody knows is a warning with the nearest known one, because a newer libpq may know it. A libpq
//! setting that protects the connection and that we do not implement is an error, because ignoring it would be a lie.

/// How a known setting is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Read and used.
    Used,
    /// Without meaning here (GSSAPI, compression, …); ignored in silence.
    Idle,
    /// Changes security or behaviour and is not implemented: an error unless empty.
    Refused,
}

use Treatment::{Idle, Refused, Used};

/// Every setting that is known, with the variable that gives its default.
pub(super) const KEYS: &[(&str, Option<&str>, Treatment)] = &[
    ("host", Some("PGHOST"), Used),
    ("hostaddr", Some("PGHOSTADDR"), Used),
    ("port", Some("PGPORT"), Used),
    ("dbname", Some("PGDATABASE"), Used),
    ("user", Some("PGUSER"), Used),
    ("password", Some("PGPASSWORD"), Used),
    ("passfile", Some("PGPASSFILE"), Used),
    ("service", Some("PGSERVICE"), Used),
    ("servicefile", Some("PGSERVICEFILE"), Used),
    ("options", Some("PGOPTIONS"), Used),
    ("application_name", Some("PGAPPNAME"), Used),
    ("fallback_application_name", None, Used),
    ("sslmode", Some("PGSSLMODE"), Used),
    ("sslrootcert", Some("PGSSLROOTCERT"), Used),
    ("sslcert", Some("PGSSLCERT"), Used),
    ("sslkey", Some("PGSSLKEY"), Used),
    ("sslnegotiation", Some("PGSSLNEGOTIATION"), Used),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Used),
    ("channel_binding", Some("PGCHANNELBINDING"), Used),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Used),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), Used),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Used),
    ("keepalives", None, Used),
    ("keepalives_idle", None, Used),
    ("keepalives_interval", None, Used),
    ("keepalives_count", None, Used),
    ("tcp_user_timeout", None, Used),
    ("client_encoding", Some("PGCLIENTENCODING"), Used),
    ("prepared", None, Used),
    ("gssencmode", Some("PGGSSENCMODE"), Used),
    ("gsslib", Some("PGGSSLIB"), Idle),
    ("gssdelegation", Some("PGGSSDELEGATION"), Idle),
    ("krbsrvname", Some("PGKRBSRVNAME"), Idle),
    ("sslcompression", Some("PGSSLCOMPRESSION"), Idle),
    ("sslsni", Some("PGSSLSNI"), Idle),
    ("sslcertmode", Some("PGSSLCERTMODE"), Idle),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Idle),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION"), Idle),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), Idle),
    ("sslcrl", Some("PGSSLCRL"), Refused),
    ("sslcrldir", Some("PGSSLCRLDIR"), Refused),
    ("sslpassword", None, Refused),
    ("requirepeer", Some("PGREQUIREPEER"), Refused),
    ("require_auth", Some("PGREQUIREAUTH"), Refused),
    ("replication", None, Refused),
];

pub(super) fn lookup(name: &str) -> Option<(&'static str, Treatment)> {
    KEYS.iter().find(|k| k.0 == name).map(|k| (k.0, k.2))
}

/// The warning for a name that is not in the table. A name that does not look like one may be a piece of a badly
/// quoted password and is not repeated.
pub(super) fn unknown(name: &str) -> String {
    let word = name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !word || name.is_empty() {
        return "an unknown setting was ignored; its name is not shown, it is not a plain word".to_owned();
    }
    let near = KEYS.iter().map(|k| (distance(name, k.0), k.0)).min();
    match near {
        Some((d, known)) if d <= 3 && d < known.len() / 2 + 1 => {
            format!("unknown setting {name} was ignored; did you mean {known}?")
        }
        _ => format!("unknown setting {name} was ignored"),
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            row.push((above[j] + usize::from(ca != *cb)).min(above[j + 1] + 1).min(row[j] + 1));
        }
        above = row;
    }
    above[b.len()]
}
