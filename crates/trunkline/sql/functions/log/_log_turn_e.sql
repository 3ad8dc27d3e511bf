-- Turns the request ring: empties the segment nobody needs any more, and lets writers move on to an empty one.
-- A segment is emptied when no request and no take in it can still matter (a minute after the last deadline), checked
-- again under ACCESS EXCLUSIVE, which waits 50 ms at most; an open writer or reader just postpones it.
-- The cursors in it are folded into their lanes first. What it did: 'turned', 'emptied', 'busy' or null.
-- Locks: the ring row, the lanes, then the segment's tables, in the order in which takers lock them.
create or replace function trunkline._log_turn_e(full_bytes bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set lock_timeout = '50ms' as $$
#variable_conflict use_column
declare
    v_ring trunkline.ring;
    v_past timestamptz := clock_timestamp() - interval '1 minute';
    v_size bigint[];
begin
    select * into v_ring from trunkline.ring where name = 'request_e' for update;
    v_size := array[
        pg_relation_size('trunkline.request_e0') + pg_relation_size('trunkline.take_e0') + pg_relation_size('trunkline.ending_e0'),
        pg_relation_size('trunkline.request_e1') + pg_relation_size('trunkline.take_e1') + pg_relation_size('trunkline.ending_e1')];
    if v_size[2 - v_ring.current] = 0 then          -- the other one is empty
        if v_size[1 + v_ring.current] < full_bytes then
            return null;
        end if;
        update trunkline.ring set current = 1 - current, turned_at = now() where name = 'request_e';
        return 'turned';
    end if;
    if v_ring.turned_at > v_past then
        return null;
    elsif v_ring.current = 1 then
        if exists (select from trunkline.request_e0 where expires_at > v_past)
           or exists (select from trunkline.take_e0 where expires_at > v_past) then
            return null;
        end if;
        perform from trunkline.lane_e order by lane for update;
        lock table trunkline.request_e0, trunkline.take_e0, trunkline.ending_e0 in access exclusive mode;
        if exists (select from trunkline.request_e0 where expires_at > v_past)
           or exists (select from trunkline.take_e0 where expires_at > v_past) then
            return null;
        end if;
        update trunkline.lane_e l set turn = t.turn, lo = t.lo, hi = t.hi, pos_xid = t.pos_xid, pos_id = t.pos_id
          from (select distinct on (lane) * from trunkline.take_e0 order by lane, turn desc) t
         where t.lane = l.lane and t.turn > l.turn;
        truncate trunkline.request_e0, trunkline.take_e0, trunkline.ending_e0;
    else
        if exists (select from trunkline.request_e1 where expires_at > v_past)
           or exists (select from trunkline.take_e1 where expires_at > v_past) then
            return null;
        end if;
        perform from trunkline.lane_e order by lane for update;
        lock table trunkline.request_e1, trunkline.take_e1, trunkline.ending_e1 in access exclusive mode;
        if exists (select from trunkline.request_e1 where expires_at > v_past)
           or exists (select from trunkline.take_e1 where expires_at > v_past) then
            return null;
        end if;
        update trunkline.lane_e l set turn = t.turn, lo = t.lo, hi = t.hi, pos_xid = t.pos_xid, pos_id = t.pos_id
          from (select distinct on (lane) * from trunkline.take_e1 order by lane, turn desc) t
         where t.lane = l.lane and t.turn > l.turn;
        truncate trunkline.request_e1, trunkline.take_e1, trunkline.ending_e1;
    end if;
    return 'emptied';
exception when lock_not_available then
    return 'busy';
end $$;
