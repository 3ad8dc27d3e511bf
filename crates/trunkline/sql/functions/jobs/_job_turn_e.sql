-- Turns the job ring: empties the segment that nobody needs any more, and lets writers move on to an empty one. What keeps a
-- segment for longer than `patience` is moved to where jobs are held: what waits, and what runs.
-- ACCESS EXCLUSIVE is waited for 50 ms at most; an open writer just postpones it.
-- Before that it counts, where much came: see job_counted.
-- What it did: 'turned', 'emptied', 'moved', 'busy' or null. Locks: the ring row, then the segment's tables.
create or replace function trunkline._job_turn_e(full_bytes bigint, patience interval) returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set lock_timeout = '50ms' as $$
#variable_conflict use_column
declare
    v_ring trunkline.ring;
    v_size bigint[];
    v_sum  bigint := 0;
begin
    perform trunkline._check_read_committed('maintain');
    perform trunkline._job_count_e0(), trunkline._job_count_e1();
    select * into v_ring from trunkline.ring where name = 'job_e' for update;
    v_size := array(
        select sum(pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0))::bigint
          from (values (0, array['trunkline.job_e0', 'trunkline.job_slice_e0', 'trunkline.job_done_e0', 'trunkline.job_end_e0']
                           ::regclass[]),
                       (1, array['trunkline.job_e1', 'trunkline.job_slice_e1', 'trunkline.job_done_e1', 'trunkline.job_end_e1']))
               t(segment, tables)
          join pg_class c on c.oid = any (t.tables)
         group by t.segment order by t.segment);
    if v_size[2 - v_ring.current] = 0 then
        if v_size[1 + v_ring.current] < full_bytes then
            return null;
        end if;
        update trunkline.ring set current = 1 - current, turned_at = now() where name = 'job_e';
        return 'turned';
    elsif v_ring.turned_at > clock_timestamp() - least(patience, interval '10 seconds') then
        return null;                                        -- renewals tell writers, within seconds
    elsif v_ring.turned_at < clock_timestamp() - patience then
        select sum(case when v_ring.current = 1 then trunkline._job_spill_e0(l, 10000) else trunkline._job_spill_e1(l, 10000) end)
          into v_sum
          from unnest(case when v_ring.current = 1 then trunkline._job_untaken_e0() else trunkline._job_untaken_e1() end) l;
        v_sum := coalesce(v_sum, 0)
            + case when v_ring.current = 1 then trunkline._job_carry_e0() else trunkline._job_carry_e1() end;
    end if;
    if v_ring.current = 1 and trunkline._job_empty_e0() or v_ring.current = 0 and trunkline._job_empty_e1() then
        return 'emptied';
    end if;
    return case when v_sum > 0 then 'moved' end;
exception when lock_not_available then
    return 'busy';
end $$;
