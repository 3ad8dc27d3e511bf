//! The trunkline binary.

mod commands;

use clap::{Parser, Subcommand};
use trunkline::{
    Result,
    connect::Purpose,
    conninfo::{ConnInfo, Env},
};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[arg(long, global = true, env = "TRUNKLINE_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows requests and replies at work, and what happens when parts of it die.
    Demo(commands::demo::DemoArgs),
    /// Installs the schema.
    Install,
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let url = cli.database_url.unwrap_or_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(r) => r,
        Err(_) => return 1.into(),
    };
    let done = runtime.block_on(async move {
        match cli.command {
            Command::Demo(args) => commands::demo::run(args, url, cli.json).await,
            Command::Install => install(&url).await,
        }
    });
    match done {
        Ok(()) => 0.into(),
        Err(e) => {
            eprintln!("trunkline: {e}");
            1.into()
        }
    }
}

async fn install(url: &str) -> Result<()> {
    let mut session = ConnInfo::from_str_with(url, &Env::process())?.connect(Purpose::Install).await?;
    tokio::spawn(session.driver);
    trunkline::schema::install(&mut session.client).await.map(drop)
}
