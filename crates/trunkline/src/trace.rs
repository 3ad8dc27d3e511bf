//! Spans of messages by OpenTelemetry's conventions for messaging, and one trace from who sends to who handles.
//!
//! ```text
//! your span ─▶ `push mail` (producer) ─▶ header traceparent ─▶ the database ─▶ `process mail` (consumer) ─▶ your handler
//! ```
//!
//! The spans are `tracing`'s, of the target `trunkline::message` and the level INFO: where nobody wants them they cost next to
//! nothing. With the feature `opentelemetry`, and a layer of `tracing-opentelemetry` among the subscriber's, what is sent
//! takes the header `traceparent` along (and `tracestate`, if there is one), and whoever handles it goes on with the trace. A message
//! that has the header already keeps it.
//!
//! Handlers are in such a span by themselves. For what you take by polling make a span of your own, and [`follow`] the headers.
//!
//! Source: W3C Trace Context, level 1; OpenTelemetry's semantic conventions for messaging, 1.42.

use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{Error, ErrorKind, Result, requests::Headers};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Makes a span of your own a part of the trace that a message belongs to, by its headers, before it is entered: false when they name
/// none, when no layer of `tracing-opentelemetry` is there, and without the feature `opentelemetry`.
pub fn follow(span: &Span, headers: &Headers) -> bool {
    w3c::follow(span, headers)
}

/// The current span's place in its trace, as `traceparent` has it, to be handed on by other ways than messages. None without a
/// trace, and without the feature `opentelemetry`.
#[must_use]
pub fn traceparent() -> Option<String> {
    w3c::marks(&Span::current()).map(|(parent, _)| parent)
}

/// Something is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    span: Span,
    marks: Option<(String, Option<String>)>,
}

impl Sending {
    /// The span begins here; `operation` is one word of the API.
    pub(crate) fn new(operation: &'static str, to: &str) -> Self {
        Self::of_kind("producer", operation, to)
    }

    /// The same for what is answered.
    pub(crate) fn asking(operation: &'static str, to: &str) -> Self {
        Self::of_kind("client", operation, to)
    }

    /// Without a span of its own: what is sent belongs to the current one.
    pub(crate) fn plain() -> Self {
        Self { span: Span::none(), marks: w3c::marks(&Span::current()) }
    }

    fn of_kind(kind: &'static str, operation: &'static str, to: &str) -> Self {
        let name = if to.starts_with('@') { "@" } else { to }; // an address is one process's: names of spans are few
        let span = info_span!(
            target: "trunkline::message",
            "send",
            otel.name = format!("{operation} {name}"),
            otel.kind = kind,
            otel.status_code = Empty,
            error.type = Empty,
            messaging.system = "trunkline",
            messaging.operation.name = operation,
            messaging.operation.type = "send",
            messaging.destination.name = to,
            messaging.batch.message_count = Empty,
            messaging.message.id = Empty,
        );
        let marks = if span.is_disabled() { w3c::marks(&Span::current()) } else { w3c::marks(&span) };
        Self { span, marks }
    }

    /// Puts the trace into the headers of what is sent, unless they name one.
    pub(crate) fn mark(&self, headers: &mut Headers) {
        let Some((parent, state)) = &self.marks else { return };
        if headers.contains_key(PARENT) {
            return;
        }
        headers.insert(PARENT.into(), parent.clone());
        if let Some(state) = state {
            headers.insert(STATE.into(), state.clone());
        }
    }

    /// Sends within the span.
    pub(crate) async fn run<T>(&self, sending: impl Future<Output = Result<T>>) -> Result<T> {
        let sent = sending.instrument(self.span.clone()).await;
        if let Err(e) = &sent {
            self.span.record("otel.status_code", "ERROR").record("error.type", e.kind().to_string());
        }
        sent
    }

    /// The same for one message, of which the id comes back.
    pub(crate) async fn one(&self, sending: impl Future<Output = Result<Vec<i64>>>) -> Result<i64> {
        let ids = self.run(sending).await?;
        let id = ids.first().copied().ok_or_else(|| Error::new(ErrorKind::Other, "no id came back"))?;
        self.span.record("messaging.message.id", id.to_string());
        Ok(id)
    }

