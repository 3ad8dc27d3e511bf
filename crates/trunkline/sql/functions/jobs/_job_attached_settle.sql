-- Brings the status of a row of an attached table up to date, if nobody else has the row locked. First its lock, then a fresh look at
-- its jobs: whoever changed them before saw that it was locked, and left a note in job_unwritten.
-- `written`; `gone`: there is nothing to write; `locked`; else what went wrong: never an error, so that a table that was dropped or
-- altered, or its triggers, stop no worker. Locks: the row, to the commit.
create or replace function trunkline._job_attached_settle(origin int, origin_row jsonb, alone boolean) returns text
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = on set enable_bitmapscan = on set jit = off as $$
#variable_conflict use_variable
declare
    v_home   oid;
    v_did    text;
    v_status text;
begin
    select trunkline._job_attached_home(a.id, a.relation) into v_home from trunkline.job_attached a where a.id = origin;
    if v_home is null then
        return 'gone';
    end if;
    execute format('select trunkline._job_attached_write_%s($1, $2, null, $3)', origin) into v_did using v_home, origin_row, alone;
    if v_did = 'mine' then
        v_status := trunkline._job_attached_status(origin, origin_row);
        if v_status is null then
            return 'gone';
        end if;
        perform set_config('trunkline.writing', origin || ' ' || origin_row::text, true);
        execute format('select trunkline._job_attached_write_%s($1, $2, $3, $4)', origin) into v_did
          using v_home, origin_row, v_status, alone;
        perform set_config('trunkline.writing', '', true);
    end if;
    return v_did;
exception when others then
    return case sqlstate when '55P03' then 'locked' when '55000' then 'locked' else left(sqlerrm, 1000) end;
end $$;
