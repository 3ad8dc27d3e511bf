-- Empties a segment of the job ring when every job in it was taken and has ended, or went to where jobs are held. False when
-- not. Looked at before the lock; behind it only for what came between: jobs, and slices of them.
-- Locks: the segment's tables, ACCESS EXCLUSIVE, in the order in which takers lock them.
create or replace function trunkline._job_empty_e0() returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_slices bigint := (select count(*) from trunkline.job_slice_e0);
    v_open   boolean;
begin
    if trunkline._job_untaken_e0() <> '{}' then
        return false;
    end if;
    with unended as materialized (                          -- so that the function is asked of few
        select s.id from trunkline.job_slice_e0 s
         where s.ids <> '{}'
           and not exists (select from trunkline.job_done_e0 d where d.slice = s.id and (d.closed or d.slots is null)))
    select exists (select from unended u where trunkline._job_open_slots_e0(u.id) <> '{}') into v_open;
    if v_open then
        return false;
    end if;
    lock table trunkline.job_e0, trunkline.job_slice_e0, trunkline.job_done_e0, trunkline.job_end_e0 in access exclusive mode;
    if trunkline._job_untaken_e0() <> '{}' or (select count(*) from trunkline.job_slice_e0) <> v_slices then
        return false;
    end if;
    delete from trunkline.job_cancel c
     where c.id & 3 = case right('job_e0', 2) when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end
       and exists (select from trunkline.job_e0 j where j.id = c.id)
       and not exists (select from trunkline.job_held h where h.id = c.id and h.state in (0, 1, 5));
    delete from trunkline.job_progress p
     where p.id & 3 = case right('job_e0', 2) when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end
       and not exists (select from trunkline.job_held h where h.id = p.id);
    truncate trunkline.job_e0, trunkline.job_slice_e0, trunkline.job_done_e0, trunkline.job_end_e0;
    return true;
end $$;
