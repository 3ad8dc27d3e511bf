-- Writes statuses of rows of attached tables that could not be written at once, `most` of those that are due: how many. What still
-- cannot be is due again, within ten seconds while somebody has the row, and within ten minutes after an error.
-- Workers call it while they have nothing to do, and once a second; so does the daemon. Any number at once do not meet.
create or replace function trunkline._job_attached_due(most int) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = on set enable_bitmapscan = on set jit = off as $$
#variable_conflict use_column
declare
    v_one record;
    v_did text;
    v_sum int := 0;
begin
    perform trunkline._check_read_committed('writing statuses of attached tables');
    for v_one in
        select u.* from trunkline.job_unwritten u where u.due_at <= (select clock_timestamp())
         order by u.due_at limit most for update skip locked
    loop
        v_did := trunkline._job_attached_settle(v_one.origin, v_one.origin_row, true);
        if v_did in ('written', 'gone') then
            delete from trunkline.job_unwritten u where u.id = v_one.id;
            v_sum := v_sum + 1;
        else
            update trunkline.job_unwritten u
               set tries = u.tries + 1, error = nullif(v_did, 'locked'),
                   due_at = clock_timestamp() + least(case v_did when 'locked' then interval '10 s' else interval '10 min' end,
                                                      interval '250 ms' * 2 ^ least(u.tries, 20))
             where u.id = v_one.id;
        end if;
    end loop;
    return v_sum;
end $$;
