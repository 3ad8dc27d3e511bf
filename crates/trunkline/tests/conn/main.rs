//! Connection settings, TLS, sessions, poolers and the pool, against a private PostgreSQL of this machine.
//!
//! Needs the server's programs (`PG_BINDIR`, or the newest under `/usr/lib/postgresql`), `openssl` and `pgbouncer`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod cable;
mod files;
mod leases;
mod parse;
mod pool;
mod pooler;
mod server;
mod session;
mod tls;
mod topics;
