-- The part of a generated function that finds a queue's segment and inserts into it, for these slots (id * 1000 + segment), rising.
create or replace function pgq._dispatch_tree(slots bigint[], given text, id text, indent text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_count  int := coalesce(array_length(slots, 1), 0);
    v_middle int := v_count / 2;
begin
    if v_count = 0 then
        return '';
    elsif v_count > 3 or v_count > 1 and slots[1] / 1000 <> slots[v_count] / 1000 then
        return indent || format(e'if v_slot operator(pg_catalog.<) %s then\n', slots[v_middle + 1])
            || pgq._dispatch_tree(slots[1:v_middle], given, id, indent || '    ')
            || indent || e'else\n'
            || pgq._dispatch_tree(slots[v_middle + 1:v_count], given, id, indent || '    ')
            || indent || e'end if;\n';
    end if;
    return (
        select string_agg(indent || format(
                   '%s v_slot operator(pg_catalog.=) %s then insert into pgq.event_%s_%s (ev_id, ev_time, ev_owner, ev_retry,'
                   ' ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4) values (%s); return %s;',
                   case s.nr when 1 then 'if' else 'elsif' end, s.slot, s.slot / 1000, s.slot % 1000, given, id),
                   e'\n' order by s.nr)
          from unnest(slots) with ordinality s (slot, nr)) || e'\n' || indent || e'end if;\n';
end $$;
