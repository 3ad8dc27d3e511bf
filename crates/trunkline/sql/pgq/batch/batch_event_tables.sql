-- The segments that may hold events of a batch: all of them, but those that nobody writes to any more and whose every
-- transaction the batch's first tick sees. So a late writer's row is found wherever it went.
create or replace function pgq.batch_event_tables(x_batch_id bigint) returns setof text
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return query
        select q.queue_data_pfx || '_' || nr
          from pgq.subscription s
          join pgq.queue q on q.queue_id = s.sub_queue
          join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
         cross join lateral generate_series(0, q.queue_ntables - 1) nr
          left join pgq._sealed d on d.queue_id = s.sub_queue and d.segment = nr
         where s.sub_batch = x_batch_id
           and (d.max_txid is null or d.max_txid >= txid_snapshot_xmin(t.tick_snapshot))
         order by nr;
    if not found then
        raise exception 'Cannot find data for batch %', x_batch_id;
    end if;
end $$;
