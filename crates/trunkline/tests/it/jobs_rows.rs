//! Bad input to jobs, by its number in the list of bad inputs: refused by name, limit and size and never with the payload; nothing
//! is written then, and the session is usable. Rows 46 to 57 are in `jobs_rows_sessions`, what Rust adds is in `jobs_rows_rust`.

use trunkline::{
    ErrorKind,
    jobs::{Job, Outcome, Ran, Schedule},
    requests::Failure,
};

use crate::{
    jobs::one,
    rust_input::{SECRET, refused},
    support::{Db, Raw},
};

/// Whatever a refusal must not have changed.
pub const KEPT: &str = "select concat_ws(' ', (select count(*) from trunkline.job), (select count(*) from trunkline.job_priority),
    (select string_agg(q::text, '' order by q.id) from trunkline.job_queue q), (select count(*) from trunkline.job_schedule),
    (select count(*) from trunkline.job_attached), (select count(*) from trunkline.job_unique))";

/// The payloads of a queue's jobs, taken and done.
pub const DONE: &str = "select t.payload from trunkline.job_take('q', 100) t, trunkline.job_complete(t.claim) order by t.payload";

/// Each call, a line, is refused with the code and in the words behind it, shortly and without a payload.
async fn refuses(raw: &Raw, calls: &str) {
    let before = raw.one(KEPT).await;
    for line in calls.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (call, expected) = line.split_once(" -- ").expect(line);
        let (code, words) = expected.split_once(' ').unwrap_or((expected, ""));
        let error =
            raw.client.batch_execute(&format!("select * from trunkline.{call}")).await.expect_err(line);
        let (db, shown) = (error.as_db_error().expect(line), format!("{error:?}"));
        assert!(db.code().code().starts_with(code) && db.message().contains(words), "{line}: {db:?}");
        assert!(!shown.contains(SECRET) && shown.len() < 10_000, "{line}: {} bytes", shown.len());
        assert_eq!(raw.one(KEPT).await, before, "{line}: nothing was written");
    }
}

#[tokio::test]
async fn rows_1_to_15_a_name_out_of_its_limits_is_refused_by_every_function_that_takes_one() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table app (id int primary key, status text); select trunkline.job_open('work')").await;
    let makes = "job_open(@) -- !; job_push(@, 'S3cret-') -- !; job_push_json(@, '\"S3cret-\"') -- !; job_push_bytes(@, 'S3cret-') -- !;
        job_push_many(@, array['S3cret-']) -- !; job_schedule('s', @, '@daily', 'S3cret-') -- !;
        job_schedule(@, 'work', '@daily', 'S3cret-') -- !; job_schedule_json(@, 'work', '@daily', '\"S3cret-\"') -- !;
        job_attach('app', @) -- !; _job_work(array[@]) -- !; _job_target(@, 5) -- !;
        _job_push_on(@, 1, 'S3cret-', '', null, null, 5, 0, 0, null, null) -- !";
    let finds = "job_take(@) -- !; job_pause(@) -- !; job_resume(@) -- !; job_set(@, 'max_running', '1') -- !; job_cancel_all(@) -- !;
        job_retry_all(@) -- !; job_delete_all(@) -- !; job_schedule_pause(@) -- !; job_schedule_resume(@) -- !; job_schedule_run(@) -- !";
    let filters = "job_list(@) -- !; job_page(@) -- !; job_dead(@) -- !; job_forward('1 s', @) -- !";
    let all = |calls: &str, name: &str, expected: &str| {
        calls
            .replace(';', "\n")
            .replace("'@daily'", "'\u{0}daily'")
            .replace('@', name)
            .replace('\u{0}', "@")
            .replace('!', expected)
    };
    for (name, expected) in [
        ("''", "22023 name must be of"),
        ("repeat('a', 49)", "22023 must be 1 to 48 characters, got 49"),
        ("repeat('b', 10 << 20)", "22023 must be 1 to 48 characters, got 10485760"),
        ("'Robert'')' || chr(59) || ' DROP TABLE app' || chr(59) || '--'", "22023 name must be of"),
        ("'\"quoted\"'", "22023 name must be of"),
        ("'a.b' || chr(59) || 'c'", "22023 name must be of"),
        ("'../x'", "22023 name must be of"),
        ("'a '", "22023 name must be of"),
        ("' a'", "22023 name must be of"),
        ("E'a\\n'", "22023 name must be of"),
        ("'e\u{301}'", "22023 name must be of"),
        ("'\u{1F600}'", "22023 name must be of"),
        ("'a\u{200D}b'", "22023 name must be of"),
        ("'Work'", "22023 name must be of"),
        ("'-a'", "22023 name must be of"),
        ("'pg_x'", "TL011 is reserved"),
        ("'pgq'", "TL011 is reserved"),
        ("'trunkline_x'", "TL011 is reserved"),
    ] {
        refuses(&raw, &all(makes, name, expected)).await;
        refuses(&raw, &all(finds, name, "42704 there is no ")).await;
        refuses(&raw, &all(filters, name, "42704 there is no queue ")).await;
        assert_eq!(raw.one(&format!("select trunkline.job_unschedule({name})")).await, "f", "{name}");
    }
    refuses(&raw, &all(makes, "null", "22004 name must not be null")).await;
    refuses(&raw, &all(finds, "null", "22004 name must not be null")).await;
    refuses(&raw, "job_unschedule(null) -- 22004 schedule name must not be null").await;
    for good in ["a", "0", "a.b_c-d", &"a".repeat(48)] {
        assert_eq!(raw.code(&format!("select trunkline.job_push('{good}', 'x')")).await, "00000", "{good}");
    }
    assert_eq!(raw.one("select count(*) from app").await, "0", "row 5: it is still there");
}

