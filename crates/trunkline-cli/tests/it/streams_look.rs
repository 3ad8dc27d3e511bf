//! `trunkline streams ls`, `consumers`, `dead`, `replay`, `purge`, `seek`, `set`.

use serde_json::{Value, json};

use crate::{
    code, database, ok, run, stderr,
    streams::{numbers, orders, read},
};

/// What a command prints with `--json`, one value a line.
#[track_caller]
fn rows(url: &str, args: &[&str]) -> Vec<Value> {
    let printed = ok(url, &[&["--json", "streams"], args].concat());
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn streams_and_consumers_are_listed() {
    let url = orders();
    ok(&url, &["streams", "register", "orders", "slow"]);
    numbers(&url, 5);
    read(&url, "c");
    let streams = rows(&url, &["ls"]);
    let (first, of) = (&streams[0], |name: &str| streams[0][name].clone());
    assert_eq!((streams.len(), &first["stream"], of("consumers")), (1, &json!("orders"), json!(2)));
    assert_eq!((of("furthest_behind"), of("closed")), (json!("slow"), json!(false)), "{first}");
    assert!(ok(&url, &["streams", "ls"]).starts_with("orders\t"));
    let consumers = rows(&url, &["consumers", "orders"]);
    let backlog: Vec<_> =
        consumers.iter().map(|c| (c["consumer"].as_str().unwrap(), &c["backlog"])).collect();
    assert_eq!(backlog, [("c", &json!(0)), ("slow", &json!(5))]);
    assert_eq!(rows(&url, &["consumers"]).len(), 2);
    assert_eq!(code(&run(&url, &["streams", "consumers", "none"])), 4);
}

#[test]
fn dead_letters_are_shown_come_again_or_are_deleted() {
    let url = orders();
    ok(&url, &["streams", "set", "orders", "--consumer", "c", "max_attempts=1", "max_events=100"]);
    numbers(&url, 4);
    ok(&url, &["-q", "streams", "read", "orders", "-c", "c", "--exec", "echo S3cret >&2; exit 3"]);
    let dead = rows(&url, &["dead", "orders", "c"]);
    let payloads: Vec<_> = dead.iter().map(|d| d["payload"].as_str().unwrap()).collect();
    assert_eq!((payloads, &dead[0]["cause"]), (vec!["1", "2", "3", "4"], &json!("exit status 3: S3cret")));
    assert!(ok(&url, &["streams", "dead", "orders", "c", "--limit", "1"]).contains("exit status 3: S3cret"));
    let id = |n: usize| dead[n]["id"].to_string();
    assert_eq!(rows(&url, &["dead", "orders", "c", "--after", &id(1)]).len(), 2);
    assert_eq!(ok(&url, &["streams", "replay", "orders", "c", &id(1)]), "1\n");
    assert_eq!(read(&url, "c"), "2\n");
    let asked = run(&url, &["streams", "purge", "orders", "c", "--all"]);
    assert!(code(&asked) == 8 && stderr(&asked).contains("all dead letters"), "{}", stderr(&asked));
    assert_eq!(ok(&url, &["-y", "streams", "purge", "orders", "c", &id(0), "999"]), "1\n");
    assert_eq!(rows(&url, &["replay", "orders", "c", "--all"]), [json!({"replayed": 2})]);
    assert_eq!(read(&url, "c"), "3\n4\n");
    assert_eq!(rows(&url, &["dead", "orders", "c"]).len(), 0);
}

#[test]
fn a_consumer_is_moved_and_settings_are_changed_all_or_none() {
    let url = orders();
    numbers(&url, 3);
    assert_eq!(read(&url, "c"), "1\n2\n3\n");
    let tick = ok(&url, &["streams", "seek", "orders", "c", "--at", "beginning"]);
    assert!(tick.trim().parse::<i64>().unwrap() > 0);
    assert_eq!(read(&url, "c"), "1\n2\n3\n");
    ok(&url, &["streams", "seek", "orders", "c", "--at", "beginning"]);
    ok(&url, &["streams", "seek", "orders", "c", "--at", "end"]);
    assert_eq!(read(&url, "c"), "");
    for (args, expected, words) in [
        (&["set", "orders", "max_bytes=9", "max_bites=1"][..], 2, "max_bites"),
        (&["set", "orders", "max_bytes=9", "tick_lag=soon"], 2, "tick_lag"),
        (&["set", "orders", "max_bytes"], 2, "name=value"),
        (&["set", "orders", "-c", "nobody", "max_events=1"], 4, "nobody"),
        (&["set", "none", "max_bytes=9"], 4, "none"),
        (&["seek", "orders", "c", "--at", "tick:999"], 4, "tick:999"),
        (&["seek", "orders", "c"], 2, "--at"),
        (&["replay", "orders", "c"], 2, "--all"),
        (&["replay", "orders", "c", "x"], 2, "invalid"),
        (&["purge", "orders", "c", "1", "--all"], 2, "cannot be used"),
        (&["dead", "orders", "nobody"], 4, "nobody"),
        (&["dead", "orders", "c", "--limit", "0"], 2, "--limit"),
    ] {
        let refused = run(&url, &[&["-q", "-y", "streams"], args].concat());
        let said = stderr(&refused);
        assert!(code(&refused) == expected && said.contains(words), "{args:?}: {} {said}", code(&refused));
    }
    ok(&url, &["streams", "append", "orders", "more than nine bytes"]);
}

#[test]
fn who_peeks_sees_the_newest_and_takes_nothing() {
    let url = database();
    ok(&url, &["streams", "create", "s"]);
    ok(&url, &["streams", "register", "s", "c"]);
    for n in 1..=3 {
        ok(&url, &["streams", "append", "s", &format!("e{n}"), "--type", "t"]);
        ok(&url, &["topics", "pub", "news", &format!("m{n}")]);
    }
    for (args, wanted) in
        [(["streams", "peek", "s"], ["e3", "e2"]), (["topics", "peek", "news"], ["m3", "m2"])]
    {
        let told = ok(&url, &[&["--json"][..], &args, &["--limit", "2"]].concat());
        let payloads: Vec<Value> =
            told.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["payload"].take()).collect();
        assert_eq!(payloads, wanted, "{told}");
    }
    let refused = run(&url, &["streams", "peek", "none"]);
    assert!(code(&refused) != 0 && stderr(&refused).contains("no stream"), "{}", stderr(&refused));
    assert_eq!(code(&run(&url, &["topics", "peek", "news", "--limit", "0"])), 2);
    assert_eq!(ok(&url, &["streams", "read", "s", "-c", "c"]).lines().count(), 3);
}
