-- The next batch of a consumer for a session of this connection: see stream_next_batch.
-- Of one at rest, which says that it is busy after that only, the session counts as busy from the take on.
create or replace function trunkline._stream_next_batch(session int, consumer int, mode text, member text, max int default null)
returns table (batch text, first_tick bigint, last_tick bigint, attempt int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v       record;
    v_rests boolean := (select s.rests from trunkline.session s
                         where s.id = _stream_next_batch.session
                           and (s.pid = pg_backend_pid() or not s.watched and s.role = trunkline._role()));
begin
    if mode is null or mode not in ('fail', 'share', 'take') then
        raise exception 'mode must be fail, share or take, got "%"', coalesce(mode, 'null') using errcode = '22023';
    elsif member is null or octet_length(member) > 100 then
        raise exception 'member must be at most 100 bytes, and not null' using errcode = '22023';
    elsif max < 1 then
        raise exception 'max must be at least 1, got %', max using errcode = '22023';
    elsif v_rests is null
       or not exists (select from trunkline.stream_consumer c
                       where c.id = _stream_next_batch.consumer and pg_has_role(trunkline._role(), c.role, 'member')) then
        raise exception 'the session or the consumer is not, or is no longer, yours' using errcode = 'TL001';
    end if;
    select * into v from trunkline._stream_short(_stream_next_batch.session, _stream_next_batch.consumer, member, max);
    while v.state is null or v.state = 1 loop
        select * into v
          from trunkline._stream_take(_stream_next_batch.session, _stream_next_batch.consumer, mode, member, max);
        exit when v.state is null;
    end loop;
    if v.state = 0 then
        if v_rests then
            update trunkline.session s set rests = false, expires_at = least(s.expires_at, clock_timestamp() + interval '5 s')
             where s.id = _stream_next_batch.session;
            perform trunkline._door_ring(-130);
        end if;
        return query select v.batch, v.first_tick, v.last_tick, v.attempt;
    end if;
end $$;
