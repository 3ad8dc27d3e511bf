-- Refuses an event of a queue that takes none, or of a transaction that has inserted all it may.
-- The count is a setting of the transaction: an event that was rolled back to a savepoint is given back.
create or replace function pgq._insert_check(queue text, queue_id integer, disabled boolean, per_tx integer) returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_setting text := 'pgq.events_' || queue_id;
    v_count   int;
begin
    if disabled and current_setting('session_replication_role') <> 'replica' then
        raise exception 'Insert into queue disallowed' using errcode = 'XX000';
    end if;
    if per_tx >= 0 then
        v_count := coalesce(nullif(current_setting(v_setting, true), '')::int, 0) + 1;
        if v_count > per_tx then
            raise exception 'Queue ''%'' allows max % events from one TX', queue, per_tx using errcode = 'XX000';
        end if;
        perform set_config(v_setting, v_count::text, true);
    end if;
end $$;
