-- Notes how far a job has come, for engines: false when it is no longer the caller's. See job_progress.
create or replace function trunkline._job_progress(source int, number bigint, token bigint, slot int, id bigint, percent int,
                                                   message text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if percent is null or percent not between 0 and 100 then
        raise exception 'percent must be 0 to 100, got %', coalesce(percent::text, 'null') using errcode = '22023';
    elsif octet_length(message) > 1000 then
        raise exception 'message must be at most 1000 bytes, got %', octet_length(message) using errcode = '22023';
    elsif not trunkline._job_owns(source, number, token, slot, id) then
        return false;
    end if;
    insert into trunkline.job_progress (id, percent, message) values (_job_progress.id, _job_progress.percent, _job_progress.message)
        on conflict (id) do update set percent = excluded.percent, message = excluded.message, at = excluded.at;
    return true;
end $$;
