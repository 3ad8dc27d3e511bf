-- For how long a consumer that has just found nothing may sleep soundly, in milliseconds: until something is due to come again, half a
-- minute at most. Null where only looking tells: a batch is in hand, settings hold events back, or a window comes in parts; and for
-- a consumer that is not this role's. What else there is to find rings. Locks: none.
create or replace function trunkline._stream_calm(consumer int) returns int
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return (select greatest(10, 1000 * extract(epoch from
                       least((select min(a.due_at) from trunkline.stream_again a where a.consumer = c.id),
                             clock_timestamp() + interval '30 s') - clock_timestamp()))::int
              from trunkline.stream_consumer c
             cross join lateral (select * from trunkline.stream_take t
                                  where t.consumer = c.id order by t.turn desc, t.attempt desc limit 1) t
             where c.id = _stream_calm.consumer and pg_has_role(trunkline._role(), c.role, 'member')
               and c.min_events = 0 and c.min_lag = interval '0' and t.open = '{}' and t.upto is null
               and (select e.finished from trunkline.stream_take_end e
                     where e.consumer = c.id and e.turn = t.turn and e.attempt = t.attempt));
end $$;
