-- Ends what a member of a consumer has in hand, unfinished: the next who asks gets it, and whoever sleeps there is woken.
-- Errors: 55P03 while a transaction that finishes it is open; then again, a little later.
create or replace function trunkline._stream_hand_back(session int, consumer int, member text) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set lock_timeout = '50ms' as $$
#variable_conflict use_column
declare
    v_count int;
begin
    insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
    select t.consumer, t.turn, t.attempt, false
      from (select n.open || n.turn as turns from trunkline.stream_take n
             where n.consumer = _stream_hand_back.consumer order by n.turn desc, n.attempt desc limit 1) n
     cross join lateral unnest(n.turns) o
     cross join lateral (select * from trunkline.stream_take t where t.consumer = _stream_hand_back.consumer and t.turn = o
                          order by t.attempt desc limit 1) t
      join trunkline.stream_consumer c on c.id = t.consumer
     where t.session = _stream_hand_back.session and t.member = _stream_hand_back.member
       and pg_has_role(trunkline._role(), c.role, 'member')
        on conflict do nothing;
    get diagnostics v_count = row_count;
    if v_count > 0 then
        perform trunkline._door_ring(-1 - (c.stream & 63)) from trunkline.stream_consumer c where c.id = consumer;
    end if;
    return v_count;
end $$;
