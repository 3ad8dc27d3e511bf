//! Random operations on one queue, one after the other, and after each one the database compared with a model of what the
//! guide promises: every job's state, attempt, payload; which may be taken now; what each call answers.
//!
//! Free, as the guide leaves it: the order of jobs of one priority and of different keys; whether a look brings what was
//! pushed to the ring since the one before; whether a done job of the ring is seen any longer; and whether what waits behind
//! its key is called waiting or what it waits for besides.
//! Times are whole hours, which only `job_forward` lets pass. `TRUNKLINE_MODEL_SEED` chooses the first of the seeds, and
//! `TRUNKLINE_MODEL_SEEDS` how many there are.

mod model;

use std::rc::Rc;

use tokio::task::{JoinSet, LocalSet};

use self::model::{Entry, Model, Push, State};
use crate::{
    jobs_storm::Dice,
    support::{Db, Raw, say},
};

const OPERATIONS: usize = 300;
const DATABASES: u64 = 4;

/// A queue without jobs.
const ANEW: &str = "truncate trunkline.job_held, trunkline.job_cancel, trunkline.job_unique, trunkline.job_progress,
        trunkline.job_d0, trunkline.job_slice_d0, trunkline.job_done_d0, trunkline.job_end_d0,
        trunkline.job_d1, trunkline.job_slice_d1, trunkline.job_done_d1, trunkline.job_end_d1;
    select trunkline.job_open('q'), trunkline.job_set('q', 'retry_after', '1 h'), trunkline.job_set('q', 'retry_most', '1 h'),
           trunkline.job_set('q', 'max_running', '0'), trunkline.job_set('q', 'key_max_running', '1'), trunkline.job_resume('q')";

/// One seed's run.
struct Run {
    raw: Rc<Raw>,
    dice: Dice,
    model: Model,
    /// What was done, with what was answered.
    log: Vec<String>,
    taken: usize,
}

impl Run {
    async fn one(&mut self, sql: &str) -> String {
        self.log.push(sql.to_owned());
        let answer = self.raw.one(sql).await;
        self.log.push(format!("  {answer}"));
        answer
    }

    fn any(&mut self, of: &[i64]) -> Option<i64> {
        (!of.is_empty()).then(|| of[self.dice.throw(of.len() as u64) as usize])
    }

    async fn step(&mut self, number: usize) {
        match self.dice.throw(100) {
            0..30 => {
                let push = Push::draw(&mut self.dice, number);
                let id = self.one(&push.sql()).await.parse().unwrap();
                self.model.push(&push, id);
            }
            30..50 => self.take().await,
            50..72 => self.end().await,
            72..88 => self.manage().await,
            88..91 => self.late().await,
            91..94 => drop(self.one("select coalesce(trunkline._job_turn_d(1, '0'), 'nothing')").await),
            94..96 => drop(self.one("select trunkline._job_tidy()").await),
            _ => self.set().await,
        }
    }

    async fn take(&mut self) {
        let most = 1 + self.dice.throw(5) as usize;
        let sql = format!("select id, claim, payload, key, attempt from trunkline.job_take('q', {most})");
        self.log.push(sql.clone());
        let rows = self.raw.rows(&sql).await;
        self.log.push(format!("  {rows:?}"));
        self.taken += rows.len();
        self.model.take(most, &rows);
    }

    /// Ends an attempt.
    async fn end(&mut self) {
        let running: Vec<i64> = self.model.of(State::Running).map(|(id, _)| id).collect();
        let Some(id) = self.any(&running) else { return };
        let claim = self.model.jobs[&id].claim.clone();
        let hours = self.dice.throw(3) as i64;
        let (call, state, counted, hours) = match self.dice.throw(10) {
            0..4 => (format!("job_complete('{claim}')"), State::Done, true, 0),
            4 => (format!("job_complete('{claim}', 'result')"), State::Done, true, 0),
            5..7 => (format!("job_fail('{claim}', 'x', '{hours} h')"), State::Open, true, hours),
            7 => (format!("job_fail('{claim}', 'x')"), State::Open, true, 1), // by the queue's backoff
            8 => (format!("job_fail('{claim}', 'x', dead => true)"), State::Dead, true, 0),
            _ => (format!("job_snooze('{claim}', '{hours} h')"), State::Open, false, hours),
        };
        self.one(&format!("select trunkline.{call}")).await;
        self.model.end(id, state, counted, hours);
    }

    /// Cancel, retry, delete, of any job.
    async fn manage(&mut self) {
        let all: Vec<i64> = self.model.jobs.keys().copied().collect();
        let Some(id) = self.any(&all) else { return };
        let job = self.model.jobs[&id].clone();
        match self.dice.throw(3) {
            0 => {
                let due = match job.state {
                    State::Open => "cancelled",
                    State::Running => "told",
                    _ => "",
                };
                assert_eq!(self.one(&format!("select trunkline.job_cancel({id})")).await, due);
                let job = self.model.jobs.get_mut(&id).unwrap();
                match job.state {
                    State::Open => job.state = State::Cancelled,
                    State::Running => job.told = true,
                    _ => {}
                }
            }
            1 => {
                let over = matches!(job.state, State::Dead | State::Cancelled);
                let rival = over && job.unique.as_deref().is_some_and(|u| self.model.conflict(u).is_some());
                let sql = format!("select trunkline.job_retry({id})");
                if rival {
                    self.log.push(sql.clone());
                    return assert_eq!(self.raw.code(&sql).await, "42710", "another one is there");
                }
                let due = over || job.state == State::Open && job.hours > 0;
                assert_eq!(self.one(&sql).await == "t", due);
                if due {
                    let job = self.model.jobs.get_mut(&id).unwrap();
                    job.attempt = if over { 0 } else { job.attempt };
                    (job.state, job.hours, job.told) = (State::Open, 0, false);
                }
            }
            _ => {
                let over = !matches!(job.state, State::Open | State::Running);
                assert_eq!(
                    self.one(&format!("select trunkline.job_delete({id})")).await == "t",
                    over && !job.ring
                );
                if over && !job.ring {
                    self.model.jobs.remove(&id);
                }
            }
        }
    }

