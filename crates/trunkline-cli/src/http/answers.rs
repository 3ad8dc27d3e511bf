//! What the API answers: each thing with its fields, as schemas of the document and as a part of `docs/http-api.md`.
//!
//! A field is its name, a colon and its type: a word of [`schema_of`], the name of another thing, or one of these in brackets, for many.
//! `?`: it may be null. `~`: it may be missing.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

const THINGS: [(&str, &str); 32] = [
    (
        "Overview",
        "at:number queues:[QueueNow] streams:[StreamNow] consumers:[ConsumerNow] channels:[Channel] sessions:[Process] \
         schedules:[Schedule] leases:[Lease] subscriptions:[Subscription] topics:[Topic]? published:integer? rings:[Ring] \
         notify:number server:text database:text per_second:Flow? points:[Flow]",
    ),
    (
        "Flow",
        "at:number pushed:number ended:number dead:number appended:number finished:number dead_letters:number sent:number \
         answered:number failed:number published:number gaps:number",
    ),
    ("Ring", "ring:text segment:integer filled:boolean turned_at:time? bytes:integer"),
    (
        "QueueNow",
        "queue:text durable:boolean paused_at:time? waiting:integer scheduled:integer running:integer retrying:integer \
         done:integer dead:integer cancelled:integer oldest:number? max_running:integer max_attempts:integer \
         held_counted_at:time? limits:object? pushed_per_second:number? ended_per_second:number?",
    ),
    (
        "Schedule",
        "name:text queue:text cron:text zone:text missed:text kind:text? key:text? priority:integer? max_attempts:integer? \
         paused_at:time? next_at:time? last_at:time? last_job:id? fires:integer error:text? made_at:time",
    ),
    (
        "StreamNow",
        "stream:text events:integer uncovered:integer segment_bytes:[integer] segment:integer ticks_per_second:number? \
         last_tick:id? last_tick_age:number? consumers:integer furthest_behind:text? lag:number? slow:[text]? closed:boolean \
         tick_mode:text limited_by:text?",
    ),
    (
        "ConsumerNow",
        "stream:text consumer:text role:text tick:id backlog:integer? estimate:integer? lag:number? in_hand:integer? \
         held_since:time? session:integer? member:text? alive:boolean? coming_again:integer dead:integer last_seen:time? \
         slow_since:time?",
    ),
    (
        "Channel",
        "channel:text durable:boolean responders:integer waiting:integer taken:integer ok:integer failed:integer \
         timed_out:integer cancelled:integer lost:integer sent_per_second:number? ended_per_second:number? \
         failed_per_second:number? p50:number? p95:number? p99:number? oldest:number?",
    ),
    (
        "Topic",
        "topic:text kind:text max_bytes:integer? subscriptions:integer messages:integer? last_at:time? made_at:time?",
    ),
    (
        "Subscription",
        "topics:[text] kind:text name:text? single:boolean active:boolean fence:integer? since:time? made_at:time session:integer \
         address:text application:text role:text gaps:integer gap_at:time?",
    ),
    (
        "Lease",
        "name:text fence:integer held_by:text? since:time? expires_at:time? seen_at:time? resign_asked:boolean? progress:text? \
         waiting:integer waiters:[Waiter]?",
    ),
    ("Waiter", "turn:integer held_by:text? since:time"),
    (
        "Process",
        "id:id address:text application:text role:text pid:integer? host:text? opened_at:time expires_at:time alive:boolean \
         watched:boolean serves:[text] jobs:integer batches:[text] version:text? queues:[text] listens:[text] \
         seen_at:time",
    ),
    (
        "JobListed",
        "id:id queue_name:text job_kind:text job_state:text priority:integer job_key:text? attempt:integer max_attempts:integer \
         pushed_at:time due_at:time? begun_at:time? ended_at:time? worker:text? error:text?",
    ),
    (
        "JobShown",
        "job_id:id queue:text kind:text state:text priority:integer key:text? unique_key:text? attempt:integer \
         max_attempts:integer pushed_at:time due_at:time? begun_at:time? ended_at:time? worker:text? payload:text? bytes:integer? \
         base64:text? headers:object? errors:[object]? result:text? progress:integer? progress_message:text? progress_at:time?",
    ),
    (
        "DeadJobs",
        "queue_name:text job_kind:text cause:text many:integer first_at:time last_at:time last_id:id error:text?",
    ),
    (
        "RequestListed",
        "id:id destination:text type:text state:text sent_at:time expires_at:time bytes:integer attempt:integer? responder:text?",
    ),
    (
        "RequestShown",
        "id:id destination:text type:text state:text sent_at:time expires_at:time ended_at:time? role:text durable:boolean \
         one_way:boolean idempotent:boolean headers:object? bytes:integer attempt:integer? responder:text? code:text? \
         reply_bytes:integer? payload:text? reply:text?",
    ),
    (
        "Letter",
        "id:id died_at:time attempts:integer cause:text? at:time? type:text? key:text? payload:text? headers:object?",
    ),
    ("Move", "id:id moved_at:time stream:text consumer:text role:text from_tick:id? to_tick:id?"),
    ("Finding", "check:text level:text object:text? finding:text consequence:text remedy:text"),
    (
        "Noted",
        "id:id at:time who:text role:text action:text target:object state_before:object? state_after:object? result:any",
    ),
    ("Done", "result:any"),
    ("Made", "id:id"),
    ("Published", "id:id?"),
    ("Registered", "created:boolean"),
    ("Reply", "id:id headers:object payload:text~ base64:text~"),
    ("Batch", "batch:text? first_tick:id~ last_tick:id~ attempt:integer~ events:[EventRead]"),
    (
        "EventRead",
        "id:id at:time type:text? key:text? payload:text? base64:text~ headers:object? attempt:integer",
    ),
    ("Finished", "finished:boolean"),
    ("Live", "live:boolean"),
    ("Ready", "ready:boolean reason:text~"),
];

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schema of a type, which may be null if it says so.
fn typed(word: &str) -> Value {
    let Some(word) = word.strip_suffix('?') else { return schema_of(word) };
    let mut schema = schema_of(word);
    match schema.get("type").cloned() {
        Some(kind) => schema["type"] = json!([kind, "null"]),
        None => schema = json!({ "anyOf": [schema, { "type": "null" }] }),
    }
    schema
}

