//! Rows of the application's own tables as jobs: what makes one, what is written back, and what happens when both sides want the
//! same row. Races are steps of sessions; rights and hostile tables are in `jobs_attach_rights`.

use trunkline::{
    ErrorKind, Trunkline,
    jobs::{Attach, Job, Outcome, Work},
    requests::Failure,
};

use crate::support::{Db, Raw, secs, within};

const LETTERS: &str =
    "create table public.letters (id int primary key, status text not null default 'new', body text)";

/// A database with an attached table, whose rows are jobs of `q` with the body as their payload.
pub async fn attached() -> (Db, Raw) {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run(LETTERS).await;
    raw.run("select trunkline.job_attach('letters', 'q', payload_column => 'body')").await;
    (db, raw)
}

/// What the rows say: `1 new 2 success`.
async fn rows(raw: &Raw) -> String {
    raw.one("select coalesce(string_agg(id || ' ' || status, ' ' order by id), '') from public.letters").await
}

/// The jobs there are, by the rows that they come from: `1 done`.
async fn jobs(raw: &Raw) -> String {
    raw.one(
        "select coalesce(string_agg((h.origin_row ->> 0) || ' ' || j.state, ' ' order by j.id), '')
         from trunkline.job j join trunkline.job_held h on h.id = j.id",
    )
    .await
}

/// Takes the next job by SQL: its claim, and its payload.
async fn take(raw: &Raw) -> (String, String) {
    let row = raw.one("select claim, payload from trunkline.job_take('q')").await;
    let (claim, payload) = row.split_once('|').unwrap();
    (claim.to_owned(), payload.to_owned())
}

async fn takes_nothing(raw: &Raw) {
    assert_eq!(raw.rows("select claim from trunkline.job_take('q')").await.len(), 0);
}

async fn complete(raw: &Raw, claim: &str) {
    raw.run(&format!("select trunkline.job_complete('{claim}')")).await;
}

async fn unwritten(raw: &Raw) -> String {
    raw.one("select count(*) from trunkline.job_unwritten").await
}

/// Lets what could not be written be due, and writes it.
async fn made_up_for(raw: &Raw) {
    raw.run("update trunkline.job_unwritten set due_at = '-infinity'; select trunkline._job_attached_tidy()")
        .await;
}

/// Does what there is, each as its payload says.
async fn drained(tl: &Trunkline) {
    let mut working = tl.jobs().work(Work::queue("q").drain(), async |job: Job| {
        Ok::<_, Failure>(match job.payload.text().unwrap() {
            "dead" => Outcome::Dead("it can never work".into()),
            "retry" if job.attempt < 2 => Outcome::Retry { after: secs(0), error: "not yet".into() },
            "later" => Outcome::Retry { after: secs(1000), error: "not yet".into() },
            _ => Outcome::Done,
        })
    });
    within(20_000, "the queue to be drained", working.ended()).await.unwrap();
}

#[tokio::test]
async fn rows_that_are_inserted_or_reset_are_done_and_their_status_is_written_back() {
    let (db, raw) = attached().await;
    let tl = db.client("worker").await;
    raw.run(
        "insert into letters (id, body) values (1, 'a'), (2, 'dead'), (3, 'retry'), (4, 'later'), (5, 'x')",
    )
    .await;
    raw.run("insert into letters values (6, 'draft', 'not yet'), (7, 'success', 'long ago')").await;
    raw.run("update letters set body = body || '' where id < 5").await;
    assert_eq!(jobs(&raw).await, "1 waiting 2 waiting 3 waiting 4 waiting 5 waiting");
    drained(&tl).await;
    let after = "1 success 2 error 3 success 4 new 5 success 6 draft 7 success";
    assert_eq!(rows(&raw).await, after);
    assert_eq!(jobs(&raw).await, "1 done 2 dead 3 done 4 retrying 5 done");
    drained(&tl).await;
    assert_eq!(jobs(&raw).await, "1 done 2 dead 3 done 4 retrying 5 done", "writing back made none");
    raw.run("update letters set status = 'new', body = 'y' where id in (1, 2, 6)").await;
    drained(&tl).await;
    assert_eq!(rows(&raw).await, "1 success 2 success 3 success 4 new 5 success 6 success 7 success");
    assert_eq!(jobs(&raw).await, "1 done 2 dead 3 done 4 retrying 5 done 1 done 2 done 6 done");
    assert_eq!(unwritten(&raw).await, "0");
}

