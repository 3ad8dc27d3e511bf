//! The schema: installing, refusing, restoring.

use trunkline::{ErrorKind, Trunkline, schema};

use crate::{
    restore::Kept,
    support::{Db, Raw, within},
};

#[tokio::test]
async fn installing_twice_changes_nothing() {
    let db = Db::empty().await;
    let mut raw = db.raw().await;
    let first = schema::install(&mut raw.client).await.unwrap();
    assert_eq!((first.from, first.to), (0, schema::version()));
    let all = "select md5(string_agg(f, ',' order by f)) from (
        select pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') f from pg_proc p where pronamespace = 'trunkline'::regnamespace
        union all select c.oid || c.relname from pg_class c where relnamespace = 'trunkline'::regnamespace) q";
    let before = raw.one(all).await;
    raw.run("select trunkline.request_open('kept')").await;
    let again = schema::install(&mut raw.client).await.unwrap();
    assert_eq!((again.from, again.to), (schema::version(), schema::version()));
    assert_eq!(raw.one(all).await, before);
    assert_eq!(raw.one("select name from trunkline.request_channel").await, "kept");
    assert_eq!(schema::check(&raw.client).await.unwrap(), schema::version());
}

#[tokio::test]
async fn twenty_installers_at_once_make_it_once() {
    let db = Db::empty().await;
    let mut installing = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut raw = db.raw().await;
        installing.spawn(async move { schema::install(&mut raw.client).await.unwrap().from });
    }
    let fresh = installing.join_all().await.into_iter().filter(|from| *from == 0).count();
    assert_eq!(fresh, 1);
}

#[tokio::test]
async fn a_newer_schema_an_older_one_and_none_are_told_apart() {
    let db = Db::empty().await;
    let mut raw = db.raw().await;
    let e = schema::check(&raw.client).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Schema && e.to_string().contains("install"), "{e}");
    schema::install(&mut raw.client).await.unwrap();
    raw.run("update trunkline.schema_info set version = version + 1").await;
    for e in
        [schema::install(&mut raw.client).await.unwrap_err(), schema::check(&raw.client).await.unwrap_err()]
    {
        assert_eq!((e.kind(), e.code()), (ErrorKind::Schema, Some("TL014")));
    }
    assert_eq!(raw.one("select pg_current_xact_id_if_assigned() is null").await, "t", "nothing stays open");
    raw.run("update trunkline.schema_info set version = 0").await;
    let e = schema::check(&raw.client).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Schema && e.to_string().contains("upgrade"), "{e}");
}

#[tokio::test]
async fn functions_of_an_older_library_are_told_and_replaced() {
    for (older, kept) in [
        ("update trunkline.schema_info set functions = 'x', library = '0.0.9'", "0.0.9"),
        ("update trunkline.schema_info set functions = 'x'", "0.1.0"),
        ("drop function trunkline._schema_release()", "older"),
    ] {
        let db = Db::new().await;
        let mut raw = db.raw().await;
        raw.run(older).await;
        raw.run("create function trunkline._gone(int) returns int language sql as 'select 1'").await;
        raw.run("create procedure trunkline._gone() language sql as 'select 1'").await;
        let e = schema::check(&raw.client).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Schema && e.to_string().contains(kept), "{e}");
        assert!(e.to_string().contains("trunkline schema upgrade"), "{e}");
        let e = Trunkline::with(db.info("it")).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Schema, "{e}");
        schema::install(&mut raw.client).await.unwrap();
        assert_eq!(schema::check(&raw.client).await.unwrap(), schema::version());
        let gone = "select count(*) from pg_proc where proname = '_gone'";
        assert_eq!(raw.one(gone).await, "0", "what this library does not bring is dropped");
    }
}

#[tokio::test]
async fn functions_of_a_later_library_serve_this_one() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("update trunkline.schema_info set functions = 'x', library = '0.10.0'").await;
    assert_eq!(schema::check(&raw.client).await.unwrap(), schema::version());
}

#[tokio::test]
async fn a_structure_that_was_never_released_is_told() {
    let db = Db::new().await;
    let mut raw = db.raw().await;
    for other in [
        "update trunkline.schema_info set structure = 'x'",
        "alter table trunkline.schema_info drop structure",
    ] {
        raw.run(other).await;
        let e = schema::install(&mut raw.client).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Schema && e.to_string().contains("never released"), "{e}");
    }
}

#[tokio::test]
async fn a_foreign_schema_of_the_same_name_is_left_alone() {
    let db = Db::empty().await;
    let mut raw = db.raw().await;
    raw.run("create schema trunkline; create table trunkline.theirs (id int)").await;
    let e = schema::install(&mut raw.client).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert_eq!(
        raw.one(
            "select string_agg(relname, ',') from pg_class where relnamespace = 'trunkline'::regnamespace"
        )
        .await,
        "theirs"
    );
}

