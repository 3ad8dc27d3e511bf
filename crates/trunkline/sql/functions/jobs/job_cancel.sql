-- Cancels a job: one that waits never runs; of one that runs the handler is told, within a second, and however it ends it does
-- not come again. What it did: `cancelled`, or `told` for one that runs; null when it had ended. Errors: 22004, TL007.
create or replace function trunkline.job_cancel(id bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_held trunkline.job_held;
    v      record;
begin
    if job_cancel.id is null then
        raise exception 'job id must not be null' using errcode = '22004';
    end if;
    select * into v_held from trunkline.job_held h where h.id = job_cancel.id;
    if v_held.key is not null then                          -- before the row, as _job_take_held: a job's key never changes
        perform pg_advisory_xact_lock(1953656434, hashtext((v_held.lane >> 4) || ' ' || v_held.key));
    end if;
    select * into v_held from trunkline.job_held h where h.id = job_cancel.id for update;
    if v_held.state in (0, 5) then
        update trunkline.job_held h set state = 3, ended_at = clock_timestamp() where h.id = job_cancel.id;
        if v_held.key is not null then
            perform trunkline._job_promote(v_held.lane, v_held.key, true);
        end if;
        perform trunkline._job_tell(array[job_cancel.id]);
        return 'cancelled';
    end if;
    select r.state into v from trunkline.job_show(job_cancel.id) r;
    if v.state not in ('waiting', 'running') then
        return null;
    end if;
    insert into trunkline.job_cancel (id) values (job_cancel.id) on conflict do nothing;
    perform trunkline._job_tell(array[job_cancel.id]);
    return case v.state when 'waiting' then 'cancelled' else 'told' end;
end $$;
