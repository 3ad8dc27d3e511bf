-- How many events of the window between two ticks have ids in (after, upto], null for to its end. Of a whole window it sums
-- what the ticks say; of a part it reads them.
create or replace function trunkline._stream_count(stream int, first bigint, last bigint, after bigint, upto bigint) returns bigint
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v record;
begin
    if after = 0 and upto is null then
        return (select coalesce(sum(t.events), 0) from trunkline.stream_tick t
                 where t.stream = _stream_count.stream and t.id > first and t.id <= last);
    end if;
    select * into v from trunkline._stream_span(_stream_count.stream, first, last);
    return (select count(*) from trunkline._stream_window(_stream_count.stream, v.segments, v.lo, v.hi, after, upto, null));
end $$;
