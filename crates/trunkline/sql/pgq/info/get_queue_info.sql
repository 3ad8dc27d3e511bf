-- Every queue, or the one of this name: its settings, how long ago its last tick was, events a second over the last twenty
-- ticks, and how far its event sequence is beyond the last tick.
create or replace function pgq.get_queue_info(i_queue_name text, out queue_name text, out queue_ntables integer,
    out queue_cur_table integer, out queue_rotation_period interval, out queue_switch_time timestamptz,
    out queue_external_ticker boolean, out queue_ticker_paused boolean, out queue_ticker_max_count integer,
    out queue_ticker_max_lag interval, out queue_ticker_idle_period interval, out ticker_lag interval,
    out ev_per_sec double precision, out ev_new bigint, out last_tick_id bigint) returns setof record
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return query
        select q.queue_name, q.queue_ntables, q.queue_cur_table, q.queue_rotation_period, q.queue_switch_time,
               q.queue_external_ticker, q.queue_ticker_paused, q.queue_ticker_max_count, q.queue_ticker_max_lag,
               q.queue_ticker_idle_period, now() - t.tick_time,
               case when b.tick_time < t.tick_time
                    then ((t.tick_event_seq - b.tick_event_seq) / extract(epoch from t.tick_time - b.tick_time))::double precision end,
               pgq.seq_getval(q.queue_event_seq) - t.tick_event_seq, t.tick_id
          from pgq.queue q
          left join lateral (select * from pgq.tick l where l.tick_queue = q.queue_id
                              order by l.tick_queue desc, l.tick_id desc limit 1) t on true
          left join lateral (select * from pgq.tick f where f.tick_queue = q.queue_id and f.tick_id >= t.tick_id - 20
                              order by f.tick_queue, f.tick_id limit 1) b on true
         where i_queue_name is null or q.queue_name = i_queue_name
         order by q.queue_name;
end $$;

create or replace function pgq.get_queue_info(out queue_name text, out queue_ntables integer,
    out queue_cur_table integer, out queue_rotation_period interval, out queue_switch_time timestamptz,
    out queue_external_ticker boolean, out queue_ticker_paused boolean, out queue_ticker_max_count integer,
    out queue_ticker_max_lag interval, out queue_ticker_idle_period interval, out ticker_lag interval,
    out ev_per_sec double precision, out ev_new bigint, out last_tick_id bigint) returns setof record
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return query select * from pgq.get_queue_info(null);
end $$;
