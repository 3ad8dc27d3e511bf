//! Jobs in sessions that are not as usual, by their number in the list of bad inputs: transactions that cannot push or take, a
//! low role's trigger, hostile search paths, roles, settings.

use tokio::sync::mpsc;
use trunkline::{
    jobs::{Job, NewJob, Work},
    requests::Failure,
};

use crate::{
    jobs::{asleep, one},
    jobs_rows::{DONE, KEPT},
    roles::{trapped, with_roles},
    support::{Db, Raw, millis, secs, within},
};

#[tokio::test]
async fn rows_46_to_49_a_transaction_that_cannot_push_or_take_says_so() {
    let (db, tl, raw) = one().await;
    raw.run("select trunkline.job_schedule('s', 'q', '@daily', 'S3cret-')").await;
    let pushes = "select trunkline.job_push('q', 'plain'), trunkline.job_push('q', 'key', key => 'k'), trunkline.job_push('q', 'u', unique_key => 'u'),
        trunkline.job_push_many('q', '{many}'), trunkline.job_schedule_run('s')";
    for level in ["repeatable read", "serializable"] {
        raw.run(&format!("begin isolation level {level}; {pushes}")).await;
        assert_eq!(raw.code("select trunkline.job_take('q')").await, "25001", "row 46 {level}");
        raw.run(&format!("rollback; begin isolation level {level}; {pushes}; commit")).await;
        let claims = raw.rows("select claim from trunkline.job_take('q', 9)").await;
        assert_eq!(claims.len(), 5, "row 48 {level}: what was committed, and that alone");
        for claim in claims {
            raw.run(&format!(
                "begin isolation level {level}; select trunkline.job_complete('{claim}'); commit"
            ))
            .await;
        }
    }
    raw.run(pushes).await;
    let claim = raw.one("select claim from trunkline.job_take('q')").await;
    let writes = "job_push('q', 'x'); job_push_json('new', '1'); job_take('q'); job_complete(@); job_fail(@, 'e'); job_progress(@, 1); job_open('new');
        job_set('q', 'max_bytes', '9'); job_pause('q'); job_cancel_all('q'); job_schedule_run('s'); job_unschedule('s'); job_forward('1 s')";
    let writes = writes.replace('@', &format!("'{claim}'"));
    for (begin, code) in [("begin read only", "25006"), ("begin; select 1/0", "25P02")] {
        for call in writes.split(';').map(str::trim) {
            raw.client.batch_execute(begin).await.err();
            assert_eq!(raw.code(&format!("select trunkline.{call}")).await, code, "rows 46 and 47: {call}");
            raw.run("rollback").await;
        }
    }
    let reads = "select trunkline.job_list(), trunkline.job_page(), trunkline.job_queues(), trunkline.job_dead(), trunkline.job_schedules(),
        trunkline.job_attachments(), trunkline.job_show(id), trunkline.job_result(id) from trunkline.job limit 1";
    raw.run(&format!("begin read only; {reads}; rollback")).await;
    raw.run(&format!("select trunkline.job_complete('{claim}')")).await;
    assert_eq!(raw.rows(DONE).await.len(), 4, "nothing was pushed, taken or ended");
    // Row 49: a bell cannot be prepared; without it the job is there with the next look.
    let (sent, mut done) = mpsc::unbounded_channel();
    let _working = tl.jobs().work("q", move |job: Job| {
        let sent = sent.clone();
        async move { sent.send(job.payload.text()?.to_owned()).map_err(|_| Failure::new("gone", "")) }
    });
    asleep(&raw, "client").await;
    raw.run("begin; select trunkline.job_push('q', 'rung')").await;
    assert_eq!(raw.code(&format!("prepare transaction '{}'", db.name)).await, "0A000");
    raw.run("set trunkline.ring = off; begin; select trunkline.job_push('q', 'a'), trunkline.job_push('q', 'b', key => 'k')").await;
    raw.run(&format!("prepare transaction '{}'", db.name)).await;
    assert_eq!(raw.one("select count(*) from trunkline.job_list('q', 'waiting')").await, "0");
    raw.run(&format!("commit prepared '{}'", db.name)).await;
    raw.run("reset trunkline.ring; select trunkline.job_push('q', 'c')").await;
    let mut three = Vec::new();
    while three.len() < 3 {
        three.push(within(5_000, "row 49: a job", done.recv()).await.unwrap());
    }
    three.sort();
    assert_eq!(three, ["a", "b", "c"]);
}

