//! The figures beside PgQ: its extension where the server has it, our adapter, and a Python client; each in a database of
//! its own on the same server.

use std::{process::Stdio, time::Instant};

use tokio_postgres::Client;
use trunkline::{Error, ErrorKind, Result, schema};

use super::{
    Figure,
    measure::{median, session},
    streams::single,
};

const INSERT: &str = "select pgq.insert_event('bench', 't', $1)";
const ROWS: i32 = 20_000;
const TRIGGERS: [&str; 3] = ["jsontriga", "logutriga", "sqltriga"];
const READ: i32 = 100_000;
/// What PgQ's own Python programs do: a cursor, 300 events a fetch.
const PYTHON: &str = r#"
import sys, time, psycopg2
c = psycopg2.connect(sys.argv[1]); q = c.cursor()
q.execute("select pgq.next_batch('bench', 'reader')"); b = q.fetchone()[0]; c.commit()
at = time.time(); n = 0
q.execute("select * from pgq.get_batch_cursor(%s, 'reading', 300)", (b,))
while True:
    rows = q.fetchall()
    if not rows: break
    n += len(rows); q.execute("fetch 300 from reading")
q.execute("close reading"); q.execute("select pgq.finish_batch(%s)", (b,)); c.commit()
print(n / (time.time() - at))
"#;

/// What each round found beside PgQ, one value for each.
#[derive(Default)]
pub(super) struct Beside {
    append: Vec<f64>,
    insert: Vec<f64>,
    triggers: [Vec<f64>; 3],
    python: Vec<f64>,
}

impl Beside {
    /// One round: `append` and `read` are our rates of single appends by 16 clients and of reading, in events a second.
    pub(super) async fn round(
        &mut self,
        url: &str,
        seconds: f64,
        append: f64,
        read: f64,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let ours = Place::make(url, "trunkline_bench_adapter", false).await?;
        let real = match Place::make(url, "trunkline_bench_pgq", true).await {
            Ok(place) => Some(place),
            Err(e) => {
                say(&format!("the server has no PgQ to compare with: {e}"));
                None
            }
        };
        let own = single(&ours.url, INSERT, 16, seconds).await?.rate();
        if let Some(real) = &real {
            let c = single(&real.url, INSERT, 16, seconds).await?.rate();
            say(&format!(
                " 16 clients: PgQ {c:>7.0}/s, the adapter {own:>7.0}/s, stream_append {append:>7.0}/s"
            ));
            self.append.push(append / c);
            self.insert.push(own / c);
            for (trigger, ratios) in TRIGGERS.into_iter().zip(&mut self.triggers) {
                let (theirs, mine) = (real.capture(trigger).await?, ours.capture(trigger).await?);
                say(&format!("{trigger}: C {theirs:.0} rows/s, ours {mine:.0} rows/s"));
                ratios.push(mine / theirs);
            }
        }
        match ours.python().await {
            Ok(rate) => {
                say(&format!("reading: the Python client {rate:.0}/s, ours {read:.0}/s"));
                self.python.push(read / rate);
            }
            Err(e) => say(&format!("no Python client to compare with: {e}")),
        }
        ours.remove(url).await?;
        match real {
            Some(real) => real.remove(url).await,
            None => Ok(()),
        }
    }

    pub(super) fn figures(self) -> impl Iterator<Item = Figure> {
        let [json, logu, sql] = self.triggers;
        let all = [
            ("append16_over_pgq", self.append, "> 1"),
            ("pgq_insert_over_c", self.insert, ">= 0.9"),
            ("jsontriga_over_c", json, ">= 0.5"),
            ("logutriga_over_c", logu, ">= 0.5"),
            ("sqltriga_over_c", sql, ">= 0.5"),
            ("read_over_python_client", self.python, ">= 5"),
        ];
        let found = all.into_iter().filter(|(_, values, _)| !values.is_empty());
        found.map(|(name, values, wanted)| Figure { name, value: median(values), unit: "x", wanted })
    }
}

