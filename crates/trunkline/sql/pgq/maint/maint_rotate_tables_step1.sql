-- Empties the next segment of a queue's ring and makes it the current one, when that is due and nobody needs what is in it. Returns 0.
-- READ COMMITTED only (25001). What fails is a warning, so that the maintenance of the other queues goes on.
create or replace function pgq.maint_rotate_tables_step1(i_queue_name text) returns integer
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue int := (select queue_id from pgq.queue
                     where queue_name = i_queue_name and queue_switch_step2 is not null
                       and queue_switch_time + queue_rotation_period < now());
begin
    if v_queue is not null then
        begin
            perform pgq._rotate(v_queue);
        exception
            when lock_not_available then
                perform pgq._seal_next(v_queue);    -- somebody reads it, or takes a position: next time
            when invalid_transaction_state or active_sql_transaction then
                raise;
            when others then
                raise warning 'queue % maint failure: %', i_queue_name, sqlerrm using errcode = sqlstate;
        end;
    end if;
    return 0;
end $$;
