-- Turns the request ring: empties the segment nobody needs any more, and lets writers move on to an empty one.
-- ACCESS EXCLUSIVE is waited for 50 ms at most; an open writer or reader just postpones it.
-- What it did: 'turned', 'emptied', 'busy' or null. Locks: the ring row, then the segment's tables.
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
    v_size := array(                                -- with what is kept out of line: large payloads are
        select sum(pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0))::bigint
          from (values (0, array['trunkline.request_e0', 'trunkline.take_e0', 'trunkline.ending_e0']::regclass[]),
                       (1, array['trunkline.request_e1', 'trunkline.take_e1', 'trunkline.ending_e1'])) t(segment, tables)
          join pg_class c on c.oid = any (t.tables)
         group by t.segment order by t.segment);
    if v_size[2 - v_ring.current] = 0 then          -- the other one is empty
        if v_size[1 + v_ring.current] < full_bytes then
            return null;
        end if;
        update trunkline.ring set current = 1 - current, turned_at = now() where name = 'request_e';
        return 'turned';
    elsif v_ring.turned_at > v_past then
        return null;
    elsif v_ring.current = 1 and trunkline._log_empty_e0(v_past)
          or v_ring.current = 0 and trunkline._log_empty_e1(v_past) then
        return 'emptied';
    end if;
    return null;
exception when lock_not_available then
    return 'busy';
end $$;
