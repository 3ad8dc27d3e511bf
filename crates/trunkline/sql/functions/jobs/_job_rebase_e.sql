-- Moves every job of the ring that has not ended to where jobs are held, and empties the ring, for a new epoch: stored snapshots
-- of another cluster mean nothing here. What ran comes again, this attempt counted. Locks: the ring's tables.
create or replace function trunkline._job_rebase_e() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    delete from trunkline.job_counted;
    lock table trunkline.job_e0, trunkline.job_slice_e0, trunkline.job_done_e0, trunkline.job_end_e0,
               trunkline.job_e1, trunkline.job_slice_e1, trunkline.job_done_e1, trunkline.job_end_e1 in access exclusive mode;
    insert into trunkline.job_held (id, lane, state, due_at, attempt, max_attempts, ended_at, at, content, kind, payload, headers,
                                    errors)
    select r.id, r.lane, case r.state when 'cancelled' then 3 else 0 end, r.at, r.attempt, r.max_attempts, r.ended_at, r.at,
           r.content::smallint, r.kind, r.payload, r.headers,
           trunkline._job_errors('[]', r.attempt, case r.state when 'running' then 'the database was restored meanwhile' end)
      from (select * from trunkline._job_rows_e0(null, null) union all select * from trunkline._job_rows_e1(null, null)) r
     where r.state in ('waiting', 'running', 'cancelled')
        on conflict (id) do nothing;
    truncate trunkline.job_e0, trunkline.job_slice_e0, trunkline.job_done_e0, trunkline.job_end_e0,
             trunkline.job_e1, trunkline.job_slice_e1, trunkline.job_done_e1, trunkline.job_end_e1;
end $$;
