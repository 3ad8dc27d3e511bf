-- Takes jobs of a lane that were held and are due: at most `most`, the longest due first, skipping those that others are taking.
-- Each only when its key lets it (_job_may_begin); those that do not come out of the way, so that they keep nobody else. What is due
-- after it expired is cancelled. Where very many are in the way it ends after a while, and the next look goes on.
-- Where keys run one at a time and have no rate, the usual case, all that can begin do so in two statements: the rows and the
-- locks of their keys, then, with a fresh snapshot, what begins; the loop is for the rest.
-- What is due is compared with a time that is asked for once, or the index would not end there.
-- Locks: the rows; those keys, to the commit; where somebody holds a key all of it is passed over. Waits for nobody.
create or replace function trunkline._job_take_held(session int, lane int, most int, token bigint)
returns setof trunkline.job_held
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_queue trunkline.job_queue;
    v_from  timestamptz;
    v_left  int := most;
    v_one   record;
    v_shut  text[] := array[]::text[];
    v_first bigint[] := array[]::bigint[];
    v_until timestamptz := clock_timestamp() + interval '200 ms';
    v_may   boolean;
    v_again boolean;
    v_ids   bigint[];
    v_found int := -1;
    v_n     int;
begin
    -- The index begins with all that was taken since the last VACUUM: that is gone through once.
    v_from := (select h.due_at from trunkline.job_held h
                where h.lane = _job_take_held.lane and h.state = 0 and h.due_at <= (select clock_timestamp())
                order by h.due_at limit 1);
    if v_from is null then
        return;
    end if;
    select * into v_queue from trunkline.job_queue q where q.id = _job_take_held.lane >> 4;
    if v_queue.key_rate_limit = 0 and v_queue.key_max_running = 1 then
        with due as materialized (
            select h.id, h.key, h.expires_at from trunkline.job_held h
             where h.lane = _job_take_held.lane and h.state = 0 and h.due_at between v_from and (select clock_timestamp())
             order by h.due_at, h.id limit most for update skip locked
        ), mine as materialized (
            select d.id, coalesce(d.expires_at > clock_timestamp(), true)
                         and (d.key is null or pg_try_advisory_xact_lock(1953656434, hashtext(v_queue.id || ' ' || d.key))) as may
              from due d)
        select count(*), array_agg(m.id) filter (where m.may) into v_found, v_ids from mine m;
        return query
        with taken as (
            update trunkline.job_held h
               set state = 1, attempt = h.attempt + 1, session = _job_take_held.session, token = _job_take_held.token,
                   begun_at = clock_timestamp(), solo = true, unique_key = case when not h.unique_waiting then h.unique_key end
             where h.id = any (v_ids)
               and (h.key is null
                    or not exists (select from trunkline.job_held r
                                    where r.lane >> 4 = v_queue.id and r.key = h.key and r.state = 1)
                       and not exists (select from trunkline.job_held a
                                        where a.lane >> 4 = v_queue.id and a.key = h.key and a.state in (0, 1, 5)
                                          and a.id < h.id))
            returning h.*)
        select t.* from taken t order by t.due_at, t.id;
        get diagnostics v_n = row_count;
        v_left := v_left - v_n;
    end if;
    while v_left > 0 and v_n is distinct from v_found loop
        v_again := false;
        for v_one in
            select h.id, h.key, h.expires_at from trunkline.job_held h
             where h.lane = _job_take_held.lane and h.state = 0 and h.due_at between v_from and (select clock_timestamp())
               and (h.key is null or h.key <> all (v_shut) or h.id = any (v_first))
             order by h.due_at, h.id limit v_left for update skip locked
        loop
            continue when v_one.key = any (v_shut) and not v_one.id = any (v_first);
            if v_one.expires_at <= clock_timestamp() then
                v_may := case when trunkline._job_drop(v_one.id, lane, v_one.key, 'expired before it began') then false end;
            else
                v_may := case when v_one.key is null then true
                              else trunkline._job_may_begin(v_queue, lane, v_one.id, v_one.key) end;
            end if;
            if v_may is not true then                       -- nothing more of this key, but for those that are first
                v_again := true;
                continue when v_one.key is null;
                v_shut := v_shut || v_one.key;
                v_first := v_first || array(
                    select a.id from trunkline.job_held a
                     where a.lane >> 4 = v_queue.id and a.key = v_one.key and a.state in (0, 1, 5) and a.state <> 1 and not v_may
                     order by a.id limit v_queue.key_max_running);
                exit when clock_timestamp() > v_until;
                continue;
            end if;
            return query
            update trunkline.job_held h
               set state = 1, attempt = h.attempt + 1, session = _job_take_held.session, token = _job_take_held.token,
                   begun_at = clock_timestamp(), solo = v_queue.key_max_running = 1,
                   unique_key = case when not h.unique_waiting then h.unique_key end
             where h.id = v_one.id
            returning h.*;
            v_left := v_left - 1;
            if v_one.key is not null and v_queue.key_rate_limit > 0 then
                perform trunkline._job_begun(v_queue.id, '=' || v_one.key, v_queue.key_rate_period),
                        trunkline._job_begin(v_queue.id, '=' || v_one.key, v_queue.key_rate_period, 1);
            end if;
        end loop;
        exit when not v_again or v_left <= 0 or clock_timestamp() > v_until;    -- what came out of the way has made room
    end loop;
end $$;
