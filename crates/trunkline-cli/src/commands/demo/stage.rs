//! The stage: the processes of the demo, what they say, and the books kept about it.
//!
//! Guarantees: a process that is started is waited for or killed; each wait has an end; a stop of the demo (Ctrl-C, a
//! closed pipe, a broken part) is noticed within the refresh interval.

use std::{ffi::OsString, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use trunkline::{Error, ErrorKind, Result};

use super::{
    PART_URL,
    books::Books,
    event::{Event, Told},
    part::{Order, system},
    screen::{Screen, Tone},
};

const REFRESH: Duration = Duration::from_millis(120);

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Controller,
    Consumer,
    /// A consumer of the stream.
    Counter,
    Worker,
    /// Of a topic.
    Listener,
}

/// How a part is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Working,
    Frozen,
    Leaving,
    Left,
    Killed,
    /// It ended though nobody told it to, or with an error.
    Failed,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Working => "working",
            Self::Frozen => "standing still",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Killed => "killed",
            Self::Failed => "failed",
        }
    }
}

/// A process of the demo.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) state: State,
    pub(super) address: String,
    /// It said that it was sent SHUTDOWN.
    pub(super) told: bool,
    /// Everything that it said has been heard.
    silent: bool,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// What comes out of a part.
enum Line {
    Event(Event),
    /// What it said on stderr, or what is no event.
    Talk(String),
    /// Its stdout was closed: it is gone.
    Closed,
}

/// The processes, their events, and where to show them.
pub(super) struct Stage {
    pub(super) parts: Vec<Part>,
    pub(super) books: Books,
    pub(super) screen: Screen,
    pub(super) phase: String,
    url: String,
    lines: mpsc::UnboundedReceiver<(usize, Line)>,
    line: mpsc::UnboundedSender<(usize, Line)>,
    stop: mpsc::UnboundedReceiver<()>,
    refresh: tokio::time::Interval,
}