#[tokio::test]
async fn rows_16_to_18_what_is_made_twice_is_the_same_and_what_is_removed_leaves_its_jobs() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("create table app (id int primary key, status text)").await;
    let id = raw.one("select trunkline.job_open('q')").await;
    raw.run("select trunkline.job_set('q', 'max_attempts', '7'), trunkline.job_open('loose', false)").await;
    assert_eq!(raw.one("select trunkline.job_open('q')").await, id);
    assert_eq!(raw.one("select trunkline.job_open('q', true)").await, id);
    assert_eq!(raw.one("select max_attempts from trunkline.job_queues() where queue = 'q'").await, "7");
    let daily = "select trunkline.job_schedule('s', 'q', '@daily', 'of s')";
    assert_eq!((raw.one(daily).await, raw.one(daily).await), ("t".into(), "f".into()), "the same again");
    let other = daily.replace("of s", "of s, changed");
    assert_eq!((raw.one(&other).await, raw.one(&other).await), ("t".into(), "f".into()), "another one");
    assert_eq!(raw.one("select trunkline.job_attach('app', 'q', kind => 'k')").await, "0");
    let twice = "job_open('q', false) -- 42710 queue \"q\" exists and is durable
        job_open('loose', true) -- 42710 queue \"loose\" exists and is not durable
        job_attach('app', 'q', kind => 'k') -- 42710 app is attached already
        job_attach('app', 'loose') -- 42710 app is attached already";
    refuses(&raw, twice).await;
    raw.run("insert into app values (1, 'new'); select trunkline.job_schedule_run('s')").await;
    let claims = raw.rows("select claim from trunkline.job_take('q', 9)").await;
    assert_eq!(claims.len(), 2);
    raw.run("insert into app values (2, 'new'); select trunkline.job_schedule_run('s')").await;
    raw.run("select trunkline.job_unschedule('s'), trunkline.job_detach('app')").await;
    refuses(&raw, "job_schedule_run('s') -- 42704 no schedule\n job_detach('app') -- 42704 is not attached")
        .await;
    for claim in claims {
        raw.run(&format!("select trunkline.job_complete('{claim}')")).await;
    }
    assert_eq!(raw.rows(DONE).await.len(), 2, "row 18: what was pushed before is done");
    let drops = "select count(*) from pg_proc where pronamespace = 'trunkline'::regnamespace and proname ~ '^job_(drop|close)'";
    assert_eq!(raw.one(drops).await, "0", "row 18: nothing drops a queue, with its jobs or without");
}

