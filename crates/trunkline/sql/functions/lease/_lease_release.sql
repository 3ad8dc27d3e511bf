-- Releases what a process held, by the numbers of its holders, noting what each says of its progress; and rings who is next. Those
-- that are done, or were not held any more; those that are missing are locked just now.
-- As lease_release. Locks: the expiry rows, which are not waited for; never the fence row, so no guard's transaction either.
create or replace function trunkline._lease_release(names text[], holders uuid[], progress text[]) returns uuid[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      record;
    v_done uuid[];
begin
    perform trunkline._check_read_committed('leases');
    v_done := array(select u.holder from unnest(names, holders) u(name, holder)
                     where not exists (select from trunkline.lease_expiry e where e.name = u.name));
    for v in select u.holder, e.name, e.holder = u.holder as held, u.progress
               from unnest(names, holders, _lease_release.progress) u(name, holder, progress)
               join trunkline.lease_expiry e on e.name = u.name
              order by e.name for update of e skip locked loop
        v_done := v_done || v.holder;
        if v.held then
            update trunkline.lease_expiry e
               set holder = null, session = null, held_by = '', expires_at = '-infinity', seen_at = clock_timestamp(),
                   resign_at = null, progress = coalesce(left(v.progress, 1000), e.progress),
                   noted_at = case when v.progress is null then e.noted_at else clock_timestamp() end
             where e.name = v.name;
            perform trunkline._lease_tell(v.name);
        end if;
    end loop;
    return v_done;
end $$;
