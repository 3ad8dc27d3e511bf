//! One cell of the matrix: a worker held at a step by a gate in the database, what happens to it there, and what is counted.

use std::{collections::HashSet, ops::RangeInclusive, time::Duration};

use crate::{
    jobs_steps::worker::{HANDLER, Other, Proxy},
    support::{Db, Process, Raw, Stopwatch, signal, until, within},
};

/// Where a job is when something happens to who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The take, in flight.
    Take,
    /// The handler, which will end well.
    Run,
    /// The handler, which has written in its transaction.
    Effect,
    /// The end of what is done, in flight.
    Done,
    /// The end of what failed, in flight.
    Failed,
    /// `complete_on`, in flight.
    Ending,
    /// Between that and the commit.
    Ended,
    /// The commit, in flight.
    Commit,
    /// The take of the second attempt, in flight.
    Again,
    /// The burial of a dead worker by another process, in flight: that one is the victim.
    Rescue,
}

pub use Step::*;

impl Step {
    pub const ALL: [Self; 10] = [Take, Run, Effect, Done, Failed, Ending, Ended, Commit, Again, Rescue];

    fn kind(self) -> &'static str {
        match self {
            Effect | Ending | Commit => "effect",
            Ended => "ended",
            Failed => "fail",
            Again => "again",
            _ => "plain",
        }
    }

    /// How many jobs are at it at once.
    fn jobs(self) -> usize {
        if matches!(self, Take | Run | Effect | Rescue) { 4 } else { 1 }
    }

    /// Whether the handler waits at it.
    fn handles(self) -> bool {
        matches!(self, Run | Effect | Ended | Rescue)
    }
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; what it had sent is carried out.
    Kill,
    /// SIGSTOP beyond its lease, then SIGCONT; what it had sent is carried out.
    Stop,
    /// Its connections end on its side; what it had sent is carried out.
    Cut,
    /// Its backends are terminated; what they were at is rolled back.
    Terminate,
    /// The server is stopped at once, and started again.
    Crash,
}

pub use Fault::*;

/// On which attempt the job is done.
fn due(step: Step, fault: Fault) -> RangeInclusive<i32> {
    match (step, fault) {
        // Its session was buried while it reconnected, or not.
        (Take | Run, Cut | Terminate | Crash) | (Done, Terminate | Crash) => 1..=2,
        (Again, Cut | Stop) => 2..=3,
        (Again, Kill) => 3..=3,
        // A slow machine's victim gave its connection up before: what nobody has seen goes out again, as the same attempt.
        (Take, Stop) => 1..=2,
        (Done, _) | (Commit, Kill | Stop | Cut) => 1..=1,
        // Its transaction stays open, and a burial waits for it.
        (Ending | Ended, Stop) => 1..=1,
        _ => 2..=2,
    }
}

const WORKER: &str = "child-job-worker";
const RESCUER: &str = "child-rescuer";

/// What a matrix counted.
#[derive(Debug, Default)]
pub struct Count {
    pub cells: usize,
    pub jobs: usize,
    /// From the fault to the begin of another attempt that only it made necessary.
    pub reruns: Vec<Duration>,
    /// The same by the clock on the wall, whatever kept the machine.
    pub walls: Vec<Duration>,
    /// Ends that came too late, and were refused to a transaction, or to the worker.
    pub stale: usize,
    pub refused: usize,
    pub effects: usize,
}

impl Count {
    pub fn add(&mut self, other: Self) {
        self.cells += 1;
        self.jobs += other.jobs;
        self.reruns.extend(other.reruns);
        self.walls.extend(other.walls);
        (self.stale, self.refused) = (self.stale + other.stale, self.refused + other.refused);
        self.effects += other.effects;
        self.reruns.sort();
        self.walls.sort();
    }

    /// The time within which 99 of a hundred ran again.
    pub fn rerun(&self) -> Duration {
        within_which(&self.reruns, 99)
    }

    pub fn line(&self, what: &str) -> String {
        let Self { cells, jobs, reruns, walls, stale, refused, effects } = self;
        format!(
            "jobs steps, {what}: {cells} cells, {jobs} jobs, 0 lost; {} ran again, p99 {:?}, by the wall p50 {:?}, p99 {:?}; late ends tried {}, \
             accepted 0 ({stale} in transactions); {effects} effects, 0 doubled",
            reruns.len(),
            self.rerun(),
            within_which(walls, 50),
            within_which(walls, 99),
            stale + refused,
        )
    }
}

/// The time within which so many of a hundred came.
fn within_which(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

pub struct Cell {
    step: Step,
    fault: Fault,
    /// Held jobs, of one key each, or jobs of the ring.
    held: bool,
    db: Db,
    raw: Raw,
    holder: Raw,
    proxy: Proxy,
    victim: Process,
    other: Option<Other>,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {:?}, {}", self.fault, self.step, if self.held { "held" } else { "ring" })
    }
}

