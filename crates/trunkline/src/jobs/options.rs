//! What a push may ask for beyond a plain job: how long it is good for, and when another one takes its place.

use std::time::Duration;

use serde::Serialize;

use crate::{Error, ErrorKind, Result};

/// As `_job_options` reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Options {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "interval")]
    pub(super) ttl: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "interval")]
    pub(super) unique_for: Option<Duration>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unique_payload: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unique_while: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_conflict: Option<&'static str>,
}

#[expect(clippy::ref_option, reason = "what serde hands over")]
fn interval<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{} ms", time.unwrap_or_default().as_millis()))
}

impl Options {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// None for a plain job.
    pub(super) fn encode(&self) -> Option<String> {
        if self.is_none() { None } else { serde_json::to_string(self).ok() }
    }

    /// Refuses what `_job_options` would: a job's neighbours in a statement are spared its error.
    pub(super) fn check(&self, unique_key: Option<&str>) -> Result<()> {
        let invalid = |text: String| Err(Error::new(ErrorKind::Invalid, text));
        const TIMES: std::ops::RangeInclusive<Duration> =
            Duration::from_millis(1)..=Duration::from_secs(3650 * 86_400);
        for (name, time) in [("ttl", self.ttl), ("unique_for", self.unique_for)] {
            if let Some(time) = time.filter(|t| !TIMES.contains(t)) {
                return invalid(format!("job {name} must be from 1 ms to 3650 days, got {time:?}"));
            }
        }
        let unique = unique_key.is_some();
        let changes = self.on_conflict.is_some();
        if self.unique_payload && (unique || changes) {
            return invalid(
                "a job that is unique by its payload has no unique key, and replaces none".to_owned(),
            );
        }
        if self.unique_for.is_some() && (changes || self.unique_while.is_some()) {
            return invalid(
                "a job that is unique for a time is so whatever its state, and replaces none".to_owned(),
            );
        }
        let needs = self.unique_for.is_some() || self.unique_while.is_some() || changes;
        if needs && !unique && !self.unique_payload {
            return invalid(
                "a job that is unique needs a unique key, or to be unique by its payload".to_owned(),
            );
        }
        Ok(())
    }
}
