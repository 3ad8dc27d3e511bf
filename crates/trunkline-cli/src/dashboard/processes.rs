//! Processes: who is here, since when, its last sign of life and how long that holds, and what each has in hand.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{cell, empty, state, text, when};
use crate::http::live::Snapshot;

pub(super) fn region(s: &Snapshot) -> Markup {
    let names = |row: &Value| {
        let all = row.as_array().into_iter().flatten().filter_map(Value::as_str);
        all.collect::<Vec<_>>().join(", ")
    };
    html! {
        h1 { "Processes" }
        @if s.rows("sessions").is_empty() {
            (empty("Nobody is here.", &html! { "A process is listed while it is connected by the library; plain SQL is not." }))
        } @else {
            div.scroll { table.wide {
                thead { tr { th { "Application" } th { "State" } th { "Version" } th { "Role" } th { "Host" } th.n { "Backend" } th { "Since" } th { "Seen" } th { "Here until" } th { "Serves" } th { "Works on" } th.n { "Jobs" } th { "Batches" } th { "Listens to" } } }
                tbody { @for p in s.rows("sessions") { tr {
                    th scope="row" { bdi { (text(p, "application")) } @if p["watched"] == false { " " span.tag { "pooled" } } p.muted.small.name { (text(p, "address")) } }
                    td { (state(if p["alive"] == true { "alive" } else { "dead" })) }
                    td { @match p["version"].as_str() { Some(version) => (version), None => span.none { "–" } } }
                    td { (text(p, "role")) }
                    td { @match p["host"].as_str() { Some(host) => (host), None => span.none { "local" } } }
                    td.n { (p["pid"].as_i64().unwrap_or(0)) }
                    td { (when(p, "opened_at")) }
                    td { (when(p, "seen_at")) }
                    td { (when(p, "expires_at")) }
                    td { (names(&p["serves"])) }
                    td { (names(&p["queues"])) }
                    td.n { (cell(p, "jobs")) }
                    td { (names(&p["batches"])) }
                    td { (names(&p["listens"])) }
                } } }
            } }
        }
    }
}
