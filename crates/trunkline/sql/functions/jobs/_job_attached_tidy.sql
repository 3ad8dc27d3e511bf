-- The duty of attached tables: writes statuses that could not be written at once, and forgets tables that were dropped. How many
-- of both.
create or replace function trunkline._job_attached_tidy() returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_sum int := trunkline._job_attached_due(1000);
    v_id  int;
begin
    for v_id in
        select a.id from trunkline.job_attached a
         where not exists (select from pg_class c where c.oid = a.relation)
           and trunkline._job_attached_home(a.id, a.relation) is null
    loop
        begin
            perform trunkline._job_attached_drop(v_id);
            v_sum := v_sum + 1;
        exception when insufficient_privilege then
            null;                                           -- we may not act as its owner any more
        end;
    end loop;
    return v_sum;
end $$;