#[tokio::test]
async fn rows_19_to_28_payloads_that_are_none_or_too_large_are_refused() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.job_open('q'), trunkline.job_open('wide')").await;
    raw.run("select trunkline.job_set('q', 'max_bytes', '20000'), trunkline.job_set('wide', 'max_bytes', '67108864')").await;
    let bad = "job_push('q', null) -- 22004 payload must not be null
        job_push_json('q', null) -- 22004 payload must not be null
        job_push_bytes('q', null) -- 22004 payload must not be null
        job_push_many('q', array['S3cret-', null]) -- 22004 job 2: job payload must not be null
        job_push_json('q', ('{\"S3cret\": \"\\' || 'u0000\"}')::jsonb) -- 22P05 Unicode
        job_push('q', 'S3cret-' || chr(0)) -- 54000 null character
        job_push('q', repeat('S3cret-', 2858)) -- TL004 payload for \"q\" must be at most 20000 bytes, got 20006
        job_push('q', repeat('é', 10001)) -- TL004 at most 20000 bytes, got 20002
        job_push('q', repeat('x', 20001), key => 'k') -- TL004 at most 20000 bytes, got 20001
        job_push_json('q', to_jsonb(repeat('x', 19999))) -- TL004 at most 20000 bytes, got 20001
        job_push_bytes('q', decode(repeat('00', 20001), 'hex')) -- TL004 at most 20000 bytes, got 20001
        job_push_many('q', array['', repeat('x', 20001)]) -- TL004 job 2: payload for \"q\" must be at most 20000
        job_schedule('s', 'q', '@daily', repeat('x', 20001)) -- TL004 at most 20000 bytes, got 20001
        job_push('wide', repeat('x', 67108865)) -- TL004 at most 67108864 bytes, got 67108865
        job_push('wide', repeat('x', 1 << 30)) -- 54000 length too large
        job_push_json('q', '1e400000'::text::jsonb) -- 22003 overflows
        job_push_json('q', (repeat('[', 1000000))::jsonb) -- 54001 stack depth limit";
    refuses(&raw, bad).await;
    for largest in ["job_push('q', repeat('x', 20000))", "job_push('wide', repeat('x', 67108864))"] {
        raw.run(&format!("select trunkline.{largest}")).await;
    }
}

#[tokio::test]
async fn rows_20_to_31_json_and_bytes_come_as_they_went() {
    let (_db, tl, raw) = one().await;
    // What is pushed, and the bytes that come.
    let mut went = Vec::new();
    for (call, hex) in [
        ("job_push('q', '')", ""),
        ("job_push_bytes('q', '')", ""),
        ("job_push_json('q', 'null')", "6e756c6c"),
        ("job_push_bytes('q', '\\x0061ff00')", "0061ff00"),
        ("job_push('q', repeat('x', 20000))", &"78".repeat(20_000)),
        (
            "job_push_json('q', (repeat('[', 10000) || repeat(']', 10000))::jsonb)",
            &["5b", "5d"].map(|c| c.repeat(10_000)).concat(),
        ),
        ("job_push_json('q', '{\"a\": 1, \"a\": 2}')", "7b2261223a20327d"),
        ("job_push_json('q', '1e400')", &format!("31{}", "30".repeat(400))),
        ("job_push_json('q', '-0')", "30"),
        ("job_push_json('q', '9007199254740993')", "39303037313939323534373430393933"),
        ("job_push_json('q', '1.50')", "312e3530"),
    ] {
        raw.run(&format!("select trunkline.{call}")).await;
        went.push(hex.to_owned());
    }
    // The bytes of a client that has another encoding.
    for (encoding, text, code, hex) in [
        ("LATIN1", "é", "00000", Some("c383c2a9")),
        ("SQL_ASCII", "é", "00000", Some("c3a9")),
        ("EUC_JP", "€", "22021", None),
        ("WIN1252", "\u{81}", "22P05", None),
    ] {
        raw.run(&format!("set client_encoding = '{encoding}'")).await;
        assert_eq!(
            raw.code(&format!("select trunkline.job_push('q', '{text}')")).await,
            code,
            "row 31 {encoding}"
        );
        went.extend(hex.map(str::to_owned));
    }
    raw.run("reset client_encoding").await;
    let seen = "select encode(bytes, 'hex') from trunkline.job where queue = 'q' order by id";
    assert_eq!(raw.rows(seen).await, went, "as the view has them");
    raw.run("create temp table took as select * from trunkline.job_take('q', 100)").await;
    assert_eq!(
        raw.rows("select encode(bytes, 'hex') from took order by id").await,
        went,
        "as SQL takes them"
    );
    assert_eq!(raw.one("select count(*) from took where payload is null").await, "2", "bytes are no text");
    raw.run("select trunkline.job_fail(claim, 'again', '0') from took").await;
    let ran = tl.jobs().run_due("q", async |job: Job| Ok::<_, Failure>(job.payload)).await.unwrap();
    assert_eq!(ran.len(), went.len());
    let hex = |r: &Ran| match &r.answer {
        Ok(Outcome::Result(payload)) => payload.bytes().iter().map(|b| format!("{b:02x}")).collect(),
        other => panic!("{other:?}"),
    };
    let (mut came, results): (Vec<String>, _) =
        (ran.iter().map(hex).collect(), seen.replace("(bytes", "(result_bytes"));
    assert_eq!(raw.rows(&results).await, went, "as Rust takes them, and gives them back");
    came.sort();
    went.sort();
    assert_eq!(came, went);
}

