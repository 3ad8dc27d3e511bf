-- Empties one segment of a stream when nothing in it is needed by who stands at tick `low` or later: 'emptied', 'busy' while
-- somebody has it open, or null. Hold the stream's row. The first time it is found free is only noted (see _stream_turn).
create or replace function trunkline._stream_empty(stream trunkline.stream, n int, low bigint) returns text
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_seen  pg_snapshot := (select t.seen from trunkline.stream_tick t where t.stream = _stream_empty.stream.id and t.id = low);
    v_table text := format('trunkline.stream_event_%s', _stream_empty.stream.id * 4 + n);
    v_need  boolean;
    v_since timestamptz := _stream_empty.stream.free_since[n + 1];
begin
    if v_seen is null then
        return null;
    end if;
    for v_try in 1..2 loop
        if v_try = 2 then
            execute format('lock table %s in access exclusive mode nowait', v_table);
        end if;
        execute format('select exists (select from %1$s where xid >= $1) or exists (select from %1$s where xid = any ($2))', v_table)
            into v_need using pg_snapshot_xmax(v_seen), array(select x from pg_snapshot_xip(v_seen) x);
        if v_need or v_since is null then
            update trunkline.stream s set free_since[n + 1] = case when not v_need then clock_timestamp() end
             where s.id = _stream_empty.stream.id and v_need is distinct from (v_since is null);
            v_since := case when not v_need then clock_timestamp() end;
        end if;
        if v_since is null or v_since > clock_timestamp() - _stream_empty.stream.free_after then
            return null;
        end if;
    end loop;
    execute format('truncate %s', v_table);
    update trunkline.stream s
       set free_since[n + 1] = null,
           first_tick = greatest(s.first_tick, (
               select t.id from trunkline.stream_tick t
                where t.stream = s.id and t.id between s.first_tick and low and t.segments & (1 << n) <> 0
                order by t.id desc limit 1))
     where s.id = _stream_empty.stream.id;
    return 'emptied';
exception when lock_not_available then
    return 'busy';
end $$;
