//! Who may do what, and whose objects the functions use: roles, other people's requests, hostile search paths, settings.

use std::time::Duration;

use trunkline::{
    Trunkline,
    conninfo::{ConnInfo, Env},
    requests::{Failure, Request, Serve},
    streams::Position,
};

use crate::support::{Db, Raw, shared, until};

/// Roles of the cluster that every test of this file shares.
async fn roles(raw: &Raw) {
    for (name, of) in [
        ("it_nobody", ""),
        ("it_reader", "trunkline_reader"),
        ("it_writer", "trunkline_writer"),
        ("it_writer2", "trunkline_writer"),
        ("it_admin", "trunkline_admin"),
        ("it_engine", ""),
    ] {
        let grant = if of.is_empty() { "null;".into() } else { format!("execute 'grant {of} to {name}';") };
        let sql = format!(
            "do $$ begin perform pg_advisory_xact_lock(1); execute 'create role {name} login'; {grant}
             exception when duplicate_object then null; end $$"
        );
        until("the role", async || raw.client.batch_execute(&sql).await.is_ok()).await;
    }
}

pub async fn with_roles() -> (Db, Raw) {
    shared().await;
    let db = Db::new().await;
    let raw = db.raw().await;
    roles(&raw).await;
    (db, raw)
}

#[tokio::test]
async fn each_role_may_call_what_it_was_granted_and_nothing_else() {
    let (_db, raw) = with_roles().await;
    let functions = raw.rows("select p.oid::regprocedure, coalesce(trunkline._kind_of_right(p.proname), '') from pg_proc p where pronamespace = 'trunkline'::regnamespace").await;
    assert!(functions.len() > 60);
    for row in functions {
        let (function, kind) = row.split_once('|').unwrap();
        let rank = ["", "admin", "writer", "reader"].iter().position(|k| *k == kind).unwrap();
        for (role, least) in [("it_nobody", 9), ("it_reader", 3), ("it_writer", 2), ("it_admin", 1)] {
            let may =
                raw.one(&format!("select has_function_privilege('{role}', '{function}', 'execute')")).await;
            let should = rank >= least && rank > 0;
            assert_eq!(may, if should { "t" } else { "f" }, "{role} {function} ({kind})");
        }
        let public = format!(
            "select exists (select from pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
              where p.oid = '{function}'::regprocedure and a.grantee = 0)"
        );
        assert_eq!(raw.one(&public).await, "f", "PUBLIC {function}");
    }
    assert_eq!(raw.one("select count(*) from pg_proc where pronamespace = 'trunkline'::regnamespace and prosecdef
        and proname not in ('stream_append', 'topic_publish') -- every name in them is qualified, as the lint of the SQL sees
        and not coalesce(array_to_string(proconfig, ';'), '') like '%search_path=pg_catalog, trunkline, pg_temp%'").await, "0");
}

#[tokio::test]
async fn nobody_gets_at_the_tables() {
    let (db, raw) = with_roles().await;
    let tables = raw.rows("select c.oid::regclass, relkind from pg_class c where relnamespace = 'trunkline'::regnamespace and relkind in ('r', 'S')").await;
    for role in ["it_nobody", "it_reader", "it_writer", "it_admin"] {
        let session = db.raw_as(role).await;
        for row in &tables {
            let (table, kind) = row.split_once('|').unwrap();
            let tries = if kind == "S" {
                vec![format!("select nextval('{table}')"), format!("select * from {table}")]
            } else {
                ["select * from", "delete from", "truncate", "insert into"]
                    .iter()
                    .map(|verb| {
                        format!(
                            "{verb} {table}{}",
                            if *verb == "insert into" { " default values" } else { "" }
                        )
                    })
                    .collect()
            };
            for sql in tries {
                assert_eq!(session.code(&sql).await, "42501", "{role}: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn a_granted_call_works_and_any_other_is_refused() {
    let (db, raw) = with_roles().await;
    raw.run("select trunkline.request_serve('work')").await;
    let calls = [
        ("select * from trunkline.request_responders()", 1),
        ("select * from trunkline.request_list()", 1),
        ("select trunkline.request_send('work', 'x')", 2),
        ("select trunkline.request_open('new')", 2),
        ("select trunkline.session_address()", 2),
        ("select trunkline.lease_acquire('l', gen_random_uuid(), '1 s')", 2),
        ("select * from trunkline.lease_list()", 1),
        ("select * from trunkline.lease_waiters('l')", 1),
        ("select trunkline.lease_resign('l')", 3),
        ("select trunkline.maintain()", 3),
        ("select trunkline.schema_repair()", 3),
    ];
    for (rank, role) in ["it_nobody", "it_reader", "it_writer", "it_admin"].iter().enumerate() {
        let session = db.raw_as(role).await;
        for (sql, least) in calls {
            let code = session.code(sql).await;
            assert_eq!(code, if rank >= least { "00000" } else { "42501" }, "{role}: {sql}");
        }
    }
}

#[tokio::test]
async fn nobody_sees_awaits_or_ends_another_roles_request() {
    let (db, raw) = with_roles().await;
    let (a, b) = (db.raw_as("it_writer").await, db.raw_as("it_writer2").await);
    raw.run("select trunkline.request_serve('work')").await;
    let id = a.one("select trunkline.request_send('work', 'S3cret')").await;
    let unknown = b.failure("select * from trunkline.request_await(4)").await.replace("request 4 ", "");
    for call in ["* from trunkline.request_await", "trunkline.request_cancel"] {
        let said = b.failure(&format!("select {call}({id})")).await;
        assert!(said.contains("TL007"), "{said}");
        if call.contains("await") {
            assert_eq!(said.replace(&format!("request {id} "), ""), unknown);
        }
    }
    assert_eq!(b.one(&format!("select trunkline._request_finish_e(array[{id}], 3, false)")).await, "{}");
    assert!(b.rows(&format!("select * from trunkline._request_outcome_e(array[{id}])")).await.is_empty());
    let claim = raw.one("select claim from trunkline.request_take('work')").await;
    raw.run(&format!("select trunkline.request_reply('{claim}', 'S3cret-reply')")).await;
    assert_eq!(a.one(&format!("select payload from trunkline.request_await({id})")).await, "S3cret-reply");
    // The same under SET ROLE: it is the acting role that counts.
    raw.run("set role it_writer2").await;
    assert_eq!(raw.code(&format!("select * from trunkline.request_await({id})")).await, "TL007");
    raw.run("set role it_writer").await;
    assert_eq!(raw.code(&format!("select * from trunkline.request_await({id})")).await, "00000");
}

#[tokio::test]
async fn a_session_is_its_roles_own() {
    let (db, raw) = with_roles().await;
    let (a, b) = (db.raw_as("it_writer").await, db.raw_as("it_writer2").await);
    a.run("select trunkline.request_serve('work')").await;
    let session = raw.one("select id from trunkline.session where role = 'it_writer'").await;
    raw.run(&format!("insert into trunkline.ending_e0 (id, attempt, part, caller, corr, status, content, ended_at, payload)
        values (4, 1, 0, {session}, 1, 0, 1, now(), 'S3cret')")).await;
    let fetched = format!("select payload from trunkline._request_fetch_e0({session}, '1:1:')");
    assert_eq!(a.rows(&fetched).await.len(), 1);
    assert_eq!(b.rows(&fetched).await.len(), 0, "another role's replies");
    let seen = "select payload from trunkline.own_ending_e0";
    assert_eq!(a.rows(seen).await.len(), 1);
    assert_eq!(b.rows(seen).await.len(), 0, "another role's replies");
    let leak = "select from trunkline.own_ending_e0 where pg_temp.leak(payload)";
    b.run("create function pg_temp.leak(bytea) returns boolean language plpgsql cost 0.0001 as $$ begin raise exception 'seen' using errcode = 'P0666'; end $$").await;
    assert_eq!(b.code(leak).await, "00000", "nothing of theirs comes past the view's barrier");
    raw.run("select trunkline.request_send('work', 'S3cret')").await;
    let taken =
        b.rows(&format!("select * from trunkline._request_take_e0({session}, 1, 9, true, true, 1)")).await;
    assert_eq!(taken.len(), 0, "another role's requests");
    let again =
        b.code(&format!("select * from trunkline._request_take_again_e0({session}, 1, null, 9, 1)")).await;
    assert_eq!(again, "TL001", "another role's requests");
    b.run(&format!("select trunkline._session_close({session})")).await;
    b.run(&format!("select trunkline._request_unserve({session}, (-1), false)")).await;
    for own in 1..20 {
        b.run(&format!("select trunkline._request_unserve({session}, -{own}, true)")).await;
    }
    assert_eq!(raw.one("select count(*) from trunkline.request_responders()").await, "1");
    assert_eq!(b.one(&format!("select trunkline._session_renew({session}, '-1 day')")).await, "");
    let address = raw.one(&format!("select address from trunkline.session where id = {session}")).await;
    assert_eq!(
        b.one(&format!("select trunkline._session_resume({session}, '{address}', true, '1 min')")).await,
        "f"
    );
    assert_eq!(a.rows("select id from trunkline.request_take('work')").await.len(), 1);
}

/// A session whose path begins with a schema of traps: each of our names, and the operators that anybody uses.
pub async fn trapped(db: &Db) -> Raw {
    let raw = db.raw().await;
    raw.run("create schema evil; create function evil.trap() returns int language plpgsql as $$ begin raise exception 'trapped' using errcode = 'P0666'; end $$").await;
    let mut traps = String::new();
    for (op, left, right, result) in [
        ("=", "int", "int", "boolean"),
        ("=", "bigint", "bigint", "boolean"),
        ("=", "text", "text", "boolean"),
        ("+", "int", "int", "int"),
        ("*", "float8", "float8", "float8"),
        ("<", "timestamptz", "timestamptz", "boolean"),
        ("<=", "timestamptz", "timestamptz", "boolean"),
        ("||", "text", "text", "text"),
        ("&", "bigint", "bigint", "bigint"),
        ("<>", "int", "int", "boolean"),
    ] {
        let name = format!("op{}", traps.len());
        traps += &format!("create function evil.{name}(a {left}, b {right}) returns {result} language sql as 'select null::{result} from evil.trap()';
            create operator evil.{op} (function = evil.{name}, leftarg = {left}, rightarg = {right});");
    }
    for f in [
        "clock_timestamp()",
        "now()",
        "gen_random_uuid()",
        "pg_backend_pid()",
        "pg_current_snapshot()",
        "nextval(text)",
        "pg_notify(text, text)",
        "pg_sleep(double precision)",
        "least(double precision, double precision)",
        "convert_to(text, text)",
        "octet_length(bytea)",
        "current_setting(text, boolean)",
    ] {
        traps += &format!(
            "create function evil.{} returns int language sql as 'select evil.trap()';",
            f.replace("least", "least_")
        );
    }
    raw.run(&traps).await;
    raw.run("set search_path = evil, pg_temp, pg_catalog, public").await;
    for table in [
        "request_e0",
        "request_e1",
        "ring",
        "session",
        "responder",
        "take_e0",
        "ending_e0",
        "again_e",
        "request_channel",
        "epoch",
        "lease",
        "pg_locks",
        "pg_class",
    ] {
        raw.run(&format!("create temp table {table} (id int, name text)")).await;
    }
    raw
}

#[tokio::test]
async fn a_hostile_search_path_changes_nothing() {
    let db = Db::new().await;
    let raw = trapped(&db).await;
    assert_eq!(raw.code("select 1::int operator(evil.=) 1::int").await, "P0666", "the trap works");
    raw.run("select trunkline.request_open('work'), trunkline.request_serve('work', array['t']), trunkline.session_address()").await;
    for (send, reply) in [
        ("request_send('work', 'x', 't', headers => '{\"a\": \"b\"}')", "request_reply('{}', 'y')"),
        ("request_send_bytes('work', 'x', 't')", "request_reply_bytes('{}', 'y')"),
        ("request_send('work', 'x', 't')", "request_fail('{}', 'c', 'm')"),
    ] {
        let id = raw.one(&format!("select trunkline.{send}")).await;
        let claim = raw.one("select claim from trunkline.request_take('work', 3)").await;
        raw.run(&format!("select trunkline.request_part('{claim}', 1, 'p')")).await;
        raw.run(&format!("select trunkline.{}", reply.replace("{}", &claim))).await;
        raw.one(&format!("select outcome from trunkline.request_await({id}, '1 s')")).await;
        assert_eq!(raw.one(&format!("select trunkline.request_cancel({id})")).await, "f");
    }
    let responder = db.client("responder").await;
    let _serving = crate::requests::echo(&responder, "echo");
    crate::requests::served(&db, "echo", 1).await;
    assert_eq!(raw.one("call trunkline.request_call('echo', 'x', null, null)").await, "ok|x|");
    raw.run("select * from trunkline.request_list(); select * from trunkline.request_responders()").await;
    raw.run("select trunkline.maintain(); select trunkline.schema_repair(); select trunkline._log_turn_e(0)")
        .await;
    let me = "'00000000-0000-4000-8000-000000000000'";
    raw.run(&format!(
        "select trunkline.lease_acquire('l', {me}, '1 min'); select trunkline.lease_check('l', 1);
        select trunkline.lease_renew('l', {me}, 1, '1 min'); select trunkline.lease_release('l', {me}, 1);
        select * from trunkline.lease_list(); select * from trunkline.lease_waiters('l'); select trunkline.lease_resign('l', true);
        select trunkline._lease_look(1, '{{l}}', '{{{0}}}', '{{me}}', '{{1000}}', '{{true}}');
        select trunkline._lease_renew(1, '{{l}}', '{{{0}}}', '{{p}}'), trunkline._lease_watch(1, '{{l}}');
        select trunkline._lease_release('{{l}}', '{{{0}}}', '{{p}}'), trunkline._lease_leave('{{{0}}}')", me.trim_matches('\'')
    ))
    .await;
    raw.run("select trunkline.grant_to('postgres', 'reader')").await;
}

#[tokio::test]
async fn odd_settings_change_no_result() {
    let db = Db::new().await;
    let raw = db.raw().await;
    raw.run("set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard'; set timezone = 'Asia/Kathmandu';
        set bytea_output = 'escape'; set standard_conforming_strings = off; set extra_float_digits = -15;
        set session_replication_role = 'replica'; set row_security = off; set lc_numeric = 'C'; set escape_string_warning = off;
        set plan_cache_mode = force_custom_plan; set default_transaction_isolation = 'read committed'; set check_function_bodies = off").await;
    raw.run("select trunkline.request_serve('work')").await;
    let id = raw.one("select trunkline.request_send('work', E'a\\\\b''c', timeout => '1.5 s')").await;
    let row =
        raw.one("select claim, payload, encode(bytes, 'hex') from trunkline.request_take('work')").await;
    let (claim, rest) = row.split_once('|').unwrap();
    assert_eq!(rest, "a\\b'c|615c622763");
    raw.run(&format!("select trunkline.request_reply('{claim}', E'\\\\x00')")).await;
    assert_eq!(raw.one(&format!("select payload from trunkline.request_await({id})")).await, "\\x00");
    let ms = "select extract(epoch from expires_at - sent_at) * 1000 from trunkline.request_list('work')";
    assert!(raw.one(ms).await.starts_with("1500"));
}

#[tokio::test]
async fn no_payload_shows_in_what_others_can_see() {
    let (db, raw) = with_roles().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _serving = crate::requests::echo(&responder, "work");
    crate::requests::served(&db, "work", 1).await;
    caller
        .requests()
        .call("work", "S3cret-value")
        .header("k", "S3cret-header")
        .timeout(Duration::from_secs(5))
        .await
        .unwrap();
    let seen = "select string_agg(query, ' ') from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    assert!(!raw.one(seen).await.contains("S3cret"));
    let reader = db.raw_as("it_reader").await;
    let listeners = "select from trunkline.subscription";
    assert_eq!(reader.code(listeners).await, "00000", "who may call the function may read its view");
    assert_eq!(db.raw_as("it_nobody").await.code(listeners).await, "42501");
    let rows = reader.rows("select * from trunkline.request_list()").await;
    assert!(!rows.is_empty() && !format!("{rows:?}").contains("S3cret"));
}

#[tokio::test]
async fn a_writers_engine_calls_functions_and_one_with_more_rights_runs_statements_with_the_same_result() {
    let (db, raw) = with_roles().await;
    raw.run("select trunkline.grant_to('it_engine', 'engine'), pg_stat_reset()").await;
    let as_role = async |role: &str| {
        let url = db.url.replace("user=postgres", &format!("user={role}"));
        let info = ConnInfo::from_str_with(&format!("{url}&application_name={role}"), &Env::empty()).unwrap();
        Trunkline::with(info).await.unwrap()
    };
    let (writer, engine) = (as_role("it_writer").await, as_role("it_engine").await);
    for (caller, responder) in
        [(&writer, &engine), (&engine, &writer), (&engine, &engine), (&writer, &writer)]
    {
        let serve = Serve::channel("work").types(["t"]);
        let serving = responder.requests().serve(serve, |r: Request| async move {
            if r.payload.bytes() == b"fail" { Err(Failure::new("no", "text")) } else { Ok(r.payload) }
        });
        serving.ready().await.unwrap();
        let call = |text: &'static str, kind: &'static str| caller.requests().call("work", text).kind(kind);
        for _ in 0..5 {
            assert_eq!(call("x", "t").await.unwrap().payload.bytes(), b"x");
        }
        assert_eq!(call("fail", "t").await.unwrap_err().code(), Some("no"));
        assert_eq!(call("x", "other").await.unwrap_err().code(), Some("unsupported"));
        let sent = caller.requests().send("work", "x").kind("t").confirm();
        sent.await.unwrap();
        serving.stop().await;
        assert_eq!(call("x", "t").await.unwrap_err().code(), Some("TL012"));
    }
    let senders = "select string_agg(distinct role, ' ') from trunkline.request_e0";
    assert_eq!(raw.one(senders).await, "it_engine it_writer", "each request carries its role");
    raw.run("select trunkline.stream_open('s')").await;
    for (name, tl) in [("writer", &writer), ("engine", &engine)] {
        let streams = tl.streams();
        streams.register("s", name, Position::End).await.unwrap();
        streams.append("s", name).await.unwrap();
        let batch = streams.consumer("s", name).try_next().await.unwrap().unwrap();
        assert_eq!(
            batch.events()[0].payload.text().unwrap(),
            name,
            "neither may read the segments by itself"
        );
        batch.finish().await.unwrap();
    }
    let spoof = db.raw_as("it_engine").await;
    for sql in [
        "update trunkline.take_e0 set turn = 0",
        "delete from trunkline.request_e0",
        "truncate trunkline.ending_e0",
    ] {
        assert_eq!(spoof.code(sql).await, "42501", "{sql}");
    }
}
