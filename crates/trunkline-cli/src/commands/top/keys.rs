//! What keys do in `top`: choose a queue, look into it, and act; what destroys something is asked about first.
//!
//! ```text
//!  ALL ──Enter──▶ QUEUE      j k ↑ ↓ choose   p pause or resume   r retry   c cancel   d delete
//!   ▲─────q, Esc────┘        a question ──y──▶ done, noted as the dashboard's actions are ──any other key──▶ nothing
//! ```

use std::io::{IsTerminal as _, stdin};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, sync::mpsc};

/// A key that means something, or a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Enter,
    Back,
    Letter(char),
}

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    All,
    Queue(String),
}

/// What a row on the screen is to keys: a queue, or a job by its id.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) name: String,
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
#[derive(Debug, Default)]
pub(super) struct Hand {
    pub(super) view: View,
    pub(super) rows: Vec<Row>,
    pub(super) at: usize,
    /// What came of the last act.
    pub(super) said: String,
    asked: Option<(String, &'static str, Value)>,
}

impl Hand {
    /// Keeps to the rows that there are.
    pub(super) fn stay(&mut self) {
        self.at = self.at.min(self.rows.len().saturating_sub(1));
    }

    /// The line below: a question, what was done, or what keys there are.
    pub(super) fn foot(&self) -> String {
        match (&self.asked, &self.view) {
            (Some((question, ..)), _) => format!("{question} y/n"),
            (None, _) if !self.said.is_empty() => self.said.clone(),
            (None, View::All) => {
                "Enter its jobs   p pause, resume   r retry its dead jobs   q end".to_owned()
            }
            (None, View::Queue(_)) => "r run now   c cancel   d delete   q back".to_owned(),
        }
    }

    pub(super) fn press(&mut self, key: Key) -> Option<Do> {
        self.said.clear();
        if let Some((_, action, target)) = self.asked.take() {
            return (key == Key::Letter('y')).then_some(Do::Act(action, target));
        }
        let row = self.rows.get(self.at).cloned();
        match (key, &self.view, row) {
            (Key::Up | Key::Letter('k'), ..) => self.at = self.at.saturating_sub(1),
            (Key::Down | Key::Letter('j'), ..) => {
                self.at = (self.at + 1).min(self.rows.len().saturating_sub(1))
            }
            (Key::Back | Key::Letter('q'), View::All, _) => return Some(Do::End),
            (Key::Back | Key::Letter('q'), View::Queue(_), _) => (self.view, self.at) = (View::All, 0),
            (Key::Enter, View::All, Some(row)) => (self.view, self.at) = (View::Queue(row.name), 0),
            (Key::Letter(letter), View::All, Some(row)) => return self.on_queue(letter, &row),
            (Key::Letter(letter), View::Queue(_), Some(row)) => return self.on_job(letter, &row),
            _ => {}
        }
        None
    }

    fn on_queue(&mut self, letter: char, row: &Row) -> Option<Do> {
        let target = json!({ "queue": row.name });
        match letter {
            'p' if row.paused => Some(Do::Act("job_resume", target)),
            'p' => Some(Do::Act("job_pause", target)),
            'r' if row.dead > 0 => {
                let target = json!({ "queue": row.name, "state": "dead" });
                self.asked = Some((format!("retry {} dead jobs?", row.dead), "job_retry_all", target));
                None
            }
            _ => None,
        }
    }

    fn on_job(&mut self, letter: char, row: &Row) -> Option<Do> {
        let (word, action, states): (_, _, &[&str]) = match letter {
            'r' => ("run", "job_retry", &["dead", "cancelled", "scheduled", "retrying"]),
            'c' => ("cancel", "job_cancel", &["waiting", "scheduled", "retrying", "running"]),
            'd' => ("delete", "job_delete", &["dead", "cancelled", "done"]),
            _ => return None,
        };
        if !states.contains(&row.state.as_str()) {
            self.said = format!("it is {}", row.state);
            return None;
        }
        let target = json!({ "id": row.name });
        if letter == 'r' {
            return Some(Do::Act(action, target));
        }
        self.asked = Some((format!("{word} the job {}?", row.name), action, target));
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
            [0x1b, b'[', _, ..] => (None, 3),
            [0x1b | 0x7f, ..] => (Some(Key::Back), 1),
            [b'\r' | b'\n', ..] => (Some(Key::Enter), 1),
            _ => (first.is_ascii_graphic().then_some(Key::Letter(char::from(*first))), 1),
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
        let row =
            |name: &str, state: &str| Row { name: name.into(), state: state.into(), dead: 3, paused: false };
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
}
