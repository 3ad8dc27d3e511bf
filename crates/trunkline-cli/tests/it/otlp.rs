//! What a collector gets: one trace over processes, the same numbers as `/metrics`, and nobody waits for it.

use std::{
    io::{BufRead, BufReader, Write as _},
    net::TcpListener,
    process::Command,
    sync::{Arc, Mutex},
    time::Instant,
};

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{ResourceMetrics, metric::Data, number_data_point::Value as Number},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;

use crate::{Running, code, database, ok, run, stderr, temporary, trunkline, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What came: path, headers in small letters, body.
type Came = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

/// A collector that takes what comes: its address, and that.
fn collector() -> (String, Came) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let came = Came::default();
    let kept = came.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let kept = kept.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(request) = request(&mut reader) {
                    kept.lock().unwrap().push(request);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if reader.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, came)
}

/// The next request's path, headers and body.
fn request(reader: &mut impl BufRead) -> Option<(String, String, Vec<u8>)> {
    let mut lines = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let head = lines.map(|l| l.to_lowercase() + "\n").collect::<String>();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((path, head, body))
}

/// The bodies that came to a path.
fn bodies(came: &Came, path: &str) -> Vec<Vec<u8>> {
    came.lock().unwrap().iter().filter(|(p, ..)| p == path).map(|(.., body)| body.clone()).collect()
}

fn spans(came: &Came) -> impl Iterator<Item = Span> {
    let requests = bodies(came, "/v1/traces").into_iter();
    requests
        .flat_map(|body| ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans)
        .flat_map(|r| r.scope_spans)
        .flat_map(|s| s.spans)
}

/// The span of this name, once it came.
#[track_caller]
fn span(came: &Came, name: &str) -> Span {
    until(&format!("the span {name:?}"), || spans(came).any(|s| s.name == name));
    spans(came).find(|s| s.name == name).unwrap()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone()) {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        other => format!("{other:?}"),
    }
}

/// The service that tells of so many jobs that wait in a queue.
fn tells(body: &[u8], queue: &str, many: f64) -> Option<String> {
    let told = ExportMetricsServiceRequest::decode(body).unwrap().resource_metrics;
    let [ResourceMetrics { resource, scope_metrics, .. }] = told.try_into().ok()?;
    let metric = scope_metrics.into_iter().flat_map(|s| s.metrics).find(|m| m.name == "trunkline_jobs")?;
    let Some(Data::Gauge(gauge)) = metric.data else { return None };
    let point = gauge
        .data_points
        .into_iter()
        .find(|p| text(&p.attributes, "queue") == queue && text(&p.attributes, "state") == "waiting")?;
    (point.value == Some(Number::AsDouble(many))).then(|| text(&resource.unwrap().attributes, "service.name"))
}

/// Counts of messages by `messaging.*` of a name: operation, destination, and how many.
fn counted(came: &Came, name: &str) -> Vec<(String, String, u64)> {
    let mut found = Vec::new();
    for body in bodies(came, "/v1/metrics") {
        let told = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap().resource_metrics;
        let scopes = told.into_iter().flat_map(|r| r.scope_metrics);
        for metric in scopes.flat_map(|s| s.metrics).filter(|m| m.name == name) {
            let points: Vec<(Vec<KeyValue>, u64)> = match metric.data.unwrap() {
                Data::Histogram(all) => {
                    all.data_points.into_iter().map(|p| (p.attributes, p.count)).collect()
                }
                Data::Sum(all) => {
                    let many = |n: &Option<Number>| match n {
                        Some(Number::AsInt(n)) => u64::try_from(*n).unwrap(),
                        other => panic!("{other:?}"),
                    };
                    all.data_points.into_iter().map(|p| (p.attributes, many(&p.value))).collect()
                }
                other => panic!("{other:?}"),
            };
            let label = |labels: &[KeyValue], name: &str| text(labels, &format!("messaging.{name}"));
            found.extend(points.iter().map(|(labels, many)| {
                (label(labels, "operation.name"), label(labels, "destination.name"), *many)
            }));
        }
    }
    found
}

