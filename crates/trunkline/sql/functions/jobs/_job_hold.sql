-- Holds one job that must wait, or is unique: its id; of a unique one that is there already, that one's id. Rings the door.
-- Exact under any concurrency, by a unique index: of two pushes with one key the second waits for the first's commit.
create or replace function trunkline._job_hold(lane int, content int, payload bytea, kind text, key text, unique_key text,
    due_at timestamptz, max_attempts int, headers text) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id bigint;
begin
    for v_try in 1 .. 100 loop
        insert into trunkline.job_held (id, lane, due_at, max_attempts, key, unique_key, content, kind, payload, headers)
        values (nextval('trunkline.log_id_d') * 4 + 2, _job_hold.lane, coalesce(_job_hold.due_at, clock_timestamp()),
                _job_hold.max_attempts, _job_hold.key, _job_hold.unique_key, _job_hold.content, _job_hold.kind,
                _job_hold.payload, _job_hold.headers)
            on conflict ((lane >> 4), unique_key) where unique_key is not null and state in (0, 1, 5) do nothing
        returning id into v_id;
        exit when found;
        select h.id into v_id from trunkline.job_held h
         where h.lane >> 4 = _job_hold.lane >> 4 and h.unique_key = _job_hold.unique_key and h.state in (0, 1, 5);
        exit when found;
        -- It ended between the two statements; or this transaction's snapshot cannot see it.
        perform trunkline._check_read_committed('the push of a unique job that another transaction pushed meanwhile');
    end loop;
    perform trunkline._door_ring(-65 - (_job_hold.lane >> 4 & 63));
    return v_id;
end $$;
