//! Each process that a request meets, killed and frozen at each step of the request.
//!
//! A victim is held at its step by a gate: a trigger in which its statement waits until the test opens it, seen in
//! `pg_stat_activity`. There it is killed (`KILL`) or frozen (`STOP`) and goes on later (`CONT`), and the gate opens while it
//! is dead or frozen: what it had sent is carried out all the same. Then the caller's word is compared with the database's.
//!
//! Steps: *write* sent and not committed; *waiting*: written and not taken; *take* in flight; *handler*: taken and being
//! handled; *reply* in flight; *replied* and not fetched; *fetch* in flight; *cancel*, and
//! *expiry* (the caller's word that it is too late), in flight. Kinds: ephemeral or durable;
//! once, or idempotent (again). "Any" is whatever the database says, and the caller says the same.
//!
//! | victim, signal | step | outcome | test |
//! |---|---|---|---|
//! | caller, KILL | before it writes | nothing is there | `a_caller_killed_…` |
//! | | write, take, handler | ephemeral: not handed out, or its handler is told; durable: answered | the same |
//! | | waiting | as before | the same; `kills::a_killed_callers_queued_request_is_withdrawn` |
//! | | reply, replied, fetch | ok; the responder's reply is accepted | `a_caller_killed_…` |
//! | | cancel, expiry | cancelled, timed out; the reply is refused | the same |
//! | caller, STOP past its lease | all of them | any, by the deadline (lost where it never learned that it was written); its next call is answered | `a_caller_frozen_past_its_lease_…` |
//! | caller, STOP past its deadline | handler, which is an expiry late | timed out at once when it goes on | `a_caller_frozen_past_its_deadline_…` |
//! | responder, KILL | take, handler | once: lost; again: another answers | `a_responder_killed_…`, `kills` |
//! | | reply, which commits | ok | `a_responder_killed_…` |
//! | | reply, which does not | once: lost; again: another answers | the same |
//! | responder, STOP past its lease | take, handler, reply not written yet | the same, its answer is refused; it serves again | `a_responder_frozen_…`, `kills::a_stopped_responder_loses_…` |
//! | | reply, which commits | ok, and it learns that; it serves again | `a_responder_frozen_…`, `takes::a_reply_whose_answer_…` |
//! | backend of the caller or the responder, KILL | all | ephemeral: lost; durable: ok; in doubt and idempotent: ok | `backends_killed_…` |
//! | the same, STOP | all | any, by the deadline; all goes on with CONT | `backends_frozen_…` |
//! | the same, ended in order | all | any | `storm`, `kills::a_call_in_flight_survives_…` |
//! | postmaster, KILL, or a stop at once | all | as for a killed backend | `a_postmaster_killed_…`, `an_immediate_stop_…` |
//! | postmaster, STOP for 3 s | all | ok, before it goes on: only new connections wait | `a_frozen_postmaster_…` |
//! | the whole server, STOP until connections are given up | all | any, by the deadline; all goes on with CONT | `a_frozen_server_…` |
//! | daemon, KILL and STOP | burying, turning, emptying, between | nobody notices; another one does it | `daemon_faults.rs` of the CLI |
//! | any of the workers, KILL, STOP, or cut off | by chance | any | `storm` |

mod processes;
mod scene;
mod server;

pub use processes::{caller, responder, told};
