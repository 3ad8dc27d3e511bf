-- Which table an attachment has now: the one that has its trigger, `known` unless the database was restored. Null when it is
-- gone. Runs with its caller's rights, as all that is about an attached table.
create or replace function trunkline._job_attached_home(attachment int, known oid) returns oid
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_fire oid := to_regprocedure(format('trunkline._job_attached_fire_%s()', attachment));
begin
    if exists (select from pg_trigger t where t.tgrelid = known and t.tgfoid = v_fire and t.tgparentid = 0) then
        return known;
    end if;
    return (select t.tgrelid from pg_trigger t where t.tgfoid = v_fire and t.tgparentid = 0 order by t.oid limit 1);
end $$;
