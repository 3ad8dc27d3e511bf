-- Pushes jobs to a queue, many at once, for engines: their ids, in order, and the queue's door. As job_push, each; all of them,
-- or none. Errors: as job_push, with the number of the job.
create or replace function trunkline._job_write(queue text, contents int[], texts text[], bytes bytea[], kinds text[], keys text[],
    unique_keys text[], priorities int[], delays bigint[], max_attempts int[], headers text[],
    options text[], out ids bigint[], out door int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v     trunkline.job_queue := trunkline._job_queue(_job_write.queue);
    v_bad record;
begin
    door := -65 - (v.id & 63);
    select u.n, u.size, u.kind, u.key, u.unique_key, u.priority, u.most into v_bad
      from (select u.*, octet_length(case when u.content = 0 then u.bytes else convert_to(u.text, 'UTF8') end) as size
              from unnest(contents, texts, _job_write.bytes, kinds, keys, unique_keys, priorities, max_attempts) with ordinality
                   u(content, text, bytes, kind, key, unique_key, priority, most, n)) u
     where not coalesce(u.size <= v.max_bytes and octet_length(u.kind) <= 100 and u.priority between 1 and 9
                        and u.content between 0 and 2, false)
        or octet_length(u.key) > 1000 or octet_length(u.unique_key) > 1000 or u.most not between 1 and 10000
     order by u.n limit 1;
    if v_bad.n is not null then
        begin
            perform trunkline._job_check(v.name, v.max_bytes, v_bad.size, v_bad.kind, v_bad.key, v_bad.unique_key,
                                         v_bad.priority, v_bad.most);
        exception when others then
            raise exception 'job %: %', v_bad.n, sqlerrm using errcode = sqlstate;
        end;
        raise exception 'job %: content must be 0 (bytes), 1 (text) or 2 (JSON)', v_bad.n using errcode = '22023';
    end if;
    perform trunkline._job_priority(v.id, p) from (select distinct p from unnest(priorities) p) p;
    if not v.held and not exists (select from unnest(keys, unique_keys, options, delays) u(key, unique_key, option, ms)
                                   where coalesce(u.key, u.unique_key, u.option) is not null or u.ms > 0) then
        ids := case when v.durable
            then trunkline._job_write_d(array(select v.id * 16 + u.p from unnest(priorities) with ordinality u(p, n) order by n),
                     array(select u.c | (coalesce(u.m, 0) << 8) from unnest(contents, max_attempts) with ordinality u(c, m, n) order by n),
                     kinds, texts, _job_write.bytes, headers)
            else trunkline._job_write_e(array(select v.id * 16 + u.p from unnest(priorities) with ordinality u(p, n) order by n),
                     array(select u.c | (coalesce(u.m, 0) << 8) from unnest(contents, max_attempts) with ordinality u(c, m, n) order by n),
                     kinds, texts, _job_write.bytes, headers) end;
    elsif not exists (select from unnest(keys, unique_keys, options, delays) u(key, unique_key, option, ms)
                       where u.option is not null or not (v.held or coalesce(u.key, u.unique_key) is not null
                                                          or coalesce(u.ms > 0, false))) then
        ids := trunkline._job_hold_all(v, contents, texts, _job_write.bytes, kinds, keys, unique_keys, priorities, delays,
                                       max_attempts, headers);
        if v.max_length > 0 then
            perform trunkline._job_overflow(v);
        end if;
    elsif v.held then
        ids := array(
            select trunkline._job_hold(v, u.priority, u.content,
                       case when u.content = 0 then u.bytes when u.content = 1 then convert_to(u.text, 'UTF8')
                            else convert_to(u.text::json::text, 'UTF8') end,
                       u.kind, u.key, u.unique_key, case when u.ms > 0 then clock_timestamp() + u.ms * interval '1 ms' end,
                       coalesce(u.most, v.max_attempts), u.header::jsonb::text, u.option::jsonb)
              from unnest(contents, texts, _job_write.bytes, kinds, keys, unique_keys, priorities, delays, max_attempts, headers,
                          options) with ordinality
                   u(content, text, bytes, kind, key, unique_key, priority, ms, most, header, option, n)
             order by u.n);
        if v.max_length > 0 then
            perform trunkline._job_overflow(v);
        end if;
    else
        ids := array(
            select trunkline._job_push(v.name, u.content,
                       case when u.content = 0 then u.bytes when u.content = 1 then convert_to(u.text, 'UTF8')
                            else convert_to(u.text::json::text, 'UTF8') end,
                       u.kind, u.key, u.unique_key, u.priority,
                       case when u.ms > 0 then clock_timestamp() + u.ms * interval '1 ms' end, u.most, u.header::jsonb::text,
                       u.option::jsonb)
              from unnest(contents, texts, _job_write.bytes, kinds, keys, unique_keys, priorities, delays, max_attempts, headers,
                          options) with ordinality
                   u(content, text, bytes, kind, key, unique_key, priority, ms, most, header, option, n)
             order by u.n);
    end if;
end $$;
