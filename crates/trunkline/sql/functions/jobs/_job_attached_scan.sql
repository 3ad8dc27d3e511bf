-- Makes jobs of the rows of an attached table that are `new` already: how many. Called while nobody else can write to it.
create or replace function trunkline._job_attached_scan(attachment int, known oid, numbers int2[], names text[]) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set extra_float_digits = 3 set bytea_output = 'hex' as $$
declare
    v_columns text[] := trunkline._job_attached_columns(known, known, numbers, names);
    v_count   bigint;
begin
    execute format('select count(trunkline._job_attached_push_%s(j.origin_row, j.content, j.payload, j.key))
                      from (select %s from %s x where x.%I = ''new'') j(origin_row, content, payload, key)',
                   attachment, trunkline._job_attached_row(known, v_columns), trunkline._job_attached_name(known, true), v_columns[1])
       into v_count;
    return v_count;
end $$;
