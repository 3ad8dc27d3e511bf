//! The dashboard: pages made here, one style sheet, a little script; it works with the script off, but for what is live.
//!
//! A word is a file. A page that is live is a function from the shared snapshot to markup; the same markup goes over `/live`, made
//! once for all viewers of a page and a role. All text passes through maud, which escapes it; none is put into a page otherwise.

mod act;
mod actions;
mod assets;
mod chart;
mod consumer;
mod frame;
mod health;
mod job;
mod jobs;
mod leases;
mod login;
mod overview;
pub(crate) mod parts;
mod processes;
mod requests;
mod reveal;
mod streams;
mod topics;
mod try_it;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures_util::stream::unfold;
use maud::{Markup, html};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout_at},
};
use trunkline::ErrorKind;

use crate::http::{
    App,
    guard::Viewer,
    live::{Seen, Snapshot},
    problem::{Answer, Problem},
};

pub(crate) use frame::problem_page;

type Shared = State<Arc<App>>;

/// How long a stream of events lasts; the browser then opens another, and is asked anew who it is.
const WATCH: Duration = Duration::from_secs(300);
/// The name of the last event of what has ended.
const OVER: &str = "over";
/// How many may watch at a time; who comes beyond them is told 503.
const WATCHERS: usize = 256;

/// What can be done, by name.
pub(crate) fn actions() -> Vec<&'static str> {
    act::ACTIONS.iter().map(|(name, ..)| *name).collect()
}

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(|app, viewer, uri| live_page(app, viewer, uri, "overview")))
        .route("/jobs", get(|app, viewer, uri| live_page(app, viewer, uri, "jobs")))
        .route("/schedules", get(|app, viewer, uri| live_page(app, viewer, uri, "schedules")))
        .route("/streams", get(|app, viewer, uri| live_page(app, viewer, uri, "streams")))
        .route("/topics", get(|app, viewer, uri| live_page(app, viewer, uri, "topics")))
        .route("/leases", get(|app, viewer, uri| live_page(app, viewer, uri, "leases")))
        .route("/requests", get(|app, viewer, uri| live_page(app, viewer, uri, "requests")))
        .route("/processes", get(|app, viewer, uri| live_page(app, viewer, uri, "processes")))
        .route("/jobs/list", get(jobs::list))
        .route("/jobs/dead", get(jobs::dead))
        .route("/jobs/{id}", get(job::page))
        .route("/streams/{stream}/{consumer}", get(consumer::page))
        .route("/requests/list", get(requests::list))
        .route("/requests/{id}", get(requests::page))
        .route("/health", get(health::page))
        .route("/actions", get(actions::page))
        .route("/try", get(try_it::page).post(try_it::send))
        .route("/act", post(act::act))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/live", get(watch_page))
        .merge(assets::routes())
}

/// What the address asks for, or what is wrong with it.
fn query<T: DeserializeOwned>(uri: &Uri) -> Answer<T> {
    Query::try_from_uri(uri)
        .map(|Query(asked)| asked)
        .map_err(|_| Problem::bad("the address has a wrong value after its ?"))
}

/// What live pages are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
struct Asked {
    #[serde(default)]
    page: String,
    /// Of the charts, in seconds.
    range: Option<u16>,
    /// Of one job, or one request.
    id: Option<i64>,
}

/// The markup of a live page's region.
fn region(asked: &Asked, snapshot: &Snapshot, viewer: &Viewer) -> Option<Markup> {
    Some(match asked.page.as_str() {
        "overview" => overview::region(snapshot, usize::from(asked.range.unwrap_or(300))),
        "jobs" => jobs::region(snapshot, viewer),
        "schedules" => jobs::schedules(snapshot, viewer),
        "streams" => streams::region(snapshot, viewer),
        // A snapshot that was taken for somebody else may tell nothing of them: the next one will.
        "topics" if snapshot.value["topics"].is_null() => return None,
        "topics" => topics::region(snapshot, viewer),
        "leases" => leases::region(snapshot, viewer),
        "requests" => requests::region(snapshot),
        "processes" => processes::region(snapshot),
        _ => return None,
    })
}

async fn live_page(State(app): Shared, viewer: Viewer, uri: Uri, name: &str) -> Answer<Response> {
    let asked = Asked { page: name.to_owned(), ..query(&uri)? };
    app.live.asked_for(name);
    let snapshot = app.live.now().await?;
    let region = region(&asked, &snapshot, &viewer).unwrap_or_default();
    let live = match asked.range {
        Some(range) => format!("/live?page={name}&range={range}"),
        None => format!("/live?page={name}"),
    };
    Ok(frame::Frame::new(&viewer, &uri, name).live(&live).charts(name == "overview").page(&region))
}