/// The schema of a word.
fn schema_of(word: &str) -> Value {
    match word {
        "any" => json!({}),
        "text" => json!({ "type": "string" }),
        "id" => super::openapi::number(),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "integer" | "number" | "boolean" | "object" => json!({ "type": word }),
        many if many.starts_with('[') => {
            json!({ "type": "array", "items": schema_of(many.trim_matches(['[', ']'])) })
        }
        thing => reference(thing),
    }
}

fn fields(of: &str) -> impl Iterator<Item = (&str, &str, bool)> {
    of.split_whitespace().filter_map(|field| {
        let (name, word) = field.split_once(':')?;
        Some((name, word.trim_end_matches('~'), word.ends_with('~')))
    })
}

/// All things that are answered, by name.
pub(super) fn schemas() -> Map<String, Value> {
    let schema = |of: &str| {
        let properties: Map<String, Value> =
            fields(of).map(|(name, word, _)| (name.to_owned(), typed(word))).collect();
        let required: Vec<&str> =
            fields(of).filter(|(.., missing)| !missing).map(|(name, ..)| name).collect();
        json!({ "type": "object", "required": required, "properties": properties })
    };
    THINGS.iter().map(|(name, of)| ((*name).to_owned(), schema(of))).collect()
}

/// What a path answers: a thing, or a page of things where it is in brackets.
pub(super) fn answer(word: &str) -> Value {
    if !word.starts_with('[') {
        return reference(word);
    }
    let mut page = json!({ "type": "object", "required": ["items", "next"], "properties": {
        "items": schema_of(word), "next": { "type": ["string", "null"] } } });
    if word == "[JobListed]" {
        page["properties"]["looked_back_to"] = typed("time?");
    }
    page
}

/// The same for people.
pub(super) fn page(out: &mut String) {
    out.push_str("\n## What is answered\n\nTimes are RFC 3339, ids digits, spans seconds (p50, p95, p99: milliseconds). In brackets: many. `?`: it may be null; `~`: it may be missing.\n");
    for (name, of) in THINGS {
        let all: Vec<String> = fields(of)
            .map(|(name, word, missing)| format!("`{name}` {word}{}", if missing { "~" } else { "" }))
            .collect();
        let _ = write!(out, "\n- **{name}**: {}", all.join(", "));
    }
    out.push('\n');
}
