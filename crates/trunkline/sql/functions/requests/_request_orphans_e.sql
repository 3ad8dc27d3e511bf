-- Ends what sessions were handling that no longer exist at all, after a database crash: see _request_abandon_e0. The number
-- ended. Reads all takes of the ring.
create or replace function trunkline._request_orphans_e() returns int
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_session int;
    v_sum     int := 0;
begin
    for v_session in
        select distinct t.session
          from (select * from trunkline.take_e0 union all select * from trunkline.take_e1) t
         where t.expires_at > clock_timestamp()
           and not exists (select from trunkline.session s where s.id = t.session)
    loop
        v_sum := v_sum + trunkline._request_abandon_e0(v_session) + trunkline._request_abandon_e1(v_session);
    end loop;
    return v_sum;
end $$;
