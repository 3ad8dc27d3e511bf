//! What was counted: the rows of the live view, the table at the end, the JSON object, and whether all of it holds.

use std::time::Duration;

use serde_json::json;

use super::{
    ALARMS, COUNTERS, VICTIM,
    books::Books,
    event::{How, Told, milliseconds},
    listener::Alarms,
    queue::Figures,
    screen::Tone,
    stage::{Part, Role, Stage, State},
};

/// Whether the demo's promises held.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Consumers that were told SHUTDOWN, by their own word and by the controller's, and ended well.
    confirmed: usize,
    /// Consumers that were there to be told.
    remained: usize,
    killed: usize,
    promises: Vec<(bool, String)>,
}

impl Verdict {
    pub(super) async fn of(stage: &mut Stage) -> Self {
        let (mut confirmed, mut remained, mut badly) = (0, 0, Vec::new());
        for part in &mut stage.parts {
            if part.state == State::Killed {
                continue;
            }
            let well = part.exit().await && part.state == State::Left;
            if !well {
                badly.push(part.name.clone());
            }
            if part.role == Role::Consumer {
                remained += 1;
                let taken = stage.books.told.get(&part.address) == Some(&Told::Taken);
                confirmed += usize::from(well && part.told && taken);
            }
        }
        let killed = stage.parts.iter().filter(|p| p.state == State::Killed).count();
        let b = &stage.books;
        let (sent, unknown, replied) = (b.sent(), b.open(), b.ended(How::Replied));
        let open_alive: u64 = (0..)
            .zip(&stage.parts)
            .filter(|(_, p)| p.state != State::Killed)
            .map(|(id, _)| b.accounts.get(&id).map_or(0, |a| a.in_flight()))
            .sum();
        let once = format!(
            "each of {sent} requests ended exactly once; of a killed consumer's last {unknown} nobody knows"
        );
        let promises = vec![
            (b.balanced() && open_alive == 0, once),
            (b.wrong == 0, format!("all {replied} replies were right: each MD5 was computed once more")),
            (b.ended(How::Failed) == 0, "no request ended in any other way than those six".to_owned()),
            (
                confirmed == remained,
                format!("SHUTDOWN reached {confirmed} of {remained} consumers, all left"),
            ),
            (badly.is_empty(), format!("every process that was not killed ended well{}", named(&badly))),
            (
                b.tally.complete(COUNTERS.into()),
                format!(
                    "each of {} events of the stream \"answers\" was seen exactly once by each of its {COUNTERS} consumers",
                    b.tally.events()
                ),
            ),
            (b.jobs.hold(), jobs(&b.jobs)),
            (b.alarms.hold(), alarms(&b.alarms)),
            (replied > 0, "there were replies".to_owned()),
        ];
        Self { confirmed, remained, killed, promises }
    }

    /// The first promise that did not hold.
    pub(super) fn broken(&self) -> Option<&str> {
        self.promises.iter().find(|(held, _)| !held).map(|(_, text)| text.as_str())
    }
}

fn jobs(jobs: &Figures) -> String {
    let again = jobs.span().map_or_else(String::new, |(_, last)| {
        format!(", and what the killed worker had in its hands was begun again within {last:.2} s")
    });
    format!("each of {} jobs was done, {} of them by a second attempt{again}", jobs.pushed, jobs.again.len())
}

fn alarms(alarms: &Alarms) -> String {
    let took = alarms
        .took_over
        .map_or_else(String::new, |t| format!(", {:.2} s after the kill of the one before", t.as_secs_f64()));
    format!(
        "each of {} messages was heard by the one listener that was active, {} of them again by the next{took}",
        alarms.published, alarms.again
    )
}

fn named(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" (not so: {})", names.join(", ")) }
}

/// One line of totals.
pub(super) fn headline(b: &Books) -> String {
    let mut text = format!("sent {}", b.sent());
    for how in How::ALL.into_iter().filter(|how| *how != How::Failed || b.ended(*how) > 0) {
        text.push_str(&format!(" · {} {}", how.word(), b.ended(how)));
    }
    text.push_str(&format!(" · events {}", b.tally.events()));
    if b.jobs.pushed > 0 {
        text.push_str(&format!(" · jobs done {}", b.jobs.done));
    }
    if let Some(us) = b.percentile(50) {
        text.push_str(&format!(" · p50 {}", milliseconds(us)));
    }
    text
}