    /// The same for many of which only the number comes back.
    pub(crate) async fn load(&self, sending: impl Future<Output = Result<u64>>) -> Result<u64> {
        let count = Box::pin(self.run(sending)).await?;
        self.span.record("messaging.batch.message_count", count);
        Ok(count)
    }

    /// The same for many.
    pub(crate) async fn many(&self, sending: impl Future<Output = Result<Vec<i64>>>) -> Result<Vec<i64>> {
        let ids = self.run(sending).await?;
        self.span.record("messaging.batch.message_count", ids.len());
        Ok(ids)
    }
}

/// The span in which a message is handled: its sender's trace goes on in it.
pub(crate) fn processing(from: &str, group: Option<&str>, id: i64, headers: &Headers) -> Span {
    let span = info_span!(
        target: "trunkline::message",
        "process",
        otel.name = format!("process {from}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = "trunkline",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = from,
        messaging.consumer.group.name = group,
        messaging.message.id = id.to_string(),
    );
    if !span.is_disabled() {
        w3c::follow(&span, headers);
    }
    span
}

/// Says how handling failed: the code alone, since messages may tell of payloads.
pub(crate) fn failed(span: &Span, code: &str) {
    span.record("otel.status_code", "ERROR").record("error.type", code);
}

#[cfg(not(feature = "opentelemetry"))]
mod w3c {
    use tracing::Span;

    use crate::requests::Headers;

    pub(super) fn marks(_: &Span) -> Option<(String, Option<String>)> {
        None
    }

    pub(super) fn follow(_: &Span, _: &Headers) -> bool {
        false
    }
}

#[cfg(feature = "opentelemetry")]
mod w3c {
    use opentelemetry::{
        Context,
        trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::{PARENT, STATE};
    use crate::requests::Headers;

    /// Longer ones need not be handed on.
    const MOST_STATE: usize = 512;

    pub(super) fn marks(span: &Span) -> Option<(String, Option<String>)> {
        let context = span.context();
        let place = context.span().span_context().clone();
        if !place.is_valid() {
            return None;
        }
        let (trace, id, flags) = (place.trace_id(), place.span_id(), place.trace_flags().to_u8());
        let state = Some(place.trace_state().header()).filter(|s| (1..=MOST_STATE).contains(&s.len()));
        Some((format!("00-{trace:032x}-{id:016x}-{flags:02x}"), state))
    }

    pub(super) fn follow(span: &Span, headers: &Headers) -> bool {
        let Some(place) = headers.get(PARENT).and_then(|text| read(text, headers.get(STATE))) else {
            return false;
        };
        span.set_parent(Context::new().with_remote_span_context(place)).is_ok()
    }

    /// Of a later version than ours what we know of it counts, as the standard has it.
    fn read(text: &str, state: Option<&String>) -> Option<SpanContext> {
        let mut fields = text.trim().split('-');
        let (version, trace, id, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let hex = |s: &str, len| {
            s.len() == len && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let formed = hex(version, 2) && hex(trace, 32) && hex(id, 16) && hex(flags, 2);
        if !formed || version == "ff" || (version == "00" && fields.next().is_some()) {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let state = state.and_then(|s| s.parse::<TraceState>().ok()).unwrap_or_default();
        let (trace, id) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(id).ok()?);
        Some(SpanContext::new(trace, id, flags, true, state)).filter(SpanContext::is_valid)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_no_traceparent_is_none() {
            let (trace, id) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
            let place = read(&format!("00-{trace}-{id}-01"), None).unwrap();
            assert_eq!((place.trace_id().to_string(), place.is_sampled()), (trace.to_owned(), true));
            assert!(read(&format!("cc-{trace}-{id}-00-what-may-come"), None).is_some());
            let zeros = "0".repeat(32);
            for wrong in [
                String::new(),
                "00-1".into(),
                format!("00-{trace}-{id}"),
                format!("00-{trace}-{id}-01-more"),
                format!("ff-{trace}-{id}-01"),
                format!("00-{}-{id}-01", trace.to_uppercase()),
                format!("00-{zeros}-{id}-01"),
                format!("00-{trace}-{}-01", &zeros[..16]),
                format!("00-{trace}é-{id}-01"),
            ] {
                assert!(read(&wrong, None).is_none(), "{wrong}");
            }
        }
    }
}
