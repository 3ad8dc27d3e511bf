-- Hands a lease over to a holder, if it is free and its turn: the new fence, with what the predecessor left; else null, and when to
-- look again. In turn: who has `ahead` living ones before it may have a lease that is free for so many seconds, so that nobody
-- overtakes a first one that comes, and one that does not come stops nobody.
-- The fence rises with each hand-over, and above all of earlier epochs. Locks: the expiry row, then the fence row, for which a
-- guard's transaction must end. Waited for only when `patient`; TL008 after a restore.
create or replace function trunkline._lease_take(name text, holder uuid, session int, held_by text, ttl interval, ahead int,
    patient boolean, out fence bigint, out silent_ms bigint, out progress text, out noted_ms bigint,
    out again_ms int)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      trunkline.lease_expiry;
    v_late interval;
begin
    again_ms := 20;
    if patient then
        select * into v from trunkline.lease_expiry e where e.name = _lease_take.name for update;
    else
        select * into v from trunkline.lease_expiry e where e.name = _lease_take.name for update skip locked;
        if not found then
            return;
        end if;
    end if;
    if trunkline._lease_held(v) is distinct from false then
        return;                                            -- somebody came first
    end if;
    v_late := clock_timestamp() - greatest(v.expires_at, v.seen_at) - ahead * interval '1 second';
    if v_late < interval '0' then
        again_ms := ceil(extract(epoch from -v_late) * 1000);
        return;
    end if;
    if patient then
        perform from trunkline.lease l where l.name = _lease_take.name for no key update;
    else
        perform from trunkline.lease l where l.name = _lease_take.name for no key update skip locked;
        if not found then
            return;                                        -- a guard's transaction is open
        end if;
    end if;
    update trunkline.lease l
       set fence = greatest(l.fence + 1, (trunkline._epoch_check() - 1)::bigint << 40), epoch = trunkline._epoch()
     where l.name = _lease_take.name
    returning l.fence into fence;
    update trunkline.lease_expiry e
       set fence = _lease_take.fence, holder = _lease_take.holder, session = _lease_take.session,
           held_by = left(_lease_take.held_by, 100), since = clock_timestamp(), ttl = _lease_take.ttl,
           expires_at = clock_timestamp() + _lease_take.ttl, seen_at = clock_timestamp(), resign_at = null
     where e.name = _lease_take.name;
    again_ms := null;
    if v.fence > 0 then
        silent_ms := extract(epoch from clock_timestamp() - v.seen_at) * 1000;
        progress := v.progress;
        noted_ms := extract(epoch from clock_timestamp() - v.noted_at) * 1000;
    end if;
    delete from trunkline.lease_waiter w where w.holder = _lease_take.holder;
    perform trunkline._lease_tell(_lease_take.name);
end $$;
