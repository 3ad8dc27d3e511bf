-- The lane of a destination: a channel by name (made on first use), or a session by `@` and its address.
-- Errors: those of request_open; TL012 for an address that is not present.
create or replace function trunkline._request_lane(destination text, out lane int, out durable boolean,
                                                   out max_bytes int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if destination like '@%' then
        if destination !~ '^@[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
            raise exception 'an address is "@" and a uuid' using errcode = '22023';
        end if;
        select -s.id, false, 67108864 into lane, durable, max_bytes
          from trunkline.session s where s.address = substr(destination, 2)::uuid;
        if not found then
            raise exception 'no session has address "%"', destination using errcode = 'TL012';
        end if;
        return;
    end if;
    select c.id, c.durable, c.max_bytes into lane, durable, max_bytes
      from trunkline.request_channel c where c.name = destination;
    if not found then
        lane := trunkline.request_open(destination);
        select c.durable, c.max_bytes into durable, max_bytes from trunkline.request_channel c where c.id = lane;
    end if;
end $$;
