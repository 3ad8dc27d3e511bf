//! Many who are slow, many who watch, one who never reads, and the database away: the process lives, says 503, and is well again.
//!
//! `TRUNKLINE_TEST_CROWD=full` for 1,000 slow clients and 2,000 viewers; else 300 of each, more than there is room for.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use trunkline_embedded::Mode;

use crate::{http::Served, ok, sql, start, temporary, until};

/// The status that comes first, and the connection; 0 where it was closed.
fn watch(address: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
    let _ = write!(stream, "GET /live?page=jobs HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut head = [0; 12];
    let status = match stream.read_exact(&mut head) {
        Ok(()) => String::from_utf8_lossy(&head[9..]).parse().unwrap_or(0),
        Err(_) => 0,
    };
    (status, stream)
}

/// The memory of a process in MiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_crowd_of_slow_clients_and_viewers_with_the_database_away_is_lived_through() {
    let full = std::env::var("TRUNKLINE_TEST_CROWD").is_ok_and(|v| v == "full");
    let (slow, viewers) = if full { (1000, 2000) } else { (300, 300) };
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let needed = 5000.min(hard);
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft.max(needed), hard)
        .unwrap();

    let dir = temporary();
    let first = start(&dir.path().join("pg"));
    let url = first.url();
    ok(&url, &["-q", "schema", "install"]);
    sql(
        &url,
        "select count(trunkline.job_open('queue-of-a-long-name-' || n)) from generate_series(1, 200) n",
    );
    let mut served = Served::start(&url, &[], &[]);
    let pid = served.daemon.id();
    let before = memory(pid);
    // None of them reads more than its status.
    let watching: Vec<(u16, TcpStream)> = (0..viewers).map(|_| watch(&served.address)).collect();
    let of = |status: u16| watching.iter().filter(|(s, _)| *s == status).count();
    assert_eq!((of(200), of(503)), (256, viewers - 256));
    let half = b"GET / HTTP/1.1\r\nhost: loc";
    let slowly: Vec<TcpStream> = (0..slow)
        .map(|_| {
            let mut stream = TcpStream::connect(&served.address).unwrap();
            let _ = stream.write_all(half);
            stream
        })
        .collect();
    let asked = Instant::now();
    assert_eq!(served.get("/livez").status, 503, "no slot is free");
    assert!(asked.elapsed().as_secs() < 2, "and that is said at once");
    let most = memory(pid);
    first.stop(Mode::Immediate).unwrap();
    // The slow ones are given up after ten seconds, and with them their slots come back.
    until("slots to be free", || served.get("/livez").status == 200);
    for path in ["/", "/jobs/list", "/api/v1/queues", "/readyz"] {
        assert_eq!(served.get(path).status, 503, "{path}");
    }
    drop((watching, slowly));
    let _second = start(&dir.path().join("pg")).stop_on_drop();
    until("it to be back", || served.get("/").status == 200 && served.get("/readyz").status == 200);
    until("places to be free", || watch(&served.address).0 == 200);
    assert!(!served.daemon.ended());
    assert!(most < before + 200, "{before} MiB, and {most} MiB with the crowd");
    if full {
        println!("{slow} slow, {viewers} viewers: {before} MiB before, {most} MiB with them");
    }
}
