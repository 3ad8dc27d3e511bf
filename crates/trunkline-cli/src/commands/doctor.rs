//! `trunkline doctor`: what endangers messages here, and what mends it; `trunkline check`: the same for a monitoring system.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use trunkline::{
    connect::Purpose,
    doctor::{Finding, Level, examine},
};

use crate::{
    args::Global,
    exit::{FAILURE, Failure, OK, Result, UNKNOWN, USAGE},
    input,
    out::{Out, escaped},
    source::{self, Plain},
};

const QUEUES: &str =
    "select to_jsonb(q) || jsonb_build_object('seconds', extract(epoch from oldest)) - 'settings'
    from trunkline.job_queues() q";
const CONSUMERS: &str = "select to_jsonb(c) || jsonb_build_object('seconds', extract(epoch from lag))
    from trunkline.stream_consumers(exact => false) c";

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How long a transaction may be open, or a dead session not be buried, before it is told
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = input::pause)]
    older_than: Duration,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Warn when a job that could run has waited this long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = input::pause)]
    waiting_warning: Duration,

    /// When that is critical
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = input::pause)]
    waiting_critical: Duration,

    /// Warn when a consumer of a stream is this far behind
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = input::pause)]
    lag_warning: Duration,

    /// When that is critical
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = input::pause)]
    lag_critical: Duration,

    /// Warn of this many dead jobs
    #[arg(long, value_name = "N", default_value_t = 1)]
    dead_warning: u64,

    /// When that is critical
    #[arg(long, value_name = "N", default_value_t = 1000)]
    dead_critical: u64,

    /// Look at what flows alone, not at what `doctor` finds
    #[arg(long)]
    no_doctor: bool,
}

/// Prints the findings, the worst first; 1 when there is one that is more than a note.
pub(crate) async fn run(global: &Global, args: DoctorArgs) -> Result<u8> {
    let (found, code) = match examined(global, args.older_than).await {
        Ok((found, _)) => {
            let bad = found.iter().any(|f| f.level > Level::Note);
            (found, if bad { FAILURE } else { OK })
        }
        Err(Failure::Library(e)) => (vec![Finding::of_error(&e)], Failure::Library(e).code()),
        Err(e) => return Err(e),
    };
    let out = Out::new(global.json, false);
    if out.json {
        found.iter().try_for_each(|f| out.json(&serde_json::to_value(f).unwrap_or_default()))?;
        return Ok(code);
    }
    for f in &found {
        out.line(&format!("{:<9} {}: {}", f.level, f.check, escaped(&f.finding, true)))?;
        out.line(&format!("          {}", escaped(&f.consequence, true)))?;
        out.line(&format!("          > {}", escaped(&f.remedy, true)))?;
    }
    if found.is_empty() {
        out.line("nothing to mend")?;
    }
    Ok(code)
}

async fn examined(global: &Global, old: Duration) -> Result<(Vec<Finding>, Plain)> {
    let database = source::choose_as_it_is(global).await?;
    let (plain, server) = database.plain_and_server(Purpose::Work).await?;
    Ok((examine(&plain.client, &server, old).await?, plain))
}

/// What a line says of: monitors cut long ones off.
const SAID: usize = 10;
const FIGURES: usize = 50;

/// What a monitoring system is told: a state, in words, with figures.
#[derive(Debug, Default)]
struct Report {
    state: u8,
    /// With the state of each.
    said: Vec<(u8, String)>,
    /// With the part of what is critical that each is.
    figures: Vec<(f64, String)>,
}

impl Report {
    fn tell(&mut self, state: u8, said: String) {
        self.state = self.state.max(state);
        self.said.push((state, said));
    }

    /// A figure, and whether it is over its limits.
    fn figure(
        &mut self,
        name: &str,
        unit: &str,
        value: f64,
        limits: [f64; 2],
        said: impl FnOnce() -> String,
    ) {
        let [warning, critical] = limits;
        self.figures.push((value / critical, format!("{name}={value:.0}{unit};{warning:.0};{critical:.0}")));
        match value {
            v if v >= critical => self.tell(2, said()),
            v if v >= warning => self.tell(1, said()),
            _ => {}
        }
    }

