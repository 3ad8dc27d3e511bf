-- Makes a job of a row that was inserted, or became `new`, in the transaction that wrote it: what the generated trigger
-- function of an attached table calls, which is its owner's, so that conversions of its types run with his rights.
-- Not of a row that we write ourselves, since its job comes again: _job_attached_write says which that is.
-- Errors: those of job_push; 42703 for a column that is gone.
create or replace function trunkline._job_attached_fire(attachment int, known oid, numbers int2[], names text[], written anyelement)
returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set extra_float_digits = 3 set bytea_output = 'hex' as $$
declare
    v_home    oid := trunkline._job_attached_home(attachment, known);
    v_row     jsonb;
    v_content int;
    v_payload bytea;
    v_key     text;
begin
    execute format('select %s from (select ($1).*) x',
                   trunkline._job_attached_row(v_home, trunkline._job_attached_columns(v_home, known, numbers, names)))
       into v_row, v_content, v_payload, v_key using written;
    if current_setting('trunkline.writing', true) is distinct from attachment || ' ' || v_row::text then
        execute format('select trunkline._job_attached_push_%s($1, $2, $3, $4)', attachment)
          using v_row, v_content, v_payload, v_key;
    end if;
end $$;
