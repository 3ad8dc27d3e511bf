//! The description of the API, by OpenAPI 3.1, made from a table of its paths; and the same as a page, `docs/http-api.md`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{answers, api, flow::POINTS};

/// Path, method, what it does, its parameters (`limit` and `cursor` where it is a page), the body's schema, and what it answers
/// (see `answers.rs`; nothing: events).
type Operation =
    (&'static str, &'static str, &'static str, &'static [&'static str], &'static str, &'static str);

const PATHS: [Operation; 31] = [
    (
        "/api/v1/overview",
        "get",
        "Everything that flows and waits, at one moment; what flowed, in the order of time",
        &["points"],
        "",
        "Overview",
    ),
    (
        "/api/v1/queues",
        "get",
        "Queues with their jobs by state, and what flows: null until there were two looks, half a second apart",
        &[],
        "",
        "[QueueNow]",
    ),
    ("/api/v1/schedules", "get", "Schedules with their next and last time", &[], "", "[Schedule]"),
    ("/api/v1/streams", "get", "Streams", &[], "", "[StreamNow]"),
    (
        "/api/v1/consumers",
        "get",
        "Consumers of streams, and how far behind they are",
        &[],
        "",
        "[ConsumerNow]",
    ),
    (
        "/api/v1/channels",
        "get",
        "Channels, their responders, and what became of the newest requests",
        &[],
        "",
        "[Channel]",
    ),
    ("/api/v1/topics", "get", "Topics, and what their ring holds", &[], "", "[Topic]"),
    (
        "/api/v1/subscriptions",
        "get",
        "Who listens on what; which are active, and since when",
        &[],
        "",
        "[Subscription]",
    ),
    (
        "/api/v1/leases",
        "get",
        "Leases: who holds them, since when, with which fence; who waits",
        &[],
        "",
        "[Lease]",
    ),
    ("/api/v1/processes", "get", "Processes that are here", &[], "", "[Process]"),
    (
        "/api/v1/jobs",
        "get",
        "Jobs, the newest first; fewer than `limit`, with a `next` and `looked_back_to`, where looking for them took a tenth of a second",
        &["queue", "state", "kind", "key", "payload", "text", "since", "until", "limit", "cursor"],
        "",
        "[JobListed]",
    ),
    ("/api/v1/jobs", "post", "Push a job", &[], "Job", "Made"),
    (
        "/api/v1/jobs/{id}",
        "get",
        "A job with all that is known of it; without payload for a reader",
        &[],
        "",
        "JobShown",
    ),
    (
        "/api/v1/dead",
        "get",
        "Dead jobs in groups, by error, the largest first",
        &["queue", "limit", "cursor"],
        "",
        "[DeadJobs]",
    ),
    (
        "/api/v1/requests",
        "get",
        "Requests, the newest first",
        &["channel", "limit", "cursor"],
        "",
        "[RequestListed]",
    ),
    ("/api/v1/requests", "post", "Send a request without a reply", &[], "Request", "Made"),
    (
        "/api/v1/requests/{id}",
        "get",
        "A request and its reply; without payloads for a reader",
        &[],
        "",
        "RequestShown",
    ),
    ("/api/v1/streams/{stream}/events", "post", "Append an event", &[], "Event", "Made"),
    (
        "/api/v1/streams/{stream}/consumers/{consumer}/dead",
        "get",
        "Dead letters of a consumer, by id; without payloads for a reader",
        &["limit", "cursor"],
        "",
        "[Letter]",
    ),
    (
        "/api/v1/streams/{stream}/moves",
        "get",
        "Who moved consumers of a stream, the newest first",
        &["limit", "cursor"],
        "",
        "[Move]",
    ),
    ("/api/v1/findings", "get", "What endangers messages here, and what mends it", &[], "", "[Finding]"),
    ("/api/v1/actions", "get", "What operators did, the newest first", &["limit", "cursor"], "", "[Noted]"),
    (
        "/api/v1/actions",
        "post",
        "Act: retry, cancel, delete, pause, resume, seek, reveal, peek …, and have it noted",
        &[],
        "Action",
        "Done",
    ),
    (
        "/api/v1/calls",
        "post",
        "Call a service, and wait for its reply; a client that goes away cancels it",
        &[],
        "Call",
        "Reply",
    ),
    (
        "/api/v1/topics/{topic}/messages",
        "get",
        "Hear a topic, or with wildcards many, by server-sent events: connected, message, gap, lost, error, end; for an hour",
        &["kind"],
        "",
        "",
    ),
    (
        "/api/v1/topics/{topic}/messages",
        "post",
        "Publish a message; its id, or null for a channel",
        &[],
        "Message",
        "Published",
    ),
    (
        "/api/v1/streams/{stream}/consumers/{consumer}",
        "post",
        "Register a consumer; whether it is new",
        &[],
        "Consumer",
        "Registered",
    ),
    (
        "/api/v1/streams/{stream}/consumers/{consumer}/batches",
        "post",
        "The next batch with its events, or the one in hand again with a new token; batch is null when there is nothing now",
        &[],
        "Next",
        "Batch",
    ),
    (
        "/api/v1/batches/{batch}/finish",
        "post",
        "Finish a batch; 409 when it was handed to another (TL001), or was finished by this same token (TL017)",
        &[],
        "Finish",
        "Finished",
    ),
    ("/livez", "get", "Whether this process answers; `/healthz` is the same", &[], "", "Live"),
    ("/readyz", "get", "Whether the database answers too", &[], "", "Ready"),
];

pub(crate) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (path, method, summary, query, body, answer) in PATHS {
        let mut parameters: Vec<Value> = path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
            .map(|(name, _)| json!({ "name": name, "in": "path", "required": true, "schema": parameter(path, name) }))
            .collect();
        parameters.extend(
            query.iter().map(|name| json!({ "name": name, "in": "query", "schema": parameter(path, name) })),
        );
        let mut operation = json!({ "summary": summary, "parameters": parameters, "responses": responses(path, body, answer) });
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
            "schemas": all_schemas(),
        }
    })
}

