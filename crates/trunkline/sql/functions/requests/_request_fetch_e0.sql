-- The endings and parts for one caller's session that came after `since`, each with the next `since`; no rows when there
-- are none: ask from the same `since` again. Reads its own window, so it locks nothing and writes nothing.
-- What was in progress in `since` is read over when it is near, and looked up one transaction at a time when it is not.
-- Not a definer, without a pinned search_path and with every name qualified, so that the planner reads it into the
-- statement that calls it; whose endings may be seen is the view's affair.
create or replace function trunkline._request_fetch_e0(session int, since pg_snapshot)
returns table (seen pg_snapshot, id bigint, corr bigint, attempt int, part int, status smallint, content smallint,
               code text, payload bytea, headers text)
language sql stable as $$
    select pg_catalog.pg_current_snapshot(), e.id, e.corr, e.attempt, e.part, e.status, e.content,
           e.code, e.payload, e.headers
      from trunkline.own_ending_e0 e
     where e.caller operator(pg_catalog.=) session
       and e.xid operator(pg_catalog.>=) case when trunkline._log_near(since) then pg_catalog.pg_snapshot_xmin(since)
                                              else pg_catalog.pg_snapshot_xmax(since) end
       and not pg_catalog.pg_visible_in_snapshot(e.xid, since)
    union all
    select pg_catalog.pg_current_snapshot(), e.id, e.corr, e.attempt, e.part, e.status, e.content,
           e.code, e.payload, e.headers
      from trunkline.own_ending_e0 e
     where e.caller operator(pg_catalog.=) session
       and e.xid operator(pg_catalog.=) any (
           case when trunkline._log_near(since) then '{}'
                else array(select x from pg_catalog.pg_snapshot_xip(since) x) end::pg_catalog.xid8[])
$$;
