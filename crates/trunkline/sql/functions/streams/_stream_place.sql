-- Puts a consumer behind a tick: a turn that is handed to nobody and finished at once. What it holds is taken from it, also
-- from who takes it over just now.
create or replace function trunkline._stream_place(consumer int, tick bigint) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_turn bigint;
    v_open bigint[];
begin
    loop
        select t.turn + 1, t.open || t.turn into v_turn, v_open from trunkline.stream_take t
         where t.consumer = _stream_place.consumer order by t.turn desc, t.attempt desc limit 1;
        v_turn := coalesce(v_turn, 0);
        insert into trunkline.stream_take (consumer, turn, attempt, lo, hi, after, again, open, token, session, member)
        values (_stream_place.consumer, v_turn, 1, tick, tick, 0, '{}', '{}', uuid_hash_extended(gen_random_uuid(), 0), 0, '')
            on conflict do nothing;
        exit when found;
    end loop;
    insert into trunkline.stream_take_end (consumer, turn, attempt, finished) values (_stream_place.consumer, v_turn, 1, true);
    loop                                                   -- each is taken over, and finished, by nobody
        v_open := array(select o from unnest(v_open) o
                         where not exists (select from trunkline.stream_take_end e
                                            where e.consumer = _stream_place.consumer and e.turn = o and e.finished));
        exit when v_open = '{}';
        with over as (
            insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
            select t.consumer, t.turn, max(t.attempt), false from trunkline.stream_take t
             where t.consumer = _stream_place.consumer and t.turn = any (v_open) group by t.consumer, t.turn
                on conflict do nothing returning consumer, turn, attempt)
        insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
        select o.consumer, o.turn, o.attempt + 1, true from over o;
    end loop;
end $$;
