-- Says that a session listens: what its reader begins with, a snapshot that sees all that was published before this call. Again with
-- the same number, it changes what is said. Errors: 22004, 22023 for topics of which there are none or over 1000.
create or replace function trunkline._topic_subscribe(session int, number int, topics text[], kind text, name text, single boolean,
                                                      out seen pg_snapshot, out at timestamptz,
                                                      out incarnation bigint, out empties bigint)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if topics is null or cardinality(topics) not between 1 and 1000 then
        raise exception 'a subscription has 1 to 1000 topics, got %', coalesce(cardinality(topics), 0) using errcode = '22023';
    end if;
    if not exists (select from trunkline.topic_ring) then
        perform trunkline._topic_begin();
    end if;
    at := clock_timestamp();                   -- before the snapshot: what that does not see was committed later
    select pg_current_snapshot(), r.incarnation, r.empties into seen, incarnation, empties
      from trunkline.topic_ring r;
    if exists (select from trunkline.session s where s.id = session and (s.pid = pg_backend_pid() or s.role = trunkline._role())) then
        insert into trunkline.topic_subscription as o (session, number, topics, kind, name, single, active)
        values (session, number, topics, kind, name, single, not single)
        on conflict on constraint topic_subscription_pkey do update
            set topics = excluded.topics, kind = excluded.kind, name = excluded.name, single = excluded.single;
    end if;
end $$;
