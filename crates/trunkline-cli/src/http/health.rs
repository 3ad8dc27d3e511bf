//! `/livez`: this process answers. `/readyz`: so does the database, with a schema that fits. Without login, and without secrets.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::json;

use super::App;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/livez", get(live)).route("/healthz", get(live)).route("/readyz", get(ready))
}

async fn live() -> impl IntoResponse {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], json!({ "live": true }).to_string())
}

/// 503 with the reason, by its kind alone: names of hosts are nobody's business here.
async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
    let (status, body) = match app.data.ready().await {
        Ok(()) => (StatusCode::OK, json!({ "ready": true })),
        Err(e) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "ready": false, "reason": e.kind().to_string() }))
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string())
}
