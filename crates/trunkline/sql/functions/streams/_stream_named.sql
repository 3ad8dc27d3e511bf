-- The stream of a name. Errors: 22004 for null, 42704 when there is none.
create or replace function trunkline._stream_named(name text) returns trunkline.stream
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.stream;
begin
    select * into v from trunkline.stream s where s.name = _stream_named.name;
    if not found then
        if _stream_named.name is null then
            raise exception 'stream name must not be null' using errcode = '22004';
        end if;
        raise exception 'there is no stream "%"', _stream_named.name using errcode = '42704';
    end if;
    return v;
end $$;
