-- Refuses a name that is not 1 to 48 of [a-z0-9][a-z0-9_.-]*: 22004 for null, 22023 else, TL011 for a reserved one.
create or replace function trunkline._check_name(what text, name text) returns void
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if name is null then
        raise exception '% name must not be null', what using errcode = '22004';
    elsif length(name) > 48 then
        raise exception '% name must be 1 to 48 characters, got %', what, length(name) using errcode = '22023';
    elsif name !~ '^[a-z0-9][a-z0-9_.-]*$' then
        raise exception '% name must be of a-z, 0-9, "_", ".", "-" and begin with a letter or digit', what
            using errcode = '22023';
    elsif name ~ '^(pg_|pgq|trunkline)' then
        raise exception '% name "%" is reserved', what, name using errcode = 'TL011';
    end if;
end $$;