#[tokio::test]
async fn rows_32_to_41_times_numbers_and_keys_out_of_their_limits_are_refused() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.job_push('q', 'first', unique_key => 'u')").await;
    let claim = raw.one("select claim from trunkline.job_take('q')").await;
    raw.run("select trunkline.job_push('q', 'second', key => 'k')").await;
    let mut bad = "job_push('q', 'S3cret-', run_at => '294276-12-31') -- 22023 run_at must be within 3650 days
        job_push('q', 'S3cret-', run_at => '294277-01-01') -- 22008 out of range
        job_push('q', 'S3cret-', run_at => 'NaN') -- 22007 NaN
        job_push_many('q', '{S3cret-}', run_at => now() + '3650 days 1 min') -- 22023 run_at must be within 3650 days
        job_push('q', 'S3cret-', priority => '2147483648'::text::int) -- 22003 2147483648
        job_push('q', 'S3cret-', priority => -2147483648) -- 22023 9 (last), got -2147483648
        job_push_many('q', '{S3cret-}', priority => 10) -- 22023 got 10
        job_push('q', 'S3cret-', max_attempts => -1) -- 22023 1 to 10000, got -1
        job_push('q', 'S3cret-', max_attempts => 10001) -- 22023 1 to 10000, got 10001
        job_push('q', 'S3cret-', unique_key => repeat('S3cret-', 143)) -- 22023 at most 1000 bytes, got 1001
        job_push('q', 'S3cret-', key => repeat('é', 501)) -- 22023 at most 1000 bytes, got 1002
        job_push('q', 'S3cret-', key => E'a\\x00') -- 22021 0x00
        job_push('q', 'S3cret-', unique_key => 'a' || chr(0)) -- 54000 null character
        job_list('q', max => -1) -- 22 must not be negative
        job_dead('q', max => -1) -- 22 must not be negative\n"
        .to_owned();
    for limit in ["0", "-1", "10001", "2147483647", "null"] {
        bad += &format!("job_take('q', {limit}) -- 22023 max must be 1 to 10000, got\n");
        bad += &format!("job_page('q', max => {limit}) -- 22023 max must be from 1 to 1000, got\n");
    }
    for time in ["-1 s", "-1 mon 29 days", "3650 days 1 ms", "178000000 years"] {
        bad += &format!("job_snooze('{claim}', '{time}') -- 22023 delay must be from 0 to 3650 days, got\n");
        bad += &format!(
            "job_fail('{claim}', 'S3cret-', '{time}') -- 22023 retry_in must be from 0 to 3650 days, got\n"
        );
        bad += &format!("job_forward('{time}') -- 22023 by must be from 0 to 3650 days, got\n");
        bad += &format!(
            "job_push('q', '', options => '{{\"ttl\": \"{time}\"}}') -- 22023 must be from 1 ms to 3650 days, got\n"
        );
    }
    for time in ["1e20 s", "NaN", "infinity", "-infinity", "1e400 days"] {
        bad += &format!(
            "job_snooze('{claim}', '{time}') -- 22\n job_fail('{claim}', 'S3cret-', '{time}') -- 22\n"
        );
        bad += &format!(
            "job_push('q', '', options => '{{\"ttl\": \"{time}\"}}') -- 22023 must be from 1 ms to 3650 days, got\n"
        );
    }
    for (options, says) in [
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("{\"ttl\": 5}", "each a string"),
        ("{\"unique_payload\": \"yes\"}", "a boolean"),
        ("{\"lifetime\": \"S\"}", "\"lifetime\" must be one of"),
        ("{\"on_conflict\": \"replace\"}", "need a unique_key"),
        ("{\"unique_for\": \"1 s\"}", "need a unique_key"),
    ] {
        bad += &format!("job_push('q', 'S3cret-', options => '{options}') -- 22023 {says}\n");
    }
    refuses(&raw, &bad).await;
    raw.run(&format!("select trunkline.job_snooze('{claim}', '3650 days')")).await;
    let due = "select due_at > now() + interval '3649 days' from trunkline.job where unique_key = 'u'";
    assert_eq!(raw.one(due).await, "t", "what was refused did not end it, and the limit itself is good");
    // Row 36: what is over by any calendar is due now, in the ring and held.
    raw.run("select trunkline.job_push('q', 'year 1', run_at => '0001-01-01'), trunkline.job_push('q', 'far', run_at => now() + '3650 days'),
        trunkline.job_push('q', 'bc', key => 'l', run_at => '4714-11-24 BC'), trunkline.job_push_many('q', '{many}', run_at => '4714-11-24 BC')")
        .await;
    assert_eq!(raw.rows(DONE).await, ["bc", "many", "second", "year 1"]);
    // Row 41: the first one stays as it is.
    let id = raw.one("select trunkline.job_push('q', 'first', unique_key => 'same')").await;
    assert_eq!(raw.one("select trunkline.job_push_json('q', '2', 'other', unique_key => 'same')").await, id);
    assert_eq!(raw.one(&format!("select kind, payload from trunkline.job_show({id})")).await, "|first");
}