impl Stage {
    pub(super) fn new(url: String, screen: Screen) -> Result<Self> {
        let (line, lines) = mpsc::unbounded_channel();
        let (stopping, stop) = mpsc::unbounded_channel();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind).map_err(system)?;
            let stopping = stopping.clone();
            tokio::spawn(async move { while signals.recv().await.is_some() && stopping.send(()).is_ok() {} });
        }
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            parts: Vec::new(),
            books: Books::default(),
            screen,
            phase: String::new(),
            url,
            lines,
            line,
            stop,
            refresh,
        })
    }

    /// Starts a part: this program once more, with other arguments.
    pub(super) fn start(&mut self, role: Role, name: String, options: &[(&str, u128)]) -> Result<usize> {
        let program = std::env::current_exe().map_err(system)?;
        let word = match role {
            Role::Controller => "controller",
            Role::Consumer => "consumer",
            Role::Counter => "counter",
            Role::Worker => "worker",
            Role::Listener => "listener",
        };
        let mut arguments: Vec<OsString> = ["demo", word, "--events"].map(Into::into).into();
        for (option, value) in options {
            arguments.push(option.into());
            arguments.push(value.to_string().into());
        }
        // A group of its own: Ctrl-C is for the director, who then stops its parts.
        let mut child = Command::new(program)
            .args(arguments)
            .env(PART_URL, &self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(system)?;
        let id = self.parts.len();
        if let Some(out) = child.stdout.take() {
            tokio::spawn(read(id, out, self.line.clone(), true));
        }
        if let Some(err) = child.stderr.take() {
            tokio::spawn(read(id, err, self.line.clone(), false));
        }
        let stdin = child.stdin.take();
        let state = State::Starting;
        self.parts.push(Part {
            role,
            name,
            state,
            address: String::new(),
            told: false,
            silent: false,
            child,
            stdin,
        });
        Ok(id)
    }

    /// Lets things happen until it is true, at most until then; whether it was.
    ///
    /// # Errors
    /// The demo is to end: Ctrl-C, or nobody reads what is shown.
    pub(super) async fn until(&mut self, end: Instant, mut done: impl FnMut(&Self) -> bool) -> Result<bool> {
        loop {
            if done(self) {
                return Ok(true);
            }
            tokio::select! {
                Some((part, line)) = self.lines.recv() => self.hear(part, line),
                _ = self.refresh.tick() => self.show(),
                Some(()) = self.stop.recv() => return Err(Error::new(ErrorKind::Cancelled, "interrupted")),
                () = sleep_until(end) => return Ok(done(self)),
            }
            if self.screen.closed() {
                return Err(Error::new(ErrorKind::Cancelled, "nobody reads the output"));
            }
        }
    }

    /// Lets things happen for a time.
    ///
    /// # Errors
    /// As [`Stage::until`].
    pub(super) async fn play(&mut self, time: Duration) -> Result<()> {
        self.until(Instant::now() + time, |_| false).await.map(drop)
    }

    /// Waits until these parts are in one of these states, or have ended.
    ///
    /// # Errors
    /// As [`Stage::until`]; when it takes longer than `most`.
    pub(super) async fn settled(&mut self, ids: &[usize], states: &[State], most: Duration) -> Result<()> {
        let there = |s: &Self| {
            ids.iter().filter_map(|id| s.parts.get(*id)).all(|p| states.contains(&p.state) || p.ended())
        };
        if self.until(Instant::now() + most, there).await? {
            return Ok(());
        }
        let late: Vec<&str> = ids
            .iter()
            .filter_map(|id| self.parts.get(*id))
            .filter(|p| !states.contains(&p.state))
            .map(|p| p.name.as_str())
            .collect();
        Err(Error::new(ErrorKind::TimedOut, format!("{} took longer than {most:?}", late.join(", "))))
    }

    pub(super) async fn order(&mut self, id: usize, order: Order) {
        let Some(part) = self.parts.get_mut(id) else { return };
        if order == Order::Leave {
            part.state = State::Leaving;
        }
        if let Some(stdin) = &mut part.stdin {
            let _ = timeout(Duration::from_secs(1), stdin.write_all(order.line().as_bytes())).await;
        }
    }

    /// Stops a part where it stands, or lets it go on.
    pub(super) fn freeze(&mut self, id: usize, frozen: bool) -> Result<()> {
        let Some(part) = self.parts.get_mut(id) else { return Ok(()) };
        let pid = part.child.id().and_then(|pid| i32::try_from(pid).ok());
        let Some(pid) = pid else { return Ok(()) };
        let (sign, state) =
            if frozen { (Signal::SIGSTOP, State::Frozen) } else { (Signal::SIGCONT, State::Working) };
        kill(Pid::from_raw(pid), sign).map_err(|e| system(e.into()))?;
        part.state = state;
        Ok(())
    }

    /// SIGKILL: it has no time for anything more. Returns when all that it said before has been heard.
    ///
    /// # Errors
    /// As [`Stage::until`].
    pub(super) async fn kill(&mut self, id: usize) -> Result<()> {
        if let Some(part) = self.parts.get_mut(id) {
            part.state = State::Killed;
            let _ = part.child.start_kill();
        }
        let heard = |s: &Self| s.parts.get(id).is_none_or(|p| p.silent);
        self.until(Instant::now() + Duration::from_secs(1), heard).await.map(drop)
    }

    /// Ends whatever still runs, which counts as its failure. Takes two seconds at most.
    pub(super) async fn clear(&mut self) {
        for part in self.parts.iter_mut().filter(|p| !p.ended()) {
            part.state = State::Failed;
            part.stdin = None;
            let _ = part.child.start_kill();
        }
        let all = async {
            for part in &mut self.parts {
                let _ = part.child.wait().await;
            }
        };
        let _ = timeout(Duration::from_secs(2), all).await;
        self.screen.finish();
    }

    fn hear(&mut self, id: usize, line: Line) {
        let Some(part) = self.parts.get_mut(id) else { return };
        match line {
            Line::Event(event) => {
                match &event {
                    Event::Ready { address } => {
                        part.address.clone_from(address);
                        part.state = State::Working;
                    }
                    Event::Shutdown => {
                        part.told = true;
                        part.state = State::Leaving;
                    }
                    Event::Left { text } => self.screen.note(&part.name, text, Tone::Good),
                    Event::Told { address, told } => self.heard_of(address, *told),
                    _ => {}
                }
                self.books.enter(id, &event);
            }
            Line::Talk(text) => self.screen.note(&part.name, &text, Tone::Plain),
            Line::Closed => {
                part.silent = true;
                match part.state {
                    State::Killed => {}
                    State::Leaving => part.state = State::Left,
                    _ => {
                        part.state = State::Failed;
                        self.screen.note(&part.name, "ended, though nobody told it to", Tone::Bad);
                    }
                }
            }
        }
    }

    /// A controller tells what became of a SHUTDOWN.
    fn heard_of(&mut self, address: &str, told: Told) {
        let Some(part) = self.parts.iter().find(|p| p.address == address) else { return };
        let (text, tone) = match told {
            Told::Taken => ("has taken SHUTDOWN", Tone::Good),
            Told::Gone => ("is not there any more to be shut down", Tone::Plain),
            Told::Unanswered => ("did not take SHUTDOWN in time", Tone::Bad),
        };
        self.screen.note(&part.name, text, tone);
    }

    fn show(&mut self) {
        let rows = super::summary::rows(self);
        self.screen.show(&self.phase, &super::summary::headline(&self.books), &rows);
    }
}

impl Part {
    pub(super) fn ended(&self) -> bool {
        matches!(self.state, State::Left | State::Killed | State::Failed)
    }

    /// Waits for the process; whether it ended well.
    pub(super) async fn exit(&mut self) -> bool {
        self.stdin = None;
        let status = timeout(Duration::from_secs(3), self.child.wait()).await;
        status.is_ok_and(|s| s.is_ok_and(|s| s.success()))
    }
}

async fn read(
    id: usize,
    from: impl AsyncRead + Unpin,
    to: mpsc::UnboundedSender<(usize, Line)>,
    events: bool,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let line = match serde_json::from_str(&text) {
            Ok(event) if events => Line::Event(event),
            _ => Line::Talk(text),
        };
        if to.send((id, line)).is_err() {
            return;
        }
    }
    if events {
        let _ = to.send((id, Line::Closed));
    }
}
