-- Puts a consumer behind a tick: a turn that is handed to nobody and finished at once. What it holds is taken from it: those
-- attempts end unfinished, so a finish of them is refused (TL001), and no later turn names them open, so they come no more.
-- Takers lock nothing, so it looks again until every attempt has ended, and until its turn is the one after the newest.
create or replace function trunkline._stream_place(consumer int, tick bigint) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_turn bigint;
begin
    loop
        loop
            insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
            select t.consumer, t.turn, t.attempt, false from trunkline.stream_take t
             where t.consumer = _stream_place.consumer
               and not exists (select from trunkline.stream_take_end e
                                where e.consumer = t.consumer and e.turn = t.turn and e.attempt = t.attempt)
                on conflict do nothing;
            exit when not exists (
                select from trunkline.stream_take t
                 where t.consumer = _stream_place.consumer
                   and not exists (select from trunkline.stream_take_end e
                                    where e.consumer = t.consumer and e.turn = t.turn and e.attempt = t.attempt));
        end loop;
        v_turn := coalesce((select max(t.turn) + 1 from trunkline.stream_take t where t.consumer = _stream_place.consumer), 0);
        insert into trunkline.stream_take (consumer, turn, attempt, lo, hi, after, again, open, token, session, member)
        values (_stream_place.consumer, v_turn, 1, tick, tick, 0, '{}', '{}', uuid_hash_extended(gen_random_uuid(), 0), 0, '')
            on conflict do nothing;
        exit when found;
    end loop;
    insert into trunkline.stream_take_end (consumer, turn, attempt, finished) values (_stream_place.consumer, v_turn, 1, true);
end $$;