impl Cell {
    /// Jobs at their step in a database of their own.
    pub async fn at(db: Db, step: Step, fault: Fault, held: bool) -> Self {
        let (raw, holder) = (db.raw().await, db.raw().await);
        prepare(&raw, step, held).await;
        holder.run("select pg_advisory_lock(77, 7)").await;
        let proxy = Proxy::start(&db, &raw).await;
        let through = if fault == Cut { &proxy.db } else { &db };
        let mut worker = Process::start("job-worker", through).await;
        if !step.handles() && step != Take {
            worker.tell("go").await;
        }
        for _ in 0..if step.handles() { step.jobs() } else { 0 } {
            worker.line("at").await;
        }
        if step == Rescue {
            let rescuer = Process::start("rescuer", through).await;
            worker.child.kill().await.unwrap();
            worker = rescuer;
        }
        let mut cell = Self { step, fault, held, db, raw, holder, proxy, victim: worker, other: None };
        if !step.handles() || step == Rescue {
            cell.at_gate().await;
        }
        cell.other = Some(Other::start(&cell.db, fault != Stop).await);
        cell
    }

    /// Waits in the database, so that many that wait cost nothing.
    async fn until(&self, what: &str, state: &str) {
        let sql = format!(
            "do $$ begin
                 while not ({state}) loop
                     perform pg_sleep(0.01), pg_stat_clear_snapshot();
                 end loop;
             end $$"
        );
        within(15_000, &format!("{self}: {what}"), self.raw.run(&sql)).await;
    }

    async fn at_gate(&self) {
        let at = "exists (select from pg_stat_activity where datname = current_database()
                             and application_name <> '' and wait_event = 'PgSleep')";
        self.until("to be at the gate", at).await;
    }

    async fn open(&self) {
        self.holder.run("select pg_advisory_unlock(77, 7)").await;
    }

    /// New sessions, after the server lost the others.
    pub async fn reopen(&mut self) {
        let url = self.db.url.clone();
        until("the server to be back", async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok()
        })
        .await;
        self.raw = self.db.raw().await;
    }

    /// Everything after the crash of a server, which began then.
    pub async fn crashed(mut self, since: Stopwatch) -> Count {
        self.reopen().await;
        self.victim.tell("go").await;
        let mut count = Count::default();
        self.ends(since, &mut count).await;
        count
    }

    /// Does it, and counts what comes of it.
    pub async fn strike(mut self) -> Count {
        let (mut count, since) = (Count::default(), Stopwatch::start());
        match self.fault {
            Kill => self.victim.child.kill().await.unwrap(),
            Stop => signal(self.victim.pid(), "-STOP"),
            Cut => self.proxy.cut(),
            Terminate => {
                let them = format!(
                    "from pg_stat_activity where datname = current_database()
                        and application_name in ('{WORKER}', '{RESCUER}', '{HANDLER}')"
                );
                let pids = self.raw.rows(&format!("select pid {them}")).await.join(", ");
                self.raw.rows(&format!("select pg_terminate_backend(pid) {them}")).await;
                let gone = format!("not exists (select from pg_stat_activity where pid in ({pids}))");
                self.until("its backends to be gone", &gone).await;
            }
            Crash => unreachable!("all cells of a server at once"),
        }
        self.open().await;
        match self.fault {
            Stop => self.thaw(since, &mut count).await,
            Cut | Terminate => self.victim.tell("go").await,
            Kill | Crash => {}
        }
        self.ends(since, &mut count).await;
        count
    }

    /// How long a stop lasts, and what the victim tries afterwards, while another has its jobs.
    async fn thaw(&mut self, since: Stopwatch, count: &mut Count) {
        let open = matches!(self.step, Ending | Ended);
        let over = self.step == Done || self.step == Commit;
        if open || over {
            let expired = format!(
                "not exists (select from trunkline.session where application = '{WORKER}' and expires_at > clock_timestamp())"
            );
            self.until("its lease to be over", &expired).await;
        }
        if !open && !over {
            let jobs = self.step.jobs();
            self.rerun(since, jobs, count).await;
        }
        signal(self.victim.pid(), "-CONT");
        if self.step == Rescue {
            return self.go();
        }
        let (stale, refused) = self.stop().await;
        if open || over {
            return self.go();
        }
        let running = "select count(*) from trunkline.job where state = 'running'";
        let running: usize = self.raw.one(running).await.parse().unwrap();
        assert_eq!(running, self.step.jobs(), "{self}: a late end was accepted");
        if matches!(self.step, Run | Effect) {
            assert_eq!(refused, running, "{self}: each was refused its end");
            assert_eq!(
                stale,
                if self.step == Effect { running } else { 0 },
                "{self}: and in its transaction"
            );
        }
        if self.step != Failed {
            (count.stale, count.refused) = (stale, refused);
        }
        self.go();
    }

    /// The other worker ends what it has.
    fn go(&self) {
        self.other.as_ref().unwrap().go.send_replace(true);
    }

    /// The victim ends what it has, and says how often it was refused.
    async fn stop(&mut self) -> (usize, usize) {
        self.victim.tell("stop").await;
        let said = self.victim.line("stopped").await;
        let (stale, refused) = said.split_once(' ').unwrap();
        (stale.parse().unwrap(), refused.parse().unwrap())
    }

    /// Waits until another has begun so many of the jobs.
    async fn rerun(&mut self, since: Stopwatch, jobs: usize, count: &mut Count) {
        let (what, mut ids) = (format!("{self}: another attempt"), HashSet::new());
        let other = self.other.as_mut().unwrap();
        while ids.len() < jobs {
            let (id, _) = within(20_000, &what, other.took.recv()).await.unwrap();
            ids.insert(id);
            if self.step != Failed {
                count.reruns.push(since.elapsed());
                count.walls.push(since.passed());
            }
        }
    }

    /// Waits for the end of all jobs, and looks how it went.
    async fn ends(mut self, since: Stopwatch, count: &mut Count) {
        if self.fault == Kill && !matches!(self.step, Done | Commit)
            || self.fault == Crash && self.step == Rescue
        {
            self.rerun(since, self.step.jobs(), count).await;
        }
        let jobs = self.step.jobs();
        let done =
            format!("(select count(*) = {jobs} from trunkline._job_rows(null, 1) where state = 'done')");
        self.until("all to be done", &done).await;
        if matches!(self.fault, Cut | Terminate | Crash) && self.step != Rescue {
            self.stop().await;
        }
        let rows = "select j.attempt, jsonb_array_length(j.errors), count(b.attempt), count(distinct b.attempt), max(b.attempt),
                           (select count(*) from public.effect e where e.id = j.id),
                           (select max(e.attempt) from public.effect e where e.id = j.id)
                      from trunkline.job j left join public.begun b on b.id = j.id group by 1, 2, j.id";
        for row in self.raw.rows(rows).await {
            let f: Vec<i32> = row.split('|').map(|f| f.parse().unwrap_or(0)).collect();
            let due = due(self.step, self.fault);
            assert!(due.contains(&f[0]), "{self}: done by attempt {}, and not {due:?}", f[0]);
            assert_eq!(f[1], f[0] - 1, "{self}: an error for each attempt that failed, {row}");
            assert_eq!(f[2], f[3], "{self}: no attempt was made twice, {row}");
            assert_eq!(f[4], f[0], "{self}: nor one that does not count, {row}");
            let effects = i32::from(matches!(self.step, Effect | Ending | Ended | Commit));
            assert_eq!(
                f[5..],
                [effects, effects * f[0]],
                "{self}: the effect, by the attempt that was done, {row}"
            );
            count.jobs += 1;
            count.effects += f[5] as usize;
        }
        assert_eq!(count.jobs, self.step.jobs(), "{self}: every job is there");
        count.cells = 1;
        if let Some(other) = self.other.take() {
            other.stop().await;
        }
    }
}

