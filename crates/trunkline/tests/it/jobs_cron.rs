//! Schedules: each time fired once by any number of clocks, missed times, pauses, changes, bad input, deaths.

use std::time::{Duration, SystemTime};

use trunkline::{
    ErrorKind, Trunkline,
    jobs::{Job, Missed, Schedule},
    requests::{Failure, Payload},
};

use crate::{
    jobs::one,
    support::{Db, Process, Raw, Stopwatch, millis, say, signal, until, within},
};

/// Every job of a schedule: its name, and the time it is for.
const JOBS: &str = "(select headers::jsonb ->> 'schedule' as name, (headers::jsonb ->> 'scheduled_at')::timestamptz as at, j.at as pushed
    from (select at, headers from trunkline.job_d0 union all select at, headers from trunkline.job_d1
          union all select at, headers from trunkline.job_held) j) j";

/// A process that keeps the clock until it is killed.
pub async fn clock(me: &Trunkline) {
    me.maintain().await.unwrap();
    say("ready");
    std::future::pending::<()>().await;
}

/// Sets a schedule's next time, as if nobody had been there since.
async fn due_since(raw: &Raw, names: &str, at: &str) {
    raw.run(&format!("update trunkline.job_schedule set next_at = {at} where name like '{names}'")).await;
}

/// A column of `job_schedules` for a schedule.
async fn shown(raw: &Raw, name: &str, column: &str) -> String {
    raw.one(&format!("select {column} from trunkline.job_schedules() where name = '{name}'")).await
}

/// How many jobs a schedule has pushed.
async fn jobs(raw: &Raw, name: &str) -> u32 {
    raw.one(&format!("select count(*) from {JOBS} where name = '{name}'")).await.parse().unwrap()
}

/// For schedules of every second: each of their times was fired, and once. How many there were.
async fn each_second_once(raw: &Raw) -> u32 {
    let counts = format!(
        "select name, count(*), count(distinct at), extract(epoch from max(at) - min(at))::int + 1 from {JOBS} group by 1"
    );
    let mut sum = 0;
    for row in raw.rows(&counts).await {
        let parts: Vec<&str> = row.split('|').collect();
        assert!(parts[1] == parts[2] && parts[2] == parts[3], "jobs, times, seconds: {row}");
        sum += parts[1].parse::<u32>().unwrap();
    }
    let fires = raw.one("select sum(fires) from trunkline.job_schedules()").await;
    assert_eq!(fires, sum.to_string(), "fires are counted");
    sum
}

#[tokio::test]
async fn two_clocks_fire_each_of_a_thousand_times_once() {
    let (db, a, raw) = one().await;
    let b = db.client("other").await;
    raw.run("select trunkline.job_schedule('s' || n, 'work', '0 0 1 1 *') from generate_series(1, 1000) n")
        .await;
    due_since(&raw, "s%", "date_trunc('year', now() at time zone 'UTC') at time zone 'UTC'").await;
    let (first, second) = (a.jobs(), b.jobs());
    let watch = Stopwatch::start();
    let (by_a, by_b) = tokio::join!(first.fire_schedules(), second.fire_schedules());
    let took = watch.elapsed();
    let (by_a, by_b) = (by_a.unwrap(), by_b.unwrap());
    let counts = raw.one(&format!("select count(*), count(distinct (name, at)) from {JOBS}")).await;
    let next = raw.one("select count(*), count(distinct next_at) from trunkline.job_schedules() where fires = 1 and error is null and next_at > now()").await;
    println!(
        "1000 times, two clocks: fired by one {by_a}, by the other {by_b}; jobs, different ones {counts}; in {took:?}"
    );
    assert_eq!((by_a + by_b, counts.as_str(), next.as_str()), (1000, "1000|1000", "1000|1"));
    assert!(by_a > 0 && by_b > 0, "both took part");
    assert_eq!(first.fire_schedules().await.unwrap() + second.fire_schedules().await.unwrap(), 0);
}