/// What a process sent and handled is told at its end, also when that comes at once; an address is no name.
#[test]
fn messages_are_counted_and_timed_by_the_conventions() {
    let (url, (address, came)) = (database(), collector());
    let told = |args: &[&str]| ok(&url, &[&["--otlp-endpoint", &address], args].concat());
    told(&["jobs", "push", "mail", "one"]);
    let lines = crate::run_with(
        &url,
        &["--otlp-endpoint", &address, "jobs", "push", "mail", "--lines"],
        b"a\nb\nc\n",
    );
    assert_eq!(code(&lines), 0, "{}", stderr(&lines));
    told(&["jobs", "work", "mail", "--drain", "--exec", "true"]);
    let mail = |operation: &str, many| (operation.to_owned(), "mail".to_owned(), many);
    for (name, wanted) in [
        ("messaging.client.sent.messages", vec![mail("push", 1), mail("push", 3)]),
        ("messaging.client.operation.duration", vec![mail("push", 1), mail("push", 1)]),
        ("messaging.client.consumed.messages", vec![mail("process", 4)]),
        ("messaging.process.duration", vec![mail("process", 4)]),
    ] {
        assert_eq!(counted(&came, name), wanted, "{name}");
    }
}

#[test]
fn a_trace_goes_from_a_script_through_a_push_to_the_program_that_does_the_job() {
    let (url, dir, (address, came)) = (database(), temporary(), collector());
    let mut push = trunkline(&["jobs", "push", "mail", "x"]);
    push.env("DATABASE_URL", &url)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .env("TRACEPARENT", format!("00-{TRACE}-{PARENT}-01"));
    let pushed = push.output().unwrap();
    assert_eq!(code(&pushed), 0, "{}", stderr(&pushed));
    let file = dir.path().join("parent");
    let exec = format!("printf %s \"$TRACEPARENT\" > {}", file.display());
    ok(&url, &["--otlp-endpoint", &address, "jobs", "work", "mail", "--drain", "--exec", &exec]);
    let (root, sent) = (span(&came, "trunkline"), span(&came, "push mail"));
    let handled = span(&came, "process mail");
    assert_eq!([&root, &sent, &handled].map(|s| hex(&s.trace_id)), [TRACE; 3]);
    assert_eq!(hex(&root.parent_span_id), PARENT);
    assert_eq!(sent.parent_span_id, root.span_id);
    assert_eq!(handled.parent_span_id, sent.span_id);
    assert_eq!([sent.kind(), handled.kind()], [SpanKind::Producer, SpanKind::Consumer]);
    assert_eq!(text(&sent.attributes, "messaging.system"), "trunkline");
    assert_eq!(std::fs::read_to_string(file).unwrap(), format!("00-{TRACE}-{}-01", hex(&handled.span_id)));
}

#[test]
fn the_daemon_sends_the_numbers_of_its_metrics_and_goes_on_with_traces_over_http() {
    let (url, (address, came)) = (database(), collector());
    let mut command = trunkline(&["serve", "--http", "127.0.0.1:0"]);
    command
        .env("DATABASE_URL", &url)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &address)
        .env("OTEL_SERVICE_NAME", "mailer")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
    let mut daemon = Running::start(command);
    daemon.wait_for("dashboard at ");
    let line = daemon.seen.last().unwrap();
    let dashboard = &line[line.find("http://").unwrap()..];
    let curl = Command::new("curl")
        .args(["-sS", "-f", "-H", &format!("traceparent: 00-{TRACE}-{PARENT}-01")])
        .args(["-H", "content-type: application/json", "-d", r#"{"queue": "mail", "payload": "x"}"#])
        .arg(format!("{}api/v1/jobs", dashboard))
        .output()
        .unwrap();
    assert!(curl.status.success(), "{}", stderr(&curl));
    let mut from = None;
    until("the job among the metrics", || {
        from = bodies(&came, "/v1/metrics").iter().find_map(|body| tells(body, "mail", 1.0));
        from.is_some()
    });
    assert_eq!(from.as_deref(), Some("mailer"));
    ok(&url, &["--otlp-endpoint", &address, "jobs", "work", "mail", "--drain", "--exec", "true"]);
    let (asked, handled) = (span(&came, "POST /api/v1/jobs"), span(&came, "process mail"));
    assert_eq!([&asked, &handled].map(|s| hex(&s.trace_id)), [TRACE; 2]);
    assert_eq!((hex(&asked.parent_span_id).as_str(), handled.parent_span_id), (PARENT, asked.span_id));
}

/// Each minute it looks, and what it sees is not kept for the minute after.
#[test]
fn what_the_daemon_sees_is_sent_when_it_is_seen() {
    let (url, (address, came)) = (database(), collector());
    ok(&url, &["jobs", "push", "mail", "x"]);
    let mut command = trunkline(&["serve", "--http", "127.0.0.1:0"]);
    command.env("DATABASE_URL", &url).env("OTEL_EXPORTER_OTLP_ENDPOINT", &address);
    let mut daemon = Running::start(command);
    daemon.wait_for("dashboard at ");
    until("the job among the metrics", || {
        bodies(&came, "/v1/metrics").iter().any(|body| tells(body, "mail", 1.0).is_some())
    });
}

#[test]
fn a_collector_that_is_not_there_keeps_nobody_waiting() {
    let url = database();
    let began = Instant::now();
    let pushed = run(&url, &["--otlp-endpoint", "http://127.0.0.1:1", "jobs", "push", "mail", "x"]);
    assert_eq!(code(&pushed), 0, "{}", stderr(&pushed));
    assert!(began.elapsed().as_secs() < 10);
    // Nor does one that takes what comes and never answers: two seconds for spans, two for what they measured.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, began) = (format!("http://{}", silent.local_addr().unwrap()), Instant::now());
    let pushed = run(&url, &["--otlp-endpoint", &address, "jobs", "push", "mail", "x"]);
    assert_eq!(code(&pushed), 0, "{}", stderr(&pushed));
    assert!(began.elapsed().as_secs_f64() < 6.0, "{:?}", began.elapsed());
    let refused = run(&url, &["--log", "json", "--otlp-endpoint", "not a url", "jobs", "push", "mail", "x"]);
    assert_eq!(code(&refused), 2, "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--otlp-endpoint"), "{}", stderr(&refused));
}

