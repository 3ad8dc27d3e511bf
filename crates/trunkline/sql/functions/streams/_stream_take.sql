-- Hands a batch of a consumer to a member of it: at most one row. The oldest that nobody holds any more comes first, then
-- the next one. Holders are here as long as their session is; one without a session holds nothing against others.
-- mode: `fail` raises TL015 while another holds the batch, `share` takes the next one beside it, `take` takes it over.
-- batch: consumer:turn:attempt:token, whose knowledge is the right to finish it. state 1: look again at once.
-- The newest turn is the cursor, and (consumer, turn, attempt) is unique: who follows it first has the batch, at every
-- isolation level. That turn must still be there: what follows one that is off the books was taken long ago.
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
    v_age   interval := case when current_setting('transaction_isolation') = 'read committed' then interval '0'
                             else clock_timestamp() - now() end;    -- of what is known of sessions
begin
    select * into v from trunkline.stream_take t
     where t.consumer = _stream_take.consumer order by t.turn desc, t.attempt desc limit 1;
    v_open := array(select o from unnest(v.open || v.turn) o
                     where not exists (select from trunkline.stream_take_end e
                                        where e.consumer = v.consumer and e.turn = o and e.finished) order by o);
    for v_held in
        select distinct on (t.turn) t.* from trunkline.stream_take t
         where t.consumer = v.consumer and t.turn = any (v_open) order by t.turn, t.attempt desc
    loop
        if mode = 'take' or v_held.session = 0 or v_held.session = _stream_take.session and v_held.member = _stream_take.member
           or not exists (select from trunkline.session s where s.id = v_held.session
                             and trunkline._session_here(s.id, s.pid, s.watched, s.expires_at + v_age)) then
            v_new := v_held;
            insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
            values (v_held.consumer, v_held.turn, v_held.attempt, false) on conflict do nothing;
            if not found then
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
        v_new := trunkline._stream_next(v, v_open, most);
        if v_new.turn is null then
            return;
        end if;
    end if;
    v_new.token := uuid_hash_extended(gen_random_uuid(), 0);
    v_new.session := _stream_take.session;
    v_new.member := _stream_take.member;
    v_new.taken_at := clock_timestamp();
    insert into trunkline.stream_take select v_new.* on conflict do nothing;
    if found then
        v := case when v_new.attempt = 1 then v else v_held end;
        perform from trunkline.stream_take t
          where t.consumer = v.consumer and t.turn = v.turn and t.attempt = v.attempt for key share;
        if found then
            return query select 0, concat_ws(':', v_new.consumer, v_new.turn, v_new.attempt, v_new.token),
                                v_new.lo, v_new.hi, v_new.attempt;
            return;
        end if;
        delete from trunkline.stream_take t where t.consumer = v.consumer and t.turn = v_new.turn and t.token = v_new.token;
        delete from trunkline.stream_take_end e
         where e.consumer = v.consumer and e.turn = v_held.turn and e.attempt = v_new.attempt - 1;
    end if;
    return query select 1, null::text, null::bigint, null::bigint, null::int;
end $$;
