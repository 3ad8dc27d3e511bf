//! Try it: push a job, append an event, send a request, or publish a message, from a form.

use axum::{
    extract::{Form, State},
    http::Uri,
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{Shared, frame::Frame};
use crate::http::{
    guard::Viewer,
    problem::{Answer, Problem},
};

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    word: String,
    to: String,
    payload: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    key: String,
}

pub(super) async fn page(viewer: Viewer, uri: Uri) -> Response {
    let region = html! {
        h1 { "Try it" }
        @if !viewer.may_act() { p.muted { "This login may look, and not act." } }
        div.words {
            (form(&viewer, "job", "Push a job", "Queue", "mail", true))
            (form(&viewer, "event", "Append an event", "Stream", "orders", true))
            (form(&viewer, "request", "Send a request", "Channel", "hash", false))
            (form(&viewer, "message", "Publish a message", "Topic", "orders.placed", false))
        }
    };
    Frame::new(&viewer, &uri, "try").page(&region)
}

fn form(viewer: &Viewer, word: &str, title: &str, to: &str, example: &str, keyed: bool) -> Markup {
    html! {
        section.word {
            h2 { (title) }
            form.stack method="post" action="/try" {
                input type="hidden" name="csrf" value=(viewer.csrf);
                input type="hidden" name="word" value=(word);
                label { (to) input name="to" required placeholder=(example) autocomplete="off" spellcheck="false"; }
                @match word {
                    "message" => {},
                    "job" => label { "Kind" input name="kind" autocomplete="off" spellcheck="false"; },
                    _ => label { "Type" input name="kind" autocomplete="off" spellcheck="false"; },
                }
                @if keyed { label { "Key" input name="key" autocomplete="off" spellcheck="false"; } }
                label { "Payload" textarea name="payload" rows="5" spellcheck="false" { "{\"hello\": \"world\"}" } }
                button.primary type="submit" disabled[!viewer.may_act()] { (title) }
            }
        }
    }
}

pub(super) async fn send(
    State(app): Shared,
    viewer: Viewer,
    form: Result<Form<Message>, axum::extract::rejection::FormRejection>,
) -> Answer<Response> {
    viewer.must_act()?;
    let Form(m) = form.map_err(|_| Problem::bad("the form has a field too few or too many"))?;
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (kind, key) = (given(&m.kind), given(&m.key));
    let id = match m.word.as_str() {
        "job" | "event" | "request" => {
            app.data.produce(&m.word, &m.to, &m.payload, kind.as_deref(), key.as_deref()).await?
        }
        "message" => app.data.publish(&m.to, &m.payload, None, None, None).await?,
        _ => return Err(Problem::bad("word: job, event, request or message")),
    };
    app.live.outdate();
    Ok(Redirect::to(&match m.word.as_str() {
        "message" => "/topics".to_owned(),
        "job" => format!("/jobs/{id}"),
        "event" => "/streams".to_owned(),
        _ => format!("/requests/{id}"),
    })
    .into_response())
}
