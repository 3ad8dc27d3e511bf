-- Where the events of a large window with ids in (after, upto] are: the marks of each segment as one stretch. None for a
-- window without marks.
create or replace function trunkline._stream_marks(stream int, tick bigint, after bigint, upto bigint)
returns setof trunkline.stream_mark
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_end bigint := (select u.upto from trunkline.stream_mark u
                      where u.stream = _stream_marks.stream and u.tick = _stream_marks.tick
                        and u.upto >= _stream_marks.upto order by u.upto limit 1);
begin
    return query
    select m.stream, m.tick, max(m.upto), m.segment, min(m.after), m.file, min(m.first_row), max(m.last_row),
           sum(m.events)::int, sum(m.bytes)::bigint
      from trunkline.stream_mark m
     where m.stream = _stream_marks.stream and m.tick = _stream_marks.tick and m.upto > _stream_marks.after
       and (_stream_marks.upto is null or m.after < _stream_marks.upto)
       and m.upto <= coalesce(v_end, 9223372036854775807)
     group by m.stream, m.tick, m.segment, m.file;
end $$;
