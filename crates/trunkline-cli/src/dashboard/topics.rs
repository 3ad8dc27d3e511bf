//! Topics: the declared ones and those that somebody listens to; who listens, and of those of whom one is active, which and since when.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{button, cell, empty, encoded, state, text, when};
use crate::http::{guard::Viewer, live::Snapshot};

pub(super) fn region(s: &Snapshot, viewer: &Viewer) -> Markup {
    html! {
        h1 { "Topics" }
        @if s.rows("topics").is_empty() {
            (empty("There is no topic yet.", &html! { "Nothing need be declared: " code { "trunkline sub 'orders.>'" } " listens, " code { "trunkline pub orders.new '{}'" } " publishes." }))
        } @else {
            div.scroll { table.wide {
                thead { tr { th { "Topic" } th { "Kind" } th.n { "Listen by name" } th.n { "Messages kept" } th { "Last one" } th { "Declared" } th {} } }
                tbody { @for t in s.rows("topics") {
                    @let (topic, kind) = (text(t, "topic"), text(t, "kind"));
                    tr {
                        th scope="row" { (topic) }
                        td { (kind) }
                        td.n { (cell(t, "subscriptions")) }
                        // A durable one is the stream of the same name.
                        td.n { @if kind == "durable" { a href="/streams" { "its stream" } } @else { (cell(t, "messages")) } }
                        td { (when(t, "last_at")) }
                        td { (when(t, "made_at")) }
                        td { @if kind == "volatile" { (button(viewer, "topic_peek", "Peek", &[("topic", topic)], "/topics")) } }
                    }
                } }
            } }
            p.muted.small { "Of volatile topics the messages of the last minute or two are kept: who reads more seldom is told of a gap." }
        }
        section {
            h2 { "Who listens" }
            @if s.rows("subscriptions").is_empty() { p.muted { "Nobody does, as far as programs of the library say; plain LISTEN is not seen." } }
            @else { (subscriptions(s)) }
        }
    }
}

fn subscriptions(s: &Snapshot) -> Markup {
    html! {
        div.scroll { table.wide {
            thead { tr { th { "Topics" } th { "Name" } th { "State" } th { "Since" } th.n { "Fence" } th { "Application" } th.n { "Session" } th { "Role" } th.n { "Gaps" } th { "Last gap" } } }
            tbody { @for o in s.rows("subscriptions") { tr {
                th scope="row" { bdi { (topics(o)) } @if text(o, "kind") != "volatile" { " " span.tag { (text(o, "kind")) } } }
                td { (name(o)) }
                td { (standing(o)) }
                td { (when(o, "since")) }
                td.n { (cell(o, "fence")) }
                td { (text(o, "application")) }
                td.n { (cell(o, "session")) }
                td { (text(o, "role")) }
                td.n { (cell(o, "gaps")) }
                td { (when(o, "gap_at")) }
            } } }
        } }
    }
}

fn topics(subscription: &Value) -> String {
    let all = subscription["topics"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.collect::<Vec<_>>().join(", ")
}

/// A durable one is a consumer of that name.
fn name(subscription: &Value) -> Markup {
    let name = text(subscription, "name");
    let durable = text(subscription, "kind") == "durable";
    let stream = subscription["topics"][0].as_str().filter(|_| durable && !name.is_empty());
    html! {
        @if let Some(stream) = stream { a href={ "/streams/" (encoded(stream)) "/" (encoded(name)) } { (name) } }
        @else { (name) }
    }
}

fn standing(subscription: &Value) -> Markup {
    match (subscription["single"] == true, subscription["active"] == true) {
        (false, _) => html! { span.muted { "gets all" } },
        (true, true) => state("active"),
        (true, false) => state("standby"),
    }
}
