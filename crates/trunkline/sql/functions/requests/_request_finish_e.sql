-- The caller's side of ending requests: 3 cancelled or 4 timed out; `tell` the caller's session, when it is another's
-- call. The ids for which it won; of the others somebody else's ending stands (or none is known): fetch it. Only the
-- role that sent a request, or a member of it, may end it.
-- Waits at most 60 ms (55P03) for a transaction that is answering one of them just now.
-- Guarantee: caller and responder agree on the outcome, because both compare-and-set the same key.
create or replace function trunkline._request_finish_e(targets bigint[], status int, tell boolean) returns bigint[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set lock_timeout = '60ms' as $$
#variable_conflict use_column
declare
    v_ends trunkline.request_end[];
begin
    select array_agg(row(r.id,
               1 + (select count(*)
                      from (select * from trunkline.ending_e0 union all select * from trunkline.ending_e1) e
                     where e.id = r.id and e.part = 0 and e.status = 6),
               0, case when tell then r.caller else 0 end, r.corr, _request_finish_e.status, 0,
               null, null, null)::trunkline.request_end)
      into v_ends
      from (select * from trunkline.request_e0 union all select * from trunkline.request_e1) r
     where r.id = any (targets) and pg_has_role(trunkline._role(), r.role, 'member');
    if v_ends is null then
        return '{}'::bigint[];
    end if;
    delete from trunkline.again_e a where a.id = any (targets);
    return trunkline._request_end_e(v_ends);
end $$;
