//! The files for operators in `contrib/`: each metric, flag, variable and key that they name is there.

use std::{
    collections::BTreeSet,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{code, database, http::Served, responder, sql, stdout, temporary, trunkline};

fn contrib(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What `/metrics` says when there is something of everything: names, and the labels of each.
fn metrics() -> Vec<(String, BTreeSet<String>)> {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('mail', 'x'), trunkline.stream_open('s'), trunkline.stream_register('s', 'c'),
                trunkline.lease_acquire('nightly', gen_random_uuid(), interval '1 hour', 'somebody')",
    );
    let serving = responder(&url, &["echo", "--echo"]);
    crate::ok(&url, &["requests", "call", "echo", "x"]);
    let served = Served::start(&url, &[], &[]);
    let text = served.get("/metrics").body;
    drop(serving);
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|line| {
            let (name, rest) = line.split_once(['{', ' ']).unwrap();
            let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
            let labels = labels.split("\",").filter_map(|l| Some(l.split_once('=')?.0.to_owned()));
            (name.to_owned(), labels.collect())
        })
        .collect()
}

/// Runs Prometheus' own tool, where it is: in CI always.
fn promtool(arguments: &[&str], input: &str) -> Option<(i32, String)> {
    let tool = std::env::var("TRUNKLINE_TEST_PROMTOOL");
    let tool = PathBuf::from(tool.unwrap_or_else(|_| "/var/cache/trunkline-ci/promtool".to_owned()));
    if !tool.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI has promtool");
        return None;
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    let output = std::process::Command::new(tool).args(arguments).stdin(file).output().unwrap();
    Some((code(&output), stdout(&output) + &crate::stderr(&output)))
}

#[test]
fn each_alert_fires_by_what_it_is_about_and_promtool_finds_nothing_in_the_metrics() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/prometheus");
    for (what, file) in [("check", "alerts.yml"), ("test", "alerts.test.yml")] {
        let Some((status, said)) = promtool(&[what, "rules", files.join(file).to_str().unwrap()], "") else {
            return;
        };
        assert_eq!(status, 0, "{said}");
    }
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('mail', 'x'), trunkline.stream_open('s'), trunkline.stream_register('s', 'c')",
    );
    let served = Served::start(&url, &[], &[]);
    let (status, said) = promtool(&["check", "metrics"], &served.get("/metrics").body).unwrap();
    assert_eq!(status, 0, "{said}");
}

/// The names of metrics in an expression, each with the labels that it is chosen by.
fn named(expression: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in expression.match_indices("trunkline_") {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = &expression[at..];
        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let chosen = rest[end..].strip_prefix('{').and_then(|r| r.split_once('}')).map_or("", |(c, _)| c);
        let labels =
            chosen.split("\",").filter_map(|l| Some(l.split_once('=')?.0.trim_end_matches('=').to_owned()));
        found.push((rest[..end].to_owned(), labels.collect()));
    }
    found
}

#[test]
fn every_metric_of_the_alerts_and_of_the_grafana_dashboard_is_told() {
    let known = metrics();
    let alerts = contrib("prometheus/alerts.yml");
    let mut expressions: Vec<String> =
        alerts.lines().filter_map(|l| l.trim().strip_prefix("expr: ")).map(str::to_owned).collect();
    assert!(expressions.len() > 10 && alerts.matches("- alert: ").count() == expressions.len());
    let dashboard: Value = serde_json::from_str(&contrib("grafana/trunkline.json")).unwrap();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        expressions.extend(variable["query"].as_str().map(str::to_owned));
    }
    let mut used = BTreeSet::new();
    for expression in &expressions {
        for (name, labels) in named(expression) {
            let told: Vec<&BTreeSet<String>> =
                known.iter().filter(|(n, _)| *n == name).map(|(_, l)| l).collect();
            assert!(!told.is_empty(), "{name} in {expression}");
            for label in labels.iter().filter(|l| *l != "instance") {
                assert!(told.iter().all(|l| l.contains(label)), "{name} has no label {label}: {expression}");
            }
            used.insert(name);
        }
    }
    let all: BTreeSet<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let unused: Vec<&&str> = all.iter().filter(|n| !used.contains(**n)).collect();
    assert!(unused.is_empty(), "nobody looks at {unused:?}");
}

/// The unit, with this program instead of the installed one.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let known = std::process::Command::new("systemd-analyze").arg("--version").output();
    if known.is_err() {
        eprintln!("skipped: systemd-analyze is not on this machine");
        return;
    }
    let dir = temporary();
    let path = dir.path().join("trunkline.service");
    let unit = contrib("systemd/trunkline.service");
    let unit = unit.replace("/usr/local/bin/trunkline", env!("CARGO_BIN_EXE_trunkline"));
    let verified = |unit: &str| {
        std::fs::write(&path, unit).unwrap();
        // Manual pages are installed with the program.
        let verify = ["verify", "--man=no", "--recursive-errors=no"];
        let output = std::process::Command::new("systemd-analyze").args(verify).arg(&path).output().unwrap();
        (code(&output), crate::stderr(&output))
    };
    assert_eq!(verified(&unit), (0, String::new()));
    let (_, told) = verified(&unit.replace("ProtectHome=yes", "ProtectHome=perhaps"));
    assert!(told.contains("perhaps"), "what is wrong is seen: {told}");
}

#[test]
fn the_unit_and_the_image_start_the_program_as_it_can_be_started() {
    let unit = contrib("systemd/trunkline.service");
    let start = unit.lines().find_map(|l| l.strip_prefix("ExecStart=/usr/local/bin/trunkline ")).unwrap();
    let dir = temporary();
    let path = dir.path().join("trunkline.toml");
    std::fs::write(&path, "[serve]\nhttp = \"127.0.0.1:0\"\nhttp_name = [\"https://ops.example.org\"]\n")
        .unwrap();
    let words: Vec<String> = start
        .split(' ')
        .map(|w| w.replace("/etc/trunkline/trunkline.toml", path.to_str().unwrap()))
        .chain(["--once".to_owned()])
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let once = trunkline(&words).env("DATABASE_URL", database()).output().unwrap();
    assert_eq!(code(&once), 0, "{}", crate::stderr(&once));

    let image = contrib("Containerfile");
    let example = stdout(&trunkline(&["config", "print"]).output().unwrap());
    let variables = image.lines().filter_map(|l| l.strip_prefix("ENV ")).flat_map(|l| l.split(' '));
    for variable in variables.map(|v| v.split('=').next().unwrap()) {
        assert!(example.contains(&format!("({variable})")), "{variable}");
    }
}
