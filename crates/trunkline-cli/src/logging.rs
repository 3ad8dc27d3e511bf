//! Where the log goes: stderr, as text or one JSON object a line.
//!
//! Without `-v` a command logs warnings, the daemon and responders also what they do.

use std::{
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use tracing_subscriber::{
    Layer as _, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::{
    args::{Cli, LogFormat},
    exit::Result,
    otlp,
    progress::Log,
};

/// What is logged, to be changed while we run.
static WANTED: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Logs as much as these options say from now on.
pub(crate) fn reload(cli: &Cli) {
    if let Some(handle) = WANTED.get() {
        let _ = handle.reload(wanted(cli));
    }
}

fn wanted(cli: &Cli) -> Targets {
    let usual = if cli.command.is_service() { 1 } else { 0 };
    let level = match (cli.global.quiet, usual + cli.global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let foreign = if cli.global.verbose > 2 { LevelFilter::DEBUG } else { LevelFilter::WARN.min(level) };
    // Spans of messages are for collectors; in lines they would be the longest part.
    let spans = if cli.global.verbose > 1 { level } else { LevelFilter::OFF };
    Targets::new().with_target("trunkline", level).with_target(otlp::TARGET, spans).with_default(foreign)
}

/// Starts logging, and tracing, for this process.
pub(crate) fn start(cli: &Cli) -> Result<()> {
    let (wanted, handle) = reload::Layer::new(wanted(cli));
    let _ = WANTED.set(handle);
    let layer = match cli.global.log {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(|| Log).boxed(),
        LogFormat::Text => {
            let color =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            fmt::layer().with_target(false).with_ansi(color).with_writer(|| Log).boxed()
        }
    };
    let off = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|v| v.eq_ignore_ascii_case("true"));
    let endpoint = cli.global.otlp_endpoint.as_deref().filter(|e| !e.is_empty() && !off);
    let traces = endpoint.map(otlp::layer).transpose()?;
    tracing_subscriber::registry().with(layer.with_filter(wanted)).with(traces).init();
    if cli.global.log == LogFormat::Json {
        crate::out::talk_into_log();
    }
    Ok(())
}
