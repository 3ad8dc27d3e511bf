-- Says "still here": null when the session was reaped, so that its owner opens a new one and drops its claims; else the
-- segments in use, as bits: 1 of the ephemeral ring, 2 of the durable one.
-- Rests: it need not be watched: it has nothing in hand, or leases only. Whoever is to be watched again rings for those who do.
-- queues, jobs: which queues it works on, and how many jobs it has in hand; null is left as it was.
-- Where others go by its connection, that ends soon after the lease when it is silent.
create or replace function trunkline._session_renew(session int, lease interval, rests boolean default false,
                                                    queues text[] default null, jobs int default null) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_idle    text := case when lease > interval '10 seconds' then '100s' else '5s' end;
    v_rested  boolean := (select s.rests from trunkline.session s where s.id = _session_renew.session);
    v_watched boolean;
begin
    update trunkline.session s
       set expires_at = clock_timestamp() + lease, seen_at = clock_timestamp(), rests = _session_renew.rests,
           queues = coalesce(_session_renew.queues[1:50], s.queues), jobs = coalesce(_session_renew.jobs, s.jobs)
     where s.id = _session_renew.session and (s.pid = pg_backend_pid() or not s.watched and s.role = trunkline._role())
    returning s.watched into v_watched;
    if not found then
        return null;
    end if;
    if v_watched and current_setting('idle_session_timeout') <> v_idle then
        perform set_config('idle_session_timeout', v_idle, false);
    end if;
    if v_rested and not rests then
        perform trunkline._door_ring(-130);
    end if;
    return (select sum(r.current * case r.name when 'request_e' then 1 else 2 end) from trunkline.ring r);
end $$;
