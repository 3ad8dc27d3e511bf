-- The events of ticks that a consumer has not finished: of its open batches, of the rest of a window that comes in parts,
-- and of the ticks behind. Exact; reads events only of windows in parts and in lanes.
create or replace function trunkline._stream_backlog(consumer int, stream int) returns bigint
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      trunkline.stream_take;
    v_last bigint := (select max(t.id) from trunkline.stream_tick t where t.stream = _stream_backlog.stream);
    v_sum  bigint;
begin
    select * into v from trunkline.stream_take t
     where t.consumer = _stream_backlog.consumer order by t.turn desc, t.attempt desc limit 1;
    v_sum := trunkline._stream_count(stream, v.hi, v_last, 0, null);
    if v.upto is not null then
        v_sum := v_sum + trunkline._stream_count(stream, v.lo, v.hi, v.upto, null);
    end if;
    return v_sum + coalesce((
        select sum(case when t.lanes = 1 then trunkline._stream_count(_stream_backlog.stream, t.lo, t.hi, t.after, t.upto)
                        else (select count(*)
                                from trunkline._stream_rows(_stream_backlog.stream, t.lo, t.hi, t.after > 0 or t.upto is not null,
                                                            t.after, t.upto, null) w
                               where trunkline._stream_lane(w.key, w.id, t.lanes) = t.lane) end)
          from (select distinct on (t.turn) t.* from trunkline.stream_take t
                 where t.consumer = v.consumer and t.turn = any (v.open || v.turn)
                   and not exists (select from trunkline.stream_take_end e
                                    where e.consumer = t.consumer and e.turn = t.turn and e.finished)
                 order by t.turn, t.attempt desc) t
         where t.hi > t.lo), 0);
end $$;