/// A line for each part.
pub(super) fn rows(stage: &Stage) -> Vec<(String, Tone, String)> {
    let row = |(id, part): (usize, &Part)| {
        let tone = match part.state {
            State::Working => Tone::Good,
            State::Frozen | State::Killed | State::Failed => Tone::Bad,
            _ => Tone::Plain,
        };
        (format!("{:<14}{:<16}", part.name, part.state.word()), tone, activity(stage, id, part))
    };
    (0..).zip(&stage.parts).map(row).collect()
}

fn activity(stage: &Stage, id: usize, part: &Part) -> String {
    match part.role {
        Role::Controller => stage.books.desks.get(&id).map_or_else(String::new, |d| {
            let held = if part.ended() { 0 } else { d.in_hand.len() };
            format!("took {:<6} in hand {held:<5} gave up {}", d.took, d.given_up + d.too_late)
        }),
        Role::Counter => format!("counted {}", stage.books.tally.of(id)),
        Role::Worker => stage.books.benches.get(&id).map_or_else(String::new, |b| {
            let held = if part.ended() { 0 } else { b.in_hand.len() };
            format!("did {:<7} in hand {held}", b.done)
        }),
        Role::Listener => format!("heard {}", stage.books.alarms.of(id)),
        Role::Consumer => stage.books.accounts.get(&id).map_or_else(String::new, |a| {
            let sign = match a.last_how {
                None => " ",
                Some(How::Replied) => "✓",
                Some(_) => "✗",
            };
            format!("sent {:<6} in flight {:<3} {sign} {}", a.sent, a.in_flight(), a.last)
        }),
    }
}

/// The table for people, or the object for programs.
pub(super) fn print(stage: &mut Stage, verdict: &Verdict, json: bool, took: Duration) {
    if json {
        let object = object(stage, verdict, took);
        stage.screen.result(&object);
        return;
    }
    for line in table(stage) {
        stage.screen.result(&line);
    }
    stage.screen.result("");
    for (held, text) in &verdict.promises {
        let mark = if *held { stage.screen.paint("32", "✓") } else { stage.screen.paint("31", "✗") };
        stage.screen.result(&format!("{mark} {text}"));
    }
}

fn table(stage: &Stage) -> Vec<String> {
    let b = &stage.books;
    let shown: Vec<How> =
        How::ALL.into_iter().filter(|how| *how != How::Failed || b.ended(*how) > 0).collect();
    let mut heads = vec!["sent"];
    heads.extend(shown.iter().map(|how| how.word()));
    heads.push("unknown");
    let mut consumers = Table::new(stage, &heads);
    for (id, part) in (0..).zip(&stage.parts) {
        let Some(account) = b.accounts.get(&id).filter(|_| part.role == Role::Consumer) else { continue };
        let mut numbers = vec![account.sent];
        numbers.extend(shown.iter().map(|how| account.of(*how)));
        numbers.push(account.in_flight());
        consumers.row(&name(part), &numbers);
    }
    let mut numbers = vec![b.sent()];
    numbers.extend(shown.iter().map(|how| b.ended(*how)));
    numbers.push(b.open());
    consumers.row("together", &numbers);
    let mut lines = consumers.lines;
    lines.extend(controllers(stage));
    lines.push(String::new());
    let counted: Vec<String> =
        counters(stage).map(|(part, seen)| format!("{} has seen {seen}", part.name)).collect();
    let events = stage.books.tally.events();
    lines.push(format!("Stream \"answers\": {events} events; {}", counted.join(", ")));
    lines.push(format!("Queue \"demo\": {}", b.jobs.were_done(VICTIM)));
    let heard: Vec<String> = (0..)
        .zip(&stage.parts)
        .filter(|(_, part)| part.role == Role::Listener)
        .map(|(id, part)| format!("{} by {}", b.alarms.of(id), name(part)))
        .collect();
    lines.push(format!("Topic \"{ALARMS}\": {} messages; heard {}", b.alarms.published, heard.join(", ")));
    if let (Some(p50), Some(p99)) = (b.percentile(50), b.percentile(99)) {
        lines.push(format!(
            "Round trip while nothing was wrong: p50 {}, p99 {} ({} requests)",
            milliseconds(p50),
            milliseconds(p99),
            b.samples()
        ));
    }
    lines
}

