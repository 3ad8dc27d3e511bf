//! A database of its own for each test: on the server of `TRUNKLINE_TEST_URL`, else on a private one that ends with
//! the last test that uses it.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio_postgres::{Client, Config, NoTls, config::Host};
use trunkline::{
    Trunkline,
    requests::{Inbox, Pending, Serve},
};
use trunkline_embedded::{Mode, Server, Settings};

static NEXT: AtomicU32 = AtomicU32::new(0);
static PRIVATE: Mutex<Weak<Private>> = Mutex::new(Weak::new());

struct Private {
    server: Server,
    home: PathBuf,
}

impl Private {
    fn shared() -> Arc<Self> {
        let mut shared = PRIVATE.lock().unwrap();
        if let Some(running) = shared.upgrade() {
            return running;
        }
        // A name of its own: the one before may still be on its way out.
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!(
            "trunkline-{}-{}-{n}",
            env!("CARGO_CRATE_NAME"),
            std::process::id()
        ));
        let settings = Settings::default().data_dir(&home).setting("fsync", "off");
        let server = Server::start(&settings, &mut |line| eprintln!("{line}")).unwrap();
        let running = Arc::new(Self { server, home });
        *shared = Arc::downgrade(&running);
        running
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.server.stop(Mode::Immediate);
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// A fresh database with the schema and the user's table `orders (item text)`.
pub(crate) struct World {
    pub(crate) config: Config,
    /// A session beside the driver's.
    pub(crate) client: Client,
    pub(crate) trunkline: Trunkline,
    server: Config,
    _private: Option<Arc<Private>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (url, private) = match std::env::var("TRUNKLINE_TEST_URL") {
            Ok(url) => (url, None),
            Err(_) => {
                let private = tokio::task::spawn_blocking(Private::shared).await.unwrap();
                (private.server.url(), Some(private))
            }
        };
        let server: Config = url.parse().unwrap();
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tl_{}_{}_{n}", std::process::id(), module_path!().split(':').next().unwrap());
        run(&server, &format!("create database {name}")).await;
        let mut config = server.clone();
        config.dbname(&name);
        let mut client = open(&config).await;
        trunkline::schema::install(&mut client).await.unwrap();
        client.batch_execute("create table orders (item text)").await.unwrap();
        let trunkline = Trunkline::connect(&settings(&config)).await.unwrap();
        Self { config, client, trunkline, server, _private: private }
    }

    /// A responder of the channel `shop` that answers by hand.
    pub(crate) fn shop(&self) -> Inbox {
        self.trunkline.requests().inbox(Serve::channel("shop"))
    }

    /// A call to it, committed already.
    pub(crate) async fn ask(&self, payload: &str) -> Pending {
        let call = self.trunkline.requests().call("shop", payload).wait_for_responder();
        call.timeout(Duration::from_secs(20)).start().await.unwrap()
    }

    /// The items of the user's table, as another session sees them.
    pub(crate) async fn orders(&self) -> Vec<String> {
        let rows = self.client.query("select item from orders order by item", &[]).await.unwrap();
        rows.iter().map(|r| r.get(0)).collect()
    }

    /// The requests that another session sees.
    pub(crate) async fn requests(&self) -> i64 {
        self.client.query_one("select count(*) from trunkline.request_list()", &[]).await.unwrap().get(0)
    }

    /// Ends every session of this database that is named `driver`.
    pub(crate) async fn end_driver(&self) {
        const END: &str =
            "select count(*) filter (where pg_terminate_backend(pid, 20000)) from pg_stat_activity
             where datname = current_database() and application_name = 'driver'";
        let ended: i64 = self.client.query_one(END, &[]).await.unwrap().get(0);
        assert_eq!(ended, 1);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let drop = format!("drop database {} with (force)", self.config.get_dbname().unwrap());
        let server = self.server.clone();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(&server, &drop));
        };
        let _ = std::thread::spawn(work).join();
    }
}

async fn open(config: &Config) -> Client {
    let (client, driver) = config.connect(NoTls).await.unwrap();
    tokio::spawn(driver);
    client
}

async fn run(config: &Config, sql: &str) {
    open(config).await.batch_execute(sql).await.unwrap();
}

pub(crate) fn host(config: &Config) -> String {
    match &config.get_hosts()[0] {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.to_str().unwrap().to_owned(),
    }
}

/// The settings as key/value text.
pub(crate) fn settings(config: &Config) -> String {
    let mut text = format!("host='{}' user='{}'", host(config), config.get_user().unwrap());
    text += &format!(" port={} dbname='{}'", config.get_ports()[0], config.get_dbname().unwrap());
    if let Some(password) = config.get_password() {
        text += &format!(" password='{}'", String::from_utf8_lossy(password));
    }
    text
}