#[tokio::test]
async fn clocks_that_are_killed_lose_no_time_and_double_none() {
    let (db, _tl, raw) = one().await;
    raw.run("select trunkline.job_schedule('s' || n, 'work', '* * * * * *', missed => 'all') from generate_series(1, 25) n")
        .await;
    due_since(&raw, "s%", "date_trunc('second', now()) - interval '30 seconds'").await;
    let mut clocks = [Process::start("clock", &db).await, Process::start("clock", &db).await];
    let mut kills = 0;
    for at_least in (812..=1112).step_by(50) {
        raw.until("more fires", &format!("select sum(fires) >= {at_least} from trunkline.job_schedules()"))
            .await;
        let victim = &mut clocks[kills % 2];
        signal(victim.pid(), "-KILL");
        victim.child.wait().await.unwrap();
        kills += 1;
        clocks[(kills + 1) % 2] = Process::start("clock", &db).await;
    }
    drop(clocks);
    until("the last statements to end", async || {
        raw.one("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'child-clock'").await == "0"
    })
    .await;
    let sum = each_second_once(&raw).await;
    println!("25 schedules of every second, two clocks, {kills} killed: {sum} times, each fired once");
    assert!(sum >= 1112);
}

#[tokio::test]
async fn who_dies_between_the_push_and_the_commit_has_done_nothing_and_another_fires_at_once() {
    let (db, tl, raw) = one().await;
    tl.jobs().schedule(Schedule::new("yearly", "work", "@yearly")).await.unwrap();
    due_since(&raw, "yearly", "'2020-01-01Z'").await;
    let dying = db.raw().await;
    let due = "select generation, next_at from trunkline._job_schedule_due('', 9)";
    let row = dying.one(due).await;
    let (generation, at) = row.split_once('|').unwrap();
    let fire = format!(
        "select pushed from trunkline._job_schedule_fire('yearly', {generation}, '{at}', array['{at}'::timestamptz], '2021-01-01Z')"
    );
    dying.run("begin").await;
    assert_eq!(dying.one(&fire).await, "1");
    assert_eq!(raw.one(&fire).await, "", "it is in another one's hands");
    assert_eq!(tl.jobs().fire_schedules().await.unwrap(), 0, "nobody waits for it");
    tl.maintain().await.unwrap();
    assert_eq!(jobs(&raw, "yearly").await, 0);
    let watch = Stopwatch::start();
    raw.run(&format!("select pg_terminate_backend({})", dying.pid)).await;
    raw.until("the other one to fire it", "select fires = 1 from trunkline.job_schedules()").await;
    assert!(watch.elapsed() < millis(3000), "{:?}", watch.elapsed());
    assert_eq!(jobs(&raw, "yearly").await, 1);
    assert_eq!(raw.one(&fire).await, "", "a late one finds it fired");
    assert_eq!(jobs(&raw, "yearly").await, 1);
}

#[tokio::test]
async fn a_schedule_is_fired_at_its_times_and_a_worker_of_the_same_process_gets_its_jobs() {
    let (db, tl, raw) = one().await;
    let maker = db.client("maker").await;
    tl.maintain().await.unwrap();
    let (sent, mut done) = tokio::sync::mpsc::unbounded_channel();
    let _working = tl.jobs().work("ticks", move |job: Job| {
        let sent = sent.clone();
        async move { sent.send(job).map_err(|_| Failure::new("gone", "")) }
    });
    crate::jobs::asleep(&raw, "client").await;
    let payload = Payload::json(&serde_json::json!({"n": 1})).unwrap();
    let schedule = Schedule::new("second", "ticks", "* * * * * *").payload(payload.clone()).kind("tick");
    let schedule = schedule.missed(Missed::All).priority(2).max_attempts(3).header("x-a", "red");
    assert!(maker.jobs().schedule(schedule.clone()).await.unwrap());
    assert!(!maker.jobs().schedule(schedule).await.unwrap(), "the same again");
    for _ in 0..3 {
        let job = within(10_000, "a job", done.recv()).await.unwrap();
        assert_eq!((job.kind.as_str(), job.priority, job.max_attempts), ("tick", 2, 3));
        assert_eq!(job.payload, payload);
        assert_eq!((job.headers["x-a"].as_str(), job.headers["schedule"].as_str()), ("red", "second"));
        let at = &job.headers["scheduled_at"];
        assert!(at.len() == 20 && at.ends_with('Z'), "{at}");
    }
    let late = format!(
        "select extract(epoch from min(pushed - at)) * 1000, extract(epoch from max(pushed - at)) * 1000 from {JOBS}"
    );
    let row = raw.one(&late).await;
    println!("pushed after its time, in ms, least and most: {row}");
    let (least, _) = row.split_once('|').unwrap();
    assert!((0.0..50.0).contains(&least.parse::<f64>().unwrap()), "{row}");
    each_second_once(&raw).await;
    let shown = tl.jobs().schedules().await.unwrap().remove(0);
    assert!(shown.fires >= 3 && shown.last_job.is_some() && shown.error.is_none(), "{shown:?}");
    assert!(shown.last_at < shown.next_at && shown.next_at > Some(SystemTime::UNIX_EPOCH), "{shown:?}");
}

