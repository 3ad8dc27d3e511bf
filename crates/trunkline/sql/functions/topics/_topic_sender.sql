-- The address of this connection's session, if it has one.
create or replace function trunkline._topic_sender() returns uuid
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    return (select s.address from trunkline.session s
             where s.id = nullif(current_setting('trunkline.session', true), '')::int and s.pid = pg_backend_pid());
end $$;
