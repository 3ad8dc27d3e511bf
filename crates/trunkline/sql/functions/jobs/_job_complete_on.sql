-- Ends a job as done in the caller's own transaction, for handlers of engines: 1, or 0 when it is no longer theirs, so that they
-- roll back. id: of the job, which may have been carried to where jobs are held since it was taken.
-- Guarantee: as job_complete.
create or replace function trunkline._job_complete_on(source int, number bigint, token bigint, slot int, id bigint) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_ended int[] := trunkline._job_end(array[source], array[number], array[token], array[slot], array[4], array[0::bigint],
                                        array[true], array[null::text], array[null::int], array[null::bytea]);
begin
    if v_ended = '{}' and source < 4 then
        v_ended := trunkline._job_settle(array[id], array[token], array[4], array[0::bigint], array[true], array[null::text],
                                         array[null::int], array[null::bytea]);
    end if;
    return cardinality(v_ended);
end $$;
