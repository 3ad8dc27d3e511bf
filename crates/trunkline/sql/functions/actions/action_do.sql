-- Does what an operator asks for, and notes it in the same transaction: who, what, to what, and its state before and after. What
-- the function that it is named after says, as JSON.
-- target: its arguments by name, each a text, a whole number or a boolean (`payload` may be any JSON, and is noted as text); `schedule`,
-- `lease` and `id`, of one dead letter, for what is meant. Of job_*_all alone, `dry_run` counts, and notes nothing.
-- lease_revoke: lease_resign with force. job_reveal, request_reveal, stream_reveal (of one dead letter): the payload, for who may see it
-- once it is noted; what is revealed or peeked at is not kept in the note. job_copy: pushes a job as it was pushed once more.
-- Errors: 22004, 22023 for another name, target or a long `who`; those of the function. Locks: those of the function.
create or replace function trunkline.action_do(who text, action text, target jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
declare
    v_wrong  text;
    v_before jsonb;
    v_result jsonb;
    v_dry    boolean := coalesce((target ->> 'dry_run')::boolean, false);
    v_ids    bigint[] := case when target ->> 'id' is not null then array[(target ->> 'id')::bigint] end;
begin
    if who is null or action is null or jsonb_typeof(target) is distinct from 'object' then
        raise exception 'who, action and target must not be null, and target is an object' using errcode = '22004';
    elsif v_dry and action not in ('job_retry_all', 'job_cancel_all', 'job_delete_all') then
        raise exception 'dry_run is for job_retry_all, job_cancel_all and job_delete_all' using errcode = '22023';
    elsif length(who) > 200 then
        raise exception 'who must be at most 200 characters, got %', length(who) using errcode = '22023';
    end if;
    if target ? 'payload' then
        target := target || jsonb_build_object('payload', target ->> 'payload');
    end if;
    select e.key into v_wrong from jsonb_each(target) e
     where jsonb_typeof(e.value) in ('object', 'array') or jsonb_typeof(e.value) = 'number' and e.value::text !~ '^-?[0-9]{1,18}$' limit 1;
    if v_wrong is not null or octet_length(target::text) > 65536 then
        raise exception 'target: %', case when v_wrong is null then 'must be at most 65536 bytes, got ' || octet_length(target::text)
            else format('"%s" must be a text, a whole number of at most 18 digits, or a boolean', left(v_wrong, 100)) end
            using errcode = '22023';
    end if;
    if not v_dry then
        v_before := trunkline._action_state(action, target);
    end if;
    v_result := coalesce(to_jsonb(trunkline._action_all(action, target, v_dry)), case action
        when 'job_retry' then to_jsonb(trunkline.job_retry((target ->> 'id')::bigint))
        when 'job_cancel' then to_jsonb(trunkline.job_cancel((target ->> 'id')::bigint))
        when 'job_delete' then to_jsonb(trunkline.job_delete((target ->> 'id')::bigint))
        when 'job_copy' then to_jsonb(trunkline._action_copy((target ->> 'id')::bigint))
        when 'job_reveal' then (select jsonb_build_object('payload', j.payload, 'bytes', encode(j.bytes, 'base64'), 'headers', j.headers,
                                                          'result', j.result)
                                  from trunkline.job_show((target ->> 'id')::bigint) j)
        when 'request_reveal' then (select jsonb_build_object('payload', r.payload, 'headers', r.headers, 'reply', r.reply)
                                      from trunkline.request_show((target ->> 'request')::bigint, true) r)
        when 'stream_reveal' then trunkline._action_letter(target ->> 'stream', target ->> 'consumer', v_ids[1])
        when 'stream_peek' then (select coalesce(jsonb_agg(e order by e.id desc), '[]') from trunkline.stream_peek(target ->> 'stream') e)
        when 'topic_peek' then (select coalesce(jsonb_agg(m), '[]') from trunkline.topic_peek(target ->> 'topic') m)
        when 'job_pause' then to_jsonb(trunkline.job_pause(target ->> 'queue'))
        when 'job_resume' then to_jsonb(trunkline.job_resume(target ->> 'queue'))
        when 'job_schedule_run' then to_jsonb(trunkline.job_schedule_run(target ->> 'schedule'))
        when 'job_schedule_pause' then to_jsonb(trunkline.job_schedule_pause(target ->> 'schedule'))
        when 'job_schedule_resume' then to_jsonb(trunkline.job_schedule_resume(target ->> 'schedule'))
        when 'request_cancel' then to_jsonb(trunkline.request_cancel((target ->> 'request')::bigint))
        when 'lease_resign' then to_jsonb(trunkline.lease_resign(target ->> 'lease'))
        when 'lease_revoke' then to_jsonb(trunkline.lease_resign(target ->> 'lease', force => true))
        when 'stream_seek' then to_jsonb(trunkline.stream_seek(target ->> 'stream', target ->> 'consumer', target ->> 'at'))
        when 'stream_replay' then to_jsonb(trunkline.stream_replay(target ->> 'stream', target ->> 'consumer', v_ids))
        when 'stream_purge' then to_jsonb(trunkline.stream_purge(target ->> 'stream', target ->> 'consumer', v_ids))
        end);
    if v_result is null and action <> 'job_cancel' then                -- which says null of a job that had ended
        raise exception 'there is no action "%"', left(action, 100) using errcode = '22023';
    end if;
    if not v_dry then
        insert into trunkline.action (who, role, name, target, before, after, result)
        values (who, trunkline._role(), action, target, v_before, trunkline._action_state(action, target),
                case when action !~ '_(reveal|peek)$' then v_result end);
    end if;
    return v_result;
end $$;
