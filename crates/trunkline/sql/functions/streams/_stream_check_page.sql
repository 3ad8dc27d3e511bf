-- Refuses a page of a list that is not 1 to 10000 rows after an id: 22004 for null, 22023.
create or replace function trunkline._stream_check_page(max int, after bigint) returns void
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if max is null or after is null then
        raise exception '% must not be null', case when max is null then 'max' else 'after' end using errcode = '22004';
    elsif max not between 1 and 10000 then
        raise exception 'max must be from 1 to 10000 rows, got %', max using errcode = '22023';
    end if;
end $$;
