-- Closes a segment that will be the next to be emptied: who still writes there, with an old view of the queue, is sent on to the
-- next one. From then on readers need not look, once they are past it, and rotation need not wait for them.
-- Locks: SHARE ROW EXCLUSIVE on the segment, NOWAIT, which readers do not feel; it stays open where a writer holds it.
create or replace function pgq._seal(for_queue integer, segment integer) returns void
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_name text := format('event_%s_%s', for_queue, segment);
    v_max  bigint;
begin
    if exists (select from pgq._sealed where queue_id = for_queue and _sealed.segment = _seal.segment)
       or segment = (select queue_cur_table from pgq.queue where queue_id = for_queue) then
        return;
    end if;
    execute format('lock table pgq.%I in share row exclusive mode nowait', v_name);
    execute format('create or replace trigger _sealed before insert on pgq.%I for each row execute function pgq._send_on()', v_name);
    execute format('alter table pgq.%I enable always trigger _sealed', v_name);
    execute format('select coalesce(max(ev_txid), 0) from pgq.%I', v_name) into v_max;
    insert into pgq._sealed (queue_id, segment, max_txid) values (for_queue, _seal.segment, v_max);
exception when lock_not_available then
    null;
end $$;
