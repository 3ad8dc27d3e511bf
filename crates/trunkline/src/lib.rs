//! Messaging on plain PostgreSQL.
pub mod connect;
pub mod conninfo;
pub mod error;
pub use error::{Error, ErrorKind, Result};
