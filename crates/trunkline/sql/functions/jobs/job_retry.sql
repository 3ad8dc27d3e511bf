-- Makes a job that is dead, cancelled, or waits for its time or its next attempt run now; a dead or cancelled one has all of its
-- attempts again, and keeps its errors. False for one that runs, is done, or could run already.
-- Errors: 22004, TL007; 42710 when a job with its unique_key is there meanwhile. Locks: the row.
create or replace function trunkline.job_retry(id bigint) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_lane int;
begin
    if job_retry.id is null then
        raise exception 'job id must not be null' using errcode = '22004';
    end if;
    update trunkline.job_held h
       set state = 0, due_at = clock_timestamp(), ended_at = null, attempt = case when h.state = 0 then h.attempt else 0 end
     where h.id = job_retry.id and (h.state in (2, 3) or h.state = 0 and h.due_at > clock_timestamp())
    returning h.lane into v_lane;
    if v_lane is null then                                 -- cancelled in the ring, and not taken since
        select r.lane into v_lane from trunkline._job_rows(job_retry.id, null) r where r.state = 'cancelled';
    end if;
    if v_lane is null then
        perform trunkline.job_show(job_retry.id);
        return false;
    end if;
    delete from trunkline.job_cancel c where c.id = job_retry.id;
    perform trunkline._door_ring(-65 - (v_lane >> 4 & 63));
    return true;
exception when unique_violation then
    raise exception 'job % cannot come again: another one with its unique_key waits or runs', job_retry.id using errcode = '42710';
end $$;
