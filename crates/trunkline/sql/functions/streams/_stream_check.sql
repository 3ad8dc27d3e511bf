-- Refuses what cannot be appended to a stream, naming field, limit and size: 22004, 22023, 42704, TL004, TL016; and TL008
-- in a restored database whose xids are behind the ticks: what was written there would count as read long ago.
create or replace function trunkline._stream_check(stream text, bytes int, type text, key text) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.stream := trunkline._stream_named(_stream_check.stream);
begin
    if v.closed then
        raise exception 'stream "%" is closed', v.name using errcode = 'TL016';
    elsif v.limited_by is not null then
        raise exception 'stream "%" takes no more until consumer "%" has caught up', v.name, v.limited_by using errcode = 'TL016';
    elsif bytes is null then
        raise exception 'event payload must not be null' using errcode = '22004';
    elsif bytes > v.max_bytes then
        raise exception 'payload for stream "%" must be at most % bytes, got %', v.name, v.max_bytes, bytes
            using errcode = 'TL004';
    elsif type is null then
        raise exception 'event type must not be null' using errcode = '22004';
    elsif octet_length(type) > 100 then
        raise exception 'event type must be at most 100 bytes, got %', octet_length(type) using errcode = '22023';
    elsif octet_length(key) > 1000 then
        raise exception 'event key must be at most 1000 bytes, got %', octet_length(key) using errcode = '22023';
    elsif v.home <> 'trunkline.stream'::regclass and pg_current_xact_id() < (
        select pg_snapshot_xmax(t.seen) from trunkline.stream_tick t where t.stream = v.id order by t.id desc limit 1) then
        raise exception 'stream "%" was restored from a cluster that had come further than this one', v.name
            using errcode = 'TL008', hint = 'run: trunkline schema repair';
    end if;
end $$;
