-- Is this attempt at a job still its caller's, as far as this snapshot knows: neither ended nor handed on? Arguments as
-- _job_complete_on.
create or replace function trunkline._job_owns(source int, number bigint, token bigint, slot int, id bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_slice record;
begin
    if source < 4 then
        select s.ids into v_slice
          from (select * from trunkline.job_slice_e0 s where source = 0 union all select * from trunkline.job_slice_e1 s where source = 1
                union all select * from trunkline.job_slice_d0 s where source = 2
                union all select * from trunkline.job_slice_d1 s where source = 3) s
         where s.id = _job_owns.number and s.token = _job_owns.token;
        if v_slice.ids[slot] = id and slot = any (case source
                when 0 then trunkline._job_open_slots_e0(number) when 1 then trunkline._job_open_slots_e1(number)
                when 2 then trunkline._job_open_slots_d0(number) else trunkline._job_open_slots_d1(number) end) then
            return true;
        end if;
    end if;
    return exists (select from trunkline.job_held h where h.id = _job_owns.id and h.token = _job_owns.token);
end $$;
