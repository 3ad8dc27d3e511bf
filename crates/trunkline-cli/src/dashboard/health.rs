//! Health: what the doctor finds, the worst first.

use axum::{extract::State, http::Uri, response::Response};
use maud::html;

use super::{
    Shared,
    frame::Frame,
    parts::{empty, state},
};
use crate::http::{guard::Viewer, problem::Answer};

pub(super) async fn page(State(app): Shared, viewer: Viewer, uri: Uri) -> Answer<Response> {
    let found = app.data.findings().await?;
    let region = html! {
        h1 { "Health" }
        @if found.is_empty() { (empty("Nothing to mend.", &html! { "The same as " code { "trunkline doctor" } " says." })) }
        ul.groups { @for f in &found { li {
            p.cause { (state(&f.level.to_string())) " " strong { (f.finding) } }
            p.consequence { (f.consequence) }
            pre.payload.remedy tabindex="0" { (f.remedy) }
        } } }
    };
    Ok(Frame::new(&viewer, &uri, "health").page(&region))
}