#[tokio::test]
async fn rows_42_to_45_an_end_that_is_not_ones_own_changes_nothing() {
    let db = Db::new().await;
    let (raw, other) = (db.raw().await, db.raw().await);
    raw.run("select trunkline.job_push('q', 'ring'), trunkline.job_push('q', 'held', key => 'k')").await;
    let take = "select claim from trunkline.job_take('q', 9)";
    let first = raw.rows(take).await;
    assert!(first.len() == 2 && other.rows(take).await.is_empty(), "row 45: who comes second gets nothing");
    let ends = |claim: &str, expected: &str| {
        "job_complete('@', 'S3cret-') -- !; job_fail('@', 'S3cret-') -- !; job_fail('@', 'S3cret-', dead => true) -- !;
         job_snooze('@', '1 s') -- !; job_progress('@', 1, 'S3cret-') -- !"
            .replace(';', "\n")
            .replace('@', claim)
            .replace('!', expected)
    };
    let stale = "TL001 the job is no longer yours";
    let states = "select string_agg(concat_ws(' ', state, attempt, error, result), ', ' order by id) from trunkline.job";
    let before = raw.one(states).await;
    for claim in &first {
        let parts: Vec<&str> = claim.split(':').collect();
        // Another token, no such slice or job, and a place beyond its end.
        let places = [(2, "1"), (2, "-1"), (1, "99996"), (3, "9")]; // a held job has the last one alone
        for (part, to) in places.into_iter().filter(|(part, _)| *part < 3 || parts[0] != "4") {
            let mut forged = parts.clone();
            (forged[part], forged[4]) = (to, "99998");
            refuses(&other, &ends(&forged.join(":"), stale)).await;
        }
    }
    for bad in [
        "",
        "x",
        "1:2:3:4",
        "5:1:1:1:1",
        "2:1:1:1:1 ",
        "-2:1:1:1:1",
        "2:1:1e3:1:1",
        "2:1:1:999999:1",
        "2:1:99999999999999999999:1:1",
    ] {
        refuses(&raw, &ends(bad, "22023 claim must be one that job_take gave")).await;
    }
    assert_eq!(raw.one(states).await, before);
    for claim in &first {
        raw.run(&format!("select trunkline.job_fail('{claim}', 'once', '0')")).await;
    }
    let second = raw.rows(take).await;
    assert_eq!(second.len(), 2);
    for claim in &first {
        refuses(&raw, &ends(claim, stale)).await; // an attempt that is over
    }
    for claim in &second {
        raw.run(&format!("select trunkline.job_complete('{claim}', 'done')")).await;
        refuses(&raw, &ends(claim, stale)).await; // twice
    }
    assert_eq!(raw.one(states).await, "done 2 once done, done 2 once done");
}

