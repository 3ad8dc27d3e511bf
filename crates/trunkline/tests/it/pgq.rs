//! The adapter for PgQ: installed, refused, removed; and its interface, object by object, as the real one's.

use trunkline::{ErrorKind, schema};

use crate::{
    pgq_support::{Pair, adapted, real},
    support::Db,
};

#[tokio::test]
async fn installing_the_adapter_twice_changes_nothing() {
    let db = Db::empty().await;
    let mut raw = db.raw().await;
    let first = schema::install_pgq(&mut raw.client).await.unwrap();
    assert_eq!((first.schema.from, first.from, first.to), (0, 0, schema::pgq_version()));
    raw.run("select pgq.create_queue('kept'), pgq.insert_event('kept', 't', 'd')").await;
    let all = "select md5(string_agg(f, ',' order by f)) from (
        select pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') f from pg_proc p where pronamespace in ('pgq'::regnamespace, 'pgq_coop'::regnamespace)
        union all select c.oid || c.relname || coalesce(c.relacl::text, '') from pg_class c where relnamespace = 'pgq'::regnamespace) q";
    let before = raw.one(all).await;
    let again = schema::install_pgq(&mut raw.client).await.unwrap();
    assert_eq!((again.schema.from, again.from), (schema::version(), schema::pgq_version()));
    assert_eq!(raw.one(all).await, before);
    assert_eq!(schema::check_pgq(&raw.client).await.unwrap(), Some(schema::pgq_version()));
    assert_eq!(raw.one("select pgq.insert_event('kept', 't', 'd')").await, "2");
}

#[tokio::test]
async fn what_is_there_under_pgqs_name_is_left_alone() {
    let db = Db::empty().await;
    let mut raw = db.raw().await;
    raw.run("create schema pgq; create table pgq.theirs ()").await;
    let e = schema::install_pgq(&mut raw.client).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Conflict && e.to_string().contains("not ours"), "{e}");
    assert_eq!(raw.one("select to_regnamespace('trunkline') is null").await, "t", "nothing was installed");
    schema::install(&mut raw.client).await.unwrap();
    assert_eq!(schema::check_pgq(&raw.client).await.unwrap(), None);
    schema::uninstall(&raw.client).await.unwrap();
    assert_eq!(raw.one("select to_regclass('pgq.theirs')").await, "pgq.theirs");
}

#[tokio::test]
async fn where_the_extension_is_the_adapter_is_refused() {
    let Some(db) = real("refused").await else { return };
    let mut raw = db.raw().await;
    let e = schema::install_pgq(&mut raw.client).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Conflict && e.to_string().contains("extension"), "{e}");
    schema::uninstall_pgq(&raw.client).await.unwrap();
    assert_eq!(raw.one("select pgq.create_queue('x')").await, "1");
}

#[tokio::test]
async fn uninstalling_takes_queues_and_their_triggers_along() {
    let db = adapted().await;
    let raw = db.raw().await;
    raw.run(
        "create table public.t (id int primary key); create trigger x after insert on public.t for each row execute function pgq.jsontriga('q');
         select pgq.create_queue('q'); insert into public.t values (1)",
    )
    .await;
    schema::uninstall(&raw.client).await.unwrap();
    let left = "select string_agg(nspname, ' ') from pg_namespace where nspname ~ '^(trunkline|pgq)'";
    assert_eq!(raw.one(left).await, "");
    raw.run("insert into public.t values (2)").await;
}

/// Functions as clients see them: names, arguments, results, who they run as, and who may run them.
const FUNCTIONS: &str = "select p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.prosecdef, p.proisstrict,
        case when p.proname in ('find_tick_helper', 'quote_fqname') then p.provolatile end,
        (select string_agg(coalesce(r.rolname, 'public'), ' ' order by r.rolname) from aclexplode(p.proacl) a
           left join pg_roles r on r.oid = a.grantee where a.grantee <> p.proowner)
   from pg_proc p where p.pronamespace = 'pgq'::regnamespace and (p.proname !~ '^_' or p.proname = '_grant_perms_from')
    and p.proname not in ('insert_event_raw')
  order by 1, 2";
const COLUMNS: &str = "select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
   from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where c.relnamespace = 'pgq'::regnamespace and c.relkind = 'r' and c.relname !~ '^_' order by 1, 2";
const CONSTRAINTS: &str = "select conrelid::regclass, conname, pg_get_constraintdef(oid) from pg_constraint
  where connamespace = 'pgq'::regnamespace and conrelid::regclass::text !~ '^pgq._' and contype <> 'n' order by 1, 2";
const INDEXES: &str =
    "select indexname, indexdef from pg_indexes where schemaname = 'pgq' and tablename !~ '^_' order by 1";
const STORAGE: &str = "select c.relname, c.relkind, c.reloptions, (select string_agg(i.inhparent::regclass::text, ' ') from pg_inherits i where i.inhrelid = c.oid),
        (select t.reloptions from pg_class t where t.oid = c.reltoastrelid),
        (select string_agg(coalesce(r.rolname, 'public') || ':' || a.privilege_type, ' ' order by r.rolname, a.privilege_type)
           from aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee where a.grantee <> c.relowner)
   from pg_class c where c.relnamespace = 'pgq'::regnamespace and c.relkind in ('r', 'S') and c.relname !~ '^_' order by 1";

#[tokio::test]
async fn functions_tables_rights_and_storage_are_those_of_pgq() {
    let Some(mut pair) = Pair::new("interface").await else { return };
    pair.run("set search_path = pg_catalog; select pgq.create_queue('a'), pgq.create_queue('b')").await;
    for sql in [FUNCTIONS, COLUMNS, CONSTRAINTS, INDEXES, STORAGE] {
        pair.same(sql).await;
    }
    pair.equal();
}
