-- Looks after what a process wants of leases: for each, by its number in the arrays, the fence and what the predecessor left where
-- it holds it now; else null, and in how many ms to look again. One that waits is noted in its queue. The same holder again gets the
-- same answer.
-- While a lease is held this reads only; `vigil`: first or second, to be told by _lease_vigil, or else to look in again_ms.
-- Ripe: there may be something to take soon. A process at rest, which is heard of too seldom to hold anything, takes nothing.
-- ttls: in ms. Errors: those of _lease_make, 22023 for a ttl; 55P03 when something is locked, to be tried again. Locks: see _lease_take.
create or replace function trunkline._lease_look(session int, names text[], holders uuid[], held_by text[], ttls int[],
    waits boolean[])
returns table (n int, fence bigint, silent_ms bigint, progress text, noted_ms bigint, again_ms int, ripe boolean, vigil boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set lock_timeout = '50ms' as $$
#variable_conflict use_column
declare
    v       record;
    v_lease trunkline.lease_expiry;
    v_held  boolean;
    v_ahead int;
    v_rests boolean := exists (select from trunkline.session s where s.id = session and s.rests
                                  and s.expires_at > clock_timestamp() + interval '10 seconds');
begin
    perform trunkline._check_read_committed('leases');
    for v in select u.n::int, u.name, u.holder, u.held_by, u.ttl * interval '1 ms' as ttl, u.waits, w.seq, w.session
               from unnest(names, holders, _lease_look.held_by, ttls, _lease_look.waits) with ordinality
                        u(name, holder, held_by, ttl, waits, n)
               left join trunkline.lease_waiter w on w.holder = u.holder
              order by u.name, u.n loop
        n := v.n;
        fence := null; silent_ms := null; progress := null; noted_ms := null; again_ms := null;
        ripe := v.waits; vigil := false;
        select * into v_lease from trunkline.lease_expiry e where e.name = v.name;
        if not found then
            perform trunkline._check_ttl(v.ttl), trunkline._lease_make(v.name, true);
            select * into v_lease from trunkline.lease_expiry e where e.name = v.name;
        end if;
        v_held := trunkline._lease_held(v_lease);
        if v_held and v_lease.holder = v.holder then       -- an answer got lost; it counts on this one from now on
            update trunkline.lease_expiry e
               set expires_at = clock_timestamp() + e.ttl, seen_at = clock_timestamp(), session = _lease_look.session
             where e.name = v.name and e.holder = v.holder and e.expires_at > clock_timestamp()
            returning e.fence, e.progress, extract(epoch from clock_timestamp() - e.noted_at) * 1000 into fence, progress, noted_ms;
            ripe := v.waits;
            again_ms := case when fence is null then 20 end;
            return next;
            continue;
        end if;
        if v.waits and v.seq is null then
            perform trunkline._check_ttl(v.ttl);
            insert into trunkline.lease_waiter as w (holder, name, session, held_by)
            values (v.holder, v.name, _lease_look.session, left(v.held_by, 100)) returning w.seq into v.seq;
        elsif v.waits and v.session <> _lease_look.session then
            update trunkline.lease_waiter w set session = _lease_look.session where w.holder = v.holder;
        end if;
        v_ahead := trunkline._lease_ahead(v.name, v.seq);
        if v_held is null then
            perform trunkline._lease_notice(v.name, v_lease.session);
            again_ms := 251;
        elsif v_held then
            ripe := false;
            vigil := v.waits and v_ahead < 2;
            again_ms := case v_ahead when 0 then least(400, ceil(extract(epoch from v_lease.expires_at - clock_timestamp()) * 1000) + 1)
                                     when 1 then 2000 else 15000 end;
        elsif v_rests then
            ripe := true;
            again_ms := 0;
        else
            select t.fence, t.silent_ms, t.progress, t.noted_ms, t.again_ms into fence, silent_ms, progress, noted_ms, again_ms
              from trunkline._lease_take(v.name, v.holder, _lease_look.session, v.held_by, v.ttl, v_ahead, false) t;
        end if;
        return next;
    end loop;
end $$;
