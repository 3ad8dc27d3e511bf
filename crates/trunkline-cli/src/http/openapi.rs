//! The description of the API, by OpenAPI 3.1, made from a table of its paths.

use serde_json::{Map, Value, json};

/// Path, method, what it does, its parameters (`limit` and `cursor` where it is a page), and the body's schema.
const PATHS: [(&str, &str, &str, &[&str], &str); 21] = [
    ("/api/v1/overview", "get", "Everything that flows and waits, at one moment", &[], ""),
    ("/api/v1/queues", "get", "Queues with their jobs by state", &[], ""),
    ("/api/v1/schedules", "get", "Schedules with their next and last time", &[], ""),
    ("/api/v1/streams", "get", "Streams", &[], ""),
    ("/api/v1/consumers", "get", "Consumers of streams, and how far behind they are", &[], ""),
    (
        "/api/v1/channels",
        "get",
        "Channels, their responders, and what became of the newest requests",
        &[],
        "",
    ),
    ("/api/v1/processes", "get", "Processes that are here", &[], ""),
    (
        "/api/v1/jobs",
        "get",
        "Jobs, the newest first",
        &["queue", "state", "kind", "key", "payload", "limit", "cursor"],
        "",
    ),
    ("/api/v1/jobs", "post", "Push a job", &[], "Job"),
    ("/api/v1/jobs/{id}", "get", "A job with all that is known of it; without payload for a reader", &[], ""),
    ("/api/v1/dead", "get", "Dead jobs in groups, by error", &["queue"], ""),
    ("/api/v1/requests", "get", "Requests, the newest first", &["channel", "limit"], ""),
    ("/api/v1/requests", "post", "Send a request without a reply", &[], "Request"),
    ("/api/v1/requests/{id}", "get", "A request", &[], ""),
    ("/api/v1/streams/{stream}/events", "post", "Append an event", &[], "Event"),
    ("/api/v1/streams/{stream}/consumers/{consumer}/dead", "get", "Dead letters of a consumer", &[], ""),
    ("/api/v1/findings", "get", "What endangers messages here, and what mends it", &[], ""),
    ("/api/v1/actions", "get", "What operators did, the newest first", &["limit", "cursor"], ""),
    (
        "/api/v1/actions",
        "post",
        "Act: retry, cancel, delete, pause, resume, seek …, and have it noted",
        &[],
        "Action",
    ),
    ("/livez", "get", "Whether this process answers", &[], ""),
    ("/readyz", "get", "Whether the database answers too", &[], ""),
];

pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (path, method, summary, query, body) in PATHS {
        let mut parameters: Vec<Value> = path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
            .map(|(name, _)| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        parameters.extend(
            query.iter().map(|name| json!({ "name": name, "in": "query", "schema": parameter(name) })),
        );
        let mut operation =
            json!({ "summary": summary, "parameters": parameters, "responses": responses(path, body) });
        if !body.is_empty() {
            let schema = json!({ "$ref": format!("#/components/schemas/{body}") });
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "trunkline", "version": env!("CARGO_PKG_VERSION"),
                  "description": "Ids are strings. Lists hold `items` and `next`, the cursor of what follows." },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Job": message("queue", true), "Request": message("channel", false), "Event": message("", true),
                "Action": { "type": "object", "required": ["action", "target"], "additionalProperties": false, "properties": {
                    "action": { "type": "string" }, "target": { "type": "object" } } },
                "Problem": { "type": "object", "required": ["status", "title"], "properties": {
                    "status": { "type": "integer" }, "title": { "type": "string" }, "detail": { "type": "string" },
                    "code": { "type": "string", "description": "The SQLSTATE, where the database said it" } } }
            }
        }
    })
}

fn parameter(name: &str) -> Value {
    match name {
        "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 1000 }),
        "state" => {
            json!({ "type": "string", "enum": ["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"] })
        }
        _ => json!({ "type": "string" }),
    }
}

fn responses(path: &str, body: &str) -> Value {
    let problem = json!({ "description": "A problem", "content": { "application/problem+json": {
        "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let fine = json!({ "description": "What was asked for", "content": { "application/json": { "schema": { "type": "object" } } } });
    let good = if body.is_empty() || body == "Action" { "200" } else { "201" };
    let mut all = json!({ good: fine, "400": problem, "401": problem, "403": problem, "503": problem });
    if path.starts_with("/api/") {
        for status in ["404", "408", "409", "413", "415", "421", "429", "507"] {
            all[status] = problem.clone();
        }
    }
    all
}

fn message(to: &str, keyed: bool) -> Value {
    let text = json!({ "type": "string" });
    let mut properties = json!({ "payload": text, "kind": text });
    let mut required = vec!["payload"];
    if !to.is_empty() {
        properties[to] = text.clone();
        required.push(to);
    }
    if keyed {
        properties["key"] = text;
    }
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}
