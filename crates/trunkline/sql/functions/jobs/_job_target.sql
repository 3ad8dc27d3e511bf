-- Where a bulk load of jobs goes: the segment in use, by its number, -1 when jobs of this queue are held; the queue's lane at
-- this priority, its door, and its largest payload. Errors: those of job_open.
create or replace function trunkline._job_target(queue text, priority int, out segment int, out lane int, out door int,
                                                 out max_bytes int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.job_queue := trunkline._job_queue(queue);
begin
    perform trunkline._job_check(v.name, v.max_bytes, 0, '', null, null, priority, null);
    perform trunkline._job_priority(v.id, priority);
    lane := v.id * 16 + priority; door := -65 - (v.id & 63); max_bytes := v.max_bytes;
    segment := case when v.held then -1
                    when v.durable then 2 + (select r.current from trunkline.ring r where r.name = 'job_d')
                    else (select r.current from trunkline.ring r where r.name = 'job_e') end;
end $$;