    /// The worst, where there is too much to say.
    fn line(mut self) -> String {
        let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::from(self.state.min(3))];
        let more = self.said.len().saturating_sub(SAID);
        if more > 0 {
            self.said.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
            self.said.truncate(SAID);
            self.said.push((0, format!("and {more} more")));
        }
        if self.figures.len() > FIGURES {
            self.figures.sort_by(|(a, _), (b, _)| b.total_cmp(a));
            self.figures.truncate(FIGURES);
        }
        let said: Vec<_> = self.said.into_iter().map(|(_, said)| said).collect();
        let said = if said.is_empty() { "messages flow".to_owned() } else { said.join("; ") };
        let figures: Vec<_> = self.figures.into_iter().map(|(_, figure)| figure).collect();
        // A bar would end the text, and begin the figures.
        format!("TRUNKLINE {word} - {} | {}", escaped(&said.replace('|', "/"), true), figures.join(" "))
    }
}

/// One line as monitors that run plugins of Nagios read it: 0 ok, 1 warning, 2 critical (also: the database is away), 3 unknown.
pub(crate) async fn check(global: &Global, args: CheckArgs) -> Result<u8> {
    let mut report = Report::default();
    if let Err(failure) = judge(global, &args, &mut report).await {
        // What was asked makes no sense: of the database nothing is known.
        let state = if failure.code() == USAGE { UNKNOWN } else { 2 };
        report.tell(state, failure.to_string());
    }
    let state = report.state;
    Out::new(false, false).line(&report.line())?;
    Ok(state)
}

async fn judge(global: &Global, args: &CheckArgs, report: &mut Report) -> Result<()> {
    let (found, plain) = examined(global, Duration::from_secs(300)).await?;
    let told = found.iter().filter(|f| !args.no_doctor && f.level > Level::Note);
    for f in told {
        report.tell(if f.level == Level::Critical { 2 } else { 1 }, f.finding.clone());
    }
    let seconds = |row: &Value| row["seconds"].as_f64().unwrap_or(0.0).max(0.0);
    let mut dead = 0;
    for row in rows(&plain, QUEUES).await? {
        let name = row["queue"].as_str().unwrap_or_default().to_owned();
        let limits = [args.waiting_warning.as_secs_f64(), args.waiting_critical.as_secs_f64()];
        dead += row["dead"].as_u64().unwrap_or(0);
        let waited = if row["paused_at"].is_null() { seconds(&row) } else { 0.0 };
        report.figure(&format!("'{name} waiting'"), "s", waited, limits, || {
            format!("a job of the queue {name} has waited {waited:.0} s")
        });
    }
    for row in rows(&plain, CONSUMERS).await? {
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let name = format!("{}/{}", text("stream"), text("consumer"));
        let limits = [args.lag_warning.as_secs_f64(), args.lag_critical.as_secs_f64()];
        let lag = seconds(&row);
        report.figure(&format!("'{name} lag'"), "s", lag, limits, || {
            format!("the consumer {name} is {lag:.0} s behind")
        });
    }
    let count = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    report.figure(
        "dead_jobs",
        "",
        count(dead),
        [count(args.dead_warning), count(args.dead_critical)],
        || format!("{dead} jobs are dead"),
    );
    Ok(())
}

async fn rows(plain: &Plain, sql: &str) -> Result<Vec<Value>> {
    let rows = plain.client.query_typed(sql, &[]).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn the_worst_state_counts_and_a_bar_does_not_end_the_text() {
        let mut report = Report::default();
        report.figure("a", "s", 1.0, [2.0, 3.0], || "a".into());
        assert_eq!(report.state, 0);
        assert_eq!(report.line(), "TRUNKLINE OK - messages flow | a=1s;2;3");
        let mut report = Report::default();
        report.figure("a", "s", 1.0, [2.0, 3.0], || "a".into());
        report.figure("b", "", 3.0, [2.0, 3.0], || "b | c\n".into());
        report.figure("d", "", 2.0, [2.0, 3.0], || "d".into());
        assert_eq!(report.line(), "TRUNKLINE CRITICAL - b / c\\n; d | a=1s;2;3 b=3;2;3 d=2;2;3");
    }
    #[test]
    fn of_too_much_for_a_line_the_worst_is_said() {
        let mut report = Report::default();
        for n in 0..500_u16 {
            report.figure(&format!("q{n}"), "s", f64::from(n), [450.0, 498.0], || format!("{n} is late"));
        }
        let line = report.line();
        assert!(line.starts_with("TRUNKLINE CRITICAL - 498 is late; 499 is late; 450 is late; "), "{line}");
        assert!(line.contains("; 457 is late; and 40 more | q499=499s;450;498 q498="), "{line}");
        assert!(line.ends_with(" q450=450s;450;498"), "{line}");
    }
}
