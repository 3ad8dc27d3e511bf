//! Connection settings as every PostgreSQL tool understands them: URL or `key=value`, `PG*` variables, service file,
//! password file, libpq's defaults.
//!
//! Guarantees: a text that `psql` takes means the same here, or is refused with an error that names the setting; no
//! password appears in `Debug`, in [`ConnInfo::display_url`] or in an error; nothing is read from the process but
//! through [`Env`]. Precedence is libpq's: text, service, variables, defaults. Where we differ from libpq: an unknown
//! setting is a warning; `connect_timeout` is 10 s and not endless; dead peers are noticed in seconds by default.
//!
//! It does not connect; that is [`ConnInfo::connect`], and it does not check that certificate files exist.

mod env;
mod files;
mod keys;
mod secret;
mod text;
mod values;

pub use env::Env;
pub(crate) use secret::Secret;
pub use values::{ChannelBinding, LoadBalance, Prepared, SslMode, SslNegotiation, TargetSessionAttrs};

use crate::Result;
use files::PassFile;
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use text::{Params, config};

/// Where servers put their socket: Debian and Red Hat, their successor path, PostgreSQL's own default.
const SOCKET_DIRS: &[&str] = &["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// Parsed connection settings.
///
/// The setting `prepared` (`auto` or `never`) is ours; everything else has libpq's name and meaning.
#[derive(Debug, Clone)]
pub struct ConnInfo {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) user: String,
    pub(crate) dbname: String,
    pub(crate) options: Option<String>,
    pub(crate) tls: TlsSettings,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) target: TargetSessionAttrs,
    pub(crate) load_balance: LoadBalance,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    application_name: Option<String>,
    default_application_name: String,
    prepared: Prepared,
    warnings: Vec<String>,
}

/// One server to try.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Host name, address or socket directory.
    pub(crate) host: String,
    pub(crate) addr: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) password: Option<Secret>,
    /// The host is only known by address, so there is no name that a certificate could prove.
    pub(crate) nameless: bool,
}

impl Endpoint {
    pub(crate) fn is_unix(&self) -> bool {
        self.addr.is_none() && self.host.starts_with('/')
    }

    pub(crate) fn label(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Where trusted certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    None,
    System,
    File(PathBuf),
}

#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    pub(crate) mode: SslMode,
    pub(crate) roots: Roots,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) negotiation: SslNegotiation,
    pub(crate) tls13_only: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Keepalive {
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) count: u32,
}

