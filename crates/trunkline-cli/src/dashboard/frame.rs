//! What is around every page: the head, the ways to the others, who looks, and what was just done.

use axum::{
    http::Uri,
    response::{Html, IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::{act, assets};
use crate::http::{guard::Viewer, problem::Problem};

/// The pages: address, name, title, and which of them belong to it.
pub(super) const PAGES: [(&str, &str, &[&str]); 10] = [
    ("/", "Overview", &["overview"]),
    ("/requests", "Requests", &["requests"]),
    ("/topics", "Topics", &["topics"]),
    ("/jobs", "Jobs", &["jobs", "schedules"]),
    ("/streams", "Streams", &["streams"]),
    ("/leases", "Leases", &["leases"]),
    ("/processes", "Processes", &["processes"]),
    ("/health", "Health", &["health"]),
    ("/actions", "Actions", &["actions"]),
    ("/try", "Try it", &["try"]),
];

/// A page to be.
pub(super) struct Frame<'a> {
    viewer: &'a Viewer,
    uri: &'a Uri,
    name: &'a str,
    title: Option<String>,
    live: Option<String>,
    charts: bool,
}

impl<'a> Frame<'a> {
    /// `name`: of one of [`PAGES`].
    pub(super) fn new(viewer: &'a Viewer, uri: &'a Uri, name: &'a str) -> Self {
        Self { viewer, uri, name, title: None, live: None, charts: false }
    }

    /// Where the region of this page comes from while it is open.
    pub(super) fn live(mut self, from: &str) -> Self {
        self.live = Some(from.to_owned());
        self
    }

    /// With charts, which are drawn by a script.
    pub(super) fn charts(mut self, drawn: bool) -> Self {
        self.charts = drawn;
        self
    }

    /// A title of its own.
    pub(super) fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// The page with this in it.
    pub(super) fn page(self, region: &Markup) -> Response {
        let known =
            PAGES.iter().find(|(_, _, names)| names.contains(&self.name)).map_or("", |(_, title, _)| title);
        let title = self.title.as_deref().unwrap_or(known);
        let done = act::done(self.uri);
        let body = html! {
            a.skip href="#main" { "To the content" }
            header.side {
                a.brand href="/" { img src=(assets::url("icon.svg")) alt="" width="26" height="26"; span { "trunkline" } }
                nav aria-label="Pages" {
                    @for (at, title, names) in PAGES {
                        @let here = names.contains(&self.name);
                        a href=(at) aria-current=[here.then_some("page")] { (title) }
                    }
                }
                div.who {
                    @if self.live.is_some() { p.status role="status" data-status="" { span.dot {} span data-word="" { "as it was" } } }
                    @if self.viewer.login {
                        form method="post" action="/logout" {
                            input type="hidden" name="csrf" value=(self.viewer.csrf);
                            button.quiet type="submit" { "Log out " (self.viewer.role.word()) }
                        }
                    } @else { p.muted { (self.viewer.role.word()) } }
                }
            }
            main #main tabindex="-1" {
                @if let Some(done) = done { p.done role="status" { (done) } }
                div.region data-live=[self.live.as_deref()] data-csrf=[self.live.as_ref().map(|_| &self.viewer.csrf)] { (region) }
            }
        };
        let scripts: &[&str] = if self.charts { &["live.js", "uplot.js", "chart.js"] } else { &["live.js"] };
        document(title, scripts, &body)
    }
}

/// A whole document.
pub(super) fn document(title: &str, scripts: &[&str], body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · trunkline" }
                link rel="icon" href=(assets::url("icon.svg"));
                link rel="stylesheet" href=(assets::url("style.css"));
                @for script in scripts { script src=(assets::url(script)) defer {} }
            }
            body { (body) }
        }
    };
    Html(page.into_string()).into_response()
}

/// Why there is no page.
pub(crate) fn problem_page(problem: &Problem) -> Response {
    let body = html! {
        main.alone {
            p.number { (problem.status.as_u16()) }
            h1 { (problem.title()) }
            p { (problem.detail) }
            p { a href="/" { "To the overview" } }
        }
    };
    let mut response = document(problem.title(), &[], &body);
    *response.status_mut() = problem.status;
    response
}
