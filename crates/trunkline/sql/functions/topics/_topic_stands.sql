-- Says of a single subscription that it is the active one from now on, with the fence of its lease, or (null) that it stands by.
create or replace function trunkline._topic_stands(session int, number int, fence bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    update trunkline.topic_subscription o
       set active = _topic_stands.fence is not null, fence = _topic_stands.fence, since = clock_timestamp()
     where o.session = _topic_stands.session and o.number = _topic_stands.number
       and exists (select from trunkline.session s where s.id = o.session and (s.pid = pg_backend_pid() or s.role = trunkline._role()));
end $$;