#[tokio::test]
async fn a_table_is_attached_and_detached_from_rust_and_nothing_else_waits_for_who_writes_to_it() {
    let db = Db::new().await;
    let (tl, raw, writer) = (db.client("worker").await, db.raw().await, db.raw().await);
    raw.run(LETTERS).await;
    raw.run("insert into letters (id, body) values (1, 'a'), (2, 'dead')").await;
    writer.run("begin; insert into letters (id, body) values (3, 'c')").await;
    let attach = Attach::new("public.letters", "q").payload("body").existing();
    let (own, same) = (tl.jobs(), attach.clone());
    let attaching = tokio::spawn(async move { own.attach(same).await });
    let waits =
        "select exists (select from pg_locks where not granted and relation = 'public.letters'::regclass)";
    raw.until("it to wait for the writer", waits).await;
    within(5_000, "another act of the same process", tl.jobs().push("other", "x")).await.unwrap();
    writer.run("commit").await;
    assert_eq!(within(5_000, "the table", attaching).await.unwrap().unwrap(), 3);
    let kind = async |attach: Attach| tl.jobs().attach(attach).await.unwrap_err().kind();
    assert_eq!(kind(attach.clone()).await, ErrorKind::Conflict);
    assert_eq!(kind(Attach::new("nowhere", "q")).await, ErrorKind::NotFound);
    drained(&tl).await;
    assert_eq!(rows(&raw).await, "1 success 2 error 3 success");
    tl.jobs().detach("letters").await.unwrap();
    raw.run("insert into letters (id) values (4)").await;
    assert_eq!(jobs(&raw).await, "1 done 2 dead 3 done");
    for table in ["letters", "nowhere"] {
        assert_eq!(tl.jobs().detach(table).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(kind(attach.payload("gone")).await, ErrorKind::Invalid);
}

#[tokio::test]
async fn a_row_is_running_while_its_job_runs_and_new_while_it_waits_for_its_next_attempt() {
    let (_db, raw) = attached().await;
    raw.run("insert into letters (id) values (1)").await;
    let (claim, payload) = take(&raw).await;
    assert_eq!((payload.as_str(), rows(&raw).await.as_str()), ("", "1 running"));
    raw.run(&format!("select trunkline.job_fail('{claim}', 'no', '0')")).await;
    assert_eq!((rows(&raw).await, jobs(&raw).await), ("1 new".into(), "1 retrying".into()));
    let (claim, _) = take(&raw).await;
    raw.run(&format!("select trunkline.job_snooze('{claim}', '0')")).await;
    assert_eq!(rows(&raw).await, "1 new");
    raw.run("select trunkline.job_cancel(id) from trunkline.job").await;
    assert_eq!((rows(&raw).await, jobs(&raw).await), ("1 error".into(), "1 cancelled".into()));
    raw.run("select trunkline.job_retry(id) from trunkline.job").await;
    assert_eq!((rows(&raw).await, jobs(&raw).await), ("1 new".into(), "1 waiting".into()));
    let (claim, _) = take(&raw).await;
    complete(&raw, &claim).await;
    assert_eq!(rows(&raw).await, "1 success");
}

#[tokio::test]
async fn a_job_is_out_with_the_transaction_that_wrote_its_row_and_gone_with_its_rollback() {
    let (db, raw) = attached().await;
    let app = db.raw().await;
    app.run("begin; insert into letters values (1, 'new', 'a'); savepoint s; insert into letters values (2, 'new', 'b'); rollback to s").await;
    takes_nothing(&raw).await;
    app.run("commit; begin; insert into letters values (3, 'new', 'c'); rollback").await;
    assert_eq!(jobs(&raw).await, "1 waiting");
    app.run("begin isolation level serializable; insert into letters values (4, 'new', 'd'); commit").await;
    assert_eq!(jobs(&raw).await, "1 waiting 4 waiting");
}

#[tokio::test]
async fn a_row_that_is_reset_while_its_job_runs_is_done_once_more_after_that_has_ended() {
    let (_db, raw) = attached().await;
    raw.run("insert into letters values (1, 'new', 'first')").await;
    let (first, _) = take(&raw).await;
    raw.run("update letters set status = 'new', body = 'second' where id = 1").await;
    takes_nothing(&raw).await;
    complete(&raw, &first).await;
    assert_eq!(rows(&raw).await, "1 new", "it waits again");
    let (second, payload) = take(&raw).await;
    assert_eq!((payload.as_str(), rows(&raw).await.as_str()), ("second", "1 running"));
    complete(&raw, &second).await;
    takes_nothing(&raw).await;
    assert_eq!((rows(&raw).await, jobs(&raw).await), ("1 success".into(), "1 done 1 done".into()));
}

#[tokio::test]
async fn a_job_that_fails_after_its_row_was_reset_does_not_come_again_itself() {
    let (_db, raw) = attached().await;
    raw.run("insert into letters values (1, 'new', 'first')").await;
    let (first, _) = take(&raw).await;
    raw.run("update letters set status = 'new', body = 'second' where id = 1").await;
    raw.run(&format!("select trunkline.job_fail('{first}', 'no', '0')")).await;
    assert_eq!((rows(&raw).await, jobs(&raw).await), ("1 new".into(), "1 cancelled 1 waiting".into()));
    let (second, payload) = take(&raw).await;
    assert_eq!(payload, "second");
    complete(&raw, &second).await;
    takes_nothing(&raw).await;
    assert_eq!(rows(&raw).await, "1 success");
}

#[tokio::test]
async fn a_reset_that_is_not_committed_while_the_job_ends_is_neither_waited_for_nor_lost() {
    for end in ["commit", "rollback"] {
        let (db, raw) = attached().await;
        let app = db.raw().await;
        raw.run("insert into letters values (1, 'new', 'first'), (2, 'new', 'other')").await;
        let (first, _) = take(&raw).await;
        app.run("begin; update letters set status = 'new', body = 'second' where id = 1").await;
        complete(&raw, &first).await;
        let (other, _) = take(&raw).await;
        complete(&raw, &other).await;
        assert_eq!(rows(&raw).await, "1 running 2 success", "others go on");
        made_up_for(&raw).await;
        assert_eq!((rows(&raw).await.as_str(), unwritten(&raw).await.as_str()), ("1 running 2 success", "1"));
        app.run(end).await;
        made_up_for(&raw).await;
        assert_eq!(unwritten(&raw).await, "0");
        if end == "commit" {
            assert_eq!(rows(&raw).await, "1 new 2 success");
            let (second, payload) = take(&raw).await;
            assert_eq!((payload.as_str(), rows(&raw).await.as_str()), ("second", "1 running 2 success"));
            complete(&raw, &second).await;
        }
        takes_nothing(&raw).await;
        assert_eq!(rows(&raw).await, "1 success 2 success", "{end}");
    }
}

#[tokio::test]
async fn a_row_that_the_application_keeps_locked_stops_no_worker_and_its_status_is_made_up_for() {
    let (db, raw) = attached().await;
    let (app, tl) = (db.raw().await, db.client("worker").await);
    raw.run("insert into letters select n, 'new', case n when 3 then 'dead' else 'x' end from generate_series(1, 5) n").await;
    app.run("begin; select from letters where id in (2, 3) for update").await;
    drained(&tl).await;
    assert_eq!(rows(&raw).await, "1 success 2 new 3 new 4 success 5 success");
    assert_eq!(jobs(&raw).await, "1 done 2 done 3 dead 4 done 5 done");
    // And one that has tried in vain, and went to sleep, is not asleep for long.
    raw.run("update trunkline.job_unwritten set due_at = '-infinity', tries = 0").await;
    let working = tl.jobs().work("q", async |_: Job| Ok::<_, Failure>(()));
    raw.until("a worker to try", "select bool_and(tries > 0) from trunkline.job_unwritten").await;
    app.run("commit").await;
    raw.until("a worker to make up for it", "select bool_and(status in ('success', 'error')) from letters")
        .await;
    assert_eq!(rows(&raw).await, "1 success 2 success 3 error 4 success 5 success");
    raw.until("no note to be left", "select count(*) = 0 from trunkline.job_unwritten").await;
    working.stop().await.unwrap();
}

#[tokio::test]
async fn statuses_that_are_left_to_be_written_hide_no_job_that_is_due_soon() {
    let (_db, raw) = attached().await;
    const LATE: &str = "insert into trunkline.job_unwritten (origin, origin_row, due_at)
        select 0, '[]', now() - interval '1 hour' from generate_series(1, 250)";
    raw.run(LATE).await;
    let attend = "select due_ms from trunkline._job_attend(array(select id from trunkline.job_queue), '{}')";
    assert_eq!(raw.one(attend).await, "250", "a hundred at a time");
    raw.run(LATE).await;
    raw.run("select trunkline.job_push('q', 'x', key => 'k', run_at => clock_timestamp() + '200 ms')").await;
    let due: i64 = raw.one(attend).await.parse().unwrap();
    assert!((-15_000..=200).contains(&due), "{due}: the job's, and not what is an hour late");
    assert!(unwritten(&raw).await != "0");
}

#[tokio::test]
async fn a_table_that_is_locked_as_a_whole_stops_no_worker() {
    let (db, raw) = attached().await;
    let app = db.raw().await;
    raw.run("insert into letters values (1, 'new', 'x')").await;
    app.run("begin; lock table letters in access exclusive mode").await;
    let (claim, _) = within(5_000, "a take beside the lock", take(&raw)).await;
    within(5_000, "an end beside the lock", complete(&raw, &claim)).await;
    app.run("commit").await;
    made_up_for(&raw).await;
    assert_eq!((rows(&raw).await.as_str(), unwritten(&raw).await.as_str()), ("1 success", "0"));
}

#[tokio::test]
async fn who_works_and_who_writes_never_wait_for_each_other_in_a_circle() {
    let (db, raw) = attached().await;
    let app = db.raw().await;
    raw.run("insert into letters values (1, 'new', 'a'), (2, 'new', 'b')").await;
    let ((a, _), (b, _)) = (take(&raw).await, take(&raw).await);
    // The worker's transaction has row 1, the application's row 2, and each wants the other's.
    raw.run(&format!("begin; select trunkline.job_complete('{a}')")).await;
    app.run("begin; update letters set status = 'new' where id = 2").await;
    let waiting = tokio::spawn(async move {
        app.run("update letters set status = 'new' where id = 1").await;
        app.run("commit").await;
    });
    raw.until(
        "the application to wait",
        "select count(*) = 1 from pg_locks where not granted and locktype = 'transactionid'",
    )
    .await;
    raw.run(&format!("select trunkline.job_complete('{b}'); commit")).await;
    waiting.await.unwrap();
    made_up_for(&raw).await;
    assert_eq!(
        (rows(&raw).await, jobs(&raw).await),
        ("1 new 2 new".into(), "1 done 2 done 2 waiting 1 waiting".into())
    );
}

#[tokio::test]
async fn an_end_in_a_transaction_of_another_isolation_level_is_written_afterwards() {
    let (_db, raw) = attached().await;
    raw.run("insert into letters values (1, 'new', 'a')").await;
    let (claim, _) = take(&raw).await;
    raw.run("begin isolation level repeatable read; select 1").await;
    complete(&raw, &claim).await;
    raw.run("commit").await;
    assert_eq!(rows(&raw).await, "1 running");
    made_up_for(&raw).await;
    assert_eq!(rows(&raw).await, "1 success");
}

#[tokio::test]
async fn an_end_that_is_rolled_back_was_never_written() {
    let (_db, raw) = attached().await;
    raw.run("insert into letters values (1, 'new', 'a')").await;
    let (claim, _) = take(&raw).await;
    raw.run("begin").await;
    complete(&raw, &claim).await;
    assert_eq!(rows(&raw).await, "1 success");
    raw.run("rollback").await;
    assert_eq!((rows(&raw).await, jobs(&raw).await), ("1 running".into(), "1 running".into()));
}

#[tokio::test]
async fn the_row_of_a_worker_that_died_is_done_again() {
    let (db, raw) = attached().await;
    let worker = db.raw().await;
    raw.run("insert into letters values (1, 'new', 'a')").await;
    take(&worker).await;
    assert_eq!(rows(&raw).await, "1 running");
    let pid = worker.pid;
    drop(worker);
    raw.until(
        "it to be gone",
        &format!("select not exists (select from pg_stat_activity where pid = {pid})"),
    )
    .await;
    raw.until("its job to wait", "select (trunkline.maintain() is not null and (select state = 'retrying' from trunkline.job))::text::boolean").await;
    assert_eq!(rows(&raw).await, "1 new");
    let (claim, _) = take(&raw).await;
    complete(&raw, &claim).await;
    assert_eq!(rows(&raw).await, "1 success");
}

/// Many resets and many workers: nothing is lost, and in the end every row says what became of its newest job.
#[tokio::test]
async fn in_a_storm_of_resets_none_is_lost_and_none_is_doubled() {
    let (db, raw) = attached().await;
    let tl = db.client("worker").await;
    raw.run("create table runs (body text primary key); insert into letters select n, 'new', n || '.0' from generate_series(1, 20) n").await;
    let worker = tl.clone();
    let working = tl.jobs().work(Work::queue("q").concurrency(8), move |job: Job| {
        let worker = worker.clone();
        async move {
            let _ = &worker;
            Ok::<_, Failure>(job.payload)
        }
    });
    let writers: Vec<_> = futures_of(&db).await;
    for writer in writers {
        writer.await.unwrap();
    }
    raw.until(
        "all to be done",
        "select bool_and(state = 'done') and count(*) = 20 + 4 * 50 from trunkline.job",
    )
    .await;
    let twice = "select count(*) from (select payload from trunkline.job group by 1 having count(*) > 1) t";
    assert_eq!(raw.one(twice).await, "0", "each reset is one job");
    raw.until("every row to say so", "select bool_and(status = 'success') from letters").await;
    raw.until("no note to be left", "select count(*) = 0 from trunkline.job_unwritten").await;
    assert_eq!(raw.one("select bool_and(attempt = 1) from trunkline.job").await, "t");
    working.stop().await.unwrap();
}

/// Writers that reset rows, two in each transaction, in any order; one that meets another's lock in a circle tries again.
async fn futures_of(db: &Db) -> Vec<tokio::task::JoinHandle<()>> {
    let mut all = Vec::new();
    for writer in 1..=4 {
        let session = db.raw().await;
        all.push(tokio::spawn(async move {
            for n in 1..=50 {
                let (row, turn) = ((n * 7 + writer * 3) % 20 + 1, writer * 1000 + n);
                // Away from `new` first, so that it is a reset whatever became of it.
                let both = format!(
                    "update letters set status = 'edited' where id = {row};
                     update letters set status = 'new', body = '{row}.{turn}' where id = {row}"
                );
                session.run(&both).await;
            }
        }));
    }
    all
}
