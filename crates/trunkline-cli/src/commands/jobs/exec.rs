//! A job done by a command of the shell.
//!
//! The payload is the command's stdin. An exit status other than 0 is a failed attempt, with that status and the end of stderr
//! as its error. The command is killed when its job is cancelled, or when the attempt's future is dropped.

use std::io;

use trunkline::{
    jobs::{Job, Outcome},
    requests::Failure,
};

use super::command::{Command, LONGEST, PAYLOAD};
use crate::{
    exec,
    input::{self, LIMIT},
};

/// Runs the command for one attempt; what it prints is kept as the result, if that was asked for.
pub(super) async fn run(command: &Command, keep: bool, job: &Job) -> Result<Outcome, Failure> {
    let variables = variables(command, job)?;
    let failed = |e: io::Error| Failure::new("exec", format!("cannot run the command: {e}"));
    let ran = tokio::select! {
        ran = exec::run(&command.text, &variables, job.payload.bytes(), keep) => ran.map_err(failed)?,
        () = job.cancelled() => {
            let text = "the job was cancelled or handed on; its command was killed";
            return Err(Failure::new("cancelled", text));
        }
    };
    if ran.output.len() as u64 > LIMIT {
        return Err(Failure::new("too large", format!("the command's output is larger than {LIMIT} bytes")));
    }
    match ran.status.code() {
        Some(0) if keep => {
            let result = input::typed(ran.output, false).map_err(|e| Failure::new("exec", e.to_string()))?;
            Ok(Outcome::Result(input::storable(result)))
        }
        Some(0) => Ok(Outcome::Done),
        Some(code) => Err(Failure::new(format!("exit status {code}"), ran.said)),
        None => Err(Failure::new("killed by a signal", ran.said)),
    }
}

fn variables(command: &Command, job: &Job) -> Result<Vec<(String, String)>, Failure> {
    let mut variables = vec![
        ("TRUNKLINE_QUEUE".to_owned(), job.queue.to_string()),
        ("TRUNKLINE_JOB_ID".to_owned(), job.id.to_string()),
        ("TRUNKLINE_KIND".to_owned(), job.kind.clone()),
        ("TRUNKLINE_ATTEMPT".to_owned(), job.attempt.to_string()),
        ("TRUNKLINE_MAX_ATTEMPTS".to_owned(), job.max_attempts.to_string()),
    ];
    variables.extend(job.key.clone().map(|key| ("TRUNKLINE_KEY".to_owned(), key)));
    variables.extend(exec::header_variables(&job.headers));
    if command.payload {
        variables.push((PAYLOAD.to_owned(), word(job)?));
    }
    Ok(variables)
}

/// The payload, as it can stand in a command.
fn word(job: &Job) -> Result<String, Failure> {
    let refused = |why: String| Failure::new("exec", format!("the payload cannot be a word ({{}}): {why}"));
    let text = job.payload.text().map_err(|_| refused("it is not UTF-8 text".to_owned()))?;
    if text.contains('\0') {
        return Err(refused("it contains a NUL".to_owned()));
    } else if text.len() > LONGEST {
        return Err(refused(format!("it has {} bytes, more than {LONGEST}; read it from stdin", text.len())));
    }
    Ok(text.to_owned())
}
