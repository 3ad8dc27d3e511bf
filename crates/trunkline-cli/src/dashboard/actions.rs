//! Actions: who did what, to what, and what it was before and after.

use axum::{extract::State, http::Uri, response::Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Shared,
    frame::Frame,
    parts::{empty, text, when},
    query,
};
use crate::http::{guard::Viewer, problem::Answer};

const PAGE: i32 = 100;

#[derive(Debug, Deserialize)]
struct Asked {
    before: Option<i64>,
}

pub(super) async fn page(State(app): Shared, viewer: Viewer, uri: Uri) -> Answer<Response> {
    let asked: Asked = query(&uri)?;
    let rows = app.data.actions(PAGE, asked.before).await?;
    let region = html! {
        h1 { "Actions" }
        @if rows.is_empty() { (empty("Nobody has done anything yet.", &html! { "What is done here, or by the API, is noted with who did it." })) }
        @else { div.scroll { table.wide {
            thead { tr { th { "When" } th { "Who" } th { "What" } th { "To what" } th { "Before" } th { "After" } th { "Said" } } }
            tbody { @for r in &rows { tr {
                td { (when(r, "at")) } td { (text(r, "who")) } td { (text(r, "action").replace('_', " ")) }
                td { (pairs(&r["target"])) } td { (pairs(&r["state_before"])) } td { (pairs(&r["state_after"])) }
                td { (pairs(&r["result"])) }
            } } }
        } } }
        @if i32::try_from(rows.len()) == Ok(PAGE) {
            @if let Some(last) = rows.last().and_then(|r| r["id"].as_i64()) { p.more { a href={ "/actions?before=" (last) } { "Older ones" } } }
        }
    };
    Ok(Frame::new(&viewer, &uri, "actions").page(&region))
}

/// A small object as its fields, one a line; times without their fractions.
fn pairs(value: &Value) -> Markup {
    let written = |v: &Value| match v {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    html! {
        @match value {
            Value::Null => {}
            Value::Object(fields) => dl.pairs { @for (name, v) in fields { div {
                dt { (name.replace('_', " ")) }
                dd { @if name.ends_with("_at") && v.is_string() { (when(value, name)) } @else { (written(v)) } }
            } } },
            other => (written(other)),
        }
    }
}
