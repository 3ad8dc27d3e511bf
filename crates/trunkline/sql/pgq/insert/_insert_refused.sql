-- Says why there is no queue to insert into. Never returns.
create or replace function pgq._insert_refused(queue text) returns void
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if queue is null then
        raise exception 'Queue name must not be NULL' using errcode = 'XX000';
    end if;
    raise exception 'No such queue' using errcode = 'XX000';
end $$;
