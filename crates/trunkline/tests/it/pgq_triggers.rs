//! The three triggers, event for event as the C ones write them: tables of many shapes, options, and what may not be.

use crate::{
    pgq_support::{Pair, adapted},
    support::Raw,
};

/// A table, and what is done to it.
type Case = (&'static str, &'static [&'static str]);

const TABLES: [Case; 8] = [
    (
        "create table t (id int primary key, a text, b numeric(10, 3), c timestamptz, d bool)",
        &[
            "insert into t values (1, 'x', 1.5, '2026-01-02 03:04:05.678+00', true)",
            "insert into t values (2, null, null, null, null), (3, '', 'NaN', 'infinity', false)",
            "insert into t values (4, e'a b''c\\\\d\\n\\t\"é€%+&=/:,{}|\\u0001', -0.001, '0044-03-15 12:00 BC', true)",
            "update t set b = 2 where id = 1",
            "update t set a = 'y' where id = 1",
            "update t set a = a where id = 1",
            "update t set a = 'z', b = 3, d = null where id = 1",
            "update t set id = 9 where id = 1",
            "update t set a = 'q', id = 10 where id = 1",
            "update t set a = null where id = 4",
            "delete from t where id = 1",
            "delete from t where id = 4",
        ],
    ),
    (
        "create table t (\"Mixed Case\" int, \"sel'ect\" text, \"ü%1$s\" int default 5, a text, b int, \"select\" int, primary key (\"sel'ect\", \"Mixed Case\"))",
        &[
            "insert into t (\"Mixed Case\", \"sel'ect\", a) values (1, 'k''1', 'v'), (2, 'k 2', null)",
            "update t set a = 'w', \"select\" = 7 where \"Mixed Case\" = 1",
            "update t set b = 1",
            "update t set \"sel'ect\" = 'other' where b = 1",
            "delete from t",
        ],
    ),
    (
        "create table t (a text, b int)",
        &["insert into t values ('x', 1), (null, null)", "update t set b = 2", "delete from t"],
    ),
    (
        "create type mood as enum ('sad', 'ok'); create type pair as (x int, y text); create domain pos as int check (value > 0); create domain code as char(3);
         create table t (id bigint primary key, a char(5), b varchar(20), j json, jb jsonb, ai int[], at text[][], f4 float4, f8 float8, i inet, c cidr, u uuid, by bytea,
           bi bit(3), vb varbit, mo money, iv interval, d date, ts timestamp, ti time, tz timetz, m mood, p pair, po pos, co code, r int4range, mr int4multirange, pt point, ch \"char\",
           na name, o oid, xm xml, s smallint, rc regclass, tv tsvector)",
        &[
            "insert into t values (1, 'ab', 'x  ', ' {\"a\": [1, 2] } ', ' {\"a\": [1, 2] } ', '{1,null,3}', '{{a,\"b c\"},{d,e}}', 1.5, 1e300, '1.2.3.4', '10.0.0.0/8', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\xdeadbeef',
                '101', '1', 12.34, '1 day 02:00', '2026-02-03', '2026-02-03 04:05:06', '07:08', '07:08+02', 'ok', '(1,\"q r\")', 7, 'z', '[1,5)', '{[1,2),[5,9)}', '(1,2)', 'c', 'n', 99, '<a/>', 5, 'pg_class', 'a b')",
            "insert into t (id) values (2)",
            "insert into t (id, f4, f8, d, ts, j, jb, p) values (3, 'NaN', '-Infinity', '-infinity', 'infinity', '\"str\"', '\"str\"', '(,)')",
            "update t set a = 'ab ', f8 = 2 where id = 1",
            "update t set a = 'ab   ' where id = 1",
            "update t set j = '{\"a\":[1,2]}', jb = '{\"a\":[1,2]}' where id = 1",
            "update t set ai = '{1,null,3}', at = null, p = '(1,\"q r\")', m = 'sad', co = 'y', po = 8 where id = 1",
            "update t set i = '1.2.3.4/32', r = '[1,5)', pt = '(1,3)', xm = '<b/>', iv = '26:00', tv = 'b' where id = 1",
            "update t set p = '(,)' where id = 2",
            "delete from t",
        ],
    ),
    (
        "create table t (gone text, id int, a text, b text, inc text); alter table t drop column gone; create unique index tk on t (id) include (inc); alter table t add primary key using index tk",
        &[
            "insert into t values (1, 'x', 'y', 'z')",
            "update t set b = 'w'",
            "update t set inc = 'changed'",
            "alter table t add column later int default 4",
            "update t set b = 'v'",
            "alter table t rename column a to renamed",
            "update t set b = 'u'",
            "alter table t alter column b type varchar(9)",
            "update t set b = 't'",
            "alter table t drop constraint tk; alter table t add primary key (id)",
            "update t set inc = 'more'",
            "delete from t",
        ],
    ),
    (
        "create table t (id int primary key, a text, b text, _pgq_ev_type text, _pgq_ev_extra1 text, _pgq_ev_extra4 text)",
        &[
            "insert into t values (1, 'x', 'y', 'own type', null, 'four'), (2, 'x', 'y', null, 'e1', null)",
            "update t set a = 'z', _pgq_ev_type = 'other'",
            "update t set _pgq_ev_type = 'magic alone'",
            "delete from t",
        ],
    ),
    (
        "create table t (id int primary key, a text, b text, _pgq_ev_strange text)",
        &["insert into t values (1)", "delete from t"],
    ),
    (
        "create table t (id int, a text, b int, primary key (id, b)) partition by range (id);
         create table t_low partition of t for values from (0) to (10); create table t_high partition of t for values from (10) to (99)",
        &[
            "insert into t values (1, 'x', 1), (11, 'y', 2)",
            "update t set a = 'z'",
            "update t set id = 12 where id = 1",
            "delete from t",
        ],
    ),
];

const OPTIONS: [&str; 38] = [
    "",
    "'backup'",
    "'ignore=a'",
    "'ignore=a,b', 'backup'",
    "'ignore=b a'",
    "'ignore=none'",
    "'ignore=id'",
    "'pkey=a'",
    "'pkey=a,b'",
    "'pkey=b , id'",
    "'pkey=none'",
    "'pkey='",
    "'pkey=id,none', 'ignore=a'",
    "'SKIP'",
    "'skip'",
    "'deny'",
    "'backup', 'deny', 'SKIP'",
    "'when=id < 3'",
    "'when=a is not null'",
    "'when=b = 2'",
    "'when=null::bool'",
    "'when=id'",
    "'when=id one two'",
    "'ev_type=''type '' || id', 'ev_data=a'",
    "'ev_data=''%s''', 'ev_extra1=''one'''",
    "'ev_extra1=coalesce(a, ''none'') /* a */', 'ev_extra2=e''a\\\\''''a'' -- a'",
    "'ev_extra3=case when id > 2 then a end', 'ev_extra4=(select a from (select ''a'' as x) a2)'",
    "'ev_extra4=id = 1', 'ev_extra3=1.5e3 * id', 'ev_extra2=$$a id$$'",
    "'ev_type=tg_op'",
    "'ev_type=missing'",
    "'ev_type=a', 'ev_type=b'",
    "'ignore=a', 'ignore=b'",
    "'ev_data=t.a'",
    "'nonsense'",
    "'ev_extra5=a'",
    "'IGNORE=a'",
    "'backup', 'ignore=a', 'pkey=id', 'ev_extra4=a', 'when=id <> 2'",
    "'ev_extra2=id', 'backup'",
];

const KINDS: [&str; 3] = ["jsontriga", "logutriga", "sqltriga"];
const EVENTS: &str = "select ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 from pgq.event_1";

/// One table with one trigger, from its making to its end.
async fn case(pair: &mut Pair, table: Case, when: &str, kind: &str, options: &str) {
    let arguments = if options.is_empty() { "'q'".to_owned() } else { format!("'q', {options}") };
    let before = pair.differences.len();
    pair.run("truncate pgq.event_1_0; drop table if exists t; drop type if exists mood, pair, pos, code")
        .await;
    pair.run(table.0).await;
    pair.same(&format!("create trigger x {when} on t for each row execute function pgq.{kind}({arguments})"))
        .await;
    for sql in table.1 {
        pair.same(sql).await;
    }
    pair.same(&format!("{EVENTS} order by ev_id")).await;
    pair.same("select count(*) from t").await;
    if pair.differences.len() > before {
        pair.differences.push(format!("(that was {kind}({arguments}) {when} on {})", table.0));
    }
}

/// Every option on the tables where they tell most, the first of them on the others.
async fn every_table_with_every_option(kind: &str) {
    let Some(mut pair) = Pair::new(&format!("triggers_{kind}")).await else { return };
    pair.run("set client_min_messages = error; select pgq.create_queue('q')").await;
    for (nr, table) in TABLES.into_iter().enumerate() {
        let options = if nr == 0 { OPTIONS.len() } else { 6 };
        for options in &OPTIONS[..options] {
            case(&mut pair, table, "after insert or update or delete", kind, options).await;
        }
    }
    pair.equal();
}

#[tokio::test]
async fn every_table_with_every_option_gives_the_events_of_the_c_jsontriga() {
    every_table_with_every_option("jsontriga").await;
}

#[tokio::test]
async fn every_table_with_every_option_gives_the_events_of_the_c_logutriga() {
    every_table_with_every_option("logutriga").await;
}

#[tokio::test]
async fn every_table_with_every_option_gives_the_events_of_the_c_sqltriga() {
    every_table_with_every_option("sqltriga").await;
}

#[tokio::test]
async fn before_and_statement_triggers_and_truncate_are_those_of_c() {
    let Some(mut pair) = Pair::new("statements").await else { return };
    pair.run("set client_min_messages = error; select pgq.create_queue('q')").await;
    for options in ["", "'SKIP'", "'backup'", "'ignore=a'", "'pkey=a'", "'when=true'", "'deny'", "'bad'"] {
        for kind in KINDS {
            case(&mut pair, TABLES[0], "before insert or update or delete", kind, options).await;
            let truncate: Case = (TABLES[0].0, &[]);
            case(&mut pair, truncate, "after insert", kind, "").await;
            let arguments = if options.is_empty() { "'q'".to_owned() } else { format!("'q', {options}") };
            for when in ["after truncate", "before truncate", "after insert", "before update or delete"] {
                pair.same(&format!("drop trigger if exists s on t; create trigger s {when} on t for each statement execute function pgq.{kind}({arguments})")).await;
                for sql in ["insert into t values (1)", "update t set a = 'x'", "delete from t", "truncate t"]
                {
                    pair.same(sql).await;
                }
                pair.same(&format!("{EVENTS} order by ev_id")).await;
            }
        }
    }
    pair.equal();
}

#[tokio::test]
async fn replication_roles_settings_and_replaced_functions_count_as_they_do_for_c() {
    let Some(mut pair) = Pair::new("settings_of_triggers").await else { return };
    pair.run("select pgq.create_queue('q'); create table t (id int primary key, a text, b timestamptz, c interval, d float8)").await;
    for kind in KINDS {
        pair.run(&format!("truncate t; drop trigger if exists x on t; create trigger x before insert or update or delete on t for each row execute function pgq.{kind}('q', 'SKIP')")).await;
        for sql in [
            "set session_replication_role = local; insert into t values (1, 'kept'); reset session_replication_role",
            "set session_replication_role = replica; insert into t values (2, 'not passed on'); reset session_replication_role",
            "alter table t enable always trigger x; set session_replication_role = replica; insert into t values (3, 'skipped'); reset session_replication_role",
            "set datestyle = 'German, DMY'; set timezone = 'Asia/Kolkata'; set intervalstyle = 'iso_8601'; set extra_float_digits = 0",
            "insert into t values (4, 'settings', '2026-05-06 07:08:09', '1 day 2 hours', 0.1::float4)",
            "set datestyle = 'Postgres, MDY'; insert into t values (5, 'more', '2026-05-06 07:08:09', '1 day', 1)",
            "reset datestyle; reset timezone; reset intervalstyle; reset extra_float_digits",
            "select id, a from t order by 1",
            "delete from t",
            "select id, a from t order by 1",
        ] {
            pair.same(sql).await;
        }
    }
    pair.run("create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text)
        returns bigint language plpgsql as $$ begin raise exception 'replaced: % % %', queue_name, ev_type, ev_data; end $$").await;
    pair.same("insert into t values (6, 'x')").await;
    pair.same(&format!("{EVENTS} order by ev_id")).await;
    pair.equal();
}

/// How many functions were written for triggers, and how many of them the trigger functions call without EXECUTE.
async fn written(raw: &Raw) -> (String, String) {
    let all = "select count(*) from pg_proc where pronamespace = 'pgq'::regnamespace and proname ~ '^_t_[0-9]+_[0-9a-f]+$'";
    let called = "select count(*) from pg_proc p join pg_proc g on g.oid = 'pgq.jsontriga'::regproc and strpos(g.prosrc, p.proname) > 0
        where p.pronamespace = 'pgq'::regnamespace and p.proname ~ '^_t_[0-9]+_[0-9a-f]+$'";
    (raw.one(all).await, raw.one(called).await)
}

#[tokio::test]
async fn two_sessions_that_use_a_new_trigger_at_once_do_not_wait_for_each_other() {
    let db = adapted().await;
    let (a, b) = (db.raw().await, db.raw().await);
    a.run("select pgq.create_queue('q'); create table t (id int primary key); create table u (id int primary key);
           create trigger x after insert on t for each row execute function pgq.jsontriga('q');
           create trigger x after insert on u for each row execute function pgq.jsontriga('q')").await;
    a.run("begin; insert into t values (1)").await;
    b.run("set lock_timeout = '5s'; begin; insert into t values (2); insert into u values (1); insert into t values (3); commit").await;
    a.run("insert into t values (4); insert into u values (2); commit").await;
    for id in 5..8 {
        b.run(&format!("insert into t values ({id}); insert into u values ({id})")).await;
    }
    assert_eq!(
        a.one("select string_agg(distinct ev_data, ' ' order by ev_data) from pgq.event_1 where ev_extra1 = 'public.t'").await,
        (1..8).map(|i| format!("{{\"id\":{i}}}")).collect::<Vec<_>>().join(" ")
    );
    a.run(
        "select * from pgq.maint_operations(); create table v (id int primary key);
           create trigger x after insert on v for each row execute function pgq.jsontriga('q'); drop table u",
    )
    .await;
    a.run("insert into v values (1); select * from pgq.maint_operations()").await;
    let (all, called) = written(&a).await;
    assert_eq!(all, called, "each table's function is called as such");
    b.run("insert into t values (8)").await;
}
