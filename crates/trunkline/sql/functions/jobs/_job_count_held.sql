-- Counts the jobs that are held for all who ask how many there are (_job_held_counted), where more than 32 MiB are: a million takes a
-- third of a second (and beyond 1 GiB too long for who has other duties: who asks does it then). It does not do so again for twenty times
-- as long, five seconds at least, and for a minute where no row was written meanwhile (only the time has made scheduled ones waiting).
-- Locks: the row.
create or replace function trunkline._job_count_held() returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_began   timestamptz := clock_timestamp();
    v_table   oid := 'trunkline.job_held'::regclass;
    v_changes bigint;
    v_queues  jsonb;
begin
    if pg_relation_size(v_table) not between 33554432 and 1073741824 then
        return;
    end if;
    v_changes := pg_stat_get_tuples_inserted(v_table) + pg_stat_get_tuples_updated(v_table) + pg_stat_get_tuples_deleted(v_table);
    if exists (select from trunkline.job_held_counted k
                where v_began < k.at + case k.changes when v_changes then interval '1 minute'
                                       else greatest(interval '5 seconds', 20 * k.took) end) then
        return;
    end if;
    select jsonb_agg(to_jsonb(h)) into v_queues from trunkline._job_held_counts() h;
    insert into trunkline.job_held_counted as k (at, took, changes, queues)
    values (v_began, clock_timestamp() - v_began, v_changes, v_queues)
        on conflict (one) do update set at = excluded.at, took = excluded.took, changes = excluded.changes, queues = excluded.queues;
end $$;
