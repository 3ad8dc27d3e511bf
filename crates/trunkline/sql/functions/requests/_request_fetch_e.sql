-- The endings and parts for one caller's session that came after `since`, as one row of arrays, and the next `since`.
-- ids is null when there are none. Reads its own window, so it locks nothing and writes nothing.
create or replace function trunkline._request_fetch_e(session int, since pg_snapshot, out ids bigint[],
    out corrs bigint[], out attempts int[], out parts int[], out statuses smallint[], out contents smallint[],
    out codes text[], out payloads bytea[], out headers text[], out seen pg_snapshot)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_from xid8 := pg_snapshot_xmax(since);
    v_late xid8[] := array(select pg_snapshot_xip(since));
begin
    if not exists (select from trunkline.session s where s.id = session
                      and (s.pid = pg_backend_pid() or s.role = trunkline._role())) then
        seen := since;                  -- gone, or another role's
        return;
    end if;
    if v_late = '{}' then
        select array_agg(q.id), array_agg(q.corr), array_agg(q.attempt), array_agg(q.part), array_agg(q.status),
               array_agg(q.content), array_agg(q.code), array_agg(q.payload), array_agg(q.headers), pg_current_snapshot()
          into ids, corrs, attempts, parts, statuses, contents, codes, payloads, headers, seen
          from (
            select e.* from trunkline.ending_e0 e where e.caller = session and e.xid >= v_from
            union all
            select e.* from trunkline.ending_e1 e where e.caller = session and e.xid >= v_from) q;
    else
        select array_agg(q.id), array_agg(q.corr), array_agg(q.attempt), array_agg(q.part), array_agg(q.status),
               array_agg(q.content), array_agg(q.code), array_agg(q.payload), array_agg(q.headers), pg_current_snapshot()
          into ids, corrs, attempts, parts, statuses, contents, codes, payloads, headers, seen
          from (
            select e.* from trunkline.ending_e0 e where e.caller = session and e.xid >= v_from
            union all
            select e.* from trunkline.ending_e1 e where e.caller = session and e.xid >= v_from
            union all
            select e.* from unnest(v_late) l(xid)
             cross join lateral (select * from trunkline.ending_e0 e where e.caller = session and e.xid = l.xid offset 0) e
            union all
            select e.* from unnest(v_late) l(xid)
             cross join lateral (select * from trunkline.ending_e1 e where e.caller = session and e.xid = l.xid offset 0) e) q;
    end if;
end $$;
