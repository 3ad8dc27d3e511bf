-- Refuses a name that is none for a topic of this kind: 22004 for null, 22023, 54000 for one that is too long, TL011 for a channel
-- of ours. A channel has any name of 1 to 63 bytes, as PostgreSQL has it, and a durable topic that of a stream.
create or replace function trunkline._topic_check_name(name text, kind text) returns void
language plpgsql immutable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_most int := case kind when 'channel' then 63 when 'durable' then 48 else 200 end;
begin
    if name is null then
        raise exception 'topic name must not be null' using errcode = '22004';
    elsif kind is null or kind not in ('channel', 'volatile', 'durable') then
        raise exception 'topic kind must be channel, volatile or durable, got %', coalesce('"' || left(kind, 50) || '"', 'null')
            using errcode = '22023';
    elsif octet_length(name) > v_most or name = '' then
        raise exception 'the name of a % topic must be 1 to % bytes, got %', kind, v_most, octet_length(name) using errcode = '54000';
    elsif kind = 'channel' then
        if name like 'trunkline\_%' then
            raise exception 'channel name "%" is reserved', name using errcode = 'TL011';
        end if;
    elsif kind = 'durable' then
        perform trunkline._check_name('durable topic', name);
    elsif not trunkline._topic_plain(name) then
        raise exception 'topic name must be words of a-z, A-Z, 0-9, "_", "-", ":", "/" with a dot between them' using errcode = '22023';
    end if;
end $$;
