-- Sets every lane back to "everything kept", for a new epoch: stored snapshots of another cluster mean nothing here.
-- What was taken before and not answered is handed out again when idempotent, and ends `lost` when not.
create or replace function trunkline._request_rebase_e() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_session int;
begin
    lock table trunkline.take_e0, trunkline.take_e1, trunkline.request_e0, trunkline.request_e1
        in access exclusive mode;
    for v_session in select session from trunkline.take_e0 union select session from trunkline.take_e1 loop
        perform trunkline._request_abandon_e0(v_session, 0, null), trunkline._request_abandon_e1(v_session, 0, null);
    end loop;
    insert into trunkline.again_e (id, attempt, lane, type, expires_at)
    select r.id, 1, r.lane, r.type, r.expires_at
      from (select * from trunkline.request_e0 union all select * from trunkline.request_e1) r
     where r.expires_at > clock_timestamp()
       and not exists (select from (select * from trunkline.take_e0 union all select * from trunkline.take_e1) t
                        where r.id = any (t.ids))
        on conflict do nothing;
    truncate trunkline.take_e0, trunkline.take_e1;
    update trunkline.request_e0 set xid = '3';          -- older than any: done for every cursor that begins now
    update trunkline.request_e1 set xid = '3';
    insert into trunkline.take_e0 (id, lane, turn, session, token, taken_at, expires_at, lo, ids, callers, corrs, deadlines)
    select nextval('trunkline.log_id_e') * 4 + case right('log_id_e', 1) when 'd' then 2 else 0 end,
           lane, 1, 0, 0, now(), now(), pg_current_snapshot(), '{}', '{}', '{}', '{}'
      from (select distinct lane from trunkline.request_e0) r;
    insert into trunkline.take_e1 (id, lane, turn, session, token, taken_at, expires_at, lo, ids, callers, corrs, deadlines)
    select nextval('trunkline.log_id_e') * 4 + case right('log_id_e', 1) when 'd' then 3 else 1 end,
           lane, 1, 0, 0, now(), now(), pg_current_snapshot(), '{}', '{}', '{}', '{}'
      from (select distinct lane from trunkline.request_e1) r;
end $$;