#[tokio::test]
async fn missed_times_are_skipped_or_fired_once_or_all() {
    let (_db, tl, raw) = one().await;
    for missed in [Missed::Skip, Missed::One, Missed::All] {
        let schedule = Schedule::new(missed.to_string(), "work", "0 0 1 1 *").missed(missed);
        tl.jobs().schedule(schedule).await.unwrap();
    }
    due_since(&raw, "%", "'2017-01-01Z'").await;
    let years: u32 =
        raw.one("select extract(year from now() at time zone 'UTC') - 2016").await.parse().unwrap();
    assert_eq!(tl.jobs().fire_schedules().await.unwrap(), u64::from(years) + 1);
    let counts = (jobs(&raw, "skip").await, jobs(&raw, "one").await, jobs(&raw, "all").await);
    assert_eq!(counts, (0, 1, years));
    let newest =
        format!("select extract(year from at at time zone 'UTC') - 2016 from {JOBS} where name = 'one'");
    assert_eq!(raw.one(&newest).await, years.to_string(), "the newest");
    assert_eq!(raw.one("select count(*) from trunkline.job_schedules() where next_at > now()").await, "3");

    // Just now is not missed, whatever the policy.
    due_since(&raw, "skip", "clock_timestamp() - interval '30 seconds'").await;
    assert_eq!((tl.jobs().fire_schedules().await.unwrap(), jobs(&raw, "skip").await), (1, 1));

    // More than a statement takes.
    tl.jobs().schedule(Schedule::new("minutes", "work", "* * * * *").missed(Missed::All)).await.unwrap();
    due_since(&raw, "minutes", "date_trunc('minute', now()) - interval '2500 minutes'").await;
    let fired = tl.jobs().fire_schedules().await.unwrap();
    assert!((2501..=2502).contains(&fired), "{fired}");
    let contiguous = format!(
        "select count(*) = count(distinct at) and count(*) = extract(epoch from max(at) - min(at)) / 60 + 1
        from {JOBS} where name = 'minutes'"
    );
    assert_eq!(raw.one(&contiguous).await, "t");
}

