-- The trigger of a closed segment: puts the row into the next segment of the ring, which sends it on if it is closed as well.
-- It runs with the owner's rights, for a writer has none on the tables themselves.
create or replace function pgq._send_on() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_part   text[] := regexp_match(tg_table_name, '^event_([0-9]+)_([0-9]+)$');
    v_number int := (select queue_ntables from pgq.queue where queue_id = v_part[1]::int);
begin
    execute format('insert into pgq.%I select ($1).*', format('event_%s_%s', v_part[1], (v_part[2]::int + 1) % v_number)) using new;
    return null;
end $$;
