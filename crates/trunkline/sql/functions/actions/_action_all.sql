-- What a job_*_all does by its target, or with `dry` would do: how many jobs. Null for another action. Errors: those of the function.
create or replace function trunkline._action_all(action text, target jsonb, dry boolean) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_older   interval := (target ->> 'older_than')::interval;
    v_payload jsonb := (target ->> 'payload')::jsonb;
begin
    return case action
        when 'job_retry_all' then trunkline.job_retry_all(target ->> 'queue', target ->> 'state', target ->> 'kind', dry, target ->> 'key',
                                                          v_older, v_payload)
        when 'job_cancel_all' then trunkline.job_cancel_all(target ->> 'queue', target ->> 'state', target ->> 'kind', dry,
                                                            target ->> 'key', v_older, v_payload)
        when 'job_delete_all' then trunkline.job_delete_all(target ->> 'queue', target ->> 'state', target ->> 'kind', dry,
                                                            target ->> 'key', v_older, v_payload)
    end;
end $$;
