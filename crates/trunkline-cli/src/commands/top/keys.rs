//! What keys do in `top`: choose a row, look into it, and act; what destroys something is asked about first.
//!
//! ```text
//!  ALL ──Enter──▶ a QUEUE's jobs, a CHANNEL's requests, a CONSUMER's dead letters      j k ↑ ↓ choose a row, Tab a table
//!   ▲─────q, Esc────┘        s sort by the next column   / filter   p pause or resume   r retry   c cancel   d delete
//!                            a question ──y──▶ done, noted as the dashboard's actions are ──any other key──▶ nothing
//! ```

use std::io::{IsTerminal as _, stdin};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, sync::mpsc};

use super::tables::{CHANNELS, CONSUMERS, QUEUES, TABLES};

/// A key that means something, or a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Enter,
    Tab,
    Back,
    Letter(char),
}

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    All,
    Queue(String),
    Channel(String),
    /// Of a stream.
    Consumer(String, String),
}

/// What a row on the screen is to keys: of a table by its name, or one of many by its id.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) name: String,
    /// Of a consumer of the stream `name`: its own.
    pub(super) second: String,
    pub(super) paused: bool,
    pub(super) dead: i64,
    pub(super) state: String,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Do {
    End,
    Act(&'static str, Value),
}

/// Where somebody is, and what they were asked.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) view: View,
    /// The table that keys mean, and the column that each is sorted by.
    pub(super) table: usize,
    pub(super) sorted: [usize; TABLES.len()],
    pub(super) filter: String,
    /// The rows of that table, or of what is looked into.
    pub(super) rows: Vec<Row>,
    pub(super) at: usize,
    /// What came of the last act.
    pub(super) said: String,
    pub(super) asked: Option<(String, &'static str, Value)>,
    /// The filter is being typed.
    pub(super) typing: bool,
}

impl Default for Hand {
    fn default() -> Self {
        Self {
            view: View::All,
            table: 0,
            sorted: std::array::from_fn(|n| TABLES[n].sorted),
            filter: String::new(),
            rows: Vec::new(),
            at: 0,
            said: String::new(),
            asked: None,
            typing: false,
        }
    }
}

impl Hand {
    /// Keeps to the rows that there are.
    pub(super) fn stay(&mut self) {
        self.at = self.at.min(self.rows.len().saturating_sub(1));
    }

    /// The line below: a question, what was done, or what keys there are.
    pub(super) fn foot(&self) -> String {
        let of_all = match self.table {
            QUEUES => "Enter its jobs   p pause, resume   r retry its dead jobs",
            CONSUMERS => "Enter its dead letters   r replay them",
            CHANNELS => "Enter its requests",
            _ => "",
        };
        match (&self.asked, &self.view) {
            (Some((question, ..)), _) => format!("{question} y/n"),
            _ if self.typing => format!("only what has in its name: {}_", self.filter),
            (None, _) if !self.said.is_empty() => self.said.clone(),
            (None, View::All) => {
                format!("{of_all}   Tab next table   s sort   / filter   q end").trim_start().to_owned()
            }
            (None, View::Queue(_)) => "r run now   c cancel   d delete   q back".to_owned(),
            (None, View::Channel(_)) => "c cancel   q back".to_owned(),
            (None, View::Consumer(..)) => "r replay   d delete   q back".to_owned(),
        }
    }

    pub(super) fn press(&mut self, key: Key) -> Option<Do> {
        self.said.clear();
        if let Some((_, action, target)) = self.asked.take() {
            return (key == Key::Letter('y')).then_some(Do::Act(action, target));
        }
        if self.typing {
            match key {
                Key::Letter(letter) => self.filter.push(letter),
                Key::Back if self.filter.pop().is_some() => {}
                _ => self.typing = false,
            }
            return None;
        }
        let row = self.rows.get(self.at).cloned();
        match (key, &self.view, row) {
            (Key::Up | Key::Letter('k'), ..) => self.at = self.at.saturating_sub(1),
            (Key::Down | Key::Letter('j'), ..) => {
                self.at = (self.at + 1).min(self.rows.len().saturating_sub(1))
            }
            (Key::Back | Key::Letter('q'), View::All, _) => return Some(Do::End),
            (Key::Back | Key::Letter('q'), ..) => (self.view, self.at) = (View::All, 0),
            (Key::Tab, View::All, _) => (self.table, self.at) = ((self.table + 1) % TABLES.len(), 0),
            (Key::Letter('s'), View::All, _) => {
                // By each column, and by name after the last.
                let columns = TABLES[self.table].columns.len();
                self.sorted[self.table] = (self.sorted[self.table].min(columns) + 1) % (columns + 1);
            }
            (Key::Letter('/'), View::All, _) => self.typing = true,
            (Key::Enter, View::All, Some(row)) => self.look_into(row),
            (Key::Letter(letter), View::All, Some(row)) => return self.on_row(letter, &row),
            (Key::Letter(letter), _, Some(row)) => return self.on_one(letter, &row),
            _ => {}
        }
        None
    }

    fn look_into(&mut self, row: Row) {
        self.view = match self.table {
            QUEUES => View::Queue(row.name),
            CONSUMERS => View::Consumer(row.name, row.second),
            CHANNELS => View::Channel(row.name),
            _ => return,
        };
        self.at = 0;
    }

    fn on_row(&mut self, letter: char, row: &Row) -> Option<Do> {
        let queue = json!({ "queue": row.name });
        match (self.table, letter) {
            (QUEUES, 'p') if row.paused => return Some(Do::Act("job_resume", queue)),
            (QUEUES, 'p') => return Some(Do::Act("job_pause", queue)),
            (QUEUES, 'r') if row.dead > 0 => {
                let target = json!({ "queue": row.name, "state": "dead" });
                self.asked = Some((format!("retry {} dead jobs?", row.dead), "job_retry_all", target));
            }
            (CONSUMERS, 'r') if row.dead > 0 => {
                let target = json!({ "stream": row.name, "consumer": row.second });
                self.asked = Some((format!("replay {} dead letters?", row.dead), "stream_replay", target));
            }
            _ => {}
        }
        None
    }

    /// Acts on a job, a request or a dead letter.
    fn on_one(&mut self, letter: char, row: &Row) -> Option<Do> {
        let id = &row.name;
        let job: &[&str] = &["dead", "cancelled", "scheduled", "retrying"];
        let (question, action, target, states) = match (&self.view, letter) {
            (View::Queue(_), 'r') => (None, "job_retry", json!({ "id": id }), job),
            (View::Queue(_), 'c') => {
                let states: &[&str] = &["waiting", "scheduled", "retrying", "running"];
                (Some(format!("cancel the job {id}?")), "job_cancel", json!({ "id": id }), states)
            }
            (View::Queue(_), 'd') => {
                let states: &[&str] = &["dead", "cancelled", "done"];
                (Some(format!("delete the job {id}?")), "job_delete", json!({ "id": id }), states)
            }
            (View::Channel(_), 'c') => {
                let states: &[&str] = &["waiting", "taken"];
                (
                    Some(format!("cancel the request {id}?")),
                    "request_cancel",
                    json!({ "request": id }),
                    states,
                )
            }
            (View::Consumer(stream, consumer), 'r') => {
                let target = json!({ "stream": stream, "consumer": consumer, "id": id });
                (None, "stream_replay", target, &[][..])
            }
            (View::Consumer(stream, consumer), 'd') => {
                let target = json!({ "stream": stream, "consumer": consumer, "id": id });
                (Some(format!("delete the dead letter {id}?")), "stream_purge", target, &[][..])
            }
            _ => return None,
        };
        if !states.is_empty() && !states.contains(&row.state.as_str()) {
            self.said = format!("it is {}", row.state);
            return None;
        }
        let Some(question) = question else { return Some(Do::Act(action, target)) };
        self.asked = Some((question, action, target));
        None
    }
}

/// The terminal without lines and echo, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Raw(Termios);

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
    }
}

