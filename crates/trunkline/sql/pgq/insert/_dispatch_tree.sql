-- The part of a generated function that finds the queue and its segment, for these (id, number of segments), ids rising.
create or replace function pgq._dispatch_tree(queues int[], given text, indent text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_count  int := coalesce(array_length(queues, 1), 0);
    v_middle int := v_count / 2;
    v_leaf   text := '';
begin
    if v_count = 0 then
        return '';
    elsif v_count > 1 then
        return indent || format(e'if v_queue < %s then\n', queues[v_middle + 1][1])
            || pgq._dispatch_tree(queues[1:v_middle], given, indent || '    ')
            || indent || e'else\n'
            || pgq._dispatch_tree(queues[v_middle + 1:v_count], given, indent || '    ')
            || indent || e'end if;\n';
    end if;
    for v_segment in 0 .. queues[1][2] - 1 loop
        v_leaf := v_leaf || indent || format('%s v_queue = %s and v_segment = %s then', case v_segment when 0 then 'if' else 'elsif' end,
                                             queues[1][1], v_segment)
            || format(' insert into pgq.event_%s_%s (ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2,'
                      ' ev_extra3, ev_extra4) values (%s); return v_id;', queues[1][1], v_segment, given) || e'\n';
    end loop;
    return v_leaf || indent || e'end if;\n';
end $$;
