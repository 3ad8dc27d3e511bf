-- Pushes the job of a row of an attached table, in the transaction that wrote it: its id. It has a key in any case, so it is held,
-- and jobs of one row run one at a time, in the order of its resets. See job_push for errors.
create or replace function trunkline._job_attached_push(attachment int, origin_row jsonb, content int, payload bytea, key text)
returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v      record;
    v_id   bigint;
    v_text text := _job_attached_push.origin_row::text;
begin
    select a.*, q.name as queue_name into v from trunkline.job_attached a join trunkline.job_queue q on q.id = a.queue
     where a.id = attachment;
    if octet_length(v_text) > 200 then
        v_text := hashtextextended(v_text, 0) || '/' || hashtextextended(v_text, 1);
    end if;
    v_id := trunkline._job_push(v.queue_name, _job_attached_push.content, _job_attached_push.payload, v.kind,
                coalesce(_job_attached_push.key, 'row of ' || attachment || ': ' || v_text), null, v.priority, null,
                v.max_attempts, null);
    update trunkline.job_held h set origin = attachment, origin_row = _job_attached_push.origin_row where h.id = v_id;
    return v_id;
end $$;
