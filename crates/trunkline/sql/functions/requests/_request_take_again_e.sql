-- Takes requests that are to be handed out once more: ids is null when there are none for these types.
-- Ordinary rows with ordinary locks: few requests ever get here. Locks: the rows taken, skipping others' takes.
create or replace function trunkline._request_take_again_e(lane int, types text[], max int)
returns trunkline.request_slice
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v       trunkline.request_slice;
    v_again jsonb;
begin
    with mine as (
        select a.id from trunkline.again_e a
         where a.lane = _request_take_again_e.lane and (types is null or a.type = any (types))
         order by a.id limit max for update skip locked
    ), gone as (
        delete from trunkline.again_e a using mine where a.id = mine.id returning a.id, a.attempt
    )
    select jsonb_object_agg(id::text, attempt) into v_again from gone;
    if v_again is null then
        return null;
    end if;
    select array_agg(r.id), array_agg((v_again ->> r.id::text)::int), array_agg(r.caller), array_agg(r.corr),
           array_agg(r.flags), array_agg(r.expires_at), array_agg(r.type), array_agg(r.payload),
           array_agg(r.headers), null::pg_snapshot, null::xid8, null::bigint, true
      into v
      from (select * from trunkline.request_e0 union all select * from trunkline.request_e1) r
     where r.id in (select k::bigint from jsonb_object_keys(v_again) k) and r.expires_at > clock_timestamp()
       and not exists (select from (select * from trunkline.ending_e0 union all select * from trunkline.ending_e1) e
                        where e.id = r.id and e.part = 0 and e.status <> 6);
    return v;
end $$;
