-- Writes the take row: the lease of a session on a slice, and the lane's next cursor. Returns the claim, and the
-- milliseconds left for each. Confirms one-way requests that asked for it (flag 16). Call it with the lane locked.
create or replace function trunkline._request_claim_e(session int, cursor trunkline.lane_e,
    slice trunkline.request_slice, out take bigint, out token bigint, out lefts int[])
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_seg smallint;
    v_now timestamptz := clock_timestamp();
    v_row trunkline.take_e0;
begin
    select current into v_seg from trunkline.ring where name = 'request_e';
    take := trunkline._request_next_id_e() + v_seg;
    token := ('x' || substr(encode(uuid_send(gen_random_uuid()), 'hex'), 17))::bit(64)::bigint;
    v_row.id := take; v_row.lane := cursor.lane; v_row.turn := cursor.turn; v_row.session := session;
    v_row.token := token; v_row.taken_at := v_now; v_row.lo := cursor.lo; v_row.hi := cursor.hi;
    v_row.pos_xid := cursor.pos_xid; v_row.pos_id := cursor.pos_id;
    v_row.ids := coalesce(slice.ids, '{}'); v_row.attempts := coalesce(slice.attempts, '{}');
    v_row.callers := coalesce(slice.callers, '{}'); v_row.corrs := coalesce(slice.corrs, '{}');
    v_row.flags := coalesce(slice.flags, '{}'); v_row.deadlines := coalesce(slice.deadlines, '{}');
    select coalesce(max(d), v_now), array_agg((extract(epoch from d - v_now) * 1000)::int)
      into v_row.expires_at, lefts from unnest(v_row.deadlines) d;
    if v_seg = 0 then
        insert into trunkline.take_e0 select v_row.*;
    else
        insert into trunkline.take_e1 select v_row.*;
    end if;
    if exists (select from unnest(v_row.flags) f where f & 16 <> 0) then
        perform trunkline._request_end_e(array_agg(
            row(u.id, u.attempt, -1, u.caller, u.corr, 7, 0, null, null, null)::trunkline.request_end))
           from unnest(v_row.ids, v_row.attempts, v_row.callers, v_row.corrs, v_row.flags)
                u(id, attempt, caller, corr, f)
          where u.f & 16 <> 0;
    end if;
end $$;
