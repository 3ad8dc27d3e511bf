//! The short way to a batch: it gives what the long one gives, in the usual case without asking it, and races are decided there
//! as they are here.

use crate::support::{Db, Raw, Stream};

/// Makes a function do without its short way, or without its long one.
async fn without(raw: &Raw, function: &str, body: &str) {
    let def = "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'trunkline'::regnamespace and proname";
    let sql = raw.one(&format!("{def} = '{function}'")).await;
    let (head, _) = sql.split_once("declare").expect("a declaration");
    raw.run(&format!("{head} begin {body} end $function$")).await;
}

/// A session that consumes as an engine does: its number.
async fn session(raw: &Raw) -> String {
    raw.one("select id from trunkline._session_open('test', true, '1 hour')").await
}

fn next(session: &str, consumer: i32, mode: &str) -> String {
    format!("select batch from trunkline._stream_next_batch({session}, {consumer}, '{mode}', 'm')")
}

/// Takes, reads and finishes until there is nothing: what each batch was and held.
async fn all(s: &Stream<'_>, session: &str, consumer: i32) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(batch) = s.raw.rows(&next(session, consumer, "fail")).await.pop() {
        let (turn, _) = batch.rsplit_once(':').unwrap();
        found.push(format!("{turn} {}", s.read(&batch).await.join(",")));
        assert_eq!(s.finish(&batch).await, "00000");
    }
    found
}

/// What a stream's two consumers get, through all that is usual and what is not.
async fn story(raw: &Raw) -> Vec<String> {
    let (s, me) = (Stream::new(raw, "s", &["c", "d"]).await, session(raw).await);
    let mut told = Vec::new();
    for (n, (setting, value)) in [
        ("max_events", "1000"),
        ("max_events", "2"),
        ("max_events", "1000"),
        ("max_bytes", "16"),
        ("max_bytes", "10000"),
        ("min_interval", "1 hour"),
        ("min_events", "4"),
        ("min_events", "0"),
        ("min_interval", "0"),
        ("lanes", "2"),
        ("lanes", "1"),
    ]
    .into_iter()
    .enumerate()
    {
        s.consumer_set("c", setting, value).await;
        told.push(format!("{setting} {value}"));
        for many in [0, 1, 3] {
            for event in 0..many {
                s.append(&format!("event {n} {event}")).await;
            }
            told.extend(all(&s, &me, 1).await);
            told.push("the other".into());
            told.extend(all(&s, &me, 2).await);
        }
        raw.run("begin").await;
        s.append("of a transaction that consumes").await;
        told.push(raw.rows(&next(&me, 2, "fail")).await.len().to_string());
        raw.run("commit").await;
        if let Some(batch) = raw.rows(&next(&me, 2, "fail")).await.pop() {
            s.retry(&batch, "'0'").await;
        }
        told.extend(all(&s, &me, 2).await);
    }
    for (mode, append) in [("external", "x"), ("auto", "y")] {
        s.set("tick_mode", mode).await;
        s.append(append).await;
        told.extend(all(&s, &me, 1).await);
        told.extend(all(&s, &me, 2).await);
    }
    // One that is in hand comes again, with another attempt.
    s.append("z").await;
    for _ in 0..2 {
        told.push(raw.one(&next(&me, 1, "fail")).await.rsplit_once(':').unwrap().0.to_owned());
    }
    told
}

#[tokio::test]
async fn the_short_way_gives_what_the_long_one_gives() {
    let (one, other) = (Db::new().await, Db::new().await);
    let (short, long) = (one.raw().await, other.raw().await);
    without(&long, "_stream_short", "return;").await;
    let (short, long) = (story(&short).await, story(&long).await);
    assert!(short.len() > 80, "{short:?}");
    assert_eq!(short, long);
}

