//! A password that does not print itself.
//!
//! Guarantees that `Debug` shows no character and no length, and that there is no `Display`. It does not wipe memory.

use std::fmt;

/// A password; only the code that hands it to the driver reads it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
