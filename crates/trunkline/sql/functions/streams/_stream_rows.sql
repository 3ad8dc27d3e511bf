-- The events of a stream between two ticks with ids in (after, upto], by id, at most so many. When they are a part of the
-- window of one large tick, only where they are is read.
-- Errors: TL007 when one of the ticks is no longer kept. Locks only the segments that it reads.
create or replace function trunkline._stream_rows(stream int, first bigint, last bigint, part boolean, after bigint, upto bigint,
                                                  most bigint) returns setof trunkline.stream_event
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
declare
    v_in    record;
    v_marks trunkline.stream_mark[];
    v_mark  trunkline.stream_mark;
begin
    select * into v_in from trunkline._stream_span(stream, first, last);
    if part then
        v_marks := array(select m from trunkline._stream_marks(stream, last, after, upto) m);
        foreach v_mark in array v_marks loop               -- open, so that it stays the file that it is
            execute format('select from trunkline.stream_event_%s limit 0', stream * 4 + v_mark.segment);
        end loop;
    end if;
    if v_marks <> '{}' and not exists (
        select from unnest(v_marks) m
         where m.file <> pg_relation_filenode(format('trunkline.stream_event_%s', stream * 4 + m.segment)::regclass)) then
        return query
        select e.* from unnest(v_marks) m
         cross join lateral trunkline._stream_stretch(m, v_in.lo, v_in.hi, _stream_rows.after, _stream_rows.upto) e
         order by e.id limit most;
    else
        return query
        select e.* from trunkline._stream_window(stream, v_in.segments, v_in.lo, v_in.hi,
                                                 _stream_rows.after, _stream_rows.upto, most) e;
    end if;
end $$;
