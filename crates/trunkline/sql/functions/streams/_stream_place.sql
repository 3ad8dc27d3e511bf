-- Puts a consumer behind a tick: a turn that is handed to nobody and finished at once. What it holds is taken from it: handed to
-- nobody, and finished. Who takes such a turn over just now is waited for, and who comes later finds the attempt taken.
create or replace function trunkline._stream_place(consumer int, tick bigint) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_turn    bigint;
    v_open    bigint[];
    v_attempt int;
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
    foreach v_turn in array coalesce(v_open, array[]::bigint[]) loop
        loop
            v_attempt := (select max(t.attempt) from trunkline.stream_take t
                           where t.consumer = _stream_place.consumer and t.turn = v_turn);
            insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
            select _stream_place.consumer, v_turn, v_attempt, false where v_attempt is not null on conflict do nothing;
            exit when v_attempt is null or exists (
                select from trunkline.stream_take_end e
                 where e.consumer = _stream_place.consumer and e.turn = v_turn and e.finished);
            insert into trunkline.stream_take (consumer, turn, attempt, lo, hi, after, upto, again, open, lane, lanes,
                                               token, session, member)
            select t.consumer, t.turn, t.attempt + 1, t.lo, t.hi, t.after, t.upto, '{}', t.open, t.lane, t.lanes,
                   uuid_hash_extended(gen_random_uuid(), 0), 0, ''
              from trunkline.stream_take t
             where t.consumer = _stream_place.consumer and t.turn = v_turn and t.attempt = v_attempt
                on conflict do nothing;
            if found then
                insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
                values (_stream_place.consumer, v_turn, v_attempt + 1, true);
                exit;
            end if;
        end loop;
    end loop;
end $$;
