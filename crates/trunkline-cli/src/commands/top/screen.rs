//! What `top` shows, as text.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::{Sort, TopArgs, keys::Row};
use crate::{
    dashboard::parts::{rate, span, text},
    http::live::Snapshot,
    out::escaped,
};

/// What keys do to a queue.
pub(super) fn of_queue(q: &Value) -> Row {
    let (name, paused) = (text(q, "queue").to_owned(), !q["paused_at"].is_null());
    Row { name, paused, dead: q["dead"].as_i64().unwrap_or(0), state: String::new() }
}

/// What keys do to a job.
pub(super) fn of_job(j: &Value) -> Row {
    let state = text(j, "job_state").to_owned();
    Row { name: j["id"].as_i64().unwrap_or(0).to_string(), state, ..Row::default() }
}

/// The queues that are shown, in their order.
pub(super) fn queues<'a>(s: &'a Snapshot, args: &TopArgs) -> Vec<&'a Value> {
    let mut queues: Vec<&Value> = s.rows("queues").iter().filter(|q| fits(args, q, &["queue"])).collect();
    let by = |q: &Value| match args.sort {
        Sort::Waiting => q["waiting"].as_f64(),
        Sort::Dead => q["dead"].as_f64(),
        Sort::In => s.rates.get(text(q, "queue")).map(|r| r.0),
        Sort::Oldest => q["oldest"].as_f64(),
        Sort::Name => None,
    };
    // Stable: by name where it is the same.
    queues.sort_by(|a, b| by(b).unwrap_or(0.0).total_cmp(&by(a).unwrap_or(0.0)));
    queues.truncate(args.rows);
    queues
}

fn fits(args: &TopArgs, row: &Value, columns: &[&str]) -> bool {
    args.filter.as_deref().is_none_or(|f| columns.iter().any(|c| text(row, c).contains(f)))
}

/// All of it; `at`: the queue that keys mean.
pub(super) fn all(s: &Snapshot, args: &TopArgs, at: Option<usize>) -> String {
    let queues = queues(s, args);
    let notify = s.value["notify"].as_f64().unwrap_or(0.0) * 100.0;
    let mut out = format!(
        "{}   PostgreSQL {}   {} processes   NOTIFY queue {notify:.0} %\n",
        text(&s.value, "database"),
        text(&s.value, "server").split(' ').next().unwrap_or_default(),
        s.rows("sessions").len(),
    );
    let heads = ["QUEUE", "IN/S", "OUT/S", "WAITING", "SCHEDULED", "RUNNING", "RETRYING", "DEAD", "OLDEST"];
    out += &table(&heads, &queues, more(s.rows("queues"), &queues, args, &["queue"]), at, |q| {
        let (pushed, ended) = s.rates.get(text(q, "queue")).copied().unwrap_or_default();
        let paused = if q["paused_at"].is_null() { "" } else { " (paused)" };
        let mut row = vec![format!("{}{paused}", text(q, "queue")), rate(pushed), rate(ended)];
        row.extend(["waiting", "scheduled", "running", "retrying", "dead"].map(|c| q[c].to_string()));
        row.push(q["oldest"].as_f64().map_or_else(String::new, span));
        row
    });
    let consumers: Vec<&Value> =
        s.rows("consumers").iter().filter(|c| fits(args, c, &["stream", "consumer"])).collect();
    out += &table(
        &["CONSUMER", "LAG", "EVENTS", "IN HAND", "AGAIN", "DEAD"],
        &consumers[..consumers.len().min(args.rows)],
        consumers.len().saturating_sub(args.rows),
        None,
        |c| {
            let mut row = vec![format!("{}/{}", text(c, "stream"), text(c, "consumer"))];
            row.push(c["lag"].as_f64().map_or_else(String::new, span));
            row.extend(["estimate", "in_hand", "coming_again", "dead"].map(|name| c[name].to_string()));
            row
        },
    );
    let channels: Vec<&Value> = s.rows("channels").iter().filter(|c| fits(args, c, &["channel"])).collect();
    let heads = [
        "CHANNEL",
        "RESPONDERS",
        "SENT/S",
        "ENDED/S",
        "WAITING",
        "IN FLIGHT",
        "FAILED",
        "TIMED OUT",
        "P50 MS",
        "P99 MS",
    ];
    out += &table(
        &heads,
        &channels[..channels.len().min(args.rows)],
        channels.len().saturating_sub(args.rows),
        None,
        |c| {
            let mut row = vec![text(c, "channel").to_owned(), c["responders"].to_string()];
            row.extend(
                ["sent_per_second", "ended_per_second"].map(|name| rate(c[name].as_f64().unwrap_or(0.0))),
            );
            row.extend(["waiting", "taken", "failed", "timed_out"].map(|name| c[name].to_string()));
            row.extend(
                ["p50", "p99"].map(|name| c[name].as_f64().map_or_else(String::new, |ms| format!("{ms:.1}"))),
            );
            row
        },
    );
    out
}

/// The jobs of a queue, the newest first; `at`: the one that keys mean.
pub(super) fn jobs(queue: &str, jobs: &[Value], at: usize) -> String {
    let rows: Vec<&Value> = jobs.iter().collect();
    let heads = ["JOB", "STATE", "KIND", "ATTEMPT", "PUSHED", "ERROR"];
    let shown = table(&heads, &rows, 0, Some(at), |j| {
        let attempt = format!("{}/{}", j["attempt"], j["max_attempts"]);
        let pushed = text(j, "pushed_at").split('.').next().unwrap_or_default().replace('T', " ");
        let error: String = text(j, "error").lines().next().unwrap_or_default().chars().take(60).collect();
        vec![
            j["id"].to_string(),
            text(j, "job_state").to_owned(),
            text(j, "job_kind").to_owned(),
            attempt,
            pushed,
            error,
        ]
    });
    let none = if jobs.is_empty() { "\nno job\n" } else { "" };
    format!("the queue {}, its newest jobs\n{shown}{none}", escaped(queue, true))
}

fn more(all: &[Value], shown: &[&Value], args: &TopArgs, columns: &[&str]) -> usize {
    all.iter().filter(|row| fits(args, row, columns)).count() - shown.len()
}

/// A table, and how many rows are left out; nothing where there are none.
fn table(
    heads: &[&str],
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
    table.set_header(mark(false).into_iter().chain(heads.iter().map(|h| (*h).to_owned())));
    for (n, row) in rows.iter().enumerate() {
        let cells = cells(row).into_iter().map(|c| escaped(&c, true).into_owned());
        table.add_row(mark(at == Some(n)).into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(1 + usize::from(at.is_some())) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rest = if more > 0 { format!(" and {more} more\n") } else { String::new() };
    format!("\n{table}\n{rest}")
}
