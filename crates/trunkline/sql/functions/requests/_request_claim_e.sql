-- Writes the take row: the lease of a session on a slice, and the lane's next cursor. Returns the claim, and the
-- milliseconds left for each. Confirms one-way requests that asked for it (flag 16). Call it with the lane locked.
create or replace function trunkline._request_claim_e(session int, cursor trunkline.lane_e,
    slice trunkline.request_slice, out take bigint, out token bigint, out lefts int[])
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_seg     smallint;
    v_now     timestamptz := clock_timestamp();
    v_until   timestamptz;
    v_confirm boolean;
begin
    select current into v_seg from trunkline.ring where name = 'request_e';
    take := nextval('trunkline.log_id_e') * 4 + case right('request_e', 1) when 'd' then 2 else 0 end + v_seg;
    token := uuid_hash_extended(gen_random_uuid(), 0);
    select coalesce(max(u.d), v_now), array_agg((extract(epoch from u.d - v_now) * 1000)::int), bool_or(u.f & 24 = 24)
      into v_until, lefts, v_confirm
      from unnest(slice.deadlines, slice.flags) u(d, f);
    if v_seg = 0 then
        insert into trunkline.take_e0 values (take, cursor.lane, cursor.turn, session, token, v_now, v_until,
            cursor.lo, cursor.hi, cursor.pos_xid, cursor.pos_id, coalesce(slice.ids, '{}'),
            coalesce(slice.attempts, '{}'), coalesce(slice.callers, '{}'), coalesce(slice.corrs, '{}'),
            coalesce(slice.flags, '{}'), coalesce(slice.deadlines, '{}'));
    else
        insert into trunkline.take_e1 values (take, cursor.lane, cursor.turn, session, token, v_now, v_until,
            cursor.lo, cursor.hi, cursor.pos_xid, cursor.pos_id, coalesce(slice.ids, '{}'),
            coalesce(slice.attempts, '{}'), coalesce(slice.callers, '{}'), coalesce(slice.corrs, '{}'),
            coalesce(slice.flags, '{}'), coalesce(slice.deadlines, '{}'));
    end if;
    if v_confirm then
        perform trunkline._request_end_e(array_agg(
            row(u.id, u.attempt, -1, u.caller, u.corr, 7, 0, null, null, null)::trunkline.request_end))
           from unnest(slice.ids, slice.attempts, slice.callers, slice.corrs, slice.flags)
                u(id, attempt, caller, corr, f)
          where u.f & 24 = 24;
    end if;
end $$;
