//! What the guide promises of a queue's jobs, as a model; and what a push can say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::jobs_storm::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Running,
    Done,
    Dead,
    Cancelled,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub state: State,
    pub key: Option<String>,
    /// Unique by this, as long as it is open or runs.
    pub unique: Option<String>,
    /// Only until it is taken.
    pub while_waiting: bool,
    pub priority: u64,
    pub payload: String,
    /// Until it is due.
    pub hours: i64,
    pub attempt: i64,
    pub most: i64,
    /// Cancelled while it ran.
    pub told: bool,
    pub claim: String,
    /// Where the last look saw it.
    pub ring: bool,
    /// It was taken while there was a limit.
    pub limited: bool,
}

/// What a push says, besides its payload.
#[derive(Clone, Debug, Default)]
pub struct Push {
    pub payload: String,
    pub key: Option<String>,
    pub unique: Option<String>,
    pub priority: u64,
    pub hours: i64,
    pub most: Option<i64>,
    pub options: Vec<(&'static str, &'static str)>,
}

impl Push {
    pub fn draw(dice: &mut Dice, number: usize) -> Self {
        let mut push = Self { payload: format!("p{number}"), priority: 5, ..Self::default() };
        if dice.throw(2) == 0 {
            push.key = Some(format!("k{}", dice.throw(3)));
        }
        if dice.throw(3) == 0 {
            push.unique = Some(format!("u{}", dice.throw(3)));
            push.options = match dice.throw(7) {
                0 => vec![("unique_while", "\"waiting\"")],
                1 => vec![("unique_for", "\"100 days\"")],
                2 => vec![("on_conflict", "\"replace\"")],
                3 => vec![("on_conflict", "\"debounce\"")],
                4 => vec![("on_conflict", "\"replace\""), ("unique_while", "\"open\"")],
                5 => vec![("on_conflict", "\"debounce\""), ("unique_while", "\"open\"")],
                _ => vec![],
            };
        } else if dice.throw(8) == 0 {
            push.payload = format!("same{}", dice.throw(2));
            push.options = vec![("unique_payload", "true")];
        }
        if dice.throw(3) == 0 {
            push.priority = [3, 8][dice.throw(2) as usize];
        }
        if dice.throw(4) == 0 {
            push.hours = 1 + dice.throw(3) as i64;
        }
        if dice.throw(4) == 0 {
            push.most = Some(1 + dice.throw(3) as i64);
        }
        if dice.throw(6) == 0 {
            push.options.push(("ttl", "\"3000 days\""));
        }
        push
    }

    pub fn has(&self, name: &str, value: &str) -> bool {
        self.options.iter().any(|(n, v)| *n == name && v.trim_matches('"') == value)
    }

    pub fn sql(&self) -> String {
        let mut sql =
            format!("select trunkline.job_push('q', '{}', priority => {}", self.payload, self.priority);
        for (name, value) in [("key", &self.key), ("unique_key", &self.unique)] {
            if let Some(value) = value {
                sql += &format!(", {name} => '{value}'");
            }
        }
        if self.hours > 0 {
            sql += &format!(", run_at => clock_timestamp() + interval '{} h'", self.hours);
        }
        if let Some(most) = self.most {
            sql += &format!(", max_attempts => {most}");
        }
        if !self.options.is_empty() {
            let options: Vec<_> = self.options.iter().map(|(n, v)| format!("\"{n}\": {v}")).collect();
            sql += &format!(", options => '{{{}}}'", options.join(", "));
        }
        sql + ")"
    }

    /// What it is unique by.
    pub fn by(&self) -> Option<String> {
        let payload = self.has("unique_payload", "true").then(|| format!("payload {}", self.payload));
        self.unique.clone().or(payload)
    }
}

/// What the guide promises.
#[derive(Debug, Default)]
pub struct Model {
    pub jobs: BTreeMap<i64, Entry>,
    /// Unique for a time, which does not end here.
    pub for_a_time: HashMap<String, i64>,
    pub paused: bool,
    pub max_running: usize,
    pub key_most: usize,
    /// Claims that are over.
    pub stale: Vec<String>,
}

impl Model {
    pub fn of(&self, state: State) -> impl Iterator<Item = (i64, &Entry)> {
        self.jobs.iter().filter(move |(_, j)| j.state == state).map(|(id, j)| (*id, j))
    }

    /// Its key does not let it begin: as many as may are before it, or run.
    pub fn behind(&self, id: i64, job: &Entry) -> bool {
        let before = |(other, o): &(&i64, &Entry)| {
            o.key == job.key && (o.state == State::Running || o.state == State::Open && **other < id)
        };
        job.key.is_some() && self.jobs.iter().filter(before).count() >= self.key_most
    }

    /// Which may be taken now.
    pub fn takable(&self) -> BTreeMap<i64, u64> {
        let may = |(id, j): &(i64, &Entry)| !self.paused && j.hours <= 0 && !self.behind(*id, j);
        self.of(State::Open).filter(may).map(|(id, j)| (id, j.priority)).collect()
    }

    /// How many may be taken. Those that ran in the ring when a limit was set are not counted.
    pub fn room(&self) -> usize {
        match self.max_running {
            0 => usize::MAX,
            most => {
                most.saturating_sub(self.of(State::Running).filter(|(_, j)| !j.ring || j.limited).count())
            }
        }
    }

    /// The open or running job with which a push is not unique.
    pub fn conflict(&self, by: &str) -> Option<i64> {
        let open = |j: &Entry| matches!(j.state, State::Open | State::Running);
        self.jobs.iter().find(|(_, j)| open(j) && j.unique.as_deref() == Some(by)).map(|(id, _)| *id)
    }