/// A body: the fields that it must have, and those that it may have.
fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let all: Map<String, Value> =
        required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": names, "additionalProperties": false, "properties": all })
}

fn text(what: &str) -> Value {
    json!({ "type": "string", "description": what })
}

/// What a name is made of, as `_check_name` has it; the API takes no other.
const NAME: &str = "[a-z0-9][a-z0-9_.-]{0,47}";

fn name(what: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^{NAME}$"), "description": what })
}

pub(super) fn number() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{1,18}$" })
}

/// Those of bodies, and those of answers.
fn all_schemas() -> Value {
    let mut all = answers::schemas();
    all.extend(schemas().as_object().into_iter().flatten().map(|(name, s)| (name.clone(), s.clone())));
    Value::Object(all)
}

fn schemas() -> Value {
    let payload = (
        "payload",
        json!({ "type": "string", "pattern": "^[^\\u0000]*$", "description": "At most 1 MiB, unless declared otherwise" }),
    );
    let kind = ("kind", text("The type of it, for who handles it"));
    let key = ("key", text("What has the same key keeps its order, where that was asked for"));
    let headers = json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": "Names and their values" });
    let idempotent = (
        "idempotent",
        json!({ "type": "boolean", "description": "It may run twice: when its responder dies another one gets it" }),
    );
    let again = object(
        &[("id", text("Of an event of the batch"))],
        &[
            (
                "after_seconds",
                json!({ "type": "number", "minimum": 0, "maximum": 31_536_000, "description": "It comes again then; without it, it becomes a dead letter" }),
            ),
            ("cause", text("Why")),
        ],
    );
    json!({
        "Job": object(&[("queue", name("The queue")), payload.clone()], &[
            kind.clone(),
            key.clone(),
            ("unique_key", text("While a job with it waits or runs nothing is pushed, and its id comes back")),
            ("priority", json!({ "type": "integer", "minimum": 1, "maximum": 9, "description": "1 is first; 5" })),
            ("max_attempts", json!({ "type": "integer", "minimum": 1, "maximum": 10_000, "description": "Else the queue's" })),
            ("headers", headers.clone()),
            ("run_at", json!({ "type": "string", "format": "date-time", "description": "It does not begin before" })),
            ("delay_seconds", json!({ "type": "number", "minimum": 0, "maximum": api::LONGEST_DELAY, "description": "The same, from now on" })),
            ("options", json!({ "type": "object", "description": "ttl, unique_payload, unique_while, unique_for, on_conflict, as job_push has them" })),
        ]),
        "Request": object(&[("channel", name("The channel")), payload.clone()], &[
            kind.clone(),
            ("headers", headers.clone()),
            ("timeout_ms", json!({ "type": "integer", "minimum": 1, "maximum": 604_800_000, "description": "How long it may wait and be handled; 30000" })),
            idempotent.clone(),
        ]),
        "Event": object(std::slice::from_ref(&payload), &[kind.clone(), key, ("headers", headers.clone())]),
        "Call": object(&[("channel", json!({ "type": "string", "pattern": format!("^(@[0-9a-f-]{{36}}|{NAME})$"),
            "description": "The channel, or @ and the address of one session" })), payload.clone()], &[
            kind,
            ("headers", headers.clone()),
            ("timeout_ms", json!({ "type": "integer", "minimum": 1, "maximum": 10_000, "description": "How long to wait for the outcome; 5000" })),
            idempotent,
        ]),
        "Message": object(&[payload], &[
            ("headers", headers),
            ("message_id", text("An id of the sender's choice, at most 100 bytes")),
            ("kind", json!({ "type": "string", "enum": ["volatile", "durable", "channel"], "description": "channel for the plain PostgreSQL channel; else as it was declared" })),
        ]),
        "Consumer": object(&[], &[("at", text("Where it begins: end, beginning, tick:N, like:OTHER, or a time; end"))]),
        "Next": object(&[], &[
            ("max", json!({ "type": "integer", "minimum": 1, "maximum": 1000, "description": "At most so many events; 100" })),
            ("member", text("Tells those apart who share the consumer")),
            ("mode", json!({ "type": "string", "enum": ["fail", "share", "take"], "description": "While another member holds the batch: fail with 409, share takes another one beside it, take takes it over; fail" })),
        ]),
        "Finish": object(&[], &[("retry", json!({ "type": "array", "items": again, "description": "What comes again, or becomes a dead letter; all else is done" }))]),
        "Action": object(&[("action", json!({ "type": "string", "enum": crate::dashboard::actions(), "description": "What to do" })), ("target", json!({ "type": "object", "description": "To what: its arguments by name" }))], &[]),
        "Problem": { "type": "object", "required": ["status", "title"], "properties": {
            "status": { "type": "integer" }, "title": text("The words for the status"), "detail": text("What is wrong"),
            "code": text("The SQLSTATE, where the database said it"), "request": text("The id of the request that was sent") } }
    })
}

