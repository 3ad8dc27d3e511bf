-- Writes `insert_event` and `insert_event_raw` anew: a tree of comparisons over the queues' ids, a static INSERT at each leaf.
-- A static INSERT costs a third of one that is put together at run time, for only that one is planned at each call.
-- Locks: whoever calls this holds `_guard` in SHARE ROW EXCLUSIVE, or two would replace the same function at once.
create or replace function pgq._dispatch() returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_head constant text := $f$
language plpgsql volatile %s set search_path = pg_catalog, pgq, pg_temp as %s$f$;
    v_body constant text := $f$
declare
    v_queue    int;
    v_segment  int;
    v_disabled bool;
    v_limit    int;
    v_id       bigint;
begin
    select q.queue_id, q.queue_cur_table, q.queue_disable_insert, q.queue_per_tx_limit, nextval(q.queue_event_seq::regclass)
      into v_queue, v_segment, v_disabled, v_limit, v_id from pgq.queue q where q.queue_name = $1;
    if v_queue is null then
        perform pgq._insert_refused($1);
    end if;
    if v_disabled or v_limit is not null then
        perform pgq._insert_check($1, v_queue, v_disabled, v_limit);
    end if;
%s%s    return pgq._insert_slowly(v_queue, v_segment, %s);
end $f$;
    v_given constant text := 'v_id, now(), null, null, $2, $3, $4, $5, $6, $7';
    v_raw   constant text := 'v_id, coalesce($3, now()), $4, $5, $6, $7, $8, $9, $10, $11';
    v_queues int[][] := (select array_agg(array[queue_id, queue_ntables] order by queue_id) from pgq.queue);
begin
    execute format('create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text, ev_extra1 text,'
                   ' ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint' || v_head, 'security definer',
                   quote_literal(format(v_body, '', pgq._dispatch_tree(v_queues, v_given, '    '), v_given)));
    execute format('create or replace function pgq.insert_event_raw(queue_name text, ev_id bigint, ev_time timestamptz,'
                   ' ev_owner integer, ev_retry integer, ev_type text, ev_data text, ev_extra1 text, ev_extra2 text,'
                   ' ev_extra3 text, ev_extra4 text) returns bigint' || v_head, '',
                   quote_literal(format(v_body, e'    v_id := coalesce($2, v_id);\n', pgq._dispatch_tree(v_queues, v_raw, '    '), v_raw)));
end $$;
