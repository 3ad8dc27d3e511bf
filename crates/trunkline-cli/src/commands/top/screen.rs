//! What `top` shows, as text.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::{
    keys::{Hand, Row},
    tables::{Kind, TABLES},
};
use crate::{dashboard::parts::text, http::live::Snapshot, out::escaped};

/// What keys do to a row of a table.
pub(super) fn of_row(kind: &Kind, row: &Value) -> Row {
    let part = |n: usize| kind.named.get(n).map(|c| text(row, c).to_owned()).unwrap_or_default();
    Row {
        name: part(0),
        second: part(1),
        paused: !row["paused_at"].is_null(),
        dead: row["dead"].as_i64().unwrap_or(0),
        state: String::new(),
    }
}

/// What keys do to what is one of many: a job, a request, or a dead letter.
pub(super) fn of_one(row: &Value) -> Row {
    let state = if row["job_state"].is_string() { text(row, "job_state") } else { text(row, "state") };
    Row { name: row["id"].as_i64().unwrap_or(0).to_string(), state: state.to_owned(), ..Row::default() }
}

/// All of it; where keys are listened to, with a mark at what they mean.
pub(super) fn all(s: &Snapshot, hand: &Hand, rows: usize, keys: bool) -> String {
    let notify = s.value["notify"].as_f64().unwrap_or(0.0) * 100.0;
    let mut out = format!(
        "{}   PostgreSQL {}   {}   NOTIFY queue {notify:.0} %{}\n",
        escaped(text(&s.value, "database"), true),
        text(&s.value, "server").split(' ').next().unwrap_or_default(),
        match s.rows("sessions").len() {
            1 => "1 process".to_owned(),
            n => format!("{n} processes"),
        },
        match hand.filter.as_str() {
            "" => String::new(),
            filter => format!("   only what has {filter:?} in its name"),
        },
    );
    for (n, kind) in TABLES.iter().enumerate() {
        let all = kind.rows(s, &hand.filter, hand.sorted[n]);
        let shown = &all[..all.len().min(rows)];
        let mut heads = vec![kind.head.to_owned()];
        // What it is sorted by is marked, of the table that keys mean.
        let mark = |column| if keys && n == hand.table && column == hand.sorted[n] { "▼" } else { "" };
        heads.extend(kind.columns.iter().enumerate().map(|(c, (head, _))| format!("{head}{}", mark(c))));
        let at = keys.then_some(if n == hand.table { hand.at } else { usize::MAX });
        out += &table(&heads, shown, all.len() - shown.len(), at, |row| {
            let paused = if row["paused_at"].is_null() { "" } else { " (paused)" };
            let mut cells = vec![format!("{}{paused}", kind.name(row))];
            cells.extend(kind.columns.iter().map(|(_, cell)| cell.shown(s, row)));
            cells
        });
    }
    out
}

fn heads(all: &[&str]) -> Vec<String> {
    all.iter().map(|h| (*h).to_owned()).collect()
}

/// A time without its fraction.
fn time(row: &Value, column: &str) -> String {
    text(row, column).split('.').next().unwrap_or_default().replace('T', " ")
}

/// The beginning of the first line.
fn line(row: &Value, column: &str) -> String {
    text(row, column).lines().next().unwrap_or_default().chars().take(60).collect()
}

/// The jobs of a queue, the newest first; `at`: the one that keys mean.
pub(super) fn jobs(queue: &str, jobs: &[Value], at: usize) -> String {
    let columns = heads(&["JOB", "STATE", "KIND", "ATTEMPT", "PUSHED", "ERROR"]);
    many(&format!("the queue {queue}, its newest jobs"), "job", &columns, jobs, at, |j| {
        vec![
            j["id"].to_string(),
            text(j, "job_state").to_owned(),
            text(j, "job_kind").to_owned(),
            format!("{}/{}", j["attempt"], j["max_attempts"]),
            time(j, "pushed_at"),
            line(j, "error"),
        ]
    })
}

/// The requests of a channel, the newest first.
pub(super) fn requests(channel: &str, requests: &[Value], at: usize) -> String {
    let columns = heads(&["REQUEST", "STATE", "TYPE", "ATTEMPT", "SENT", "EXPIRES"]);
    many(&format!("the channel {channel}, its newest requests"), "request", &columns, requests, at, |r| {
        vec![
            r["id"].to_string(),
            text(r, "state").to_owned(),
            text(r, "type").to_owned(),
            r["attempt"].to_string(),
            time(r, "sent_at"),
            time(r, "expires_at"),
        ]
    })
}

/// The dead letters of a consumer.
pub(super) fn letters(stream: &str, consumer: &str, letters: &[Value], at: usize) -> String {
    let columns = heads(&["EVENT", "TYPE", "KEY", "ATTEMPTS", "DIED", "CAUSE"]);
    let title = format!("the consumer {consumer} of the stream {stream}, its dead letters");
    many(&title, "dead letter", &columns, letters, at, |l| {
        vec![
            l["id"].to_string(),
            text(l, "type").to_owned(),
            text(l, "key").to_owned(),
            l["attempts"].to_string(),
            time(l, "died_at"),
            line(l, "cause"),
        ]
    })
}

