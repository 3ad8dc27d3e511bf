//! Which database a command works on, and a connection to it.
//!
//! Order: `--database-url`, `TRUNKLINE_DATABASE_URL`, `DATABASE_URL`, then `PGHOST` or `PGSERVICE` (libpq's defaults),
//! else the private PostgreSQL, started or adopted. Which one was taken is said on stderr, without its password.
//! The private server has the schema installed without asking; another database only by `schema install`.

use std::{env::VarError, sync::Arc};

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client,
    types::{FromSql, ToSql, Type},
};
use trunkline::{
    ErrorKind, Trunkline,
    connect::{Purpose, Server},
    conninfo::{ConnInfo, Env},
    schema,
};
use trunkline_embedded::{Fetch, Server as Private, Settings};

use crate::{
    args::Global,
    exit::{Failure, Result},
    out,
};

const SEEN: &str =
    "trunkline: others can read the password in the arguments; use PGPASSFILE or the environment";

/// Said where nothing else will do: most probably a variable was forgotten.
const UNNAMED: &str = "trunkline: no database is named (--database-url or TRUNKLINE_DATABASE_URL), and the private PostgreSQL cannot start";

/// The database that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) info: ConnInfo,
    /// As it was given, for what connects by itself; empty when the variables say everything. [`Database::named`]
    /// does not change it.
    pub(crate) text: String,
    /// The private server, when this command started it (and did not adopt it).
    pub(crate) started: Option<Arc<Private>>,
}

/// A plain connection, for single statements; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
}

impl Plain {
    /// The one value of a statement.
    pub(crate) async fn one<T>(&self, sql: &'static str, args: &[(&(dyn ToSql + Sync), Type)]) -> Result<T>
    where
        T: for<'a> FromSql<'a>,
    {
        let rows = self.client.query_typed(sql, args).await?;
        let row = rows.first().ok_or_else(|| Failure::NotFound("nothing came back".to_owned()))?;
        Ok(row.try_get(0)?)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Chooses the database and says which one; starts the private server if it is that one, with the schema in it.
pub(crate) async fn choose(global: &Global) -> Result<Database> {
    let (database, private) = chosen(global).await?;
    if private {
        install(&database).await?;
    }
    Ok(database)
}

/// The same for commands that look at the schema or mend it: that of the private server may be one that does not fit.
pub(crate) async fn choose_as_it_is(global: &Global) -> Result<Database> {
    let (database, private) = chosen(global).await?;
    if private {
        install_or_tell(&database).await;
    }
    Ok(database)
}

/// Which database it is, and whether it is that of the private server.
async fn chosen(global: &Global) -> Result<(Database, bool)> {
    let given = global.database_url.clone().filter(|u| !u.is_empty());
    let from_env = given.is_some() && set("TRUNKLINE_DATABASE_URL")? == given;
    let (text, whence) = match (given, set("DATABASE_URL")?) {
        (Some(url), _) if from_env => (url, "TRUNKLINE_DATABASE_URL"),
        (Some(url), _) => {
            // The configuration file may say it too.
            let in_arguments = std::env::args_os().any(|a| a.to_string_lossy().contains(url.as_str()));
            if in_arguments && has_password(&url) {
                out::talk(SEEN);
            }
            (url, "")
        }
        (None, Some(url)) => (url, "DATABASE_URL"),
        (None, None) if set("PGHOST")?.is_some() => (String::new(), "PGHOST"),
        (None, None) if set("PGSERVICE")?.is_some() => (String::new(), "PGSERVICE"),
        (None, None) => {
            let server = start(global).await.inspect_err(|_| out::talk(UNNAMED))?;
            let mut database = Database { info: read(&server.url())?, text: server.url(), started: None };
            database.started = (!server.adopted()).then(|| Arc::new(server));
            tell(global, &database, "the private PostgreSQL");
            return Ok((database, true));
        }
    };
    let database = Database { info: read(&text)?, text, started: None };
    for warning in database.info.warnings() {
        tracing::warn!("{warning}");
    }
    tell(global, &database, whence);
    Ok((database, false))
}

/// A variable that says something; one that is not text does not mean that another database will do.
fn set(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|v| !v.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::Usage(format!("{name}: its value is not UTF-8"))),
    }
}

/// What `--data-dir`, `--no-fetch` and `--pg-mirror` mean for the private server.
pub(crate) fn private(global: &Global) -> Settings {
    let settings = match &global.data_dir {
        Some(dir) => Settings::default().data_dir(dir),
        None => Settings::default(),
    };
    settings.fetch(match &global.pg_mirror {
        _ if global.no_fetch => Fetch::Forbidden,
        Some(mirror) => Fetch::from_mirror(mirror),
        None => Fetch::allowed(),
    })
}

/// What a statement that yields JSON says, in the database that was chosen.
pub(crate) async fn rows(
    global: &Global,
    sql: &'static str,
    args: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Value>> {
    let plain = choose(global).await?.checked().await?;
    let rows = plain.client.query_typed(sql, args).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<std::result::Result<_, _>>()?)
}

/// The one value of a statement, in the database that was chosen.
pub(crate) async fn one<T>(
    global: &Global,
    sql: &'static str,
    args: &[(&(dyn ToSql + Sync), Type)],
) -> Result<T>
where
    T: for<'a> FromSql<'a>,
{
    let plain = choose(global).await?.checked().await?;
    plain.one(sql, args).await
}

/// Starts or adopts the private server, with the schema in its database where that can be.
pub(crate) async fn start_private(global: &Global) -> Result<Private> {
    let server = start(global).await?;
    install_or_tell(&Database { info: read(&server.url())?, text: server.url(), started: None }).await;
    Ok(server)
}

async fn start(global: &Global) -> Result<Private> {
    let (settings, quiet) = (private(global), global.quiet);
    blocking(move || {
        Private::start(&settings, &mut |line| {
            if !quiet {
                out::talk(&format!("trunkline: {line}"));
            }
        })
    })
    .await
}

async fn install_or_tell(database: &Database) {
    if let Err(e) = install(database).await {
        out::talk(&format!("trunkline: {e}"));
    }
}

/// Runs what blocks outside of the async threads.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Failure::io("a task ended early", e.into()))?.map_err(Into::into)
}

