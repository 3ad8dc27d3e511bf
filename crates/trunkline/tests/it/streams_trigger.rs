//! `stream_trigger`: what happens to a table's rows becomes events, with the options of the trigger.

use crate::support::{Db, Raw, Stream};

async fn table(raw: &Raw, columns: &str, options: &str) {
    raw.run(&format!(
        "create table t ({columns}); create trigger t after insert or update or delete on t
        for each row execute function trunkline.stream_trigger('s'{options});
        create trigger u after truncate on t execute function trunkline.stream_trigger('s'{options})"
    ))
    .await;
}

/// Type, key and payload of each event since the last time.
async fn events(s: &Stream<'_>) -> Vec<String> {
    let batch = s.batch("c").await;
    if batch.is_empty() {
        return Vec::new();
    }
    let rows =
        s.raw.rows(&format!("select type, key, payload from trunkline.stream_events('{batch}')")).await;
    assert_eq!(s.finish(&batch).await, "00000");
    rows
}

#[tokio::test]
async fn every_kind_of_change_is_an_event_with_the_row_before_and_after() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    table(&raw, "id int primary key, b text, n numeric, j jsonb, a int[]", "").await;
    raw.run("insert into t values (1, E'é\"\\n', 1.0, '{\"x\": 1}', '{1,2}'); insert into t values (2)")
        .await;
    raw.run("update t set n = 1.00 where id = 1; update t set id = 3, b = '' where id = 2").await;
    raw.run("delete from t where id = 1; truncate t").await;
    assert_eq!(
        events(&s).await,
        [
            r#"I|1|{"op": "I", "new": {"a": [1, 2], "b": "é\"\n", "j": {"x": 1}, "n": 1.0, "id": 1}, "table": "public.t"}"#,
            r#"I|2|{"op": "I", "new": {"a": null, "b": null, "j": null, "n": null, "id": 2}, "table": "public.t"}"#,
            r#"U|1|{"op": "U", "new": {"a": [1, 2], "b": "é\"\n", "j": {"x": 1}, "n": 1.00, "id": 1}, "old": {"a": [1, 2], "b": "é\"\n", "j": {"x": 1}, "n": 1.0, "id": 1}, "table": "public.t"}"#,
            r#"U|3|{"op": "U", "new": {"a": null, "b": "", "j": null, "n": null, "id": 3}, "old": {"a": null, "b": null, "j": null, "n": null, "id": 2}, "table": "public.t"}"#,
            r#"D|1|{"op": "D", "old": {"a": [1, 2], "b": "é\"\n", "j": {"x": 1}, "n": 1.00, "id": 1}, "table": "public.t"}"#,
            r#"T||{"op": "T", "table": "public.t"}"#,
        ]
    );
    raw.run("begin; insert into t values (9); savepoint a; insert into t values (10); rollback to a; commit")
        .await;
    assert_eq!(events(&s).await.len(), 1, "what is rolled back is no event");
}

