-- Makes the ring's row where there is none: after install, or after a crash, with an incarnation that readers tell apart. Message ids
-- go on above the microseconds since 1970, and so above all that were given out before. Call it in a transaction of its own.
create or replace function trunkline._topic_begin() returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_now bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
begin
    insert into trunkline.topic_ring (incarnation) values (v_now) on conflict do nothing;
    if found and (select last_value from trunkline.topic_id) < v_now then
        perform setval('trunkline.topic_id', v_now);
    end if;
end $$;
