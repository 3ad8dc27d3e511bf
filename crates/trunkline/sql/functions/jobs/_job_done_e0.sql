-- Notes jobs of slices as done, a part of each slice: which slices accepted it. One that was closed meanwhile, because its
-- session was buried, does not. slots: a bit for each job from the first on, null for all.
-- Parts are numbered from 1 without a gap, and (slice, part) is unique: so a burial and a late answer exclude each other.
-- The same part again (`again`: after a lost answer) is accepted if it was. Rings where a queue has a limit. Locks: none beyond the
-- insert.
create or replace function trunkline._job_done_e0(slices bigint[], tokens bigint[], parts int[], slots bytea[], again boolean)
returns bigint[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_done bigint[];
begin
    with done as (
        insert into trunkline.job_done_e0 (slice, part, slots)
        select u.slice, u.part, u.slots
          from unnest(slices, tokens, parts, slots) u(slice, token, part, slots)
          join trunkline.job_slice_e0 s on s.id = u.slice and s.token = u.token
         where u.part = 1 or exists (select from trunkline.job_done_e0 d
                                      where d.slice = u.slice and d.part = u.part - 1 and not d.closed)
            on conflict do nothing
        returning slice)
    select array_agg(d.slice) into v_done from done d;
    if again then
        v_done := v_done || array(
            select d.slice from unnest(slices, tokens, parts) u(slice, token, part)
              join trunkline.job_slice_e0 s on s.id = u.slice and s.token = u.token
              join trunkline.job_done_e0 d on d.slice = u.slice and d.part = u.part and not d.closed
             where not u.slice = any (coalesce(v_done, '{}')));
    end if;
    perform trunkline._job_freed_e0(v_done);
    return coalesce(v_done, '{}');
end $$;
