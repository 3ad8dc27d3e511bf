-- Ends what a dead session was handling: an idempotent request (flag 4) goes out again while time remains, any other
-- ends `lost`. The number ended. Both are one compare-and-set with a late reply of the session, in one transaction.
create or replace function trunkline._request_abandon_e(session int) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_held record;
    v_won  bigint[];
    v_sum  int := 0;
    v_now  timestamptz := clock_timestamp();
begin
    for v_held in
        select t.lane, u.id, u.attempt, u.caller, u.corr, u.deadline,
               (select r.flags from (select id, flags from trunkline.request_e0 union all
                                     select id, flags from trunkline.request_e1) r where r.id = u.id) as f
          from (select * from trunkline.take_e0 union all select * from trunkline.take_e1) t
          cross join lateral (
              select a.id, coalesce(a.attempt, 1) as attempt, a.caller, a.corr, a.deadline
                from unnest(t.ids, t.attempts, t.callers, t.corrs, t.deadlines) a(id, attempt, caller, corr, deadline)) u
         where t.session = _request_abandon_e.session and u.deadline > v_now
           and not exists (select from (select id, attempt, part from trunkline.ending_e0
                                        union all select id, attempt, part from trunkline.ending_e1) e
                            where e.id = u.id and e.attempt = u.attempt and e.part = 0)
    loop
        if v_held.f & 4 <> 0 then
            v_won := trunkline._request_end_e(array[row(v_held.id, v_held.attempt, 0, 0, v_held.corr, 6, 0, null,
                null, null)::trunkline.request_end]);
            if v_won <> '{}' then
                insert into trunkline.again_e (id, attempt, lane, type, expires_at)
                select r.id, v_held.attempt + 1, r.lane, r.type, r.expires_at
                  from (select * from trunkline.request_e0 union all select * from trunkline.request_e1) r
                 where r.id = v_held.id
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
