//! What people pass in: refused before anything is written, with one code, naming the limit and never the payload.

use std::time::Duration;

use trunkline::{Error, ErrorKind, requests::Serve};

use crate::{
    requests::{echo, served},
    support::{Db, millis, secs, within},
};

#[tokio::test]
async fn names_out_of_their_limits_are_refused_and_nothing_is_made() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let long = "a".repeat(49);
    let huge = "b".repeat(10 << 20);
    let names: Vec<(&str, &str)> = vec![
        ("", "22023"),
        (&long, "22023"),
        (&huge, "22023"),
        ("Robert''); DROP TABLE x;--", "22023"),
        ("\"quoted\"", "22023"),
        ("a.b;c", "22023"),
        ("../x", "22023"),
        ("a ", "22023"),
        (" a", "22023"),
        ("e\u{301}", "22023"),
        ("\u{1F600}", "22023"),
        ("a\u{200D}b", "22023"),
        ("Work", "22023"),
        ("a\n", "22023"),
        ("-a", "22023"),
        ("pg_x", "TL011"),
        ("pgq", "TL011"),
        ("trunkline_x", "TL011"),
        ("@", "22023"),
        ("@x", "22023"),
        ("%", "22023"),
        ("@00000000-0000-4000-8000-000000000000", "TL012"),
    ];
    for (name, code) in names {
        let shown: String = name.chars().take(20).collect();
        for call in ["request_send('{}', 'x')", "request_send_bytes('{}', 'x')", "request_serve('{}')"] {
            let sql = format!("select trunkline.{}", call.replace("{}", name));
            if !(code == "TL012" && call.contains("serve")) {
                assert_eq!(raw.code(&sql).await, code, "{shown} {call}");
            }
        }
        let said = raw.failure(&format!("select trunkline.request_send('{name}', 'S3cret-')")).await;
        assert!(said.len() < 2_000 && !said.contains("S3cret"), "{shown}: {}", said.len());
    }
    assert_eq!(raw.one("select count(*) from trunkline.request_channel").await, "0");
    for ok in ["a", "0", "a.b_c-d", &"a".repeat(48)] {
        assert_eq!(raw.code(&format!("select trunkline.request_open('{ok}')")).await, "00000", "{ok}");
    }
}

#[tokio::test]
async fn nulls_are_refused_by_name() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_serve('work')").await;
    for (call, code) in [
        ("request_send(null, 'x')", "22004"),
        ("request_send('work', null)", "22004"),
        ("request_send('work', 'x', null)", "22004"),
        ("request_send('work', 'x', timeout => null)", "22023"),
        ("request_send('work', 'x', idempotent => null)", "00000"),
        ("request_send('work', 'x', headers => null)", "00000"),
        ("request_send_bytes('work', null)", "22004"),
        ("request_serve(null)", "22004"),
        ("request_serve('work', array[null])", "22004"),
        ("request_open(null)", "22004"),
        ("request_open('x', null, null)", "00000"),
        ("request_reply(null, 'x')", "22023"),
        ("request_fail(null, null, null)", "22023"),
        ("request_part(null, 1, 'x')", "22023"),
        ("request_part('1:1:1', null, 'x')", "22023"),
        ("request_cancel(null)", "TL007"),
        ("lease_acquire(null, null, null)", "22004"),
        ("lease_acquire('l', null, '1 s')", "22004"),
        ("lease_acquire('l', gen_random_uuid(), null)", "22023"),
        ("lease_renew(null, null, null, null)", "22004"),
        ("lease_release(null, null, null)", "22004"),
        ("lease_release('l', null, null)", "00000"),
        ("lease_check(null, null)", "TL002"),
        ("lease_resign(null)", "22004"),
        ("lease_resign('nothing', null)", "42704"),
        ("lease_waiters(null)", "00000"),
        ("grant_to(null, 'reader')", "22004"),
        ("grant_to('postgres', null)", "22023"),
        ("grant_to('postgres', 'god')", "22023"),
        ("grant_to('no such role', 'reader')", "42704"),
    ] {
        assert_eq!(raw.code(&format!("select trunkline.{call}")).await, code, "{call}");
    }
    for (call, code) in [
        ("request_take(null)", "22004"),
        ("request_take('work', null)", "22023"),
        ("request_take('work', 0)", "22023"),
        ("request_take('work', -1)", "22023"),
        ("request_take('other')", "42704"),
        ("request_list(null, null)", "00000"),
        ("request_await(null, null)", "TL007"),
    ] {
        assert_eq!(raw.code(&format!("select * from trunkline.{call}")).await, code, "{call}");
    }
    assert_eq!(raw.code("select * from trunkline.request_take('work', 2147483647)").await, "00000");
}

