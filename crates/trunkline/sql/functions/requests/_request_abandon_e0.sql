-- Ends what a dead session was handling in a segment: an idempotent request (flag 4) goes out again while time remains, any
-- other ends `lost`. Of its takes after `past`, the next ones, until they held `most` requests (null: all of them): the id
-- of the last one looked at, `past` itself when there are no more.
-- Both are one compare-and-set with a late reply of the session, in one transaction.
create or replace function trunkline._request_abandon_e0(session int, past bigint, most int) returns bigint
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
    v_last bigint;
    v_ends trunkline.request_end[];
    v_won  bigint[];
begin
    select max(t.id) into v_last                            -- reads no further than it must
      from (select t.id from trunkline.take_e0 t
              left join lateral unnest(case when t.expires_at > v_now then t.ids end) on true
             where t.session = _request_abandon_e0.session and t.id > _request_abandon_e0.past
             order by t.id limit most) t;
    if v_last is null then
        return past;
    end if;
    select array_agg(case when h.again
               then row(h.id, h.attempt, 0, 0, h.corr, 6, 0, null, null, null)::trunkline.request_end
               else row(h.id, h.attempt, 0, h.caller, h.corr, 5, 0, 'lost', null, null)::trunkline.request_end end)
      into v_ends
      from (select u.id, u.attempt, u.caller, u.corr, (
                   select r.flags & 4 <> 0 from trunkline.request_e0 r where r.id = u.id limit 1) as again
              from trunkline.take_e0 t
             cross join lateral (
                  select a.id, coalesce(a.attempt, 1) as attempt, a.caller, a.corr
                    from unnest(t.ids, t.attempts, t.callers, t.corrs, t.deadlines)
                         a(id, attempt, caller, corr, deadline)
                   where a.deadline > v_now and a.id is not null) u
             where t.session = _request_abandon_e0.session and t.id > _request_abandon_e0.past and t.id <= v_last
               and t.expires_at > v_now
               and (select 1 from trunkline.ending_e0 e
                     where e.id = u.id and e.attempt = u.attempt and e.part = 0) is null) h
     where h.again is not null;
    if v_ends is not null then
        v_won := trunkline._request_end_e(v_ends);
        insert into trunkline.again_e (id, attempt, lane, type, expires_at)
        select r.id, e.attempt + 1, r.lane, r.type, r.expires_at
          from unnest(v_ends) e
         cross join lateral (select * from trunkline.request_e0 r where r.id = e.id limit 1) r
         where e.status = 6 and e.id = any (v_won)
            on conflict do nothing;
        perform trunkline._door_ring(a.door)
           from (select distinct a.lane & 63 as door from trunkline.again_e a where a.id = any (v_won)) a;
    end if;
    return v_last;
end $$;
