//! The library against a real PostgreSQL: a fresh database for each test, raw sessions for each race, and processes
//! that are really killed. Nothing here waits on a clock for something to have happened; see `support`.
//!
//! `TRUNKLINE_TEST_PG_BIN` names the directory of another version's `postgres` and `initdb`; `TRUNKLINE_TEST_DIR` where servers keep
//! what need not outlive a crash of the machine, a directory in memory say: each database is a thousand files, 10 GB in all.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking; helpers of tests do as well")]
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

mod child;
mod cursors;
mod doctor;
mod doctor_server;
mod doorbell;
mod fuzz;
mod input;
mod jobs;
mod jobs_attach;
mod jobs_attach_rights;
mod jobs_bulk;
mod jobs_counts;
mod jobs_cron;
mod jobs_deaths;
mod jobs_input;
mod jobs_limits;
mod jobs_limits_ring;
mod jobs_limits_short;
mod jobs_model;
mod jobs_review;
mod jobs_ring;
mod jobs_rows;
mod jobs_rows_rust;
mod jobs_rows_sessions;
mod jobs_steps;
mod jobs_storm;
mod jobs_tasks;
mod jobs_unique;
mod jobs_view;
mod jobs_wait;
mod kills;
mod lease;
mod leases;
mod leases_deaths;
mod leases_idle;
mod log;
mod mailbox;
mod operator;
mod peek;
mod pgq;
mod pgq_calls;
mod pgq_clients;
mod pgq_module;
mod pgq_races;
mod pgq_restore;
mod pgq_storm;
mod pgq_support;
mod pgq_triggers;
mod races;
mod requests;
mod requests_sql;
mod rest;
mod restore;
mod roles;
mod rust_faults;
mod rust_input;
mod schema;
mod serving;
mod sql_mailbox;
mod steps;
mod storm;
mod streams;
mod streams_history;
mod streams_isolation;
mod streams_lanes;
mod streams_many;
mod streams_races;
mod streams_read;
mod streams_rest;
mod streams_restore;
mod streams_rights;
mod streams_sabotage;
mod streams_short;
mod streams_slow;
mod streams_sql;
mod streams_storm;
mod streams_trigger;
mod support;
mod takes;
mod topics;
mod topics_deaths;
mod topics_durable;
mod topics_frozen;
mod topics_gaps;
mod topics_idle;
mod topics_own;
mod topics_payloads;
mod topics_single;
mod trace;
mod wire;
mod writes;
