-- Takes the outcomes of what this connection sent through its mailbox, in the order of sending, each once: at most `max`
-- rows, none when there are none now. What is past its deadline ends with this. With `keep` they are listed and not taken.
-- After a rollback they come again. request_await takes the outcome of one by its id. An outcome is forgotten a minute
-- after the request's deadline, and is `lost` then. Errors: 25001 outside READ COMMITTED, 22023 for `max`.
create or replace function trunkline.request_replies(max int default 100, keep boolean default false)
returns table (id bigint, outcome text, code text, payload text, bytes bytea, headers jsonb)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_late bigint[];
    v_ids  bigint[];
    v      record;
begin
    perform trunkline._check_read_committed('request_replies');
    if request_replies.max is null or request_replies.max < 1 then
        raise exception 'max must be at least 1, got %', coalesce(request_replies.max::text, 'null') using errcode = '22023';
    end if;
    v_late := array(select b.id from trunkline._request_boxed() b
                     where b.status is null and b.expires_at <= clock_timestamp());
    begin
        if exists (select from unnest(v_late) l where l & 2 = 0) then
            perform trunkline._request_finish_e(array(select l from unnest(v_late) l where l & 2 = 0), 4, false);
        end if;
        if exists (select from unnest(v_late) l where l & 2 = 2) then
            perform trunkline._request_finish_d(array(select l from unnest(v_late) l where l & 2 = 2), 4, false);
        end if;
    exception when lock_not_available then
        null;                                       -- somebody is answering one just now: next time
    end;
    for v in select * from trunkline._request_boxed() b where b.status is not null limit request_replies.max loop
        id := v.id; outcome := trunkline._request_outcome(v.status); code := v.code; bytes := v.payload;
        payload := case when v.content <> 0 or v.status in (1, 2) then trunkline._request_text(v.payload) end;
        headers := trunkline._request_headers(v.headers);
        v_ids := v_ids || v.id;
        return next;
    end loop;
    if v_ids is not null and not keep then
        perform trunkline._request_unbox(v_ids);
    end if;
end $$;