#[tokio::test]
async fn times_sizes_headers_and_claims_out_of_their_limits_are_refused() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_serve('work')").await;
    for bad in ["0", "-1 s", "0.9 ms", "7 days 1 ms", "1 year", "100000000 years", "-100000000 years"] {
        assert_eq!(
            raw.code(&format!("select trunkline.request_send('work', 'x', timeout => '{bad}')")).await,
            "22023",
            "{bad}"
        );
    }
    for bad in ["infinity", "NaN", "1e20 s", "1e30 days"] {
        let code = raw.code(&format!("select trunkline.request_send('work', 'x', timeout => '{bad}')")).await;
        assert!(code.starts_with("22"), "{bad}: {code}");
    }
    for good in ["1 ms", "7 days"] {
        assert_eq!(
            raw.code(&format!("select trunkline.request_send('work', 'x', timeout => '{good}')")).await,
            "00000",
            "{good}"
        );
    }
    for bad in [
        "[]",
        "1",
        "\"x\"",
        "null",
        "{\"a\": 1}",
        "{\"a\": {}}",
        "{\"a\": null}",
        "{\"a\": \"b\\r\\nc\"}",
        "{\"a\\n\": \"b\"}",
    ] {
        assert_eq!(
            raw.code(&format!("select trunkline.request_send('work', 'x', headers => '{bad}')")).await,
            "22023",
            "{bad}"
        );
    }
    let many = "select trunkline.request_send('work', 'x', headers => (select jsonb_object_agg('k' || i, 'v') from generate_series(1, 65) i))";
    assert_eq!(raw.code(many).await, "22023");
    let wide = "select trunkline.request_send('work', 'x', headers => jsonb_build_object('k', repeat('S3cret', 1400)))";
    assert!(raw.failure(wide).await.contains("8192") && !raw.failure(wide).await.contains("S3cret"));
    for bad in ["x", "", "1:2", "1:2:3:4", "1:2:3 ", "-1:1:1", "1:1:9999", "1e3:1:1", "1:1:1\n"] {
        assert_eq!(
            raw.code(&format!("select trunkline.request_reply('{bad}', 'x')")).await,
            "22023",
            "{bad:?}"
        );
    }
    for stale in ["1:1:1", "4:1:1", "6:-1:128", "999999999999999999:1:0"] {
        assert_eq!(
            raw.code(&format!("select trunkline.request_reply('{stale}', 'x')")).await,
            "TL001",
            "{stale}"
        );
    }
    assert_eq!(raw.code("select trunkline.request_reply('1:9999999999999999999:1', 'x')").await, "22003");
    let kind = format!("select trunkline.request_send('work', 'x', '{}')", "t".repeat(101));
    assert_eq!(raw.code(&kind).await, "22023");
    assert_eq!(raw.code("select trunkline.request_send('work', 'x', E'a\\tb')").await, "22023");
    assert_eq!(
        raw.code(
            "select trunkline.request_serve('work', array(select i::text from generate_series(1, 101) i))"
        )
        .await,
        "22023"
    );
    for bad in ["-1", "67108865"] {
        assert_eq!(
            raw.code(&format!("select trunkline.request_open('n', max_bytes => {bad})")).await,
            "22023",
            "{bad}"
        );
    }
    raw.run("select trunkline.request_open('n', max_bytes => 3)").await;
    assert_eq!(raw.code("select trunkline.request_open('n', max_bytes => 4)").await, "42710");
    assert_eq!(raw.code("select trunkline.request_open('n', true)").await, "42710");
    assert_eq!(
        raw.code("select trunkline.request_send('n', 'éé', wait_for_responder => true)").await,
        "TL004"
    );
    let said = raw.failure("select trunkline.request_send('n', 'S3cret-', wait_for_responder => true)").await;
    assert!(said.contains("TL004") && said.contains('7') && !said.contains("S3cret"), "{said}");
}

#[tokio::test]
async fn the_library_refuses_what_is_out_of_its_limits() {
    let db = Db::new().await;
    let tl = db.client("it").await;
    let _serving = echo(&tl, "work");
    served(&db, "work", 1).await;
    let kind = |e: Error| e.kind();
    for timeout in [Duration::ZERO, Duration::from_micros(999), secs(604_801), Duration::MAX] {
        assert_eq!(
            tl.requests().call("work", "x").timeout(timeout).await.map_err(kind),
            Err(ErrorKind::Invalid),
            "{timeout:?}"
        );
    }
    let shortest =
        within(200, "an end", async { tl.requests().call("work", "x").timeout(millis(1)).await }).await;
    assert!(shortest.is_ok() || shortest.unwrap_err().kind() == ErrorKind::TimedOut);
    tl.requests().call("work", "x").timeout(secs(604_800)).await.unwrap();
    for name in ["", "Work", "a b", "@x", "pg_x", &"x".repeat(49)] {
        assert_eq!(tl.requests().call(name, "x").await.map_err(kind), Err(ErrorKind::Invalid), "{name:?}");
    }
    for (name, value) in [("a\n", "b"), ("a", "b\r"), ("a", "\0"), ("a", &*"x".repeat(8_200))] {
        let e = tl.requests().call("work", "x").header(name, value).await.map_err(kind);
        assert_eq!(e, Err(ErrorKind::Invalid));
    }
    for bad in ["a\tb", &"t".repeat(101)] {
        assert_eq!(tl.requests().call("work", "x").kind(bad).await.map_err(kind), Err(ErrorKind::Invalid));
    }
    let shown = format!("{:?}", tl.requests().call("work", "S3cret-").header("k", "v"));
    assert!(!shown.contains("S3cret-"), "{shown}");
    for concurrency in [0, 1_000_000] {
        let name = format!("c{concurrency}");
        let _s = tl.requests().serve(Serve::channel(&name).concurrency(concurrency), |r| async move {
            Ok::<_, trunkline::requests::Failure>(r.payload)
        });
        tl.requests().call(name.as_str(), "x").wait_for_responder().timeout(secs(5)).await.unwrap();
    }
}

#[tokio::test]
async fn one_bad_request_of_a_batch_fails_alone() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.request_open('small', max_bytes => 1)").await;
    let tl = db.client("it").await;
    let (_a, _b) = (echo(&tl, "work"), echo(&tl, "small"));
    served(&db, "work", 1).await;
    served(&db, "small", 1).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let call = tl.requests().call(if n == 25 { "small" } else { "work" }, "xx");
        calls.spawn(async move { (n, call.await.map(drop).map_err(|e| e.code().unwrap_or("").to_owned())) });
    }
    for (n, outcome) in calls.join_all().await {
        assert_eq!(outcome, if n == 25 { Err("TL004".to_owned()) } else { Ok(()) }, "{n}");
    }
}
