//! `trunkline jobs`: push work, do it with a command, and look after what waits, runs and failed.

mod attach;
mod command;
mod cron;
mod ends;
mod exec;
mod look;
mod manage;
mod push;
pub(crate) mod work;

use clap::Subcommand;

use super::until_interrupted;
use crate::{args::Global, exit::Result};

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Push a job, or one for each input line; prints its id
    Push(push::PushArgs),
    /// Run a command for each job of some queues
    Work(work::WorkArgs),
    /// List jobs, the newest first
    ///
    /// Columns: id, queue, kind, state, priority, key, attempt, max_attempts, pushed_at, due_at, begun_at, ended_at, worker,
    /// error. Done jobs that ran at their first attempt are listed until their segment of the ring is emptied.
    Ls(look::LsArgs),
    /// Show one job, with its payload and the errors of its attempts
    Show(look::ShowArgs),
    /// List dead letters with the error of their last attempt, the newest first
    ///
    /// Columns: id, queue, kind, key, attempt, pushed_at, ended_at, error.
    Dead(look::DeadArgs),
    /// Let jobs run now that are dead or cancelled, or wait for their time or their next attempt; prints how many
    Retry(ends::RetryArgs),
    /// Cancel jobs: those that wait never run, those that run are told; prints how many
    Cancel(ends::CancelArgs),
    /// Delete jobs that ended and are held: dead letters, cancelled and done ones; prints how many
    ///
    /// What was done in the ring at its first attempt goes with its segment.
    Delete(ends::DeleteArgs),
    /// Make jobs of the rows of a table; prints how many were made at once
    ///
    /// Of each row that is inserted with the status new, or gets it. The status is written back: running, then success or error,
    /// and new while it waits for its next attempt. The table needs a primary key. Run it as the table's owner.
    Attach(attach::AttachArgs),
    /// Make no more jobs of the rows of a table; those that there are go on
    Detach(attach::DetachArgs),
    /// List the tables whose rows are jobs
    ///
    /// Columns: table, queue, kind, status_column, payload_column, key_column, owner, unwritten, error. The last two say how many
    /// statuses are still to be written, and what went wrong.
    Attached,
    /// List the queues and their settings
    ///
    /// Columns: queue, durable, paused_at, max_running, max_attempts; with --json all settings.
    Queues,
    /// Count the jobs of the queues in each state
    ///
    /// Columns: queue, waiting, scheduled, running, retrying, done, dead, cancelled, oldest. The last one is the age of the
    /// oldest job that could run.
    Stats(look::StatsArgs),
    /// Make a queue; one that is there stays as it is
    Create(manage::CreateArgs),
    /// Take nothing more from a queue; what runs goes on, and jobs can be pushed
    Pause(manage::QueueArgs),
    /// Take from a queue again that was paused
    Resume(manage::QueueArgs),
    /// Change settings of a queue
    ///
    /// max_bytes, max_attempts, retry_after, retry_most, keep_done, keep_dead; limits of the queue: max_running, rate_limit in each
    /// rate_period, max_length with overflow (refuse, drop_oldest), and of each key: key_max_running, key_rate_limit in each
    /// key_rate_period.
    Set(manage::SetArgs),
    /// Schedules: push jobs at the times of a cron expression
    #[command(subcommand)]
    Cron(cron::Command),
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Push(args) => until_interrupted(push::run(global, args)).await,
        Command::Work(args) => work::run(global, args).await,
        Command::Ls(args) => until_interrupted(look::ls(global, args)).await,
        Command::Show(args) => until_interrupted(look::show(global, args)).await,
        Command::Dead(args) => until_interrupted(look::dead(global, args)).await,
        Command::Retry(args) => until_interrupted(ends::retry(global, args)).await,
        Command::Cancel(args) => until_interrupted(ends::cancel(global, args)).await,
        Command::Delete(args) => until_interrupted(ends::delete(global, args)).await,
        Command::Attach(args) => until_interrupted(attach::attach(global, args)).await,
        Command::Detach(args) => until_interrupted(attach::detach(global, args)).await,
        Command::Attached => until_interrupted(attach::attached(global)).await,
        Command::Queues => until_interrupted(look::queues(global)).await,
        Command::Stats(args) => until_interrupted(look::stats(global, args)).await,
        Command::Create(args) => until_interrupted(manage::create(global, args)).await,
        Command::Pause(args) => until_interrupted(manage::pause(global, args)).await,
        Command::Resume(args) => until_interrupted(manage::resume(global, args)).await,
        Command::Set(args) => until_interrupted(manage::set(global, args)).await,
        Command::Cron(command) => cron::run(global, command).await,
    }
}