/// What the SDK reads of its variables counts: of a push with them, what came, and the header of the job.
#[test]
fn the_variables_of_the_sdk_count() {
    let url = database();
    let pushed = |queue: &str, variables: &[(&str, &str)]| {
        let (address, came) = collector();
        let mut push = trunkline(&["--otlp-endpoint", &address, "jobs", "push", queue, "x"]);
        let pushed = push.env("DATABASE_URL", &url).envs(variables.iter().copied()).output().unwrap();
        assert_eq!(code(&pushed), 0, "{variables:?}: {}", stderr(&pushed));
        came
    };
    let resource = |came: &Came, name: &str| {
        let traces = bodies(came, "/v1/traces").into_iter();
        let traces = traces
            .flat_map(|b| ExportTraceServiceRequest::decode(b.as_slice()).unwrap().resource_spans)
            .filter_map(|r| Some(text(&r.resource?.attributes, name)));
        let metrics = bodies(came, "/v1/metrics").into_iter();
        let metrics = metrics
            .flat_map(|b| ExportMetricsServiceRequest::decode(b.as_slice()).unwrap().resource_metrics)
            .filter_map(|r| Some(text(&r.resource?.attributes, name)));
        traces.chain(metrics).collect::<Vec<_>>()
    };

    let came = pushed("headers", &[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=S3cret,x-tenant=a%20b")]);
    for path in ["/v1/traces", "/v1/metrics"] {
        let came = came.lock().unwrap();
        let (_, head, _) = came.iter().find(|(p, ..)| p == path).expect(path);
        assert!(head.contains("api-key: s3cret\n") && head.contains("x-tenant: a b\n"), "{path}: {head}");
    }

    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=shop,service.name=mailer");
    let came = pushed("resource", &[attributes]);
    assert_eq!(resource(&came, "deployment.environment.name"), ["shop", "shop"], "traces and metrics");
    assert_eq!(resource(&came, "service.name"), ["mailer", "mailer"]);
    let came = pushed("named", &[attributes, ("OTEL_SERVICE_NAME", "named")]);
    assert_eq!(resource(&came, "service.name"), ["named", "named"], "it comes first");
    let came = pushed("unnamed", &[]);
    assert_eq!(resource(&came, "service.name"), ["trunkline", "trunkline"]);

    // Who keeps no spans counts all the same, and sends no trace that anybody would go on with.
    let sampled = |queue: &str| {
        let flag = format!(
            "select right(headers ->> 'traceparent', 2) from trunkline.job_show((select max(id) from trunkline.job where queue = '{queue}'))"
        );
        crate::sql(&url, &flag).unwrap_or_default()
    };
    let came = pushed("always", &[("OTEL_TRACES_SAMPLER", "always_on")]);
    assert_eq!((spans(&came).count(), sampled("always").as_str()), (1, "01"));
    for variables in [
        &[("OTEL_TRACES_SAMPLER", "always_off")][..],
        &[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")],
    ] {
        let came = pushed("never", variables);
        assert_eq!(spans(&came).count(), 0, "{variables:?}");
        assert_ne!(sampled("never"), "01", "{variables:?}");
        assert_eq!(counted(&came, "messaging.client.sent.messages").len(), 1, "{variables:?}");
    }

    let came = pushed("disabled", &[("OTEL_SDK_DISABLED", "true")]);
    let paths: Vec<String> = came.lock().unwrap().iter().map(|(p, ..)| p.clone()).collect();
    assert!(paths.is_empty(), "{paths:?}");
    assert_eq!(sampled("disabled"), "", "no header");
}
