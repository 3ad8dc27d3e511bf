-- What became of jobs that somebody waits for. ids: that are held, a row for each that has ended; anywhere: wherever they are, a
-- row for each. state: done, dead or cancelled; gone when there is no such job, or it was done and forgotten; null when it has
-- not ended. error: of the last attempt that failed. One of `anywhere` may cost a read of its segment.
create or replace function trunkline._job_outcomes(ids bigint[], anywhere bigint[])
returns table (id bigint, state text, held boolean, content int, result bytea, error text)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = on set enable_bitmapscan = on set plan_cache_mode = force_custom_plan as $$
#variable_conflict use_column
begin
    return query
    select h.id, case h.state when 2 then 'dead' when 3 then 'cancelled' else 'done' end, true, h.result_content::int, h.result,
           h.errors -> -1 ->> 'error'
      from trunkline.job_held h where h.id = any (_job_outcomes.ids) and h.state in (2, 3, 4);
    if anywhere <> '{}' then
        return query
        select u.id, case when r.id is null then 'gone' when r.state in ('done', 'dead', 'cancelled') then r.state end,
               exists (select from trunkline.job_held h where h.id = u.id), r.result_content, r.result,
               r.errors -> -1 ->> 'error'
          from unnest(anywhere) u(id) left join lateral trunkline._job_rows(u.id, null) r on true;
    end if;
end $$;