    /// A push that answered with this id.
    pub fn push(&mut self, push: &Push, id: i64) {
        let by = push.by();
        let lasts = push.options.iter().any(|(name, _)| *name == "unique_for");
        let known = by
            .as_deref()
            .and_then(|by| self.for_a_time.get(by).filter(|_| lasts).copied().or_else(|| self.conflict(by)));
        let (replace, debounce) = (push.has("on_conflict", "replace"), push.has("on_conflict", "debounce"));
        let open = push.has("unique_while", "open") || !replace && !debounce;
        if let Some(known) = known {
            assert_eq!(id, known, "it is there already");
            if let Some(job) =
                self.jobs.get_mut(&id).filter(|j| j.state == State::Open && (replace || debounce))
            {
                (job.payload, job.priority) = (push.payload.clone(), push.priority);
                job.most = push.most.unwrap_or(20);
                job.hours = if debounce { push.hours } else { job.hours };
            }
            return;
        }
        if let Some(by) = by.clone().filter(|_| lasts) {
            self.for_a_time.insert(by, id);
        }
        let job = Entry {
            state: State::Open,
            key: push.key.clone(),
            unique: by,
            while_waiting: !open || push.has("unique_while", "waiting"),
            priority: push.priority,
            payload: push.payload.clone(),
            hours: push.hours,
            attempt: 0,
            most: push.most.unwrap_or(20),
            told: false,
            claim: String::new(),
            ring: false,
            limited: false,
        };
        assert!(self.jobs.insert(id, job).is_none(), "an id comes once");
    }

    /// What a take of at most so many answered.
    pub fn take(&mut self, most: usize, rows: &[String]) {
        let mut may = self.takable();
        let due = most.min(may.len()).min(self.room());
        // What was cancelled in the ring takes a place.
        let hidden = self.of(State::Cancelled).any(|(_, j)| j.ring);
        let mut last = 0;
        for row in rows {
            let fields: Vec<&str> = row.split('|').collect();
            let id: i64 = fields[0].parse().unwrap();
            last = last.max(may.remove(&id).unwrap_or_else(|| panic!("{row} may not be taken, but {may:?}")));
            let job = self.jobs.get_mut(&id).unwrap();
            job.attempt += 1;
            let due =
                [&job.payload, job.key.as_deref().unwrap_or(""), &job.attempt.to_string()].map(str::to_owned);
            assert_eq!(fields[2..], due, "{row}");
            (job.state, job.claim) = (State::Running, fields[1].to_owned());
            job.limited = self.max_running > 0;
            if job.while_waiting {
                job.unique = None;
            }
        }
        // What was pushed to the ring since the look before may come with the next.
        let next = |id: &i64| self.jobs[id].ring;
        let fewer = !rows.is_empty() && (hidden || may.keys().any(next));
        assert!(rows.len() == due || rows.len() < due && fewer, "{} of {due}, left: {may:?}", rows.len());
        let urgent: Vec<_> = may.iter().filter(|(id, priority)| **priority < last && !next(id)).collect();
        assert!(urgent.is_empty() || hidden, "more urgent, and left: {urgent:?}");
    }

    /// An attempt ended so; `Open` comes again after so many hours.
    pub fn end(&mut self, id: i64, state: State, counted: bool, hours: i64) {
        let job = self.jobs.get_mut(&id).unwrap();
        let last = counted && job.attempt >= job.most;
        job.state = match state {
            State::Open if job.told => State::Cancelled,
            State::Open if last => State::Dead,
            state => state,
        };
        job.attempt -= i64::from(!counted);
        job.hours = hours;
        self.stale.push(std::mem::take(&mut job.claim));
    }

    /// Compares with every job there is: id, state, attempt, payload, priority, key, whether it is unique, and lies in the ring.
    pub fn compare(&mut self, rows: &[String]) {
        let mut seen = BTreeSet::new();
        for row in rows {
            let f: Vec<&str> = row.split('|').collect();
            let id: i64 = f[0].parse().unwrap();
            let job = self.jobs.get(&id).unwrap_or_else(|| panic!("unknown: {row}"));
            let state = match job.state {
                State::Open if job.attempt > 0 => "retrying",
                State::Open if job.hours > 0 => "scheduled",
                State::Open => "waiting",
                State::Running => "running",
                State::Done => "done",
                State::Dead => "dead",
                State::Cancelled => "cancelled",
            };
            let waits = f[1] == "waiting" && job.state == State::Open && self.behind(id, job);
            assert!(f[1] == state || waits, "{state}, and not {row}");
            let (attempt, priority) = (job.attempt.to_string(), job.priority.to_string());
            let due = [&attempt, &job.payload, &priority, job.key.as_deref().unwrap_or("")];
            assert_eq!(f[2..6], due, "{row}");
            let unique = matches!(job.state, State::Open | State::Running) && job.unique.is_some();
            assert!(!unique || f[6] == "t", "no longer unique: {row}");
            self.jobs.get_mut(&id).unwrap().ring = f[7] == "t";
            seen.insert(id);
        }
        // Done jobs of the ring go with their segment.
        let gone = |(id, j): (&i64, &mut Entry)| !seen.contains(id) && j.state == State::Done && j.ring;
        self.jobs.extract_if(.., |id, j| gone((id, j))).for_each(drop);
        let lost: Vec<_> = self.jobs.keys().filter(|id| !seen.contains(id)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}
