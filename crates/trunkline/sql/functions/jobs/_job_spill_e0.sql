-- Moves what waits in a lane of a segment to where jobs are held, `most` at a time: it is in nobody's way there, and the segment
-- can be emptied. How many. A slice that is taken for nobody, closed with all of its slots, says that they went.
create or replace function trunkline._job_spill_e0(lane int, most int) returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v     record;
    v_sum int := 0;
begin
    if not exists (select from trunkline.job_e0 j where j.lane = _job_spill_e0.lane) then
        return 0;                                           -- as ever after the limit was set, and the segment emptied
    end if;
    loop
        select * into v from trunkline._job_slice_e0(0, lane, most, true, uuid_hash_extended(gen_random_uuid(), 0));
        if v.state = 1 then
            continue;
        end if;
        exit when v.state is distinct from 0;
        insert into trunkline.job_done_e0 (slice, part, closed, slots) values (v.slice, 1, true, null);
        insert into trunkline.job_held (id, lane, state, due_at, max_attempts, ended_at, at, counted, content, kind, payload,
                                        headers)
        select u.id, lane, case when c.at is null then 0 else 3 end, u.at, coalesce(nullif(u.flags >> 8, 0), q.max_attempts),
               c.at, u.at, q.max_length > 0, (u.flags & 3)::smallint, u.kind, u.payload, u.header
          from unnest(v.ids, v.ats, v.flags, v.kinds, v.payloads, v.headers) u(id, at, flags, kind, payload, header)
          join trunkline.job_queue q on q.id = lane >> 4
          left join trunkline.job_cancel c on c.id = u.id;
        v_sum := v_sum + cardinality(v.ids);
        exit when v_sum >= most;
    end loop;
    if v_sum > 0 then
        perform trunkline._door_ring(-65 - (lane >> 4 & 63));
    end if;
    return v_sum;
end $$;
