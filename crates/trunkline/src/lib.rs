//! Messaging on plain PostgreSQL: one library, one schema, no broker and no extension.
//!
//! [`Trunkline`] is the handle of a process: one connection, however many tasks. [`Trunkline::requests`] asks services
//! and serves them, [`Trunkline::topics`] publishes and subscribes, [`Trunkline::jobs`] pushes work and does it, [`Trunkline::streams`] appends
//! events and consumes them. The truth
//! is in the database, in the functions of the schema `trunkline` ([`schema`]); this library calls them and names no table.

// What the pages for people from elsewhere show in Rust is compiled with the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/from/river.md")]
#[doc = include_str!("../../../docs/from/oban.md")]
#[doc = include_str!("../../../docs/from/graphile-worker.md")]
struct From;

mod client;
pub mod connect;
pub mod conninfo;
pub mod doctor;
pub mod error;
pub mod executor;
pub mod jobs;
pub mod leases;
mod listener;
mod maintenance;
pub mod pgq;
pub mod requests;
mod running;
pub mod schema;
pub mod streams;
pub mod topics;
pub mod trace;
mod writer;

pub use client::Trunkline;
pub use error::{Error, ErrorKind, Result};
pub use listener::Notification;
