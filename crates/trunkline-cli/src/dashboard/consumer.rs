//! A consumer of a stream: where it is, its dead letters, who moved it, and how to move it.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use maud::html;
use serde::Deserialize;

use super::{
    Shared,
    frame::Frame,
    parts::{button, count, crumbs, empty, encoded, facts, last_of_full, number, payload, span, text, when},
    query,
};
use crate::http::{
    guard::Viewer,
    problem::{Answer, Problem},
};

/// The letters on a page.
const PAGE: i32 = 50;

#[derive(Debug, Deserialize)]
struct Asked {
    /// Goes on with letters after this one.
    after: Option<i64>,
}

pub(super) async fn page(
    State(app): Shared,
    viewer: Viewer,
    uri: Uri,
    Path((stream, consumer)): Path<(String, String)>,
) -> Answer<Response> {
    let Asked { after } = query(&uri)?;
    let snapshot = app.live.now().await?;
    let row = snapshot
        .rows("consumers")
        .iter()
        .find(|c| text(c, "stream") == stream && text(c, "consumer") == consumer);
    let row = row.ok_or_else(|| Problem::missing("there is no such consumer"))?;
    // Letters of another role's consumer are not ours to see.
    let letters = app.data.letters(&stream, &consumer, PAGE, after).await.unwrap_or_default();
    let moves = app.data.moves(Some(&stream), PAGE, None).await?;
    let back = format!("/streams/{}/{}", encoded(&stream), encoded(&consumer));
    let target = [("stream", stream.as_str()), ("consumer", consumer.as_str())];
    let region = html! {
        (crumbs("/streams", "Streams", &html! { (stream) }))
        h1 { (consumer) }
        (facts(&[
            ("lag", html! { (span(row["lag"].as_f64().unwrap_or(0.0))) }),
            ("events", html! { (count(number(row, "estimate"))) }),
            ("finished up to tick", html! { (number(row, "tick")) }),
            ("role", html! { (text(row, "role")) }),
            ("last seen", html! { (when(row, "last_seen")) }),
            ("coming again", html! { (count(number(row, "coming_again"))) }),
        ]))
        @if viewer.may_act() { form.filters method="post" action="/act" {
            input type="hidden" name="csrf" value=(viewer.csrf);
            input type="hidden" name="action" value="stream_seek";
            input type="hidden" name="back" value=(back);
            @for (name, value) in target { input type="hidden" name=(name) value=(value); }
            label { "Move it to" input name="at" placeholder="end, beginning, tick:7, a time" required autocomplete="off"; }
            button.danger type="submit" { "Move" }
        } }
        section {
            div.head { h2 { "Dead letters" }
                @if viewer.may_act() && !letters.is_empty() { div.acts {
                    (button(&viewer, "stream_replay", "Replay all", &target, &back))
                    (button(&viewer, "stream_purge", "Delete all", &target, &back))
                } }
            }
            @if letters.is_empty() { (empty("There are none.", &html! { "Events come here that were tried too often, or given up, with the cause." })) }
            ul.groups { @for l in &letters { li {
                p.cause { strong { (number(l, "id")) } " " code { (text(l, "cause")) } }
                p.muted { (when(l, "died_at")) " · " (number(l, "attempts")) @if number(l, "attempts") == 1 { " attempt · " } @else { " attempts · " } (text(l, "type")) " " (text(l, "key")) }
                @if viewer.may_act() { @if let Some(text) = l["payload"].as_str() { (payload(text)) } }
                @let id = number(l, "id").to_string();
                @let one = [("stream", stream.as_str()), ("consumer", consumer.as_str()), ("id", id.as_str())];
                @if !viewer.may_act() { p.muted { "The payload is hidden. Who reveals it is noted." } (button(&viewer, "stream_reveal", "Reveal", &one, &back)) }
                @if viewer.may_act() { div.acts.left {
                    (button(&viewer, "stream_replay", "Replay", &one, &back))
                    (button(&viewer, "stream_purge", "Delete", &one, &back))
                } }
            } } }
            @if let Some(last) = last_of_full(&letters, PAGE) { p.more { a href={ (back) "?after=" (last) } { "More" } } }
        }
        @if !moves.is_empty() { section { h2 { "Who moved consumers of this stream" }
            ul.plain { @for m in &moves { li {
                (when(m, "moved_at")) " " (text(m, "consumer")) " by " (text(m, "role")) " from " (number(m, "from_tick")) " to " (m["to_tick"].as_i64().map_or("removed".to_owned(), |t| t.to_string()))
            } } }
        } }
    };
    Ok(Frame::new(&viewer, &uri, "streams").title(format!("{consumer} of {stream}")).page(&region))
}
