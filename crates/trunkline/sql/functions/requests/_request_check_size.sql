-- Refuses a payload over its lane's limit (TL004), naming limit and size, and a channel that is not there (42704).
create or replace function trunkline._request_check_size(lane int, bytes int) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_name text := 'a session';
    v_most int := 67108864;
begin
    if lane > 0 then
        select c.name, c.max_bytes into v_name, v_most from trunkline.request_channel c where c.id = lane;
        if not found then
            raise exception 'no request channel with id %', lane using errcode = '42704';
        end if;
    end if;
    if bytes > v_most then
        raise exception 'payload for channel "%" must be at most % bytes, got %', v_name, v_most, bytes
            using errcode = 'TL004';
    end if;
end $$;
