//! Each promise of the crate against a real PostgreSQL. Every test has a data directory of its own below `/tmp`;
//! nothing waits for a time, only for a state. As root the servers run as another user, otherwise as the caller.
//!
//! `TRUNKLINE_TEST_PG_ARCHIVE` may name a directory with the pinned archive; without it the tests of fetching pack
//! the installed PostgreSQL themselves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod access;
mod adoption;
#[cfg(feature = "fetch")]
mod archives;
#[cfg(feature = "fetch")]
mod fetching;
mod finding;
mod lifecycle;
mod roles;
mod users;
mod world;
