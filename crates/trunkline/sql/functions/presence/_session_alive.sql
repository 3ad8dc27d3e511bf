-- Is this session still here? See _session_here.
create or replace function trunkline._session_alive(session int) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return exists (select from trunkline.session s
                    where s.id = session and trunkline._session_here(s.id, s.pid, s.watched, s.expires_at));
end $$;
