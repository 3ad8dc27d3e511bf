-- Appends requests to a segment and rings their lanes: the id of each, in order. Where nobody serves one of the lanes
-- `needed`, nothing is written, and each such lane comes back as `absent`. `doors`: all lanes of the requests, each once.
-- Flags: 1 text, 2 json (else bytes), 4 idempotent, 8 one-way, 16 confirm that it was taken, 32 fail without responder.
-- Which segment is the caller's choice: readers look in both. Sizes were checked by who sends (_request_check_size).
-- Guarantee: visible to takers from the commit on. Locks: none beyond the insert.
-- The usual case has a short way: sql/direct/write.sql.
create or replace function trunkline._request_write_e0(session int, doors int[], needed int[], corrs bigint[],
    lanes int[], types text[], timeouts int[], flags int[], payloads bytea[], headers text[])
returns table (id bigint, absent int, rang boolean)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    return query
    with absent as materialized (
        select n.lane from unnest($3) n(lane)
         where not trunkline._request_present(n.lane)
    ), written as (
        insert into trunkline.request_e0
            (id, lane, caller, corr, flags, sent_at, expires_at, role, type, payload, headers)
        select nextval('trunkline.log_id_e') * 4 + case right('request_e0', 2)
                   when 'e0' then 0 when 'e1' then 1 when 'd0' then 2 else 3 end,
               u.lane, $1, u.corr, u.flags, clock_timestamp(), clock_timestamp() + u.ms * interval '1 millisecond',
               coalesce(nullif(current_setting('role', true), 'none'), session_user), u.type, u.payload, u.headers
          from unnest($4, $5, $6, $7, $8, $9, $10) u(corr, lane, type, ms, flags, payload, headers)
         where not exists (select from absent)
        returning id
    )
    select w.id, null::int, (select bool_or(trunkline._door_ring(d & 63)) from unnest($2) d) from written w
    union all
    select null, a.lane, null from absent a;
end $$;
