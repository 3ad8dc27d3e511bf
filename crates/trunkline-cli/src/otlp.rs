//! Traces and metrics to a collector by OTLP over HTTP, where one is named.
//!
//! ```text
//! spans of `trunkline::message` ─▶ batches, a thread of their own ────────────▶ POST …/v1/traces
//!          │ how many, how long (`messaging.*`, what this process did)
//!          └──────────────────────────────────────────┬─ once a minute ───────▶ POST …/v1/metrics
//! of the daemon the families of /metrics (`trunkline_*`) ┘
//! ```
//! What cannot be sent is dropped, and said in the log: messages never wait for a collector.

mod measures;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{extract, middleware::Next, response};
use opentelemetry::{
    Key, KeyValue,
    metrics::{AsyncInstrument, MeterProvider as _},
    trace::TracerProvider as _,
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::SdkTracerProvider,
};
use tracing::{Instrument as _, Span, info_span, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};
use trunkline::requests::Headers;

use crate::{
    exit::{Failure, Result},
    http::metrics::Family,
};

/// What spans of messages have as their target; also in the library.
pub(crate) const TARGET: &str = "trunkline::message";
/// How long a collector may take, and how long the end of this process waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(2);

static SENDING: OnceLock<(SdkTracerProvider, SdkMeterProvider)> = OnceLock::new();

/// Sends spans, and what they measure, to this collector from now on.
pub(crate) fn layer<S>(endpoint: &str) -> Result<impl Layer<S> + use<S>>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_endpoint(address(endpoint, "traces"))
        .build()
        .map_err(|e| bad(endpoint, &e))?;
    let traces = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(Client::new())
        .with_endpoint(address(endpoint, "metrics"))
        .build()
        .map_err(|e| bad(endpoint, &e))?;
    let reader = PeriodicReader::builder(exporter).with_interval(Collector::interval()).build();
    let metrics = SdkMeterProvider::builder().with_reader(reader).with_resource(resource()).build();
    let ours = || Targets::new().with_target(TARGET, LevelFilter::INFO);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("trunkline"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(ours())
        .and_then(measures::Measures::new(&metrics.meter("trunkline")).with_filter(ours()));
    let _ = SENDING.set((traces, metrics));
    Ok(layer)
}

/// A span for what this process does, when whoever started it has a trace (`TRACEPARENT`).
pub(crate) fn begun() -> Span {
    let Some(parent) = std::env::var("TRACEPARENT").ok().filter(|_| SENDING.get().is_some()) else {
        return Span::none();
    };
    let span = info_span!(target: "trunkline::message", "trunkline");
    trunkline::trace::follow(&span, &Headers::from([("traceparent".to_owned(), parent)]));
    span
}

/// A call of the JSON API as a span, in which a trace that its header names goes on.
pub(crate) async fn request(request: extract::Request, next: Next) -> response::Response {
    let route = request.extensions().get::<extract::MatchedPath>().map(extract::MatchedPath::as_str);
    let Some(route) = route.filter(|route| route.starts_with("/api/")) else {
        return next.run(request).await;
    };
    let span = info_span!(
        target: "trunkline::message",
        "http",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let named =
            |name: &str| Some((name.to_owned(), request.headers().get(name)?.to_str().ok()?.to_owned()));
        trunkline::trace::follow(
            &span,
            &["traceparent", "tracestate"].into_iter().filter_map(named).collect(),
        );
    }
    let answer = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", answer.status().as_u16());
    answer
}

/// Sends what is left; two seconds are all that spans get, and two what they measured.
pub(crate) fn finish() {
    if let Some((traces, metrics)) = SENDING.get() {
        // The log has why; there is nobody else to tell.
        let _ = traces.shutdown_with_timeout(LAST);
        // Metrics wait for their collector as long as they like: who ends does not.
        let (done, ended) = std::sync::mpsc::channel();
        let metrics = metrics.clone();
        std::thread::spawn(move || done.send(metrics.shutdown()));
        let _ = ended.recv_timeout(LAST);
    }
}

/// Who is sent the families of `/metrics`.
pub(crate) struct Collector {
    provider: SdkMeterProvider,
    /// What instruments there are, and what they tell.
    known: BTreeSet<String>,
    told: Arc<Mutex<BTreeMap<String, Family>>>,
}

impl Collector {
    /// None where no collector is named.
    pub(crate) fn new() -> Option<Self> {
        let (_, metrics) = SENDING.get()?;
        Some(Self { provider: metrics.clone(), known: BTreeSet::new(), told: Arc::default() })
    }

    /// How often to send: `OTEL_METRIC_EXPORT_INTERVAL`, a minute unless told.
    pub(crate) fn interval() -> Duration {
        let ms = std::env::var("OTEL_METRIC_EXPORT_INTERVAL").ok().and_then(|ms| ms.parse().ok());
        Duration::from_millis(ms.filter(|ms| *ms >= 1000).unwrap_or(60_000))
    }

    /// These are sent from now on, and no others that were sent before.
    pub(crate) fn tell(&mut self, families: Vec<Family>) {
        for family in &families {
            if self.known.insert(family.name()) {
                self.register(family);
            }
        }
        *lock(&self.told) = families.into_iter().map(|family| (family.name(), family)).collect();
    }

    /// Sends what was told, at once: else it would go when the next interval of the sender ends.
    pub(crate) async fn send(&self) {
        let provider = self.provider.clone();
        // A collector that is away is told of by the sender itself, and hears it later.
        let _ = tokio::task::spawn_blocking(move || provider.force_flush()).await;
    }

    fn register(&self, family: &Family) {
        let (name, known, told) = (family.name(), family.name(), self.told.clone());
        let meter = self.provider.meter("trunkline");
        let (unit, help) = (family.unit(), family.help);
        let observe = move |observer: &dyn AsyncInstrument<f64>| {
            for (labels, value) in lock(&told).get(&known).into_iter().flat_map(Family::series) {
                let labels: Vec<KeyValue> =
                    labels.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect();
                observer.observe(value, &labels);
            }
        };
        if family.counts() {
            let counter = meter.f64_observable_counter(name).with_description(help).with_unit(unit);
            let _ = counter.with_callback(observe).build();
        } else {
            let gauge = meter.f64_observable_gauge(name).with_description(help).with_unit(unit);
            let _ = gauge.with_callback(observe).build();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What sends this: `OTEL_SERVICE_NAME`, then `OTEL_RESOURCE_ATTRIBUTES`, which the SDK reads, come first.
fn resource() -> Resource {
    let told = Resource::builder().build();
    let known = told.get(&Key::from_static_str("service.name")).map(|name| name.to_string());
    let known = known.filter(|name| !name.is_empty() && !name.starts_with("unknown_service"));
    let named = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let name = named.or(known).unwrap_or_else(|| "trunkline".to_owned());
    Resource::builder().with_service_name(name).build()
}

fn address(endpoint: &str, signal: &str) -> String {
    format!("{}/v1/{signal}", endpoint.trim_end_matches('/'))
}

fn bad(endpoint: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!("--otlp-endpoint {endpoint}: {why}"))
}

/// What POSTs. It blocks: the SDK calls it on threads of its own.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Self(config.into())
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> std::result::Result<Response<Bytes>, HttpError> {
        let mut answer = self.0.run(request.map(|body| body.to_vec()))?;
        let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec()?;
        Ok(answer.map(|_| Bytes::from(body)))
    }
}
