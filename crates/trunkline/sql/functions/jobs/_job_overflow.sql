-- After a push to a queue with a max_length: refuses it when more jobs wait than that, or cancels the oldest ones, as the queue's
-- overflow says. Counts this transaction's pushes and what is committed; so that nobody waits for another's commit, several
-- that push at the same moment may together exceed the limit by what they push. Errors: 53400 the queue is full.
create or replace function trunkline._job_overflow(queue trunkline.job_queue) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_over bigint := (select count(*) from trunkline.job_held h
                       where h.lane >> 4 = queue.id and h.counted and h.state in (0, 5)) - queue.max_length;
begin
    if v_over <= 0 then
        return;
    elsif queue.overflow = 'refuse' then
        raise exception 'queue "%" is full: at most % jobs may wait', queue.name, queue.max_length using errcode = '53400';
    end if;
    -- Of the oldest ones; one that somebody takes just now is no reason to drop what was pushed last.
    perform trunkline._job_drop(o.id, o.lane, o.key, 'dropped: its queue was full')
       from (select h.id, h.lane, h.key from trunkline.job_held h
              where h.lane >> 4 = queue.id and h.counted and h.state in (0, 5) order by h.lane >> 4, h.id limit v_over) o;
end $$;
