-- Hands a batch of a consumer to a member of it: at most one row. The oldest that nobody holds any more comes first (its
-- holder is gone, or handed it back: _stream_hand_back), then the next one.
-- Holders are here as long as their session is; one without a session holds nothing against others.
-- mode: `fail` raises TL015 while another holds the batch, `share` takes the next one beside it, `take` takes it over.
-- batch: consumer:turn:attempt:token, whose knowledge is the right to finish it. state 1: look again at once.
-- The newest turn is the cursor, and (consumer, turn, attempt) is unique: who follows it first has the batch, at every
-- isolation level. That turn must still be there: what follows one that is off the books was taken long ago.
-- Of a consumer in lanes a turn is handed out when those before it in its lane are finished, whoever takes them.
-- most: at most so many events, or null. Locks: none beyond the insert, the row of the turn that it follows, and a tick's.
create or replace function trunkline._stream_take(session int, consumer int, mode text, member text, most int)
returns table (state int, batch text, first_tick bigint, last_tick bigint, attempt int)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v       trunkline.stream_take;
    v_held  trunkline.stream_take;
    v_new   trunkline.stream_take;
    v_open  bigint[];
    v_lanes int := (select c.lanes from trunkline.stream_consumer c where c.id = _stream_take.consumer);
    v_busy  int[] := array[]::int[];
    v_age   interval := case when current_setting('transaction_isolation') = 'read committed' then interval '0'
                             else clock_timestamp() - now() end;    -- of what is known of sessions
begin
    select * into v from trunkline.stream_take t
     where t.consumer = _stream_take.consumer order by t.turn desc, t.attempt desc limit 1;
    v_open := array(select o from unnest(v.open || v.turn) o          -- one look-up for each, however long the books are
                     where (select e.turn from trunkline.stream_take_end e
                             where e.consumer = v.consumer and e.turn = o and e.finished limit 1) is null order by o);
    for v_held in
        select distinct on (t.turn) t.* from trunkline.stream_take t
         where t.consumer = v.consumer and t.turn >= v_open[1] and t.turn = any (v_open) order by t.turn, t.attempt desc
    loop
        continue when v_held.lanes > 1 and v_held.lane = any (v_busy);
        v_busy := v_busy || v_held.lane;
        if mode = 'take' or v_held.session = 0 or v_held.session = _stream_take.session and v_held.member = _stream_take.member
           or exists (select from trunkline.stream_take_end e where e.consumer = v_held.consumer and e.turn = v_held.turn
                         and e.attempt = v_held.attempt and not e.finished)          -- handed back
           or not exists (select from trunkline.session s where s.id = v_held.session
                             and trunkline._session_here(s.id, s.pid, s.watched, s.expires_at + v_age)) then
            v_new := v_held;
            insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
            values (v_held.consumer, v_held.turn, v_held.attempt, false) on conflict do nothing;
            if not found and not exists (
                select from trunkline.stream_take_end e where e.consumer = v_held.consumer and e.turn = v_held.turn
                   and e.attempt = v_held.attempt and not e.finished) then
                return query select 1, null::text, null::bigint, null::bigint, null::int;
                return;
            end if;
            v_new.attempt := v_held.attempt + 1;
            exit;
        elsif mode <> 'share' then
            raise exception 'the batch is held by another member of the consumer' using errcode = 'TL015';
        end if;
    end loop;
    if v_new.consumer is null then
        if v_open <> '{}' and (v_lanes > 1 and cardinality(v_open) >= 4 * v_lanes or exists (
                select from trunkline.stream_take t
                 where t.consumer = v.consumer and t.turn >= v_open[1] and t.turn = any (v_open) and t.lanes <> v_lanes)) then
            return;
        end if;
        v_new := trunkline._stream_next(v, v_open, most);
        if v_new.turn is null then
            return;
        elsif v_lanes > 1 then
            perform trunkline._stream_deal(v_new, v, v_lanes);
            return query select 1, null::text, null::bigint, null::bigint, null::int;
            return;
        end if;
        v_held := v;
        v_new.lane := 0; v_new.lanes := 1;
    end if;
    v_new.token := uuid_hash_extended(gen_random_uuid(), 0);
    v_new.session := _stream_take.session;
    v_new.member := _stream_take.member;
    v_new.taken_at := clock_timestamp();
    insert into trunkline.stream_take select v_new.* on conflict do nothing;
    if found then
        perform from trunkline.stream_take t
          where t.consumer = v_held.consumer and t.turn = v_held.turn and t.attempt = v_held.attempt for key share;
        if found then
            return query select 0, concat_ws(':', v_new.consumer, v_new.turn, v_new.attempt, v_new.token),
                                v_new.lo, v_new.hi, v_new.attempt - (v_new.lanes > 1)::int;
            return;
        end if;
        delete from trunkline.stream_take t where t.consumer = v.consumer and t.turn = v_new.turn and t.token = v_new.token;
        delete from trunkline.stream_take_end e
         where e.consumer = v.consumer and e.turn = v_held.turn and e.attempt = v_new.attempt - 1;
    end if;
    return query select 1, null::text, null::bigint, null::bigint, null::int;
end $$;
