-- Deals a consumer's next batch as a turn for each lane that has some of its events, to be handed out one by one; the first
-- attempt at each is nobody's. False when another was faster. `follows` is the turn it comes after, which must still be on
-- the books, as in _stream_take; so must its ticks, or that turn was left behind long ago.
create or replace function trunkline._stream_deal(batch trunkline.stream_take, follows trunkline.stream_take, lanes int)
returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v       trunkline.stream_take;
    v_of    int := (select c.stream from trunkline.stream_consumer c where c.id = (_stream_deal.batch).consumer);
    v_again bigint[] := (_stream_deal.batch).again;
    v_first bigint := (_stream_deal.batch).turn;
    v_lanes int[] := array[]::int[];
begin
    v := _stream_deal.batch;
    v.lanes := _stream_deal.lanes; v.session := 0; v.member := ''; v.taken_at := clock_timestamp();
    if exists (select from trunkline.stream_tick t where t.stream = v_of and t.id = v.lo) then
        v_lanes := array(
            select trunkline._stream_lane(w.key, w.id, v.lanes)
              from trunkline._stream_rows(v_of, v.lo, v.hi, v.after > 0 or v.upto is not null, v.after, v.upto, null) w
            union select trunkline._stream_lane(a.key, a.id, v.lanes) from trunkline.stream_again a
                   where a.consumer = v.consumer and a.id = any (v_again)
            order by 1);
    end if;
    if v_lanes = '{}' then
        v_lanes := '{0}';                                  -- nothing after all: to be finished like any other
    end if;
    foreach v.lane in array v_lanes loop
        v.again := array(select a.id from trunkline.stream_again a
                          where a.consumer = v.consumer and a.id = any (v_again)
                            and trunkline._stream_lane(a.key, a.id, v.lanes) = v.lane order by a.id);
        v.token := uuid_hash_extended(gen_random_uuid(), 0);
        insert into trunkline.stream_take select v.* on conflict do nothing;
        if not found then
            return false;                                  -- at the first, if at all: who was faster has that one
        end if;
        v.open := v.open || v.turn;
        v.turn := v.turn + 1;
    end loop;
    perform from trunkline.stream_take t
      where t.consumer = follows.consumer and t.turn = follows.turn and t.attempt = follows.attempt for key share;
    if found then
        return true;
    end if;
    delete from trunkline.stream_take t where t.consumer = v.consumer and t.turn >= v_first and t.turn < v.turn;
    return false;
end $$;
