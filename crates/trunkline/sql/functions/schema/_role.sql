-- The role that acts, also seen from inside a definer function: the one of SET ROLE, else the session's.
create or replace function trunkline._role() returns text
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return coalesce(nullif(current_setting('role', true), 'none'), session_user);
end $$;
