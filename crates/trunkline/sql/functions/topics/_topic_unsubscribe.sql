-- Says that a session no longer listens under these numbers.
create or replace function trunkline._topic_unsubscribe(session int, numbers int[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    delete from trunkline.topic_subscription o
     where o.session = _topic_unsubscribe.session and o.number = any (numbers)
       and exists (select from trunkline.session s where s.id = o.session and (s.pid = pg_backend_pid() or s.role = trunkline._role()));
end $$;
