-- Refuses requests to unknown channels (42704) and payloads over their channel's limit (TL004), naming limit and size.
create or replace function trunkline._request_check_sizes(lanes int[], payloads bytea[]) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v record;
begin
    select u.lane, octet_length(u.payload) as size, c.name, c.max_bytes into v
      from unnest(lanes, payloads) u(lane, payload)
      left join trunkline.request_channel c on c.id = u.lane
     where u.lane > 0 and c.id is null or octet_length(u.payload) > coalesce(c.max_bytes, 67108864)
     limit 1;
    if not found then
        return;
    elsif v.lane > 0 and v.name is null then
        raise exception 'no request channel with id %', v.lane using errcode = '42704';
    end if;
    raise exception 'payload for channel "%" must be at most % bytes, got %', coalesce(v.name, 'a session'),
        coalesce(v.max_bytes, 67108864), v.size using errcode = 'TL004';
end $$;
