-- Opens this connection's mailbox, or finds it open: the name to LISTEN to for wake-ups. From now on what it sends is its
-- own: request_awaiting lists it until it has ended, then request_replies hands out the outcome, once.
-- The mailbox lasts as long as the connection, and needs one of its own: not behind a transaction pooler. What is still
-- queued when the connection ends is withdrawn, as a library's is. What was sent before, and one-way requests without
-- `confirm`, are not in it.
-- The list of ids is a setting of the connection, so that it follows its transactions and savepoints, also back.
create or replace function trunkline.request_mailbox() returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_me int := trunkline._session_own();
begin
    perform trunkline._door_hold(64 + v_me)
      where not exists (select from pg_locks l
                         where l.locktype = 'advisory' and l.classid = 1953656427 and l.objid = (64 + v_me)::text::oid
                           and l.pid = pg_backend_pid() and l.granted);
    if coalesce(current_setting('trunkline.mailbox', true), '') = '' then
        perform set_config('trunkline.mailbox', ' ', false);
    end if;
    return 'trunkline_' || (64 + v_me);
end $$;
