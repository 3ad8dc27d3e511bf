-- Takes a slice from its holder: from now on no part of it is accepted. Which of its jobs had not ended: the caller must move
-- them on in this same transaction. Nothing when it had ended, or was closed. Locks: none beyond the insert.
create or replace function trunkline._job_close_e0(slice bigint) returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_last record;
begin
    loop
        select d.part, d.closed or d.slots is null as over into v_last from trunkline.job_done_e0 d
         where d.slice = _job_close_e0.slice order by d.part desc limit 1;
        if v_last.over then
            return array[]::int[];
        end if;
        insert into trunkline.job_done_e0 (slice, part, closed, slots)
        values (_job_close_e0.slice, coalesce(v_last.part, 0) + 1, true, '') on conflict do nothing;
        exit when found;
        perform trunkline._check_read_committed('closing a slice');
    end loop;
    return trunkline._job_open_slots_e0(slice);
end $$;
