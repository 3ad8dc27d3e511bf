-- Triggers on held jobs, for those of attached tables: other jobs pay for a look at a column that is null.
-- Made once, so that a new installation of functions waits for no worker.
do $$
begin
    if not exists (select from pg_catalog.pg_trigger t
                    where t.tgrelid = 'trunkline.job_held'::regclass and t.tgname = 'job_held_changed') then
        create trigger job_held_again before update of state on trunkline.job_held for each row
            when (new.origin is not null and old.state = 1 and new.state = 0)
            execute function trunkline._job_attached_again();
        create trigger job_held_changed after update of state on trunkline.job_held for each row
            when (new.origin is not null and new.state is distinct from old.state)
            execute function trunkline._job_attached_changed();
    end if;
end $$;