impl ConnInfo {
    /// Parses a connection text in these surroundings; an empty text takes everything from them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the setting and never its value.
    pub fn from_str_with(text: &str, env: &Env) -> Result<Self> {
        let mut params = text::parse(text)?;
        let given =
            |setting: Option<String>, variable| setting.map_or_else(|| env.var(variable), |s| Ok(Some(s)));
        if let Some(name) = given(params.take("service"), "PGSERVICE")? {
            let file = given(params.take("servicefile"), "PGSERVICEFILE")?;
            params.fill(files::service(&name, file, env)?);
        }
        let mut from_env = Params::default();
        for (key, variable, _) in keys::KEYS {
            match variable.map(|v| env.var(v)) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(value))) => from_env.set(key, value)?,
                Some(Err(_)) if params.values.contains_key(key) => {}
                Some(Err(e)) => return Err(e),
            }
        }
        params.fill(from_env);
        Self::build(params, env)
    }

    /// The settings that the process' own variables and files give.
    ///
    /// # Errors
    /// As [`ConnInfo::from_str_with`].
    pub fn from_env() -> Result<Self> {
        Self::from_str_with("", &Env::process())
    }

    fn build(mut p: Params, env: &Env) -> Result<Self> {
        let mut warnings = std::mem::take(&mut p.warnings);
        check_fixed(&mut p, &mut warnings)?;
        let user = p.take("user").or_else(|| env.user().map(str::to_owned));
        let user = user.ok_or_else(|| config("user: none given, and the system's user name is not known"))?;
        let dbname = p.take("dbname").unwrap_or_else(|| user.clone());
        let mut endpoints = endpoints(&mut p, env)?;
        passwords(&mut endpoints, &mut p, env, &mut warnings, &dbname, &user);
        let tls = tls(&mut p, env)?;
        if tls.mode == SslMode::VerifyFull && endpoints.iter().any(|e| e.nameless) {
            return Err(config("sslmode: verify-full needs a host name besides hostaddr"));
        }
        let connect_timeout = match p.take("connect_timeout") {
            Some(t) => values::timeout("connect_timeout", &t)?,
            None => Some(Duration::from_secs(10)),
        };
        let tcp_user_timeout = match p.take("tcp_user_timeout") {
            Some(t) => values::number("tcp_user_timeout", &t, 0, i32::MAX.unsigned_abs())?,
            None => 10_000,
        };
        Ok(Self {
            endpoints,
            user,
            dbname,
            options: p.take("options"),
            tls,
            channel_binding: keyword(
                &mut p,
                "channel_binding",
                ChannelBinding::parse,
                ChannelBinding::Prefer,
            )?,
            target: keyword(
                &mut p,
                "target_session_attrs",
                TargetSessionAttrs::parse,
                TargetSessionAttrs::Any,
            )?,
            load_balance: keyword(&mut p, "load_balance_hosts", LoadBalance::parse, LoadBalance::Disable)?,
            connect_timeout,
            keepalive: keepalive(&mut p)?,
            tcp_user_timeout: Some(Duration::from_millis(tcp_user_timeout.into())).filter(|t| !t.is_zero()),
            application_name: p.take("application_name"),
            default_application_name: p
                .take("fallback_application_name")
                .unwrap_or_else(|| "trunkline".to_owned()),
            prepared: keyword(&mut p, "prepared", Prepared::parse, Prepared::Auto)?,
            warnings,
        })
    }

    /// Names the program: sessions are called `trunkline/<program>` unless the settings name them.
    #[must_use]
    pub fn with_program(mut self, program: &str) -> Self {
        self.default_application_name = format!("trunkline/{program}");
        self
    }

    /// The same server and login, another database. A password that a password file gave for one database stays.
    #[must_use]
    pub fn with_database(mut self, name: impl Into<String>) -> Self {
        self.dbname = name.into();
        self
    }

    /// What was odd but not wrong: unknown settings, a password file that others can read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The user to log in as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database.
    #[must_use]
    pub fn dbname(&self) -> &str {
        &self.dbname
    }

    /// The name that our sessions show in `pg_stat_activity`.
    #[must_use]
    pub fn application_name(&self) -> &str {
        self.application_name.as_deref().unwrap_or(&self.default_application_name)
    }

    /// The TLS mode.
    #[must_use]
    pub fn sslmode(&self) -> SslMode {
        self.tls.mode
    }

    /// Whether statements may be prepared; a session behind a pooler does not prepare in any case.
    #[must_use]
    pub fn prepared(&self) -> Prepared {
        self.prepared
    }

    /// Host, port and whether a password is known, in the order in which they are tried.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16, bool)> {
        self.endpoints.iter().map(|e| (e.host.as_str(), e.port, e.password.is_some()))
    }

    /// A URL for people, without the password and without what rarely matters (options, certificates, addresses).
    #[must_use]
    pub fn display_url(&self) -> String {
        let host = |e: &Endpoint| match e.host.parse() {
            Ok(IpAddr::V6(v6)) => format!("[{v6}]:{}", e.port),
            _ => format!("{}:{}", text::encode(&e.host), e.port),
        };
        let hosts: Vec<String> = self.endpoints.iter().map(host).collect();
        let (user, db) = (text::encode(&self.user), text::encode(&self.dbname));
        let roots = match (self.tls.mode, &self.tls.roots) {
            (SslMode::VerifyCa | SslMode::VerifyFull, Roots::System) => "&sslrootcert=system".to_owned(),
            (SslMode::VerifyCa | SslMode::VerifyFull, Roots::File(f)) => {
                format!("&sslrootcert={}", text::encode(&f.to_string_lossy()))
            }
            _ => String::new(),
        };
        format!("postgresql://{user}@{}/{db}?sslmode={}{roots}", hosts.join(","), self.tls.mode.as_str())
    }
}

fn keyword<T>(p: &mut Params, key: &str, parse: fn(&str) -> Result<T>, default: T) -> Result<T> {
    p.take(key).map_or(Ok(default), |v| parse(&v))
}

/// Settings of which we implement one value only.
fn check_fixed(p: &mut Params, warnings: &mut Vec<String>) -> Result<()> {
    if p.take("gssencmode").is_some_and(|v| v == "require") {
        return Err(config("gssencmode: GSSAPI encryption is not supported; use prefer or disable"));
    }
    let encoding = p.take("client_encoding").unwrap_or_default().to_ascii_lowercase();
    if !matches!(encoding.as_str(), "" | "auto" | "utf8" | "utf-8" | "unicode") {
        warnings.push("client_encoding: ignored, sessions always use UTF8".to_owned());
    }
    Ok(())
}

