-- Ends one attempt by its claim, in the caller's own transaction: see _job_end. Errors: 22023; TL001 when the job is no longer
-- the caller's: it ended, or was handed on. Roll back then: what you did for it belongs to nobody.
create or replace function trunkline._job_own_end(claim text, state int, ms bigint, counted boolean, error text, content int,
                                                  result bytea) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v record;
begin
    select * into v from trunkline._job_claim(claim);
    if trunkline._job_end(array[v.source], array[v.number], array[v.token], array[v.slot], array[state], array[ms],
                          array[counted], array[error], array[content], array[result]) = '{}'
       -- A long one is carried to where jobs are held.
       and trunkline._job_settle(array[v.job], array[v.token], array[state], array[ms], array[counted], array[error],
                                 array[content], array[result]) = '{}' then
        raise exception 'the job is no longer yours: it ended, or was handed on' using errcode = 'TL001';
    end if;
end $$;
