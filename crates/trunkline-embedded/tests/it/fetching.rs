//! Fetching PostgreSQL where none is installed, and refusing what is not what was pinned.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use tar::EntryType;
use trunkline_embedded::{Error, Server};

use crate::archives::{Mirror, raw_entry};
use crate::world::{Place, ask, fails};

/// Serves the files below a directory; tells every path that was asked for.
fn serve(dir: PathBuf) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/pg", listener.local_addr().unwrap());
    let (tell, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines: Vec<String> = BufReader::new(&stream)
                .lines()
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = lines[0].split(' ').nth(1).unwrap().to_owned();
            let answer = match fs::read(dir.join(path.rsplit('/').next().unwrap())) {
                Ok(body) => {
                    let mut answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len()).into_bytes();
                    answer.extend_from_slice(b"Connection: close\r\n\r\n");
                    answer.extend_from_slice(&body);
                    answer
                }
                Err(_) => {
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
                }
            };
            let _ = stream.write_all(&answer);
            if tell.send(path).is_err() {
                return;
            }
        }
    });
    (base, asked)
}

/// What is in the cache, but for the lock.
fn cached(place: &Place) -> Vec<String> {
    let entries =
        fs::read_dir(place.cache()).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != ".lock").collect()
}

fn path(dir: &Path) -> String {
    dir.to_string_lossy().into_owned()
}

#[test]
fn an_empty_path_and_a_mirror_end_in_a_running_server() {
    let place = Place::new();
    let mirror = Mirror::good(&place.path().join("mirror"));
    let settings = place.settings().environment(place.nothing_installed());
    for from in [path(&mirror.dir), format!("file://{}", path(&mirror.dir))] {
        let _ = fs::remove_dir_all(place.cache());
        let mut notices = Vec::new();
        let settings = settings.clone().fetch(mirror.from(from));
        let server = Server::start(&settings, &mut |line| notices.push(line.to_owned())).unwrap();
        assert_eq!(ask(&server, "select 'up'"), "up");
        for part in [&mirror.archive.file_name(), " MB", &path(&mirror.dir), &path(&place.cache())] {
            assert!(notices[0].contains(part), "{part} is missing in {notices:?}");
        }
        assert_eq!(cached(&place), [mirror.archive.version.as_str()]);
        server.destroy().unwrap();
    }
}

#[test]
fn a_mirror_on_the_web_is_asked_once() {
    let place = Place::new();
    let mirror = Mirror::good(&place.path().join("mirror"));
    let (base, asked) = serve(mirror.dir.clone());
    // Named in the environment this time.
    let environment = place.nothing_installed().var("TRUNKLINE_PG_MIRROR", format!("{base}/"));
    let fetch = trunkline_embedded::Fetch::allowed().with_archive(mirror.archive.clone());
    let settings = place.settings().environment(environment).fetch(fetch);
    for _ in 0..2 {
        let server = Server::start(&settings, &mut |_| {}).unwrap();
        assert_eq!(ask(&server, "select 'up'"), "up");
        server.destroy().unwrap();
    }
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked, [format!("/pg/{}/{}", mirror.archive.version, mirror.archive.file_name())]);
}

#[test]
fn an_archive_that_is_not_the_pinned_one_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let mirror = Mirror::packed(&place.path().join("mirror"), |builder| {
        raw_entry(
            builder,
            "x/bin/postgres",
            EntryType::Regular,
            "",
            "#!/bin/sh\necho 'postgres (PostgreSQL) 18.1'",
        );
        raw_entry(builder, "x/bin/initdb", EntryType::Regular, "", "#!/bin/sh\nexit 1");
    });
    let good = fs::read(mirror.file()).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let longer = [good.as_slice(), b"x"].concat();
    let (base, _asked) = serve(mirror.dir.clone());
    let settings = place.settings().environment(place.nothing_installed());
    for (content, says) in
        [(flipped, "its SHA-256 is"), (good[..good.len() / 2].to_vec(), "only"), (longer, "more")]
    {
        fs::write(mirror.file(), content).unwrap();
        for from in [path(&mirror.dir), base.clone()] {
            let error = fails(&settings.clone().fetch(mirror.from(from)));
            assert!(
                matches!(&error, Error::Fetch { reason, .. } if reason.contains(says)),
                "{says}: {error}"
            );
            assert_eq!(cached(&place), [""; 0]);
        }
    }
    fs::write(mirror.file(), good).unwrap();
    let error = fails(&settings.fetch(mirror.from(path(&mirror.dir))));
    assert!(matches!(error, Error::Initdb { .. }), "the true one is taken: {error}");
}

