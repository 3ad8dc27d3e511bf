//! The tables of `top`: what each is called, its columns, and by which of them it is sorted.

use serde_json::Value;

use crate::{
    dashboard::parts::{rate, span, text},
    http::live::Snapshot,
};

/// How many characters of a list are shown.
const WIDEST: usize = 40;

/// What a column tells of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell {
    Number(&'static str),
    /// So many a second.
    Rate(&'static str),
    /// Of a queue: what came, and what ended.
    In,
    Out,
    Millis(&'static str),
    /// Seconds.
    Span(&'static str),
    Text(&'static str),
    /// Names in a list.
    Names(&'static str),
    /// Whether it is here.
    Alive,
}

impl Cell {
    /// What it is sorted by, the largest first; text has its own order.
    fn by(self, s: &Snapshot, row: &Value) -> Option<f64> {
        match self {
            Self::Number(c) | Self::Rate(c) | Self::Millis(c) | Self::Span(c) => row[c].as_f64(),
            Self::In => s.flow.rates.get(text(row, "queue")).map(|r| r.0),
            Self::Out => s.flow.rates.get(text(row, "queue")).map(|r| r.1),
            Self::Names(c) => {
                row[c].as_array().map(|a| f64::from(u32::try_from(a.len()).unwrap_or(u32::MAX)))
            }
            Self::Alive => Some(if row["alive"] == true { 0.0 } else { 1.0 }),
            Self::Text(_) => None,
        }
    }

    pub(super) fn shown(self, s: &Snapshot, row: &Value) -> String {
        match self {
            Self::Number(c) if row[c].is_null() => String::new(),
            Self::Number(c) => row[c].to_string(),
            Self::Rate(_) | Self::In | Self::Out => self.by(s, row).map_or_else(String::new, rate),
            Self::Millis(c) => row[c].as_f64().map_or_else(String::new, |ms| format!("{ms:.1}")),
            Self::Span(c) => row[c].as_f64().map_or_else(String::new, span),
            Self::Text(c) => text(row, c).to_owned(),
            Self::Names(c) => {
                let all = row[c].as_array().into_iter().flatten().filter_map(Value::as_str);
                let all = all.collect::<Vec<_>>().join(", ");
                let cut = all.char_indices().nth(WIDEST).map(|(at, _)| format!("{}…", &all[..at]));
                cut.unwrap_or(all)
            }
            Self::Alive => if row["alive"] == true { "alive" } else { "dead" }.to_owned(),
        }
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct Kind {
    /// The part of the snapshot that it shows.
    pub(super) part: &'static str,
    pub(super) head: &'static str,
    /// The columns that name a row.
    pub(super) named: &'static [&'static str],
    pub(super) columns: &'static [(&'static str, Cell)],
    /// The column that it is sorted by at first; beyond the last one: by name.
    pub(super) sorted: usize,
}

pub(super) const QUEUES: usize = 0;
pub(super) const CONSUMERS: usize = 1;
pub(super) const CHANNELS: usize = 2;

pub(super) const TABLES: [Kind; 4] = [
    Kind {
        part: "queues",
        head: "QUEUE",
        named: &["queue"],
        columns: &[
            ("IN/S", Cell::In),
            ("OUT/S", Cell::Out),
            ("WAITING", Cell::Number("waiting")),
            ("SCHEDULED", Cell::Number("scheduled")),
            ("RUNNING", Cell::Number("running")),
            ("RETRYING", Cell::Number("retrying")),
            ("DEAD", Cell::Number("dead")),
            ("OLDEST", Cell::Span("oldest")),
        ],
        sorted: 2,
    },
    Kind {
        part: "consumers",
        head: "CONSUMER",
        named: &["stream", "consumer"],
        columns: &[
            ("LAG", Cell::Span("lag")),
            ("EVENTS", Cell::Number("estimate")),
            ("IN HAND", Cell::Number("in_hand")),
            ("AGAIN", Cell::Number("coming_again")),
            ("DEAD", Cell::Number("dead")),
        ],
        sorted: 0,
    },
    Kind {
        part: "channels",
        head: "CHANNEL",
        named: &["channel"],
        columns: &[
            ("RESPONDERS", Cell::Number("responders")),
            ("SENT/S", Cell::Rate("sent_per_second")),
            ("ENDED/S", Cell::Rate("ended_per_second")),
            ("WAITING", Cell::Number("waiting")),
            ("IN FLIGHT", Cell::Number("taken")),
            ("FAILED", Cell::Number("failed")),
            ("TIMED OUT", Cell::Number("timed_out")),
            ("P50 MS", Cell::Millis("p50")),
            ("P99 MS", Cell::Millis("p99")),
        ],
        sorted: 3,
    },
    Kind {
        part: "sessions",
        head: "PROCESS",
        named: &["application", "pid"],
        columns: &[
            ("STATE", Cell::Alive),
            ("VERSION", Cell::Text("version")),
            ("HOST", Cell::Text("host")),
            ("SERVES", Cell::Names("serves")),
            ("WORKS ON", Cell::Names("queues")),
            ("JOBS", Cell::Number("jobs")),
            ("BATCHES", Cell::Names("batches")),
        ],
        sorted: 9,
    },
];

impl Kind {
    /// What a row is called.
    pub(super) fn name(&self, row: &Value) -> String {
        let parts = self.named.iter().map(|c| match &row[*c] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The rows that fit, sorted by a column.
    pub(super) fn rows<'a>(&self, s: &'a Snapshot, filter: &str, sorted: usize) -> Vec<&'a Value> {
        let mut rows: Vec<&Value> =
            s.rows(self.part).iter().filter(|r| self.name(r).contains(filter)).collect();
        rows.sort_by_cached_key(|row| self.name(row));
        // Stable: by name where it is the same.
        match self.columns.get(sorted) {
            Some((_, Cell::Text(column))) => rows.sort_by_key(|row| text(row, column)),
            Some((_, cell)) => {
                let by = |row| cell.by(s, row).unwrap_or(0.0);
                rows.sort_by(|a, b| by(b).total_cmp(&by(a)));
            }
            None => {}
        }
        rows
    }
}
