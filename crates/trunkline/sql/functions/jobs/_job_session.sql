-- Refuses a session that is not this connection's own (TL001): nobody takes or ends in another's name.
create or replace function trunkline._job_session(session int) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform from trunkline.session s
      where s.id = _job_session.session
        and (s.pid = pg_backend_pid() or not s.watched and s.role = trunkline._role());
    if not found then
        raise exception 'session % is over, or another connection''s', session using errcode = 'TL001';
    end if;
end $$;
