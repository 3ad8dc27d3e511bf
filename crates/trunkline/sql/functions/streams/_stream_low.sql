-- The tick up to which a consumer has finished everything: what it sees, this consumer no longer needs.
create or replace function trunkline._stream_low(consumer int) returns bigint
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v trunkline.stream_take;
begin
    select * into v from trunkline.stream_take t
     where t.consumer = _stream_low.consumer order by t.turn desc, t.attempt desc limit 1;
    return least(case when v.upto is null then v.hi else v.lo end,
                 (select min(t.lo) from trunkline.stream_take t
                   where t.consumer = v.consumer and t.turn = any (v.open || v.turn)
                     and not exists (select from trunkline.stream_take_end e
                                      where e.consumer = t.consumer and e.turn = t.turn and e.finished)));
end $$;
