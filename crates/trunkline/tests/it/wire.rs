//! A wire between a process and the server, that loses what one of them says, and is cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trunkline::{
    Trunkline,
    conninfo::{ConnInfo, Env},
};

use crate::support::Db;

/// Hands everything through, until told to lose it, and to hang up.
pub struct Wire {
    url: String,
    /// What the server says is lost.
    pub deaf: Arc<AtomicBool>,
    /// What the process says is lost.
    pub mute: Arc<AtomicBool>,
    /// How many bytes the process said in vain.
    pub lost: Arc<AtomicUsize>,
    cut: tokio::sync::watch::Sender<u32>,
    still: tokio::sync::watch::Sender<bool>,
}

impl Wire {
    pub fn new(db: &Db) -> Self {
        let part = |name: &str| {
            let at = db.url.find(&format!("{name}=")).unwrap() + name.len() + 1;
            db.url[at..].split('&').next().unwrap().to_owned()
        };
        let (host, port) = (part("host"), part("port"));
        let real = host.replace("%2F", "/").replace("%2f", "/");
        let dir = std::env::temp_dir().join(format!("tl-wire-{}-{}", std::process::id(), db.name));
        std::fs::create_dir_all(&dir).unwrap();
        let socket = format!(".s.PGSQL.{port}");
        let _ = std::fs::remove_file(dir.join(&socket));
        let listener = tokio::net::UnixListener::bind(dir.join(&socket)).unwrap();
        let (cut, cuts) = tokio::sync::watch::channel(0_u32);
        let url = db.url.replace(
            &format!("host={host}"),
            &format!("host={}", dir.display().to_string().replace('/', "%2F")),
        );
        let (still, stillness) = tokio::sync::watch::channel(false);
        let wire = Self { url, deaf: Arc::default(), mute: Arc::default(), lost: Arc::default(), cut, still };
        let (deaf, mute, lost) = (wire.deaf.clone(), wire.mute.clone(), wire.lost.clone());
        let real = format!("{real}/{socket}");
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (deaf, mute, lost) = (deaf.clone(), mute.clone(), lost.clone());
                let (real, mut cuts, mut still) = (real.clone(), cuts.clone(), stillness.clone());
                cuts.borrow_and_update();
                tokio::spawn(async move {
                    let Ok(mut far) = tokio::net::UnixStream::connect(&real).await else { return };
                    let (mut a, mut b) = (vec![0; 65536], vec![0; 65536]);
                    loop {
                        tokio::select! {
                            () = async { drop(still.wait_for(|still| !*still).await) } => {}
                            _ = cuts.changed() => return,
                        }
                        tokio::select! {
                            () = async { drop(still.wait_for(|still| *still).await) } => {}
                            n = near.read(&mut a) => match n {
                                Ok(n) if n > 0 => if mute.load(Ordering::Relaxed) {
                                    lost.fetch_add(n, Ordering::Relaxed);
                                } else if far.write_all(&a[..n]).await.is_err() {
                                    return;
                                },
                                _ => return,
                            },
                            n = far.read(&mut b) => match n {
                                Ok(n) if n > 0 => if !deaf.load(Ordering::Relaxed) {
                                    let _ = near.write_all(&b[..n]).await;
                                },
                                _ => return,
                            },
                            _ = cuts.changed() => return,
                        }
                    }
                });
            }
        });
        wire
    }

    /// The database as it is at the end of the wire.
    pub fn db(&self, db: &Db) -> Db {
        Db { url: self.url.clone(), ..db.clone() }
    }

    /// From now on neither hears the other.
    pub fn silence(&self) {
        self.deaf.store(true, Ordering::Relaxed);
        self.mute.store(true, Ordering::Relaxed);
    }

    /// Whether it stands still: what either says waits, and comes once it goes on, as from a network that was parted.
    pub fn stand_still(&self, still: bool) {
        self.still.send_replace(still);
    }

    /// A process of the library's kind at the end of the wire.
    pub async fn client(&self, application: &str) -> Trunkline {
        let text = format!("{}&application_name={application}", self.url);
        Trunkline::with(ConnInfo::from_str_with(&text, &Env::empty()).unwrap()).await.unwrap()
    }

    /// Ends the connections; the next ones lose nothing.
    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
        self.deaf.store(false, Ordering::Relaxed);
        self.mute.store(false, Ordering::Relaxed);
    }
}
