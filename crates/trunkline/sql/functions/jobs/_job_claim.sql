-- Reads a claim, source:number:token:slot:job. Errors: 22023 for anything else.
create or replace function trunkline._job_claim(claim text, out source int, out number bigint, out token bigint, out slot int,
                                                out job bigint)
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v text[] := regexp_match(claim, '^([0-4]):([0-9]{1,18}):(-?[0-9]{1,19}):([0-9]{1,5}):([0-9]{1,18})$');
begin
    if v is null then
        raise exception 'claim must be one that job_take gave' using errcode = '22023';
    end if;
    source := v[1]::int; number := v[2]::bigint; token := v[3]::bigint; slot := v[4]::int; job := v[5]::bigint;
exception when numeric_value_out_of_range then
    raise exception 'claim must be one that job_take gave' using errcode = '22023';
end $$;
