-- Roles and rights, run after every install and upgrade. Nothing is executable by PUBLIC; no table is granted to anyone.
-- The three roles are made when the installer may create roles. When it may not, and they do not exist, the
-- owner alone can use the schema until it grants `trunkline.grant_to` to roles of its own.
do $$
declare
    v_name text;
begin
    foreach v_name in array array['trunkline_reader', 'trunkline_writer', 'trunkline_admin'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_name)
           and exists (select from pg_catalog.pg_roles where rolname = current_user and (rolsuper or rolcreaterole)) then
            begin
                execute format('create role %I nologin', v_name);
            exception when duplicate_object or unique_violation then
                null;                               -- another database's installer made it just now
            end;
        end if;
        if exists (select from pg_catalog.pg_roles where rolname = v_name) then
            perform trunkline.grant_to(v_name::name, replace(v_name, 'trunkline_', ''));
        end if;
    end loop;
end $$;
