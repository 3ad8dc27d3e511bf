//! What this process sent and handled, counted and timed by its spans: the metrics of OpenTelemetry's conventions for messaging.
//!
//! Source: semantic conventions for messaging metrics, 1.42.

use std::{fmt::Debug, time::Instant};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// From a millisecond's half to what nobody waits for, as the conventions advise and finer below.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// A layer that sees spans end.
pub(super) struct Measures {
    sent: Counter<u64>,
    sending: Histogram<f64>,
    consumed: Counter<u64>,
    processing: Histogram<f64>,
}

impl Measures {
    pub(super) fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit("{message}").with_description(what).build()
        };
        let histogram = |name: &'static str, what: &'static str| {
            let bounds = SECONDS.to_vec();
            meter.f64_histogram(name).with_unit("s").with_description(what).with_boundaries(bounds).build()
        };
        Self {
            sent: counter("messaging.client.sent.messages", "Messages that were sent, or tried to be."),
            sending: histogram("messaging.client.operation.duration", "How long sending took."),
            consumed: counter("messaging.client.consumed.messages", "Messages that were handled."),
            processing: histogram("messaging.process.duration", "How long handling took."),
        }
    }
}

/// What a span told of itself so far.
struct Told {
    begun: Instant,
    operation: String,
    kind: String,
    to: String,
    group: Option<String>,
    error: Option<String>,
    many: u64,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "messaging.operation.name" => value.clone_into(&mut self.operation),
            "messaging.operation.type" => value.clone_into(&mut self.kind),
            // The address of a process is no name: series would be as many as processes were.
            "messaging.destination.name" => {
                if value.starts_with('@') { "@" } else { value }.clone_into(&mut self.to);
            }
            "messaging.consumer.group.name" => self.group = Some(value.to_owned()),
            "error.type" => self.error = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "messaging.batch.message_count" {
            self.many = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Told {
    fn labels(self) -> Vec<KeyValue> {
        let mut labels = vec![
            KeyValue::new("messaging.system", "trunkline"),
            KeyValue::new("messaging.operation.name", self.operation),
            KeyValue::new("messaging.destination.name", self.to),
        ];
        labels.extend(self.group.map(|group| KeyValue::new("messaging.consumer.group.name", group)));
        labels.extend(self.error.map(|error| KeyValue::new("error.type", error)));
        labels
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Measures {
    fn on_new_span(&self, fields: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut told = Told {
            begun: Instant::now(),
            operation: String::new(),
            kind: String::new(),
            to: String::new(),
            group: None,
            error: None,
            many: 1,
        };
        fields.record(&mut told);
        // Of another kind are calls of the API, and what a command does as a whole.
        if let (Some(span), "send" | "process") = (context.span(id), told.kind.as_str()) {
            span.extensions_mut().insert(told);
        }
    }

    fn on_record(&self, id: &Id, fields: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(told) = span.extensions_mut().get_mut::<Told>()
        {
            fields.record(told);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(told) = context.span(&id).and_then(|span| span.extensions_mut().remove::<Told>()) else {
            return;
        };
        let (took, many, sent) = (told.begun.elapsed().as_secs_f64(), told.many, told.kind == "send");
        let labels = told.labels();
        if sent {
            self.sent.add(many, &labels);
            self.sending.record(took, &labels);
        } else {
            self.consumed.add(many, &labels);
            self.processing.record(took, &labels);
        }
    }
}