fn parameter(path: &str, name: &str) -> Value {
    match name {
        // Of groups: how many are in the last one, and its newest id.
        "cursor" if path == "/api/v1/dead" => {
            json!({ "type": "string", "pattern": "^[0-9]{1,18}-[0-9]{1,18}$" })
        }
        "points" => {
            json!({ "type": "integer", "minimum": 0, "maximum": POINTS, "description": "So many of the newest points of the charts, one a second while somebody looks" })
        }
        "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 1000 }),
        "state" => {
            json!({ "type": "string", "enum": ["waiting", "scheduled", "running", "retrying", "done", "dead", "cancelled"] })
        }
        "kind" => json!({ "type": "string", "maxLength": 100 }),
        "payload" => json!({ "type": "string", "description": "JSON that the payload contains" }),
        "text" => json!({ "type": "string", "description": "Characters that are a part of the payload" }),
        "since" | "until" => {
            json!({ "type": "string", "description": "Pushed then or later, or before: a time, or so long ago, such as 15m" })
        }
        "queue" | "channel" | "stream" | "consumer" => {
            json!({ "type": "string", "pattern": format!("^{NAME}$") })
        }
        "id" | "cursor" => number(),
        _ => json!({ "type": "string" }),
    }
}

fn responses(path: &str, body: &str, answer: &str) -> Value {
    let problem = json!({ "description": "A problem", "content": { "application/problem+json": {
        "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let (kind, schema) = match answer {
        "" => ("text/event-stream", json!({ "type": "string" })),
        thing => ("application/json", answers::answer(thing)),
    };
    let fine = json!({ "description": "What was asked for", "content": { kind: { "schema": schema } } });
    let makes = ["Job", "Request", "Event", "Message", "Consumer"].contains(&body);
    let good = if makes { "201" } else { "200" };
    let mut all =
        json!({ good: fine.clone(), "400": problem, "401": problem, "403": problem, "503": problem });
    if path.starts_with("/api/") {
        for status in ["404", "408", "409", "413", "415", "421", "429", "507"] {
            all[status] = problem.clone();
        }
    }
    if answer == "Ready" {
        all["503"] = fine;
    }
    if ["Call", "Request"].contains(&body) {
        for status in ["502", "504"] {
            all[status] = problem.clone();
        }
    }
    all
}

/// The page `docs/http-api.md`: every path of the document, with its parameters, its body and what it answers.
pub(crate) fn page() -> String {
    let document = document();
    let mut out = String::from(
        "# The HTTP API\n\n\
         Written by `trunkline openapi --markdown`, from the same table as `/api/v1/openapi.json`. Who may, tokens and limits: [the dashboard](dashboard.md).\n\n\
         Ids are strings. Lists hold `items` and `next`, the `cursor` of what follows. Errors are `application/problem+json`: `status`, `title`,\n\
         `detail`, and `code`, the SQLSTATE, where the database said it. A body is `application/json`; a field that is not known is refused. A\n\
         reader gets 403 wherever something is sent, changed, heard, or looked for in payloads, and sees no payload but by the actions that reveal or\n\
         peek, which are noted. Every path may answer 400, 401, 403, 421, 429 and 503.\n",
    );
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            let _ = write!(out, "\n## {} {path}\n\n{summary}.\n", method.to_uppercase());
            described(&mut out, operation, &document);
        }
    }
    answers::page(&mut out);
    out
}

fn described(out: &mut String, operation: &Value, document: &Value) {
    let mut rows = Vec::new();
    for p in operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query") {
        let what = p["schema"]["description"].as_str().map_or(String::new(), |d| format!(". {d}"));
        rows.push(format!("`?{}=`: {}{what}", p["name"].as_str().unwrap_or_default(), shape(&p["schema"])));
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    if let Some(schema) = body.as_str().and_then(|at| document.pointer(at.trim_start_matches('#'))) {
        fields(&mut rows, schema, "");
    }
    if !rows.is_empty() {
        let _ = write!(out, "\n- {}\n", rows.join("\n- "));
    }
    let responses = operation["responses"].as_object().into_iter().flatten();
    let told = responses
        .filter(|(status, _)| status.starts_with('2'))
        .map(|(_, r)| &r["content"]["application/json"]["schema"]);
    for schema in told {
        match (thing(schema), thing(&schema["properties"]["items"]["items"])) {
            (Some(name), _) => _ = write!(out, "\nAnswer: {name}.\n"),
            (_, Some(name)) => _ = write!(out, "\nAnswer: a list of {name}.\n"),
            _ => {}
        }
    }
}

/// The name of what a reference leads to.
fn thing(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn fields(rows: &mut Vec<String>, schema: &Value, of: &str) {
    let required = schema["required"].as_array();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let must = required.is_some_and(|all| all.iter().any(|r| r == name));
        let what = field["description"].as_str().map_or(String::new(), |d| format!(". {d}"));
        let needed = if must { ", needed" } else { "" };
        rows.push(format!("`{of}{name}`: {}{needed}{what}", shape(field)));
        if field["items"].is_object() {
            fields(rows, &field["items"], &format!("{of}{name}[]."));
        }
    }
}

/// What a value looks like, in words.
fn shape(schema: &Value) -> String {
    let words: Vec<&str> =
        schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    let kind = schema["type"].as_str().unwrap_or("string");
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Number(from), Value::Number(to)) => format!("{kind} from {from} to {to}"),
        _ => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let at = part.split('"').next().unwrap();
            assert!(document.pointer(at).is_some(), "{at}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(text.contains(&format!("#/components/schemas/{name}\"")), "{name}");
        }
    }
}
