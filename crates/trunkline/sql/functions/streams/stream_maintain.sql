-- One round of the duties of all streams: ticks that are due, rings, books. What was done, as JSON. Each stream by itself:
-- one that is broken or held stops no other; its error is among what was done. Any number at once is harmless.
-- What was emptied stays locked to the end: 100 ms after the first, the other rings are left for the next round.
-- Errors: 25001 outside READ COMMITTED.
create or replace function trunkline.stream_maintain() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v        record;
    v_ticks  int := 0;
    v_turned int := 0;
    v_errors jsonb := '{}'::jsonb;
    v_did    text;
    v_end    timestamptz;
begin
    perform trunkline._check_read_committed('stream_maintain');
    for v in select s.id, s.name from trunkline.stream s order by random() loop
        begin
            if trunkline._stream_tick(v.id, false, false) is not null then
                v_ticks := v_ticks + 1;
            end if;
            continue when v_end < clock_timestamp();
            v_did := trunkline._stream_turn(v.id);
            if v_did in ('turned', 'emptied') then
                v_turned := v_turned + 1;
                v_end := coalesce(v_end, clock_timestamp() + interval '100 ms');
                perform trunkline._stream_tidy(v.id);
            end if;
        exception when others then
            v_errors := v_errors || jsonb_build_object(v.name, sqlerrm);
        end;
    end loop;
    return jsonb_build_object('ticks', v_ticks, 'segments', v_turned, 'errors', v_errors);
end $$;