#[tokio::test]
async fn options_choose_columns_key_and_type() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    let columns = "\"A b\" int, b text, c text, d text, primary key (b, \"A b\")";
    table(&raw, columns, ", 'columns=c,d', 'ignore=d', 'type=rows'").await;
    raw.run("insert into t values (1, 'x', 'c', 'd'); update t set d = 'e'; update t set c = 'C'; update t set b = 'y'; truncate t").await;
    assert_eq!(
        events(&s).await,
        [
            r#"rows|["x", 1]|{"op": "I", "new": {"c": "c"}, "table": "public.t"}"#,
            r#"rows|["x", 1]|{"op": "U", "new": {"c": "C"}, "old": {"c": "c"}, "table": "public.t"}"#,
            r#"rows|["y", 1]|{"op": "U", "new": {"c": "C"}, "old": {"c": "C"}, "table": "public.t"}"#,
            r#"rows||{"op": "T", "table": "public.t"}"#,
        ],
        "what changes none of the columns nor the key is no event"
    );
    raw.run("drop table t").await;
    table(&raw, "id int, b text", ", 'key=b', 'always'").await;
    raw.run("insert into t values (1, 'k'); update t set id = id").await;
    assert_eq!(
        events(&s).await,
        [
            r#"I|k|{"op": "I", "new": {"b": "k", "id": 1}, "table": "public.t"}"#,
            r#"U|k|{"op": "U", "new": {"b": "k", "id": 1}, "old": {"b": "k", "id": 1}, "table": "public.t"}"#,
        ]
    );
    raw.run("drop table t").await;
    table(&raw, "id int, b text", "").await;
    raw.run("insert into t values (1, 'k'); update t set id = id").await;
    assert_eq!(events(&s).await, [r#"I||{"op": "I", "new": {"b": "k", "id": 1}, "table": "public.t"}"#]);
}

#[tokio::test]
async fn a_partition_reports_its_root() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    raw.run("create schema \"S\"; create table \"S\".t (a int, b int, primary key (a, b)) partition by list (a);
        create table \"S\".p partition of \"S\".t for values in (1, 2) partition by list (a);
        create table \"S\".q partition of \"S\".p for values in (1);
        create trigger t after insert or update or delete on \"S\".t for each row when (pg_trigger_depth() = 0)
            execute function trunkline.stream_trigger('s')").await;
    raw.run("insert into \"S\".t values (1, 2); delete from \"S\".q").await;
    assert_eq!(
        events(&s).await,
        [
            r#"I|[1, 2]|{"op": "I", "new": {"a": 1, "b": 2}, "table": "\"S\".t"}"#,
            r#"D|[1, 2]|{"op": "D", "old": {"a": 1, "b": 2}, "table": "\"S\".t"}"#,
        ]
    );
}

#[tokio::test]
async fn a_table_can_be_an_input_that_keeps_nothing() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    raw.run("create table t (id int primary key); insert into t values (7); create table u (id int);
        create trigger t before insert or update or delete on t for each row execute function trunkline.stream_trigger('s', 'skip');
        create trigger u before insert or update or delete on u for each row execute function trunkline.stream_trigger('s', 'columns=id')").await;
    raw.run("insert into t values (1); update t set id = 8; delete from t").await;
    assert_eq!(raw.rows("select * from t").await, ["7"]);
    assert_eq!(events(&s).await.iter().map(|e| &e[..4]).collect::<Vec<_>>(), ["I|1|", "U|8|", "D|7|"]);
    raw.run("insert into u values (1), (2); update u set id = 3 where id = 1; delete from u where id = 2")
        .await;
    assert_eq!(raw.rows("select * from u").await, ["3"], "and without that it does what was asked");
    assert_eq!(events(&s).await.len(), 4);
}

#[tokio::test]
async fn a_wrong_trigger_fails_when_it_runs_and_says_why() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    raw.run("create table t (id int primary key, b text)").await;
    for (when, options, code, says) in [
        ("after insert on t for each row", "", "22023", "needs the name of a stream"),
        ("after insert on t for each row", "'nowhere'", "42704", "there is no stream"),
        ("after insert on t for each row", "'s', 'colums=b'", "22023", "there is no option \\\"colums=b\\\""),
        ("after insert on t for each row", "'s', 'always=1'", "22023", "there is no option \\\"always=1\\\""),
        ("after insert on t for each row", "'s', 'key='", "22023", "there is no option \\\"key=\\\""),
        (
            "after insert on t for each row",
            "'s', 'columns=b,x'",
            "42703",
            "table public.t has no column \\\"x\\\"",
        ),
        (
            "after insert on t for each row",
            "'s', 'ignore=x'",
            "42703",
            "table public.t has no column \\\"x\\\"",
        ),
        ("after insert on t for each row", "'s', 'key=x'", "42703", "table public.t has no column \\\"x\\\""),
        (
            "after insert on t for each row",
            "'s', 'skip'",
            "39P01",
            "only a BEFORE trigger FOR EACH ROW can skip",
        ),
        ("after insert on t", "'s'", "39P01", "must be FOR EACH ROW"),
        ("before insert on t", "'s', 'skip'", "39P01", "must be FOR EACH ROW"),
    ] {
        raw.run(&format!("create trigger x {when} execute function trunkline.stream_trigger({options})"))
            .await;
        let failure = raw.failure("insert into t values (1, 'b')").await;
        assert!(failure.contains(code) && failure.contains(says), "{options}: {failure}");
        raw.run("drop trigger x on t").await;
    }
    raw.run("create trigger x after insert on t for each row execute function trunkline.stream_trigger('s')")
        .await;
    s.set("max_bytes", "100").await;
    assert_eq!(raw.code("insert into t values (1, repeat('x', 100))").await, "TL004");
    raw.run("create role it_table_user; grant insert on t to it_table_user; set role it_table_user").await;
    assert_eq!(
        raw.code("insert into t values (1, 'b')").await,
        "42501",
        "who is no writer is none through a table"
    );
    raw.run("reset role; select trunkline.grant_to('it_table_user', 'writer'); set role it_table_user; insert into t values (1, 'b'); reset role").await;
    assert_eq!(events(&s).await.len(), 1, "and what failed left nothing");
    raw.run("drop owned by it_table_user; drop role it_table_user").await;
}
