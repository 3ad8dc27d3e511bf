-- Locks a lane for its next taker and returns the lane's newest cursor: the one folded into the lane row, or a later
-- take's. Takers queue here; every statement after it sees what the previous taker did. Locks: the lane row.
create or replace function trunkline._request_cursor_e(lane int) returns trunkline.lane_e
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_base trunkline.lane_e;
    v_new  trunkline.lane_e;
begin
    select * into v_base from trunkline.lane_e l where l.lane = _request_cursor_e.lane for update;
    if not found then
        insert into trunkline.lane_e (lane) values (_request_cursor_e.lane) on conflict do nothing;
        select * into v_base from trunkline.lane_e l where l.lane = _request_cursor_e.lane for update;
    end if;
    select * into v_new from (
        (select t.lane, t.turn, t.lo, t.hi, t.pos_xid, t.pos_id from trunkline.take_e0 t
          where t.lane = _request_cursor_e.lane order by t.turn desc limit 1)
        union all
        (select t.lane, t.turn, t.lo, t.hi, t.pos_xid, t.pos_id from trunkline.take_e1 t
          where t.lane = _request_cursor_e.lane order by t.turn desc limit 1)) newest
     order by turn desc limit 1;
    if v_new.turn > v_base.turn then
        return v_new;
    end if;
    return v_base;
end $$;
