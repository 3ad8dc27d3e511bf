//! One trace from who sends to who handles, for each word; with the real layer and SDK, and an exporter that keeps what it gets.

use std::sync::{Arc, LazyLock, Mutex};

use opentelemetry::trace::{SpanId, SpanKind, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::sync::mpsc;
use tracing::{Dispatch, Instrument as _, info_span, subscriber::DefaultGuard};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use trunkline::{
    jobs::{Job, NewJob},
    requests::{Failure, Headers, Request, Serve},
    streams::{Consume, Position},
    topics::{Handlers, Message},
    trace,
};

use crate::support::{Db, until, within};

/// Keeps what it gets.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Kept {
    /// Keeps what happens on this thread from now on, which runs all of the test.
    fn begin() -> (Self, DefaultGuard) {
        // Where there is one subscriber alone, a place that another thread without one comes to first is switched off for all.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&SECOND);
        let kept = Self::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        (kept, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
    }

    /// The span of this name, once it has ended.
    async fn ended(&self, name: &str) -> SpanData {
        until(&format!("the span {name:?}"), async || !self.all(name).is_empty()).await;
        self.all(name).remove(0)
    }

    fn all(&self, name: &str) -> Vec<SpanData> {
        self.0.lock().unwrap().iter().filter(|s| s.name == name).cloned().collect()
    }
}

fn attribute(span: &SpanData, name: &str) -> String {
    let found = span.attributes.iter().find(|a| a.key.as_str() == name);
    found.map_or_else(String::new, |a| a.value.to_string())
}

/// A span is another's child, and both are of one trace.
fn child(of: &SpanData, span: &SpanData) {
    assert_eq!(span.span_context.trace_id(), of.span_context.trace_id(), "{}", span.name);
    assert_eq!(span.parent_span_id, of.span_context.span_id(), "{}", span.name);
}

#[tokio::test]
async fn a_trace_goes_from_who_sends_to_who_handles_by_every_word() {
    let db = Db::new().await;
    let (kept, _guard) = Kept::begin();
    let (here, there) = (db.client("here").await, db.client("there").await);
    let (told, mut inside) = mpsc::unbounded_channel();
    let tell = move |word: &'static str| {
        let parent = trace::traceparent();
        let told = told.clone();
        async move {
            told.send((word, parent)).unwrap();
            Ok::<(), Failure>(())
        }
    };
    here.streams().open("orders").await.unwrap();
    here.streams().register("orders", "c", Position::End).await.unwrap();
    let say = tell.clone();
    let _working = there.jobs().work("mail", move |_: Job| say("jobs"));
    let say = tell.clone();
    let _consuming = there.streams().consume(Consume::new("orders", "c"), move |_| say("streams"));
    let say = tell.clone();
    let _handling = there
        .topics()
        .subscribe("news")
        .await
        .unwrap()
        .handle(Handlers::new().all(move |_: Message| say("topics")));
    let serving = there.requests().serve(Serve::channel("hash"), move |_: Request| {
        let said = tell("requests");
        async move { said.await.map(|()| "done") }
    });
    serving.ready().await.unwrap();
    until("the subscription", async || there.topics().subscriptions().await.unwrap().len() == 1).await;
    let work = async {
        here.jobs().push("mail", "x").await.unwrap();
        here.streams().append("orders", "x").await.unwrap();
        here.topics().publish("news", "x").await.unwrap();
        here.requests().call("hash", "x").await.unwrap();
    };
    work.instrument(info_span!("checkout")).await;
    let checkout = kept.ended("checkout").await;
    for (sent, handled, kind) in [
        ("push mail", "process mail", SpanKind::Producer),
        ("append orders", "process orders", SpanKind::Producer),
        ("publish news", "process news", SpanKind::Producer),
        ("call hash", "process hash", SpanKind::Client),
    ] {
        let (sent, handled) = (kept.ended(sent).await, kept.ended(handled).await);
        child(&checkout, &sent);
        child(&sent, &handled);
        assert_eq!((&sent.span_kind, &handled.span_kind), (&kind, &SpanKind::Consumer));
        for (span, operation) in [(&sent, "send"), (&handled, "process")] {
            assert_eq!(attribute(span, "messaging.system"), "trunkline");
            assert_eq!(attribute(span, "messaging.operation.type"), operation);
            assert!(span.name.ends_with(&attribute(span, "messaging.destination.name")), "{}", span.name);
        }
        if kind == SpanKind::Producer {
            let id = attribute(&sent, "messaging.message.id");
            assert_eq!((id.is_empty(), &id), (false, &attribute(&handled, "messaging.message.id")));
        }
        // What the handler saw of it.
        let (word, parent) = within(5_000, "a handler", inside.recv()).await.unwrap();
        let trace = checkout.span_context.trace_id().to_string();
        assert!(parent.unwrap().starts_with(&format!("00-{trace}-")), "{word}");
    }
    assert_eq!(attribute(&kept.ended("process orders").await, "messaging.consumer.group.name"), "c");
}

