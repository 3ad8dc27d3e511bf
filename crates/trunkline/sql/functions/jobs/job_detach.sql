-- Makes no more jobs of a table's rows. Those that wait or run go on, and are not written back any more. Errors: 22004; 42501 for
-- who does not own the table; 42704 when it is not attached. Locks: the table, to the commit.
create or replace function trunkline.job_detach(relation regclass) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_id int;
begin
    if job_detach.relation is null then
        raise exception 'table must not be null' using errcode = '22004';
    elsif not coalesce((select pg_has_role(trunkline._role()::name, c.relowner, 'member') from pg_class c
                         where c.oid = job_detach.relation), true) then
        raise exception 'must be owner of table %', job_detach.relation using errcode = '42501';
    end if;
    select a.id into v_id from trunkline.job_attached a
     where trunkline._job_attached_home(a.id, a.relation) = job_detach.relation limit 1;
    if v_id is null then
        raise exception 'table % is not attached', job_detach.relation using errcode = '42704';
    end if;
    perform trunkline._job_attached_drop(v_id);
end $$;
