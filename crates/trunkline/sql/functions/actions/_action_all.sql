-- What a job_*_all does by its target, or with `dry` would do: how many jobs. Null for another action. Errors: those of the function.
create or replace function trunkline._action_all(action text, target jsonb, dry boolean) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    t record;
begin
    if action not in ('job_retry_all', 'job_cancel_all', 'job_delete_all') then
        return null;
    end if;
    select x.queue, x.state, x.kind, x.key, x.older_than, (target ->> 'payload')::jsonb as payload, x.containing, x.since, x.until, x.cause
      into t from jsonb_to_record(target - 'payload') x (queue text, state text, kind text, key text, older_than interval,
                                                         containing text, since timestamptz, until timestamptz, cause text);
    return case action
        when 'job_retry_all' then trunkline.job_retry_all(t.queue, t.state, t.kind, dry, t.key, t.older_than, t.payload, t.containing,
                                                          t.since, t.until, t.cause)
        when 'job_cancel_all' then trunkline.job_cancel_all(t.queue, t.state, t.kind, dry, t.key, t.older_than, t.payload, t.containing,
                                                            t.since, t.until, t.cause)
        else trunkline.job_delete_all(t.queue, t.state, t.kind, dry, t.key, t.older_than, t.payload, t.containing,
                                      t.since, t.until, t.cause)
    end;
end $$;