fn read(text: &str) -> Result<ConnInfo> {
    Ok(ConnInfo::from_str_with(text, &Env::process())?.with_program("cli"))
}

fn tell(global: &Global, database: &Database, whence: &str) {
    if !global.quiet && !whence.is_empty() {
        out::talk(&format!("trunkline: using {} ({whence})", database.info.display_url()));
    }
}

/// A password in a URL's user part, in its query, or among key=value settings; also in a text that is refused.
pub(crate) fn has_password(text: &str) -> bool {
    let alone = Env::empty().with_user("nobody");
    if ConnInfo::from_str_with(text, &alone).is_ok_and(|info| info.hosts().any(|(_, _, known)| known)) {
        return true;
    }
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
    let user = authority.and_then(|a| a.rsplit_once('@')).map(|(user, _)| user);
    user.is_some_and(|u| u.contains(':')) || text.contains("password=") || text.contains("password =")
}

/// Installs the schema where it is missing or older.
pub(crate) async fn install(database: &Database) -> Result<()> {
    let mut plain = database.plain(Purpose::Install).await?;
    match schema::check(&plain.client).await {
        Err(e) if e.kind() == ErrorKind::Schema && e.code() != Some("TL014") => {
            let done = schema::install(&mut plain.client).await?;
            tracing::info!(from = done.from, to = done.to, "schema installed");
            Ok(())
        }
        Err(e) => Err(e.into()),
        Ok(_) => Ok(()),
    }
}

impl Database {
    /// Another database that was named, for what goes there: as an argument, or by this variable.
    pub(crate) fn other(text: &str, variable: &str) -> Result<Self> {
        if has_password(text) && set(variable)?.as_deref() != Some(text) {
            out::talk(SEEN);
        }
        Ok(Self { info: read(text)?, text: text.to_owned(), started: None })
    }

    /// The settings for another database of the same server.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { info: self.info.clone().with_database(name), text: self.text.clone(), started: None }
    }

    /// One plain connection.
    pub(crate) async fn plain(&self, purpose: Purpose) -> Result<Plain> {
        Ok(self.plain_and_server(purpose).await?.0)
    }

    /// One plain connection, and what answered it.
    pub(crate) async fn plain_and_server(&self, purpose: Purpose) -> Result<(Plain, Server)> {
        let session = self.info.connect(purpose).await?;
        let driver = tokio::spawn(async move {
            if let Err(e) = session.driver.await {
                tracing::debug!(error = %e, "connection ended");
            }
        });
        Ok((Plain { client: session.client, driver }, session.server))
    }

    /// One plain connection to a database where our schema is installed and fits.
    pub(crate) async fn checked(&self) -> Result<Plain> {
        let plain = self.plain(Purpose::Work).await?;
        schema::check(&plain.client).await?;
        Ok(plain)
    }

    /// The library's handle.
    pub(crate) async fn trunkline(&self) -> Result<Trunkline> {
        Ok(Trunkline::with(self.info.clone()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::has_password;

    #[test]
    fn passwords_in_arguments_are_seen() {
        assert!(has_password("postgresql://u:p@h/db"));
        assert!(has_password("host=h password=p"));
        assert!(has_password("postgresql://h/db?password=p"));
        assert!(has_password("postgresql://h/db?pass%77ord=p"));
        assert!(has_password("host=h password \t = p"));
        assert!(has_password("host=h port=x password=p"));
        assert!(!has_password("postgresql://u@h:5432/db"));
        assert!(!has_password("host=h user=u"));
    }
}
