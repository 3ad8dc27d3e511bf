-- Puts a consumer behind a tick: a turn that is handed to nobody and finished at once. What it holds is taken from it.
create or replace function trunkline._stream_place(consumer int, tick bigint) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_turn bigint;
begin
    insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
    select distinct on (t.turn) t.consumer, t.turn, t.attempt, true from trunkline.stream_take t
     where t.consumer = _stream_place.consumer order by t.turn, t.attempt desc
        on conflict do nothing;
    v_turn := coalesce((select max(t.turn) + 1 from trunkline.stream_take t where t.consumer = _stream_place.consumer), 0);
    insert into trunkline.stream_take (consumer, turn, attempt, lo, hi, after, again, open, token, session, member)
    values (_stream_place.consumer, v_turn, 1, tick, tick, 0, '{}', '{}', uuid_hash_extended(gen_random_uuid(), 0), 0, '');
    insert into trunkline.stream_take_end (consumer, turn, attempt, finished) values (_stream_place.consumer, v_turn, 1, true);
end $$;