#[tokio::test]
async fn in_the_usual_case_the_short_way_is_all() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (s, me) = (Stream::new(&raw, "s", &["c", "d"]).await, session(&raw).await);
    for function in ["_stream_take", "_stream_tick"] {
        without(&raw, function, "raise 'the long way: % % % % % %', pg_current_snapshot(), pg_current_xact_id_if_assigned(), (select array_agg(t order by id) from trunkline.stream_tick t), (select array_agg(t order by turn) from trunkline.stream_take t), (select array_agg(t order by turn) from trunkline.stream_take_end t), (select array_agg(l) from pg_locks l where locktype='advisory');").await;
    }
    // Whatever transactions of other tests are open.
    let near = raw.one("select pg_get_functiondef('trunkline._log_near'::regproc)").await;
    let (head, _) = near.split_once("AS $function$").expect("a body");
    raw.run(&format!("{head} as 'select true'")).await;
    for n in 0..3 {
        assert!(all(&s, &me, 1).await.is_empty());
        s.append(&format!("a{n}")).await;
        s.append(&format!("b{n}")).await;
        assert_eq!(all(&s, &me, 1).await, [format!("1:{}:1 a{n},b{n}", n + 1)]);
        // By the tick of the other, and with one of its own.
        assert_eq!(all(&s, &me, 2).await, [format!("2:{}:1 a{n},b{n}", n + 1)]);
    }
    let ticks = raw
        .rows("select events || ' ' || segments from trunkline.stream_tick where events > 0 order by id")
        .await;
    assert_eq!(ticks, ["2 1"; 3]);
}

#[tokio::test]
async fn of_two_who_follow_the_same_turn_one_has_the_batch() {
    for ended in ["commit", "rollback"] {
        let db = Db::new().await;
        let (raw, one, other) = (db.raw().await, db.raw().await, db.raw().await);
        let s = Stream::new(&raw, "s", &["c"]).await;
        let (first, second) = (session(&one).await, session(&other).await);
        s.append("a").await;
        raw.run("select trunkline.stream_tick('s')").await;
        one.run("begin").await;
        let batch = one.one(&next(&first, 1, "share")).await;
        let pid = other.pid;
        let waiting = tokio::spawn(async move { other.rows(&next(&second, 1, "share")).await });
        raw.blocked(pid).await;
        one.run(ended).await;
        let theirs = waiting.await.unwrap();
        if ended == "commit" {
            assert!(theirs.is_empty(), "{theirs:?}");
            assert_eq!(s.read(&batch).await, ["a"]);
        } else {
            assert_eq!(s.read(&theirs[0]).await, ["a"]);
        }
    }
}

#[tokio::test]
async fn an_event_that_commits_late_comes_with_the_next_batch() {
    let db = Db::new().await;
    let (raw, late) = (db.raw().await, db.raw().await);
    let (s, me) = (Stream::new(&raw, "s", &["c"]).await, session(&raw).await);
    late.run("begin; select trunkline.stream_append('s', 'late')").await;
    s.append("a").await;
    assert_eq!(all(&s, &me, 1).await, ["1:1:1 a"]);
    late.run("commit").await;
    assert_eq!(all(&s, &me, 1).await, ["1:2:1 late"]);
    assert!(all(&s, &me, 1).await.is_empty());
}

#[tokio::test]
async fn a_look_reads_no_more_of_the_books_the_longer_they_are() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let (s, me) = (Stream::new(&raw, "s", &["c"]).await, session(&raw).await);
    raw.run(
        "set enable_seqscan = off; set enable_bitmapscan = off; set plan_cache_mode = force_generic_plan",
    )
    .await; // as engines do
    raw.run("insert into trunkline.stream_take select 1, n, 1, 1, 1, 0, null, '{}', '{}', 0, 1, 0, 0, '' from generate_series(1, 2000) n;
        insert into trunkline.stream_take_end select 1, n, 1, true from generate_series(1, 2000) n")
        .await;
    for member in ["one", "another"] {
        s.append("a").await;
        raw.run("begin").await;
        let sql = next(&me, 1, "share").replace("'m'", &format!("'{member}'"));
        raw.one(&sql).await; // the second beside the first, by the long way
        let read = raw
            .one("select sum(idx_tup_fetch + seq_tup_read) from pg_stat_xact_user_tables where relname in ('stream_take', 'stream_take_end')")
            .await;
        raw.run("commit").await;
        assert!(read.parse::<f64>().unwrap() < 100.0, "{read} rows read");
    }
}
