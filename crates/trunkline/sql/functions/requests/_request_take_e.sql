-- Hands the next requests of a lane to one responder: at most `max`, each to nobody else. One row of arrays, or nulls.
-- Takers queue on the lane's row; the cursor is (lo, hi, pos): all that lo sees is done, of what hi sees all up to pos.
-- hi null: a new window, up to a snapshot taken now, before any look. One take row is both the lease on the slice and the new cursor.
-- Types not served go to who serves them, or end `unsupported`. `more`: look again, there may be others.
-- Errors: 25001 outside READ COMMITTED, TL001 when the session was reaped, TL008 when xids went backwards.
-- Locks: the session (key share) and the lane, for this short transaction. Plans want enable_seqscan and
-- enable_bitmapscan off: the engine's session has them so, request_take sets them.
create or replace function trunkline._request_take_e(session int, lane int, types text[], max int,
    out take bigint, out token bigint, out more boolean, out lefts int[], out slice trunkline.request_slice)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_at    trunkline.lane_e;
    v_again boolean;
    v_late  xid8[];
begin
    more := false;
    if current_setting('transaction_isolation') <> 'read committed' then
        perform trunkline._check_read_committed('request_take');
    end if;
    perform from trunkline.session s
      where s.id = session and (s.pid = pg_backend_pid() or s.role = trunkline._role()) for key share;
    if not found then
        raise exception 'session % is no longer present', session using errcode = 'TL001';
    end if;
    v_at := trunkline._request_cursor_e(lane);
    v_again := exists (select from trunkline.again_e a where a.lane = _request_take_e.lane);
    if v_again then
        slice := trunkline._request_take_again_e(lane, types, max);
    end if;
    if slice.ids is null then
        for v_try in 1 .. 2 loop
            v_at.pos_xid := coalesce(v_at.pos_xid, '0');
            v_late := array(select x from pg_snapshot_xip(v_at.lo) x where x >= v_at.pos_xid);
            if v_late <> '{}' then      -- two looks, so both at one snapshot: who commits in between is in neither
                v_at.hi := coalesce(v_at.hi, trunkline._log_snapshot(pg_current_snapshot()));
                slice := trunkline._request_late_e(lane, v_late, v_at.hi, v_at.pos_xid, coalesce(v_at.pos_id, 0), max);
            end if;
            if slice.ids is null then
                slice := trunkline._request_window_e(lane, v_at.hi, greatest(pg_snapshot_xmax(v_at.lo), v_at.pos_xid),
                    case when v_at.pos_xid >= pg_snapshot_xmax(v_at.lo) then v_at.pos_id else 0 end, max);
            end if;
            exit when slice.ids is not null or v_at.hi is null;
            v_at.lo := v_at.hi; v_at.hi := null; v_at.pos_xid := null; v_at.pos_id := null;   -- used up: a new window
        end loop;
        if slice.ids is null then
            return;
        elsif pg_snapshot_xmax(slice.seen) < pg_snapshot_xmax(v_at.lo) then
            raise exception 'xids went backwards: lane % was read up to %, now is %', lane,
                pg_snapshot_xmax(v_at.lo), pg_snapshot_xmax(slice.seen)
                using errcode = 'TL008', hint = 'run: trunkline schema repair';
        elsif slice.more then
            v_at.hi := coalesce(v_at.hi, trunkline._log_snapshot(slice.seen));
            v_at.pos_xid := slice.pos_xid; v_at.pos_id := slice.pos_id;
        else
            v_at.lo := coalesce(v_at.hi, trunkline._log_snapshot(slice.seen)); v_at.hi := null;
            v_at.pos_xid := null; v_at.pos_id := null;
        end if;
    end if;
    more := coalesce(slice.more, true);       -- a slice that is not full was all there was: the next one rings
    if types is not null then
        slice := trunkline._request_sort_out_e(lane, types, slice);
    end if;
    v_at.turn := v_at.turn + 1;
    select c.take, c.token, c.lefts into take, token, lefts from trunkline._request_claim_e(session, v_at, slice) c;
end $$;
