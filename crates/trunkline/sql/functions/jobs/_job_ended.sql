-- Has this attempt at a job ended, as far as this snapshot knows? For engines whose handler ended it in a transaction of its
-- own. id: as in _job_complete_on.
create or replace function trunkline._job_ended(source int, number bigint, token bigint, slot int, id bigint) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
    v_state int;
begin
    if source < 4 then
        select x.state into v_state
          from (select * from trunkline.job_end_e0 e where source = 0 union all select * from trunkline.job_end_e1 e where source = 1
                union all select * from trunkline.job_end_d0 e where source = 2
                union all select * from trunkline.job_end_d1 e where source = 3) x
         where x.slice = number and x.slot = _job_ended.slot;
        if v_state is distinct from 1 then
            return v_state is not null;
        end if;
    end if;
    return not exists (select from trunkline.job_held h where h.id = _job_ended.id and h.token = _job_ended.token);
end $$;
