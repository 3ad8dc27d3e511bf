-- The newest events of one segment of a stream, at most so many, by stretches from its end.
create or replace function trunkline._stream_newest(segment int, most int) returns setof trunkline.stream_event
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_left int := most;
    v_many int;
    v_from bigint;
    v_to   bigint := pg_relation_size(format('trunkline.stream_event_%s', segment)::regclass) / 8192;
begin
    while v_left > 0 and v_to > 0 loop
        v_from := greatest(0, v_to - 64);
        return query execute format(
            'select * from trunkline.stream_event_%s where ctid >= $1 and ctid < $2 order by id desc limit $3', segment)
            using format('(%s,0)', v_from)::tid, format('(%s,0)', v_to)::tid, v_left;
        get diagnostics v_many = row_count;
        v_left := v_left - v_many;
        v_to := v_from;
    end loop;
end $$;
