//! The command line: the options that every command has, and the words.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    bench, config, db, demo, doctor, jobs, leases, man, openapi, pgq, requests, schema, serve, streams, top,
    topics,
};

/// Messaging on plain PostgreSQL
///
/// The database is the one of --database-url, else of TRUNKLINE_DATABASE_URL or DATABASE_URL, else the one that PGHOST
/// or PGSERVICE name, else a private PostgreSQL that trunkline starts for you.
#[derive(Debug, Parser)]
#[command(
    name = "trunkline",
    version,
    arg_required_else_help = true,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 3 database unreachable, 4 not found (also: no schema),\n\
        5 timeout or no responder, 6 conflict or stale, 7 permission, 8 refused as unsafe, 130 interrupted"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The database: a URL or key=value settings, as libpq takes them
    ///
    /// Others can read the arguments of a process: give a password by PGPASSFILE, a service file or the environment.
    #[arg(long, global = true, value_name = "URL", env = "TRUNKLINE_DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,

    /// A configuration file: every option as a key, as `trunkline config print` shows; flags and variables come before it
    #[arg(long, global = true, value_name = "FILE", env = "TRUNKLINE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Where the private PostgreSQL keeps its data
    #[arg(long, global = true, value_name = "DIR", env = "TRUNKLINE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Never download PostgreSQL for the private server
    #[arg(long, global = true)]
    pub(crate) no_fetch: bool,

    /// Where to download PostgreSQL from: http://, https://, file:// or a directory
    #[arg(long, global = true, value_name = "URL", env = "TRUNKLINE_PG_MIRROR", hide_env_values = true)]
    pub(crate) pg_mirror: Option<String>,

    /// Send traces, and the daemon's metrics, to this OpenTelemetry collector: OTLP over HTTP
    ///
    /// `/v1/traces` and `/v1/metrics` are added. What OpenTelemetry's own variables say counts as well: OTEL_SERVICE_NAME,
    /// OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER. A TRACEPARENT is what commands go on with.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true
    )]
    pub(crate) otlp_endpoint: Option<String>,

    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// How the log is written, on stderr
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", env = "TRUNKLINE_LOG")]
    pub(crate) log: LogFormat,

    /// Do not ask before destroying something
    #[arg(short = 'y', long, global = true)]
    pub(crate) yes: bool,

    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Say more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The words.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon: the duties that keep the schema tidy, on a clock
    Serve(serve::ServeArgs),
    /// Call services, and be one
    #[command(subcommand)]
    Requests(requests::Command),
    /// Publish messages on topics, and listen to them
    #[command(subcommand)]
    Topics(topics::Command),
    /// Append events to streams, and consume them
    #[command(subcommand)]
    Streams(streams::Command),
    /// Push jobs, and do them
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Of many processes one acts: who holds what, and run a program on exactly one machine
    #[command(subcommand)]
    Leases(leases::Command),
    /// For databases with PgQ, or our adapter: the ticker, the queues, the consumers
    #[command(subcommand)]
    Pgq(pgq::Command),
    /// Install, upgrade, check, print, repair or remove the SQL schema
    #[command(subcommand)]
    Schema(schema::Command),
    /// Watch what flows and waits: queues, consumers, channels
    Top(top::TopArgs),
    /// Say what endangers messages here, and what mends it
    ///
    /// Looks at the connection, the server's settings, who keeps old rows, the objects and rights of the schema, its sizes, and what
    /// waits for nobody. Exit code 1 when there is something to mend, 0 when not.
    Doctor(doctor::DoctorArgs),
    /// The same in one line for a monitoring system, with what waits: 0 ok, 1 warning, 2 critical, 3 unknown
    ///
    /// As plugins of Nagios, Icinga and the like: a state, a text, figures.
    Check(doctor::CheckArgs),
    /// The private PostgreSQL: start, stop, look
    #[command(subcommand)]
    Db(db::Command),
    /// See it work: requests, a stream, a queue of jobs and listeners, with faults, and a summary
    Demo(demo::DemoArgs),
    /// Measure this machine, with the floor and a baseline in the same run
    Bench(bench::BenchArgs),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The configuration file: print an example, check one
    #[command(subcommand)]
    Config(config::Command),
    /// Print the description of the HTTP API, which the dashboard serves
    Openapi(openapi::OpenapiArgs),
    /// Print the manual page, or write all of them
    Man(man::ManArgs),
    /// Short for `requests call`
    #[command(hide = true)]
    Req(requests::call::CallArgs),
    /// Short for `requests serve`
    #[command(hide = true)]
    Reply(requests::serve::ServeArgs),
    /// Short for `topics pub`
    #[command(hide = true)]
    Pub(topics::publish::PubArgs),
    /// Short for `topics sub`
    #[command(hide = true)]
    Sub(topics::subscribe::SubArgs),
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl Command {
    /// Runs until told otherwise, and logs what it does.
    pub(crate) fn is_service(&self) -> bool {
        matches!(
            self,
            Self::Serve(_)
                | Self::Reply(_)
                | Self::Requests(requests::Command::Serve(_))
                | Self::Jobs(jobs::Command::Work(_))
                | Self::Leases(leases::Command::Run(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
