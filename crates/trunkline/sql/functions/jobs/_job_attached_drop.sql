-- Forgets an attached table: its triggers, its functions, and what was still to be written to it. Locks: the table, if it is there.
create or replace function trunkline._job_attached_drop(attachment int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_home oid := (select trunkline._job_attached_home(a.id, a.relation) from trunkline.job_attached a where a.id = attachment);
    v_name text;
begin
    if v_home is not null then
        v_name := trunkline._job_attached_name(v_home, false);
        execute format('drop trigger if exists trunkline_job_insert on %s', v_name);
        execute format('drop trigger if exists trunkline_job_update on %s', v_name);
    end if;
    execute format('drop function if exists trunkline._job_attached_fire_%1$s(), trunkline._job_attached_scan_%1$s(),
                    trunkline._job_attached_write_%1$s(oid, jsonb, text, boolean),
                    trunkline._job_attached_push_%1$s(jsonb, int, bytea, text)', attachment);
    delete from trunkline.job_unwritten u where u.origin = attachment;
    delete from trunkline.job_attached a where a.id = attachment;
end $$;