fn many(
    title: &str,
    what: &str,
    heads: &[String],
    rows: &[Value],
    at: usize,
    cells: impl Fn(&Value) -> Vec<String>,
) -> String {
    let shown = table(heads, &rows.iter().collect::<Vec<_>>(), 0, Some(at), cells);
    let none = if rows.is_empty() { format!("\nno {what}\n") } else { String::new() };
    format!("{}\n{shown}{none}", escaped(title, true))
}

/// A table, and how many rows are left out; nothing where there are none.
fn table(
    heads: &[String],
    rows: &[&Value],
    more: usize,
    at: Option<usize>,
    cells: impl Fn(&Value) -> Vec<String>,
) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mark = |here: bool| at.map(|_| if here { ">" } else { "" }.to_owned());
    table.set_header(mark(false).into_iter().chain(heads.iter().cloned()));
    for (n, row) in rows.iter().enumerate() {
        let cells = cells(row).into_iter().map(|c| escaped(&c, true).into_owned());
        table.add_row(mark(at == Some(n)).into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(1 + usize::from(at.is_some())) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rest = if more > 0 { format!(" and {more} more\n") } else { String::new() };
    // What pads the last column is no part of it.
    let lines = table.to_string().lines().map(|l| format!("{}\n", l.trim_end())).collect::<String>();
    format!("\n{lines}{rest}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn snapshot() -> Snapshot {
        let queue = |name: &str, waiting: i64, done: i64, dead: i64, paused: Option<&str>| {
            json!({ "queue": name, "waiting": waiting, "scheduled": 1, "running": 2, "retrying": 0, "done": done, "dead": dead,
                "oldest": 95.0, "paused_at": paused })
        };
        let of = |at: f64, done: i64| {
            json!({
                "at": at, "database": "shop", "server": "17.2 (Debian)", "notify": 0.04,
                "queues": [queue("alpha", 3, 5, 0, None), queue("mail", 40, done, 7, Some("2026-01-01"))],
                "consumers": [
                    { "stream": "orders", "consumer": "billing", "lag": 0.25, "estimate": 12, "in_hand": 4, "coming_again": 0, "dead": 0 },
                    { "stream": "orders", "consumer": "search", "lag": 7200.0, "estimate": 90_000, "in_hand": null, "coming_again": 3, "dead": 2 },
                ],
                "channels": [{ "channel": "hash", "responders": 2, "sent_per_second": 120.5, "ended_per_second": 119.0, "waiting": 1,
                    "taken": 2, "failed": 0, "timed_out": 4, "p50": 1.24, "p99": 8.0 }],
                "sessions": [{ "application": "mailer\u{1b}[2J", "pid": 17, "alive": true, "version": "0.1.0", "host": "10.0.0.7",
                    "queues": ["mail", "thumbs"], "serves": ["hash"], "jobs": 3, "batches": ["orders/billing"] }],
            })
        };
        let first = Snapshot::after(of(1.0, 100), Duration::ZERO, None);
        Snapshot::after(of(3.0, 300), Duration::ZERO, Some(&first))
    }

    #[test]
    fn all_of_it_is_shown_as_it_was_looked_at() {
        let hand = Hand::default();
        assert_eq!(all(&snapshot(), &hand, 15, false), include_str!("screens/once.txt"));
        let hand = Hand { table: 1, at: 0, ..Hand::default() };
        assert_eq!(all(&snapshot(), &hand, 15, true), include_str!("screens/keys.txt"));
        let hand = Hand { filter: "a".into(), ..Hand::default() };
        assert_eq!(all(&snapshot(), &hand, 1, false), include_str!("screens/filtered.txt"));
    }

    #[test]
    fn what_is_looked_into_is_shown_as_it_was_looked_at() {
        let job = json!({ "id": 17, "job_state": "dead", "job_kind": "k", "attempt": 5, "max_attempts": 5,
            "pushed_at": "2026-01-01T10:00:00.5+00:00", "error": "no route\u{1b}[0m\nto the host" });
        let request = json!({ "id": 4, "state": "waiting", "type": "sum", "attempt": 0, "sent_at": "2026-01-01T10:00:00.5+00:00",
            "expires_at": "2026-01-01T10:00:05.5+00:00" });
        let letter = json!({ "id": 9, "type": "placed", "key": "k", "attempts": 3, "died_at": "2026-01-01T10:00:00.5+00:00", "cause": "no" });
        let mut shown = jobs("mail", &[job], 0);
        shown += &requests("hash", &[request], 0);
        shown += &letters("orders", "search", &[letter], 0);
        shown += &jobs("empty", &[], 0);
        assert_eq!(shown, include_str!("screens/into.txt"));
    }
}
