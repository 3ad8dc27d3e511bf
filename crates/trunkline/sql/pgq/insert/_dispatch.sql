-- Writes `insert_event` and `insert_event_raw` anew: a tree of comparisons over queues and segments, a static INSERT at each leaf.
-- A static INSERT costs a third of one that is put together at run time, for only that one is planned at each call. They set no
-- search path, which costs as much again in a short transaction, so every name and operator in them is qualified.
-- Locks: whoever calls this holds `_guard` in SHARE ROW EXCLUSIVE, or two would replace the same function at once.
create or replace function pgq._dispatch() returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_body constant text := $f$
declare
    v_slot pg_catalog.int8;
    v_id   pg_catalog.int8;
begin
    select case when q.queue_disable_insert or q.queue_per_tx_limit is not null then null
                else q.queue_id::pg_catalog.int8 operator(pg_catalog.*) 1000 operator(pg_catalog.+) q.queue_cur_table end,
           pg_catalog.nextval(q.queue_event_seq::pg_catalog.regclass)
      into v_slot, v_id from pgq.queue q where q.queue_name operator(pg_catalog.=) $1;
%s    return pgq._insert_otherwise($1, %s);
end $f$;
    v_given constant text := 'v_id, pg_catalog.now(), null, null, $2, $3, $4, $5, $6, $7';
    v_raw   constant text := 'coalesce($2, v_id), coalesce($3, pg_catalog.now()), $4, $5, $6, $7, $8, $9, $10, $11';
    v_slots bigint[] := (select array_agg(queue_id::bigint * 1000 + nr order by queue_id, nr)
                           from pgq.queue cross join lateral generate_series(0, least(queue_ntables, 1000) - 1) nr);
begin
    execute format('create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text, ev_extra1 text,'
                   ' ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint language plpgsql volatile security definer as %L',
                   format(v_body, pgq._dispatch_tree(v_slots, v_given, 'v_id', '    '), v_given));
    execute format('create or replace function pgq.insert_event_raw(queue_name text, ev_id bigint, ev_time timestamptz,'
                   ' ev_owner integer, ev_retry integer, ev_type text, ev_data text, ev_extra1 text, ev_extra2 text,'
                   ' ev_extra3 text, ev_extra4 text) returns bigint language plpgsql volatile as %L',
                   format(v_body, pgq._dispatch_tree(v_slots, v_raw, 'coalesce($2, v_id)', '    '), v_raw));
end $$;
