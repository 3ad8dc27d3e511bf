//! Attached tables of every shape, that change under us, and of owners who mean no good.

use crate::{
    roles::with_roles,
    support::{Db, Raw},
};

/// Takes and ends what there is in a queue; how often it was told to take.
async fn done(raw: &Raw, queue: &str) -> usize {
    let mut count = 0;
    loop {
        let claims = raw.rows(&format!("select claim from trunkline.job_take('{queue}')")).await;
        let Some(claim) = claims.first() else { return count };
        raw.run(&format!("select trunkline.job_complete('{claim}')")).await;
        count += 1;
    }
}

async fn one() -> (Db, Raw) {
    let db = Db::new().await;
    let raw = db.raw().await;
    (db, raw)
}

#[tokio::test]
async fn any_name_any_primary_key_and_any_payload_will_do() {
    let (_db, raw) = one().await;
    raw.run(
        "create schema \"My \"\"Schema\"; create extension citext;
         create type public.stage as enum ('draft', 'new', 'running', 'success', 'error'); create domain public.word as text;
         create table \"My \"\"Schema\".\"Jobs; drop\" (
             \"The \"\"Id\" timestamptz, num numeric, arr int[], word citext, \"Is\" public.stage, \"Pay load\" jsonb,
             primary key (num, \"The \"\"Id\", arr, word));
         create table plain (id uuid primary key default gen_random_uuid(), status public.word, body bytea);
         create table whole (id bigint primary key generated always as identity, status varchar(10) default 'new', n int);
         set timezone = 'Asia/Kathmandu'; set datestyle = 'SQL, DMY'; set bytea_output = 'escape'",
    )
    .await;
    raw.run(
        "select trunkline.job_attach('\"My \"\"Schema\".\"Jobs; drop\"', 'a', 'Is', payload_column => 'Pay load', key_column => 'word',
                                     kind => 'k', priority => 3, max_attempts => 7);
         select trunkline.job_attach('plain', 'b', payload_column => 'body'); select trunkline.job_attach('whole', 'c')",
    )
    .await;
    raw.run("insert into \"My \"\"Schema\".\"Jobs; drop\" values (now(), 1.50, '{1,2}', 'W''x', 'new', '{\"a\": [1]}'),
                 ('infinity', 'NaN', '{}', 'W''x', 'new', null), (now(), 2, '{3}', 'y', 'draft', null)").await;
    raw.run("insert into plain (status, body) values ('new', '\\xff00'), ('new', null); insert into whole (n) values (5)").await;
    let seen = "select string_agg(concat_ws(' ', queue, kind, key, priority, max_attempts, payload, encode(bytes, 'hex')), ', ' order by id)
                from trunkline.job where queue";
    let json = "7b2261223a205b315d7d";
    assert_eq!(
        raw.one(&format!("{seen} = 'a'")).await,
        format!("a k W'x 3 7 {{\"a\": [1]}} {json}, a k W'x 3 7 null 6e756c6c")
    );
    let of_rows = "select string_agg(concat_ws(' ', kind, priority, encode(bytes, 'hex')), ', ' order by id) from trunkline.job where queue = 'b'";
    assert_eq!(raw.one(of_rows).await, "plain 5 ff00, plain 5 ");
    assert_eq!(
        raw.one("select json from trunkline.job where queue = 'c'").await,
        "{\"n\": 5, \"id\": 1, \"status\": \"new\"}"
    );
    assert_eq!((done(&raw, "a").await, done(&raw, "b").await, done(&raw, "c").await), (2, 2, 1));
    let all =
        "select (select string_agg(\"Is\"::text, ' ' order by num) from \"My \"\"Schema\".\"Jobs; drop\"),
                      (select string_agg(status, ' ') from plain), (select status from whole)";
    assert_eq!(raw.one(all).await, "success draft success|success success|success");
    assert_eq!(raw.one("select count(*) from trunkline.job_unwritten").await, "0");
    let listed = "select table_name, status_column, payload_column, array_to_string(primary_key, '|') from trunkline.job_attachments() limit 1";
    assert_eq!(raw.one(listed).await, "\"My \"\"Schema\".\"Jobs; drop\"|Is|Pay load|num|The \"Id|arr|word");
}

#[tokio::test]
async fn what_was_renamed_is_found_and_what_is_gone_is_said() {
    let (_db, raw) = one().await;
    raw.run(
        "create table t (gone int, id int primary key, status text, body text); alter table t drop gone;
         select trunkline.job_attach('t', 'q', payload_column => 'body');
         insert into t values (1, 'new', 'a'); create schema other;
         alter table t rename to \"T 2\"; alter table \"T 2\" set schema other; alter table other.\"T 2\" rename id to \"Id\";
         alter table other.\"T 2\" rename status to \"State\"; alter table other.\"T 2\" rename body to id;
         insert into other.\"T 2\" values (2, 'new', 'b')",
    )
    .await;
    assert_eq!(raw.one("select string_agg(payload, ' ' order by id) from trunkline.job").await, "a b");
    assert_eq!(done(&raw, "q").await, 2);
    assert_eq!(raw.one("select string_agg(\"State\", ' ') from other.\"T 2\"").await, "success success");
    assert_eq!(
        raw.one("select table_name || status_column from trunkline.job_attachments()").await,
        "other.\"T 2\"State"
    );
    raw.run("alter table other.\"T 2\" drop column id").await;
    let said = raw.failure("insert into other.\"T 2\" values (3, 'new')").await;
    assert!(said.contains("42703") && said.contains("has no column \\\"body\\\" any more"), "{said}");
    raw.run("select trunkline.job_detach('other.\"T 2\"'); select trunkline.job_attach('other.\"T 2\"', 'q', 'State')").await;
    raw.run("insert into other.\"T 2\" values (3, 'new')").await;
    assert_eq!(done(&raw, "q").await, 1);
}

#[tokio::test]
async fn a_table_that_is_dropped_or_cannot_be_written_to_stops_no_worker() {
    let (_db, raw) = one().await;
    raw.run(
        "create table t (id int primary key, status text); select trunkline.job_attach('t', 'q');
         create function sour() returns trigger language plpgsql as $$ begin
             if new.id = 1 then raise exception 'not this one'; end if; return new; end $$;
         create trigger sour before update on t for each row execute function sour();
         insert into t values (1, 'new'), (2, 'new')",
    )
    .await;
    assert_eq!(done(&raw, "q").await, 2);
    assert_eq!(raw.one("select string_agg(status, ' ' order by id) from t").await, "new success");
    assert_eq!(raw.one("select unwritten, error from trunkline.job_attachments()").await, "2|not this one");
    raw.run("drop trigger sour on t; update trunkline.job_unwritten set due_at = '-infinity'; select trunkline.maintain()").await;
    assert_eq!(raw.one("select string_agg(status, ' ' order by id) from t").await, "success success");
    assert_eq!(raw.one("select unwritten, error from trunkline.job_attachments()").await, "0|");
    raw.run("insert into t values (3, 'new'), (4, 'new'), (5, 'new'); delete from t where id = 3").await;
    let claim = raw.one("select claim from trunkline.job_take('q')").await;
    raw.run("drop table t").await;
    raw.run(&format!("select trunkline.job_complete('{claim}')")).await;
    assert_eq!(done(&raw, "q").await, 2, "what waits goes on");
    assert_eq!(raw.one("select table_name from trunkline.job_attachments()").await, "");
    raw.run("select trunkline.maintain()").await;
    let left = "select (select count(*) from trunkline.job_attachments()) + (select count(*) from trunkline.job_unwritten)
                + (select count(*) from pg_proc where proname ~ '^_job_attached_.*_[0-9]+$')";
    assert_eq!(raw.one(left).await, "0");
}

#[tokio::test]
async fn rows_of_partitions_are_jobs_of_their_root_and_those_of_children_are_not() {
    let (_db, raw) = one().await;
    raw.run(
        "create table p (id int, region text, status text, primary key (id, region)) partition by list (region);
         create table p_a partition of p for values in ('a');
         create table odd (status text not null, gone int, region text not null, id int not null, primary key (id, region));
         alter table odd drop gone; select trunkline.job_attach('p', 'q'); alter table p attach partition odd for values in ('b');
         create table base (id int primary key, status text); create table child (primary key (id)) inherits (base);
         select trunkline.job_attach('base', 'q2');
         insert into p values (1, 'a', 'new'), (1, 'b', 'new'); insert into odd values ('new', 'b', 2);
         insert into child values (1, 'new'); insert into base values (1, 'new')",
    )
    .await;
    assert_eq!((done(&raw, "q").await, done(&raw, "q2").await), (3, 1));
    assert_eq!(
        raw.one("select string_agg(id || region || status, ' ' order by id, region) from p").await,
        "1asuccess 1bsuccess 2bsuccess"
    );
    assert_eq!(raw.one("select string_agg(status, ' ' order by tableoid) from base").await, "success new");
    raw.run("alter table p detach partition odd; insert into odd values ('new', 'b', 3)").await;
    assert_eq!(done(&raw, "q").await, 0);
    assert_eq!(raw.code("select trunkline.job_attach('p_a', 'q')").await, "22023");
}

#[tokio::test]
async fn rows_that_were_new_before_become_jobs_when_that_is_asked_for() {
    let (_db, raw) = one().await;
    raw.run("create table t (id int primary key, status text); insert into t values (1, 'new'), (2, 'new'), (3, 'success')").await;
    assert_eq!(raw.one("select trunkline.job_attach('t', 'q')").await, "0");
    assert_eq!(done(&raw, "q").await, 0);
    raw.run("select trunkline.job_detach('t'); insert into t values (4, 'new')").await;
    assert_eq!(raw.one("select trunkline.job_attach('t', 'q', existing => true)").await, "3");
    assert_eq!(done(&raw, "q").await, 3);
    assert_eq!(
        raw.one("select string_agg(status, ' ' order by id) from t").await,
        "success success success success"
    );
}

/// What a dump writes and a restore reads: another table, with other numbers of its columns, and the same triggers.
#[tokio::test]
async fn a_restored_table_is_found_by_its_triggers_and_its_columns_by_their_names() {
    let (_db, raw) = one().await;
    raw.run(
        "create table t (gone int, id int primary key, status text, body text); alter table t drop gone;
         select trunkline.job_attach('t', 'q', payload_column => 'body');
         insert into t values (1, 'new', 'a');
         create table restored (id int primary key, status text, body text); insert into restored select * from t;
         drop table t; alter table restored rename to t;
         create trigger trunkline_job_insert after insert on t for each row when (new.status = 'new')
             execute function trunkline._job_attached_fire_1();
         insert into t values (2, 'new', 'b')",
    )
    .await;
    assert_eq!(raw.one("select string_agg(payload, ' ' order by id) from trunkline.job").await, "a b");
    assert_eq!(done(&raw, "q").await, 2);
    assert_eq!(raw.one("select string_agg(status, ' ') from t").await, "success success");
    raw.run("select trunkline.maintain()").await;
    assert_eq!(
        raw.one("select table_name, status_column from trunkline.job_attachments()").await,
        "public.t|status"
    );
}

#[tokio::test]
async fn what_cannot_be_attached_is_refused_by_name() {
    let (_db, raw) = one().await;
    raw.run(
        "create table t (id int primary key, status text, n int); create table keyless (status text); create view v as select * from t;
         create temp table temporary (id int primary key, status text); create type two as enum ('new', 'running');
         create table few (id int primary key, status two); create table twice (id int primary key, status text);
         select trunkline.job_attach('twice', 'q')",
    )
    .await;
    for (call, code, said) in [
        ("job_attach('keyless', 'q')", "22023", "keyless has no primary key"),
        ("job_attach('v', 'q')", "22023", "only a table"),
        ("job_attach('temporary', 'q')", "22023", "only a table"),
        ("job_attach('pg_class', 'q')", "22023", "only a table"),
        ("job_attach('trunkline.job_queue', 'q')", "22023", "only a table"),
        ("job_attach('t', 'q', 'state')", "22023", "t has no column \\\"state\\\""),
        ("job_attach('t', 'q', payload_column => 'ctid')", "22023", "no column"),
        ("job_attach('t', 'q', 'n')", "22023", "must be text"),
        ("job_attach('few', 'q')", "22023", "must be text"),
        ("job_attach('t', 'q', null)", "22004", "status column must not be null"),
        ("job_attach(null, 'q')", "22004", "table must not be null"),
        ("job_attach('t', null)", "22004", "queue name must not be null"),
        ("job_attach('t', 'q', priority => 10)", "22023", "priority"),
        ("job_attach('twice', 'q2')", "42710", "attached already"),
        ("job_detach('t')", "42704", "t is not attached"),
        ("job_detach(null)", "22004", "table must not be null"),
        ("job_attach('nowhere', 'q')", "42P01", "nowhere"),
    ] {
        let failure = raw.failure(&format!("select trunkline.{call}")).await;
        assert!(failure.contains(code) && failure.contains(said), "{call}: {failure}");
    }
    assert_eq!(raw.one("select count(*) from trunkline.job_attachments()").await, "1");
    raw.run("alter table twice drop column status cascade; insert into twice values (1)").await;
    assert_eq!(done(&raw, "q").await, 0);
}

/// A table of it_writer's, with a role that may only insert into it.
async fn owned() -> (Db, Raw, Raw) {
    let (db, raw) = with_roles().await;
    raw.run("grant create on schema public to it_writer, it_writer2").await;
    let owner = db.raw_as("it_writer").await;
    owner
        .run("create table t (id int primary key, status text default 'new'); grant insert on t to it_nobody")
        .await;
    (db, raw, owner)
}

#[tokio::test]
async fn only_its_owner_attaches_a_table_and_whoever_writes_to_it_needs_no_other_right() {
    let (db, raw, owner) = owned().await;
    for role in ["it_nobody", "it_reader", "it_writer2", "it_admin"] {
        let code = db.raw_as(role).await.code("select trunkline.job_attach('t', 'q')").await;
        assert_eq!(code, "42501", "{role}");
    }
    owner.run("select trunkline.job_attach('t', 'q')").await;
    assert_eq!(db.raw_as("it_writer2").await.code("select trunkline.job_detach('t')").await, "42501");
    db.raw_as("it_nobody").await.run("insert into t values (1)").await;
    assert_eq!(done(&db.raw_as("it_writer2").await, "q").await, 1, "who works needs no right on the table");
    assert_eq!(raw.one("select status from t").await, "success");
    for call in [
        "_job_attached_push_1('[\"1\"]', 1, 'x', null)",
        "_job_attached_write_1('t'::regclass, '[\"1\"]', 'new', false)",
        "_job_attached_scan_1()",
        "_job_attached_settle(1, '[\"1\"]', false)",
        "_job_attached_push(1, '[\"1\"]', 1, 'x', null)",
    ] {
        let code = db.raw_as("it_writer2").await.code(&format!("select trunkline.{call}")).await;
        assert_eq!(code, "42501", "{call}");
    }
    assert_eq!(raw.one("select has_schema_privilege('it_writer', 'trunkline', 'create')").await, "f");
    owner.run("select trunkline.job_detach('t')").await;
}

#[tokio::test]
async fn a_schema_of_a_plain_role_writes_only_to_tables_that_it_may_act_for() {
    let db = Db::empty().await;
    let (raw, name) = (db.raw().await, db.name.clone());
    raw.run(&format!("create role {name}_ours login; create role {name}_app login; grant create on database {name} to {name}_ours;
        grant create on schema public to {name}_app; grant execute on function pg_control_system() to {name}_ours")).await;
    let mut ours = db.raw_as(&format!("{name}_ours")).await;
    trunkline::schema::install(&mut ours.client).await.unwrap();
    ours.run(&format!("select trunkline.grant_to('{name}_app', 'writer')")).await;
    let app = db.raw_as(&format!("{name}_app")).await;
    app.run("create table t (id int primary key, status text default 'new')").await;
    let said = app.failure("select trunkline.job_attach('t', 'q')").await;
    assert!(said.contains("42501") && said.contains(&format!("grant {name}_app to {name}_ours")), "{said}");
    raw.run(&format!("grant {name}_app to {name}_ours")).await;
    app.run("select trunkline.job_attach('t', 'q'); insert into t values (1)").await;
    assert_eq!(done(&app, "q").await, 1);
    assert_eq!(app.one("select status from t").await, "success");
    trunkline::schema::install(&mut ours.client).await.unwrap();
    app.run("insert into t values (2); select trunkline.job_detach('t')").await;
    ours.run("drop schema trunkline cascade").await;
    raw.run(&format!("drop owned by {name}_ours, {name}_app; drop role {name}_ours, {name}_app")).await;
}

#[tokio::test]
async fn a_hostile_owners_triggers_types_and_functions_run_with_his_rights_only() {
    let (_db, raw, owner) = owned().await;
    owner.run(
        "create table public.seen (who text);
         create function public.spy() returns trigger language plpgsql as $$ begin
             insert into public.seen values (current_user || ' ' || tg_name); return new; end $$;
         create trigger a_before before update on t for each row execute function public.spy();
         create trigger b_after after update on t for each row execute function public.spy();
         create constraint trigger c_late after update on t deferrable initially deferred for each row execute function public.spy();
         create type public.odd as enum ('x');
         create function public.odd_json(public.odd) returns json language plpgsql as $$ begin
             insert into public.seen values (current_user || ' cast'); return '1'; end $$;
         create cast (public.odd as json) with function public.odd_json(public.odd);
         alter table t add o public.odd default 'x';
         select trunkline.job_attach('t', 'q')",
    )
    .await;
    raw.run("insert into t values (1)").await;
    assert_eq!(done(&raw, "q").await, 1);
    raw.run("update trunkline.job_unwritten set due_at = '-infinity'; select trunkline.maintain()").await;
    let seen =
        "select string_agg(distinct who collate \"C\", ', ' order by who collate \"C\") from public.seen";
    assert_eq!(
        raw.one(seen).await,
        "it_writer a_before, it_writer b_after, it_writer c_late, it_writer cast"
    );
    assert_eq!(raw.one("select status from t").await, "success");
    // Running as its caller, the function that writes refuses.
    raw.run("delete from seen; insert into t values (2); delete from seen").await;
    owner
        .run("alter function trunkline._job_attached_write_1(oid, jsonb, text, boolean) security invoker")
        .await;
    owner
        .run(
            "create function public.note(pg_catalog.oid) returns boolean language plpgsql as $$ begin
                 if current_user <> 'it_writer' then perform nextval('public.hits'); end if; return true; end $$;
             create sequence public.hits;                       -- which no rollback hides
             create domain public.oid as pg_catalog.oid check (public.note(value));
             alter function trunkline._job_attached_write_1(oid, jsonb, text, boolean) set search_path = public, pg_catalog",
        )
        .await;
    assert_eq!(done(&raw, "q").await, 1);
    raw.run("update trunkline.job_unwritten set due_at = '-infinity'; select trunkline.maintain()").await;
    assert_eq!(raw.one("select count(*) from public.seen").await, "0");
    assert_eq!(
        raw.one("select is_called from public.hits").await,
        "f",
        "nor does a type of his, in a path of his"
    );
    assert!(raw.one("select error from trunkline.job_attachments()").await.contains("another owner"));
    for change in [
        "create or replace function trunkline._job_attached_write_1(oid, jsonb, text, boolean) returns text language sql as 'select 1::text'",
        "alter function trunkline._job_attached_scan_1() rename to _job_take",
    ] {
        assert_eq!(owner.code(change).await, "42501", "{change}");
    }
    // A table that changed hands is written to by nobody.
    raw.run("alter function trunkline._job_attached_write_1(oid, jsonb, text, boolean) security definer; alter table t owner to it_writer2").await;
    raw.run("update trunkline.job_unwritten set due_at = '-infinity'; select trunkline.maintain()").await;
    assert_eq!(raw.one("select count(*) from public.seen").await, "0");
}
