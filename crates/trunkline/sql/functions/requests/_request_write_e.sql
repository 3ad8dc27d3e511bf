-- Writes one request into the segment in use: its id, or 0 where nobody serves the lane and it asked to fail then. For
-- SQL, and for requests that go out in the application's own transaction. See _request_write_e0.
create or replace function trunkline._request_write_e(session int, corr bigint, lane int, type text, ms int, flags int,
    payload bytea, headers text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_need int[] := case when flags & 32 = 0 then '{}' else array[lane] end;
    v_id   bigint;
begin
    perform trunkline._log_begin_e();
    perform trunkline._request_check_size(lane, octet_length(payload));
    if (select current from trunkline.ring where name = 'request_e') = 0 then
        select w.id into v_id
          from trunkline._request_write_e0(session, array[lane], v_need, array[corr], array[lane], array[type],
                                           array[ms], array[flags], array[payload], array[headers]) w;
    else
        select w.id into v_id
          from trunkline._request_write_e1(session, array[lane], v_need, array[corr], array[lane], array[type],
                                           array[ms], array[flags], array[payload], array[headers]) w;
    end if;
    return coalesce(v_id, 0);
end $$;
