-- Which jobs of a slice have not ended yet, by their places in it.
create or replace function trunkline._job_open_slots_e0(slice bigint) returns int[]
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    return array(
        select n from trunkline.job_slice_e0 s cross join generate_series(1, cardinality(s.ids)) n
         where s.id = _job_open_slots_e0.slice
           and not exists (select from trunkline.job_done_e0 d where d.slice = s.id and not d.closed and d.slots is null)
           and not exists (select from trunkline.job_done_e0 d
                            where d.slice = s.id and not d.closed and octet_length(d.slots) * 8 >= n
                              and get_bit(d.slots, n - 1) = 1)
           and not exists (select from trunkline.job_end_e0 e where e.slice = s.id and e.slot = n)
         order by n);
end $$;
