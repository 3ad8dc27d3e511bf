-- Ends what a dead session was handling in a segment: an idempotent request (flag 4) goes out again while time remains, any
-- other ends `lost`. The number ended. Both are one compare-and-set with a late reply of the session, in one transaction.
create or replace function trunkline._request_abandon_e0(session int) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_held record;
    v_won  bigint[];
    v_sum  int := 0;
    v_now  timestamptz := clock_timestamp();
begin
    for v_held in
        select u.id, u.attempt, u.caller, u.corr, u.deadline, r.lane, r.type, r.flags
          from trunkline.take_e0 t
         cross join lateral (
              select a.id, coalesce(a.attempt, 1) as attempt, a.caller, a.corr, a.deadline
                from unnest(t.ids, t.attempts, t.callers, t.corrs, t.deadlines) a(id, attempt, caller, corr, deadline)
               where a.deadline > v_now) u
          join trunkline.request_e0 r on r.id = u.id
         where t.session = _request_abandon_e0.session and t.expires_at > v_now
           and (select 1 from trunkline.ending_e0 e where e.id = u.id and e.attempt = u.attempt and e.part = 0) is null
    loop
        if v_held.flags & 4 <> 0 then
            v_won := trunkline._request_end_e(array[row(v_held.id, v_held.attempt, 0, 0, v_held.corr, 6, 0, null,
                null, null)::trunkline.request_end]);
            if v_won <> '{}' then
                insert into trunkline.again_e (id, attempt, lane, type, expires_at)
                values (v_held.id, v_held.attempt + 1, v_held.lane, v_held.type, v_held.deadline)
                    on conflict do nothing;
                perform trunkline._door_ring(v_held.lane & 63);
            end if;
        else
            v_won := trunkline._request_end_e(array[row(v_held.id, v_held.attempt, 0, v_held.caller, v_held.corr, 5,
                0, 'lost', null, null)::trunkline.request_end]);
        end if;
        v_sum := v_sum + cardinality(v_won);
    end loop;
    return v_sum;
end $$;
