-- One round of the duties of all streams: ticks that are due, rings, books, slow consumers. What was done, as JSON. Each
-- stream by itself: one that is broken or held stops no other; its error is among what was done. Any number at once is
-- harmless. Errors: 25001 outside READ COMMITTED.
create or replace function trunkline.stream_maintain() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v        record;
    v_ticks  int := 0;
    v_turned int := 0;
    v_slow   int := 0;
    v_errors jsonb := '{}'::jsonb;
    v_did    text;
begin
    perform trunkline._check_read_committed('stream_maintain');
    for v in select s.id, s.name from trunkline.stream s order by s.id loop
        begin
            if trunkline._stream_tick(v.id, false, false) is not null then
                v_ticks := v_ticks + 1;
            end if;
            v_did := trunkline._stream_turn(v.id);
            if v_did in ('turned', 'emptied') then
                v_turned := v_turned + 1;
                perform trunkline._stream_tidy(v.id);
            end if;
            v_slow := v_slow + coalesce(trunkline._stream_slow(v.id), 0);
        exception when others then
            v_errors := v_errors || jsonb_build_object(v.name, sqlerrm);
        end;
    end loop;
    return jsonb_build_object('ticks', v_ticks, 'segments', v_turned, 'slow', v_slow, 'errors', v_errors);
end $$;
