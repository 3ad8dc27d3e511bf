//! Streams: what each keeps, and how far behind its consumers are.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{button, cell, count, empty, encoded, size, span, state, text};
use crate::http::{guard::Viewer, live::Snapshot};

pub(super) fn region(s: &Snapshot, viewer: &Viewer) -> Markup {
    html! {
        h1 { "Streams" }
        @if s.rows("streams").is_empty() {
            (empty("There is no stream yet.", &html! { code { "trunkline streams create orders" } " makes one." }))
        }
        @for row in s.rows("streams") {
            @let name = text(row, "stream");
            section.stream {
                div.head {
                    h2 { (name) }
                    @if row["closed"] == true { (state("closed")) }
                    @if let Some(who) = row["limited_by"].as_str() { span.bad { "takes no more until " (who) " has caught up" } }
                    div.acts { (button(viewer, "stream_peek", "Peek", &[("stream", name)], "/streams")) }
                }
                dl.facts {
                    div { dt { "events" } dd { (count(row["events"].as_i64().unwrap_or(0))) } }
                    div { dt { "not ticked" } dd { (count(row["uncovered"].as_i64().unwrap_or(0))) } }
                    div { dt { "ticks/s" } dd { (format!("{:.1}", row["ticks_per_second"].as_f64().unwrap_or(0.0))) } }
                    div { dt { "last tick" } dd { (span(row["last_tick_age"].as_f64().unwrap_or(0.0))) " ago" } }
                    div { dt { "mode" } dd { (text(row, "tick_mode")) } }
                    @if let Some(who) = row["furthest_behind"].as_str() {
                        div { dt { "kept for" } dd { (who) ", " (span(row["lag"].as_f64().unwrap_or(0.0))) " behind" } }
                    }
                    div { dt { "segments" } dd { (segments(row)) } }
                }
                (consumers(s, name))
            }
        }
    }
}

/// The three segments: the size of each, the one that is filled marked.
fn segments(row: &Value) -> Markup {
    let filled = row["segment"].as_u64().unwrap_or(0);
    html! {
        @for (n, bytes) in row["segment_bytes"].as_array().into_iter().flatten().enumerate() {
            span.segment.filled[u64::try_from(n + 1) == Ok(filled)] { (size(bytes.as_i64().unwrap_or(0))) } " "
        }
    }
}

fn consumers(s: &Snapshot, stream: &str) -> Markup {
    let rows: Vec<&Value> = s.rows("consumers").iter().filter(|c| text(c, "stream") == stream).collect();
    html! {
        @if rows.is_empty() { p.muted { "No consumer is registered: events are kept as long as keep_for says." } }
        @else {
            div.scroll { table.wide {
                thead { tr { th { "Consumer" } th.n { "Lag" } th.n { "Events" } th { "In hand" } th.n { "Coming again" } th.n { "Dead" } } }
                tbody { @for c in rows {
                    @let name = text(c, "consumer");
                    tr {
                        th scope="row" { a href={ "/streams/" (encoded(stream)) "/" (encoded(name)) } { (name) }
                            @if !c["slow_since"].is_null() { " " (state("warning")) } }
                        td.n { (span(c["lag"].as_f64().unwrap_or(0.0))) }
                        td.n { (cell(c, "estimate")) }
                        td { (in_hand(c)) }
                        td.n { (cell(c, "coming_again")) }
                        td.n.dead { (cell(c, "dead")) }
                    }
                } }
            } }
        }
    }
}

fn in_hand(c: &Value) -> Markup {
    html! {
        @match c["in_hand"].as_i64() {
            Some(n) if n > 0 => { (state(if c["alive"] == false { "warning" } else { "taken" })) " " (n) " by session " (c["session"].as_i64().unwrap_or(0)) }
            _ => span.none { "–" }
        }
    }
}
