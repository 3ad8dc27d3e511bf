//! The queue of the demo: what is pushed into it, and what the database says became of it.
//!
//! No figure of it is counted by the demo itself: states, attempts, results and times are those that the database has, by
//! its own clock. Every statement has an end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};
use trunkline::{
    Error, ErrorKind, Result, Trunkline,
    connect::Purpose,
    conninfo::{ConnInfo, Env},
    jobs::NewJob,
};

use super::{QUEUE, WORK, controller, part, worker};

/// How many jobs, and how long each takes: two workers with four hands each are at it for two seconds after a third died.
pub(super) const JOBS: usize = 120;
pub(super) const TAKES: Duration = Duration::from_millis(150);
/// How long a statement may take.
const PATIENCE: Duration = Duration::from_secs(10);

const CLOCK: &str = "select extract(epoch from clock_timestamp())::float8";
const RUNNING: &str =
    "select payload from trunkline.job where queue = $1 and id = any ($2) and state = 'running' order by id";
const LOOK: &str = "select state, attempt, payload, result, extract(epoch from begun_at)::float8 as begun
    from trunkline.job where queue = $1 and id = any ($2) order by id";

/// What the database says. Jobs are named by their payloads, which are the numbers from 1 on.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) pushed: usize,
    pub(super) done: usize,
    /// Done, and the result is right.
    pub(super) right: usize,
    /// How often jobs were begun, all of them together.
    pub(super) attempts: usize,
    /// What the killed worker had when it was killed.
    pub(super) in_hand: Vec<i64>,
    /// What was begun more than once, and how many seconds after the kill it was begun last.
    pub(super) again: BTreeMap<i64, f64>,
    /// By which worker they were done, and which by the one that was killed.
    pub(super) by: BTreeMap<u8, usize>,
    last_words: BTreeSet<i64>,
}

impl Figures {
    /// Everything that was pushed is done.
    pub(super) fn complete(&self) -> bool {
        self.done == self.pushed
    }

    /// Everything is done and right, and what the dead worker had came again, but for what it ended in its last moment.
    pub(super) fn hold(&self) -> bool {
        self.complete()
            && self.right == self.pushed
            && self.in_hand.iter().all(|id| self.again.contains_key(id) || self.last_words.contains(id))
    }

    /// The first and the last of those that came again: seconds after the kill.
    pub(super) fn span(&self) -> Option<(f64, f64)> {
        let first = self.again.values().copied().reduce(f64::min)?;
        Some((first, self.again.values().copied().fold(first, f64::max)))
    }

    /// What came again, in words.
    pub(super) fn came_again(&self) -> String {
        let ids: Vec<i64> = self.again.keys().copied().collect();
        self.span().map_or_else(
            || "no job came again".to_owned(),
            |(first, last)| {
                format!(
                    "{} jobs came again, {first:.2} to {last:.2} s after the kill: {}",
                    ids.len(),
                    listed(&ids)
                )
            },
        )
    }

    /// Who did them, in words.
    pub(super) fn were_done(&self, killed: u8) -> String {
        let by = |(worker, n): (&u8, &usize)| {
            format!("{n} by worker {worker}{}", if *worker == killed { " (killed)" } else { "" })
        };
        let by: Vec<String> = self.by.iter().map(by).collect();
        format!("{} of {} jobs are done: {}", self.done, self.pushed, by.join(", "))
    }

    fn enter(&mut self, row: &Row, killed: Option<(u8, f64)>) -> Result<()> {
        let (number, state) = (number(row)?, row.try_get::<_, String>("state")?);
        let attempt: i32 = row.try_get("attempt")?;
        self.attempts += usize::try_from(attempt).unwrap_or(0);
        let begun: Option<f64> = row.try_get("begun")?;
        if let (2.., Some(begun), Some((_, at))) = (attempt, begun, killed) {
            self.again.insert(number, begun - at);
        }
        if state != "done" {
            return Ok(());
        }
        self.done += 1;
        let result: Option<String> = row.try_get("result")?;
        let sum: Option<worker::Sum> = result.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(sum) = sum {
            self.right += usize::from(controller::md5(&number.to_string()) == sum.md5);
            *self.by.entry(sum.worker).or_default() += 1;
            if killed.is_some_and(|(worker, _)| worker == sum.worker) {
                self.last_words.insert(number);
            }
        }
        Ok(())
    }
}

