-- How many who wait for a lease are before a place in its queue, of those whose process is here; counted up to two.
create or replace function trunkline._lease_ahead(name text, seq bigint) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_session int;
    v_ahead   int := 0;
begin
    for v_session in select w.session from trunkline.lease_waiter w
                      where w.name = _lease_ahead.name and w.seq < coalesce(_lease_ahead.seq, 9223372036854775807) order by w.seq loop
        if trunkline._session_alive(v_session) then
            v_ahead := v_ahead + 1;
            exit when v_ahead = 2;
        end if;
    end loop;
    return v_ahead;
end $$;
