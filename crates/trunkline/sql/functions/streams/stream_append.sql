-- Appends one event of text to a stream, in the caller's own transaction: its id. It is delivered after the commit, gone
-- with a rollback. Errors: 42704 no such stream; TL004 payload too large; TL016 the stream is closed; 22004, 22023.
-- Guarantee: each consumer gets it in exactly one batch. Locks: none beyond the insert.
-- The segment is the one in use as far as this snapshot knows: any is right, since ticks look in all of them. As
-- _stream_append, which says what is wrong, and not by it: a function in a function costs as much as the insert.
-- No pinned search_path, which costs more than finding the stream: every name and operator is qualified. The ring comes before
-- the insert, within its statement: the xid is drawn by then, and the table locked, which is what sleepers look at.
create or replace function trunkline.stream_append(stream text, payload text, type text default '', key text default null,
                                                   headers jsonb default null) returns bigint
language plpgsql volatile security definer as $$
declare
    v_id bigint;
begin
    insert into trunkline.stream_event (segment, type, key, payload, headers)
    select s.segment, stream_append.type, stream_append.key, pg_catalog.convert_to(stream_append.payload, 'UTF8'),
           case when stream_append.headers is not null then trunkline._request_check_headers(stream_append.headers) end
      from trunkline.stream s
     where s.name operator(pg_catalog.=) stream_append.stream and not s.closed and s.limited_by is null
       and s.home operator(pg_catalog.=) 'trunkline.stream'::pg_catalog.regclass
       and pg_catalog.octet_length(stream_append.payload) operator(pg_catalog.<=) s.max_bytes
       and pg_catalog.octet_length(stream_append.type) operator(pg_catalog.<=) 100
       and (stream_append.key is null or pg_catalog.octet_length(stream_append.key) operator(pg_catalog.<=) 1000)
       and trunkline._door_ring(-1 operator(pg_catalog.-) (s.id operator(pg_catalog.&) 63)) is not null
    returning id into v_id;
    if v_id is null then
        v_id := trunkline._stream_append(stream_append.stream, pg_catalog.convert_to(stream_append.payload, 'UTF8'),
                                         1::pg_catalog.int2, stream_append.type, stream_append.key, stream_append.headers);
    end if;
    return v_id;
end $$;
