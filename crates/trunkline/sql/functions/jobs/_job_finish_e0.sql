-- Notes jobs of slices as done one by one, with what they yielded: the places, in the order given, of those accepted.
-- (slice, slot) is unique in job_end, so a burial and this exclude each other, at every isolation level; who is second
-- waits for the first's commit. Locks: none beyond the insert.
create or replace function trunkline._job_finish_e0(slices bigint[], tokens bigint[], slots int[], contents int[],
                                                    results bytea[]) returns int[]
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_done int[];
begin
    with u as materialized (
        select * from unnest(slices, tokens, slots, contents, results) with ordinality u(slice, token, slot, content, result, n)
    ), ended as (
        insert into trunkline.job_end_e0 (slice, slot, state, content, result)
        select u.slice, u.slot, 0, u.content, u.result
          from u join trunkline.job_slice_e0 s on s.id = u.slice and s.token = u.token
         where s.ids[u.slot] is not null
            on conflict do nothing
        returning slice, slot)
    select array_agg(u.n::int) into v_done from ended e join u on u.slice = e.slice and u.slot = e.slot;
    perform trunkline._job_freed_e0(slices);
    if exists (select from trunkline.job_wait) then
        perform trunkline._job_tell(array(select s.ids[u.slot] from unnest(slices, slots) u(slice, slot)
                                            join trunkline.job_slice_e0 s on s.id = u.slice));
    end if;
    return coalesce(v_done, '{}');
end $$;
