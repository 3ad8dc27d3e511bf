-- How requests stand, for callers that ask by id (after a reconnect, or from SQL): one row for each that is known.
-- status null: not ended yet. A request that is missing here is unknown, expired and forgotten, or was lost in a crash.
create or replace function trunkline._request_outcome_e(targets bigint[]) returns table (id bigint, status smallint,
    content smallint, code text, payload bytea, headers text, expires_at timestamptz, own boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
    select r.id, e.status, e.content, e.code, e.payload, e.headers, r.expires_at,
           r.xid is not distinct from pg_current_xact_id_if_assigned()
      from (select * from trunkline.request_e0 union all select * from trunkline.request_e1) r
      left join lateral (
          select * from trunkline.ending_e0 e where e.id = r.id and e.part in (-1, 0) and e.status <> 6
          union all
          select * from trunkline.ending_e1 e where e.id = r.id and e.part in (-1, 0) and e.status <> 6) e on true
     where r.id = any (targets) and pg_has_role(trunkline._role(), r.role, 'member');
end $$;
