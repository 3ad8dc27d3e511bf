//! Try it: push a job, append an event, send a request, or publish a message, from a form.

use axum::{
    extract::{Form, State},
    http::Uri,
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Shared,
    frame::Frame,
    parts::{button, encoded, text},
    query,
};
use crate::http::{
    App,
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

/// What was sent before, as the address of the page after it says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sent {
    word: String,
    to: String,
    id: Option<i64>,
}

pub(super) async fn page(State(app): Shared, viewer: Viewer, uri: Uri) -> Answer<Response> {
    let region = html! {
        h1 { "Try it" }
        (seen(&app, &viewer, &query(&uri)?).await?)
        @if !viewer.may_act() { p.muted { "This login may look, and not act." } }
        div.words {
            (form(&viewer, "job", "Push a job", "Queue", "mail", true))
            (form(&viewer, "event", "Append an event", "Stream", "orders", true))
            (form(&viewer, "request", "Send a request", "Channel", "hash", false))
            (form(&viewer, "message", "Publish a message", "Topic", "orders.placed", false))
        }
    };
    Ok(Frame::new(&viewer, &uri, "try").page(&region))
}

/// What has no page of its own: where it is, and a look at it.
async fn seen(app: &App, viewer: &Viewer, sent: &Sent) -> Answer<Markup> {
    // Nobody's sentences are put into our mouth: a name has no spaces.
    let (Some(id), true) = (sent.id, sent.to.bytes().all(|b| b.is_ascii_graphic())) else {
        return Ok(html! {});
    };
    let durable = |t: &Value| text(t, "topic") == sent.to && text(t, "kind") == "durable";
    let (what, peek, of) = match sent.word.as_str() {
        "event" => ("Event", "stream_peek", "stream"),
        // A durable topic is the stream of the same name.
        "message" if app.live.with_topics().await?.rows("topics").iter().any(durable) => {
            ("Message", "stream_peek", "stream")
        }
        "message" => ("Message", "topic_peek", "topic"),
        _ => return Ok(html! {}),
    };
    Ok(html! {
        div.done role="status" { (what) " " (id) " is in " strong { (sent.to) } ". " (button(viewer, peek, "See it", &[(of, &sent.to)], "/try")) }
    })
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
            app.data.produce(&m.word, &m.to, &m.payload, &json!({ "kind": kind, "key": key })).await?
        }
        "message" => app.data.publish(&m.to, &m.payload, None, None, None).await?,
        _ => return Err(Problem::bad("word: job, event, request or message")),
    };
    app.live.outdate();
    Ok(Redirect::to(&match m.word.as_str() {
        "job" => format!("/jobs/{id}"),
        word @ ("event" | "message") => format!("/try?word={word}&to={}&id={id}", encoded(&m.to)),
        _ => format!("/requests/{id}"),
    })
    .into_response())
}
