-- Pushes jobs into the ring, many at once, for engines, and rings once: their ids, in order. lanes: queue * 16 + priority, of
-- one queue; flags: content, and from bit 8 on max_attempts; of texts and bytes the one is stored that the content tells, so
-- that the server checks text and JSON itself. Errors: 22P02 and the like for JSON that is none.
create or replace function trunkline._job_write_e(lanes int[], flags int[], kinds text[], texts text[], bytes bytea[], headers text[])
returns bigint[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_ids bigint[];
begin
    if (select r.current from trunkline.ring r where r.name = 'job_e') = 0 then
        with written as (
            insert into trunkline.job_e0 (id, lane, flags, kind, payload, headers)
            select nextval('trunkline.log_id_e') * 4 + case right('log_id_e', 1) when 'd' then 2 else 0 end, u.lane, u.flags,
                   u.kind, case when u.flags & 3 = 0 then u.bytes else convert_to(u.text, 'UTF8') end, u.header::jsonb::text
              from unnest(lanes, flags, kinds, texts, bytes, headers) u(lane, flags, kind, text, bytes, header)
             where u.flags & 3 <> 2 or u.text::json is not null
            returning id)
        select array_agg(w.id) into v_ids from written w;
    else
        with written as (
            insert into trunkline.job_e1 (id, lane, flags, kind, payload, headers)
            select nextval('trunkline.log_id_e') * 4 + case right('log_id_e', 1) when 'd' then 3 else 1 end, u.lane, u.flags,
                   u.kind, case when u.flags & 3 = 0 then u.bytes else convert_to(u.text, 'UTF8') end, u.header::jsonb::text
              from unnest(lanes, flags, kinds, texts, bytes, headers) u(lane, flags, kind, text, bytes, header)
             where u.flags & 3 <> 2 or u.text::json is not null
            returning id)
        select array_agg(w.id) into v_ids from written w;
    end if;
    perform trunkline._door_ring(-65 - (lanes[1] >> 4 & 63));
    return v_ids;
end $$;
