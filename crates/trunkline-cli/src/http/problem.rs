//! What a failure means to a browser or a program: one match from the kind of an error to the status.
//!
//! Under /api it is `application/problem+json`, else a page. Neither holds anything that the client sent, but the path's own words.

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use trunkline::{Error, ErrorKind};

/// Why a request was not answered as it was meant.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
    /// What kind of error it was, for who is no browser.
    pub(crate) kind: ErrorKind,
    /// The SQLSTATE, where the database said it.
    code: Option<String>,
    /// The id of the request that was sent, of a call.
    request: Option<i64>,
}

pub(crate) type Answer<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), kind: ErrorKind::Other, code: None, request: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The words for the status.
    pub(crate) fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    /// As JSON, by RFC 9457.
    pub(crate) fn json(&self) -> Response {
        let mut body =
            json!({ "status": self.status.as_u16(), "title": self.title(), "detail": self.detail });
        if let Some(code) = &self.code {
            body["code"] = json!(code);
        }
        if let Some(request) = self.request {
            body["request"] = json!(request.to_string());
        }
        let mut response = (self.status, body.to_string()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// The one table.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict | ErrorKind::Stale => StatusCode::CONFLICT,
        ErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::TimedOut | ErrorKind::NoResponder | ErrorKind::Lost => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Remote => StatusCode::BAD_GATEWAY,
        ErrorKind::Unreachable
        | ErrorKind::Unsupported
        | ErrorKind::Schema
        | ErrorKind::Epoch
        | ErrorKind::Config => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Problem {
    fn from(e: Error) -> Self {
        Self {
            status: status(e.kind()),
            kind: e.kind(),
            detail: e.to_string(),
            code: e.code().map(str::to_owned),
            request: e.request(),
        }
    }
}

/// A page; [`crate::http::guard`] makes JSON of it under /api.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A path that nothing is at.
pub(super) async fn unknown_path(_: Uri) -> Problem {
    Problem::missing("there is nothing at this address")
}
