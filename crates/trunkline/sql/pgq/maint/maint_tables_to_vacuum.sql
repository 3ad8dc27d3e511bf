-- The small, busy tables of PgQ and its companions that are there; none where autovacuum sees to them.
create or replace function pgq.maint_tables_to_vacuum() returns setof text
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    if current_setting('autovacuum') = 'on' then
        return;
    end if;
    return query
        select t.name
          from unnest(array['pgq.subscription', 'pgq.consumer', 'pgq.queue', 'pgq.tick', 'pgq.retry_queue', 'pgq_ext.completed_tick',
                            'pgq_ext.completed_batch', 'pgq_ext.completed_event', 'pgq_ext.partial_batch', 'pgq_node.local_state',
                            'londiste.seq_info', 'txid.epoch', 'londiste.completed']) with ordinality t (name, nr)
         where to_regclass(t.name) is not null
         order by t.nr;
end $$;
