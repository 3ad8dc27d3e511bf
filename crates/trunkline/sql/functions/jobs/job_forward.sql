-- For tests: moves the clock of jobs forward. All that waits for a time, of one queue or of all, comes due as if so much
-- time had passed; workers are woken. How many were moved. Nothing else is older for it: not what is kept, nor what runs.
-- Errors: 22004, 22023; 42704 no such queue. Locks: the rows.
create or replace function trunkline.job_forward(by interval, queue text default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_queue int := case when queue is not null then (trunkline._job_named(queue)).id end;
    v_by    interval := trunkline._job_ms('by', by) * interval '1 ms';
    v_doors int[];
    v_count bigint;
begin
    if v_by is null then
        raise exception 'by must not be null' using errcode = '22004';
    end if;
    with moved as (
        update trunkline.job_held h set due_at = h.due_at - v_by
         where h.state = 0 and h.due_at > clock_timestamp() and (v_queue is null or h.lane >> 4 = v_queue)
        returning h.lane)
    select count(*), array_agg(distinct -65 - (m.lane >> 4 & 63)) into v_count, v_doors from moved m;
    perform trunkline._door_ring(d) from unnest(v_doors) d;
    return v_count;
end $$;
