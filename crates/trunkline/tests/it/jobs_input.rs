//! What no queue takes: refused by name, limit and size, with nothing written, and the session usable.

use trunkline::{
    ErrorKind,
    jobs::{Job, NewJob, Work},
    requests::{Failure, Payload},
};

use crate::support::Db;

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_written() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.job_open('q'), trunkline.job_set('q', 'max_bytes', '100')").await;
    let long = "x".repeat(1001);
    for (call, code, says) in [
        ("job_push('Q', 'x')".to_owned(), "22023", "queue name must be of"),
        ("job_push('', 'x')".to_owned(), "22023", "queue name must be of"),
        (format!("job_push('{}', 'x')", "q".repeat(49)), "22023", "1 to 48 characters, got 49"),
        ("job_push(null, 'x')".to_owned(), "22004", "queue name must not be null"),
        ("job_push('trunkline', 'x')".to_owned(), "TL011", "reserved"),
        ("job_push('q', null)".to_owned(), "22004", "payload must not be null"),
        (format!("job_push('q', '{}')", "x".repeat(101)), "TL004", "at most 100 bytes, got 101"),
        ("job_push('q', 'x', priority => 0)".to_owned(), "22023", "1 (first) to 9 (last), got 0"),
        ("job_push('q', 'x', priority => 10)".to_owned(), "22023", "got 10"),
        ("job_push('q', 'x', priority => null)".to_owned(), "22023", "got null"),
        ("job_push('q', 'x', kind => null)".to_owned(), "22004", "kind must not be null"),
        (format!("job_push('q', 'x', kind => '{}')", "k".repeat(101)), "22023", "at most 100 bytes, got 101"),
        (format!("job_push('q', 'x', key => '{long}')"), "22023", "key must be at most 1000 bytes, got 1001"),
        (format!("job_push('q', 'x', unique_key => '{long}')"), "22023", "unique_key must be at most 1000"),
        ("job_push('q', 'x', max_attempts => 0)".to_owned(), "22023", "1 to 10000, got 0"),
        ("job_push('q', 'x', headers => '[]')".to_owned(), "22023", "headers must be an object"),
        ("job_push('q', 'x', run_at => 'infinity')".to_owned(), "22023", "within 3650 days, got infinity"),
        ("job_push('q', 'x', run_at => now() + '11 years')".to_owned(), "22023", "run_at must be within"),
        ("job_push_many('q', array['x'], run_at => 'infinity')".to_owned(), "22023", "got infinity"),
        (
            "job_push_json('q', '1', run_at => 'infinity', unique_key => 'u')".to_owned(),
            "22023",
            "got infinity",
        ),
        ("job_push_many('q', array['ok', null])".to_owned(), "22004", "job 2: job payload must not be null"),
        ("job_push_many('q', null)".to_owned(), "22004", "payloads must not be null"),
        ("job_take('none')".to_owned(), "42704", "no queue \"none\""),
        ("job_take('q', 0)".to_owned(), "22023", "1 to 10000, got 0"),
        ("job_complete('x')".to_owned(), "22023", "claim must be one"),
        (
            "job_complete('4:999999999999999999:9999999999999999999:0:1')".to_owned(),
            "22023",
            "claim must be one",
        ),
        ("job_complete('2:1:1:1:1')".to_owned(), "TL001", "no longer yours"),
        ("job_fail('2:1:1:1:1', 'e', '-1 s')".to_owned(), "22023", "retry_in must be from 0"),
        ("job_snooze('2:1:1:1:1', null)".to_owned(), "22004", "delay must not be null"),
        ("job_cancel(1)".to_owned(), "TL007", "no job 1"),
        ("job_retry(1)".to_owned(), "TL007", "no job 1"),
        ("job_show(1)".to_owned(), "TL007", "no job 1"),
        ("job_list(state => 'gone')".to_owned(), "22023", "no state \"gone\""),
        ("job_set('q', 'colour', 'red')".to_owned(), "22023", "no setting \"colour\""),
        ("job_set('q', 'max_bytes', '0')".to_owned(), "22023", "1 to 67108864 bytes, got 0"),
        ("job_set('q', 'retry_after', 'soon')".to_owned(), "22023", "retry_after must be from"),
        ("job_open('q', durable => false)".to_owned(), "42710", "exists and is durable"),
        ("job_pause('none')".to_owned(), "42704", "no queue"),
    ] {
        let sql = format!("select trunkline.{call}");
        assert_eq!(raw.code(&sql).await, code, "{call}");
        let said = raw.failure(&sql).await;
        assert!(said.contains(&says.replace('"', "\\\"")), "{call}: {said}");
        assert!(!said.contains(&long[..50]), "no payload in an error");
    }
    assert_eq!(raw.one("select count(*) from trunkline.job_list()").await, "0");
    assert_eq!(raw.one("select string_agg(queue, ',') from trunkline.job_queues()").await, "q");
    raw.run("select trunkline.job_push('q', 'x')").await;
}

