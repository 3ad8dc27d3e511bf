//! What every request passes before anything is done for it, and every answer on its way out.
//!
//! ```text
//!  Host is ours? ─no▶ 421     who is it? ─nobody▶ 401, 429, or the login form     an act? ─▶ role, Origin, CSRF ─no▶ 403
//!                                                                                  body ≤ 1 MiB, in 10 s, not packed
//! ```
//! Guarantees: no page of another site can act, whatever the browser: an act needs the same origin, and from a form the secret of
//! the viewer's login too; a program proves itself by its token. Nothing inline runs in a page (CSP).

use std::{error::Error as _, iter::successors, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;

use super::{App, access::Role, data::JobFilter, problem::Problem};

/// The cookie of a login.
pub(crate) const COOKIE: &str = "trunkline_session";
/// How large a body may be.
const BODY: usize = 1024 * 1024 + 64 * 1024;
/// How long a client may take for its body.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How long an answer may take beyond that; a stream of events begins within it.
const ANSWER: Duration = Duration::from_secs(12);
const LONGEST_PATH: usize = 2048;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who looks or acts.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(crate) role: Role,
    /// As the note of an action names them.
    pub(crate) who: String,
    /// What forms carry.
    pub(crate) csrf: String,
    /// Came by the login form.
    pub(crate) login: bool,
}

impl Viewer {
    pub(crate) fn may_act(&self) -> bool {
        self.role == Role::Admin
    }

    /// Refuses who may only look.
    /// Whether it may do this: who may not act may look, and is noted.
    pub(crate) fn may(&self, action: &str) -> bool {
        self.may_act() || action.ends_with("_reveal") || action.ends_with("_peek")
    }

    /// What [`Viewer::may`] says, as an answer.
    pub(crate) fn must_be_allowed(&self, action: &str) -> Result<(), Problem> {
        if self.may(action) { Ok(()) } else { self.must_act() }
    }

    pub(crate) fn must_act(&self) -> Result<(), Problem> {
        if self.may_act() { Ok(()) } else { Err(forbidden("this login may look, and not act")) }
    }

    /// Refuses who may not see payloads: whoever may ask what is in them sees them, bit by bit.
    pub(crate) fn must_see(&self, filter: &JobFilter) -> Result<(), Problem> {
        if (filter.payload.is_some() || filter.text.is_some()) && !self.may_act() {
            return Err(forbidden("this login does not see payloads, and cannot search them"));
        }
        Ok(())
    }
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let viewer = parts.extensions.get::<Self>().cloned();
        viewer.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "log in first"))
    }
}

/// Puts the guard around a router.
pub(super) fn around(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    router.layer(from_fn_with_state(app.clone(), guard))
}

async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = match admitted(&app, request).await {
        Ok(request) => timeout(ANSWER, next.run(request)).await.unwrap_or_else(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer in time")
                .into_response()
        }),
        Err(response) => *response,
    };
    dressed(&path, response)
}

/// The request with its viewer, or why it goes no further.
async fn admitted(app: &App, mut request: Request) -> Result<Request, Box<Response>> {
    let stop = |problem: Problem| Box::new(problem.into_response());
    if request.uri().path().len() > LONGEST_PATH {
        return Err(stop(Problem::missing("there is nothing at this address")));
    }
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    if !app.access.knows_host(host) {
        let detail = "this name is not served here; the option --http-name tells the names";
        return Err(stop(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail)));
    }
    let acts = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => {
            return Err(stop(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET, HEAD and POST are known here",
            )));
        }
    };
    if acts && !same_origin(request.headers()) {
        return Err(stop(forbidden("it comes from a page of another site")));
    }
    let path = request.uri().path();
    let open = ["/livez", "/readyz", "/healthz", "/login"].contains(&path) || path.starts_with("/assets/");
    let viewer = match viewer(app, &request) {
        Ok(Some(viewer)) => Some(viewer),
        Ok(None) if open => None,
        Ok(None) if path.starts_with("/api/") || path == "/metrics" || path == "/live" => {
            return Err(stop(Problem::new(
                StatusCode::UNAUTHORIZED,
                "a token is needed: Authorization: Bearer …",
            )));
        }
        Ok(None) => return Err(Box::new(Redirect::to("/login").into_response())),
        Err(problem) => return Err(stop(problem)),
    };
    if acts {
        request = with_body(app, request, viewer.as_ref()).await.map_err(stop)?;
    }
    if let Some(viewer) = viewer {
        request.extensions_mut().insert(viewer);
    }
    Ok(request)
}

