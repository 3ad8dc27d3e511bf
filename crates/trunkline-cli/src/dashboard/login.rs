//! The login form: a token for a cookie that no script can read and no other site can use.

use std::net::IpAddr;

use axum::{
    Extension,
    extract::{Form, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::html;
use serde::Deserialize;

use super::{Shared, assets, frame};
use crate::http::{
    guard::{COOKIE, Peer, cookie},
    problem::{Answer, Problem},
};

#[derive(Debug, Deserialize)]
pub(super) struct Login {
    token: String,
}

pub(super) async fn form() -> Response {
    page(None)
}

fn page(said: Option<&str>) -> Response {
    let body = html! {
        main.alone {
            p.brand { img src=(assets::url("icon.svg")) alt="" width="40" height="40"; }
            h1 { "trunkline" }
            @if let Some(said) = said { p.bad role="alert" { (said) } }
            form.stack method="post" action="/login" {
                label { "Token" input type="password" name="token" required autofocus autocomplete="current-password"; }
                button.primary type="submit" { "Log in" }
            }
        }
    };
    frame::document("Log in", &[], &body)
}

pub(super) async fn log_in(
    State(app): Shared,
    peer: Option<Extension<Peer>>,
    form: Result<Form<Login>, axum::extract::rejection::FormRejection>,
) -> Answer<Response> {
    let from = peer.map_or(IpAddr::from([0, 0, 0, 0]), |Extension(p)| p.0);
    if !app.access.may_try(from) {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; wait a minute"));
    }
    let Form(Login { token }) = form.map_err(|_| Problem::bad("the form has no token"))?;
    let Some(name) = app.access.log_in(&token) else {
        app.access.wrong(from);
        let mut response = page(Some("This token is not known."));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    };
    let secure = if app.access.by_tls() { "; Secure" } else { "" };
    Ok(with_cookie(
        &format!("{COOKIE}={name}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200{secure}"),
        "/",
    ))
}

pub(super) async fn log_out(State(app): Shared, headers: HeaderMap) -> Response {
    if let Some(name) = cookie(&headers) {
        app.access.log_out(name);
    }
    with_cookie(&format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"), "/login")
}

fn with_cookie(cookie: &str, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
