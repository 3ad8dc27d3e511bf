//! What travels: payloads, headers, replies and outcomes.

use std::{collections::BTreeMap, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{Error, ErrorKind, Result};

/// Small text fields beside the payload: at most 64, 8 KiB together, no line breaks. `traceparent` is one of them.
pub type Headers = BTreeMap<String, String>;

/// What the bytes of a payload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Content {
    /// Bytes of any kind.
    #[default]
    Bytes,
    /// UTF-8 text.
    Text,
    /// JSON.
    Json,
}

impl Content {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Bytes => 0,
            Self::Text => 1,
            Self::Json => 2,
        }
    }

    pub(crate) fn of(code: i32) -> Self {
        match code & 3 {
            1 => Self::Text,
            2 => Self::Json,
            _ => Self::Bytes,
        }
    }
}

/// The body of a request or a reply. It never shows in Debug output, errors or logs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Payload {
    content: Content,
    bytes: Vec<u8>,
}

impl Payload {
    /// A value as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the value cannot be serialized.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::new(ErrorKind::Invalid, "the payload cannot be serialized").with_source(e))?;
        Ok(Self { content: Content::Json, bytes })
    }

    pub(crate) fn new(content: Content, bytes: Vec<u8>) -> Self {
        Self { content, bytes }
    }

    /// What the bytes are.
    #[must_use]
    pub fn content(&self) -> Content {
        self.content
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, taken.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The text, when it is UTF-8.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is not.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.bytes)
            .map_err(|e| Error::new(ErrorKind::Invalid, "the payload is not UTF-8 text").with_source(e))
    }

    /// Reads it as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is not JSON of this type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.bytes).map_err(|e| {
            Error::new(ErrorKind::Invalid, format!("the payload is not what was expected: line {}", e.line()))
        })
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.content, self.bytes.len())
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self { content: Content::Text, bytes: text.into() }
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self { content: Content::Text, bytes: text.into_bytes() }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self { content: Content::Bytes, bytes }
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self { content: Content::Bytes, bytes: bytes.into() }
    }
}

/// A successful reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The request's id.
    pub id: i64,
    /// What was answered; empty for a confirmation.
    pub payload: Payload,
    /// The reply's headers.
    pub headers: Headers,
}

impl Reply {
    /// The reply as text. See [`Payload::text`].
    ///
    /// # Errors
    /// As [`Payload::text`].
    pub fn text(&self) -> Result<&str> {
        self.payload.text()
    }

    /// The reply as JSON. See [`Payload::parse`].
    ///
    /// # Errors
    /// As [`Payload::parse`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.payload.parse()
    }
}

/// A part of a reply, or progress, sent before the reply itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// 1, 2, … within one attempt.
    pub number: i32,
    /// Which attempt it belongs to; a second attempt begins again at number 1.
    pub attempt: i32,
    /// The part itself.
    pub payload: Payload,
}

/// Where a request goes: one responder of a channel, or one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A channel, by name.
    Channel(String),
    /// A session, by address.
    Address(Uuid),
}

impl Destination {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Channel(name) => name.clone(),
            Self::Address(address) => format!("@{address}"),
        }
    }
}

impl From<&str> for Destination {
    /// `@uuid` is an address, anything else a channel.
    fn from(text: &str) -> Self {
        match text.strip_prefix('@').and_then(|a| a.parse().ok()) {
            Some(address) => Self::Address(address),
            None => Self::Channel(text.to_owned()),
        }
    }
}

impl From<String> for Destination {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Uuid> for Destination {
    fn from(address: Uuid) -> Self {
        Self::Address(address)
    }
}

/// The longest time that a request may wait for its reply.
const LONGEST: Duration = Duration::from_secs(604_800);

/// Checks how long a request may wait.
pub(crate) fn check_timeout(timeout: Duration) -> Result<()> {
    if timeout >= Duration::from_millis(1) && timeout <= LONGEST {
        return Ok(());
    }
    let text = format!("request timeout must be between 1 ms and 7 days, got {timeout:?}");
    Err(Error::new(ErrorKind::Invalid, text))
}

/// Checks a payload against its channel's limit.
pub(crate) fn check_size(destination: &str, payload: &[u8], most: usize) -> Result<()> {
    if payload.len() <= most {
        return Ok(());
    }
    let text = format!("payload for \"{destination}\" must be at most {most} bytes, got {}", payload.len());
    Err(Error::new(ErrorKind::Invalid, text).with_code("TL004"))
}

/// Checks headers and writes them as the JSON object that is stored.
pub(crate) fn encode_headers(headers: &Headers) -> Result<Option<String>> {
    if headers.is_empty() {
        return Ok(None);
    }
    if headers.len() > 64 {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("there may be at most 64 headers, got {}", headers.len()),
        ));
    }
    let breaks = |s: &str| s.contains(['\r', '\n', '\0']);
    if let Some((name, _)) = headers.iter().find(|(k, v)| breaks(k) || breaks(v)) {
        let name: String = name.chars().take(100).collect();
        return Err(Error::new(ErrorKind::Invalid, format!("header {name:?} must not contain line breaks")));
    }
    let text = serde_json::to_string(headers)
        .map_err(|e| Error::new(ErrorKind::Invalid, "the headers cannot be serialized").with_source(e))?;
    if text.len() > 8192 {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("headers must be at most 8192 bytes, got {}", text.len()),
        ));
    }
    Ok(Some(text))
}

pub(crate) fn decode_headers(text: Option<&str>) -> Headers {
    text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default()
}
