-- What a maintainer is to run now, one call a row: rotation, the queues' own functions, vacuum, and what pgq_node and Londiste
-- add where they are installed.
create or replace function pgq.maint_operations(out func_name text, out func_arg text) returns setof record
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    perform pgq._trigger_catch_up();
    return query
        select 'pgq.maint_rotate_tables_step1', queue_name from pgq.queue
         where queue_switch_step2 is not null and queue_switch_time + queue_rotation_period < now() order by queue_name;
    if found or exists (select from pgq.queue where queue_switch_step2 is null) then
        return query select 'pgq.maint_rotate_tables_step2', null;
    end if;
    return query
        select f.name, q.queue_name from pgq.queue q cross join lateral unnest(q.queue_extra_maint) with ordinality f (name, nr)
         order by q.queue_name, f.nr;
    return query select 'vacuum', t from pgq.maint_tables_to_vacuum() t;
    if to_regprocedure('pgq_node.maint_watermark(text)') is not null then
        return query execute format('select %L, queue_name from pgq_node.node_info where node_type = %L',
                                    'pgq_node.maint_watermark', 'root');
    end if;
    if to_regprocedure('londiste.root_check_seqs(text)') is not null then
        return query execute format(
            'select distinct %L, s.queue_name from londiste.seq_info s join pgq_node.node_info n'
            ' on n.queue_name = s.queue_name where s.local and n.node_type = %L', 'londiste.root_check_seqs', 'root');
    end if;
    if to_regprocedure('londiste.periodic_maintenance()') is not null then
        return query select 'londiste.periodic_maintenance', null;
    end if;
end $$;