/// A database with a PgQ, ours or the real one, a queue and a table.
struct Place {
    name: &'static str,
    url: String,
    client: Client,
}

impl Place {
    async fn make(url: &str, name: &'static str, real: bool) -> Result<Self> {
        let (admin, _rx) = session(url).await?;
        admin.batch_execute(&format!("drop database if exists {name}")).await?;
        admin.batch_execute(&format!("create database {name}")).await?;
        let url = on(url, name);
        let (mut client, _rx) = session(&url).await?;
        if real {
            client.batch_execute("create extension pgq").await?;
        } else {
            schema::install_pgq(&mut client).await?;
        }
        client
            .batch_execute(
                "select pgq.create_queue('bench'), pgq.register_consumer('bench', 'reader');
                 create table watched (id int primary key, a text, b text, c int, d numeric, e timestamptz)",
            )
            .await?;
        Ok(Self { name, url, client })
    }

    /// Rows a second that are inserted, changed and deleted with a trigger on the table.
    async fn capture(&self, trigger: &str) -> Result<f64> {
        self.client
            .batch_execute(&format!(
                "truncate watched; drop trigger if exists t on watched;
                 create trigger t after insert or update or delete on watched for each row execute function pgq.{trigger}('bench');
                 insert into watched select -1, 'a', 'b', 1, 2.5, now(); delete from watched"
            ))
            .await?;
        let at = Instant::now();
        for sql in [
            "insert into watched select i, 'some text ' || i, 'more=text&', i, i * 1.5, now() from generate_series(1, $1::int) i",
            "update watched set a = a || 'x', c = c + 1 where id <= $1::int",
            "delete from watched where id <= $1::int",
        ] {
            self.client.execute(sql, &[&ROWS]).await?;
        }
        Ok(3.0 * f64::from(ROWS) / at.elapsed().as_secs_f64())
    }

    /// Events a second that the Python client reads.
    async fn python(&self) -> Result<f64> {
        let fill = "insert into watched_events select count(pgq.insert_event('bench', 't', repeat('p', 100))) from generate_series(1, $1::int)";
        self.client.batch_execute("create table watched_events (n bigint)").await?;
        self.client.execute(fill, &[&READ]).await?;
        self.client.batch_execute("select pgq.force_tick('bench')").await?;
        self.client.batch_execute("select pgq.ticker('bench')").await?;
        let run = tokio::process::Command::new("python3")
            .args(["-c", PYTHON, &self.url])
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|e| Error::new(ErrorKind::Unsupported, e.to_string()))?;
        let said = String::from_utf8_lossy(&run.stdout);
        said.trim().parse().map_err(|_| {
            let why = String::from_utf8_lossy(&run.stderr);
            Error::new(ErrorKind::Unsupported, why.lines().last().unwrap_or("it says nothing").to_owned())
        })
    }

    async fn remove(self, url: &str) -> Result<()> {
        let name = self.name;
        drop(self);
        let (admin, _rx) = session(url).await?;
        Ok(admin.batch_execute(&format!("drop database {name} with (force)")).await?)
    }
}

/// The same settings for another database, as our programs and Python's read them.
fn on(url: &str, database: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return format!("{url} dbname={database}") };
    let (base, query) = rest.split_once('?').map_or((rest, String::new()), |(b, q)| (b, format!("?{q}")));
    let authority = base.split('/').next().unwrap_or_default();
    format!("{scheme}://{authority}/{database}{query}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn another_database_of_the_same_settings() {
        let on = |url| super::on(url, "x");
        assert_eq!(on("host=/tmp dbname=a"), "host=/tmp dbname=a dbname=x");
        assert_eq!(
            on("postgresql://u:p@h:5432/a?sslmode=disable"),
            "postgresql://u:p@h:5432/x?sslmode=disable"
        );
        assert_eq!(on("postgresql:///a?host=%2Ftmp"), "postgresql:///x?host=%2Ftmp");
        assert_eq!(on("postgresql://h"), "postgresql://h/x");
    }
}
