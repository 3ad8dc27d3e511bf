-- Makes a request channel, or finds it: its id. A channel is also made, with the defaults, by its first use.
-- durable: requests survive a database crash (logged tables). max_bytes: the largest payload, up to 64 MiB.
-- Errors: 22004, 22023, TL011 for the name; 22023 for max_bytes; 42710 when it exists with other settings.
create or replace function trunkline.request_open(channel text, durable boolean default null, max_bytes int default null)
returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v trunkline.request_channel;
begin
    select * into v from trunkline.request_channel c where c.name = channel;
    if not found then
        perform trunkline._check_name('request channel', channel);
        if request_open.max_bytes not between 0 and 67108864 then
            raise exception 'max_bytes must be between 0 and 67108864, got %', request_open.max_bytes
                using errcode = '22023';
        end if;
        insert into trunkline.request_channel (name, durable, max_bytes)
        values (channel, coalesce(request_open.durable, false), coalesce(request_open.max_bytes, 1048576))
            on conflict do nothing;
        select * into v from trunkline.request_channel c where c.name = channel;
    end if;
    if v.durable <> coalesce(request_open.durable, v.durable) then
        raise exception 'request channel "%" exists and is %', channel,
            case when v.durable then 'durable' else 'ephemeral' end using errcode = '42710';
    elsif v.max_bytes <> coalesce(request_open.max_bytes, v.max_bytes) then
        raise exception 'request channel "%" exists with max_bytes %', channel, v.max_bytes using errcode = '42710';
    end if;
    return v.id;
end $$;
