-- Takes from a segment by its number, as the lowest two bits of its ids have it: see _job_slice_e0, whose states 1 (look
-- again) it goes through itself, some times. Errors: TL008 after a restore.
create or replace function trunkline._job_slice(segment int, session int, lane int, most int, polite boolean, token bigint)
returns table (state int, more boolean, slice bigint, ids bigint[], ats timestamptz[], flags int[], kinds text[],
               payloads bytea[], headers text[], turn bigint, lo pg_snapshot, hi pg_snapshot, pos_xid xid8, pos_id bigint)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v record;
begin
    -- Of a segment that has none of the lane, as the one that was left mostly, that is soonest known.
    if not (case segment when 0 then exists (select from trunkline.job_e0 j where j.lane = _job_slice.lane)
                        when 1 then exists (select from trunkline.job_e1 j where j.lane = _job_slice.lane)
                        when 2 then exists (select from trunkline.job_d0 j where j.lane = _job_slice.lane)
                        else exists (select from trunkline.job_d1 j where j.lane = _job_slice.lane) end) then
        return;
    end if;
    for v_try in 1 .. 20 loop
        if segment = 0 then
            select * into v from trunkline._job_slice_e0(session, lane, most, polite, token);
        elsif segment = 1 then
            select * into v from trunkline._job_slice_e1(session, lane, most, polite, token);
        elsif segment = 2 then
            select * into v from trunkline._job_slice_d0(session, lane, most, polite, token);
        else
            select * into v from trunkline._job_slice_d1(session, lane, most, polite, token);
        end if;
        if v.state = 4 then
            perform trunkline._epoch_check();
            raise exception 'transaction ids went backwards: run trunkline schema repair' using errcode = 'TL008';
        end if;
        exit when v.state is distinct from 1;
    end loop;
    if v.state is not null then
        return query select v.state, v.more, v.slice, v.ids, v.ats, v.flags, v.kinds, v.payloads, v.headers, v.turn, v.lo, v.hi,
                            v.pos_xid, v.pos_id;
    end if;
end $$;
