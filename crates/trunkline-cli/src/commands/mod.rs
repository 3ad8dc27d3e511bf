//! The words, one file each. A new word is a module here, a variant of `args::Command`, and a line in [`run`].

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod db;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod jobs;
pub(crate) mod leases;
pub(crate) mod man;
pub(crate) mod openapi;
pub(crate) mod pgq;
pub(crate) mod requests;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod streams;
pub(crate) mod top;
pub(crate) mod topics;

use crate::{
    args::{Cli, Command, Global},
    exit::{self, Result},
    out::{self, Out},
    source,
};

/// Runs the command and returns its exit code.
pub(crate) async fn run(cli: Cli) -> Result<u8> {
    let global = &cli.global;
    match cli.command {
        Command::Serve(args) => serve::run(global, args).await,
        Command::Requests(command) => requests::run(global, command).await,
        Command::Streams(command) => streams::run(global, command).await,
        Command::Topics(command) => topics::run(global, command).await,
        Command::Pub(args) => until_interrupted(topics::publish::run(global, args)).await,
        Command::Sub(args) => topics::subscribe::run(global, args).await,
        Command::Req(args) => requests::call::run(global, args).await,
        Command::Reply(args) => requests::serve::run(global, args).await,
        Command::Jobs(command) => jobs::run(global, command).await,
        Command::Leases(command) => leases::run(global, command).await,
        Command::Pgq(command) => pgq::run(global, command).await,
        Command::Schema(command) => until_interrupted(schema::run(global, command)).await,
        Command::Doctor(args) => until_interrupted(doctor::run(global, args)).await,
        Command::Check(args) => until_interrupted(doctor::check(global, args)).await,
        Command::Top(args) => until_interrupted(top::run(global, args)).await,
        Command::Db(command) => until_interrupted(db::run(global, command)).await,
        Command::Demo(args) => show(global, args).await,
        Command::Bench(args) => until_interrupted(measure(global, args)).await,
        Command::Completions { shell } => completions::run(global, shell),
        Command::Config(command) => config::run(global, &command),
        Command::Openapi(args) => openapi::run(&args),
        Command::Man(args) => man::run(global, &args),
    }
}

/// The demo, or one part of it. A private server that was started for it is stopped again at the end.
async fn show(global: &Global, args: demo::DemoArgs) -> Result<u8> {
    args.check()?;
    if let Some(url) = args.part_url() {
        return done(demo::run(args, url, global.json).await);
    }
    let bound = args.http.bind().await?;
    let database = source::choose(global).await?;
    database.checked().await?;
    let (end, ended) = tokio::sync::watch::channel(false);
    let serving = bound.map(|bound| tokio::spawn(bound.serve(database.info.clone(), ended)));
    let outcome = done(demo::run(args, database.text.clone(), global.json).await);
    end.send_replace(true);
    if let Some(serving) = serving {
        let _ = serving.await;
    }
    if let Some(server) = database.started {
        source::blocking(move || server.stop(trunkline_embedded::Mode::Fast)).await?;
    }
    outcome
}

fn done(outcome: trunkline::Result<()>) -> Result<u8> {
    match outcome {
        Ok(()) => Ok(exit::OK),
        Err(e) if e.kind() == trunkline::ErrorKind::Cancelled => Ok(exit::INTERRUPTED),
        Err(e) => Err(e.into()),
    }
}

/// Lines for people go to stderr, the result to stdout.
async fn measure(global: &Global, args: bench::BenchArgs) -> Result<u8> {
    let database = source::choose(global).await?;
    database.checked().await?;
    let figures = bench::run(args, &database.text, &mut |line| out::talk(line)).await?;
    Out::new(true, true).json(&figures)?;
    Ok(exit::OK)
}

/// Ends with 130 at Ctrl-C; what the command had begun in the database is rolled back.
pub(crate) async fn until_interrupted(command: impl Future<Output = Result<u8>>) -> Result<u8> {
    tokio::select! {
        outcome = Box::pin(command) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}