#[tokio::test]
async fn many_messages_a_transaction_and_a_load_take_the_trace_along() {
    let db = Db::new().await;
    let (kept, _guard) = Kept::begin();
    let (tl, mut raw) = (db.client("client").await, db.raw().await);
    let work = async {
        tl.jobs().push_all("q", ["1", "2"]).await.unwrap();
        tl.jobs().load("q", futures_util::stream::iter(["3"].map(NewJob::new))).await.unwrap();
        let tx = raw.client.transaction().await.unwrap();
        tl.jobs().push_on(&mut &tx, "q", "4").await.unwrap();
        tx.commit().await.unwrap();
    };
    work.instrument(info_span!("all")).await;
    let all = kept.ended("all").await;
    let (told, mut parents) = mpsc::unbounded_channel();
    let jobs = tl.jobs();
    let ran = jobs.run_due("q", move |job: Job| {
        told.send(job.headers["traceparent"].clone()).unwrap();
        async { Ok::<_, Failure>(()) }
    });
    assert_eq!(ran.await.unwrap().len(), 4);
    let begin = format!("00-{}-", all.span_context.trace_id());
    while let Some(parent) = parents.recv().await {
        assert!(parent.starts_with(&begin), "{parent}");
    }
    let many = &kept.all("push q")[0];
    assert_eq!(attribute(many, "messaging.batch.message_count"), "2");
    child(&all, &kept.ended("load q").await);
}

#[tokio::test]
async fn a_handler_that_fails_is_told_by_its_code_and_a_trace_of_elsewhere_goes_on() {
    let db = Db::new().await;
    let (kept, _guard) = Kept::begin();
    let (tl, raw) = (db.client("client").await, db.raw().await);
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let headers = format!("{{\"traceparent\": \"00-{trace}-{parent}-01\", \"tracestate\": \"them=1\"}}");
    raw.run(&format!("select trunkline.job_push('q', 'secret', headers => '{headers}', max_attempts => 1)"))
        .await;
    let _working = tl.jobs().work("q", async |_: Job| {
        if trace::traceparent().is_some() {
            return Err(Failure::new("no-stock", "secret"));
        }
        Ok(())
    });
    let failed = kept.ended("process q").await;
    assert_eq!(failed.span_context.trace_id().to_string(), trace);
    assert_eq!(failed.parent_span_id, SpanId::from_hex(parent).unwrap());
    assert!(failed.parent_span_is_remote);
    assert_eq!(attribute(&failed, "error.type"), "no-stock");
    assert!(matches!(failed.status, Status::Error { .. }));
    assert!(!format!("{failed:?}").contains("secret"));
    // By hand: a span that follows headers; and one that has none to follow.
    let span = info_span!("polled");
    assert!(trace::follow(
        &span,
        &Headers::from([("traceparent".into(), format!("00-{trace}-{parent}-01"))])
    ));
    assert_eq!(span.context().span().span_context().trace_id().to_string(), trace);
    assert!(!trace::follow(&info_span!("alone"), &Headers::new()));
    assert!(!trace::follow(&info_span!("alone"), &Headers::from([("traceparent".into(), "rubbish".into())])));
}

#[tokio::test]
async fn without_a_trace_no_header_is_added() {
    let db = Db::new().await;
    let tl = db.client("client").await;
    tl.jobs().push("q", "x").await.unwrap();
    let jobs = tl.jobs();
    let ran = jobs.run_due("q", async |job: Job| {
        assert_eq!(job.headers, Headers::new());
        Ok::<_, Failure>(())
    });
    assert_eq!(ran.await.unwrap().len(), 1);
    assert_eq!(trace::traceparent(), None);
}