/// Who it is: by a token, by a login, or anybody where none is needed.
fn viewer(app: &App, request: &Request) -> Result<Option<Viewer>, Problem> {
    let from = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |p| p.0);
    let named = |role: Role| format!("{} at {from}", role.word());
    let headers = request.headers();
    if let Some(given) = headers.get(header::AUTHORIZATION) {
        if !app.access.may_try(from) {
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; wait a minute"));
        }
        let token = given.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
        if let Some(role) = token.and_then(|t| app.access.role_of(t)) {
            return Ok(Some(Viewer { role, who: named(role), csrf: String::new(), login: false }));
        }
        if app.access.needs_login() {
            app.access.wrong(from);
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "this token is not known"));
        }
    }
    if !app.access.needs_login() {
        let csrf = app.access.open_csrf().to_owned();
        return Ok(Some(Viewer { role: Role::Admin, who: format!("local at {from}"), csrf, login: false }));
    }
    let login = cookie(headers).and_then(|c| app.access.login(c));
    Ok(login.map(|l| Viewer { role: l.role, who: named(l.role), csrf: l.csrf, login: true }))
}

/// The value of our cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|v| v.split(';')).find_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// What a browser says of where a request comes from; who says nothing is no browser.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, host)| Some(host) == text("host")),
        (None, None) => true,
    }
}

/// Reads the body of an act, and compares the secret of a form with that of the viewer.
async fn with_body(app: &App, request: Request, viewer: Option<&Viewer>) -> Result<Request, Problem> {
    let unsupported = |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(unsupported("packed bodies are not taken"));
    }
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let is = |wanted: &str| kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case(wanted));
    let path = parts.uri.path();
    let api = path.starts_with("/api/");
    if api && !is("application/json") {
        return Err(unsupported("the body must be application/json"));
    } else if !api && !is("application/x-www-form-urlencoded") {
        return Err(unsupported("the body must be a form"));
    }
    let unread = |e: axum::Error| {
        // What hyper says is wrong with how it was sent; all else is the limit.
        if successors(e.source(), |e| (*e).source()).any(|e| e.is::<hyper::Error>()) {
            return Problem::bad("the body is not sent as it should be, or not to its end");
        }
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have {BODY} bytes"))
    };
    let bytes = timeout(BODY_TIME, to_bytes(body, BODY))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within ten seconds"))?;
    let bytes = bytes.map_err(unread)?;
    // Who has no login yet has no secret; programs have a token, and a page cannot send JSON to another site unasked.
    let secret = viewer.filter(|v| !v.csrf.is_empty() && !api && (v.login || !app.access.needs_login()));
    if let Some(viewer) = secret.filter(|_| path != "/login") {
        let given = form_value(&bytes, "csrf").unwrap_or_default();
        if !bool::from(given.as_bytes().ct_eq(viewer.csrf.as_bytes())) {
            return Err(forbidden("this page is too old; load it again, and then once more"));
        }
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A field of a form, whose values need no decoding.
fn form_value<'a>(form: &'a Bytes, name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(form).ok()?;
    text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// Makes a page or JSON of a problem, and adds what browsers shall know of every answer.
fn dressed(path: &str, mut response: Response) -> Response {
    let api = path.starts_with("/api/");
    // What a router or an extractor says by itself comes without a type, or as plain text.
    let kind = response.headers().get(header::CONTENT_TYPE);
    let bare =
        response.status().is_client_error() && kind.is_none_or(|k| k.as_bytes().starts_with(b"text/plain"));
    let problem = response.extensions_mut().remove::<Problem>();
    let problem = problem
        .or_else(|| bare.then(|| Problem::new(response.status(), "this cannot be done at this address")));
    if let Some(problem) = problem {
        let headers = std::mem::take(response.headers_mut());
        response = if api { problem.json() } else { crate::dashboard::problem_page(&problem) };
        for name in [header::ALLOW, header::RETRY_AFTER] {
            if let Some(value) = headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        if problem.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
          frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