    /// Who ends what is no longer his is refused.
    async fn late(&mut self) {
        let stale = self.model.stale.len() as u64;
        if stale == 0 {
            return;
        }
        let claim = &self.model.stale[self.dice.throw(stale) as usize];
        let call = ["job_complete('#')", "job_fail('#', 'late')", "job_snooze('#', '1 h')"]
            [self.dice.throw(3) as usize];
        let sql = format!("select trunkline.{}", call.replace('#', claim));
        self.log.push(sql.clone());
        assert_eq!(self.raw.code(&sql).await, "TL001");
    }

    /// Time, settings, pauses.
    async fn set(&mut self) {
        let number = self.dice.throw(4);
        match self.dice.throw(8) {
            0..4 => {
                let by = 1 + self.dice.throw(2) as i64;
                let count = self.one(&format!("select trunkline.job_forward('{by} h', 'q')")).await;
                let waits = |j: &&mut Entry| j.state == State::Open && j.hours > 0;
                let moved = self.model.jobs.values_mut().filter(waits).map(|j| j.hours -= by).count();
                assert_eq!(count, moved.to_string());
            }
            4 => {
                self.one(&format!("select trunkline.job_set('q', 'max_running', '{number}')")).await;
                self.model.max_running = number as usize;
            }
            5 => {
                let most = 1 + number % 2;
                self.one(&format!("select trunkline.job_set('q', 'key_max_running', '{most}')")).await;
                self.model.key_most = most as usize;
            }
            6 if !self.model.paused || number == 0 => {
                let did = self.one("select trunkline.job_pause('q')").await == "t";
                assert_eq!(did, !std::mem::replace(&mut self.model.paused, true));
            }
            _ => {
                let did = self.one("select trunkline.job_resume('q')").await == "t";
                assert_eq!(did, std::mem::replace(&mut self.model.paused, false));
            }
        }
    }

    async fn all(&mut self) {
        for number in 0..OPERATIONS {
            self.step(number).await;
            let rows = self.raw.rows("select * from public.seen()").await;
            self.model.compare(&rows);
        }
    }
}

/// What is compared; in a function, since to plan the view takes longer than to read it.
const SEEN: &str = "create function public.seen() returns table (id bigint, state text, attempt int, payload text, priority int,
                                                                 key text, is_unique boolean, ring boolean)
    language plpgsql as $$
    begin
        return query select j.id, j.state, j.attempt, j.payload, j.priority, j.key, j.unique_key is not null,
                            not exists (select from trunkline.job_held h where h.id = j.id)
                       from trunkline.job j where j.queue = 'q' order by j.id;
    end $$";

/// Tells what was done when it ends by a panic.
struct Told(u64, Run);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.1.log.len().saturating_sub(40);
            say(&format!(
                "TRUNKLINE_MODEL_SEED={}\n{}\n{:#?}",
                self.0,
                self.1.log[last..].join("\n"),
                self.1.model
            ));
        }
    }
}

/// One seed after the other in a database: what each took.
async fn seeds(seeds: Vec<u64>) -> usize {
    let (raw, mut taken) = (Rc::new(Db::new().await.raw().await), 0);
    raw.run(SEEN).await;
    for seed in seeds {
        raw.run(ANEW).await;
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        (0..10).for_each(|_| _ = dice.throw(2));
        let model = Model { key_most: 1, ..Model::default() };
        let mut told = Told(seed, Run { raw: raw.clone(), dice, model, log: Vec::new(), taken: 0 });
        told.1.all().await;
        taken += told.1.taken;
    }
    taken
}

#[tokio::test]
async fn whatever_is_done_to_a_queue_its_jobs_are_as_the_guide_says_after_each_step() {
    let set = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let first = set("TRUNKLINE_MODEL_SEED")
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64 % 1_000_000_000);
    let count = set("TRUNKLINE_MODEL_SEEDS").unwrap_or(20);
    say(&format!("TRUNKLINE_MODEL_SEED={first}"));
    let (here, mut runs) = (LocalSet::new(), JoinSet::new());
    for n in 0..DATABASES {
        let share = (first..first + count).filter(|seed| seed % DATABASES == n).collect();
        runs.spawn_local_on(seeds(share), &here);
    }
    let taken: usize = here.run_until(runs.join_all()).await.into_iter().sum();
    say(&format!(
        "jobs model: {count} seeds from {first}, {OPERATIONS} operations each, {taken} attempts taken, no difference"
    ));
    assert!(taken as u64 > count * 30, "{taken}");
}
