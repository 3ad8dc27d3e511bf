//! A private PostgreSQL: found or fetched, started, adopted and stopped.
//!
//! ```no_run
//! use trunkline_embedded::{Mode, Server, Settings};
//!
//! let server = Server::start(&Settings::default(), &mut |line| eprintln!("{line}"))?;
//! eprintln!("psql '{}'", server.url());
//! server.stop(Mode::Fast)?;
//! # Ok::<(), trunkline_embedded::Error>(())
//! ```
//!
//! For programs that want a PostgreSQL of their own without asking anybody to set one up. The server is an ordinary
//! one: it listens on a Unix socket that only its owner can reach, keeps its data between runs, writes every commit
//! to disk, and goes on when the program that started it ends. The next program to ask finds it and uses it.
//!
//! Guarantees: one server on a data directory, however many processes start it at once; never as root; never on
//! TCP without a password; nothing is downloaded that is not pinned by its SHA-256. Does not guarantee: upgrades of
//! data to a new major version, backups, restarts of a server that ended, Windows.
//!
//! All calls block and need no runtime; in async code use a blocking task.

mod account;
mod binaries;
mod choice;
mod cluster;
mod error;
#[cfg(feature = "fetch")]
mod fetch;
mod layout;
mod postmaster;
mod process;
mod server;
mod settings;

pub use error::Error;
pub use server::{Mode, Server, Status};
pub use settings::{Archive, Environment, Fetch, Settings};
