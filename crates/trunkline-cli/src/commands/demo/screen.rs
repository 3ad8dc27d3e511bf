//! What the demo shows while it runs: a live view on a terminal, timestamped lines elsewhere.
//!
//! With `--json` all of it goes to stderr, so that stdout holds nothing but the result. Writing never fails: once
//! nobody reads, [`Screen::closed`] tells.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;
use trunkline::{Error, ErrorKind, Result};

use super::event::colour;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
}

/// Where it is shown.
pub(super) struct Screen {
    json: bool,
    colour: bool,
    live: Option<Live>,
    length: Duration,
    began: Instant,
    /// When the last line of plain output told where things stand.
    told: Instant,
    closed: bool,
}

struct Live {
    all: MultiProgress,
    space: ProgressBar,
    head: ProgressBar,
    rows: Vec<ProgressBar>,
}

impl Screen {
    pub(super) fn new(json: bool, length: Duration) -> Result<Self> {
        let (terminal, target) = if json {
            (std::io::stderr().is_terminal(), ProgressDrawTarget::stderr())
        } else {
            (std::io::stdout().is_terminal(), ProgressDrawTarget::stdout())
        };
        let colour = colour(terminal);
        let live = if terminal { Some(Live::new(target, length, colour)?) } else { None };
        let now = Instant::now();
        Ok(Self { json, colour, live, length, began: now, told: now, closed: false })
    }

    /// The clock starts.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
        self.told = self.began;
    }

    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    /// A new phase.
    pub(super) fn phase(&mut self, title: &str) {
        let text = self.paint("1;36", &format!("── {title} ──"));
        self.line(&text);
    }

    /// Something happened; `who` may be empty.
    pub(super) fn note(&mut self, who: &str, text: &str, tone: Tone) {
        let time = self.paint("2", &format!("{:8.3}", self.began.elapsed().as_secs_f64()));
        // What parts say on stderr comes from elsewhere: nothing in it may steer the terminal.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = if who.is_empty() { text } else { format!("{who} {text}") };
        let text = match tone {
            Tone::Plain => text,
            Tone::Good => self.paint("32", &text),
            Tone::Bad => self.paint("33", &text),
        };
        self.line(&format!("{time}  {text}"));
    }

    /// Where things stand.
    pub(super) fn show(&mut self, phase: &str, headline: &str, rows: &[(String, Tone, String)]) {
        let painted: Vec<String> = rows
            .iter()
            .map(|(name, tone, text)| match tone {
                Tone::Plain => format!("  {name}{text}"),
                Tone::Good => format!("  {}{text}", self.paint("32", name)),
                Tone::Bad => format!("  {}{text}", self.paint("31", name)),
            })
            .collect();
        let elapsed = self.began.elapsed();
        if let Some(live) = &mut self.live {
            live.show(phase, headline, &painted, elapsed.min(self.length));
        } else if self.told.elapsed() >= (self.length / 12).max(Duration::from_millis(500)) {
            self.told = Instant::now();
            self.note("", headline, Tone::Plain);
        }
    }

    /// Takes the live view away; what was noted stays.
    pub(super) fn finish(&mut self) {
        if let Some(live) = self.live.take() {
            live.rows.iter().chain([&live.head, &live.space]).for_each(ProgressBar::finish_and_clear);
            let _ = live.all.clear();
        }
    }

    /// A line of the result, which goes to stdout.
    pub(super) fn result(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        self.closed |= writeln!(out, "{text}").and_then(|()| out.flush()).is_err();
    }

    /// A line of talk.
    pub(super) fn line(&mut self, text: &str) {
        let written = match &self.live {
            Some(live) => live.all.println(text),
            None if self.json => writeln!(std::io::stderr().lock(), "{text}"),
            None => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{text}").and_then(|()| out.flush())
            }
        };
        // Talk that nobody hears does not matter while the result is wanted.
        self.closed |= written.is_err() && !self.json;
    }

    pub(super) fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Live {
    fn new(target: ProgressDrawTarget, length: Duration, colour: bool) -> Result<Self> {
        let template =
            if colour { "{prefix} {bar:28.cyan/black.bright} {msg}" } else { "{prefix} {bar:28} {msg}" };
        let style = style(template)?.progress_chars("━━─");
        let all = MultiProgress::with_draw_target(target);
        // An empty line above. The terminal's own `^C` moves the cursor, and the first line stays: better this one.
        let space = all.add(ProgressBar::new(0).with_style(self::style("{wide_msg}")?));
        let head = all.add(ProgressBar::new(whole(length)).with_style(style));
        Ok(Self { all, space, head, rows: Vec::new() })
    }

    fn show(&mut self, phase: &str, headline: &str, rows: &[String], elapsed: Duration) {
        self.space.tick();
        self.head.set_prefix(format!("{phase:<20}"));
        self.head.set_message(format!("{:.1} s", elapsed.as_secs_f64()));
        self.head.set_position(whole(elapsed));
        let lines = std::iter::once(headline).chain(rows.iter().map(String::as_str));
        for (i, text) in lines.enumerate() {
            if self.rows.len() <= i {
                let bar = ProgressBar::new(0);
                if let Ok(style) = style("{wide_msg}") {
                    bar.set_style(style);
                }
                self.rows.push(self.all.add(bar));
            }
            self.rows[i].set_message(text.to_owned());
        }
    }
}

fn style(template: &str) -> Result<ProgressStyle> {
    ProgressStyle::with_template(template).map_err(|e| Error::new(ErrorKind::Other, e.to_string()))
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