#[test]
fn an_archive_that_leads_outside_is_refused_whole() {
    use EntryType::{Link, Regular, Symlink};
    type Entry = (&'static str, EntryType, &'static str);
    let evil: [(&str, &[Entry]); 7] = [
        ("climbs", &[("x/../../evil", Regular, "")]),
        ("is absolute", &[("/tmp/trunkline-test-evil", Regular, "")]),
        ("links away", &[("x/a", Symlink, "/tmp")]),
        ("links up", &[("x/a", Symlink, "../../up")]),
        ("writes through a link", &[("x/a", Symlink, "../../.."), ("x/a/evil", Regular, "")]),
        ("links hard", &[("x/a", Link, "/etc/passwd")]),
        ("is a device", &[("x/a", EntryType::Char, "")]),
    ];
    for (what, entries) in evil {
        let place = Place::new();
        let mirror = Mirror::packed(&place.path().join("mirror"), |builder| {
            raw_entry(builder, "x/bin/postgres", Regular, "", "#!/bin/sh\necho 'postgres (PostgreSQL) 18.1'");
            raw_entry(builder, "x/bin/initdb", Regular, "", "#!/bin/sh\nexit 1");
            for (name, kind, link) in entries {
                raw_entry(builder, name, *kind, link, if *kind == Regular { "evil" } else { "" });
            }
        });
        let settings = place.settings().environment(place.nothing_installed());
        let error = fails(&settings.fetch(mirror.from(path(&mirror.dir))));
        assert!(
            matches!(&error, Error::Fetch { reason, .. } if reason.contains("leads outside")),
            "{what}: {error}"
        );
        assert_eq!(cached(&place), [""; 0], "{what}");
        assert!(!place.path().join("evil").exists() && !place.cache().join("evil").exists(), "{what}");
        assert!(!Path::new("/tmp/trunkline-test-evil").exists(), "{what}");
    }
}

#[test]
fn programs_that_do_not_run_here_are_refused_with_their_own_words() {
    let place = Place::new();
    let mirror = Mirror::packed(&place.path().join("mirror"), |builder| {
        let broken = "#!/bin/sh\necho 'version GLIBC_2.99 not found' >&2; exit 1";
        raw_entry(builder, "x/bin/postgres", EntryType::Regular, "", broken);
        raw_entry(builder, "x/bin/initdb", EntryType::Regular, "", broken);
    });
    let settings = place.settings().environment(place.nothing_installed());
    let error = fails(&settings.fetch(mirror.from(path(&mirror.dir))));
    assert!(matches!(&error, Error::Fetch { reason, .. } if reason.contains("GLIBC_2.99")), "{error}");
    assert_eq!(cached(&place), [""; 0]);
}

#[test]
fn a_mirror_that_cannot_be_reached_says_so_and_what_else_to_do() {
    let place = Place::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (empty, _asked) = serve(place.path().join("nothing"));
    let settings = place.settings().environment(place.nothing_installed());
    // Not TLS on the other side: enough to see that our side speaks it.
    let no_tls = empty.replacen("http", "https", 1);
    for from in [format!("http://{closed}"), empty, no_tls, path(&place.path().join("nothing"))] {
        let mirror = Mirror::packed(&place.path().join("mirror"), |_| {});
        let error = fails(&settings.clone().fetch(mirror.from(from.clone())));
        assert!(matches!(error, Error::Fetch { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&from) && text.contains("apt install") && text.contains("TRUNKLINE_PG_MIRROR"),
            "{text}"
        );
        assert_eq!(cached(&place), [""; 0]);
    }
}
