-- Sends a request and waits for its outcome in one call: `call trunkline.request_call('hash', '42', null, null)`.
-- Commits after sending and between looks, so nothing stays open while it waits; call it outside a transaction block.
-- As a committing procedure it runs with the invoker's rights and search_path: everything in it is qualified.
-- Errors: those of request_send; inside a transaction block 2D000.
create or replace procedure trunkline.request_call(channel text, payload text, inout outcome text, inout reply text,
    inout code text default null, type text default '', timeout interval default '30 seconds', headers jsonb default null,
    idempotent boolean default false, wait_for_responder boolean default false)
language plpgsql as $$
declare
    v_id    bigint;
    v       record;
    v_pause float8 := 0.001;
begin
    v_id := trunkline.request_send(channel, payload, type, timeout, headers, idempotent, false, false,
                                   wait_for_responder);
    commit;
    loop
        select a.outcome, a.payload, a.code into v from trunkline.request_await(v_id, interval '0') a;
        exit when v.outcome is not null;
        commit;
        perform pg_catalog.pg_sleep(v_pause);
        v_pause := least(v_pause operator(pg_catalog.*) 1.5::pg_catalog.float8, 0.05::pg_catalog.float8);
    end loop;
    outcome := v.outcome;
    reply := v.payload;
    code := v.code;
end $$;
