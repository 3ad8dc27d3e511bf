//! Leases: who holds which, since when and with which fence, who waits for it, and how it is handed over.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{button, cell, empty, state, text, when};
use crate::http::{guard::Viewer, live::Snapshot};

pub(super) fn region(s: &Snapshot, viewer: &Viewer) -> Markup {
    html! {
        h1 { "Leases" }
        @if s.rows("leases").is_empty() {
            (empty("No lease was ever held.", &html! { code { "trunkline leases run nightly -- ./report" } " keeps a program on exactly one machine." }))
        } @else {
            div.scroll { table.wide {
                thead { tr {
                    th { "Lease" } th { "State" } th { "Held by" } th { "Good until" } th.n { "Fence" } th { "Noted" } th { "Who waits" }
                    @if viewer.may_act() { th {} }
                } }
                tbody { @for l in s.rows("leases") { (lease(l, viewer)) } }
            } }
            p.muted.small { "The fence rises with each holder; what an older one guards is refused." }
        }
    }
}

fn lease(l: &Value, viewer: &Viewer) -> Markup {
    let name = text(l, "name");
    let held = !l["held_by"].is_null();
    let asked = l["resign_asked"] == true;
    html! {
        tr {
            th scope="row" { (name) }
            td { (state(if !held { "free" } else if asked { "asked to hand over" } else { "held" })) }
            td { @if held { (text(l, "held_by")) p.muted.small { "since " (when(l, "since")) } } @else { span.none { "nobody" } } }
            td { (when(l, "expires_at")) @if !l["seen_at"].is_null() { p.muted.small { "last sign of life " (when(l, "seen_at")) } } }
            td.n { (cell(l, "fence")) }
            td { (text(l, "progress")) }
            td { (waiters(l)) }
            @if viewer.may_act() {
                td.acts { @if held {
                    (button(viewer, "lease_resign", "Hand over", &[("lease", name)], "/leases"))
                    (button(viewer, "lease_revoke", "Take away", &[("lease", name)], "/leases"))
                } }
            }
        }
    }
}

/// The next few in turn.
fn waiters(l: &Value) -> Markup {
    let waiting = l["waiters"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if waiting.is_empty() { span.none { "–" } }
        @else {
            ol.plain.small { @for w in waiting.iter().take(5) { li { (text(w, "held_by")) " " span.muted { "since " (when(w, "since")) } } } }
            @if waiting.len() > 5 { p.muted.small { "and " (waiting.len() - 5) " more" } }
        }
    }
}
