-- Holds many jobs at once that have no options, in one statement: their ids, in order, which rise. As _job_hold, each, which
-- also decides on those whose unique key was there already. Rings the door. Payloads: of content 0 from `bytes`.
-- Of a key only as many as may run at once can be taken at first; the others wait behind those (state 5) until _job_promote: who
-- ends one of them sees the others, since all came with one commit.
create or replace function trunkline._job_hold_all(queue trunkline.job_queue, contents int[], texts text[], bytes bytea[],
    kinds text[], keys text[], unique_keys text[], priorities int[], delays bigint[], max_attempts int[], headers text[])
returns bigint[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_ids  bigint[];
    v_held bigint[];
    v      record;
begin
    with numbered as materialized (
        select nextval('trunkline.log_id_d') * 4 + 2 as id, u.*
          from unnest(contents, texts, _job_hold_all.bytes, kinds, keys, unique_keys, priorities, delays, max_attempts, headers)
               with ordinality u(content, text, bytes, kind, key, unique_key, priority, ms, most, header, n)
    ), u as materialized (
        select *, key is not null and coalesce(ms, 0) <= 0
                  and row_number() over (partition by key order by n) > queue.key_max_running as behind
          from numbered
    ), held as (
        insert into trunkline.job_held (id, lane, state, due_at, max_attempts, key, unique_key, counted, content, kind, payload,
                                        headers)
        select u.id, queue.id * 16 + u.priority, case when u.behind then 5 else 0 end,
               clock_timestamp() + greatest(u.ms, 0) * interval '1 ms', coalesce(u.most, queue.max_attempts), u.key,
               u.unique_key, queue.max_length > 0, u.content, u.kind,
               case u.content when 0 then u.bytes when 1 then convert_to(u.text, 'UTF8')
                              else convert_to(u.text::json::text, 'UTF8') end, u.header::jsonb::text
          from u order by u.n
            on conflict ((lane >> 4), unique_key) where unique_key is not null and state in (0, 1, 5) do nothing
        returning id
    )
    select (select array_agg(u.id order by u.n) from u), (select array_agg(h.id) from held h) into v_ids, v_held;
    if cardinality(v_held) is distinct from cardinality(v_ids) then
        update trunkline.job_held h set state = 0 where h.id = any (v_held) and h.state = 5;  -- one before it may not be there
        for v in
            select min(i.n)::int as n
              from (select u.id, u.n from unnest(v_ids) with ordinality u(id, n) union all select h, null from unnest(v_held) h) i
             group by i.id having count(*) = 1 order by 1
        loop
            v_ids[v.n] := trunkline._job_hold(queue, priorities[v.n], contents[v.n],
                case contents[v.n] when 0 then _job_hold_all.bytes[v.n] when 1 then convert_to(texts[v.n], 'UTF8')
                                   else convert_to(texts[v.n]::json::text, 'UTF8') end,
                kinds[v.n], keys[v.n], unique_keys[v.n],
                case when delays[v.n] > 0 then clock_timestamp() + delays[v.n] * interval '1 ms' end,
                coalesce(max_attempts[v.n], queue.max_attempts), headers[v.n]::jsonb::text);
        end loop;
    end if;
    perform trunkline._door_ring(-65 - (queue.id & 63));
    return v_ids;
end $$;