#[tokio::test]
async fn row_50_a_trigger_of_a_low_role_on_a_table_with_row_security_pushes_what_may_be_written() {
    let (db, raw) = with_roles().await;
    raw.run(
        "create table app (id int primary key, owner name default current_user, body text);
         alter table app enable row level security; alter table app force row level security;
         create policy own on app using (owner = current_user);
         create function app_push() returns trigger language plpgsql as $$ begin
             perform trunkline.job_push('q', new.body), trunkline.job_push('q', new.body || ' held', key => new.body); return new; end $$;
         create trigger push after insert on app for each row execute function app_push();
         grant select, insert on app to it_writer, it_reader, it_nobody",
    )
    .await;
    let (writer, reader, nobody) =
        (db.raw_as("it_writer").await, db.raw_as("it_reader").await, db.raw_as("it_nobody").await);
    writer.run("insert into app (id, body) values (1, 'mine')").await;
    for (session, sql) in [
        (&writer, "insert into app values (2, 'postgres', 'S3cret-')"),
        (&reader, "insert into app (id, body) values (3, 'S3cret-')"),
        (&nobody, "insert into app (id, body) values (4, 'S3cret-')"),
    ] {
        assert_eq!(session.code(sql).await, "42501", "{sql}");
    }
    raw.run("alter function app_push() security definer; alter function app_push() owner to it_writer").await;
    nobody.run("insert into app (id, body) values (5, 'through the definer')").await;
    let pushed = raw.rows(DONE).await;
    assert_eq!(pushed, ["mine", "mine held", "through the definer", "through the definer held"]);
}

#[tokio::test]
async fn row_51_objects_of_our_names_in_front_of_ours_are_never_used() {
    let (db, safe) = (Db::new().await, Db::new().await);
    let (raw, plain) = (trapped(&db).await, safe.raw().await);
    raw.run(
        "do $$ declare v name; begin
             for v in select c.relname from pg_catalog.pg_class c where c.relnamespace = 'trunkline'::regnamespace
                         and c.relkind = 'r' and c.relname ~ '^(job|door)' loop
                 execute format('create temp table %I (id int, name text)', v);
             end loop; end $$",
    )
    .await;
    assert_eq!(raw.one("select count(*) from job_queue").await, "0", "in front of ours");
    let calls = "job_open('q')
        job_set('q', 'max_bytes', '1000'), trunkline.job_set('q', 'retry_after', '0'), trunkline.job_set('q', 'key_max_running', '2')
        job_push('q', 'a', 'k', headers => '{\"a\": \"b\"}'), trunkline.job_push_bytes('q', '\\x00'), trunkline.job_push_many('q', '{m,n}')
        job_push_json('q', '{}', 'k', 'key', 'u', 2, pg_catalog.now(), 3, null, '{\"unique_for\": \"1 min\", \"ttl\": \"1 day\"}')
        job_push_json('q', '{}', options => '{\"unique_payload\": true}'), trunkline.job_push('q', 'late', run_at => 'tomorrow')
        job_pause('q'), trunkline.job_resume('q'), trunkline.job_forward('2 days')
        job_attach('public.app', 'q', existing => true)
        job_attachments()
        job_schedule('s', 'q', '@daily'), trunkline.job_schedule_json('t', 'q', '@daily', '1'), trunkline.job_schedule_run('t')
        job_schedule_pause('s'), trunkline.job_schedule_resume('s'), trunkline.job_unschedule('s')
        job_schedules()
        job_progress(t.claim, 5, 'm'), trunkline.job_fail(t.claim, 'e', dead => true) from trunkline.job_take('q', 2) t
        job_snooze(t.claim, '1 min') from trunkline.job_take('q', 1) t
        job_complete(t.claim, 'r') from trunkline.job_take('q', 3) t
        job_list('q', payload => '{}'), trunkline.job_page('q'), trunkline.job_dead('q'), trunkline.job_queues()
        job_show(j.id), trunkline.job_result(j.id) from trunkline.job j
        job_retry(j.id), trunkline.job_cancel(j.id), trunkline.job_delete(j.id) from trunkline.job_list('q', 'dead', max => 1) j
        job_retry_all('q'), trunkline.job_cancel_all('q'), trunkline.job_delete_all('q', 'cancelled')
        job_detach('public.app')";
    for session in [&plain, &raw] {
        session.run("create table public.app (id int primary key, status text)").await;
        for call in calls.lines().map(str::trim) {
            session.run(&format!("select trunkline.{call}")).await;
        }
        session.run("insert into public.app values (1, 'new'); select trunkline.maintain()").await;
    }
    let names = plain.rows("select proname from pg_proc where pronamespace = 'trunkline'::regnamespace and proname ~ '^job_'").await;
    for name in names {
        assert!(calls.contains(&format!("{name}(")), "{name} is called here too");
    }
    let left = "select string_agg(job_state || ' ' || n, ', ' order by 1) from (select job_state, count(*) n from trunkline.job_list() group by 1) s";
    let (left, expected) = (db.raw().await.one(left).await, plain.one(left).await);
    assert_eq!(
        (left.as_str(), expected.as_str()),
        ("scheduled 1, cancelled 2, done 3", "scheduled 1, cancelled 2, done 3")
    );
}