#[tokio::test]
async fn rows_60_to_62_times_headers_and_settings_that_cannot_be_are_refused() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.job_open('q')").await;
    let mut bad = "job_schedule('s', 'q', '* * * * * * *', 'S3cret-') -- 22023 schedule s: cron must have 5 fields, or 6
        job_schedule('s', 'q', '', 'S3cret-') -- 22023 cron must have 5 fields
        job_schedule('s', 'q', E'0 3 * * *\\n', 'S3cret-') -- 22023 cron must have 5 fields
        job_schedule('s', 'q', repeat('1,', 101) || '1 * * * *', 'S3cret-') -- 22023 cron must be at most 200 bytes, got 211
        job_schedule('s', 'q', '@daily', 'S3cret-', zone => repeat('z', 101)) -- 22023 zone must be 1 to 100 bytes, got 101
        job_schedule('s', 'q', '@daily', 'S3cret-', missed => 'S') -- 22023 missed must be skip, one or all, not \"S\"
        job_set('q', 'S', '1') -- 22023 there is no setting \"S\"
        job_set('q', null, '1') -- 22023 there is no setting \"null\"
        job_set('q', repeat('b', 10 << 20), '1') -- 22023 there is no setting \"bbb
        job_set('q', 'max_bytes', null) -- 22004 max_bytes must not be null
        job_set('q', 'max_running', '-1') -- 22023 max_running must be 0 to 1000000
        job_set('q', 'max_bytes', '67108865') -- 22023 max_bytes must be 1 to 67108864 bytes, got 67108865
        job_set('q', 'max_bytes', '99999999999999999999') -- 22023 got 99999999999999999999
        job_set('q', 'max_bytes', '1.5') -- 22023 got 1.5
        job_set('q', 'max_bytes', repeat('b', 10 << 20)) -- 22023 max_bytes must be
        job_set('q', 'overflow', 'refuse|drop_oldest') -- 22023 one of refuse, drop_oldest, got
        job_set('q', 'rate_period', '1 ms') -- 22023 rate_period must be from 10 ms to 365 days, got 1 ms
        job_set('q', 'rate_period', 'NaN') -- 22023 got NaN
        job_set('q', 'keep_done', 'infinity') -- 22023 got infinity
        job_set('q', 'keep_dead', '-1 s') -- 22023 got -1 s
        job_set('q', 'retry_after', '1 s''::text) or true --') -- 22023 retry_after must be from 0 to 365 days, got 1 s'\n"
        .to_owned();
    for (headers, says) in [
        ("'[]'", "headers must be an object"),
        ("'{\"a\": 1}'", "must be strings without line breaks"),
        ("'{\"a\": {}}'", "must be strings without line breaks"),
        ("'{\"a\": [\"S3cret-\"]}'", "must be strings without line breaks"),
        ("'{\"a\": null}'", "must be strings without line breaks"),
        ("'{\"a\": \"S3cret-\\r\\nb: c\"}'", "must be strings without line breaks"),
        ("'{\"a\\n\": \"S3cret-\"}'", "must be strings without line breaks"),
        ("(select jsonb_object_agg(i, '') from generate_series(1, 65) i)", "at most 64 headers"),
        ("jsonb_build_object('a', repeat('S3cret-', 1170))", "at most 8192 bytes, got"),
    ] {
        for call in [
            "job_push('q', 'x'",
            "job_push_json('q', '1'",
            "job_push_bytes('q', ''",
            "job_schedule('s', 'q', '@daily'",
            "job_schedule_json('s', 'q', '@daily', '1'",
        ] {
            bad += &format!("{call}, headers => {headers}) -- 22023 {says}\n");
        }
    }
    refuses(&raw, &bad).await;
}

#[tokio::test]
async fn row_60_times_that_never_come_are_refused_by_rust_and_told_where_sql_made_them() {
    let (_db, tl, raw) = one().await;
    let jobs = tl.jobs();
    for (name, cron, zone, says) in [
        ("minute", "61 * * * *", "UTC", "61"),
        ("never", "0 0 30 2 *", "UTC", "never fires"),
        ("zone", "@daily", "Mars/Olympus", "no time zone \"Mars/Olympus\""),
    ] {
        let schedule = Schedule::new(name, "q", cron).zone(zone).payload(SECRET);
        refused(&format!("row 60 {name}"), jobs.schedule(schedule).await, ErrorKind::Invalid, &[name, says]);
        raw.run(&format!(
            "select trunkline.job_schedule('{name}', 'q', '{cron}', 'S3cret-', zone => '{zone}')"
        ))
        .await;
    }
    raw.run("select trunkline.job_schedule('good', 'q', '@yearly')").await;
    assert_eq!(jobs.fire_schedules().await.unwrap(), 0);
    let told = "select name || ' ' || coalesce(error, 'fires') from trunkline.job_schedules() order by 1";
    let told = raw.rows(told).await;
    assert!(
        told[0] == "good fires"
            && told[1].contains("61")
            && told[2].contains("never fires")
            && told[3].contains("Mars"),
        "{told:?}"
    );
    assert!(!told.concat().contains(SECRET));
}
