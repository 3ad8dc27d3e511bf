-- Gives back what a take handed out whose answer never arrived, because the connection broke: nobody has seen it, so it goes
-- out again as the same attempt, idempotent or not. Nothing when there is no such take, or it was answered.
-- Locks: the session's key, exclusive, so that a take of the old connection that is still under way is waited for; one that
-- begins later finds another connection's pid in the session.
create or replace function trunkline._request_return_e(session int, token bigint) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_take record;
    v_sum  int := 0;
    v_one  int;
begin
    perform pg_advisory_xact_lock(1953656431, session);
    for v_take in
        select t.id, t.lane
          from (select * from trunkline.take_e0 union all select * from trunkline.take_e1) t
         where t.session = _request_return_e.session and t.token = _request_return_e.token
           and exists (select from trunkline.session s where s.id = t.session
                          and (s.pid = pg_backend_pid() or not s.watched and s.role = trunkline._role()))
    loop
        insert into trunkline.again_e (id, attempt, lane, type, expires_at)
        select u.id, coalesce(u.attempt, 1), r.lane, r.type, r.expires_at
          from (select * from trunkline.take_e0 union all select * from trunkline.take_e1) t
         cross join lateral unnest(t.ids, t.attempts) u(id, attempt)
          join (select * from trunkline.request_e0 union all select * from trunkline.request_e1) r on r.id = u.id
         where t.id = v_take.id
           and not exists (select from (select * from trunkline.ending_e0 union all select * from trunkline.ending_e1) e
                            where e.id = u.id and e.attempt = coalesce(u.attempt, 1) and e.part = 0)
            on conflict do nothing;
        get diagnostics v_one = row_count;
        v_sum := v_sum + v_one;
        update trunkline.take_e0 t set ids = array_fill(null::bigint, array[cardinality(t.ids)]) where t.id = v_take.id;
        update trunkline.take_e1 t set ids = array_fill(null::bigint, array[cardinality(t.ids)]) where t.id = v_take.id;
        perform trunkline._door_ring(v_take.lane & 63);
    end loop;
    return v_sum;
end $$;
