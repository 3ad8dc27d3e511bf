-- Who listens on what: the subscriptions of every session that is here, as its process says; which are active, and since when; of how many
-- gaps each was told.
create or replace function trunkline.topic_subscriptions()
returns table (topics text[], kind text, name text, single boolean, active boolean, fence bigint, since timestamptz, made_at timestamptz,
               session int, address uuid, application text, role text, gaps bigint, gap_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select o.topics, o.kind, o.name, o.single, o.active, o.fence, o.since, o.made_at, s.id, s.address, s.application, s.role,
           o.gaps, o.gap_at
      from trunkline.topic_subscription o
      join trunkline.session s on s.id = o.session
     where trunkline._session_here(s.id, s.pid, s.watched, s.expires_at)
     order by o.topics, o.name, o.active desc, o.since, s.id, o.number;
end $$;
