-- Cancels a request: true when that is now its outcome, false when it had ended before. Its handler is told.
-- Errors: TL007 unknown id (or another role's).
create or replace function trunkline.request_cancel(id bigint) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v record;
begin
    perform trunkline._check_read_committed('request_cancel');
    loop
        select * into v from trunkline._request_look(request_cancel.id);
        if v.outcome is not null then
            return false;
        elsif request_cancel.id & 2 = 0 and trunkline._request_finish_e(array[request_cancel.id], 3, true) <> '{}'
           or request_cancel.id & 2 = 2 and trunkline._request_finish_d(array[request_cancel.id], 3, true) <> '{}' then
            return true;
        end if;
    end loop;
end $$;