/// The consumers of the stream, and what each has counted.
fn counters(stage: &Stage) -> impl Iterator<Item = (&Part, u64)> {
    let counters = (0..).zip(&stage.parts).filter(|(_, part)| part.role == Role::Counter);
    counters.map(|(id, part)| (part, stage.books.tally.of(id)))
}

fn controllers(stage: &Stage) -> Vec<String> {
    let heads = ["took", "answered", "given up", "too late", "at its death", "taken over"];
    let mut table = Table::new(stage, &heads);
    for (id, part) in (0..).zip(&stage.parts) {
        let Some(d) = stage.books.desks.get(&id) else { continue };
        let left = d.in_hand.len() as u64;
        table.row(&name(part), &[d.took, d.answered, d.given_up, d.too_late, left, d.second_hand]);
    }
    table.lines
}

fn name(part: &Part) -> String {
    if part.state == State::Killed { format!("{} (killed)", part.name) } else { part.name.clone() }
}

/// Numbers under their heads.
struct Table {
    widths: Vec<usize>,
    lines: Vec<String>,
}

impl Table {
    fn new(stage: &Stage, heads: &[&str]) -> Self {
        let mut table = Self { widths: heads.iter().map(|h| h.len().max(6)).collect(), lines: Vec::new() };
        let heads = table.line("", heads);
        table.lines.extend([String::new(), stage.screen.paint("1", &heads)]);
        table
    }

    fn row(&mut self, name: &str, numbers: &[u64]) {
        let cells: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let line = self.line(name, &cells);
        self.lines.push(line);
    }

    fn line(&self, name: &str, cells: &[&str]) -> String {
        let cells = cells.iter().zip(&self.widths).map(|(cell, width)| format!("  {cell:>width$}"));
        format!("{name:<21}{}", cells.collect::<String>())
    }
}

fn object(stage: &Stage, verdict: &Verdict, took: Duration) -> String {
    let b = &stage.books;
    let counted: Vec<u64> = counters(stage).map(|(_, seen)| seen).collect();
    json!({
        "sent": b.sent(),
        "replied": b.ended(How::Replied),
        "timed_out": b.ended(How::TimedOut),
        "no_responder": b.ended(How::NoResponder),
        "lost": b.ended(How::Lost),
        "remote_error": b.ended(How::RemoteError),
        "cancelled": b.ended(How::Cancelled),
        "failed": b.ended(How::Failed),
        "unknown": b.open(),
        "wrong": b.wrong,
        "p50_us": b.percentile(50),
        "p99_us": b.percentile(99),
        "handlers_given_up": b.handlers_given_up(),
        "taken_over": b.second_hand(),
        "events": b.tally.events(),
        "consumer_a": counted.first(),
        "consumer_b": counted.get(1),
        "jobs": b.jobs.pushed,
        "jobs_done": b.jobs.done,
        "jobs_in_hand": b.jobs.in_hand.len(),
        "jobs_again": b.jobs.again.len(),
        "jobs_again_ms": b.jobs.span().map(|(_, last)| (last * 1000.0).round()),
        "job_attempts": b.jobs.attempts,
        "messages": b.alarms.published,
        "messages_heard": b.alarms.heard(),
        "messages_again": b.alarms.again,
        "takeover_ms": b.alarms.took_over.and_then(|t| u64::try_from(t.as_millis()).ok()),
        "shutdown_confirmed": verdict.confirmed,
        "remained": verdict.remained,
        "killed": verdict.killed,
        "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        "ok": verdict.broken().is_none(),
    })
    .to_string()
}
