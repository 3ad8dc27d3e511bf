-- Turns the ring of a stream, and empties what nobody needs: what it did ('turned', 'emptied', 'busy') or null.
-- Writers move on to any empty segment when the one in use is large or old. Another is emptied when every row of it is
-- seen by the slowest position (of consumers, and of retention) and was so a while ago (free_after): pg_dump takes its
-- snapshot before its locks, and must not find a position whose events are gone. Checked under ACCESS EXCLUSIVE, which is
-- never waited for; readers lock only the segments that hold their batch, so they do not stand in the way.
-- Locks: the stream's row, then one segment.
create or replace function trunkline._stream_turn(stream int) returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set lock_timeout = '50ms' as $$
#variable_conflict use_column
declare
    v      trunkline.stream;
    v_size bigint[];
    v_low  bigint;
    v_done text;
    v_step text;
begin
    perform trunkline._check_read_committed('maintain');
    select * into v from trunkline.stream s where s.id = _stream_turn.stream for no key update skip locked;
    if not found then
        return 'busy';
    end if;
    v_size := array(select pg_relation_size(format('trunkline.stream_event_%s', v.id * 4 + n)::regclass)
                      from generate_series(0, 2) n order by n);
    for v_n in 0..2 loop
        if v_n <> v.segment & 3 and v_size[v_n + 1] > 0 then
            v_low := coalesce(v_low, trunkline._stream_needed(v));
            v_step := trunkline._stream_empty(v, v_n, v_low);
            v_done := coalesce(v_step, v_done);
            if v_step = 'emptied' then
                v_size[v_n + 1] := 0;
            end if;
        end if;
    end loop;
    if v_size[(v.segment & 3) + 1] >= v.turn_bytes
       or v_size[(v.segment & 3) + 1] > 0 and v.turned_at < clock_timestamp() - v.turn_after then
        update trunkline.stream s set segment = v.id * 4 + n, turned_at = clock_timestamp()
          from generate_series(0, 2) n
         where s.id = v.id and n = (select min(x) from generate_series(0, 2) x where x <> v.segment & 3 and v_size[x + 1] = 0);
        if found then
            v_done := 'turned';
        end if;
    end if;
    return v_done;
end $$;
