-- Appends endings and partial replies, and rings the doors of the callers: the ids for which it was the first.
-- (id, attempt, part) is unique, so an attempt ends once, whoever tries and at whatever isolation level: zero rows for an
-- attempt that has an ending already. Waits for a transaction that is ending the same attempt just now.
-- Statuses: 0 ok, 1 error, 2 unsupported, 3 cancelled, 4 timed out, 5 lost, 6 again, 7 taken, 8 done, 9 part.
create or replace function trunkline._request_end_e(ends trunkline.request_end[]) returns bigint[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_ids  bigint[];
    v_more bigint[];
    v_now  timestamptz := clock_timestamp();
    v_who  int;
begin
    if exists (select from unnest(ends) e where e.id & 1 = 0) then
        with i as (
            insert into trunkline.ending_e0
                (id, attempt, part, caller, corr, status, content, ended_at, code, payload, headers)
            select e.id, e.attempt, e.part, e.caller, e.corr, e.status, e.content, v_now, e.code, e.payload, e.headers
              from unnest(ends) e where e.id & 1 = 0
            on conflict do nothing returning id)
        select array_agg(id) into v_ids from i;
    end if;
    if exists (select from unnest(ends) e where e.id & 1 = 1) then
        with i as (
            insert into trunkline.ending_e1
                (id, attempt, part, caller, corr, status, content, ended_at, code, payload, headers)
            select e.id, e.attempt, e.part, e.caller, e.corr, e.status, e.content, v_now, e.code, e.payload, e.headers
              from unnest(ends) e where e.id & 1 = 1
            on conflict do nothing returning id)
        select array_agg(id) into v_more from i;
    end if;
    for v_who in select distinct e.caller from unnest(ends) e where e.caller <> 0 loop
        perform trunkline._door_ring(64 + v_who);
    end loop;
    return coalesce(v_ids || v_more, v_ids, v_more, '{}');
end $$;