#[tokio::test]
async fn a_paused_schedule_fires_nothing_misses_nothing_and_can_be_run() {
    let (_db, tl, raw) = one().await;
    let jobs_of = tl.jobs();
    jobs_of.schedule(Schedule::new("s", "work", "@yearly").missed(Missed::All).payload("p")).await.unwrap();
    assert!(jobs_of.pause_schedule("s").await.unwrap());
    assert!(!jobs_of.pause_schedule("s").await.unwrap());
    due_since(&raw, "s", "'2020-01-01Z'").await;
    assert_eq!(jobs_of.fire_schedules().await.unwrap(), 0);
    assert_eq!(shown(&raw, "s", "next_at is null and paused_at is not null").await, "t");
    let id = jobs_of.run_schedule("s").await.unwrap();
    assert_eq!(raw.one(&format!("select state, payload from trunkline.job_show({id})")).await, "waiting|p");
    assert!(jobs_of.resume_schedule("s").await.unwrap());
    assert!(!jobs_of.resume_schedule("s").await.unwrap());
    assert_eq!(jobs_of.fire_schedules().await.unwrap(), 0, "what came meanwhile was not missed");
    assert_eq!(shown(&raw, "s", "next_at > now() and fires = 0").await, "t");
    let next = shown(&raw, "s", "next_at").await;
    let id = jobs_of.run_schedule("s").await.unwrap();
    assert_eq!(raw.one(&format!("select headers ->> 'schedule' from trunkline.job_show({id})")).await, "s");
    assert_eq!(shown(&raw, "s", "next_at").await, next, "run now moves nothing");
    assert!(jobs_of.unschedule("s").await.unwrap() && !jobs_of.unschedule("s").await.unwrap());
    assert_eq!(jobs(&raw, "s").await, 2, "its jobs stay");
    for failed in [
        jobs_of.pause_schedule("s").await.map(drop),
        jobs_of.resume_schedule("s").await.map(drop),
        jobs_of.run_schedule("s").await.map(drop),
    ] {
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_definition_that_was_replaced_is_not_fired_and_the_new_one_is() {
    let (db, tl, raw) = one().await;
    let made =
        |cron: &str, payload: &str| Schedule::new("s", "work", cron).payload(payload).missed(Missed::All);
    tl.jobs().schedule(made("@yearly", "a")).await.unwrap();
    due_since(&raw, "s", "date_trunc('year', now() at time zone 'UTC') at time zone 'UTC'").await;
    let row = raw.one("select generation, next_at from trunkline._job_schedule_due('', 9)").await;
    let (generation, at) = row.split_once('|').unwrap();
    // Another payload: the time that is due stays so, and the late clock with the old definition does nothing.
    assert!(tl.jobs().schedule(made("@yearly", "b")).await.unwrap());
    let fire = format!(
        "select pushed from trunkline._job_schedule_fire('s', {generation}, '{at}', array['{at}'::timestamptz], '2050-01-01Z')"
    );
    assert_eq!(raw.one(&fire).await, "");
    assert_eq!(tl.jobs().fire_schedules().await.unwrap(), 1);
    assert_eq!(
        raw.one("select payload from trunkline.job_list('work') j, trunkline.job_show(j.id)").await,
        "b"
    );
    // Another expression counts from now on.
    due_since(&raw, "s", "'2020-01-01Z'").await;
    assert!(tl.jobs().schedule(made("@monthly", "b")).await.unwrap());
    assert_eq!(shown(&raw, "s", "next_at is null").await, "t");
    assert_eq!(tl.jobs().fire_schedules().await.unwrap(), 0);
    assert_eq!(shown(&raw, "s", "next_at > now() and fires = 1").await, "t");
    // A time that has not come is not fired, whatever a clock believes.
    let early = "select pushed from trunkline.job_schedule s, trunkline._job_schedule_fire(s.name, s.generation, s.next_at, array[s.next_at], s.next_at + interval '1 year')";
    assert_eq!(raw.one(early).await, "");

    // Replaced all the time while two clocks fire it.
    tl.jobs().unschedule("s").await.unwrap();
    tl.jobs().schedule(made("* * * * * *", "0")).await.unwrap();
    let other = db.client("other").await;
    tl.maintain().await.unwrap();
    other.maintain().await.unwrap();
    let mut changes = 0;
    until("it to be fired", async || {
        changes += 1;
        tl.jobs().schedule(made("* * * * * *", &changes.to_string())).await.unwrap();
        shown(&raw, "s", "fires").await.parse::<u32>().unwrap() >= 4
    })
    .await;
    tl.jobs().pause_schedule("s").await.unwrap();
    raw.run("truncate trunkline.job_schedule; select trunkline.job_schedule('x', 'work', '@yearly')").await;
    let row = raw
        .one(&format!(
            "select count(*), count(distinct at), extract(epoch from max(at) - min(at))::int + 1 from {JOBS}
        where name = 's' and at > now() - interval '1 day'"
        ))
        .await;
    println!("replaced {changes} times while two clocks fired it: jobs, times, seconds {row}");
    let parts: Vec<&str> = row.split('|').collect();
    assert!(parts[0] == parts[1] && parts[1] == parts[2], "{row}");
}

#[tokio::test]
async fn what_cannot_be_fired_is_told_and_stops_no_other() {
    let (_db, tl, raw) = one().await;
    raw.run("select trunkline.job_schedule('a-cron', 'work', '99 3 * * *'), trunkline.job_schedule('a-never', 'work', '0 0 30 2 *'),
        trunkline.job_schedule('a-zone', 'work', '0 3 * * *', zone => 'Mars/Olympus'),
        trunkline.job_schedule('large', 'small', '@yearly', repeat('x', 100)), trunkline.job_schedule('z-good', 'work', '@yearly'),
        trunkline.job_set('small', 'max_bytes', '10')").await;
    raw.run("select trunkline.job_schedule('full', 'full', '@yearly'), trunkline.job_set('full', 'max_length', '1'),
        trunkline.job_push('full', 'x')").await;
    due_since(&raw, "full", "'2020-01-01Z'").await;
    due_since(&raw, "large", "'2020-01-01Z'").await;
    due_since(&raw, "z-good", "'2020-01-01Z'").await;
    assert_eq!(tl.jobs().fire_schedules().await.unwrap(), 1);
    assert_eq!(shown(&raw, "z-good", "fires, error").await, "1|");
    for (name, why) in [
        ("a-cron", "99"),
        ("a-never", "never fires"),
        ("a-zone", "Mars/Olympus"),
        ("large", "at most 10 bytes"),
        ("full", "queue \"full\" is full"),
    ] {
        let said = shown(&raw, name, "error").await;
        assert!(said.contains(why), "{name}: {said}");
    }
    assert_eq!(tl.jobs().fire_schedules().await.unwrap(), 0, "not tried again at once");
    raw.run("select trunkline.job_set('small', 'max_bytes', '1000'), trunkline.job_schedule('a-cron', 'work', '9 3 * * *')").await;
    raw.run("update trunkline.job_schedule set tried_at = tried_at - interval '1 minute'").await;
    assert_eq!(tl.jobs().fire_schedules().await.unwrap(), 1, "nothing was lost");
    assert_eq!(shown(&raw, "large", "fires, error").await, "1|");
    assert_eq!(shown(&raw, "a-cron", "error is null and next_at > now()").await, "t");
}

#[tokio::test]
async fn bad_schedules_are_refused_by_name_and_nothing_is_written() {
    let (_db, tl, raw) = one().await;
    let daily = |name: &str| Schedule::new(name, "work", "@daily");
    for (schedule, says) in [
        (Schedule::new("s", "work", "99 3 * * *"), "schedule \"s\": cron \"99 3 * * *\": "),
        (Schedule::new("s", "work", "0 0 30 2 *"), "never fires"),
        (Schedule::new("s", "work", "* * * *"), "must have 5 fields"),
        (Schedule::new("s", "work", format!("0 3 * * {}", "1,".repeat(100))), "at most 200 bytes, got 208"),
        (daily("s").zone("Mars/Olympus"), "no time zone \"Mars/Olympus\""),
        (daily("s").kind("k".repeat(101)), "kind must be at most 100 bytes, got 101"),
        (daily("s").priority(0), "1 (first) to 9 (last), got 0"),
        (daily("S"), "schedule name must be of"),
        (daily(&"s".repeat(49)), "1 to 48 characters, got 49"),
        (Schedule::new("s", "Bad Queue", "@daily"), "queue name must be of"),
        (daily("s").payload(vec![0_u8; 2_000_000]), "at most 1048576 bytes, got 2000000"),
        (daily("s").header("x", "y".repeat(9000)), "headers must be at most 8192 bytes"),
    ] {
        let error = tl.jobs().schedule(schedule).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(says), "{says}: {error}");
    }
    for (call, code, says) in [
        ("('s', 'work', '* * * *')", "22023", "cron must have 5 fields"),
        ("('s', 'work', '* * * * * * *')", "22023", "cron must have 5 fields"),
        ("('s', 'work', E'* * * * *\\n')", "22023", "cron must have 5 fields"),
        ("('s', 'work', null)", "22004", "cron must not be null"),
        ("(null, 'work', '@daily')", "22004", "schedule name must not be null"),
        ("('s', 'work', '@daily', null)", "22004", "payload must not be null"),
        ("('s', 'work', '@daily', missed => 'some')", "22023", "skip, one or all, not"),
        ("('s', 'work', '@daily', zone => '')", "22023", "zone must be 1 to 100 bytes, got 0"),
        ("('s', 'work', '@daily', headers => '[]')", "22023", "headers must be an object"),
        ("('pg_s', 'work', '@daily')", "TL011", "reserved"),
        ("('s', 'work', '@daily', max_attempts => 0)", "22023", "1 to 10000, got 0"),
    ] {
        let sql = format!("select trunkline.job_schedule{call}");
        assert_eq!(raw.code(&sql).await, code, "{call}");
        let said = raw.failure(&sql).await;
        assert!(said.contains(says), "{call}: {said}");
    }
    assert_eq!(raw.one("select count(*) from trunkline.job_schedules()").await, "0");
}

#[tokio::test]
async fn the_next_time_is_by_the_zones_clock_and_only_what_differs_changes_anything() {
    let (_db, tl, raw) = one().await;
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"] {
        let name = zone.to_lowercase().replace('/', ".");
        let noon = Schedule::new(&name, "work", "30 12 * * *").zone(zone);
        assert!(tl.jobs().schedule(noon.clone()).await.unwrap());
        tl.jobs().fire_schedules().await.unwrap();
        // The server's own zones say the same.
        let same = "next_at = (select min(d) from (select ((now() at time zone zone)::date + n + time '12:30') at time zone zone d
            from generate_series(0, 1) n) d where d > made_at)";
        assert_eq!(shown(&raw, &name, same).await, "t", "{zone}");
        assert!(!tl.jobs().schedule(noon.clone()).await.unwrap());
        assert!(tl.jobs().schedule(noon.kind("other")).await.unwrap());
        assert_eq!(shown(&raw, &name, same).await, "t", "{zone}: the next time stays");
    }
    let text = "('text', 'work', '@daily', 'x', headers => '{\"b\": \"2\", \"a\": \"1\"}')";
    let call = format!("select trunkline.job_schedule{text}");
    assert_eq!((raw.one(&call).await, raw.one(&call).await), ("t".into(), "f".into()));
    let json = "select trunkline.job_schedule_json('json', 'work', '@daily', '{\"n\": 1.50}')";
    assert_eq!((raw.one(json).await, raw.one(json).await), ("t".into(), "f".into()));
    let id = tl.jobs().run_schedule("json").await.unwrap();
    assert_eq!(raw.one(&format!("select payload from trunkline.job_show({id})")).await, "{\"n\": 1.50}");
}

