-- Hands on what a dead session was working on in a segment: each job that had not ended comes again, this attempt counted; the
-- last one is dead. Of its slices after `past`, the next 5,000, as far as they have `most` jobs that may not have ended (null: all): the
-- id of the last one looked at, `past` when there are none. A worker of millions has as many slices, nearly all of them done, and
-- what it had in hand is mostly in the newest: so the first call (`past` is 0) begins with those.
-- `lost`: nobody has seen them, their answer never arrived; they come again as the same attempt.
-- One transaction closes a slice and moves its jobs; so a late answer of the session is refused as a whole, and never half.
create or replace function trunkline._job_abandon_e0(session int, past bigint, most int, lost bigint default null) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_newest boolean := past = 0 and lost is null;
    v_some   bigint[];
    v_ids    bigint[];
    v_cut    bigint;                           -- the first that is left to the next call
    v_slice  record;
    v_open   int[];
begin
    loop
        v_some := case when v_newest then array(
            select s.id from trunkline.job_slice_e0 s where s.session = _job_abandon_e0.session order by s.id desc limit 5000)
        else array(
            select s.id from trunkline.job_slice_e0 s
             where s.session = _job_abandon_e0.session and s.id > _job_abandon_e0.past and (lost is null or s.token = lost)
             order by s.id limit case when lost is null then 5000 end) end;
        with unsure as materialized (
            select s.id, cardinality(s.ids) as n, a.n as place, sum(cardinality(s.ids)) over (order by a.n) - cardinality(s.ids) as before
              from unnest(v_some) with ordinality a(id, n)
              join trunkline.job_slice_e0 s on s.id = a.id
             where not exists (select from trunkline.job_done_e0 d where d.slice = s.id and (d.closed or d.slots is null))
        )
        select min(u.place) filter (where u.before >= most),
               array_agg(u.id order by u.id) filter (where coalesce(u.before < most, true) and exists (
                   select from generate_series(1, u.n) k
                    where not exists (select from trunkline.job_end_e0 e where e.slice = u.id and e.slot = k)
                      and not exists (select from trunkline.job_done_e0 d
                                       where d.slice = u.id and octet_length(d.slots) * 8 >= k and get_bit(d.slots, k - 1) = 1)))
          into v_cut, v_ids from unsure u;
        for v_slice in select s.id, s.token from trunkline.job_slice_e0 s where s.id = any (v_ids) order by s.id loop
            v_open := trunkline._job_close_e0(v_slice.id);
            if v_open <> '{}' then
                perform trunkline._job_leave_e0(
                    array_agg(v_slice.id), array_agg(v_slice.token), array_agg(u.slot), array_agg(0), array_agg(0::bigint),
                    array_agg(case when lost is null then 1 else 0 end),
                    array_agg(case when lost is null then 'the worker''s process ended, or was cut off' end))
                   from unnest(v_open) u(slot);
            end if;
        end loop;
        exit when not v_newest;
        v_newest := false;
    end loop;
    return coalesce(v_some[coalesce(v_cut - 1, cardinality(v_some))], past);
end $$;
