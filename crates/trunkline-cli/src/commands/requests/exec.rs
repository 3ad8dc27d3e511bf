//! `--exec`: a request answered by a command of the shell.
//!
//! The payload is the command's stdin and its stdout is the reply. An exit status other than 0 is a remote error with
//! that status as code and the end of stderr as text. The command is killed when the request ends before it does.

use std::io;

use trunkline::requests::{Failure, Payload, Request};

use crate::{
    exec,
    input::{self, LIMIT},
};

/// Runs the command for one request.
pub(super) async fn run(command: &str, request: Request) -> Result<Payload, Failure> {
    let failed = |e: io::Error| Failure::new("exec", format!("cannot run the command: {e}"));
    let mut variables = vec![
        ("TRUNKLINE_REQUEST_ID".to_owned(), request.id.to_string()),
        ("TRUNKLINE_TYPE".to_owned(), request.kind.clone()),
        ("TRUNKLINE_ATTEMPT".to_owned(), request.attempt.to_string()),
    ];
    variables.extend(exec::header_variables(&request.headers));
    let ran = exec::run(command, &variables, request.payload.bytes(), true).await.map_err(failed)?;
    if ran.output.len() as u64 > LIMIT {
        return Err(Failure::new("too large", format!("the command's output is larger than {LIMIT} bytes")));
    }
    if ran.status.success() {
        return input::typed(ran.output, false).map_err(|e| Failure::new("exec", e.to_string()));
    }
    Err(Failure::new(ran.code(), ran.said))
}
