-- Says how many gaps a subscription was told of, of its session's own; false when it is not there, or not yet.
create or replace function trunkline._topic_gapped(session int, number int, gaps bigint) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    update trunkline.topic_subscription o set gaps = _topic_gapped.gaps, gap_at = clock_timestamp()
     where o.session = _topic_gapped.session and o.number = _topic_gapped.number
       and exists (select from trunkline.session s where s.id = o.session and (s.pid = pg_backend_pid() or s.role = trunkline._role()));
    return found;
end $$;
