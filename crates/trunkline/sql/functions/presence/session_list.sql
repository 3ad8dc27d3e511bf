-- The sessions of processes, the oldest first: who each is, by which version of the library, whether it is still here, which
-- channels it serves, which queues it works on and how many jobs it has in hand, as its last sign of life told (of one that tells
-- nothing, as plain SQL: how many that are held), which consumers' batches, and what it listens to. host: null for a local one,
-- and where the owner may not see it.
create or replace function trunkline.session_list()
returns table (id int, address text, application text, role text, pid int, host text, opened_at timestamptz, expires_at timestamptz,
               alive boolean, watched boolean, serves text[], jobs bigint, batches text[],
               version text, queues text[], listens text[], seen_at timestamptz)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with hands as materialized (
        select h.session, array_agg(distinct s.name || '/' || c.name order by s.name || '/' || c.name) as batches
          from trunkline.stream_consumer c
          join trunkline.stream s on s.id = c.stream
         cross join lateral trunkline._stream_in_hand(c.id) h
         where h.many > 0
         group by h.session)
    select s.id, '@' || s.address, s.application, s.role, s.pid, host(a.client_addr), s.opened_at, s.expires_at,
           trunkline._session_alive(s.id), s.watched,
           array(select distinct c.name from trunkline.responder r join trunkline.request_channel c on c.id = r.channel
                  where r.session = s.id order by c.name),
           coalesce(s.jobs, (select count(*) from trunkline.job_held j where j.session = s.id and j.state = 1)), coalesce(h.batches, '{}'),
           s.version, coalesce(s.queues, '{}'),
           array(select distinct t.name from trunkline.topic_subscription u cross join lateral unnest(u.topics) t (name)
                  where u.session = s.id order by t.name limit 50),
           s.seen_at
      from trunkline.session s
      left join hands h on h.session = s.id
      left join pg_stat_activity a on a.pid = s.pid
     order by s.id;
end $$;