#[tokio::test]
async fn the_owner_of_a_database_installs_and_uses_it_without_further_rights() {
    let db = Db::empty().await;
    let admin = db.raw().await;
    admin
        .run(&format!("create role plain_owner login; alter database {} owner to plain_owner", db.name))
        .await;
    let mut owner = db.raw_as("plain_owner").await;
    schema::install(&mut owner.client).await.unwrap();
    schema::install(&mut owner.client).await.unwrap();
    owner.run("select trunkline.request_serve('work')").await;
    let id = owner.one("select trunkline.request_send('work', 'x')").await;
    let claim = owner.one("select claim from trunkline.request_take('work')").await;
    owner.run(&format!("select trunkline.request_reply('{claim}', 'y')")).await;
    assert_eq!(owner.one(&format!("select payload from trunkline.request_await({id})")).await, "y");
    owner.run("select trunkline.maintain()").await;
    admin.run("create role somebody login").await;
    let other = db.raw_as("somebody").await;
    assert_eq!(other.code("select trunkline.request_send('work', 'x')").await, "42501");
    owner.run("select trunkline.grant_to('somebody', 'writer')").await;
    assert_eq!(other.code("select trunkline.request_send('work', 'x')").await, "00000");
    schema::uninstall(&owner.client).await.unwrap();
    assert_eq!(owner.one("select to_regnamespace('trunkline') is null").await, "t");
    admin.run("drop owned by somebody; drop role somebody").await;
}

#[tokio::test]
async fn a_role_without_the_right_to_create_is_told_so() {
    let db = Db::empty().await;
    db.raw().await.run("create role bare_user login").await;
    let mut raw = db.raw_as("bare_user").await;
    let e = schema::install(&mut raw.client).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Denied, Some("42501")));
}

#[tokio::test]
async fn the_printed_script_installs_the_same() {
    let db = Db::empty().await;
    let raw = db.raw().await;
    raw.run(&format!("begin; {}; commit", schema::print())).await;
    raw.run("reset search_path").await;
    assert_eq!(schema::check(&raw.client).await.unwrap(), schema::version());
}

/// Another cluster's identity, as a restored dump shows it; its xids may be far ahead of ours.
async fn as_restored(raw: &Raw) {
    raw.run("update trunkline.epoch set system_identifier = 1").await;
    for ring in ["e", "d"] {
        for table in ["take", "request", "ending"] {
            let what =
                if table == "take" { "lo = '900000000:900000000:', hi = null" } else { "xid = '800000000'" };
            raw.run(&format!("update trunkline.{table}_{ring}0 set {what}")).await;
        }
    }
}

#[tokio::test]
async fn a_restored_database_is_refused_and_the_repair_loses_and_doubles_nothing() {
    let db = Db::new().await;
    let (raw, a) = (db.raw().await, db.raw().await);
    let kept = Kept::fill(&raw).await;
    as_restored(&raw).await;
    let e = trunkline::Trunkline::with(db.info("x")).await.unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::Epoch, Some("TL008")));
    assert_eq!(a.code("select trunkline.maintain()").await, "TL008");
    assert_eq!(raw.one("select trunkline.schema_repair()").await, "2");
    assert_eq!(raw.one("select trunkline.schema_repair()").await, "2");
    let tl = trunkline::Trunkline::with(db.info("x")).await.unwrap();
    let _ = tl.maintain().await;
    kept.holds(&raw).await;
}

#[tokio::test]
async fn leases_of_another_epoch_guard_nothing() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("select trunkline.lease_acquire('l', '00000000-0000-4000-8000-000000000000', '1 min')").await;
    raw.run("update trunkline.epoch set system_identifier = 1").await;
    raw.run("select trunkline.schema_repair()").await;
    assert_eq!(raw.code("select trunkline.lease_check('l', 1)").await, "TL002");
    let sql = "select trunkline.lease_acquire('l', '00000000-0000-4000-8000-000000000000', '1 min')";
    let fence = within(500, "a lease", raw.one(sql)).await;
    assert_eq!(
        raw.code(&format!("select trunkline.lease_check('l', {fence})")).await,
        "00000",
        "fence {fence}"
    );
}

#[tokio::test]
async fn no_function_of_the_durable_ring_names_anything_of_the_ephemeral_one() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let sql = "select p.oid::regproc from pg_proc p where pronamespace = 'trunkline'::regnamespace and proname ~ '_d[01]?$'
        and prosrc ~ '\\m(request|take|ending|lane|again|log_id|_log_turn|_request_[a-z_]+)_e[01]?\\M'";
    assert_eq!(raw.rows(sql).await, Vec::<String>::new());
}
