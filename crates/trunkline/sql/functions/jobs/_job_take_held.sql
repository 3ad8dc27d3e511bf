-- Takes jobs of a lane that were held and are due: at most `most`, oldest first, skipping those that others are taking.
-- Of a key one runs at a time, and the oldest first: a job that is not its key's turn waits behind it (state 5) until
-- _job_promote. Decided under the key's advisory lock with a fresh snapshot, and a unique index stands behind it.
-- Of a queue with max_running no more are taken than may run: counted under the queue's advisory lock.
-- Locks: the rows; those keys, to the commit; where somebody holds a key it is passed over.
create or replace function trunkline._job_take_held(session int, lane int, most int, token bigint)
returns setof trunkline.job_held
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_queue  int := lane >> 4;
    v_limit  int := (select q.max_running from trunkline.job_queue q where q.id = _job_take_held.lane >> 4);
    v_left   int := most;
    v_one    record;
    v_behind boolean;
begin
    if not exists (select from trunkline.job_held h
                    where h.lane = _job_take_held.lane and h.state = 0 and h.due_at <= clock_timestamp()) then
        return;
    end if;
    if v_limit > 0 then
        if not pg_try_advisory_xact_lock(1953656433, v_queue) then
            return;
        end if;
        v_left := least(v_left, v_limit - (select count(*)::int from trunkline.job_held h
                                            where h.lane >> 4 = v_queue and h.state = 1));
    end if;
    loop
        v_behind := false;
        for v_one in
            select h.id, h.key from trunkline.job_held h
             where h.lane = _job_take_held.lane and h.state = 0 and h.due_at <= clock_timestamp()
             order by h.due_at, h.id limit greatest(v_left, 0) for update skip locked
        loop
            if v_one.key is not null then
                if not pg_try_advisory_xact_lock(1953656434, hashtext(v_queue || ' ' || v_one.key)) then
                    continue;
                elsif exists (select from trunkline.job_held h where h.lane >> 4 = v_queue and h.key = v_one.key
                                 and h.state in (0, 1, 5) and (h.id < v_one.id or h.state = 1)) then
                    update trunkline.job_held h set state = 5 where h.id = v_one.id;
                    if not exists (select from trunkline.job_held h
                                    where h.lane >> 4 = v_queue and h.key = v_one.key and h.state in (0, 1)) then
                        perform trunkline._job_promote(lane, v_one.key);    -- the one before it waited behind what failed since
                    end if;
                    v_behind := true;
                    continue;
                end if;
            end if;
            return query
            update trunkline.job_held h
               set state = 1, attempt = h.attempt + 1, session = _job_take_held.session, token = _job_take_held.token,
                   begun_at = clock_timestamp()
             where h.id = v_one.id
            returning h.*;
            v_left := v_left - 1;
        end loop;
        exit when not v_behind or v_left <= 0;              -- those that now wait behind their key have made room
    end loop;
end $$;
