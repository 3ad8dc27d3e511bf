//! Who may do what with streams, and whose objects their functions use.

use crate::{
    roles::{trapped, with_roles},
    support::{Db, Stream},
};

#[tokio::test]
async fn a_granted_call_works_and_any_other_is_refused() {
    let (db, raw) = with_roles().await;
    let s = Stream::new(&raw, "s", &["c"]).await;
    s.append("a").await;
    let calls = [
        ("select * from trunkline.stream_list()", 1),
        ("select * from trunkline.stream_consumers()", 1),
        ("select * from trunkline.stream_moves()", 1),
        ("select trunkline.stream_append('s', 'x')", 2),
        ("select trunkline.stream_append_many('s', '{x}')", 2),
        ("select * from trunkline._stream_write('s', '{t}', '{k}', '{1}', '{x}', '{null}', '{null}')", 2),
        ("select trunkline.stream_register('s', 'of_' || right(current_user, 5))", 2),
        ("select trunkline.stream_seek('s', 'of_' || right(current_user, 5), 'end')", 2),
        ("select trunkline.stream_consumer_set('s', 'of_' || right(current_user, 5), 'max_events', '9')", 2),
        ("select * from trunkline.stream_dead_letters('s', 'of_' || right(current_user, 5))", 2),
        ("select * from trunkline.stream_retries('s', 'of_' || right(current_user, 5))", 2),
        ("select trunkline.stream_replay('s', 'of_' || right(current_user, 5))", 2),
        ("select trunkline.stream_purge('s', 'of_' || right(current_user, 5))", 2),
        ("select trunkline.stream_set('s', 'tick_mode', 'external')", 3),
        ("select trunkline.stream_tick_at('s', 1000)", 3),
        ("select trunkline.stream_maintain()", 3),
        ("select trunkline._stream_rebase()", 9),
        ("select trunkline._stream_place(1, 1)", 9),
        ("select * from trunkline.stream_event", 9),
        ("select * from trunkline.stream_dead", 9),
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
async fn a_consumer_is_its_roles_own() {
    let (db, raw) = with_roles().await;
    Stream::new(&raw, "s", &[]).await;
    let (a, b) = (db.raw_as("it_writer").await, db.raw_as("it_writer2").await);
    a.run("select trunkline.stream_register('s', 'c')").await;
    let s = Stream { raw: &a, name: "s" };
    s.append("S3cret").await;
    s.append("S3cret").await;
    let batch = s.batch("c").await;
    a.run(&format!("select trunkline.stream_retry('{batch}', array[min(id)], null), trunkline.stream_retry('{batch}', array[max(id)], '1 h')
        from trunkline.stream_events('{batch}')")).await;
    s.finish(&batch).await;
    for call in [
        "stream_seek('s', 'c', 'end')",
        "stream_consumer_set('s', 'c', 'max_events', '1')",
        "stream_dead_letters('s', 'c')",
        "stream_retries('s', 'c')",
        "stream_replay('s', 'c')",
        "stream_purge('s', 'c')",
    ] {
        let failure = b.failure(&format!("select trunkline.{call}")).await;
        assert!(
            failure.contains("42501") && failure.contains("belongs to role \\\"it_writer\\\""),
            "{call}: {failure}"
        );
    }
    let seen = b.code("select * from trunkline.stream_consumers()").await;
    assert_eq!(seen, "00000", "that it is there is no secret");
    let reader = db.raw_as("it_reader").await;
    let shown = format!(
        "{:?}{:?}",
        reader.rows("select * from trunkline.stream_list()").await,
        reader.rows("select * from trunkline.stream_consumers()").await
    );
    assert!(shown.contains("it_writer") && !shown.contains("S3cret"), "{shown}");
    a.run("select trunkline.stream_seek('s', 'c', 'beginning')").await;
    assert_eq!(raw.one("select role from trunkline.stream_move").await, "it_writer");
    assert_eq!(a.one("select trunkline.stream_replay('s', 'c')").await, "1");
    raw.run("set role it_writer2").await;
    assert_eq!(
        raw.code("select trunkline.stream_purge('s', 'c')").await,
        "42501",
        "it is the acting role that counts"
    );
}

#[tokio::test]
async fn a_hostile_search_path_changes_nothing() {
    let db = Db::new().await;
    let raw = trapped(&db).await;
    raw.run("create table evil.t (id int primary key, b text); create trigger t after insert or update or delete on evil.t
        for each row execute function trunkline.stream_trigger('s', 'ignore=b')").await;
    for table in
        ["stream", "stream_event", "stream_tick", "stream_take", "stream_again", "stream_dead", "pg_index"]
    {
        raw.run(&format!("create temp table {table} (id int, name text)")).await;
    }
    let s = Stream::new(&raw, "s", &["c"]).await;
    raw.run("select trunkline.stream_append_many('s', '{a,b}', '{x,y}', '{k,l}'); insert into evil.t values (1, 'b'); update evil.t set b = 'c'; delete from evil.t").await;
    raw.run(
        "select trunkline._stream_write('s', '{t}', '{k}', '{2}', '{1}', '{null}', array['{\"a\": \"b\"}'])",
    )
    .await;
    s.set("tick_lag", "1 s").await;
    s.consumer_set("c", "max_attempts", "1").await;
    s.retry(&s.batch("c").await, "'0'").await;
    raw.run("select * from trunkline.stream_list(); select * from trunkline.stream_consumers('s');
        select * from trunkline.stream_dead_letters('s', 'c'); select * from trunkline.stream_retries('s', 'c');
        select trunkline.stream_replay('s', 'c'); select trunkline.stream_seek('s', 'c', 'beginning');
        select trunkline.stream_purge('s', 'c'); select trunkline.stream_set('s', 'slow_after', '1 ms');
        select trunkline.stream_maintain(); select trunkline.stream_set('s', 'tick_mode', 'external');
        select trunkline.stream_tick_at('s', 99); select trunkline._stream_rebase()").await;
    assert_eq!(s.drain("c").await.len(), 5);
    raw.run("update trunkline.stream_tick set seen = '900000000:900000000:'; update trunkline.stream set home = 1").await;
    assert_eq!(raw.code("select trunkline.stream_append('s', 'x')").await, "TL008");
    raw.run("select trunkline._stream_rebase(); select trunkline.stream_append('s', 'x')").await;
}