fn endpoints(p: &mut Params, env: &Env) -> Result<Vec<Endpoint>> {
    let split = |v: Option<String>| -> Vec<String> {
        v.map(|v| v.split(',').map(|s| s.trim().to_owned()).collect()).unwrap_or_default()
    };
    let (hosts, addrs, ports) = (split(p.take("host")), split(p.take("hostaddr")), split(p.take("port")));
    let count = hosts.len().max(addrs.len()).max(1);
    if !hosts.is_empty() && !addrs.is_empty() && hosts.len() != addrs.len() {
        return Err(config(format!("hostaddr: {} addresses for {} hosts", addrs.len(), hosts.len())));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(config(format!("port: {} ports for {count} hosts", ports.len())));
    }
    let mut out = Vec::with_capacity(count);
    for i in 0..count {
        let port = ports.get(i).or(ports.first().filter(|_| ports.len() == 1)).filter(|p| !p.is_empty());
        let port = port.map_or(Ok(5432), |p| values::port(p))?;
        let addr = addrs.get(i).filter(|a| !a.is_empty()).map(|a| a.parse::<IpAddr>());
        let addr = addr.transpose().map_err(|_| config("hostaddr: must be an IPv4 or IPv6 address"))?;
        let host = hosts.get(i).filter(|h| !h.is_empty()).cloned();
        if host.as_ref().is_some_and(|h| h.starts_with('@')) {
            return Err(config("host: abstract Unix sockets are not supported"));
        }
        let nameless = host.is_none() && addr.is_some();
        let host = host.or_else(|| addr.map(|a| a.to_string())).unwrap_or_else(|| default_host(port, env));
        out.push(Endpoint { host, addr, port, password: None, nameless });
    }
    Ok(out)
}

/// The first usual socket directory with a socket in it, else `localhost`.
fn default_host(port: u16, env: &Env) -> String {
    let socket = format!(".s.PGSQL.{port}");
    let dir = SOCKET_DIRS.iter().find(|d| env.exists(&Path::new(d).join(&socket)));
    dir.map_or("localhost", |d| d).to_owned()
}

fn passwords(
    hosts: &mut [Endpoint],
    p: &mut Params,
    env: &Env,
    warnings: &mut Vec<String>,
    db: &str,
    user: &str,
) {
    let file = p.take("passfile");
    if let Some(password) = p.take("password") {
        hosts.iter_mut().for_each(|e| e.password = Some(Secret::new(password.clone())));
        return;
    }
    let file = PassFile::read(file, env, warnings);
    for e in hosts {
        let name = if SOCKET_DIRS.contains(&e.host.as_str()) { "localhost" } else { &e.host };
        e.password = file.find(name, e.port, db, user);
    }
}

fn tls(p: &mut Params, env: &Env) -> Result<TlsSettings> {
    let in_home = |name: &str| env.in_home(".postgresql").map(|d| d.join(name)).filter(|f| env.exists(f));
    let roots = match p.take("sslrootcert") {
        Some(word) if word == "system" => Roots::System,
        Some(file) => Roots::File(PathBuf::from(file)),
        None => in_home("root.crt").map_or(Roots::None, Roots::File),
    };
    let default = if roots == Roots::System { SslMode::VerifyFull } else { SslMode::Prefer };
    let mode = keyword(p, "sslmode", SslMode::parse, default)?;
    let negotiation = keyword(p, "sslnegotiation", SslNegotiation::parse, SslNegotiation::Postgres)?;
    if roots == Roots::System && mode != SslMode::VerifyFull {
        return Err(config("sslmode: sslrootcert=system needs verify-full"));
    }
    if matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) && roots == Roots::None {
        return Err(config(
            "sslrootcert: needed by verify-ca and verify-full: a file, or system for verify-full",
        ));
    }
    if negotiation == SslNegotiation::Direct
        && matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer)
    {
        return Err(config("sslnegotiation: direct needs sslmode require or stronger"));
    }
    let cert = p.take("sslcert").map(PathBuf::from).or_else(|| in_home("postgresql.crt"));
    let key = p.take("sslkey").map(PathBuf::from).or_else(|| in_home("postgresql.key"));
    if cert.is_some() && key.is_none() {
        return Err(config("sslkey: sslcert was given without it"));
    }
    let tls13_only = match p.take("ssl_min_protocol_version").as_deref() {
        Some("TLSv1.3") => true,
        None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
        Some(_) => return Err(config("ssl_min_protocol_version: must be one of TLSv1.2 TLSv1.3")),
    };
    Ok(TlsSettings { mode, roots, cert, key, negotiation, tls13_only })
}

fn keepalive(p: &mut Params) -> Result<Option<Keepalive>> {
    let mut get = |key: &str, default: u32| -> Result<u32> {
        let given = p.take(key).map(|v| values::number(key, &v, 0, 32_767)).transpose()?;
        Ok(given.filter(|n| *n > 0).unwrap_or(default))
    };
    let (idle, interval) = (get("keepalives_idle", 5)?, get("keepalives_interval", 2)?);
    let count = get("keepalives_count", 3)?;
    let on = p.take("keepalives").map_or(Ok(1), |v| values::number("keepalives", &v, 0, 1))?;
    let seconds = |n: u32| Duration::from_secs(n.into());
    Ok((on == 1).then(|| Keepalive { idle: seconds(idle), interval: seconds(interval), count }))
}