/// Regions that were made of the newest snapshot: page, range, and whether with what acts.
type Made = Mutex<(Option<Arc<Snapshot>>, HashMap<(Asked, bool), Arc<str>>)>;

/// The event for a snapshot, made once for all who watch the same.
fn event(asked: &Asked, seen: &Seen, viewer: &Viewer) -> Option<Bytes> {
    static MADE: std::sync::LazyLock<Made> = std::sync::LazyLock::new(Mutex::default);
    let (kind, data) = match seen {
        Seen::Nothing => return None,
        Seen::Away(reason) => ("away", serde_json::json!(reason).to_string().into()),
        Seen::Now(snapshot) => {
            let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
            if !made.0.as_ref().is_some_and(|of| Arc::ptr_eq(of, snapshot)) {
                *made = (Some(snapshot.clone()), HashMap::new());
            }
            let key = (asked.clone(), viewer.may_act());
            let known = made.1.get(&key).cloned();
            let data = match known {
                Some(data) => data,
                None => {
                    // Forms keep the secret of the page that they are in: the script leaves hidden fields as they are.
                    let nobody = Viewer { csrf: String::new(), ..viewer.clone() };
                    let html = region(asked, snapshot, &nobody)?.into_string();
                    let data: Arc<str> = serde_json::json!(html).to_string().into();
                    made.1.insert(key, data.clone());
                    data
                }
            };
            ("page", data)
        }
    };
    Some(Bytes::from(format!("event: {kind}\ndata: {data}\n\n")))
}

/// One job or request on its way: read for each who watches it, once for each snapshot, until it has ended.
struct Detail {
    id: i64,
    last: String,
    ended: bool,
}

impl Detail {
    /// The event, where there is something new of it. The last one has a name, by which a browser that asks again tells that it has it.
    async fn event(&mut self, app: &App, page: &str, viewer: &Viewer) -> Option<Bytes> {
        let read = match page {
            "job" => app.data.job(self.id).await,
            _ => app.data.request(self.id, viewer.may_act()).await,
        };
        let html = match (page, read) {
            (_, Err(e)) if e.kind() == ErrorKind::NotFound => {
                self.ended = true;
                let how = html! { "It was deleted, or went with the segment that it was in." };
                parts::empty("It is no longer here.", &how)
            }
            (_, Err(_)) => return None,
            ("job", Ok(job)) => {
                self.ended = job::ended(&job);
                job::region(&job, viewer, viewer.may_act())
            }
            (_, Ok(request)) => {
                self.ended = requests::ended(&request);
                requests::one(&request, viewer, viewer.may_act())
            }
        };
        let html = html.into_string();
        if html == self.last && !self.ended {
            return None;
        }
        let name = if self.ended { format!("id: {OVER}\n") } else { String::new() };
        let event = Bytes::from(format!("{name}event: page\ndata: {}\n\n", serde_json::json!(html)));
        self.last = html;
        Some(event)
    }
}

/// Who watches: what comes, a place among those who may, and what is watched if it is one thing.
type Watching = (watch::Receiver<Seen>, OwnedSemaphorePermit, Option<Detail>);

/// Server-sent events: a live page's region, as often as there is a new one.
async fn watch_page(State(app): Shared, viewer: Viewer, uri: Uri, headers: HeaderMap) -> Answer<Response> {
    static PLACES: std::sync::LazyLock<Arc<Semaphore>> =
        std::sync::LazyLock::new(|| Arc::new(Semaphore::new(WATCHERS)));
    let asked: Asked = query(&uri)?;
    if headers.get("last-event-id").is_some_and(|id| id == OVER) {
        // By this a browser asks no more.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let place = PLACES.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many watch already"))?;
    let one = asked.id.filter(|_| ["job", "request"].contains(&asked.page.as_str()));
    let detail = one.map(|id| Detail { id, last: String::new(), ended: false });
    let state = ((app.live.watched(), place, detail), app);
    let end = Instant::now() + WATCH;
    let events = unfold(state, move |((mut seen, place, mut detail), app): (Watching, Arc<App>)| {
        let (asked, viewer) = (asked.clone(), viewer.clone());
        async move {
            if detail.as_ref().is_some_and(|detail| detail.ended) {
                return None;
            }
            loop {
                app.live.asked_for(&asked.page);
                timeout_at(end, seen.changed()).await.ok()?.ok()?;
                let newest = seen.borrow_and_update().clone();
                let event = match (&mut detail, &newest) {
                    (Some(detail), Seen::Now(_)) => {
                        timeout_at(end, detail.event(&app, &asked.page, &viewer)).await.ok()?
                    }
                    _ => event(&asked, &newest, &viewer),
                };
                if let Some(bytes) = event {
                    return Some((Ok::<_, std::convert::Infallible>(bytes), ((seen, place, detail), app)));
                }
            }
        }
    });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response())
}
