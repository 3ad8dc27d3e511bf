-- Makes jobs of a table's rows: of each that is inserted with the status `new`, or gets it, in the transaction that writes it;
-- with `existing` of those that are new now. What becomes of the job is written back: `running`, then `success` or `error`, and
-- `new` while it waits for its next attempt. How many jobs were made.
-- payload_column: null for the whole row, as JSON. key_column: see job_push; jobs of one row run one at a time anyway. kind: the
-- table's name unless told. The row is found again by its primary key. The queue is made on its first use.
-- Errors: those of _job_attached_check, job_open and job_push. Locks: the table, against writers, to the commit.
create or replace function trunkline.job_attach(relation regclass, queue text, status_column text default 'status',
    payload_column text default null, key_column text default null, kind text default null, priority int default 5,
    max_attempts int default null, existing boolean default false) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
declare
    v_queue trunkline.job_queue := trunkline._job_queue(queue);
    v_kind  text := coalesce(kind, left((select c.relname::text from pg_class c where c.oid = relation), 100));
    v_name  text := trunkline._job_attached_name(relation, false);
    v       record;
    v_id    int;
    v_count bigint := 0;
begin
    perform trunkline._job_check(queue, v_queue.max_bytes, 0, coalesce(v_kind, ''), null, null, priority, max_attempts);
    select * into v from trunkline._job_attached_check(relation, array[status_column, payload_column, key_column]);
    insert into trunkline.job_attached (relation, name, owner, queue, kind, priority, max_attempts, numbers, names)
    values (relation, v_name, v.owner, v_queue.id, v_kind, priority, max_attempts, v.numbers, v.names)
    returning id into v_id;
    perform trunkline._job_attached_make(v_id);
    execute format('create trigger trunkline_job_insert after insert on %s for each row when (new.%I = ''new'')
                    execute function trunkline._job_attached_fire_%s()', v_name, status_column, v_id);
    execute format('create trigger trunkline_job_update after update on %s for each row
                    when (new.%I = ''new'' and old.%I is distinct from ''new'')
                    execute function trunkline._job_attached_fire_%s()', v_name, status_column, status_column, v_id);
    if trunkline._job_attached_home(v_id, relation) is distinct from relation::oid
       or not exists (select from pg_class c where c.oid = relation and pg_get_userbyid(c.relowner) = v.owner) then
        raise exception 'table % was changed meanwhile', v_name using errcode = '40001';
    end if;
    if existing then
        execute format('select trunkline._job_attached_scan_%s()', v_id) into v_count;
    end if;
    return v_count;
end $$;