/// Keys as they are pressed; none where there is no keyboard.
pub(super) fn listen() -> Option<(Option<Raw>, mpsc::Receiver<Key>)> {
    if !stdin().is_terminal() {
        return None;
    }
    let was = tcgetattr(stdin()).ok()?;
    let mut raw = was.clone();
    raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
    tcsetattr(stdin(), SetArg::TCSANOW, &raw).ok()?;
    let (tx, rx) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut bytes = [0; 32];
        while let Ok(n @ 1..) = stdin.read(&mut bytes).await {
            for key in keys(&bytes[..n]) {
                if tx.send(key).await.is_err() {
                    return;
                }
            }
        }
    });
    Some((Some(Raw(was)), rx))
}

fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut out = Vec::new();
    while let Some(first) = bytes.first() {
        let (key, length) = match bytes {
            [0x1b, b'[', b'A', ..] => (Some(Key::Up), 3),
            [0x1b, b'[', b'B', ..] => (Some(Key::Down), 3),
            // Another key's sequence, to its last byte.
            [0x1b, b'[', rest @ ..] => {
                let last =
                    rest.iter().position(|b| (0x40..=0x7e).contains(b)).map_or(rest.len(), |at| at + 1);
                (None, 2 + last)
            }
            [0x1b | 0x7f, ..] => (Some(Key::Back), 1),
            [b'\r' | b'\n', ..] => (Some(Key::Enter), 1),
            [b'\t', ..] => (Some(Key::Tab), 1),
            _ => ((first.is_ascii_graphic() || *first == b' ').then_some(Key::Letter(char::from(*first))), 1),
        };
        out.extend(key);
        bytes = &bytes[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_in_and_out_and_what_destroys_is_asked_about() {
        let row = |name: &str, state: &str| Row {
            name: name.into(),
            state: state.into(),
            dead: 3,
            ..Row::default()
        };
        let mut hand = Hand { rows: vec![row("a", ""), row("mail", "")], ..Hand::default() };
        let pressed: Vec<Key> = keys(b"\x1b[B\x1b[Bk\x1b[B");
        assert!(pressed.into_iter().all(|k| hand.press(k).is_none()));
        assert_eq!(hand.at, 1);
        assert_eq!(hand.press(Key::Letter('p')), Some(Do::Act("job_pause", json!({ "queue": "mail" }))));
        assert_eq!(hand.press(Key::Letter('r')), None);
        assert_eq!(hand.foot(), "retry 3 dead jobs? y/n");
        assert_eq!(hand.press(Key::Letter('n')), None);
        hand.press(Key::Enter);
        assert_eq!(hand.view, View::Queue("mail".into()));
        hand.rows = vec![row("17", "waiting")];
        assert_eq!((hand.press(Key::Letter('d')), hand.foot().as_str()), (None, "it is waiting"));
        hand.press(Key::Letter('c'));
        assert_eq!(hand.press(Key::Letter('y')), Some(Do::Act("job_cancel", json!({ "id": "17" }))));
        assert_eq!(hand.press(Key::Back), None);
        assert_eq!(hand.press(Key::Letter('q')), Some(Do::End));
    }

    #[test]
    fn every_table_is_reached_and_looked_into_and_a_filter_is_typed() {
        let rows = || {
            vec![Row {
                name: "9".into(),
                second: "c".into(),
                dead: 2,
                state: "taken".into(),
                ..Row::default()
            }]
        };
        let mut hand = Hand { rows: rows(), ..Hand::default() };
        let one = json!({ "stream": "9", "consumer": "c", "id": "9" });
        keys(b"\ts").into_iter().for_each(|k| drop(hand.press(k)));
        assert_eq!((hand.table, hand.sorted[CONSUMERS]), (CONSUMERS, 1));
        assert_eq!(
            (hand.press(Key::Letter('r')), hand.foot().as_str()),
            (None, "replay 2 dead letters? y/n")
        );
        hand.press(Key::Letter('n'));
        hand.press(Key::Enter);
        assert_eq!(hand.view, View::Consumer("9".into(), "c".into()));
        assert_eq!(hand.press(Key::Letter('r')), Some(Do::Act("stream_replay", one.clone())));
        hand.press(Key::Letter('d'));
        assert_eq!(hand.press(Key::Letter('y')), Some(Do::Act("stream_purge", one)));
        keys(b"q\t\r").into_iter().for_each(|k| drop(hand.press(k)));
        assert_eq!(hand.view, View::Channel("9".into()));
        hand.press(Key::Letter('c'));
        assert_eq!(hand.press(Key::Letter('y')), Some(Do::Act("request_cancel", json!({ "request": "9" }))));
        // Nothing is in a process; after the last column it is sorted by name, and then by the first.
        keys(b"q\t\r").into_iter().for_each(|k| drop(hand.press(k)));
        assert_eq!((hand.view.clone(), hand.table), (View::All, 3));
        hand.press(Key::Letter('s'));
        assert_eq!(hand.sorted[3], 0);
        keys(b"/q\x1b[3~m\x1b[1;5Ax\x7f\r").into_iter().for_each(|k| drop(hand.press(k)));
        assert_eq!((hand.filter.as_str(), hand.typing), ("qm", false));
        assert_eq!(hand.press(Key::Letter('q')), Some(Do::End));
    }
}
