-- The batches of a consumer that are handed out and not finished: how many, and of the oldest of them since when and by whom.
create or replace function trunkline._stream_in_hand(consumer int, out many int, out taken_at timestamptz, out session int,
                                                     out member text)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_open bigint[] := (select t.open || t.turn from trunkline.stream_take t
                         where t.consumer = _stream_in_hand.consumer order by t.turn desc, t.attempt desc limit 1);
begin
    select count(*) over (), o.taken_at, o.session, o.member into many, taken_at, session, member
      from (select distinct on (t.turn) t.* from trunkline.stream_take t
             where t.consumer = _stream_in_hand.consumer and t.turn = any (v_open)
               and not exists (select from trunkline.stream_take_end e
                                where e.consumer = t.consumer and e.turn = t.turn and e.finished)
             order by t.turn, t.attempt desc) o
     where (o.lanes = 1 or o.attempt > 1)                  -- not only dealt, and not handed back
       and not exists (select from trunkline.stream_take_end e
                        where e.consumer = o.consumer and e.turn = o.turn and e.attempt = o.attempt)
     order by o.turn limit 1;
    many := coalesce(many, 0);
end $$;
