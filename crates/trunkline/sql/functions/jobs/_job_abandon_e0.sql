-- Hands on what a dead session was working on in a segment: each job that had not ended comes again, this attempt counted; the
-- last one is dead. Of its slices after `past`, the next `most`: the id of the last one looked at, `past` when there are none.
-- `lost`: nobody has seen them, their answer never arrived; they come again as the same attempt.
-- One transaction closes a slice and moves its jobs; so a late answer of the session is refused as a whole, and never half.
create or replace function trunkline._job_abandon_e0(session int, past bigint, most int, lost bigint default null) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_slice record;
    v_open  int[];
    v_last  bigint := past;
begin
    for v_slice in
        select s.id, s.token from trunkline.job_slice_e0 s
         where s.session = _job_abandon_e0.session and s.id > _job_abandon_e0.past
           and (lost is null or s.token = lost)
         order by s.id limit most
    loop
        v_last := v_slice.id;
        v_open := trunkline._job_close_e0(v_slice.id);
        if v_open <> '{}' then
            perform trunkline._job_leave_e0(
                array_agg(v_slice.id), array_agg(v_slice.token), array_agg(u.slot), array_agg(0), array_agg(0::bigint),
                array_agg(case when lost is null then 1 else 0 end),
                array_agg(case when lost is null then 'the worker''s process ended, or was cut off' end))
               from unnest(v_open) u(slot);
        end if;
    end loop;
    return v_last;
end $$;