#[tokio::test]
async fn a_clock_with_nothing_to_fire_asks_next_to_nothing() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run(&format!("alter database {} set track_functions = 'all'", db.name)).await;
    let raw = db.raw().await;
    let tl = db.client("client").await;
    let _inbox = tl.requests().inbox("busy"); // so that it says each 1.5 s that it is here
    tl.jobs().schedule(Schedule::new("s", "work", "@yearly")).await.unwrap();
    tl.maintain().await.unwrap();
    let clock = "select exists (select from pg_locks where locktype = 'advisory' and classid = 1953656427 and granted
                    and objid::bigint = 4294967296 - 129 and database = (select oid from pg_database where datname = current_database()))";
    raw.until("the clock to sleep", clock).await;
    raw.until("its next time", "select next_at is not null from trunkline.job_schedules()").await;
    let calls = async |pattern: &str| -> i32 {
        let sql = format!(
            "select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname ~ '{pattern}'"
        );
        raw.one(&sql).await.parse().unwrap()
    };
    // Two rounds of renewals, so that the numbers of before have been told.
    let renewed = async |rounds: i32| {
        let since = calls("^_session_renew$").await;
        until("renewals", async || calls("^_session_renew$").await >= since + rounds).await;
    };
    renewed(2).await;
    let (before, began) = (calls("^_job_schedule_(wait|due|fire)$").await, std::time::Instant::now());
    renewed(4).await;
    let (asked, took) = (calls("^_job_schedule_(wait|due|fire)$").await - before, began.elapsed());
    println!("{asked} questions in {took:?} with nothing to fire, {before} before");
    assert!(took > Duration::from_secs(4) && asked <= 1, "{asked} in {took:?}");
}
