//! A throw-away PostgreSQL: own directory, own port, TLS on, gone when the test process is gone.

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    io::Write as _,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use trunkline::{
    connect::{Purpose, Session},
    conninfo::{ConnInfo, Env},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Server {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    /// Holding its stdin keeps the server alive, see [`guarded`].
    _keeper: Child,
}

const HBA: &str = "local all all trust\nhostnossl all plain_only all trust\nhostssl all plain_only all reject\n\
    hostssl all tls_only all trust\nhost all tls_only all reject\nhost all scram_user all scram-sha-256\n\
    hostssl all cert_user all cert\nhost all all all trust\nlocal replication all trust\n";

/// One server for the tests that change nothing but their own roles and databases.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

fn bin(name: &str) -> PathBuf {
    if let Ok(dir) = std::env::var("PG_BINDIR") {
        return Path::new(&dir).join(name);
    }
    let mut found: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").unwrap().map(|d| d.unwrap().path()).collect();
    found.sort();
    found.pop().expect("no PostgreSQL found; set PG_BINDIR").join("bin").join(name)
}

fn postgres_ids() -> Option<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").unwrap();
    let mut fields =
        text.lines().find(|l| l.starts_with("postgres:"))?.split(':').skip(2).map(|f| f.parse().unwrap());
    Some((fields.next()?, fields.next()?))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A command that runs as `postgres` if we are root, since the server refuses root.
pub(crate) fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let (true, Some((uid, gid))) = (is_root(), postgres_ids()) {
        command.uid(uid).gid(gid);
    }
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A directory under the system's temporary one that belongs to `postgres`.
pub(crate) fn own_dir() -> PathBuf {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("trunkline-conn-{}-{n}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    own(&dir);
    dir
}

fn own(path: &Path) {
    if let (true, Some((uid, gid))) = (is_root(), postgres_ids()) {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    own(path);
}

/// Not given to anyone else in this process.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Runs a program until our end of its shell's stdin closes, which happens also when we are killed. A shell's background
/// program ignores INT and QUIT unless it handles them, as PostgreSQL does and pgbouncer does not.
pub(crate) fn guarded(dir: &Path, signal: &str, program: &Path, args: &[&str]) -> Child {
    let script = r#"dir=$1; signal=$2; shift 2; "$@" >"$dir/log" 2>&1 </dev/null & pid=$!; read -r _; kill -$signal $pid; wait $pid; rm -rf "$dir""#;
    let mut command = as_postgres("/bin/sh");
    command
        .args(["-c", script, "sh"])
        .arg(dir)
        .arg(signal)
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .process_group(0);
    command.spawn().unwrap()
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = own_dir();
        let data = dir.join("data");
        run(as_postgres(bin("initdb")).arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-N"]));
        write(&data.join("pg_hba.conf"), HBA);
        super::tls::make_certificates(&dir);
        Self::serve(dir)
    }

    /// A standby of this server.
    pub(crate) fn standby(&self) -> Self {
        let dir = own_dir();
        let socket = self.dir.to_str().unwrap();
        let port = self.port.to_string();
        let mut backup = as_postgres(bin("pg_basebackup"));
        run(backup
            .args(["-R", "-N", "-c", "fast", "-U", "postgres", "-h", socket, "-p", &port, "-D"])
            .arg(dir.join("data")));
        Self::serve(dir)
    }

    fn serve(dir: PathBuf) -> Self {
        let port = free_port();
        let certs = dir.to_str().unwrap();
        let conf = format!(
            "listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories='{certs}'\nfsync=off\nssl=on\n\
             ssl_cert_file='{certs}/server.crt'\nssl_key_file='{certs}/server.key'\nssl_ca_file='{certs}/ca.crt'\n"
        );
        let data = dir.join("data");
        if !dir.join("ca.crt").exists() {
            super::tls::make_certificates(&dir);
        }
        let old = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        write(&data.join("postgresql.conf"), &(old + &conf));
        let keeper = guarded(&dir, "QUIT", &bin("postgres"), &["-D", data.to_str().unwrap()]);
        let end = Instant::now() + Duration::from_secs(60);
        let mut ready = as_postgres(bin("pg_isready"));
        ready.args(["-q", "-h", certs, "-p", &port.to_string()]);
        while !ready.status().unwrap().success() {
            let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "the server did not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { dir, port, _keeper: keeper }
    }

    /// SQL as superuser over the socket; the rows as psql prints them unaligned.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let mut psql = as_postgres(bin("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]).arg(&self.dir);
        run(psql.args(["-p", &self.port.to_string(), "-c", sql])).trim().to_owned()
    }

    /// Settings for TCP on 127.0.0.1, as superuser unless `more` says otherwise.
    pub(crate) fn tcp(&self, more: &str) -> ConnInfo {
        info(&format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname=postgres {more}",
            self.port
        ))
    }
}

pub(crate) fn info(text: &str) -> ConnInfo {
    ConnInfo::from_str_with(text, &Env::empty()).unwrap()
}

/// A session whose driver runs in the background.
pub(crate) async fn open(info: &ConnInfo) -> (tokio_postgres::Client, trunkline::connect::Server) {
    let Session { client, driver, server, .. } = info.connect(Purpose::Work).await.unwrap();
    tokio::spawn(driver);
    (client, server)
}

pub(crate) async fn text(client: &tokio_postgres::Client, sql: &str) -> String {
    let rows = client.simple_query(sql).await.unwrap();
    let row = rows.iter().find_map(|m| match m {
        tokio_postgres::SimpleQueryMessage::Row(r) => Some(r.get(0).unwrap_or("").to_owned()),
        _ => None,
    });
    row.unwrap_or_default()
}

/// Polls a state of the database until it holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, state: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(15);
    while !state().await {
        assert!(Instant::now() < end, "not reached in 15 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
