-- Says "still here": null when the session was reaped, so that its owner opens a new one and drops its claims; else the
-- segments in use, as bits: 1 of the ephemeral ring, 2 of the durable one.
-- Rests: it has nothing in hand. Whoever has again rings for those who watch; its connection ends sooner when it is silent.
create or replace function trunkline._session_renew(session int, lease interval, rests boolean default false) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_rested boolean := (select s.rests from trunkline.session s where s.id = _session_renew.session);
begin
    update trunkline.session s set expires_at = clock_timestamp() + lease, rests = _session_renew.rests
     where s.id = _session_renew.session and (s.pid = pg_backend_pid() or not s.watched and s.role = trunkline._role());
    if not found then
        return null;
    end if;
    if v_rested <> rests then
        perform set_config('idle_session_timeout', case when rests then '100s' else '5s' end, false);
        perform case when not rests then trunkline._door_ring(-130) end;
    end if;
    return (select sum(r.current * case r.name when 'request_e' then 1 else 2 end) from trunkline.ring r);
end $$;