/// The queue, and what this demo pushed into it.
pub(super) struct Queue {
    trunk: Trunkline,
    client: Client,
    driver: JoinHandle<()>,
    ids: Vec<i64>,
    in_hand: Vec<i64>,
    /// Which worker, and when.
    killed: Option<(u8, f64)>,
}

impl Queue {
    /// Connects, and pushes the jobs in one transaction.
    pub(super) async fn push(url: &str) -> Result<Self> {
        let trunk = part::connect(url, "demo").await?;
        let info = ConnInfo::from_str_with(url, &Env::process())?.with_program("demo");
        let session = info.connect(Purpose::Work).await?;
        let driver = tokio::spawn(async move {
            let _ = session.driver.await;
        });
        let takes = TAKES.as_millis().to_string();
        let job = |n| NewJob::new(format!("{n}")).kind("sum").header(WORK, takes.clone());
        let ids = bounded(trunk.jobs().push_all(QUEUE, (1..=JOBS).map(job))).await?;
        Ok(Self { trunk, client: session.client, driver, ids, in_hand: Vec::new(), killed: None })
    }

    /// Notes the time: this worker is to be killed now.
    pub(super) async fn condemn(&mut self, worker: u8) -> Result<()> {
        let rows = self.rows(CLOCK, &[]).await?;
        self.killed = rows.first().map(|row| row.try_get(0)).transpose()?.map(|at| (worker, at));
        Ok(())
    }

    /// Those of what the killed worker said it had in its hands that the database has as running.
    pub(super) async fn estate(&mut self, hands: &[i64]) -> Result<&[i64]> {
        let args: [(&(dyn ToSql + Sync), Type); 2] = [(&QUEUE, Type::TEXT), (&hands, Type::INT8_ARRAY)];
        let rows = self.rows(RUNNING, &args).await?;
        self.in_hand = rows.iter().map(number).collect::<Result<_>>()?;
        Ok(&self.in_hand)
    }

    /// Where it stands.
    pub(super) async fn look(&self) -> Result<Figures> {
        let args: [(&(dyn ToSql + Sync), Type); 2] = [(&QUEUE, Type::TEXT), (&self.ids, Type::INT8_ARRAY)];
        let mut figures =
            Figures { pushed: self.ids.len(), in_hand: self.in_hand.clone(), ..Figures::default() };
        for row in self.rows(LOOK, &args).await? {
            figures.enter(&row, self.killed)?;
        }
        Ok(figures)
    }

    /// Leaves nothing to be done behind.
    pub(super) async fn close(self) {
        if !self.look().await.is_ok_and(|figures| figures.complete()) {
            let cancel = async {
                for id in &self.ids {
                    self.trunk.jobs().cancel(*id).await?;
                }
                Ok(())
            };
            let _ = bounded(cancel).await;
        }
        self.driver.abort();
        part::close(self.trunk).await;
    }

    async fn rows(&self, sql: &'static str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        bounded(async { Ok(self.client.query_typed(sql, args).await?) }).await
    }
}

/// A job's payload.
fn number(row: &Row) -> Result<i64> {
    let text: Option<String> = row.try_get("payload")?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// `1, 2 and 3`.
pub(super) fn listed(ids: &[i64]) -> String {
    let words: Vec<String> = ids.iter().map(i64::to_string).collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => words.concat(),
    }
}

async fn bounded<T>(act: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(PATIENCE, act).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("the database took longer than {PATIENCE:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(done: usize, again: &[i64]) -> Figures {
        Figures {
            pushed: 9,
            done,
            right: done,
            in_hand: vec![3, 4],
            again: again.iter().map(|id| (*id, 0.5 + f64::from(u8::try_from(*id).unwrap()))).collect(),
            ..Figures::default()
        }
    }

    #[test]
    fn what_is_lost_or_does_not_come_again_is_found() {
        assert!(figures(9, &[3, 4]).hold());
        assert!(figures(9, &[2, 3, 4]).hold(), "of one that had just ended the dead worker had not told");
        assert!(Figures { last_words: [4].into(), ..figures(9, &[3]) }.hold());
        assert!(!figures(8, &[3, 4]).hold());
        assert!(!figures(9, &[3]).hold());
        assert!(!Figures { right: 8, ..figures(9, &[3, 4]) }.hold());
        assert_eq!(
            [listed(&[]), listed(&[7]), listed(&[7, 8]), listed(&[7, 8, 9])],
            ["", "7", "7 and 8", "7, 8 and 9"]
        );
        assert_eq!((figures(9, &[4, 3]).span(), figures(9, &[]).span()), (Some((3.5, 4.5)), None));
    }
}
