-- Ends a batch: 1, or 0 and a warning when no such batch is open.
create or replace function pgq.finish_batch(x_batch_id bigint) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if pgq._finish(x_batch_id) then
        return 1;
    end if;
    raise warning 'finish_batch: batch % not found', x_batch_id;
    return 0;
end $$;
