-- Waits for a request's outcome: one row, or none when `wait` ended first (then ask again). Null waits to its deadline.
-- outcome: ok, remote error, unsupported, timed out, cancelled, lost, taken. At the deadline it ends the request itself.
-- Polls, from 1 ms to 50 ms apart. As one statement it keeps a snapshot open: for long waits use `call request_call`.
-- One sent through a mailbox leaves it (request_mailbox).
-- Errors: TL007 unknown id, TL009 sent in this same transaction, 25001 outside READ COMMITTED. Never hangs.
create or replace function trunkline.request_await(id bigint, wait interval default null)
returns table (outcome text, code text, payload text, bytes bytea, headers jsonb)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v       record;
    v_until timestamptz := clock_timestamp() + wait;
    v_pause float := 0.001;
begin
    perform trunkline._check_read_committed('request_await');
    loop
        select * into v from trunkline._request_look(request_await.id);
        if v.outcome is null and v.expires_at <= clock_timestamp() then
            if request_await.id & 2 = 0 then
                perform trunkline._request_finish_e(array[request_await.id], 4, false);
            else
                perform trunkline._request_finish_d(array[request_await.id], 4, false);
            end if;
            select * into v from trunkline._request_look(request_await.id);
        end if;
        if v.outcome is not null then
            if current_setting('trunkline.mailbox', true) like '% ' || request_await.id || ' %' then
                perform trunkline._request_unbox(array[request_await.id]);
            end if;
            return query select v.outcome, v.code, v.payload, v.bytes, v.headers;
            return;
        elsif v_until <= clock_timestamp() then
            return;
        end if;
        perform pg_sleep(greatest(0.0005, least(v_pause,
            extract(epoch from least(v.expires_at, coalesce(v_until, v.expires_at)) - clock_timestamp()))));
        v_pause := least(v_pause * 1.5, 0.05);
    end loop;
end $$;
