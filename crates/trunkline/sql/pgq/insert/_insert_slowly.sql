-- Inserts into a segment that the generated functions do not know: a queue that their snapshot did not show.
create or replace function pgq._insert_slowly(queue_id integer, segment integer, ev_id bigint, ev_time timestamptz,
                                              ev_owner integer, ev_retry integer, ev_type text, ev_data text,
                                              ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    execute format('insert into pgq.%I (ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3,'
                   ' ev_extra4) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)', format('event_%s_%s', queue_id, segment))
      using ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4;
    return ev_id;
end $$;
