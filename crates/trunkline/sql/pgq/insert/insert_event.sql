-- Inserts an event into a queue; its id. The event has the time of the transaction.
-- Errors: "No such queue", "Insert into queue disallowed", "Queue '…' allows max … events from one TX".
-- This is what stands until `_dispatch` has written the function anew, with a static INSERT for every segment.
create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text, ev_extra1 text, ev_extra2 text,
                                            ev_extra3 text, ev_extra4 text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return pgq.insert_event_raw(queue_name, null, now(), null, null, ev_type, ev_data,
                                ev_extra1, ev_extra2, ev_extra3, ev_extra4);
end $$;

create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text) returns bigint
language sql volatile as $$
    select pgq.insert_event($1, $2, $3, null::pg_catalog.text, null::pg_catalog.text, null::pg_catalog.text, null::pg_catalog.text);
$$;
