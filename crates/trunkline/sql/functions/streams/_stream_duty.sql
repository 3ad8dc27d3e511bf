-- One round of the duties of one stream: a tick if one is due, its ring, its books, slow consumers. What was done, as JSON.
-- Errors: 25001 outside READ COMMITTED; TL008 after a restore.
create or replace function trunkline._stream_duty(stream int) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_tick bigint := trunkline._stream_tick(stream, false, false);
    v_did  text := trunkline._stream_turn(stream);
    v_slow int := coalesce(trunkline._stream_slow(stream), 0);
begin
    if v_did in ('turned', 'emptied') then
        perform trunkline._stream_tidy(stream);
    end if;
    return jsonb_build_object('tick', v_tick, 'ring', v_did, 'slow', v_slow);
end $$;
