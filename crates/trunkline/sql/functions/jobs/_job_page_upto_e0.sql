-- The page of a segment from which on no job need be looked at for those with an id below `before`, pushed before `until`, each where
-- given. Jobs lie about in the order of their ids, and of their times: halves what is left until it is found.
create or replace function trunkline._job_page_upto_e0(before bigint, until timestamptz) returns bigint
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_all  bigint := pg_relation_size('trunkline.job_e0') / current_setting('block_size')::int;
    v_low  bigint := 0;
    v_high bigint := v_all;
    v_mid  bigint;
begin
    if before is null and until is null then
        return v_all;
    end if;
    while v_low < v_high loop
        v_mid := (v_low + v_high) / 2;
        if (select bool_and(coalesce(j.id >= before, false) or coalesce(j.at > until + interval '1 minute', false))
              from trunkline.job_e0 j
             where j.ctid >= format('(%s,0)', v_mid)::tid and j.ctid < format('(%s,0)', v_mid + 1)::tid) then
            v_high := v_mid;
        else
            v_low := v_mid + 1;
        end if;
    end loop;
    return least(v_high + 64, v_all);
end $$;
