-- The statement that reads a batch, in the order of the events' ids. Error: "batch not found".
-- An event is in the batch when its transaction is visible at the second tick and was not at the first: those that began
-- since are a range; those in progress at the first are named one by one, so that an old one costs what it wrote.
create or replace function pgq.batch_event_sql(x_batch_id bigint) returns text
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_sub   pgq.subscription;
    v_first txid_snapshot;
    v_last  txid_snapshot;
    v_late  bigint[];
    v_when  text[];
    v_sql   text;
begin
    select * into v_sub from pgq.subscription where sub_batch = x_batch_id;
    select tick_snapshot into v_first from pgq.tick where tick_queue = v_sub.sub_queue and tick_id = v_sub.sub_last_tick;
    select tick_snapshot into v_last from pgq.tick where tick_queue = v_sub.sub_queue and tick_id = v_sub.sub_next_tick;
    if v_first is null or v_last is null then
        raise exception 'batch not found';
    end if;
    select array_agg(x order by x) into v_late
      from txid_snapshot_xip(v_first) x where txid_visible_in_snapshot(x, v_last);
    v_when := array[format('ev_txid operator(pg_catalog.>=) %s and ev_txid operator(pg_catalog.<) %s'
                           ' and pg_catalog.txid_visible_in_snapshot(ev_txid, %L)',
                           txid_snapshot_xmax(v_first), txid_snapshot_xmax(v_last), v_last),
                    format('ev_txid operator(pg_catalog.=) any (%L::pg_catalog.int8[])', v_late)];
    select string_agg(format('select ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4'
                             ' from %s where %s and (ev_owner is null or ev_owner operator(pg_catalog.=) %s)',
                             t.name, w.rows, v_sub.sub_id), ' union all ')
      into v_sql
      from pgq.batch_event_tables(x_batch_id) t (name)
     cross join unnest(v_when[1:case when v_late is null then 1 else 2 end]) w (rows);
    return v_sql || ' order by 1';
end $$;
