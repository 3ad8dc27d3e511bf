-- Pushes once more what was pushed as this job: its queue, payload, kind, key, priority and headers; the new id.
-- Errors: 22004, TL007, those of job_push.
create or replace function trunkline._action_copy(id bigint) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v record;
begin
    select * into v from trunkline.job_show(_action_copy.id);
    return case when v.payload is not null
        then trunkline.job_push(v.queue, v.payload, v.kind, v.key, priority => v.priority, headers => v.headers)
        else trunkline.job_push_bytes(v.queue, v.bytes, v.kind, v.key, priority => v.priority, headers => v.headers) end;
end $$;