#[tokio::test]
async fn rows_52_and_53_a_role_does_what_it_was_granted_and_writes_no_table_by_itself() {
    let (db, raw) = with_roles().await;
    raw.run("do $$ begin create role it_granted login; exception when duplicate_object then null; end $$")
        .await;
    raw.run("select trunkline.grant_to('it_granted', 'writer'), trunkline.job_push('q', 'x')").await;
    let granted = db.raw_as("it_granted").await;
    granted
        .run("select trunkline.job_push('q', 'y', key => 'k'), trunkline.job_schedule('s', 'q', '@daily')")
        .await;
    let tables = "select c.relname, (select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum = 1) from pg_class c
        where c.relnamespace = 'trunkline'::regnamespace and c.relname ~ '^job' and c.relkind = 'r'";
    let tables = raw.rows(tables).await;
    assert!(tables.len() > 20, "{tables:?}");
    for (table, column) in tables.iter().map(|row| row.split_once('|').unwrap()) {
        let writes = "insert into @ default values; update @ set # = default; delete from @; truncate @; copy @ from stdin; drop table @;
            alter table @ disable trigger all; select # from @; create trigger t after insert on @ execute function lower()";
        for sql in writes.replace('@', &format!("trunkline.{table}")).replace('#', column).split(';') {
            assert_eq!(granted.code(sql).await, "42501", "{sql}");
        }
    }
    let kept = raw.one(KEPT).await;
    for (role, sql, code) in [
        ("it_granted", "job_set('q', 'max_bytes', '1')", "42501"),
        ("it_granted", "job_forward('1 day')", "42501"),
        ("it_granted", "_job_drop(1, 1, null, 'S3cret-')", "42501"),
        ("it_granted", "_job_settle('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')", "42501"),
        ("it_reader", "job_push('q', 'S3cret-')", "42501"),
        ("it_reader", "job_take('q')", "42501"),
        ("it_reader", "job_show(1)", "42501"),
        ("it_reader", "job_list('q')", "00000"),
        ("it_nobody", "job_list('q')", "42501"),
    ] {
        raw.run(&format!("set role {role}")).await;
        assert_eq!(raw.code(&format!("select * from trunkline.{sql}")).await, code, "{role}: {sql}");
        raw.run("reset role").await;
    }
    assert_eq!(raw.one(KEPT).await, kept);
    let create = granted.code("create table trunkline.mine (id int)").await;
    assert_eq!((create.as_str(), granted.rows(DONE).await.len()), ("42501", 2));
}

