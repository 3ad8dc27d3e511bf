-- Holds one job that must wait, is limited or unique: its id; of a unique one that is there already, that one's id. Rings the
-- door. options: see job_push. Exact under any concurrency, by a unique index on what waits or runs, and a row for what is unique
-- for a time: of two pushes with one key the second waits for the first's commit. Errors: those of _job_options.
create or replace function trunkline._job_hold(queue trunkline.job_queue, priority int, content int, payload bytea, kind text,
    key text, unique_key text, due_at timestamptz, max_attempts int, headers text, options jsonb default null) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v         record;
    v_queue   int := queue.id;
    v_lane    int := queue.id * 16 + _job_hold.priority;
    v_unique  text := _job_hold.unique_key;
    v_due     timestamptz := coalesce(_job_hold.due_at, clock_timestamp());
    v_expires timestamptz;
    v_waiting boolean := false;
    v_for     interval;
    v_change  text := 'skip';
    v_id      bigint;
    v_other   bigint;
begin
    if options is not null then
        select * into v from trunkline._job_options(options, v_unique);
        v_expires := greatest(v_due, clock_timestamp()) + v.ttl;
        v_for := v.unique_for; v_waiting := v.unique_while = 'waiting'; v_change := v.on_conflict;
        if v.unique_payload then
            v_unique := 'payload ' || encode(sha256(convert_to(_job_hold.kind, 'UTF8') || decode('00', 'hex')
                || case content when 2 then convert_to(convert_from(_job_hold.payload, 'UTF8')::jsonb::text, 'UTF8')
                                else _job_hold.payload end), 'hex');
        end if;
        if v_for is not null then
            select u.id into v_id from trunkline.job_unique u
             where u.queue = v_queue and u.key = v_unique and u.until > clock_timestamp();
            if found then
                return v_id;
            end if;
        end if;
    end if;
    for v_try in 1 .. 100 loop
        insert into trunkline.job_held (id, lane, due_at, max_attempts, key, unique_key, unique_waiting, expires_at, counted,
                                        content, kind, payload, headers)
        values (nextval('trunkline.log_id_d') * 4 + 2, v_lane, v_due, _job_hold.max_attempts, _job_hold.key, v_unique, v_waiting,
                v_expires, queue.max_length > 0, _job_hold.content, _job_hold.kind, _job_hold.payload, _job_hold.headers)
            on conflict ((lane >> 4), unique_key) where unique_key is not null and state in (0, 1, 5) do nothing
        returning id into v_id;
        if found then
            if v_for is not null then
                insert into trunkline.job_unique as u (queue, key, id, until)
                values (v_queue, v_unique, v_id, clock_timestamp() + v_for)
                    on conflict on constraint job_unique_pkey do update
                       set id = case when u.until > clock_timestamp() then u.id else excluded.id end,
                           until = case when u.until > clock_timestamp() then u.until else excluded.until end
                returning u.id into v_other;
                if v_other <> v_id then                     -- pushed, and over, since we looked
                    delete from trunkline.job_held h where h.id = v_id;
                    return v_other;
                end if;
            end if;
            exit;
        elsif v_change <> 'skip' then
            update trunkline.job_held h
               set lane = v_lane, content = _job_hold.content, kind = _job_hold.kind, payload = _job_hold.payload,
                   headers = _job_hold.headers, max_attempts = _job_hold.max_attempts,
                   due_at = case when v_change = 'debounce' then v_due else h.due_at end,
                   expires_at = case when v_change = 'debounce' then v_expires else greatest(h.due_at, clock_timestamp()) + v.ttl end,
                   state = 0                                -- whose turn comes while we have the row is passed over: _job_promote
             where h.lane >> 4 = v_queue and h.unique_key = v_unique and h.state in (0, 5)
            returning h.id into v_id;
            exit when found;
        end if;
        select h.id into v_id from trunkline.job_held h
         where h.lane >> 4 = v_queue and h.unique_key = v_unique and h.state in (0, 1, 5)
           and (v_change = 'skip' or h.state = 1);
        exit when found;
        -- It ended between the two statements; or this transaction's snapshot cannot see it.
        perform trunkline._check_read_committed('the push of a unique job that another transaction pushed meanwhile');
    end loop;
    perform trunkline._door_ring(-65 - (v_queue & 63));
    return v_id;
end $$;
