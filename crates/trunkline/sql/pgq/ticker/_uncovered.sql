-- Whether an event is committed that the last tick's snapshot does not show.
-- Three look-ups in the segments' indexes: the transactions since, and those that were in progress then.
create or replace function pgq._uncovered(for_queue pgq.queue, last txid_snapshot) returns boolean
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_found boolean;
begin
    for v_nr in 0 .. for_queue.queue_ntables - 1 loop
        execute format('select exists (select from pgq.%1$I where ev_txid >= $1) or exists (select from pgq.%1$I where ev_txid = any ($2))',
                       format('event_%s_%s', for_queue.queue_id, v_nr))
           into v_found using txid_snapshot_xmax(last), array(select txid_snapshot_xip(last));
        if v_found then
            return true;
        end if;
    end loop;
    return false;
end $$;
