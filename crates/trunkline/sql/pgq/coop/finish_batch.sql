-- Ends a subconsumer's batch: 1, or 0 and a warning when no such batch is open, as after it was taken over.
create or replace function pgq_coop.finish_batch(i_batch_id bigint) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if pgq._finish(i_batch_id) then
        return 1;
    end if;
    raise warning 'coop_finish_batch: batch % not found', i_batch_id;
    return 0;
end $$;
