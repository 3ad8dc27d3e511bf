//! Messaging on plain PostgreSQL.
pub mod error;
pub use error::{Error, ErrorKind, Result};
pub mod schema;
