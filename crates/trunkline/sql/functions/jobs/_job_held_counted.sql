-- What the duties counted of the jobs that are held (_job_count_held), while it is in force: where more than 32 MiB are, and for as long as
-- the duties would need to count them twice more. Else null, and who asks counts them himself.
create or replace function trunkline._job_held_counted() returns trunkline.job_held_counted
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if pg_relation_size('trunkline.job_held') < 33554432 then
        return null;
    end if;
    return (select k from trunkline.job_held_counted k
             where k.at > clock_timestamp() - greatest(interval '2 minutes', 40 * k.took));
end $$;
