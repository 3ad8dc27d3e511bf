-- The events of a batch in hand as they are stored: see stream_events.
create or replace function trunkline._stream_events(batch text, after bigint, max int)
returns table (id bigint, at timestamptz, type text, key text, content smallint, payload bytea, headers text, attempt int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v    trunkline.stream_take := trunkline._stream_held(batch);
    v_of int := (select c.stream from trunkline.stream_consumer c where c.id = v.consumer);
    v_part boolean := v.after > 0 or v.upto is not null;
begin
    if v.again = '{}' and v.lanes = 1 then
        return query
        select w.id, w.at, w.type, w.key, w.content, w.payload, w.headers, 1
          from trunkline._stream_rows(v_of, v.lo, v.hi, v_part, greatest(v.after, _stream_events.after), v.upto,
                                      _stream_events.max) w;
        return;
    end if;
    return query
    select w.id, w.at, w.type, w.key, w.content, w.payload, w.headers, 1
      from trunkline._stream_rows(v_of, v.lo, v.hi, v_part, greatest(v.after, _stream_events.after), v.upto,
                                  case when v.lanes = 1 then _stream_events.max end) w
     where v.lanes = 1 or trunkline._stream_lane(w.key, w.id, v.lanes) = v.lane
    union all
    select a.id, a.at, a.type, a.key, a.content, a.payload, a.headers, a.tries
      from trunkline.stream_again a
     where a.consumer = v.consumer and a.id = any (v.again) and a.id > coalesce(_stream_events.after, 0)
     order by 1 limit _stream_events.max;
end $$;
