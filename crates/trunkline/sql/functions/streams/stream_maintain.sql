-- One round of the duties of all streams, in one transaction: ticks that are due, rings, books, slow consumers. What was
-- done, as JSON. One that is broken or held stops no other; its error is among what was done. Any number at once is
-- harmless. The daemon does each stream in a transaction of its own (_stream_duty). Errors: 25001 outside READ COMMITTED.
create or replace function trunkline.stream_maintain() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v        record;
    v_ticks  int := 0;
    v_turned int := 0;
    v_slow   int := 0;
    v_errors jsonb := '{}'::jsonb;
    v_did    jsonb;
begin
    perform trunkline._check_read_committed('stream_maintain');
    for v in select s.id, s.name from trunkline.stream s order by s.id loop
        begin
            v_did := trunkline._stream_duty(v.id);
            v_ticks := v_ticks + case when v_did ->> 'tick' is not null then 1 else 0 end;
            v_turned := v_turned + case when v_did ->> 'ring' in ('turned', 'emptied') then 1 else 0 end;
            v_slow := v_slow + (v_did ->> 'slow')::int;
        exception when others then
            v_errors := v_errors || jsonb_build_object(v.name, sqlerrm);
        end;
    end loop;
    return jsonb_build_object('ticks', v_ticks, 'segments', v_turned, 'slow', v_slow, 'errors', v_errors);
end $$;