/// Jobs, the tables of what is done with them, and the gate that the step needs.
async fn prepare(raw: &Raw, step: Step, held: bool) {
    let (kind, jobs) = (step.kind(), step.jobs());
    let key = if held { "'k' || n" } else { "null" };
    raw.run(&format!(
        "create table public.begun (id bigint, attempt int);
         create table public.effect (id bigint, attempt int);
         select trunkline.job_open('q'), trunkline.job_set('q', 'retry_after', '0');
         select trunkline.job_push('q', 'x', kind => '{kind}', key => {key}) from generate_series(1, {jobs}) n;
         create function public.gate() returns trigger language plpgsql as $$
         begin
             while not pg_try_advisory_xact_lock_shared(77, 7) loop
                 perform pg_sleep(0.005);
             end loop;
             return new;
         end $$"
    ))
    .await;
    let ring = |table: &str, application: &str, when: &str| {
        let one = |segment| {
            format!(
                "create trigger gate after insert on trunkline.{table}_d{segment} for each row
                 when (current_setting('application_name') = '{application}' and {when}) execute function public.gate();"
            )
        };
        format!("{}{}", one(0), one(1))
    };
    let row = |from: i32, to: i32, application: &str| {
        format!(
            "create trigger gate after update on trunkline.job_held for each row
             when (current_setting('application_name') = '{application}' and old.state = {from} and new.state = {to}
                   and new.attempt = {}) execute function public.gate()",
            if step == Again { 2 } else { 1 }
        )
    };
    let gate = match (step, held) {
        (Run | Effect | Ended, _) => return,
        (Take, false) => ring("job_slice", WORKER, "true"),
        (Done, false) => ring("job_done", WORKER, "not new.closed"),
        (Failed, false) => ring("job_end", WORKER, "true"),
        (Ending, false) => ring("job_end", HANDLER, "true"),
        (Rescue, false) => ring("job_done", RESCUER, "new.closed"),
        (Take, true) | (Again, _) => row(0, 1, WORKER),
        (Done, true) => row(1, 4, WORKER),
        (Failed, true) => row(1, 0, WORKER),
        (Ending, true) => row(1, 4, HANDLER),
        (Rescue, true) => row(1, 0, RESCUER),
        (Commit, _) => {
            "create constraint trigger gate after insert on public.effect deferrable initially deferred
                        for each row execute function public.gate()"
                .to_owned()
        }
    };
    raw.run(&gate).await;
}
