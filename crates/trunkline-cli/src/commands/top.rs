//! `trunkline top`: what flows and waits, at a terminal, again and again.
//!
//! The same snapshot as the dashboard's, taken once a second, or less often where it takes long. On a terminal the screen is
//! painted anew until Ctrl-C; otherwise, or with --once, it is printed once, with rates where a second snapshot tells them.

use std::{io::IsTerminal as _, time::Duration};

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use trunkline::Error;

use crate::{
    args::Global,
    dashboard::parts::{rate, span, text},
    exit::{OK, Result},
    http::{
        data::Data,
        live::{Live, Snapshot},
    },
    input,
    out::{Out, escaped},
    source,
};

/// By what queues are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// How many wait
    #[default]
    Waiting,
    /// How many are dead
    Dead,
    /// How many were pushed a second
    In,
    /// For how long the oldest has waited
    Oldest,
    /// By name
    Name,
}

/// Options of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Sort queues by this
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,

    /// Only what has this in its name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// How many rows of a table
    #[arg(long, value_name = "N", default_value_t = 15)]
    rows: usize,

    /// The time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = input::pause)]
    every: Duration,

    /// Print it once, and end
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(global: &Global, args: TopArgs) -> Result<u8> {
    let database = source::choose(global).await?;
    database.checked().await?;
    let live = Live::new(Data::new(database.info)?);
    let out = Out::new(global.json, true);
    let again = std::io::stdout().is_terminal() && !args.once && !global.json;
    loop {
        let snapshot = live.now().await.map_err(|p| Error::new(p.kind, p.detail))?;
        if global.json {
            out.json(&snapshot.value)?;
        } else if again {
            // Home, the screen, and nothing left of what was below.
            out.bytes(
                format!("\x1b[H{}\x1b[J", screen(&snapshot, &args).replace('\n', "\x1b[K\n")).as_bytes(),
            )?;
        } else {
            out.bytes(screen(&snapshot, &args).as_bytes())?;
        }
        if !again {
            return Ok(OK);
        }
        tokio::time::sleep(args.every).await;
    }
}

/// All of it, as text.
fn screen(s: &Snapshot, args: &TopArgs) -> String {
    let fits = |row: &&Value, columns: &[&str]| {
        args.filter.as_deref().is_none_or(|f| columns.iter().any(|c| text(row, c).contains(f)))
    };
    let mut queues: Vec<&Value> = s.rows("queues").iter().filter(|q| fits(q, &["queue"])).collect();
    let by = |q: &Value| match args.sort {
        Sort::Waiting => q["waiting"].as_f64(),
        Sort::Dead => q["dead"].as_f64(),
        Sort::In => s.rates.get(text(q, "queue")).map(|r| r.0),
        Sort::Oldest => q["oldest"].as_f64(),
        Sort::Name => None,
    };
    // Stable: by name where it is the same.
    queues.sort_by(|a, b| by(b).unwrap_or(0.0).total_cmp(&by(a).unwrap_or(0.0)));
    let notify = s.value["notify"].as_f64().unwrap_or(0.0) * 100.0;
    let mut out = format!(
        "{}   PostgreSQL {}   {} processes   NOTIFY queue {notify:.0} %\n",
        text(&s.value, "database"),
        text(&s.value, "server").split(' ').next().unwrap_or_default(),
        s.rows("sessions").len(),
    );
    let heads = ["QUEUE", "IN/S", "OUT/S", "WAITING", "SCHEDULED", "RUNNING", "RETRYING", "DEAD", "OLDEST"];
    out += &table(&heads, &queues, args.rows, |q| {
        let (pushed, ended) = s.rates.get(text(q, "queue")).copied().unwrap_or_default();
        let paused = if q["paused_at"].is_null() { "" } else { " (paused)" };
        let mut row = vec![format!("{}{paused}", text(q, "queue")), rate(pushed), rate(ended)];
        row.extend(["waiting", "scheduled", "running", "retrying", "dead"].map(|c| q[c].to_string()));
        row.push(q["oldest"].as_f64().map_or_else(String::new, span));
        row
    });
    let consumers: Vec<&Value> =
        s.rows("consumers").iter().filter(|c| fits(c, &["stream", "consumer"])).collect();
    out += &table(&["CONSUMER", "LAG", "EVENTS", "IN HAND", "AGAIN", "DEAD"], &consumers, args.rows, |c| {
        let mut row = vec![format!("{}/{}", text(c, "stream"), text(c, "consumer"))];
        row.push(c["lag"].as_f64().map_or_else(String::new, span));
        row.extend(["estimate", "in_hand", "coming_again", "dead"].map(|name| c[name].to_string()));
        row
    });
    let channels: Vec<&Value> = s.rows("channels").iter().filter(|c| fits(c, &["channel"])).collect();
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
    out += &table(&heads, &channels, args.rows, |c| {
        let mut row = vec![text(c, "channel").to_owned(), c["responders"].to_string()];
        row.extend(["sent_per_second", "ended_per_second"].map(|name| rate(c[name].as_f64().unwrap_or(0.0))));
        row.extend(["waiting", "taken", "failed", "timed_out"].map(|name| c[name].to_string()));
        row.extend(
            ["p50", "p99"].map(|name| c[name].as_f64().map_or_else(String::new, |ms| format!("{ms:.1}"))),
        );
        row
    });
    out
}

/// A table, and how many rows are left out; nothing where there are none.
fn table(heads: &[&str], rows: &[&Value], most: usize, cells: impl Fn(&Value) -> Vec<String>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heads.to_vec());
    for row in rows.iter().take(most) {
        table.add_row(cells(row).iter().map(|c| escaped(c, true).into_owned()));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let more = rows.len().saturating_sub(most);
    let rest = if more > 0 { format!(" and {more} more\n") } else { String::new() };
    format!("\n{table}\n{rest}")
}
