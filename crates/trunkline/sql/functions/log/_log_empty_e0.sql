-- Empties a segment of the request ring when no request and no take in it can still matter, `past` being a minute ago:
-- tried first, then checked again under ACCESS EXCLUSIVE. False when it still matters. Its cursors go with it: in an
-- empty segment everything is new. Locks: the segment's tables, in the order in which takers lock them.
create or replace function trunkline._log_empty_e0(past timestamptz) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    for v_try in 1 .. 2 loop
        if exists (select from trunkline.request_e0 r where r.expires_at > past)
           or exists (select from trunkline.take_e0 t where t.expires_at > past) then
            return false;
        elsif v_try = 1 then
            lock table trunkline.request_e0, trunkline.take_e0, trunkline.ending_e0 in access exclusive mode;
        end if;
    end loop;
    truncate trunkline.request_e0, trunkline.take_e0, trunkline.ending_e0;
    return true;
end $$;