#[tokio::test]
async fn bad_input_in_rust_is_refused_before_it_is_sent_or_by_number() {
    let db = Db::new().await;
    let (tl, raw) = (db.client("client").await, db.raw().await);
    let jobs = tl.jobs();
    for (job, says) in [
        (NewJob::new("x").priority(0), "1 (first) to 9"),
        (NewJob::new("x").max_attempts(0), "1 to 10000, got 0"),
        (NewJob::new("x").kind("k".repeat(101)), "at most 100 bytes, got 101"),
        (NewJob::new("x").key("a\0b"), "NUL"),
        (NewJob::new("x").header("a\n", "b"), "line breaks"),
    ] {
        let e = jobs.push("q", job).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Invalid && e.to_string().contains(says), "{e}");
    }
    assert_eq!(jobs.push("Q", "x").await.unwrap_err().kind(), ErrorKind::Invalid);
    raw.run("select trunkline.job_open('q'), trunkline.job_set('q', 'max_bytes', '10')").await;
    let e = jobs.push_all("q", ["ok".to_owned(), "x".repeat(11)]).await.unwrap_err();
    assert_eq!(e.to_string(), "job 2: payload for \"q\" must be at most 10 bytes, got 11");
    let nul = jobs.push("q", Payload::from("a\0b")).await.unwrap_err();
    assert_eq!(nul.kind(), ErrorKind::Invalid);
    let (good, bad) = tokio::join!(jobs.push("q", "good"), jobs.push("q", "x".repeat(11)));
    assert!(good.is_ok() && bad.is_err(), "one that is refused does not take its neighbours with it");
    let mut working = jobs.work(Work::queue("q").concurrency(0), async |_: Job| Ok::<_, Failure>(()));
    assert_eq!(working.ended().await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut working = jobs.work("Q", async |_: Job| Ok::<_, Failure>(()));
    assert_eq!(working.ended().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(raw.one("select string_agg(payload, ',') from trunkline.job_take('q', 9)").await, "good");
}

#[tokio::test]
async fn a_time_before_all_times_is_now_and_one_behind_them_ends_no_worker() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.job_push('q', 'held', key => 'k', run_at => '-infinity'), trunkline.job_push('q', 'ring', run_at => '-infinity')")
        .await;
    assert_eq!(raw.rows("select payload from trunkline.job_take('q', 9) order by 1").await, ["held", "ring"]);
    // As one could be written before they were refused.
    raw.run("select trunkline.job_push('q', 'never', run_at => now() + '1 day')").await;
    for time in ["infinity", "-infinity"] {
        raw.run(&format!(
            "update trunkline.job_held set due_at = '{time}', state = 0 where payload = 'never'"
        ))
        .await;
        let due =
            "select sign(due_ms) from trunkline._job_attend(array(select id from trunkline.job_queue), '{}')";
        assert_eq!(raw.one(due).await, if time == "infinity" { "1" } else { "-1" });
    }
}