/// What comes of a bit of everything, told without a word that a session's settings could change.
async fn story(raw: &Raw) -> Vec<String> {
    raw.run(
        "select trunkline.job_set('q', 'retry_after', '1 day 02:03:04.5'), trunkline.job_set('q', 'key_rate_period', '1 mon')
           from trunkline.job_open('q');
         select trunkline.job_push('q', E'a\\\\b''c', run_at => '2020-02-01 10:00:00+01', key => 'k', headers => jsonb_build_object('h', chr(92))),
                trunkline.job_push_bytes('q', decode('00ff5c78', 'hex')), trunkline.job_push_json('q', '{\"f\": 0.1, \"n\": 1e20}'),
                trunkline.job_push('q', 'u', options => '{\"unique_payload\": true, \"ttl\": \"1 day 1.5 s\"}'),
                trunkline.job_push_json('q', '[1]', options => '{\"unique_payload\": true, \"unique_for\": \"90 min\"}'),
                trunkline.job_push('q', 'far', run_at => now() + '1 mon'), trunkline.job_schedule('s', 'q', '@daily', E'\\\\x'),
                trunkline.job_schedule_run('s')",
    )
    .await;
    let mut told = Vec::new();
    for sql in [
        "select kind, encode(bytes, 'hex'), headers ->> 'h', json ->> 'f', state, priority from trunkline.job order by id",
        "select unique_key from trunkline.job where unique_key is not null order by id",
        "select extract(epoch from due_at) from trunkline.job where due_at < '2021-01-01'::date",
        "select extract(epoch from (settings ->> 'retry_after')::interval), extract(epoch from (settings ->> 'key_rate_period')::interval) from trunkline.job_queues()",
        "select (headers ->> 'scheduled_at') ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$', (headers ->> 'scheduled_at')::timestamptz > now() - interval '1 min'
           from trunkline.job where headers ? 'schedule'",
        "select trunkline.job_fail(claim, E'e\\\\x', interval '1 day') from trunkline.job_take('q', 3)",
        "select trunkline.job_complete(claim, E'\\\\x00') from trunkline.job_take('q', 9)",
        "select state, round(extract(epoch from due_at - now()) / 600), error, encode(result_bytes, 'hex'), (errors -> 0 ->> 'at')::timestamptz > now() - interval '1 min'
           from trunkline.job order by id",
        "select trunkline.job_retry_all('q', 'retrying', older_than => '1 hour'), trunkline.job_delete_all('q', 'done', older_than => '-1 day')",
    ] {
        told.extend(raw.rows(sql).await);
    }
    told
}

#[tokio::test]
async fn rows_54_to_57_settings_of_a_session_change_no_result() {
    let (usual, odd) = (Db::new().await, Db::new().await);
    let settings = "session_replication_role = replica; row_security = off; standard_conforming_strings = off; escape_string_warning = off;
        datestyle = 'SQL, DMY'; intervalstyle = 'iso_8601'; timezone = 'Asia/Kathmandu'; bytea_output = 'escape'; extra_float_digits = -15;
        backslash_quote = off; array_nulls = off; quote_all_identifiers = on; xmloption = document";
    for setting in settings.split(';') {
        odd.raw().await.run(&format!("alter database {} set {setting}", odd.name)).await;
    }
    let (plain, raw) = (usual.raw().await, odd.raw().await);
    assert_eq!(raw.one("show intervalstyle").await, "iso_8601");
    let told = story(&plain).await;
    assert_eq!(story(&raw).await, told);
    assert!(told.len() > 20, "{told:?}");
    let tl = odd.client("it").await;
    let jobs = [
        NewJob::new("a\\b"),
        NewJob::new(vec![0_u8, 92]).key("k"),
        NewJob::new("x").unique_payload().ttl(secs(90)),
        NewJob::new("d").delay(millis(1)),
    ];
    tl.jobs().push_all("r", jobs).await.unwrap();
    let mut working =
        tl.jobs().work(Work::queue("r").at_most(4), async |job: Job| Ok::<_, Failure>(job.payload));
    within(9_000, "row 57: all", working.ended()).await.unwrap();
    let results = "select encode(result_bytes, 'hex') from trunkline.job where queue = 'r' and state = 'done' order by id";
    assert_eq!(raw.rows(results).await, ["615c62", "005c", "78", "64"]);
}
