-- Writes one job into the ring, into the segment in use as far as this snapshot knows (any is right: takers look in both),
-- and rings the queue's door: its id. Locks: none beyond the insert.
create or replace function trunkline._job_insert_e(lane int, flags int, kind text, payload bytea, headers text) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_id bigint;
begin
    if (select r.current from trunkline.ring r where r.name = 'job_e') = 0 then
        insert into trunkline.job_e0 (id, lane, flags, kind, payload, headers)
        values (nextval('trunkline.log_id_e') * 4 + case right('log_id_e', 1) when 'd' then 2 else 0 end,
                lane, flags, kind, payload, headers)
        returning case when trunkline._door_ring(-65 - (_job_insert_e.lane >> 4 & 63)) is not null then id end into v_id;
    else
        insert into trunkline.job_e1 (id, lane, flags, kind, payload, headers)
        values (nextval('trunkline.log_id_e') * 4 + case right('log_id_e', 1) when 'd' then 3 else 1 end,
                lane, flags, kind, payload, headers)
        returning case when trunkline._door_ring(-65 - (_job_insert_e.lane >> 4 & 63)) is not null then id end into v_id;
    end if;
    return v_id;
end $$;
