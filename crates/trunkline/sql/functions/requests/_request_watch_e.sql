-- Of requests being handled, by (id, attempt): those that ended meanwhile or whose caller is gone, so that the handler
-- can stop. Looks only, and locks nothing.
create or replace function trunkline._request_watch_e(targets bigint[], attempts int[], callers int[]) returns bigint[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return array(
        select u.id from unnest(targets, attempts, callers) u(id, attempt, caller)
         where exists (select from trunkline.ending_e0 e where e.id = u.id and e.attempt = u.attempt and e.part = 0)
            or exists (select from trunkline.ending_e1 e where e.id = u.id and e.attempt = u.attempt and e.part = 0)
            or right('request_e', 1) = 'e' and u.caller <> 0
               and not exists (select from trunkline.session s where s.id = u.caller));
end $$;
