-- Refuses arrays that are not one element for each event: 22004 where there are no contents, 22023.
create or replace function trunkline._stream_check_sizes(contents smallint[], texts text[], bytes bytea[], types text[],
                                                         keys text[], headers text[]) returns void
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_wrong record;
begin
    if contents is null then
        raise exception 'contents must not be null' using errcode = '22004';
    end if;
    select a.name, a.size into v_wrong
      from (values ('texts', cardinality(texts)), ('bytes', cardinality(bytes)), ('types', cardinality(types)),
                   ('keys', cardinality(keys)), ('headers', cardinality(headers))) a(name, size)
     where a.size <> cardinality(contents) limit 1;
    if found then
        raise exception '% must have one element for each of % events, got %', v_wrong.name, cardinality(contents), v_wrong.size
            using errcode = '22023';
    end if;
end $$;
